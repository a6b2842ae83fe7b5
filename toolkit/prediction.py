"""Predicting over inputs that someone else made: one record each, outputs whole or absent, inputs never touched."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from toolkit.core import Method, Task, ToolkitError
from toolkit.outputs import whole_folder, write_bytes

RECORD = "record.json"  # in every folder of results: by it a later run knows that it may replace the folder


def predicted(task: Task, method: Method, inputs: tuple[Path, ...], out: Path, told: Any) -> Iterator[dict[str, Any]]:
    """Answer every input into `out/NAME`, NAME being the input's own without its suffix; yield its record.

    Raises ToolkitError with status 2 before anything is written when no input exists, two would share a folder, or a folder of
    results would be, hold or lie in an input.
    """
    if not any(path.exists() for path in inputs):
        raise ToolkitError(f"No input exists: {', '.join(map(str, inputs))}.", "Check the paths.", status=2)
    folders = [out.resolve() / path.resolve().stem for path in inputs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise ToolkitError(f"Two inputs are named {folder.name!r}.", "Predict them into different folders.", status=2)
        for path in (path.resolve() for path in inputs):
            if folder.is_relative_to(path) or path.is_relative_to(folder):
                raise ToolkitError(f"The results in {folder} would meet the input {path}.", "Choose another --out.", status=2)
    with threadpool_limits(1):
        for path, folder in zip(inputs, folders, strict=True):
            yield answered(task, method, path, out / folder.name, told)


def answered(task: Task, method: Method, path: Path, folder: Path, told: Any) -> dict[str, Any]:
    """Answer one input and return its record; a failure that only concerns this input is told there."""
    began = time.perf_counter()
    try:
        inputs = task.read(path, told)
        prediction = method.predict(inputs)
        with whole_folder(folder, RECORD) as unfinished:
            found = task.write(prediction, inputs, unfinished)
            found["outputs"] = [str(folder / name) for name in found["outputs"]]
            used = {"checkpoint": method.sha256} if hasattr(method, "sha256") else {}
            record = {"input": str(path), "status": "ok", **found, **used, "seconds": round(time.perf_counter() - began, 3)}
            write_bytes(unfinished / RECORD, (json.dumps(record) + "\n").encode())
    except ToolkitError as error:
        if error.status != 1:
            raise
        return {"input": str(path), "status": "failed", "reason": error.reason, "remedy": error.remedy}
    return record

"""Predicting over inputs that someone else made: one record each, outputs whole or absent, inputs never touched."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from toolkit.core import Method, Task, ToolkitError
from toolkit.outputs import whole_folder, write_bytes

RECORD = "record.json"  # in every folder of results: it names the files that a later run may replace


def predicted(task: Task, name: str, method: Method, inputs: tuple[Path, ...], out: Path, told: Any) -> Iterator[dict[str, Any]]:
    """Answer every input by the method called `name` into `out/INPUT`, a file's name without its suffix; yield its record.

    Raises ToolkitError with status 2 before anything is written when no input exists, two would share a folder, or a folder of
    results would be, hold or lie in an input.
    """
    if not any(path.exists() for path in inputs):
        raise ToolkitError(f"No input exists: {', '.join(map(str, inputs))}.", "Check the paths.", status=2)
    folders = [out.resolve() / (path.resolve().name if path.is_dir() else path.resolve().stem) for path in inputs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise ToolkitError(f"Two inputs would be answered in {folder}.", "Predict them into different folders.", status=2)
        for path in (path.resolve() for path in inputs):
            if folder.is_relative_to(path) or path.is_relative_to(folder):
                raise ToolkitError(f"The results in {folder} would meet the input {path}.", "Choose another --out.", status=2)
    with threadpool_limits(1):
        for path, folder in zip(inputs, folders, strict=True):
            yield answered(task, name, method, path, out / folder.name, told)


def answered(task: Task, name: str, method: Method, path: Path, folder: Path, told: Any) -> dict[str, Any]:
    """Answer one input and return its record; a failure that only concerns this input is told there."""
    began = time.perf_counter()
    record = {"input": str(path), "status": "ok"}
    try:
        if not path.exists():
            raise ToolkitError(f"There is no {path}.", "Check the path.")
        with whole_folder(folder, earlier(folder)) as unfinished:
            inputs = task.read(path, told)
            record |= task.write(method.predict(inputs), inputs, unfinished)
            record["outputs"] = [str(folder / output) for output in record["outputs"]]
            record["method"] = name
            if hasattr(method, "sha256"):
                record["checkpoint"] = method.sha256
            record["seconds"] = round(time.perf_counter() - began, 3)
            write_bytes(unfinished / RECORD, (json.dumps(record) + "\n").encode())
    except ToolkitError as error:
        if error.status != 1:
            raise
        return {"input": str(path), "status": "failed", "method": name, "reason": error.reason, "remedy": error.remedy}
    return record


def earlier(folder: Path) -> set[str]:
    """The names of the files that an earlier run wrote there, by its own record; none when it left no record."""
    try:
        outputs = json.loads((folder / RECORD).read_text())["outputs"]
        return {RECORD, *(Path(output).name for output in outputs)}
    except (OSError, ValueError, KeyError, TypeError):
        return set()

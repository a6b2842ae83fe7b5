"""Predicting over inputs that someone else made: one record each, outputs whole or absent."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from toolkit.core import Method, Task, ToolkitError
from toolkit.outputs import whole_folder


def predicted(task: Task, method: Method, inputs: tuple[Path, ...], out: Path, options: Any) -> Iterator[dict[str, Any]]:
    """Answer every input into `out/NAME`, NAME being the input's own without its suffix; yield its record.

    Raises ToolkitError with status 2 before anything is written when no input exists, two would share a folder, or the outputs
    would lie inside an input.
    """
    if not any(path.exists() for path in inputs):
        raise ToolkitError(f"No input exists: {', '.join(map(str, inputs))}.", "Check the paths.", status=2)
    names = [path.resolve().stem for path in inputs]
    for name in names:
        if names.count(name) > 1:
            raise ToolkitError(f"Two inputs are named {name!r}.", "Predict them into different folders.", status=2)
    for path in inputs:
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise ToolkitError(f"The output {out} lies inside the input {path}.", "Choose another --out.", status=2)
    with threadpool_limits(1):
        for path, name in zip(inputs, names, strict=True):
            yield record(task, method, path, out / name, options)


def record(task: Task, method: Method, path: Path, folder: Path, options: Any) -> dict[str, Any]:
    """Answer one input; a failure that only concerns it is told in the record."""
    began = time.perf_counter()
    try:
        answered = task.read(path, options)
        prediction = method.predict(answered)
        with whole_folder(folder) as unfinished:
            found = task.write(prediction, answered, unfinished)
    except ToolkitError as error:
        if error.status != 1:
            raise
        return {"input": str(path), "status": "failed", "reason": error.reason, "remedy": error.remedy}
    found["outputs"] = [str(folder / name) for name in found["outputs"]]
    used = {"checkpoint": method.sha256} if hasattr(method, "sha256") else {}
    return {"input": str(path), "status": "ok", **found, **used, "seconds": round(time.perf_counter() - began, 3)}

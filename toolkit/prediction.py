"""Predicting over inputs that someone else made: one record each, outputs whole or absent, inputs never touched."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from toolkit.core import Method, Task, ToolkitError
from toolkit.outputs import whole_folder, write_bytes

RECORD = "record.json"  # in every folder of results: it names the files that a later run may replace


def predicted(task: Task, name: str, method: Method, given: tuple[Path, ...], out: Path, told: Any) -> Iterator[dict[str, Any]]:
    """Answer every input by the method called `name` into `out/INPUT`, a file's name without its suffix unless two have the same;
    yield its record. Inputs of several folders are answered in a folder of `out` for each.

    Raises ToolkitError with status 2 before anything is written when no input exists, two would share a folder, or a folder of
    results would be, hold or lie in an input.
    """
    if not any(path.exists() for path in given):
        raise ToolkitError(f"No input exists: {', '.join(map(str, given))}.", "Check the paths.", status=2)
    inputs = [path for each in given for path in task.found_in(each)]
    if not inputs:
        raise ToolkitError(f"There is no input in {', '.join(map(str, given))}.", "Check the paths.", status=2)
    several = len({path.resolve().parent for path in inputs if path not in given}) > 1
    folders = []
    for path in inputs:
        whole = path.resolve()
        part = whole.parent.name if several and path not in given else ""
        folders.append(out.resolve() / part / (whole.name if whole.is_dir() else whole.stem))
    twice = Counter(folders)
    folders = [folder.with_name(path.name) if twice[folder] > 1 else folder for path, folder in zip(inputs, folders, strict=True)]
    for folder, count in Counter(folders).items():
        if count > 1:
            raise ToolkitError(f"Two inputs would be answered in {folder}.", "Predict them into different folders.", status=2)
        for path in (path.resolve() for path in given):
            if folder.is_relative_to(path) or path.is_relative_to(folder):
                raise ToolkitError(f"The results in {folder} would meet the input {path}.", "Choose another --out.", status=2)
    records = []
    with threadpool_limits(1):
        for path, folder in zip(inputs, folders, strict=True):
            records.append(answered(task, name, method, path, out / folder.relative_to(out.resolve()), told))
            yield records[-1]
    task.conclude(records, out)


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
                record["checkpoint"] = method.sha256(inputs)
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

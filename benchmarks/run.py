"""Every task x every method on fixed samples: results as JSON, to be drawn by `render`."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import machine, networks, pictures
from benchmarks.conditions import CONDITIONS, SEED, SIZE, TEST_PART, Condition, every
from toolkit import evaluation, registry
from toolkit.core import ToolkitError
from toolkit.doctor import installed
from toolkit.images import digest
from toolkit.outputs import made_folder, write_bytes

RESULTS = Path("benchmarks/results")  # in the project's folder
QUICK = 2  # conditions of each task for a first look


def measured(tasks: tuple[str, ...], data: Path | None, quick: bool, folder: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Results of the tasks on `builtin`, or on a folder laid out as shared/data, also written to `folder` as NAME.json, a record a
    line; results of other tasks that are there already stay. `report` is told of each condition.

    What was measured before, by this code on a machine like this, is taken from `folder`/cells/NAME: a file for each task,
    condition and method, to be deleted when it is to be measured again.
    """
    tasks = tasks or tuple(CONDITIONS)
    for task_name in tasks:
        if task_name not in CONDITIONS:
            raise ToolkitError(f"There is no benchmark of {task_name!r}.", f"Choose one of: {', '.join(CONDITIONS)}.", status=2)
        if data and not (data / TEST_PART[task_name]).exists():
            raise ToolkitError(
                f"There is no {data / TEST_PART[task_name]}.", "Give --data as ../shared/data is laid out.", status=5
            )
    made_folder(folder)
    name = ("real" if data else "builtin") + ("-quick" if quick else "")
    path = folder / f"{name}.json"
    for line in machine.pinned():
        report(line)
    found = {task_name: task_results(task_name, data, quick, folder, name, report) for task_name in tasks}
    results = {"name": name, "tasks": rounded(found)}
    together = (read(path)["tasks"] if path.exists() else {}) | results["tasks"]  # read now: another run may have written meanwhile
    whole = results | {"tasks": {task_name: together[task_name] for task_name in CONDITIONS if task_name in together}}
    write_bytes(path, (json.dumps(whole).replace('{"sample"', '\n{"sample"') + "\n").encode())
    return results


def task_results(
    task: str, data: Path | None, quick: bool, folder: Path, name: str, report: Callable[[str], None]
) -> dict[str, Any]:
    """Results of one task: where, on what, by which methods, and every condition with its records."""
    source = str(data / TEST_PART[task]) if data else "builtin"
    cells = Cells(folder / "cells" / name / task, task, data, quick, report)
    for left_out in {c.part for c in CONDITIONS[task] if data and c.part} - {c.part for c in every(task, data)}:
        report(f"{task}: there is no {data / left_out}, which is left out")
    chosen = every(task, data)[: QUICK if quick else None]
    conditions = [cells.condition(condition) for condition in chosen]
    found = {"environment": cells.environment, "data": source, "sha256": cells.sha256, "methods": {}, "conditions": conditions}
    peaks = cells.kept("memory", lambda: machine.peak_megabytes(task, tuple(cells.methods), source))
    for method_name, method in cells.methods.items():
        found["methods"][method_name] = {"name": type(method).__name__, **asdict(method), "peak_megabytes": peaks[method_name]}
    pieces = {}
    if not quick:
        beside = {name: installed(name) for name in ("torch", "onnx")}
        quiet = networks.quiet_place(data, task)
        pieces["network"] = lambda: cells.kept("network", lambda: networks.measured(task, source, quiet), **beside)
    if not (quick or data):
        k = next(k for k, c in enumerate(chosen) if c.name == pictures.CONDITION.get(task, c.name))
        place = folder / "pictures"
        pieces["pictures"] = lambda: pictures.written(place, cells.methods, task, chosen[k], conditions[k]["records"])
    found["failures"] = {}
    for piece, measure in pieces.items():
        try:
            found[piece] = measure()
        except Exception as error:
            found["failures"][piece] = f"{type(error).__name__}: {error}"
    return found


class Cells:
    """What was measured of a task, each piece kept in a file beside all that it depends on."""

    def __init__(self, folder: Path, task: str, data: Path | None, quick: bool, report: Callable[[str], None]):
        self.folder, self.task, self.data, self.quick, self.report = folder, registry.task(task), data, quick, report
        self.methods = registry.methods(task, ())
        self.sha256 = digest(data / TEST_PART[task]) if data else None
        self.environment = machine.environment()
        self.depends = {"sha256": self.sha256, "seed": SEED, "source": machine.source(task), **machine.lasting(self.environment)}

    def earlier(self, name: str, **depends: Any) -> Any:
        """What was measured under the same circumstances; None when nothing was."""
        path = self.folder / f"{name}.json"
        cell = read(path) if path.exists() else {}
        return cell.get("found") if cell.get("depends") == plain(self.depends | depends) else None

    def keep(self, name: str, found: Any, **depends: Any) -> Any:
        """Write what was measured to its file."""
        found = rounded(found)
        write_bytes(self.folder / f"{name}.json", json.dumps({"depends": self.depends | depends, "found": found}).encode())
        return found

    def kept(self, name: str, measure: Callable[[], Any], **depends: Any) -> Any:
        """What was measured earlier, or now."""
        found = self.earlier(name, **depends)
        if found is None:
            self.report(f"{self.task.name}, {name}")
            found = self.keep(name, measure(), **depends)
        return found

    def condition(self, condition: Condition) -> dict[str, Any]:
        """A condition with a record for each of its samples and methods, and why methods failed."""
        methods = {m: self.methods[m] for m in condition.methods or self.methods}
        source = str(self.data / (condition.part or TEST_PART[self.task.name])) if self.data else "builtin"
        asked = {"options": condition.options, "side": condition.side, "count": condition.count(source, self.quick)}
        asked |= {"part": digest(Path(source))} if condition.part else {}
        depends = {m: asked | {"parameters": asdict(method)} for m, method in methods.items()}
        names = {m: f"{condition.series or 'fixed'}/{condition.name}/{m}" for m in methods}
        cells = {m: self.earlier(names[m], **depends[m]) for m in methods}
        absent, failures = {m: method for m, method in methods.items() if cells[m] is None}, {}
        if absent:
            self.report(f"{self.task.name}, {condition.name}: {', '.join(absent)}")
            task = replace(self.task, metrics=()) if condition.series == SIZE else self.task
            drawn = condition.samples(self.task.name, source, self.quick)
            records = list(evaluation.evaluate(task, absent, drawn, failures))
            for m in absent.keys() - failures.keys():
                found = {"records": [r for r in records if r["method"] == m], "commit": self.environment["commit"]}
                cells[m] = self.keep(names[m], found, **depends[m])
        cells = {m: cell for m, cell in cells.items() if cell is not None}
        records = [record for turn in zip(*(cell["records"] for cell in cells.values()), strict=True) for record in turn]
        return {
            "condition": condition.name,
            "series": condition.series,
            "value": condition.value,
            "options": condition.options,
            "samples": len(records) // max(1, len(cells)),
            "seed": SEED,
            "commits": sorted({cell["commit"] for cell in cells.values()}),
            "failures": failures,
            "records": records,
        }


def failures(results: dict[str, Any]) -> list[str]:
    """A line for each cell that failed."""
    lines = []
    for task, found in results["tasks"].items():
        for condition in found["conditions"]:
            lines += [f"{task}, {condition['condition']}, {method}: {why}" for method, why in condition["failures"].items()]
        lines += [f"{task}, {piece}: {why}" for piece, why in found["failures"].items()]
    return lines


def read(path: Path) -> dict[str, Any]:
    """The results in a file that `measured` wrote."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ToolkitError(f"{path} is damaged: {error}.", "Run `toolkit benchmark` again.") from error


def plain(value: Any) -> Any:
    """A value as JSON gives it back."""
    return json.loads(json.dumps(value))


def rounded(value: Any) -> Any:
    """Floats to four decimals, throughout."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value

"""Every task x every method on fixed samples: results as JSON, to be drawn by `render`."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

from hvd.benchmarks import dependencies, machine, networks, pictures
from hvd.benchmarks.conditions import SEED, SIZE, Condition, every, fixed, test_part
from hvd.benchmarks.options import BenchmarkOptions
from hvd.toolkit import evaluation, registry
from hvd.toolkit.core import Method, ToolkitError
from hvd.toolkit.doctor import installed_version
from hvd.toolkit.images import digest
from hvd.toolkit.network import NetworkMethod
from hvd.toolkit.outputs import make_folder, write_bytes

RESULTS = Path("benchmarks/results")  # in the project's folder
QUICK = 2  # conditions of each task for a first look
# what comes between samples and records, besides methods
AROUND = "hvd.benchmarks.conditions:Condition", "hvd.toolkit.evaluation:evaluate"
Report = Callable[[str], None]


def run_benchmark(
    tasks: tuple[str, ...], options: BenchmarkOptions, report: Report
) -> dict[str, Any]:
    """Results of the tasks on `builtin`, or on a folder laid out as shared/data.

    They are also written to `options.out` as NAME.json, a record a line; results of other tasks
    that are there already stay. `report` is called with each condition.

    What was measured before, by the same code on a machine like this, is taken from cells/NAME: a
    file for each task, condition and method, to be deleted when it is to be measured again.
    """
    tasks = tasks or registry.TASKS
    check_tasks(tasks, options.data)
    make_folder(options.out)
    for line in machine.pinned():
        report(line)

    kept = ("real" if options.data else "builtin") + ("-quick" if options.quick else "")
    name = f"{kept}-chosen" if options.method else kept  # the report draws all methods or none
    results = {"name": name, "tasks": {}}
    for task in tasks:
        results["tasks"][task] = rounded(task_results(task, kept, options, report))

    path = options.out / f"{name}.json"
    others = read(path)["tasks"] if path.exists() else {}  # now: another run may have written
    together = others | results["tasks"]
    ordered = {task: together[task] for task in registry.TASKS if task in together}
    text = json.dumps(results | {"tasks": ordered}).replace('{"sample"', '\n{"sample"')
    write_bytes(path, f"{text}\n".encode())

    return results


def check_tasks(tasks: tuple[str, ...], data: Path | None) -> None:
    """Raise ToolkitError for a task that there is not, or whose real data are missing."""
    for task in tasks:
        if task not in registry.METHODS:
            remedy = f"Choose one of: {', '.join(registry.METHODS)}."
            raise ToolkitError(f"There is no benchmark of {task!r}.", remedy, status=2)
        if data and not (data / test_part(task)).exists():
            remedy = "Give --data as ../shared/data is laid out."
            raise ToolkitError(f"There is no {data / test_part(task)}.", remedy, status=5)


def task_results(task: str, name: str, options: BenchmarkOptions, report: Report) -> dict[str, Any]:
    """Results of one task: where, on what, by which methods, and every condition with its records."""
    data = options.data
    quick = options.quick
    cells = Cells(options.out / "cells" / name / task, task, options, report)
    parts = {c.part for c in fixed(task) if data and c.part}
    for left_out in parts - {c.part for c in every(task, data)}:
        report(f"{task}: there is no {data / left_out}, which is left out")

    chosen = every(task, data)[: QUICK if quick else None]
    conditions = [cells.condition(condition) for condition in chosen]
    peaks = cells.peaks()
    results: dict[str, Any] = {
        "environment": cells.environment,
        "data": cells.source,
        "sha256": cells.sha256,
        "methods": {
            m: {"name": type(method).__name__, **parameters(method), "peak_megabytes": peaks[m]}
            for m, method in cells.methods.items()
        },
        "conditions": conditions,
        "failures": {},
    }

    pieces: dict[str, Callable[[], Any]] = {}
    if not quick and isinstance(cells.methods.get("deep"), NetworkMethod):
        pieces["network"] = cells.network

    if not (quick or data):
        k = next((k for k, condition in enumerate(chosen) if condition.pictured), 0)
        pieces["pictures"] = lambda: pictures.written(
            options.out / "pictures", cells.methods, task, chosen[k], conditions[k]["records"]
        )

    for piece, measure in pieces.items():
        try:
            results[piece] = measure()
        except Exception as error:
            results["failures"][piece] = f"{type(error).__name__}: {error}"

    return results


def parameters(method: Method) -> dict[str, Any]:
    """The parameters of a method: its fields, when it is a dataclass."""
    return asdict(method) if is_dataclass(method) else {}


class Cells:
    """What was measured of a task, each piece kept in a file beside all that it depends on."""

    def __init__(self, folder: Path, task: str, options: BenchmarkOptions, report: Report):
        self.folder = folder
        self.task = registry.task(task)
        self.quick = options.quick
        self.data = options.data
        self.report = report
        self.methods = registry.methods(task, options.method)
        self.source = str(options.data / test_part(task)) if options.data else "builtin"
        self.sha256 = digest(Path(self.source)) if options.data else None
        self.environment = machine.environment()
        self.metrics = {
            metric.name: dependencies.metric_fingerprint(task, metric.name)
            for metric in self.task.metrics
        }

    def circumstances(self, method: str = "") -> dict[str, Any]:
        """All that a measurement depends on: samples, machine, and the code of a method."""
        depends = {"sha256": self.sha256, "seed": SEED, **machine.lasting(self.environment)}
        if not method:
            return depends
        return depends | {
            "code": self.code(method),
            "parameters": parameters(self.methods[method]),
            "networks": self.networks(method),
        }

    def code(self, method: str) -> str:
        """SHA-256 of the code that a method's answers, and the samples, come from."""
        around = registry.SAMPLERS[self.task.name], *AROUND
        if ":" not in method:
            return dependencies.fingerprint(registry.METHODS[self.task.name][method], *around)
        kind = registry.own_method(method)
        place = f"{kind.__module__}:{kind.__name__}"

        return digest(Path(sys.modules[kind.__module__].__file__)) + dependencies.fingerprint(
            place, *around
        )

    def networks(self, method: str) -> dict[str, str]:
        """The SHA-256 of the networks that a method may ask."""
        known = isinstance(self.methods[method], NetworkMethod)
        return dependencies.networks(self.task.name) if known else {}

    def earlier(self, name: str, depends: dict[str, Any]) -> Any:
        """What was measured under the same circumstances; None when nothing was."""
        path = self.folder / f"{name}.json"
        cell = read(path) if path.exists() else {}
        return cell.get("found") if cell.get("depends") == plain(depends) else None

    def keep(self, name: str, found: Any, depends: dict[str, Any]) -> Any:
        """Write what was measured to its file."""
        found = rounded(found)
        content = json.dumps({"depends": depends, "found": found}).encode()
        write_bytes(self.folder / f"{name}.json", content)
        return found

    def kept(self, name: str, measure: Callable[[], Any], depends: dict[str, Any]) -> Any:
        """What was measured earlier, or now."""
        found = self.earlier(name, depends)
        if found is None:
            self.report(f"{self.task.name}, {name}")
            found = self.keep(name, measure(), depends)
        return found

    def peaks(self) -> dict[str, float | None]:
        """The peak memory of every method in megabytes; None where that could not be measured."""
        names = {m: f"memory/{file_name(m)}" for m in self.methods}
        peaks = {m: self.earlier(names[m], self.circumstances(m)) for m in self.methods}
        absent = tuple(m for m, peak in peaks.items() if peak is None)
        if absent:
            self.report(f"{self.task.name}, memory: {', '.join(absent)}")
            measured = machine.peak_megabytes(self.task.name, absent, self.source)
            for m, peak in measured.items():
                peaks[m] = self.keep(names[m], peak, self.circumstances(m))

        return peaks

    def network(self) -> Any:
        """What the network of `deep` costs."""
        task = self.task.name
        depends = self.circumstances("deep")
        depends |= {name: installed_version(name) for name in ("torch", "onnx")}
        depends["measured by"] = dependencies.fingerprint("hvd.benchmarks.networks:measured")
        quiet = networks.quiet_place(self.data, task)
        return self.kept("network", lambda: networks.measured(task, self.source, quiet), depends)

    def condition(self, condition: Condition) -> dict[str, Any]:
        """A condition with a record for each of its samples and methods, and why methods failed."""
        names = [m for m in self.methods if not condition.methods or m in condition.methods]
        source = str(self.data / condition.part) if self.data and condition.part else self.source
        shared = {
            "options": condition.options,
            "side": condition.side,
            "count": condition.count(source, self.quick),
        }
        if self.data and condition.part:
            shared["part"] = digest(Path(source))

        if condition.side and self.task.enlarge:
            enlarge = self.task.enlarge
            place = f"{enlarge.__module__}:{enlarge.__name__}"
            shared["enlarged by"] = dependencies.fingerprint(place)

        metrics = {} if condition.series == SIZE else self.metrics
        depends = {m: self.circumstances(m) | shared for m in names}
        place = f"{condition.series or 'fixed'}/{condition.name}"
        cells = {
            m: current(self.earlier(f"{place}/{file_name(m)}", depends[m]), metrics) for m in names
        }

        failures: dict[str, str] = {}
        absent = [m for m, cell in cells.items() if cell is None]

        if absent:
            self.report(f"{self.task.name}, {condition.name}: {', '.join(absent)}")
            records = self.evaluate(condition, source, absent, failures)
            for m in set(absent) - failures.keys():
                found = {
                    "records": [record for record in records if record["method"] == m],
                    "metrics": metrics,
                    "commit": self.environment["commit"],
                }
                cells[m] = self.keep(f"{place}/{file_name(m)}", found, depends[m])

        return described(condition, {m: its for m, its in cells.items() if its}, failures)

    def evaluate(
        self, condition: Condition, source: str, names: list[str], failures: dict[str, str]
    ) -> list[dict[str, Any]]:
        """The records of some methods under a condition."""
        task = replace(self.task, metrics=()) if condition.series == SIZE else self.task
        samples = condition.samples(self.task.name, source, self.quick)
        methods = {m: self.methods[m] for m in names}
        return list(evaluation.evaluate(task, methods, samples, failures))


def current(cell: dict[str, Any] | None, metrics: dict[str, str]) -> dict[str, Any] | None:
    """A cell whose metrics are all there and computed as they are now; else None."""
    if cell is None or any(cell["metrics"].get(name) != code for name, code in metrics.items()):
        return None
    for record in cell["records"]:  # of metrics that there are no more
        record["metrics"] = {name: record["metrics"][name] for name in metrics}
    return cell


def described(
    condition: Condition, cells: dict[str, dict[str, Any]], failures: dict[str, str]
) -> dict[str, Any]:
    """A condition as results hold it, methods taking turns on every sample."""
    turns = zip(*(cell["records"] for cell in cells.values()), strict=True)
    records = [record for turn in turns for record in turn]
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


def file_name(method: str) -> str:
    """A name for the file of a method, which may be a path of one's own."""
    return method.replace("/", "_").replace("\\", "_").replace(":", "-")


def failures(results: dict[str, Any]) -> list[str]:
    """A line for each cell that failed."""
    lines = []
    for task, found in results["tasks"].items():
        for condition in found["conditions"]:
            place = f"{task}, {condition['condition']}"
            lines += [f"{place}, {method}: {why}" for method, why in condition["failures"].items()]
        lines += [f"{task}, {piece}: {why}" for piece, why in found["failures"].items()]
    return lines


def read(path: Path) -> dict[str, Any]:
    """The results in a file that `measured` wrote."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        remedy = "Run `toolkit benchmark` again."
        raise ToolkitError(f"{path} is damaged: {error}.", remedy) from error


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

"""Run the benchmark: every task and method on fixed samples, written as JSON."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

from hvd.benchmarks import dependencies, machine, networks, pictures
from hvd.benchmarks.conditions import (
    SEED,
    SIZE,
    Condition,
    all_conditions,
    fixed_conditions,
    test_part,
)
from hvd.benchmarks.options import BenchmarkOptions
from hvd.toolkit import evaluation, registry
from hvd.toolkit.core import Method, ToolkitError
from hvd.toolkit.doctor import installed_version
from hvd.toolkit.images import digest
from hvd.toolkit.network import NetworkMethod
from hvd.toolkit.outputs import make_folder, write_bytes

RESULTS = Path("benchmarks/results")  # in the project's folder
QUICK = 2  # conditions of each task for a first look

# The code between samples and records, besides that of the methods.
AROUND = (
    "hvd.benchmarks.conditions:Condition",
    "hvd.toolkit.evaluation:evaluate",
)

Report = Callable[[str], None]


def run_benchmark(
    tasks: tuple[str, ...], options: BenchmarkOptions, report: Report
) -> dict[str, Any]:
    """Measure tasks on built-in samples, or on a folder of real data; returns the results.

    They are also written to `options.out` as NAME.json, a record a line; results of other tasks in
    that file stay. `report` is called with each condition.

    Earlier measurements by the same code on such a machine are taken from cells/NAME: a file for
    each task, condition and method; delete it to measure again.
    """
    tasks = tasks or registry.TASKS
    check_tasks(tasks, options.data)
    make_folder(options.out)
    for line in machine.thread_report():
        report(line)

    source = ("real" if options.data else "builtin") + (
        "-quick" if options.quick else ""
    )
    # Reports need all methods
    name = f"{source}-chosen" if options.method else source
    results: dict[str, Any] = {"name": name, "tasks": {}}
    for task in tasks:
        results["tasks"][task] = round_floats(
            task_results(task, source, options, report)
        )

    # Read now: another run may have written other tasks meanwhile.
    path = options.out / f"{name}.json"
    others = read(path)["tasks"] if path.exists() else {}
    together = others | results["tasks"]
    ordered = {
        task: together[task] for task in registry.TASKS if task in together
    }
    text = json.dumps(results | {"tasks": ordered}).replace(
        '{"sample"', '\n{"sample"'
    )
    write_bytes(path, f"{text}\n".encode())
    return results


def check_tasks(tasks: tuple[str, ...], data: Path | None) -> None:
    """Refuse an unknown task, or one whose test part is missing in a folder of real data."""
    for task in tasks:
        if task not in registry.METHODS:
            remedy = f"Choose one of: {', '.join(registry.METHODS)}."
            raise ToolkitError(
                f"There is no benchmark of {task!r}.", remedy, status=2
            )
        if data and not (data / test_part(task)).exists():
            remedy = (
                "Give --data a folder as benchmarks/conditions.py lays it out."
            )
            raise ToolkitError(
                f"There is no {data / test_part(task)}.", remedy, status=5
            )


def task_results(
    task: str,
    name: str,
    options: BenchmarkOptions,
    report: Report,
) -> dict[str, Any]:
    """Results of one task: where and on what it was measured, and the records of conditions."""
    data = options.data
    cells = Cells(options.out / "cells" / name / task, task, options, report)
    conditions = all_conditions(task, data)
    missing = {c.part for c in fixed_conditions(task) if data and c.part}
    for part in missing - {c.part for c in conditions}:
        report(f"{task}: there is no {data / part}, which is left out")

    chosen = conditions[: QUICK if options.quick else None]
    records = [cells.condition(condition) for condition in chosen]
    peaks = cells.peaks()
    methods = {}
    for method_name, method in cells.methods.items():
        facts = {
            "name": type(method).__name__,
            "peak_megabytes": peaks[method_name],
        }
        methods[method_name] = facts | parameters(method)

    results: dict[str, Any] = {
        "environment": cells.environment,
        "data": cells.source,
        "sha256": cells.sha256,
        "methods": methods,
        "conditions": records,
        "failures": {},
    }

    # Parts that may fail by themselves.
    parts: dict[str, Callable[[], Any]] = {}
    if not options.quick and isinstance(
        cells.methods.get("deep"), NetworkMethod
    ):
        parts["network"] = cells.network
    if not options.quick and not data:
        k = next(
            (k for k, condition in enumerate(chosen) if condition.pictured), 0
        )
        folder = options.out / "pictures"
        parts["pictures"] = lambda: pictures.draw_examples(
            folder, cells.methods, task, chosen[k], records[k]["records"]
        )

    for part, measure in parts.items():
        try:
            results[part] = measure()
        except Exception as error:
            results["failures"][part] = f"{type(error).__name__}: {error}"

    return results


def parameters(method: Method) -> dict[str, Any]:
    """The parameters of a method: its fields, when it is a dataclass."""
    return asdict(method) if is_dataclass(method) else {}


class Cells:
    """The measurements of a task, each kept in a file together with all that it depends on."""

    def __init__(
        self,
        folder: Path,
        task: str,
        options: BenchmarkOptions,
        report: Report,
    ):
        self.folder = folder
        self.task = registry.task(task)
        self.quick = options.quick
        self.data = options.data
        self.report = report
        self.methods = registry.methods(task, options.method)
        self.source = (
            str(options.data / test_part(task)) if options.data else "builtin"
        )
        self.sha256 = digest(Path(self.source)) if options.data else None
        self.environment = machine.environment()
        self.metrics = {}
        for metric in self.task.metrics:
            self.metrics[metric.name] = dependencies.metric_fingerprint(
                task, metric.name
            )

    def circumstances(self, method: str) -> dict[str, Any]:
        """All that a measurement depends on: samples, machine, and the code of a method."""
        return {
            "sha256": self.sha256,
            "seed": SEED,
            **machine.lasting_facts(self.environment),
            "code": self.code(method),
            "parameters": parameters(self.methods[method]),
            "networks": self.networks(method),
        }

    def code(self, method: str) -> str:
        """SHA-256 of the code that a method's answers, and the samples, come from."""
        around = registry.SAMPLERS[self.task.name], *AROUND
        if ":" not in method:
            return dependencies.fingerprint(
                registry.METHODS[self.task.name][method], *around
            )

        # A user's own method: its file, and what it uses of ours.
        kind = registry.own_method(method)
        file = digest(Path(sys.modules[kind.__module__].__file__))
        return file + dependencies.fingerprint(
            f"{kind.__module__}:{kind.__name__}", *around
        )

    def networks(self, method: str) -> dict[str, str]:
        """SHA-256 of the networks that a method may run."""
        has_network = isinstance(self.methods[method], NetworkMethod)
        return dependencies.networks(self.task.name) if has_network else {}

    def load(self, name: str, depends: dict[str, Any]) -> Any:
        """A measurement made under the same circumstances; None when there is none."""
        path = self.folder / f"{name}.json"
        cell = read(path) if path.exists() else {}
        return (
            cell.get("value") if cell.get("depends") == plain(depends) else None
        )

    def save(
        self,
        name: str,
        value: Any,
        depends: dict[str, Any],
    ) -> Any:
        """Write a measurement to its file; returns it rounded."""
        value = round_floats(value)
        content = json.dumps({"depends": depends, "value": value}).encode()
        write_bytes(self.folder / f"{name}.json", content)
        return value

    def peaks(self) -> dict[str, float | None]:
        """The peak memory of every method in megabytes; None where it could not be measured."""
        names = {
            method: f"memory/{file_name(method)}" for method in self.methods
        }
        depends = {
            method: self.circumstances(method) for method in self.methods
        }
        peaks = {
            method: self.load(names[method], depends[method])
            for method in self.methods
        }

        missing = tuple(
            method for method, peak in peaks.items() if peak is None
        )
        if missing:
            self.report(f"{self.task.name}, memory: {', '.join(missing)}")
            new = machine.peak_megabytes(self.task.name, missing, self.source)
            for method, peak in new.items():
                peaks[method] = self.save(names[method], peak, depends[method])

        return peaks

    def network(self) -> Any:
        """What the network of `deep` costs."""
        task = self.task.name
        depends = self.circumstances("deep")
        depends |= {name: installed_version(name) for name in ("torch", "onnx")}
        place = "hvd.benchmarks.networks:cost_of_network"
        depends["measured by"] = dependencies.fingerprint(place)

        cost = self.load("network", depends)
        if cost is None:
            self.report(f"{task}, network")
            other = networks.validation_source(self.data, task)
            cost = networks.cost_of_network(task, self.source, other)
            cost = self.save("network", cost, depends)
        return cost

    def condition(self, condition: Condition) -> dict[str, Any]:
        """A condition with a record for each of its samples and methods, and why methods failed."""
        names = [
            m
            for m in self.methods
            if not condition.methods or m in condition.methods
        ]
        source = (
            str(self.data / condition.part)
            if self.data and condition.part
            else self.source
        )
        shared = self.shared_circumstances(condition, source)
        depends = {
            method: self.circumstances(method) | shared for method in names
        }
        metrics = {} if condition.series == SIZE else self.metrics

        place = f"{condition.series or 'fixed'}/{condition.name}"
        cells = {}
        for method in names:
            cell = self.load(f"{place}/{file_name(method)}", depends[method])
            cells[method] = current_cell(cell, metrics)

        failures: dict[str, str] = {}
        missing = [method for method, cell in cells.items() if cell is None]
        if missing:
            self.report(
                f"{self.task.name}, {condition.name}: {', '.join(missing)}"
            )
            records = self.evaluate(condition, source, missing, failures)
            for method in set(missing) - failures.keys():
                cell = {
                    "records": [
                        record
                        for record in records
                        if record["method"] == method
                    ],
                    "metrics": metrics,
                    "commit": self.environment["commit"],
                }
                path = f"{place}/{file_name(method)}"
                cells[method] = self.save(path, cell, depends[method])

        measured_cells = {
            method: cell for method, cell in cells.items() if cell
        }
        return condition_record(condition, measured_cells, failures)

    def shared_circumstances(
        self, condition: Condition, source: str
    ) -> dict[str, Any]:
        """What the measurements of all methods under a condition depend on."""
        shared = {
            "options": condition.options,
            "side": condition.side,
            "count": condition.count(source, self.quick),
        }
        if self.data and condition.part:
            shared["part"] = digest(Path(source))

        enlarge = self.task.enlarge
        if condition.side and enlarge:
            place = f"{enlarge.__module__}:{enlarge.__name__}"
            shared["enlarged by"] = dependencies.fingerprint(place)
        return shared

    def evaluate(
        self,
        condition: Condition,
        source: str,
        names: list[str],
        failures: dict[str, str],
    ) -> list[dict[str, Any]]:
        """The records of some methods under a condition."""
        task = (
            replace(self.task, metrics=())
            if condition.series == SIZE
            else self.task
        )
        samples = condition.samples(self.task.name, source, self.quick)
        methods = {name: self.methods[name] for name in names}
        return list(evaluation.evaluate(task, methods, samples, failures))


def current_cell(
    cell: dict[str, Any] | None, metrics: dict[str, str]
) -> dict[str, Any] | None:
    """A cell that has all metrics, computed by the present code; None for any other."""
    if cell is None:
        return None
    for name, code in metrics.items():
        if cell["metrics"].get(name) != code:
            return None

    # Leave out metrics that no longer exist.
    for record in cell["records"]:
        record["metrics"] = {name: record["metrics"][name] for name in metrics}
    return cell


def condition_record(
    condition: Condition,
    cells: dict[str, dict[str, Any]],
    failures: dict[str, str],
) -> dict[str, Any]:
    """A condition as results hold it; methods take turns on every sample."""
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
    """A file name for a method, whose own name may be a path."""
    return method.replace("/", "_").replace("\\", "_").replace(":", "-")


def failures(results: dict[str, Any]) -> list[str]:
    """A line for everything that failed."""
    lines = []
    for task, content in results["tasks"].items():
        for condition in content["conditions"]:
            for method, reason in condition["failures"].items():
                lines.append(
                    f"{task}, {condition['condition']}, {method}: {reason}"
                )
        for part, reason in content["failures"].items():
            lines.append(f"{task}, {part}: {reason}")
    return lines


def read(path: Path) -> dict[str, Any]:
    """The content of a file that the benchmark wrote."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        remedy = "Run `toolkit benchmark` again."
        raise ToolkitError(f"{path} is damaged: {error}.", remedy) from error


def plain(value: Any) -> Any:
    """A value as it comes back from JSON."""
    return json.loads(json.dumps(value))


def round_floats(value: Any) -> Any:
    """Round all floats in a value to four decimals."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {k: round_floats(v) for k, v in value.items()}
    return (
        [round_floats(v) for v in value] if isinstance(value, list) else value
    )

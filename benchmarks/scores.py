"""Compute from the records what is drawn: scores with intervals, differences, sweeps, growth."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hvd.benchmarks.conditions import MAIN, SIZE
from hvd.benchmarks.run import RESULTS, read
from hvd.toolkit import registry
from hvd.toolkit.core import Metric, ToolkitError
from hvd.toolkit.evaluation import difference, summary


class DataSet(NamedTuple):
    """A known set of real data, and a note on how to read its results."""

    origin: str
    note: str = ""


# By SHA-256 of the data.
KNOWN = {
    "706ee6bf4d1628e17925b2aa01a5852c900172e0a13eecf0e47afdaa5e887d03": DataSet(
        "2,020 Caltech-101 photographs, never trained or chosen on"
    ),
    "d725e8261e167b1725ba88f095d62d21cb3daf91b28047030cc74fcab57290bd": DataSet(
        "10 micrographs of etched 316L steel, never trained on",
        "Floor: `everywhere`, which marks all as boundary, scores the share of boundary. Ceiling: "
        "where one annotator drew a region twice, the two drawings agree with IoU 0.38 to 0.45 and "
        "F1 0.45 to 0.51 at 3 pixels, 0.64 to 0.73 at 5.",
    ),
    "79e5ffd74236623ab9296b2bd4ef89f67ece2f0f35effaccd269743a8ff0f7e2": DataSet(
        "112 slices of 14 heads, from a scanner never trained on"
    ),
    "6857d5ecdb419e0e6601342557677333ebe9beaa064a8765d24c904530b75fa7": DataSet(
        "233 street scenes of CamVid, never trained or chosen on"
    ),
}


class TaskResults:
    """The results of one task on one source of samples."""

    def __init__(self, task: str, content: dict[str, Any]):
        self.name = task
        self.content = content
        self.task = registry.task(task)
        self.headline = self.task.metrics[0]
        self.methods = content["methods"]

    @property
    def swept_metrics(self) -> list[Metric]:
        """The metrics that sweeps are drawn in: the headline, and those that ask for it."""
        return [m for m in self.task.metrics if m is self.headline or m.swept]

    @property
    def origin(self) -> str:
        """What the samples were made from."""
        if self.content["data"] == "builtin":
            return self.task.builtin
        known = KNOWN.get(self.content["sha256"])
        return known.origin if known else f"the data at {self.content['data']}"

    @property
    def note(self) -> str:
        """How to read the results; empty for unknown data."""
        known = KNOWN.get(self.content["sha256"])
        return known.note if known else ""

    @property
    def command(self) -> str:
        """The command that measures what is missing."""
        data = "" if self.content["data"] == "builtin" else " --data DIR"
        return f"toolkit benchmark {self.name}{data}"

    @cached_property
    def conditions(self) -> dict[str, dict[str, Any]]:
        """The fixed conditions by name."""
        return {
            c["condition"]: c
            for c in self.content["conditions"]
            if not c["series"]
        }

    @cached_property
    def series(self) -> dict[str, list[dict[str, Any]]]:
        """The conditions of each sweep by its name, in the order of their values."""
        series = {}
        for condition in self.content["conditions"]:
            if condition["series"]:
                series.setdefault(condition["series"], []).append(condition)
        return {
            name: sorted(points, key=lambda c: c["value"])
            for name, points in series.items()
        }

    @property
    def sweeps(self) -> dict[str, list[dict[str, Any]]]:
        """The series in which quality is measured."""
        return {
            name: points for name, points in self.series.items() if name != SIZE
        }

    def scores(self, condition: dict[str, Any]) -> dict[str, Any]:
        """For each method in a condition, mean and interval of every metric, and the milliseconds.

        Computed once.
        """
        if "scores" not in condition:
            metrics = () if condition["series"] == SIZE else self.task.metrics
            condition["scores"] = summary(condition["records"], metrics)
        return condition["scores"]

    def gain(self, condition: dict[str, Any]) -> dict[str, float] | None:
        """`deep` minus `baseline` in the headline metric, paired by sample.

        None when one of them failed or was not measured.
        """
        scores = self.scores(condition)
        for method in MAIN:
            metrics = scores[method]["metrics"] if method in scores else {}
            if metrics.get(self.headline.name) is None:
                return None
        return difference(
            condition["records"], self.headline, "deep", "baseline"
        )

    def growth(self) -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
        """Yield method, sizes, median milliseconds, and the slope of their logarithms.

        A slope of 1 means that time is in proportion to size.
        """
        times_of: dict[str, list[tuple[float, float]]] = {}
        for condition in self.series.get(SIZE, []):
            for method, scores in self.scores(condition).items():
                point = condition["value"], scores["milliseconds"]["median"]
                times_of.setdefault(method, []).append(point)

        for method, points in times_of.items():
            sizes, times = np.array(points).T
            slope = float("nan")
            if len(points) > 1:
                slope = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
            yield method, sizes, times, slope


class Results:
    """One file of results: `builtin` or `real`."""

    def __init__(self, content: dict[str, Any]):
        self.name = content["name"]
        self.tasks = {
            task: TaskResults(task, part)
            for task, part in content["tasks"].items()
        }


def stored_results() -> list[Results]:
    """The results in benchmarks/results, those on real data first."""
    results = []
    for name in ("real", "builtin"):
        path = RESULTS / f"{name}.json"
        if path.exists():
            results.append(Results(read(path)))
    return results


def preferred_results(results: list[Results]) -> Results:
    """For every task the results on real data, or on built-in samples when there are no others."""
    preferred = Results({"name": "preferred", "tasks": {}})
    for task in registry.TASKS:
        for result in results:
            if task in result.tasks:
                preferred.tasks[task] = result.tasks[task]
                break
    return preferred


def study(name: str) -> dict[str, Any] | None:
    """A comparison measured by a command of its own (`preparation`); None when it was not."""
    path = RESULTS / f"{name}.json"
    return read(path) if path.exists() else None


def picture(name: str) -> bytes:
    """A picture that the benchmark left beside the results."""
    path: Path = RESULTS / "pictures" / name
    if not path.exists():
        raise ToolkitError(
            f"There is no {path}.", "Run `toolkit benchmark` again."
        )
    return path.read_bytes()

"""Results as they are drawn: scores with intervals, differences, sweeps and growth with size, all from the records."""

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
    """What is known of real data: what they are, and what to read their results against."""

    origin: str
    note: str = ""


KNOWN = {  # by SHA-256 of the data
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
    """What was measured of one task on one source."""

    def __init__(self, task: str, found: dict[str, Any]):
        self.name = task
        self.found = found
        self.task = registry.task(task)
        self.headline = self.task.metrics[0]
        self.methods = found["methods"]

    @property
    def swept(self) -> list[Metric]:
        """The metrics that sweeps are drawn in: the headline, and those that say so."""
        return [m for m in self.task.metrics if m is self.headline or m.swept]

    @property
    def origin(self) -> str:
        """What the samples were made from."""
        if self.found["data"] == "builtin":
            return self.task.builtin
        known = KNOWN.get(self.found["sha256"])
        return known.origin if known else f"the data at {self.found['data']}"

    @property
    def note(self) -> str:
        """What the results are to be read against; nothing for data that are not known."""
        known = KNOWN.get(self.found["sha256"])
        return known.note if known else ""

    @property
    def command(self) -> str:
        """The command that measures what is missing."""
        data = "" if self.found["data"] == "builtin" else " --data DIR"
        return f"toolkit benchmark {self.name}{data}"

    @cached_property
    def conditions(self) -> dict[str, dict[str, Any]]:
        """The fixed conditions by name."""
        return {c["condition"]: c for c in self.found["conditions"] if not c["series"]}

    @cached_property
    def series(self) -> dict[str, list[dict[str, Any]]]:
        """The conditions of each sweep by its name, in the order of their values."""
        found = {}
        for c in self.found["conditions"]:
            if c["series"]:
                found.setdefault(c["series"], []).append(c)
        return {name: sorted(points, key=lambda c: c["value"]) for name, points in found.items()}

    @property
    def sweeps(self) -> dict[str, list[dict[str, Any]]]:
        """The series in which quality is measured."""
        return {name: points for name, points in self.series.items() if name != SIZE}

    def scores(self, condition: dict[str, Any]) -> dict[str, Any]:
        """By method: every metric's mean and interval, and the milliseconds, of a condition; computed once."""
        if "scores" not in condition:
            metrics = () if condition["series"] == SIZE else self.task.metrics
            condition["scores"] = summary(condition["records"], metrics)
        return condition["scores"]

    def gain(self, condition: dict[str, Any]) -> dict[str, float] | None:
        """`deep` minus `baseline` in the headline metric, paired by sample; None when one of them
        failed or was not measured."""
        scores = self.scores(condition)
        both = [scores.get(name, {"metrics": {}})["metrics"] for name in MAIN]
        if any(metrics.get(self.headline.name) is None for metrics in both):
            return None
        return difference(condition["records"], self.headline, "deep", "baseline")

    def growth(self) -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
        """Method, sizes, median milliseconds, and the slope of their logarithms: 1 is time in
        proportion to size."""
        points = self.series.get(SIZE, [])
        for method in dict.fromkeys(m for c in points for m in self.scores(c)):
            measured = [
                (c["value"], self.scores(c)[method]["milliseconds"]["median"])
                for c in points
                if method in self.scores(c)
            ]
            sizes, times = np.array(measured).T
            slope = float("nan")
            if len(measured) > 1:
                slope = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
            yield method, sizes, times, slope


class Results:
    """One file of results: `builtin` or `real`."""

    def __init__(self, found: dict[str, Any]):
        self.name = found["name"]
        self.tasks = {task: TaskResults(task, its) for task, its in found["tasks"].items()}


def stored() -> list[Results]:
    """What lies in benchmarks/results, real data first."""
    return [
        Results(read(path))
        for name in ("real", "builtin")
        if (path := RESULTS / f"{name}.json").exists()
    ]


def preferred(results: list[Results]) -> Results:
    """Of every task the results on real data, or on what is built in where there are no others."""
    found = Results({"name": "preferred", "tasks": {}})
    for task in registry.TASKS:
        measured = [result.tasks[task] for result in results if task in result.tasks]
        found.tasks |= {task: measured[0]} if measured else {}
    return found


def study(name: str) -> dict[str, Any] | None:
    """A comparison that is measured by a command of its own, such as `preparation`; None when it was not."""
    path = RESULTS / f"{name}.json"
    return read(path) if path.exists() else None


def picture(name: str) -> bytes:
    """A picture that the benchmark left beside the results."""
    path: Path = RESULTS / "pictures" / name
    if not path.exists():
        raise ToolkitError(f"There is no {path}.", "Run `toolkit benchmark` again.")
    return path.read_bytes()

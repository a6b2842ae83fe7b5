"""Results as they are drawn: scores with intervals, differences, sweeps and growth with size, all from the records."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conditions import CONDITIONS, SIZE
from benchmarks.run import RESULTS, read
from toolkit import registry
from toolkit.core import ToolkitError
from toolkit.evaluation import difference, summary

KNOWN = {  # by SHA-256 of the data
    "706ee6bf4d1628e17925b2aa01a5852c900172e0a13eecf0e47afdaa5e887d03": "2,020 Caltech-101 photographs, never trained or chosen on",
    "d725e8261e167b1725ba88f095d62d21cb3daf91b28047030cc74fcab57290bd": "10 micrographs of etched 316L steel, never trained on",
    "79e5ffd74236623ab9296b2bd4ef89f67ece2f0f35effaccd269743a8ff0f7e2": "112 slices of 14 heads, from a scanner never trained on",
    "6857d5ecdb419e0e6601342557677333ebe9beaa064a8765d24c904530b75fa7": "233 street scenes of CamVid, never trained or chosen on",
}
BUILTIN = {
    "fragments": "the photographs that scikit-image and scikit-learn bundle",
    "grains": "generated polycrystals, of the kind that the network was trained on",
    "lines": "generated heads, of the kind that the network was trained on besides real ones",
    "objects": "generated scenes, of the kind that the network was trained on",
}
HEADLINES = {"ari": "ARI", "boundary_iou": "boundary IoU", "psnr_db": "PSNR over all pixels, in dB", "iou": "IoU"}


class TaskResults:
    """What was measured of one task on one source."""

    def __init__(self, task: str, found: dict[str, Any]):
        self.name, self.found, self.task = task, found, registry.task(task)
        self.headline = self.task.metrics[0]
        self.methods = found["methods"]

    @property
    def origin(self) -> str:
        """What the samples were made from."""
        if self.found["data"] == "builtin":
            return BUILTIN[self.name]
        return KNOWN.get(self.found["sha256"], f"the data at {self.found['data']}")

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
        """`deep` minus `baseline` in the headline metric, paired by sample; None when one of them failed."""
        if {"deep", "baseline"} & condition["failures"].keys():
            return None
        return difference(condition["records"], self.headline, "deep", "baseline")

    def growth(self) -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
        """Method, sizes, median milliseconds, and the slope of their logarithms: 1 is time in proportion to size."""
        points = self.series.get(SIZE, [])
        for method in dict.fromkeys(m for c in points for m in self.scores(c)):
            its = [(c["value"], self.scores(c)[method]["milliseconds"]["median"]) for c in points if method in self.scores(c)]
            sizes, times = np.array(its).T
            yield method, sizes, times, float(np.polyfit(np.log(sizes), np.log(times), 1)[0]) if len(its) > 1 else float("nan")


class Results:
    """One file of results: `builtin` or `real`."""

    def __init__(self, found: dict[str, Any]):
        self.name = found["name"]
        self.tasks = {task: TaskResults(task, its) for task, its in found["tasks"].items()}


def stored() -> list[Results]:
    """What lies in benchmarks/results, real data first."""
    return [Results(read(path)) for name in ("real", "builtin") if (path := RESULTS / f"{name}.json").exists()]


def preferred(results: list[Results]) -> Results:
    """Of every task the results on real data, or on what is built in where there are no others."""
    found = Results({"name": "preferred", "tasks": {}})
    for task in CONDITIONS:
        its = [r.tasks[task] for r in results if task in r.tasks]
        if not its:
            raise ToolkitError(f"There are no results of {task}.", f"Run `toolkit benchmark {task}`.")
        found.tasks[task] = its[0]
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

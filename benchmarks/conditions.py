"""What is measured: fixed conditions, sweeps of one condition, and sizes, for each task."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit import registry
from toolkit.core import Sample

SEED = 7
TEST_PART = {
    "fragments": "fragments/test.zip",
    "grains": "grains/steel/test",
    "lines": "lines/test.npy",
    "objects": "objects/camvid/test",
}
MAIN = "baseline", "deep"  # the methods that sweeps and sizes compare


@dataclass(frozen=True)
class Condition:
    """Samples made with `options`: `builtin` of what is built in, 0 to leave it out there, `real` of real data. Of a sweep, or of
    sizes, `series` is what it is called and `value` the place along its axis. With `side`, pictures are repeated up to a square of
    that width. With `part`, of real data alone, samples come from this part of the data instead of the task's."""

    name: str
    options: dict[str, Any]
    builtin: int
    real: int
    series: str = ""
    value: float = 0.0
    methods: tuple[str, ...] = ()
    side: int | None = None
    part: str | None = None

    def count(self, source: str, quick: bool) -> int:
        """How many samples there are, at most; two when quick."""
        whole = self.builtin if source == "builtin" else self.real
        return min(2, whole) if quick else whole

    def samples(self, task: str, source: str, quick: bool) -> Iterator[Sample]:
        """The samples, from `builtin` or from the path of real data."""
        options = registry.task(task).options(**self.options)
        for sample in registry.loaded(registry.SAMPLERS[task])(source, options, self.count(source, quick), SEED):
            yield sample if self.side is None else repeated(sample, self.side)


def repeated(sample: Sample, side: int) -> Sample:
    """A sample of pictures repeated up to a square of `side` pixels, to be timed."""
    changes = {}
    for name in ("image", "images", "missing"):
        array = getattr(sample.inputs, name, None)
        if isinstance(array, np.ndarray):
            first = 0 if name == "image" else 1
            height, width = array.shape[first : first + 2]
            times = [1] * array.ndim
            times[first : first + 2] = -(-side // height), -(-side // width)
            changes[name] = np.ascontiguousarray(np.tile(array, times)[(slice(None),) * first + (slice(side), slice(side))])
    return Sample(sample.id, replace(sample.inputs, **changes), None)


def sweep(series: str, option: str, values: tuple, builtin: int, real: int, **others: Any) -> tuple[Condition, ...]:
    """A condition for each value of an option."""
    return tuple(
        Condition(f"{series} {value:g}", {**others, option: value}, builtin, real, series, float(value), MAIN) for value in values
    )


def masks(series: str, masks: dict[float, str]) -> tuple[Condition, ...]:
    """A condition for each mask of `lines`, by its place along the axis."""
    return tuple(Condition(f"{series} {value:g}", {"mask": mask}, 10, 40, series, value, MAIN) for value, mask in masks.items())


def light(name: str, **options: float) -> Condition:
    """A change of light or lens in micrographs."""
    return Condition(name, options, 7, 10)


CONDITIONS = {
    "fragments": (
        Condition("known sizes", {}, 20, 100),
        Condition("known count", {"known": "count"}, 10, 100),
        Condition("known nothing", {"known": "nothing"}, 10, 100),
        Condition("noise 20", {"noise": 20.0}, 10, 100),
        Condition("noise 10, turned", {"noise": 10.0, "rotate": True}, 8, 100),
        Condition("worn by 2", {"worn": 2}, 10, 100),
        Condition("8-pixel fragments", {"grid": 8, "fragment": 8}, 2, 30),
    ),
    "grains": (
        Condition("as it is", {}, 12, 10),
        light("brightness x 0.5", brightness=0.5),
        light("brightness x 1.5", brightness=1.5),
        light("contrast x 0.5", contrast=0.5),
        light("contrast x 1.5", contrast=1.5),
        light("gamma 0.6", gamma=0.6),
        light("gamma 1.7", gamma=1.7),
        light("light gradient 0.5", gradient=0.5),
        light("blur 2", blur=2.0),
        light("noise 15", noise=15.0),
    ),
    "lines": (
        Condition("the task's mask", {}, 30, 112),
        Condition("columns, 1 of 2", {"mask": "1/2@90"}, 20, 112),
        Condition("rows, 2 of 4", {"mask": "2/4@0"}, 20, 112),
        Condition("45 degrees, 2 of 4", {"mask": "2/4@45"}, 20, 112),
        Condition("random rows, 30 %", {"mask": "random:0.3"}, 4, 40),
        Condition("further columns of test_set.npy, 1 of 8", {"mask": "1/8@90"}, 0, 100, part="lines/test_set.npy"),
    ),
    "objects": (
        Condition("as they are", {}, 40, 233),
        Condition("photographs with a person (COCO)", {}, 0, 155, part="objects/person/test"),
    ),
}

AXES = {  # by series: what its axis says
    "noise": "noise: standard deviation, of 255",
    "noise, turned": "the same, fragments turned",
    "fragment size": "width of a fragment, pixels",
    "photographs": "photographs in a heap",
    "missing": "share of fragments missing",
    "brightness": "factor on brightness",
    "contrast": "factor on contrast",
    "blur": "blur: standard deviation, pixels",
    "line width": "width of rows, half missing, pixels",
    "share missing": "share of rows missing, 2 at a time",
    "angle": "angle of lines, 2 of 4, degrees",
    "picture size": "longer side of a picture, pixels",
}
SWEEPS = {
    "fragments": (
        *sweep("noise", "noise", (0.0, 10.0, 20.0, 30.0, 40.0), 5, 20),
        *sweep("noise, turned", "noise", (0.0, 10.0, 20.0, 30.0, 40.0), 5, 20, rotate=True),
        *(Condition(f"fragment size {s}", {"grid": 64 // s, "fragment": s}, 2, 10, "fragment size", s, MAIN) for s in (8, 16, 32)),
        *sweep("photographs", "images", (2, 5, 10, 20), 5, 20),
        *sweep("missing", "missing", (0.0, 0.1, 0.2, 0.4), 5, 20, known="count"),
    ),
    "grains": (
        *sweep("brightness", "brightness", (0.25, 0.5, 1.0, 1.5, 2.0), 4, 3),
        *sweep("contrast", "contrast", (0.1, 0.25, 0.5, 1.0), 4, 3),
        *sweep("blur", "blur", (0.0, 2.0, 4.0), 4, 3),
        *sweep("noise", "noise", (0.0, 20.0, 40.0), 4, 3),
    ),
    "lines": (
        *masks("line width", {1: "1/2@0", 2: "2/4@0", 3: "3/6@0", 4: "4/8@0", 6: "6/12@0"}),
        *masks("share missing", {0.125: "2/16@0", 0.25: "2/8@0", 0.5: "2/4@0", 0.667: "2/3@0"}),
        *masks("angle", {angle: f"2/4@{angle}" for angle in (0, 15, 30, 45, 60, 75, 90)}),
    ),
    "objects": sweep("picture size", "size", (64, 96, 128, 192, 256), 10, 40),
}

SIZE = "size"  # the series in which time is measured against size: fragments, or megapixels


def sides(*values: int) -> tuple[Condition, ...]:
    """A condition for each width of square pictures."""
    return tuple(Condition(f"{side} x {side}", {}, 2 * (side <= 1024), 2, SIZE, side**2 / 1e6, MAIN, side) for side in values)


SIZES = {
    "fragments": tuple(
        Condition(f"{n * grid**2} fragments", {"images": n, "grid": grid, "fragment": 64 // grid}, 2, 2, SIZE, n * grid**2, MAIN)
        for n, grid in ((2, 4), (5, 4), (10, 4), (5, 8), (10, 8))
    ),
    "grains": sides(256, 512, 1024, 2048),
    "lines": sides(64, 128, 256, 512),
    "objects": sides(64, 128, 256, 512),
}


def every(task: str, real: Path | None) -> tuple[Condition, ...]:
    """All that is measured of a task on what there is; heaps of more photographs than are built in need real ones."""
    found = CONDITIONS[task] + SWEEPS[task] + SIZES[task]
    if real:
        return tuple(c for c in found if c.part is None or (real / c.part).exists())
    return tuple(c for c in found if c.builtin and c.options.get("images", 0) <= 10)

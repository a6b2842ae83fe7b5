"""What the benchmark measures: fixed conditions, sweeps of one condition, and sizes, by task."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd.toolkit import registry
from hvd.toolkit.core import Sample

SEED = 7
MAIN = "baseline", "deep"  # the methods that sweeps and sizes compare
SIZE = "size"  # the series in which time is measured against size: fragments, or megapixels

# Where the test part of a task lies in a folder of real data; of others in TASK/test.
TEST_PART = {
    "fragments": "fragments/test.zip",
    "grains": "grains/steel/test",
    "lines": "lines/test.npy",
    "objects": "objects/camvid/test",
}


@dataclass(frozen=True)
class Condition:
    """Samples that methods are compared on.

    Parameters
    ----------
    name : as tables show it.
    options : with which samples are made.
    builtin, real : the number of samples, of the built-in ones and of real data; with 0 built-in
        samples the condition is left out there.
    series, value : of a sweep, or of sizes: its name, and the place along its axis.
    methods : the methods compared; all when empty.
    side : repeat pictures up to a square of that width, to be timed.
    part : of real data alone: the part that samples come from instead of the task's.
    pictured : draw its samples for the page, instead of those of the task's first condition.
    """

    name: str
    options: dict[str, Any]
    builtin: int
    real: int
    series: str = ""
    value: float = 0.0
    methods: tuple[str, ...] = ()
    side: int | None = None
    part: str | None = None
    pictured: bool = False

    def count(self, source: str, quick: bool) -> int:
        """The number of samples, at most; two when quick."""
        count = self.builtin if source == "builtin" else self.real
        return min(2, count) if quick else count

    def samples(
        self,
        task_name: str,
        source: str,
        quick: bool,
    ) -> Iterator[Sample]:
        """The samples, from `builtin` or from the path of real data."""
        task = registry.task(task_name)
        options = task.options(**self.options)
        count = self.count(source, quick)
        for sample in registry.samples(task_name, source, options, count, SEED):
            if self.side is None or task.enlarge is None:
                yield sample
            else:
                yield Sample(
                    sample.id, task.enlarge(sample.inputs, self.side), None
                )


def sweep(
    series: str,
    option: str,
    values: tuple,
    builtin: int,
    real: int,
    **others: Any,
) -> tuple[Condition, ...]:
    """A condition for each value of an option."""
    conditions = []
    for value in values:
        name = f"{series} {value:g}"
        options = {**others, option: value}
        conditions.append(
            Condition(name, options, builtin, real, series, float(value), MAIN)
        )
    return tuple(conditions)


def masks(series: str, masks: dict[float, str]) -> tuple[Condition, ...]:
    """A condition for each mask of `lines`, by its place along the axis."""
    conditions = []
    for value, mask in masks.items():
        name = f"{series} {value:g}"
        conditions.append(
            Condition(name, {"mask": mask}, 10, 40, series, value, MAIN)
        )
    return tuple(conditions)


def light(name: str, **options: float) -> Condition:
    """A change of light or lens in micrographs."""
    return Condition(name, options, 7, 10)


def fragment_sizes(*sizes: int) -> tuple[Condition, ...]:
    """A condition for each size of fragments, in pixels."""
    series = "fragment size"
    conditions = []
    for size in sizes:
        options = {"grid": 64 // size, "fragment": size}
        conditions.append(
            Condition(f"{series} {size}", options, 2, 10, series, size, MAIN)
        )
    return tuple(conditions)


def heap_sizes(*heaps: tuple[int, int]) -> tuple[Condition, ...]:
    """A condition to time heaps of so many photographs, cut along a grid."""
    conditions = []
    for images, grid in heaps:
        count = images * grid**2
        options = {"images": images, "grid": grid, "fragment": 64 // grid}
        conditions.append(
            Condition(f"{count} fragments", options, 2, 2, SIZE, count, MAIN)
        )
    return tuple(conditions)


def sides(*sides: int) -> tuple[Condition, ...]:
    """A condition to time each width of square pictures; large ones on real data only."""
    conditions = []
    for side in sides:
        builtin = 2 if side <= 1024 else 0
        megapixels = side**2 / 1e6
        name = f"{side} x {side}"
        conditions.append(
            Condition(name, {}, builtin, 2, SIZE, megapixels, MAIN, side)
        )
    return tuple(conditions)


CONDITIONS = {
    "fragments": (
        Condition("known sizes", {}, 20, 100),
        Condition("known count", {"known": "count"}, 10, 100),
        Condition("known nothing", {"known": "nothing"}, 10, 100),
        Condition("noise 20", {"noise": 20.0}, 10, 100),
        Condition("noise 10, turned", {"noise": 10.0, "rotate": True}, 8, 100),
        Condition("worn by 2", {"worn": 2}, 10, 100, pictured=True),
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
        Condition(
            "further columns of test_set.npy, 1 of 8",
            {"mask": "1/8@90"},
            0,
            100,
            part="lines/test_set.npy",
        ),
    ),
    "objects": (
        Condition("as they are", {}, 40, 233),
        Condition(
            "photographs with a person (COCO)",
            {},
            0,
            155,
            part="objects/person/test",
        ),
    ),
}

# The titles of the axes, by series.
AXES = {
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
        *sweep(
            "noise, turned",
            "noise",
            (0.0, 10.0, 20.0, 30.0, 40.0),
            5,
            20,
            rotate=True,
        ),
        *fragment_sizes(8, 16, 32),
        *sweep("photographs", "images", (2, 5, 10), 5, 20),
        *sweep("photographs", "images", (20,), 0, 20),  # more than are built in
        *sweep(
            "missing", "missing", (0.0, 0.1, 0.2, 0.4), 5, 20, known="count"
        ),
    ),
    "grains": (
        *sweep("brightness", "brightness", (0.25, 0.5, 1.0, 1.5, 2.0), 4, 3),
        *sweep("contrast", "contrast", (0.1, 0.25, 0.5, 1.0), 4, 3),
        *sweep("blur", "blur", (0.0, 2.0, 4.0), 4, 3),
        *sweep("noise", "noise", (0.0, 20.0, 40.0), 4, 3),
    ),
    "lines": (
        *masks(
            "line width",
            {1: "1/2@0", 2: "2/4@0", 3: "3/6@0", 4: "4/8@0", 6: "6/12@0"},
        ),
        *masks(
            "share missing",
            {0.125: "2/16@0", 0.25: "2/8@0", 0.5: "2/4@0", 0.667: "2/3@0"},
        ),
        *masks(
            "angle",
            {angle: f"2/4@{angle}" for angle in (0, 15, 30, 45, 60, 75, 90)},
        ),
    ),
    "objects": sweep("picture size", "size", (64, 96, 128, 192, 256), 10, 40),
}
SIZES = {
    "fragments": heap_sizes((2, 4), (5, 4), (10, 4), (5, 8), (10, 8)),
    "grains": sides(256, 512, 1024, 2048),
    "lines": sides(64, 128, 256, 512),
    "objects": sides(64, 128, 256, 512),
}

# For a task that has no conditions yet.
ANY = (Condition("as they are", {}, 10, 100),)


def test_part(task: str) -> str:
    """Where the test part of a task lies in a folder of real data."""
    return TEST_PART.get(task, f"{task}/test")


def fixed_conditions(task: str) -> tuple[Condition, ...]:
    """The fixed conditions of a task; the first one introduces it."""
    return CONDITIONS.get(task, ANY)


def all_conditions(task: str, real: Path | None) -> tuple[Condition, ...]:
    """All conditions of a task that can be measured, on built-in samples or on real data."""
    conditions = (
        fixed_conditions(task) + SWEEPS.get(task, ()) + SIZES.get(task, ())
    )
    if real:
        return tuple(
            c for c in conditions if c.part is None or (real / c.part).exists()
        )
    return tuple(c for c in conditions if c.builtin)

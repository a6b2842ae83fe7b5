"""Options of `toolkit prepare`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from hvd.toolkit.options import (
    LARGEST_SEED,
    MOST_WORKERS,
    ImageOptions,
    Options,
    option,
    parse_shard,
    two_numbers,
)

REQUIRED = dataclasses.MISSING


def width_height(text: str) -> tuple[int, int]:
    """Width and height of `--size SIDE` or `--size WIDTHxHEIGHT`."""
    return two_numbers(text, "x")


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in text.split(","))


@dataclass(frozen=True)
class PrepareOptions(ImageOptions):
    """How a data set is prepared; `rasters.label_map` says more about `priority`."""

    annotations: Path = option(
        REQUIRED, "A .json or .xml file, or a folder of them."
    )
    images: Path = option(
        REQUIRED, "Folder with the images, in subfolders or not."
    )
    classes: tuple[str, ...] = option(
        (),
        "Names of the classes to take, separated by commas.",
        shown_default="all",
        parse=names,
    )
    mode: str = option(
        "classes",
        "What masks hold: classes; binary, any class against the background; or classes, with "
        "16-bit masks of instances beside them.",
        choices=("classes", "binary", "instances"),
    )
    size: tuple[int, int] = option(
        (256, 256),
        "Size of the written images in pixels: SIDE or WIDTHxHEIGHT.",
        shown_default="256",
        parse=width_height,
    )
    fit: str = option(
        "letterbox",
        "How images are brought to that size.",
        choices=("letterbox", "crop", "stretch"),
    )
    priority: str = option(
        "area",
        "Which object wins an overlap: the smaller; the one in front (z_order, or later in the "
        "file); or the one whose class is named later.",
        choices=("area", "order", "classes"),
    )
    boxes: bool = option(
        False, "Draw objects that have a box but no outline as rectangles."
    )
    seed: int = option(
        0,
        "Random seed of the split into train, val and test.",
        low=0,
        high=LARGEST_SEED,
    )


@dataclass(frozen=True)
class WorkerOptions(Options):
    """How many processes work."""

    workers: int = option(
        2, "Number of processes.", low=1, high=MOST_WORKERS, kw_only=True
    )


@dataclass(frozen=True)
class PrepareRunOptions(WorkerOptions):
    """How a run of `prepare objects` goes."""

    out: Path = option(
        REQUIRED, "Folder for train, val, test, the manifest and the report."
    )
    shard: tuple[int, int] | None = option(
        None,
        "I/N: prepare only the I-th of N shards; then run once without it, with --resume.",
        parse=parse_shard,
    )
    resume: bool = option(False, "Continue a run that was interrupted.")


@dataclass(frozen=True)
class GenerateOptions(WorkerOptions):
    """How samples are generated, and where to."""

    out: Path = option(REQUIRED, "Folder to write.")
    seed: int = option(
        0, "Random seed.", low=0, high=LARGEST_SEED, kw_only=True
    )


@dataclass(frozen=True)
class SceneOptions(GenerateOptions):
    """Generated scenes: a folder with images/ and annotations.json."""

    images: int = option(200, "Number of scenes.", low=1, high=10_000_000)


@dataclass(frozen=True)
class HeadOptions(GenerateOptions):
    """Generated heads: a folder with train.npy, val.npy, missing.npy and a contact sheet."""

    images: int = option(
        15000, "Number of heads for training.", low=1, high=10_000_000
    )

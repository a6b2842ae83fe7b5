"""How a data set is prepared, and how generated ones are made."""

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
    """Names that are separated by commas."""
    return tuple(name.strip() for name in text.split(","))


@dataclass(frozen=True)
class PrepareOptions(ImageOptions):
    """How a data set is prepared; `rasters.label_map` says more of `priority`."""

    annotations: Path = option(REQUIRED, "A .json or .xml file, or a folder of them.")
    images: Path = option(REQUIRED, "Folder with the images, in subfolders or not.")
    classes: tuple[str, ...] = option(
        (),
        "Names of the classes to take, separated by commas.",
        shown_default="all",
        parse=names,
    )
    mode: str = option(
        "classes",
        "Masks of classes; of any of them against background; or of classes, with 16-bit masks of "
        "instances beside them.",
        choices=("classes", "binary", "instances"),
    )
    size: tuple[int, int] = option(
        (256, 256),
        "Pixels of what is written: SIDE or WIDTHxHEIGHT.",
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
        "Who wins where objects overlap: the smaller, the one in front (z_order, or later in the "
        "file), the class named later.",
        choices=("area", "order", "classes"),
    )
    boxes: bool = option(False, "Take objects that are boxes alone, as rectangles.")
    seed: int = option(0, "Seed of the split into train, val and test.", low=0, high=LARGEST_SEED)


@dataclass(frozen=True)
class WorkerOptions(Options):
    """How many processes work."""

    workers: int = option(2, "Processes.", low=1, high=MOST_WORKERS, kw_only=True)


@dataclass(frozen=True)
class PrepareRunOptions(WorkerOptions):
    """How a run of preparing goes."""

    out: Path = option(REQUIRED, "Folder for train, val, test, the manifest and the report.")
    shard: tuple[int, int] | None = option(
        None,
        "I/N: prepare the I-th of N shards; then run once without it, with --resume.",
        parse=parse_shard,
    )
    resume: bool = option(False, "Go on with a run that was cut short.")


@dataclass(frozen=True)
class GenerateOptions(WorkerOptions):
    """How many samples are generated, and where to."""

    out: Path = option(REQUIRED, "Folder to write.")
    seed: int = option(0, "Seed of what is generated.", low=0, high=LARGEST_SEED, kw_only=True)


@dataclass(frozen=True)
class SceneOptions(GenerateOptions):
    """Generated scenes: a folder with images/ and annotations.json."""

    images: int = option(200, "Scenes to generate.", low=1, high=10_000_000)


@dataclass(frozen=True)
class HeadOptions(GenerateOptions):
    """Generated heads: a folder with train.npy, val.npy, missing.npy and a contact sheet."""

    images: int = option(15000, "Heads to generate for training.", low=1, high=10_000_000)

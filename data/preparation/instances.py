"""Annotated objects, whatever the format of the file that they came from.

Coordinates are pixels: x to the right, y down, (0, 0) the upper left corner of the upper left pixel.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Problem:
    """What was done about something wrong: `action` is dropped, repaired, clipped, skipped (an image) or noted; the instance's id
    and its category are empty where none is meant."""

    file: str
    action: str
    reason: str
    image: str = ""
    instance: str = ""
    category: str = ""


@dataclass(frozen=True)
class Runs:
    """A mask as lengths of runs, outside and inside in turn, of a rectangle (height, width) whose corner lies at (top, left);
    column by column as COCO counts, else row by row."""

    counts: tuple[int, ...] | str | bytes
    shape: tuple[int, int]
    corner: tuple[int, int] | None = None
    by_columns: bool = True


@dataclass(frozen=True)
class Instance:
    """An annotated object, whatever its format: outlines x, y, x, y ... (n,), which are not checked yet, or runs; a box (x, y,
    width, height) when there is one. `rank` orders instances of an image from the rearmost to the foremost, as the file does;
    `file` is named when it is another than that of the image."""

    id: str
    category: str
    outlines: tuple[np.ndarray, ...] = ()
    runs: Runs | None = None
    box: tuple[float, float, float, float] | None = None
    crowd: bool = False
    rank: float = 0
    file: str = ""


@dataclass(frozen=True)
class Annotated:
    """An image by its name, relative to the images' folder, with or without suffix; width and height as the file tells them; its
    instances."""

    file: str
    name: str
    size: tuple[int, int] | None
    instances: tuple[Instance, ...]


@dataclass
class Annotations:
    """What annotation files hold: categories in their order, images, what was left out, and instances counted as they were met;
    `sha256` is of all files that could be read."""

    formats: set[str] = field(default_factory=set)
    categories: dict[str, None] = field(default_factory=dict)
    images: list[Annotated] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    met: int = 0
    sha256: str = ""

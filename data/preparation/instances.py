"""Annotated objects, whatever the format of the file that they came from.

Coordinates are pixels: x to the right, y down, (0, 0) the upper left corner of the image.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Problem:
    """Something wrong, and what was done about it.

    Attributes
    ----------
    file : the annotation file.
    action : dropped, repaired, clipped, skipped (an image) or noted.
    reason : what is wrong.
    image, instance, category : empty where none is meant.
    """

    file: str
    action: str
    reason: str
    image: str = ""
    instance: str = ""
    category: str = ""


@dataclass(frozen=True)
class Runs:
    """A mask as run lengths.

    Attributes
    ----------
    counts : lengths of runs, outside and inside in turn; COCO's compressed form as text.
    shape : (height, width) of the rectangle that they fill.
    corner : its (top, left) corner in the image; None when it is the entire image.
    by_columns : column by column, as COCO counts; else row by row.
    """

    counts: tuple[int, ...] | str | bytes
    shape: tuple[int, int]
    corner: tuple[int, int] | None = None
    by_columns: bool = True


@dataclass(frozen=True)
class Instance:
    """An annotated object.

    Attributes
    ----------
    id, category : as the file names them.
    outlines : polygons x, y, x, y ... (n,), not checked yet.
    runs : a mask in place of outlines.
    box : x, y, width, height, when there is one.
    crowd : whether it stands for many objects.
    rank : orders the instances of an image from the rearmost to the foremost.
    file : the annotation file, when it is another than that of the image.
    """

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
    """An annotated image.

    Attributes
    ----------
    file : the annotation file.
    name : of the image, relative to the images' folder, with or without suffix.
    size : width and height by the annotation file; None when it says nothing.
    instances : its objects.
    """

    file: str
    name: str
    size: tuple[int, int] | None
    instances: tuple[Instance, ...]


@dataclass
class Annotations:
    """The content of annotation files.

    Attributes
    ----------
    formats : names of the formats that were met.
    categories : in their order, as keys.
    images : with their instances.
    problems : what was left out or mended.
    instance_count : all instances that were met, those left out too.
    sha256 : of all files that could be read.
    """

    formats: set[str] = field(default_factory=set)
    categories: dict[str, None] = field(default_factory=dict)
    images: list[Annotated] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    instance_count: int = 0
    sha256: str = ""

    def add_problem(
        self,
        file: str,
        action: str,
        reason: str,
        image: str = "",
        instance: Instance | str = "",
        category: str = "",
    ) -> None:
        """Record a problem, of an instance or of the id and category of one."""
        if isinstance(instance, Instance):
            category = instance.category
            instance = instance.id
        self.problems.append(
            Problem(file, action, reason, image, instance, category)
        )

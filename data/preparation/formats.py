"""A reader for each format of annotations. Nothing that is wrong with one object keeps others from being read: what was left out is
told in a `Problem`."""

import base64
import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np

from hvd.data.preparation.instances import Annotated, Annotations, Instance, Problem, Runs
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.decoding import Kind
from hvd.toolkit.images import decode

LARGEST_SIDE = 1 << 16  # pixels: a longer side is a mistake
LARGEST_MASK = 1 << 25  # pixels of an object
LONGEST_ID = LONGEST_CATEGORY = 200  # characters
LONGEST_PATH = 4096
CIRCLE = 64  # corners of a polygon that stands for a circle


class Unusable(Exception):
    """Why a file, or a part of one, cannot be used."""


def coco(document: dict[str, Any], file: str, found: Annotations) -> None:
    """COCO instances: polygons, runs of numbers or compressed ones, crowds."""
    if document["annotations"] and not any(
        "segmentation" in a or "bbox" in a for a in entries(document, "annotations")
    ):
        raise Unusable(
            "its annotations are of another kind of COCO: they hold neither outlines nor boxes."
        )

    found.formats.add("COCO")
    names: dict[Any, str] = {}
    for category in sorted(entries(document, "categories"), key=lambda c: number(c.get("id"))):
        identity = key(category.get("id"))
        name = category.get("name")
        if identity is None or not is_name(name, LONGEST_CATEGORY):
            found.problems.append(
                Problem(
                    file,
                    "noted",
                    f"a category without id or name is left out: {str(category)[:80]}",
                )
            )
        elif identity in names:
            found.problems.append(
                Problem(file, "noted", f"category id {identity} is there twice: the first counts")
            )
        else:
            names[identity] = name
            found.categories.setdefault(name)

    if names and all(identity.isdecimal() for identity in names):
        gaps = max(map(int, names)) - min(map(int, names)) + 1 - len(names)
        if gaps:
            reason = f"category ids have {gaps} gaps: masks hold the places of classes in classes.json, not these ids"
            found.problems.append(Problem(file, "noted", reason))

    images: dict[Any, dict[str, Any]] = {}
    for image in entries(document, "images"):
        name = image.get("file_name")
        identity = key(image.get("id"))
        if not is_name(name, LONGEST_PATH) or identity is None:
            found.problems.append(
                Problem(file, "skipped", f"an image without name or id: {str(image)[:80]}")
            )
        elif identity in images:
            found.problems.append(
                Problem(
                    file,
                    "skipped",
                    f"image id {image['id']} is there twice: the first counts",
                    name,
                )
            )
        else:
            images[identity] = image

    instances: dict[Any, list[Instance]] = {identity: [] for identity in images}
    seen: dict[Any, dict[str, Any]] = {}
    times: Counter[Any] = Counter()
    for rank, annotation in enumerate(entries(document, "annotations")):
        found.met += 1
        identity = key(annotation.get("id"))
        owner = key(annotation.get("image_id"))
        name = images[owner]["file_name"] if owner in images else ""
        category = names.get(key(annotation.get("category_id")), "")
        reason = None
        if owner not in images:
            reason = f"its image id {annotation.get('image_id')} is none of the file's images"
        elif not category:
            reason = (
                f"its category id {annotation.get('category_id')} is none of the file's categories"
            )
        elif identity is not None and seen.get(identity) == annotation:
            reason = "the same annotation is there twice"

        if reason:
            found.problems.append(
                Problem(file, "dropped", reason, name, identity or f"#{rank}", category)
            )
            continue

        times[owner, identity] += 1
        again = f" ({times[owner, identity]})" if times[owner, identity] > 1 else ""
        told = f"{identity}{again}" if identity else f"#{rank}"
        if identity in seen:
            reason = f"another annotation has its id{': it is called ' + told if again else ''}"
            found.problems.append(Problem(file, "noted", reason, name, told, category))
        if identity:
            seen[identity] = annotation
        instances[owner].append(coco_instance(annotation, told, category, rank))

    whole = [instance for its in instances.values() for instance in its]
    if whole and all(instance.crowd for instance in whole):
        found.problems.append(
            Problem(
                file,
                "noted",
                "every annotation is a crowd, so that masks hold 255 alone: is that meant?",
            )
        )

    for identity, image in images.items():
        size = size_of(image.get("width"), image.get("height"))
        found.images.append(Annotated(file, image["file_name"], size, tuple(instances[identity])))


def is_name(value: Any, longest: int) -> bool:
    """Whether a value is a name of some characters, not too many."""
    return isinstance(value, str) and 0 < len(value) <= longest


def key(value: Any) -> Any:
    """An id that can be looked up: 7, 7.0 and "7" are one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int | str) or isinstance(value, bool):
        return None
    if isinstance(value, int) and abs(value) >= 10**LONGEST_ID:
        return None
    return str(value) if len(str(value)) <= LONGEST_ID else None


def coco_instance(annotation: dict[str, Any], identity: str, category: str, rank: int) -> Instance:
    segmentation = annotation.get("segmentation")
    outlines = ()
    runs = None
    if isinstance(segmentation, list):
        parts = (
            segmentation
            if not segmentation or isinstance(segmentation[0], list)
            else [segmentation]
        )
        outlines = tuple(numbers(part) for part in parts if part != [])
    elif isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        size = numbers(segmentation.get("size"))
        counts = (
            tuple(numbers(counts).tolist())
            if isinstance(counts, list)
            else counts
            if isinstance(counts, str)
            else ()
        )
        shape = (
            (int(size[0]), int(size[1])) if len(size) == 2 and np.isfinite(size).all() else (0, 0)
        )
        runs = Runs(counts, shape)

    crowd = annotation.get("iscrowd") in (1, True, "1")
    return Instance(identity, category, outlines, runs, box_of(annotation.get("bbox")), crowd, rank)


def voc(root: ElementTree.Element, file: str, found: Annotations) -> None:
    """Pascal VOC: polygons as x1, y1, x2 ..., or as points; boxes, whose corners are pixels, counted from 1."""
    found.formats.add("Pascal VOC")
    name = (root.findtext("filename") or "").strip() or Path(file).stem
    instances = []
    for rank, entry in enumerate(root.findall("object")):
        found.met += 1
        category = (entry.findtext("name") or "").strip()
        if not category or (entry.findtext("deleted") or "").strip() == "1":
            reason = "it is marked as deleted" if category else "it has no name"
            found.problems.append(Problem(file, "dropped", reason, name, str(rank), category))
            continue

        outlines = []
        box = None
        for polygon in entry.findall("polygon"):
            corners = [(p.findtext("x"), p.findtext("y")) for p in polygon.findall("pt")]
            if not corners:
                corners = numbered_corners({part.tag: part.text for part in polygon})
            if corners:
                outlines.append(points(corners))

        if (corner := entry.find("bndbox")) is not None:
            left, top, right, bottom = (
                number(corner.findtext(k)) for k in ("xmin", "ymin", "xmax", "ymax")
            )
            box = box_of([left - 1, top - 1, right - left + 1, bottom - top + 1])

        found.categories.setdefault(category)
        instances.append(Instance(str(rank), category, tuple(outlines), None, box, rank=rank))

    size = size_of(root.findtext("size/width"), root.findtext("size/height"))
    found.images.append(Annotated(file, name, size, tuple(instances)))


def numbered_corners(coordinates: dict[str, str | None]) -> list[tuple[str | None, str | None]]:
    """The corners x1, y1, x2 ... of a polygon, None for a coordinate that is missing.

    There are as many as have a number, however high the highest is: when some are missing, one of
    these is.
    """
    numbers = {int(tag[1:]) for tag in coordinates if re.fullmatch(r"[xy]\d{1,6}", tag)}
    places = range(1, len(numbers) + 1)
    return [(coordinates.get(f"x{k}"), coordinates.get(f"y{k}")) for k in places]


def cvat(root: ElementTree.Element, file: str, found: Annotations) -> None:
    """CVAT 1.1 for images: polygons, masks, boxes; `z_order` is their rank."""
    found.formats.add("CVAT 1.1")
    named = Counter(image.get("name") for image in root.findall("image"))
    for image in root.findall("image"):
        name = image.get("name", "")
        instances = []
        if not name:
            found.problems.append(Problem(file, "skipped", "an image without name"))
            found.met += len(image)
            for place, entry in enumerate(image):
                identity = f"{image.get('id', '')}:{place}"
                found.problems.append(
                    Problem(
                        file,
                        "dropped",
                        "its image has no name",
                        "",
                        identity,
                        entry.get("label", ""),
                    )
                )

            continue

        if named[name] > 1 and image.get("subset"):
            name = f"{image.get('subset')}/{name}"  # of several parts of a project, each with an image of that name
        for place, entry in enumerate(image):
            found.met += 1
            category = entry.get("label", "")
            identity = f"{image.get('id', '')}:{place}"
            outlines = ()
            runs = None
            box = None
            if entry.tag == "polygon":
                outlines = (
                    points([pair.split(",") for pair in entry.get("points", "").split(";")]),
                )
            elif entry.tag == "mask":
                left, top, width, height = (
                    number(entry.get(k)) for k in ("left", "top", "width", "height")
                )
                counts = tuple(numbers(entry.get("rle", "").split(",")).tolist())
                if all(math.isfinite(value) for value in (left, top, width, height)):
                    runs = Runs(
                        counts, (int(height), int(width)), (int(top), int(left)), by_columns=False
                    )
            elif entry.tag == "ellipse" and number(entry.get("rotation", "0")) == 0:
                cx, cy, rx, ry = (number(entry.get(k)) for k in ("cx", "cy", "rx", "ry"))
                outlines = (ellipse((cx, cy), (rx, ry)),)
            elif entry.tag == "box" and number(entry.get("rotation", "0")) == 0:
                left, top, right, bottom = (
                    number(entry.get(k)) for k in ("xtl", "ytl", "xbr", "ybr")
                )
                box = box_of([left, top, right - left, bottom - top])
            else:
                turned = entry.tag in ("box", "ellipse")
                reason = (
                    f"a turned {entry.tag} is not read"
                    if turned
                    else f"a {entry.tag} covers no area"
                )
                found.problems.append(Problem(file, "dropped", reason, name, identity, category))
                continue

            if not category:
                found.problems.append(Problem(file, "dropped", "it has no label", name, identity))
                continue
            found.categories.setdefault(category)
            rank = number(entry.get("z_order", "0"))
            instances.append(
                Instance(
                    identity, category, outlines, runs, box, rank=0 if math.isnan(rank) else rank
                )
            )

        size = size_of(image.get("width"), image.get("height"))
        found.images.append(Annotated(file, name, size, tuple(instances)))


def cityscapes(document: dict[str, Any], file: str, found: Annotations) -> None:
    """Cityscapes: polygons from the rearmost to the foremost; a label that ends in `group` is a crowd of the class before it."""
    found.formats.add("Cityscapes")
    name = re.sub(r"_gtFine_polygons$", "", Path(file).stem)
    instances = []
    for rank, entry in enumerate(entries(document, "objects")):
        found.met += 1
        label = entry.get("label")
        if not isinstance(label, str) or not label or entry.get("deleted") == 1:
            reason = (
                "it is marked as deleted" if label and isinstance(label, str) else "it has no label"
            )
            found.problems.append(Problem(file, "dropped", reason, name, str(rank)))
            continue

        crowd = label.endswith("group") and label != "group"
        category = label.removesuffix("group") if crowd else label
        found.categories.setdefault(category)
        instances.append(
            Instance(str(rank), category, (points(entry.get("polygon")),), crowd=crowd, rank=rank)
        )

    found.images.append(
        Annotated(
            file, name, size_of(document.get("imgWidth"), document["imgHeight"]), tuple(instances)
        )
    )


def ellipse(centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """The outline float64 (n,) of an upright ellipse."""
    angle = 2 * np.pi * np.arange(CIRCLE) / CIRCLE
    return (np.array(centre) + np.stack([np.cos(angle), np.sin(angle)], 1) * radii).ravel()


def labelme(document: dict[str, Any], file: str, found: Annotations) -> None:
    """LabelMe: polygons, circles, masks, and rectangles, which are boxes."""
    found.formats.add("LabelMe")
    path = document.get("imagePath")
    name = path.replace("\\", "/") if isinstance(path, str) and path else Path(file).stem
    outside = name.startswith("/") or ".." in name.split("/") or ":" in name
    name = name.rsplit("/", 1)[-1] if outside else (PurePosixPath(file).parent / name).as_posix()
    size = size_of(document.get("imageWidth"), document.get("imageHeight"))
    largest = min(size[0] * size[1], LARGEST_MASK) if size else LARGEST_MASK
    instances = []

    for rank, entry in enumerate(entries(document, "shapes")):
        found.met += 1
        category = entry.get("label")
        kind = entry.get("shape_type", "polygon")
        values = points(entry.get("points"))
        outlines = ()
        runs = None
        box = None
        if not isinstance(category, str) or not category:
            found.problems.append(Problem(file, "dropped", "it has no label", name, str(rank)))
            continue
        if kind in ("polygon", None, ""):
            outlines = (values,)
        elif kind == "circle" and len(values) == 4:
            radius = float(np.hypot(*(values[2:] - values[:2])))
            outlines = (ellipse(tuple(values[:2]), (radius, radius)),)
        elif kind == "rectangle" and len(values) in (
            4,
            8,
        ):  # two corners that face each other, or all four
            corners = values.reshape(-1, 2)
            low = corners.min(0)
            high = corners.max(0)
            box = box_of([*low, *(high - low)])
        elif kind == "mask" and len(values) == 4:
            runs = labelme_mask(entry.get("mask"), values, largest)
        else:
            found.problems.append(
                Problem(
                    file, "dropped", f"a {kind} of LabelMe is not read", name, str(rank), category
                )
            )
            continue

        found.categories.setdefault(category)
        instances.append(Instance(str(rank), category, outlines, runs, box, rank=rank))

    found.images.append(Annotated(file, name, size, tuple(instances)))


def labelme_mask(packed: Any, corners: np.ndarray, largest: int) -> Runs:
    """A mask of LabelMe, a PNG in base 64 of what lies between two corners, as runs; runs of nothing
    when it cannot be read, or has more pixels than the `largest` that fits the picture."""
    try:
        data = base64.b64decode(packed, validate=True)
        mask = decode(data, "mask", Kind.GREY, largest) > 0
    except (ToolkitError, TypeError, ValueError):
        return Runs((), (0, 0))

    if not np.isfinite(corners).all():
        return Runs((), (0, 0))
    changes = np.flatnonzero(np.diff(mask.ravel(), prepend=False))
    lengths = np.diff([0, *changes, mask.size])

    return Runs(
        tuple(lengths.tolist()), mask.shape, (int(corners[1]), int(corners[0])), by_columns=False
    )


# --- parts


def number(value: Any) -> float:
    """A number, or NaN for anything else."""
    try:
        return float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        return math.nan


def numbers(values: Any) -> np.ndarray:
    """Numbers float64 (n,) of a flat list; NaN stands for what is none."""
    if isinstance(values, list) and set(map(type, values)) <= {int, float}:
        with suppress(OverflowError):
            return np.array(values, np.float64)

    return (
        np.array([number(value) for value in values], np.float64)
        if isinstance(values, list | tuple)
        else np.array([math.nan])
    )


def points(values: Any) -> np.ndarray:
    """As numbers, of a list of pairs."""
    pairs = values if isinstance(values, list | tuple) else [values]
    return numbers(
        [
            value
            for pair in pairs
            for value in (pair if isinstance(pair, list | tuple) and len(pair) == 2 else [None])
        ]
    )


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
    """Width and height, or None when they are no whole numbers of pixels."""
    found = number(width), number(height)
    return (
        (int(found[0]), int(found[1]))
        if all(1 <= side <= LARGEST_SIDE and side == int(side) for side in found)
        else None
    )


def box_of(values: Any) -> tuple[float, float, float, float] | None:
    """x, y, width and height, or None when they are not four numbers that span something."""
    box = (
        tuple(map(number, values)) if isinstance(values, list | tuple) and len(values) == 4 else ()
    )
    return box if box and all(map(math.isfinite, box)) and min(box[2:]) > 0 else None


def entries(document: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    """The objects of a list in a document."""
    values = document[key]
    if not isinstance(values, list):
        raise Unusable(f"its {key!r} is no list.")
    yield from (value if isinstance(value, dict) else {} for value in values)

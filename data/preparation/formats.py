"""A reader for each format of annotations.

An object that is wrong does not keep the others from being read: it is left out, and a `Problem`
says so.
"""

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

from hvd.data.preparation.instances import (
    Annotated,
    Annotations,
    Instance,
    Runs,
)
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.decoding import Kind
from hvd.toolkit.images import decode

Outlines = tuple[np.ndarray, ...]

LARGEST_SIDE = 1 << 16  # pixels: a longer side is a mistake
LARGEST_MASK = 1 << 25  # pixels of an object

# Characters.
LONGEST_ID = 200
LONGEST_CATEGORY = 200
LONGEST_PATH = 4096

CIRCLE = 64  # corners of a polygon that stands for a circle


class Unusable(Exception):
    """Why a file, or a part of one, cannot be used."""


# --- COCO


def coco(document: dict[str, Any], file: str, annotations: Annotations) -> None:
    """COCO instances: polygons, run lengths, compressed or not, and crowds."""
    check_kind_of_coco(document)
    annotations.formats.add("COCO")
    names = coco_categories(document, file, annotations)
    images = coco_images(document, file, annotations)
    instances = coco_instances(document, file, annotations, names, images)

    # Crowds become 255, unknown: such a mask would teach nothing.
    crowds = [
        instance.crowd for members in instances.values() for instance in members
    ]
    if crowds and all(crowds):
        reason = "every annotation is a crowd, so that masks hold 255 alone: is that meant?"
        annotations.add_problem(file, "noted", reason)

    for identity, image in images.items():
        size = size_of(image.get("width"), image.get("height"))
        members = tuple(instances[identity])
        annotations.images.append(
            Annotated(file, image["file_name"], size, members)
        )


def check_kind_of_coco(document: dict[str, Any]) -> None:
    """Raise Unusable for COCO files of another kind, such as captions."""
    if not document["annotations"]:
        return
    for annotation in entries(document, "annotations"):
        if "segmentation" in annotation or "bbox" in annotation:
            return
    reason = "its annotations are of another kind of COCO: they hold neither outlines nor boxes."
    raise Unusable(reason)


def coco_categories(
    document: dict[str, Any], file: str, annotations: Annotations
) -> dict[str, str]:
    """The names of a file's categories by their ids; adds them to the annotations' categories."""

    def by_number(category: dict[str, Any]) -> float:
        value = number(category.get("id"))
        return math.inf if math.isnan(value) else value

    # By number, so that a class has the same value in masks however the file
    # lists its categories.
    names: dict[str, str] = {}
    for category in sorted(entries(document, "categories"), key=by_number):
        identity = id_key(category.get("id"))
        name = category.get("name")
        if identity is None or not is_name(name, LONGEST_CATEGORY):
            reason = f"a category without id or name is left out: {str(category)[:80]}"
            annotations.add_problem(file, "noted", reason)
        elif identity in names:
            reason = f"category id {identity} is there twice: the first counts"
            annotations.add_problem(file, "noted", reason)
        else:
            names[identity] = name
            annotations.categories.setdefault(name)

    # People expect the ids of their file in the masks, which hold the places
    # of classes instead. That differs at the latest where numbers are missing.
    if names and all(identity.isdecimal() for identity in names):
        numbers = [int(identity) for identity in names]
        gaps = max(numbers) - min(numbers) + 1 - len(numbers)
        if gaps:
            reason = f"{gaps} numbers are missing between the category ids: "
            reason += "masks hold the places of classes in classes.json, not these ids"
            annotations.add_problem(file, "noted", reason)

    return names


def coco_images(
    document: dict[str, Any], file: str, annotations: Annotations
) -> dict[Any, dict[str, Any]]:
    """The images of a file by their ids."""
    images: dict[Any, dict[str, Any]] = {}
    for image in entries(document, "images"):
        name = image.get("file_name")
        identity = id_key(image.get("id"))
        if not is_name(name, LONGEST_PATH) or identity is None:
            reason = f"an image without name or id: {str(image)[:80]}"
            annotations.add_problem(file, "skipped", reason)
        elif identity in images:
            reason = f"image id {image['id']} is there twice: the first counts"
            annotations.add_problem(file, "skipped", reason, name)
        else:
            images[identity] = image

    return images


def coco_instances(
    document: dict[str, Any],
    file: str,
    annotations: Annotations,
    names: dict[Any, str],
    images: dict[Any, dict[str, Any]],
) -> dict[Any, list[Instance]]:
    """The instances of each image, by the image's id."""
    instances: dict[Any, list[Instance]] = {identity: [] for identity in images}
    seen: dict[Any, dict[str, Any]] = {}
    times: Counter[Any] = Counter()

    for rank, annotation in enumerate(entries(document, "annotations")):
        annotations.instance_count += 1
        identity = id_key(annotation.get("id"))
        owner = id_key(annotation.get("image_id"))
        name = images[owner]["file_name"] if owner in images else ""
        category = names.get(id_key(annotation.get("category_id")), "")

        reason = None
        if owner not in images:
            reason = f"its image id {annotation.get('image_id')} is none of the file's images"
        elif not category:
            category_id = annotation.get("category_id")
            reason = f"its category id {category_id} is none of the file's categories"
        elif identity is not None and seen.get(identity) == annotation:
            reason = "the same annotation is there twice"
        if reason:
            label = identity or f"#{rank}"
            annotations.add_problem(
                file, "dropped", reason, name, label, category
            )
            continue

        # Different annotations with the same id get a number behind it.
        times[owner, identity] += 1
        is_again = times[owner, identity] > 1
        label = identity or f"#{rank}"
        if identity and is_again:
            label = f"{identity} ({times[owner, identity]})"
        if identity in seen:
            reason = "another annotation has its id" + (
                f": it is called {label}" if is_again else ""
            )
            annotations.add_problem(
                file, "noted", reason, name, label, category
            )
        if identity:
            seen[identity] = annotation

        instances[owner].append(
            coco_instance(annotation, label, category, rank)
        )

    return instances


def coco_instance(
    annotation: dict[str, Any],
    label: str,
    category: str,
    rank: int,
) -> Instance:
    """The instance of a COCO annotation."""
    segmentation = annotation.get("segmentation")
    outlines: Outlines = ()
    runs = None

    # A list is a polygon or several; a dictionary is a run length encoding.
    if isinstance(segmentation, list):
        is_nested = not segmentation or isinstance(segmentation[0], list)
        parts = segmentation if is_nested else [segmentation]
        outlines = tuple(numbers(part) for part in parts if part != [])

    elif isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        if isinstance(counts, list):
            counts = tuple(numbers(counts).tolist())
        elif not isinstance(counts, str):
            counts = ()
        size = numbers(segmentation.get("size"))
        is_size = len(size) == 2 and np.isfinite(size).all()
        runs = Runs(counts, (int(size[0]), int(size[1])) if is_size else (0, 0))

    is_crowd = annotation.get("iscrowd") in (1, True, "1")
    box = box_of(annotation.get("bbox"))
    return Instance(label, category, outlines, runs, box, is_crowd, rank)


def is_name(value: Any, longest: int) -> bool:
    """Whether a value is a text that is neither empty nor too long."""
    return isinstance(value, str) and 0 < len(value) <= longest


def id_key(value: Any) -> str | None:
    """An id as a key: 7, 7.0 and "7" are the same; None when it is no id."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int | str) or isinstance(value, bool):
        return None
    if isinstance(value, int) and abs(value) >= 10**LONGEST_ID:
        return None
    return str(value) if len(str(value)) <= LONGEST_ID else None


# --- Pascal VOC


def voc(root: ElementTree.Element, file: str, annotations: Annotations) -> None:
    """Pascal VOC: polygons as x1, y1, x2 ... or as points, and boxes.

    The corners of boxes are pixels, counted from 1.
    """
    annotations.formats.add("Pascal VOC")
    name = (root.findtext("filename") or "").strip() or Path(file).stem
    instances = []

    for rank, entry in enumerate(root.findall("object")):
        annotations.instance_count += 1
        category = (entry.findtext("name") or "").strip()
        is_deleted = (entry.findtext("deleted") or "").strip() == "1"
        # Deleted objects stay in files of LabelMe's web version.
        if not category or is_deleted:
            reason = "it is marked as deleted" if category else "it has no name"
            annotations.add_problem(
                file, "dropped", reason, name, str(rank), category
            )
            continue

        outlines = []
        for polygon in entry.findall("polygon"):
            corners = [
                (p.findtext("x"), p.findtext("y"))
                for p in polygon.findall("pt")
            ]
            if not corners:
                corners = numbered_corners(
                    {part.tag: part.text for part in polygon}
                )
            if corners:
                outlines.append(points(corners))

        # A box is kept beside the outline: it counts where there is no
        # outline.
        box = None
        bounds = entry.find("bndbox")
        if bounds is not None:
            left = number(bounds.findtext("xmin"))
            top = number(bounds.findtext("ymin"))
            right = number(bounds.findtext("xmax"))
            bottom = number(bounds.findtext("ymax"))
            # Pascal VOC counts pixels from 1.
            box = box_of(
                [left - 1, top - 1, right - left + 1, bottom - top + 1]
            )

        annotations.categories.setdefault(category)
        instances.append(
            Instance(str(rank), category, tuple(outlines), None, box, rank=rank)
        )

    size = size_of(root.findtext("size/width"), root.findtext("size/height"))
    annotations.images.append(Annotated(file, name, size, tuple(instances)))


def numbered_corners(
    coordinates: dict[str, str | None],
) -> list[tuple[str | None, str | None]]:
    """The corners x1, y1, x2 ... of a polygon, None for a missing coordinate.

    There are as many corners as numbers, however high the highest: when some numbers are missing,
    one of the corners is None.
    """
    numbers = {
        int(tag[1:]) for tag in coordinates if re.fullmatch(r"[xy]\d{1,6}", tag)
    }
    places = range(1, len(numbers) + 1)
    return [
        (coordinates.get(f"x{k}"), coordinates.get(f"y{k}")) for k in places
    ]


# --- CVAT


def cvat(
    root: ElementTree.Element, file: str, annotations: Annotations
) -> None:
    """CVAT 1.1 for images: polygons, masks, ellipses, boxes; `z_order` is their rank."""
    annotations.formats.add("CVAT 1.1")
    name_counts = Counter(image.get("name") for image in root.findall("image"))

    for image in root.findall("image"):
        name = image.get("name", "")
        if not name:
            drop_nameless_image(image, file, annotations)
            continue

        # Several parts of a project may each have an image of that name.
        if name_counts[name] > 1 and image.get("subset"):
            name = f"{image.get('subset')}/{name}"

        instances = []
        for place, entry in enumerate(image):
            annotations.instance_count += 1
            identity = f"{image.get('id', '')}:{place}"
            instance = cvat_instance(entry, identity)
            if isinstance(instance, str):
                category = entry.get("label", "")
                annotations.add_problem(
                    file, "dropped", instance, name, identity, category
                )
                continue
            annotations.categories.setdefault(instance.category)
            instances.append(instance)

        size = size_of(image.get("width"), image.get("height"))
        annotations.images.append(Annotated(file, name, size, tuple(instances)))


def drop_nameless_image(
    image: ElementTree.Element, file: str, annotations: Annotations
) -> None:
    """Record that an image without a name is skipped, and its instances with it."""
    annotations.add_problem(file, "skipped", "an image without name")
    annotations.instance_count += len(image)
    for place, entry in enumerate(image):
        identity = f"{image.get('id', '')}:{place}"
        label = entry.get("label", "")
        annotations.add_problem(
            file, "dropped", "its image has no name", "", identity, label
        )


def cvat_instance(entry: ElementTree.Element, identity: str) -> Instance | str:
    """The instance of a CVAT element, or the reason why it has none."""
    outlines: Outlines = ()
    runs = None
    box = None
    is_upright = number(entry.get("rotation", "0")) == 0

    # Elements differ in how they say which pixels they cover.
    if entry.tag == "polygon":
        outlines = (
            points(
                [pair.split(",") for pair in entry.get("points", "").split(";")]
            ),
        )
    elif entry.tag == "mask":
        left, top, width, height = attributes(
            entry, "left", "top", "width", "height"
        )
        counts = tuple(numbers(entry.get("rle", "").split(",")).tolist())
        if all(math.isfinite(value) for value in (left, top, width, height)):
            shape = int(height), int(width)
            runs = Runs(counts, shape, (int(top), int(left)), by_columns=False)
    elif entry.tag == "ellipse" and is_upright:
        cx, cy, rx, ry = attributes(entry, "cx", "cy", "rx", "ry")
        outlines = (ellipse((cx, cy), (rx, ry)),)
    elif entry.tag == "box" and is_upright:
        left, top, right, bottom = attributes(entry, "xtl", "ytl", "xbr", "ybr")
        box = box_of([left, top, right - left, bottom - top])
    elif entry.tag in ("box", "ellipse"):
        return f"a turned {entry.tag} is not read"
    else:
        return f"a {entry.tag} covers no area"

    category = entry.get("label", "")
    if not category:
        return "it has no label"
    # z_order says which shape lies above.
    rank = number(entry.get("z_order", "0"))
    rank = 0 if math.isnan(rank) else rank
    return Instance(identity, category, outlines, runs, box, rank=rank)


def attributes(entry: ElementTree.Element, *names: str) -> list[float]:
    """Attributes of an XML element as numbers."""
    return [number(entry.get(name)) for name in names]


# --- Cityscapes


def cityscapes(
    document: dict[str, Any], file: str, annotations: Annotations
) -> None:
    """Cityscapes: polygons from the rearmost to the foremost.

    A label that ends in `group` is a crowd of the class before it.
    """
    annotations.formats.add("Cityscapes")
    name = re.sub(r"_gtFine_polygons$", "", Path(file).stem)
    instances = []

    for rank, entry in enumerate(entries(document, "objects")):
        annotations.instance_count += 1
        label = entry.get("label")
        is_label = isinstance(label, str) and label
        if not is_label or entry.get("deleted") == 1:
            reason = (
                "it is marked as deleted" if is_label else "it has no label"
            )
            annotations.add_problem(file, "dropped", reason, name, str(rank))
            continue

        # "cargroup" marks cars that nobody told apart.
        is_crowd = label.endswith("group") and label != "group"
        category = label.removesuffix("group") if is_crowd else label
        annotations.categories.setdefault(category)
        outline = points(entry.get("polygon"))
        instances.append(
            Instance(str(rank), category, (outline,), crowd=is_crowd, rank=rank)
        )

    size = size_of(document.get("imgWidth"), document["imgHeight"])
    annotations.images.append(Annotated(file, name, size, tuple(instances)))


# --- LabelMe


def labelme(
    document: dict[str, Any], file: str, annotations: Annotations
) -> None:
    """LabelMe: polygons, circles, masks, and rectangles, which are boxes."""
    annotations.formats.add("LabelMe")
    name = labelme_image(document.get("imagePath"), file)
    size = size_of(document.get("imageWidth"), document.get("imageHeight"))
    # Masks are compressed in the file, so that their size must be bounded.
    largest = min(size[0] * size[1], LARGEST_MASK) if size else LARGEST_MASK
    instances = []

    for rank, entry in enumerate(entries(document, "shapes")):
        annotations.instance_count += 1
        category = entry.get("label")
        if not isinstance(category, str) or not category:
            annotations.add_problem(
                file, "dropped", "it has no label", name, str(rank)
            )
            continue

        # Shapes differ in what their points mean.
        kind = entry.get("shape_type", "polygon")
        values = points(entry.get("points"))
        outlines: Outlines = ()
        runs = None
        box = None
        if kind in ("polygon", None, ""):
            outlines = (values,)
        elif kind == "circle" and len(values) == 4:
            # The centre, and a point on the circle
            radius = float(np.hypot(*(values[2:] - values[:2])))
            outlines = (ellipse(tuple(values[:2]), (radius, radius)),)
        elif kind == "rectangle" and len(values) in (
            4,
            8,
        ):
            # Two opposite corners, or all four
            corners = values.reshape(-1, 2)
            low = corners.min(0)
            box = box_of([*low, *(corners.max(0) - low)])
        elif kind == "mask" and len(values) == 4:
            runs = labelme_mask(entry.get("mask"), values, largest)
        else:
            reason = f"a {kind} of LabelMe is not read"
            annotations.add_problem(
                file, "dropped", reason, name, str(rank), category
            )
            continue

        annotations.categories.setdefault(category)
        instances.append(
            Instance(str(rank), category, outlines, runs, box, rank=rank)
        )

    annotations.images.append(Annotated(file, name, size, tuple(instances)))


def labelme_image(path: Any, file: str) -> str:
    """The name of the image that a LabelMe file belongs to, relative to the annotations."""
    name = (
        path.replace("\\", "/")
        if isinstance(path, str) and path
        else Path(file).stem
    )
    is_outside = name.startswith("/") or ".." in name.split("/") or ":" in name
    if is_outside:
        return name.rsplit("/", 1)[-1]
    return (PurePosixPath(file).parent / name).as_posix()


def labelme_mask(encoded: Any, corners: np.ndarray, largest: int) -> Runs:
    """A mask of LabelMe: a PNG in base 64 of the rectangle between two corners, as run lengths.

    Empty when it cannot be read, or has more pixels than `largest`.
    """
    nothing = Runs((), (0, 0))
    try:
        data = base64.b64decode(encoded, validate=True)
        mask = decode(data, "mask", Kind.GREY, largest) > 0
    except (ToolkitError, TypeError, ValueError):
        return nothing
    if not np.isfinite(corners).all():
        return nothing

    changes = np.flatnonzero(np.diff(mask.ravel(), prepend=False))
    lengths = np.diff([0, *changes, mask.size])
    corner = int(corners[1]), int(corners[0])
    return Runs(tuple(lengths.tolist()), mask.shape, corner, by_columns=False)


# --- values


def ellipse(
    centre: tuple[float, float], radii: tuple[float, float]
) -> np.ndarray:
    """The outline float64 (n,) of an upright ellipse."""
    angle = 2 * np.pi * np.arange(CIRCLE) / CIRCLE
    return (
        np.array(centre) + np.stack([np.cos(angle), np.sin(angle)], 1) * radii
    ).ravel()


def number(value: Any) -> float:
    """A number, or NaN for anything else."""
    try:
        return float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        return math.nan


def numbers(values: Any) -> np.ndarray:
    """The numbers float64 (n,) in a flat list, NaN for anything else in it."""
    if not isinstance(values, list | tuple):
        return np.array([math.nan])

    # The usual case, and much the fastest.
    if isinstance(values, list) and set(map(type, values)) <= {int, float}:
        with suppress(OverflowError):
            return np.array(values, np.float64)

    return np.array([number(value) for value in values], np.float64)


def points(values: Any) -> np.ndarray:
    """As `numbers`, for a list of pairs."""
    flat = []
    for pair in values if isinstance(values, list | tuple) else [values]:
        is_pair = isinstance(pair, list | tuple) and len(pair) == 2
        flat.extend(pair if is_pair else [None])
    return numbers(flat)


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
    """Width and height; None unless they are whole numbers of pixels."""
    sides = number(width), number(height)
    if not all(
        1 <= side <= LARGEST_SIDE and side == int(side) for side in sides
    ):
        return None
    return int(sides[0]), int(sides[1])


def box_of(values: Any) -> tuple[float, float, float, float] | None:
    """x, y, width and height; None unless they are four numbers that span something."""
    if not isinstance(values, list | tuple) or len(values) != 4:
        return None
    x, y, width, height = map(number, values)
    box = x, y, width, height
    is_box = all(map(math.isfinite, box)) and width > 0 and height > 0
    return box if is_box else None


def entries(document: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    """Yield the objects in a list of a document, empty ones for anything else in it."""
    values = document[key]
    if not isinstance(values, list):
        raise Unusable(f"its {key!r} is no list.")
    for value in values:
        yield value if isinstance(value, dict) else {}

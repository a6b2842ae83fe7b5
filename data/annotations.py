"""Annotations of objects in images, of five formats, told apart by their content: COCO JSON, Pascal VOC XML, CVAT 1.1 XML,
Cityscapes JSON, LabelMe JSON.

Coordinates are pixels: x to the right, y down, (0, 0) the upper left corner of the upper left pixel. Nothing that is wrong with one
object keeps others from being read: what was left out is told in a `Problem`.
"""

import base64
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np

from toolkit.core import ToolkitError
from toolkit.images import decoded, read_bytes

LARGEST_SIDE = 1 << 16  # pixels: a longer side is a mistake


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
    width, height) when there is one. `rank` orders instances of an image from the rearmost to the foremost, as the file does."""

    id: str
    category: str
    outlines: tuple[np.ndarray, ...] = ()
    runs: Runs | None = None
    box: tuple[float, float, float, float] | None = None
    crowd: bool = False
    rank: float = 0


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
    """What annotation files hold: categories in their order, images, what was left out, and instances counted as they were met."""

    formats: set[str] = field(default_factory=set)
    categories: dict[str, None] = field(default_factory=dict)
    images: list[Annotated] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    met: int = 0


def read(path: Path) -> Annotations:
    """All annotations in a file, or in the .json and .xml files of a folder and its subfolders. ToolkitError with status 5 when
    none can be read."""
    files = annotation_files(path)
    if not path.exists() or not files:
        raise ToolkitError(f"There are no annotations at {path}.", "Give a .json or .xml file, or a folder of them.", status=5)
    found = Annotations()
    for file in files:
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        try:
            parse, document = recognised(read_bytes(file))
            parse(document, name, found)
        except ToolkitError as error:
            found.problems.append(Problem(name, "skipped", error.reason))
        except Unusable as error:
            found.problems.append(Problem(name, "skipped", str(error)))
    if not found.images:
        reason = found.problems[0].reason if found.problems else "no image is named"
        raise ToolkitError(f"No annotations can be read from {path}: {reason}", f"Give {FORMATS}.", status=5)
    found.images = merged(found)
    return found


def annotation_files(path: Path) -> list[Path]:
    """The file at a path, or the .json and .xml files of a folder and its subfolders."""
    return sorted(p for p in path.rglob("*") if p.suffix.lower() in (".json", ".xml")) if path.is_dir() else [path]


FORMATS = "COCO JSON, Pascal VOC XML, CVAT 1.1 XML, Cityscapes *_gtFine_polygons.json, or LabelMe JSON"


class Unusable(Exception):
    """Why a file, or a part of one, cannot be used."""


def recognised(data: bytes) -> tuple[Callable[[Any, str, Annotations], None], Any]:
    """The reader of a format and the parsed document, by what the file holds."""
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" or data[:4] in (b"\xff\xfe<\0", b"\xfe\xff\0<"):
        return xml(data)
    try:
        document = json.loads(data, object_pairs_hook=unambiguous)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"it is neither JSON nor XML: {error}.") from error
    if isinstance(document, dict):
        for parse, keys in (
            (coco, ("images", "annotations", "categories")),
            (cityscapes, ("imgHeight", "objects")),
            (labelme, ("shapes",)),
        ):
            if all(key in document for key in keys):
                return parse, document
    raise Unusable(f"it is JSON of no known format ({FORMATS}).")


def unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError when it names a key twice, of which any reader may take another."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"an object names {twice!r} twice")
    return found


def xml(data: bytes) -> tuple[Callable[[Any, str, Annotations], None], Any]:
    """As recognised, of XML; entities are refused, since they can grow without bound."""
    plain = data.replace(b"\0", b"")  # of UTF-16 as of UTF-8
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        raise Unusable("it declares XML entities, which are not read.")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise Unusable(f"it is no XML: {error}.") from error
    if root.tag == "annotations" and root.find("track") is None:
        return cvat, root
    if root.tag == "annotation":
        return voc, root
    raise Unusable(f"it is XML of no known format ({FORMATS}).")


def merged(found: Annotations) -> list[Annotated]:
    """Images, those that several entries name joined into one."""
    by_name: dict[str, Annotated] = {}
    for image in found.images:
        earlier = by_name.get(image.name)
        if earlier is None:
            by_name[image.name] = image
            continue
        if None not in (image.size, earlier.size) and image.size != earlier.size:
            reason = f"annotated twice, as {earlier.size} and {image.size}: instances of {image.file} are dropped"
            found.problems += [Problem(image.file, "dropped", reason, image.name, i.id, i.category) for i in image.instances]
            continue
        found.problems.append(Problem(image.file, "noted", "the image is annotated twice: joined", image.name))
        size = earlier.size or image.size
        behind = max((instance.rank for instance in earlier.instances), default=-1) + 1  # the later file lies in front
        front = min((instance.rank for instance in image.instances), default=0)
        later = tuple(replace(instance, rank=instance.rank - front + behind) for instance in image.instances)
        by_name[image.name] = Annotated(earlier.file, image.name, size, earlier.instances + later)
    return list(by_name.values())


# --- parts


def number(value: Any) -> float:
    """A number, or NaN for anything else."""
    try:
        return float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        return math.nan


def numbers(values: Any) -> np.ndarray:
    """Numbers float64 (n,) of a flat list; NaN stands for what is none."""
    return np.array([number(value) for value in values], np.float64) if isinstance(values, list | tuple) else np.array([math.nan])


def points(values: Any) -> np.ndarray:
    """As numbers, of a list of pairs."""
    pairs = values if isinstance(values, list | tuple) else [values]
    return numbers([value for pair in pairs for value in (pair if isinstance(pair, list | tuple) and len(pair) == 2 else [None])])


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
    """Width and height, or None when they are no whole numbers of pixels."""
    found = number(width), number(height)
    return (int(found[0]), int(found[1])) if all(1 <= side <= LARGEST_SIDE and side == int(side) for side in found) else None


def box_of(values: Any) -> tuple[float, float, float, float] | None:
    """x, y, width and height, or None when they are not four numbers that span something."""
    box = numbers(values)
    return tuple(box.tolist()) if len(box) == 4 and np.isfinite(box).all() and (box[2:] > 0).all() else None


def entries(document: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    """The objects of a list in a document."""
    values = document[key]
    if not isinstance(values, list):
        raise Unusable(f"its {key!r} is no list.")
    yield from (value if isinstance(value, dict) else {} for value in values)


# --- formats


def coco(document: dict[str, Any], file: str, found: Annotations) -> None:
    """COCO instances: polygons, runs of numbers or compressed ones, crowds."""
    if document["annotations"] and not any("segmentation" in a or "bbox" in a for a in entries(document, "annotations")):
        raise Unusable("its annotations are of another kind of COCO: they hold neither outlines nor boxes.")
    found.formats.add("COCO")
    names: dict[Any, str] = {}
    for category in sorted(entries(document, "categories"), key=lambda c: number(c.get("id"))):
        identity, name = key(category.get("id")), category.get("name")
        if identity is None or not isinstance(name, str) or not name:
            found.problems.append(Problem(file, "noted", f"a category without id or name is left out: {str(category)[:80]}"))
        elif identity in names:
            found.problems.append(Problem(file, "noted", f"category id {identity} is there twice: the first counts"))
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
        name, identity = image.get("file_name"), key(image.get("id"))
        if not isinstance(name, str) or not name or identity is None:
            found.problems.append(Problem(file, "skipped", f"an image without name or id: {str(image)[:80]}"))
        elif identity in images:
            found.problems.append(Problem(file, "skipped", f"image id {image['id']} is there twice: the first counts", name))
        else:
            images[identity] = image
    instances: dict[Any, list[Instance]] = {identity: [] for identity in images}
    seen: dict[Any, dict[str, Any]] = {}
    for rank, annotation in enumerate(entries(document, "annotations")):
        found.met += 1
        identity, owner = key(annotation.get("id")), key(annotation.get("image_id"))
        name = images[owner]["file_name"] if owner in images else ""
        category = names.get(key(annotation.get("category_id")), "")
        reason = None
        if owner not in images:
            reason = f"its image id {annotation.get('image_id')} is none of the file's images"
        elif not category:
            reason = f"its category id {annotation.get('category_id')} is none of the file's categories"
        elif identity is not None and seen.get(identity) == annotation:
            reason = "the same annotation is there twice"
        if reason:
            found.problems.append(Problem(file, "dropped", reason, name, identity or f"#{rank}", category))
            continue
        if identity is not None and identity in seen:
            found.problems.append(Problem(file, "noted", "another annotation has the same id", name, str(identity), category))
        seen[identity] = annotation
        instances[owner].append(coco_instance(annotation, category, rank))
    whole = [instance for its in instances.values() for instance in its]
    if whole and all(instance.crowd for instance in whole):
        found.problems.append(Problem(file, "noted", "every annotation is a crowd, so that masks hold 255 alone: is that meant?"))
    for identity, image in images.items():
        size = size_of(image.get("width"), image.get("height"))
        found.images.append(Annotated(file, image["file_name"], size, tuple(instances[identity])))


def key(value: Any) -> Any:
    """An id that can be looked up: 7, 7.0 and "7" are one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) else None


def coco_instance(annotation: dict[str, Any], category: str, rank: int) -> Instance:
    segmentation, outlines, runs = annotation.get("segmentation"), (), None
    if isinstance(segmentation, list):
        parts = segmentation if not segmentation or isinstance(segmentation[0], list) else [segmentation]
        outlines = tuple(numbers(part) for part in parts if part != [])
    elif isinstance(segmentation, dict):
        counts, size = segmentation.get("counts"), numbers(segmentation.get("size"))
        counts = tuple(numbers(counts).tolist()) if isinstance(counts, list) else counts if isinstance(counts, str) else ()
        shape = (int(size[0]), int(size[1])) if len(size) == 2 and np.isfinite(size).all() else (0, 0)
        runs = Runs(counts, shape)
    crowd = annotation.get("iscrowd") in (1, True, "1")
    return Instance(key(annotation.get("id")) or f"#{rank}", category, outlines, runs, box_of(annotation.get("bbox")), crowd, rank)


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
        outlines, box = [], None
        for polygon in entry.findall("polygon"):
            corners = [(p.findtext("x"), p.findtext("y")) for p in polygon.findall("pt")]
            if not corners:
                coordinates = {part.tag: part.text for part in polygon}
                last = max((int(tag[1:]) for tag in coordinates if re.fullmatch(r"[xy]\d{1,6}", tag)), default=0)
                corners = [(coordinates.get(f"x{k}"), coordinates.get(f"y{k}")) for k in range(1, last + 1)]
            if corners:
                outlines.append(points(corners))
        if (corner := entry.find("bndbox")) is not None:
            left, top, right, bottom = (number(corner.findtext(k)) for k in ("xmin", "ymin", "xmax", "ymax"))
            box = box_of([left - 1, top - 1, right - left + 1, bottom - top + 1])
        found.categories.setdefault(category)
        instances.append(Instance(str(rank), category, tuple(outlines), None, box, rank=rank))
    size = size_of(root.findtext("size/width"), root.findtext("size/height"))
    found.images.append(Annotated(file, name, size, tuple(instances)))


def cvat(root: ElementTree.Element, file: str, found: Annotations) -> None:
    """CVAT 1.1 for images: polygons, masks, boxes; `z_order` is their rank."""
    found.formats.add("CVAT 1.1")
    named = Counter(image.get("name") for image in root.findall("image"))
    for image in root.findall("image"):
        name, instances = image.get("name", ""), []
        if not name:
            found.problems.append(Problem(file, "skipped", "an image without name"))
            found.met += len(image)
            for place, entry in enumerate(image):
                identity = f"{image.get('id', '')}:{place}"
                found.problems.append(Problem(file, "dropped", "its image has no name", "", identity, entry.get("label", "")))
            continue
        if named[name] > 1 and image.get("subset"):
            name = f"{image.get('subset')}/{name}"  # of several parts of a project, each with an image of that name
        for place, entry in enumerate(image):
            found.met += 1
            category, identity = entry.get("label", ""), f"{image.get('id', '')}:{place}"
            outlines, runs, box = (), None, None
            if entry.tag == "polygon":
                outlines = (points([pair.split(",") for pair in entry.get("points", "").split(";")]),)
            elif entry.tag == "mask":
                left, top, width, height = (number(entry.get(k)) for k in ("left", "top", "width", "height"))
                counts = tuple(numbers(entry.get("rle", "").split(",")).tolist())
                if all(math.isfinite(value) for value in (left, top, width, height)):
                    runs = Runs(counts, (int(height), int(width)), (int(top), int(left)), by_columns=False)
            elif entry.tag == "ellipse" and number(entry.get("rotation", "0")) == 0:
                cx, cy, rx, ry = (number(entry.get(k)) for k in ("cx", "cy", "rx", "ry"))
                outlines = (ellipse((cx, cy), (rx, ry)),)
            elif entry.tag == "box" and number(entry.get("rotation", "0")) == 0:
                left, top, right, bottom = (number(entry.get(k)) for k in ("xtl", "ytl", "xbr", "ybr"))
                box = box_of([left, top, right - left, bottom - top])
            else:
                turned = entry.tag in ("box", "ellipse")
                reason = f"a turned {entry.tag} is not read" if turned else f"a {entry.tag} covers no area"
                found.problems.append(Problem(file, "dropped", reason, name, identity, category))
                continue
            if not category:
                found.problems.append(Problem(file, "dropped", "it has no label", name, identity))
                continue
            found.categories.setdefault(category)
            rank = number(entry.get("z_order", "0"))
            instances.append(Instance(identity, category, outlines, runs, box, rank=0 if math.isnan(rank) else rank))
        size = size_of(image.get("width"), image.get("height"))
        found.images.append(Annotated(file, name, size, tuple(instances)))


def cityscapes(document: dict[str, Any], file: str, found: Annotations) -> None:
    """Cityscapes: polygons from the rearmost to the foremost; a label that ends in `group` is a crowd of the class before it."""
    found.formats.add("Cityscapes")
    name, instances = re.sub(r"_gtFine_polygons$", "", Path(file).stem), []
    for rank, entry in enumerate(entries(document, "objects")):
        found.met += 1
        label = entry.get("label")
        if not isinstance(label, str) or not label or entry.get("deleted") == 1:
            reason = "it is marked as deleted" if label and isinstance(label, str) else "it has no label"
            found.problems.append(Problem(file, "dropped", reason, name, str(rank)))
            continue
        crowd = label.endswith("group") and label != "group"
        category = label.removesuffix("group") if crowd else label
        found.categories.setdefault(category)
        instances.append(Instance(str(rank), category, (points(entry.get("polygon")),), crowd=crowd, rank=rank))
    found.images.append(Annotated(file, name, size_of(document.get("imgWidth"), document["imgHeight"]), tuple(instances)))


CIRCLE = 64  # corners of a polygon that stands for a circle


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
    instances = []
    for rank, entry in enumerate(entries(document, "shapes")):
        found.met += 1
        category, kind, values = entry.get("label"), entry.get("shape_type", "polygon"), points(entry.get("points"))
        outlines, runs, box = (), None, None
        if not isinstance(category, str) or not category:
            found.problems.append(Problem(file, "dropped", "it has no label", name, str(rank)))
            continue
        if kind in ("polygon", None, ""):
            outlines = (values,)
        elif kind == "circle" and len(values) == 4:
            radius = float(np.hypot(*(values[2:] - values[:2])))
            outlines = (ellipse(tuple(values[:2]), (radius, radius)),)
        elif kind == "rectangle" and len(values) in (4, 8):  # two corners that face each other, or all four
            corners = values.reshape(-1, 2)
            low, high = corners.min(0), corners.max(0)
            box = box_of([*low, *(high - low)])
        elif kind == "mask" and len(values) == 4:
            runs = drawn_mask(entry.get("mask"), values)
        else:
            found.problems.append(Problem(file, "dropped", f"a {kind} of LabelMe is not read", name, str(rank), category))
            continue
        found.categories.setdefault(category)
        instances.append(Instance(str(rank), category, outlines, runs, box, rank=rank))
    size = size_of(document.get("imageWidth"), document.get("imageHeight"))
    found.images.append(Annotated(file, name, size, tuple(instances)))


def drawn_mask(packed: Any, corners: np.ndarray) -> Runs:
    """A mask of LabelMe, a PNG in base 64 of what lies between two corners, as runs; runs of nothing when it cannot be read."""
    try:
        mask = decoded(base64.b64decode(packed, validate=True), "mask", cv2.IMREAD_GRAYSCALE) > 0
    except (ToolkitError, TypeError, ValueError):
        return Runs((), (0, 0))
    if not np.isfinite(corners).all():
        return Runs((), (0, 0))
    changes = np.flatnonzero(np.diff(mask.ravel(), prepend=False))
    lengths = np.diff([0, *changes, mask.size])
    return Runs(tuple(lengths.tolist()), mask.shape, (int(corners[1]), int(corners[0])), by_columns=False)

"""Read annotations of objects in images, in five formats that are recognised by their content.

COCO JSON, Pascal VOC XML, CVAT 1.1 XML, Cityscapes JSON, LabelMe JSON.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hvd.data.preparation.formats import (
    Unusable,
    cityscapes,
    coco,
    cvat,
    labelme,
    voc,
)
from hvd.data.preparation.instances import (
    Annotated,
    Annotations,
    Instance,
    Problem,
)
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import read_bytes
from hvd.toolkit.tasks.objects.dataset import without_repeated_keys

FORMATS = (
    "COCO JSON, Pascal VOC XML, CVAT 1.1 XML, "
    "Cityscapes *_gtFine_polygons.json, or LabelMe JSON"
)

# Keys that a JSON document must have, by the reader of its format.
JSON_FORMATS = (
    (coco, ("images", "annotations", "categories")),
    (cityscapes, ("imgHeight", "objects")),
    (labelme, ("shapes",)),
)

Parser = Callable[[Any, str, Annotations], None]


def read(path: Path) -> Annotations:
    """All annotations in a file, or in the .json and .xml files of a folder and its subfolders.

    Raises ToolkitError with status 5 when none can be read.
    """
    files = [path]
    if path.is_dir():
        files = sorted(
            p for p in path.rglob("*") if p.suffix.lower() in (".json", ".xml")
        )

    if not path.exists() or not files:
        remedy = "Give a .json or .xml file, or a folder of them."
        raise ToolkitError(
            f"There are no annotations at {path}.", remedy, status=5
        )

    annotations = Annotations()
    total = hashlib.sha256()
    for file in files:
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        try:
            data = read_bytes(file)
            total.update(data)
            parse, document = parser_of(data)
            parse(document, name, annotations)
        # One bad file is reported and left out: the others are worth having.
        except ToolkitError as error:
            annotations.problems.append(Problem(name, "skipped", error.reason))
        except Unusable as error:
            annotations.problems.append(Problem(name, "skipped", str(error)))

    if not annotations.images:
        problems = annotations.problems
        why = problems[0].reason if problems else "no image is named"
        reason = f"No annotations can be read from {path}: {why}"
        raise ToolkitError(reason, f"Give {FORMATS}.", status=5)

    # One image may be annotated in several files.
    annotations.images = merge_images(annotations)
    annotations.sha256 = total.hexdigest()
    return annotations


def parser_of(data: bytes) -> tuple[Parser, Any]:
    """The reader of a format, and the parsed document; raises Unusable for an unknown format."""
    is_utf16 = data[:4] in (b"\xff\xfe<\0", b"\xfe\xff\0<")
    if is_utf16 or data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        return xml_parser(data)

    try:
        document = json.loads(data, object_pairs_hook=without_repeated_keys)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"it is neither JSON nor XML: {error}.") from error

    if isinstance(document, dict):
        for parse, keys in JSON_FORMATS:
            if all(key in document for key in keys):
                return parse, document

    raise Unusable(f"it is JSON of no known format ({FORMATS}).")


def xml_parser(data: bytes) -> tuple[Parser, Any]:
    """As `parser_of`, for XML; entities are refused, since they can grow without bound."""
    text = data.replace(b"\0", b"")  # UTF-16 looks like UTF-8 then
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
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


def merge_images(annotations: Annotations) -> list[Annotated]:
    """All images, those of the same name merged into one; adds the problems that this meets."""
    by_name: dict[str, Annotated] = {}
    for image in annotations.images:
        earlier = by_name.get(image.name)
        if earlier is None:
            by_name[image.name] = image
            continue

        # Coordinates of another size cannot be brought together.
        if (
            None not in (image.size, earlier.size)
            and image.size != earlier.size
        ):
            sizes = f"as {earlier.size} and {image.size}"
            reason = f"annotated twice, {sizes}: instances of {image.file} are dropped"
            for instance in image.instances:
                annotations.add_problem(
                    image.file, "dropped", reason, image.name, instance
                )
            continue

        reason = "the image is annotated twice: joined"
        annotations.add_problem(image.file, "noted", reason, image.name)
        by_name[image.name] = merge_two(earlier, image, annotations)

    return list(by_name.values())


def merge_two(
    earlier: Annotated, image: Annotated, annotations: Annotations
) -> Annotated:
    """One image of two of the same name; an annotation that both hold counts once.

    The instances of the later one lie in front.
    """
    # Later annotations lie above earlier ones; keep that order when joining.
    rearmost = min((instance.rank for instance in image.instances), default=0)
    start = (
        max((instance.rank for instance in earlier.instances), default=-1) + 1
    )
    known = {content_key(instance) for instance in earlier.instances}

    added = []
    for instance in image.instances:
        if content_key(instance) in known:
            reason = "the same annotation is there twice"
            annotations.add_problem(
                image.file, "dropped", reason, image.name, instance
            )
        else:
            rank = instance.rank - rearmost + start
            added.append(replace(instance, rank=rank, file=image.file))

    size = earlier.size or image.size
    return Annotated(
        earlier.file, image.name, size, (*earlier.instances, *added)
    )


def content_key(instance: Instance) -> tuple:
    """Equal for two instances that are the same annotation."""
    outlines = tuple(outline.tobytes() for outline in instance.outlines)
    return (
        instance.id,
        instance.category,
        outlines,
        instance.runs,
        instance.box,
        instance.crowd,
    )

"""Annotations of objects in images, of five formats, told apart by their content: COCO JSON, Pascal VOC XML, CVAT 1.1 XML,
Cityscapes JSON, LabelMe JSON."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hvd.data.preparation.formats import Unusable, cityscapes, coco, cvat, labelme, voc
from hvd.data.preparation.instances import Annotated, Annotations, Instance, Problem
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import read_bytes
from hvd.toolkit.tasks.objects.dataset import without_repeated_keys

FORMATS = (
    "COCO JSON, Pascal VOC XML, CVAT 1.1 XML, Cityscapes *_gtFine_polygons.json, or LabelMe JSON"
)


def read(path: Path) -> Annotations:
    """All annotations in a file, or in the .json and .xml files of a folder and its subfolders. ToolkitError with status 5 when
    none can be read."""
    files = (
        sorted(p for p in path.rglob("*") if p.suffix.lower() in (".json", ".xml"))
        if path.is_dir()
        else [path]
    )

    if not path.exists() or not files:
        raise ToolkitError(
            f"There are no annotations at {path}.",
            "Give a .json or .xml file, or a folder of them.",
            status=5,
        )

    found = Annotations()
    whole = hashlib.sha256()
    for file in files:
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        try:
            data = read_bytes(file)
            whole.update(data)
            parse, document = parser_of(data)
            parse(document, name, found)
        except ToolkitError as error:
            found.problems.append(Problem(name, "skipped", error.reason))
        except Unusable as error:
            found.problems.append(Problem(name, "skipped", str(error)))

    if not found.images:
        reason = found.problems[0].reason if found.problems else "no image is named"
        raise ToolkitError(
            f"No annotations can be read from {path}: {reason}", f"Give {FORMATS}.", status=5
        )

    found.images = merge_images(found)
    found.sha256 = whole.hexdigest()
    return found


def parser_of(data: bytes) -> tuple[Callable[[Any, str, Annotations], None], Any]:
    """The reader of a format and the parsed document, by what the file holds."""
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" or data[:4] in (
        b"\xff\xfe<\0",
        b"\xfe\xff\0<",
    ):
        return xml_parser(data)

    try:
        document = json.loads(data, object_pairs_hook=without_repeated_keys)
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


def xml_parser(data: bytes) -> tuple[Callable[[Any, str, Annotations], None], Any]:
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


def merge_images(found: Annotations) -> list[Annotated]:
    """Images, those that several entries name joined into one."""
    by_name: dict[str, Annotated] = {}
    for image in found.images:
        earlier = by_name.get(image.name)
        if earlier is None:
            by_name[image.name] = image
            continue
        if None not in (image.size, earlier.size) and image.size != earlier.size:
            reason = f"annotated twice, as {earlier.size} and {image.size}: instances of {image.file} are dropped"
            found.problems += [
                Problem(image.file, "dropped", reason, image.name, i.id, i.category)
                for i in image.instances
            ]
            continue

        found.problems.append(
            Problem(image.file, "noted", "the image is annotated twice: joined", image.name)
        )
        size = earlier.size or image.size
        # the later file lies in front
        behind = max((instance.rank for instance in earlier.instances), default=-1) + 1
        front = min((instance.rank for instance in image.instances), default=0)
        there = {content_key(instance) for instance in earlier.instances}
        later = []
        for instance in image.instances:
            if content_key(instance) in there:
                reason = "the same annotation is there twice"
                found.problems.append(
                    Problem(
                        image.file, "dropped", reason, image.name, instance.id, instance.category
                    )
                )
            else:
                later.append(
                    replace(instance, rank=instance.rank - front + behind, file=image.file)
                )

        by_name[image.name] = Annotated(
            earlier.file, image.name, size, (*earlier.instances, *later)
        )

    return list(by_name.values())


def content_key(instance: Instance) -> tuple:
    """What two annotations have in common that are the same."""
    outlines = tuple(outline.tobytes() for outline in instance.outlines)
    return instance.id, instance.category, outlines, instance.runs, instance.box, instance.crowd

"""Report what a preparation did: as JSON, and as one HTML page that needs no other file."""

import base64
from collections import defaultdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment

from hvd.data.preparation.instances import Annotations
from hvd.data.preparation.options import PrepareOptions
from hvd.data.preparation.split import PARTS
from hvd.toolkit.images import read_image
from hvd.toolkit.tasks.objects.drawing import class_overlay, palette

SHOWN = 24  # pictures in the gallery
ROWS = 200  # of a table; report.json holds the others
MENDED = "repaired", "clipped"  # what may be done to an object that is kept
IGNORED = "ignored"  # the name of pixels of value 255
ORDER = ("skipped", "dropped", "repaired", "clipped", "noted")


def account_of(
    options: PrepareOptions,
    classes: tuple[str, ...],
    annotations: Annotations,
    records: list[dict[str, Any]],
    manifest: list[dict[str, Any]],
    problems: list[dict[str, Any]],
) -> dict[str, Any]:
    """The content of report.json: counts, the balance of classes, and everything that was done.

    Parameters
    ----------
    options, classes, annotations : what the data set was prepared from.
    records : of all images, those that failed too.
    manifest : lines of the images that were written.
    problems : of images and objects, as dictionaries.
    """
    # An object may be mended several times, and counts once, unless it was
    # dropped after all.
    subjects = defaultdict(set)
    for problem in problems:
        subject = problem["file"], problem["image"], problem["instance"]
        subjects[problem["action"]].add(subject)

    # Each lost object has exactly one "dropped" line, so that annotated is
    # always kept + dropped.
    instances = {
        "annotated": annotations.instance_count,
        "kept": sum(len(record["kept"]) for record in records),
        "dropped": sum(problem["action"] == "dropped" for problem in problems),
    }
    for action in MENDED:
        instances[action] = len(subjects[action] - subjects["dropped"])

    # Problems of entire files, and of images without a name, name no image.
    overlaps = [record.get("overlap", 0) for record in records]
    skipped = {image for _, image, _ in subjects["skipped"]} - {""}
    return {
        "formats": sorted(annotations.formats),
        "options": plain_options(options),
        "classes": list(classes),
        "images": {
            "annotated": len(annotations.images),
            "written": len(manifest),
            "skipped": len(skipped),
            "parts": {
                part: sum(line["part"] == part for line in manifest)
                for part in PARTS
            },
        },
        "instances": instances,
        "overlaps": {
            "images": sum(overlap > 0 for overlap in overlaps),
            "pixels": sum(overlaps),
        },
        "balance": balance_of(manifest, classes),
        "problems": problems,
    }


def plain_options(options: PrepareOptions) -> dict[str, Any]:
    """Options as JSON values."""
    values = {}
    for name, value in options.as_dict().items():
        if isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, Path):
            value = str(value)
        values[name] = value
    return values


def balance_of(
    manifest: list[dict[str, Any]], classes: tuple[str, ...]
) -> dict[str, Any]:
    """For each part and class, the images that show it and its pixels."""
    balance = {}
    for part in PARTS:
        balance[part] = {
            name: {"images": 0, "pixels": 0} for name in (*classes, IGNORED)
        }

    for line in manifest:
        for name, pixels in line["pixels"].items():
            entry = balance[line["part"]][name]
            entry["images"] += 1
            entry["pixels"] += pixels
    return balance


def html_page(
    account: dict[str, Any], folder: Path, manifest: list[dict[str, Any]]
) -> str:
    """The report as HTML, with pictures of the data set in `folder` that show its masks."""
    classes = tuple(account["classes"])

    # Problems of one kind stand together, the worst and most frequent first.
    groups = defaultdict(list)
    for problem in account["problems"]:
        groups[problem["action"], kind_of_reason(problem["reason"])].append(
            problem
        )
    ordered = sorted(
        groups.items(), key=lambda g: (ORDER.index(g[0][0]), -len(g[1]), g[0])
    )

    order = np.random.default_rng(account["options"]["seed"]).permutation(
        len(manifest)
    )
    gallery = []
    for k in sorted(order[:SHOWN]):
        line = manifest[k]
        gallery.append(
            (
                f"{line['part']}: {line['source']}",
                overlay(folder, line, classes),
            )
        )

    colours = palette()
    legend = [
        (colours[k].tolist(), name)
        for k, name in enumerate(classes)
        if name != "background"
    ]

    source = files("hvd.data.preparation").joinpath("report.html").read_text()
    template = Environment(autoescape=True).from_string(source)
    return template.render(
        account=account,
        names=(*classes, IGNORED),
        groups=ordered,
        gallery=gallery,
        legend=legend,
        most=ROWS,
    )


def kind_of_reason(reason: str) -> str:
    """A reason without the part that differs from one object to the next.

    >>> kind_of_reason("outline 2: self-intersection: area 5.0 -> 4.0")
    'self-intersection'
    """
    words = reason.split(": ")
    return (
        words[1]
        if words[0].startswith("outline ") and len(words) > 1
        else words[0]
    )


def overlay(
    folder: Path, line: dict[str, Any], classes: tuple[str, ...]
) -> str:
    """A picture with its mask over it, as JPEG in base 64."""
    place = folder / line["part"]
    # Read by Python: OpenCV cannot open every file name.
    data = (place / "masks" / f"{line['name']}.png").read_bytes()
    mask = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    image = read_image(place / "images" / f"{line['name']}.jpg")

    shown = class_overlay(image, mask, classes)
    settings = [cv2.IMWRITE_JPEG_QUALITY, 80]
    jpeg = cv2.imencode(".jpg", shown[..., ::-1], settings)[1].tobytes()
    return base64.b64encode(jpeg).decode()

"""What a preparation did: the account of it, and a page of it for people, one file with nothing to fetch."""

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

# pictures in the gallery, and rows of a table before the rest is left to report.json
SHOWN = 24
ROWS = 200
MENDED = "repaired", "clipped"
IGNORED = "ignored"  # what pixels of value 255 are called


def account_of(
    options: PrepareOptions,
    classes: tuple[str, ...],
    found: Annotations,
    records: list[dict[str, Any]],
    manifest: list[dict[str, Any]],
    told: list[dict[str, Any]],
) -> dict[str, Any]:
    """What the report says: counts, the balance of classes, and everything that was done."""
    told_of = defaultdict(set)
    for one in told:
        told_of[one["action"]].add((one["file"], one["image"], one["instance"]))
    dropped = sum(one["action"] == "dropped" for one in told)
    kept = sum(len(record["kept"]) for record in records)
    balance = {
        part: {name: {"images": 0, "pixels": 0} for name in (*classes, IGNORED)} for part in PARTS
    }

    for line in manifest:
        for name, pixels in line["pixels"].items():
            balance[line["part"]][name]["images"] += 1
            balance[line["part"]][name]["pixels"] += pixels

    return {
        "formats": sorted(found.formats),
        "options": {
            k: list(v) if isinstance(v, tuple) else str(v) if isinstance(v, Path) else v
            for k, v in options.as_dict().items()
        },
        "classes": list(classes),
        "images": {
            "annotated": len(found.images),
            "written": len(manifest),
            "skipped": len({image for _, image, _ in told_of["skipped"]} - {""}),
            "parts": {part: sum(line["part"] == part for line in manifest) for part in PARTS},
        },
        "instances": {
            "annotated": found.met,
            "kept": kept,
            "dropped": dropped,
            **{action: len(told_of[action] - told_of["dropped"]) for action in MENDED},
        },
        "overlaps": {
            "images": sum(record.get("overlap", 0) > 0 for record in records),
            "pixels": sum(record.get("overlap", 0) for record in records),
        },
        "balance": balance,
        "problems": told,
    }


def html_page(account: dict[str, Any], folder: Path, manifest: list[dict[str, Any]]) -> str:
    """The report as HTML, with pictures of the data set in `folder` that show its masks."""
    classes = tuple(account["classes"])
    groups = defaultdict(list)
    for one in account["problems"]:
        groups[one["action"], kind_of_reason(one["reason"])].append(one)
    ordered = sorted(
        groups.items(), key=lambda group: (ORDER.index(group[0][0]), -len(group[1]), group[0])
    )
    chosen = np.random.default_rng(account["options"]["seed"]).permutation(len(manifest))[:SHOWN]
    gallery = [
        (f"{manifest[k]['part']}: {manifest[k]['source']}", overlay(folder, manifest[k], classes))
        for k in sorted(chosen)
    ]
    colours = palette()
    legend = [(colours[k].tolist(), name) for k, name in enumerate(classes) if name != "background"]
    template = Environment(autoescape=True).from_string(
        files("hvd.data.preparation").joinpath("report.html").read_text()
    )
    names = (*classes, IGNORED)

    return template.render(
        account=account, names=names, groups=ordered, gallery=gallery, legend=legend, most=ROWS
    )


ORDER = ("skipped", "dropped", "repaired", "clipped", "noted")


def kind_of_reason(reason: str) -> str:
    """A reason without what differs from one to the next: the numbers after a colon, the outline it speaks of."""
    words = reason.split(": ")
    return words[1] if words[0].startswith("outline ") and len(words) > 1 else words[0]


def overlay(folder: Path, line: dict[str, Any], classes: tuple[str, ...]) -> str:
    """A picture with its mask over it, as JPEG in base64."""
    place = folder / line["part"]
    path = place / "masks" / f"{line['name']}.png"  # whose name may be none that OpenCV can open
    mask = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    shown = class_overlay(read_image(place / "images" / f"{line['name']}.jpg"), mask, classes)
    return base64.b64encode(
        cv2.imencode(".jpg", shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    ).decode()

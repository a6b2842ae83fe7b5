"""Heaps in files, and what `predict fragments` leaves for each."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from hvd.toolkit.core import Column, ToolkitError
from hvd.toolkit.images import folder_images, read_array, write_png, zipped_images
from hvd.toolkit.outputs import cell, write_bytes
from hvd.toolkit.tasks.fragments.drawing import photograph, sorted_fragments
from hvd.toolkit.tasks.fragments.options import LARGEST, MOST, InputOptions
from hvd.toolkit.tasks.fragments.types import Arrangement, Heap, heap_of

COLUMNS = (
    Column("fragments", lambda record: str(record["fragments"])),
    Column("photographs", lambda record: str(record["photographs"])),
    Column("mean confidence", lambda record: f"{record['confidence']:.2f}"),
)


def read(path: Path, options: InputOptions) -> Heap:
    """The heap in a folder of images, a .zip of images, or an .npy of uint8 (n, s, s, 3), fragments in the order of their names."""
    if path.suffix.lower() == ".npy":
        return heap_of(read_array(path), options)
    if path.is_dir():
        for folder in (
            p for p in sorted(path.iterdir()) if p.is_dir() and not p.name.startswith(".")
        ):
            raise ToolkitError(
                f"{folder} is a folder in a heap.", "Give each heap as one folder of images."
            )

        found = folder_images(path, options.max_pixels)
    elif path.suffix.lower() == ".zip":
        found = zipped_images(path, options.max_pixels)
    else:
        raise ToolkitError(
            f"{path} is no heap of fragments.",
            "Give a folder or .zip of images, or an .npy of uint8 (n, s, s, 3).",
        )

    names = []
    fragments = []
    for name, image in found:
        if fragments and image.shape != fragments[0].shape:
            raise ToolkitError(
                f"Fragments of {path} differ in size: {names[0]} and {name}.",
                "Give fragments of one size.",
            )

        if max(image.shape) > LARGEST or len(fragments) == MOST:
            what = (
                f"{name} is {image.shape[1]} x {image.shape[0]} pixels"
                if max(image.shape) > LARGEST
                else "there are more"
            )
            raise ToolkitError(
                f"{path} is no heap: {what}.",
                f"Give at most {MOST} fragments, {LARGEST} pixels wide.",
            )

        names.append(name)
        fragments.append(image)

    if not fragments:
        raise ToolkitError(
            f"{path} holds no image.", "Give a folder or .zip with at least 2 fragments as images."
        )

    return heap_of(np.stack(fragments), options, tuple(names))


def write(arrangement: Arrangement, heap: Heap, values: dict[str, Any], folder: Path) -> list[str]:
    """groups.csv, groups.png and photograph-NN.png in `folder`; returns their names."""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    fragments = heap.names or range(len(heap.fragments))
    rows.writerow(["fragment", "group", "row", "column", "turn", "confidence"])
    columns = (
        arrangement.group,
        arrangement.row,
        arrangement.column,
        arrangement.turn,
        arrangement.confidence,
    )
    for fragment, *place, confidence in zip(fragments, *(c.tolist() for c in columns), strict=True):
        rows.writerow([cell(fragment), *place, f"{confidence:.3f}"])
    write_bytes(folder / "groups.csv", table.getvalue().encode(errors="backslashreplace"))
    write_png(folder / "groups.png", sorted_fragments(heap.fragments, arrangement.group))
    names = ["groups.csv", "groups.png"]
    for group in range(values["photographs"]):
        names.append(f"photograph-{group:02d}.png")
        write_png(folder / names[-1], photograph(heap, arrangement, group))

    return names


def measure(arrangement: Arrangement, heap: Heap) -> tuple[dict[str, Any], list[str]]:
    """What was known of the heap, and how many photographs were found."""
    values = {
        "told": {"images": heap.images, "equal": heap.equal, "turned": heap.turned},
        "fragments": len(heap.fragments),
        "photographs": int(arrangement.group.max()) + 1,
        "confidence": round(float(arrangement.confidence.mean()), 3),
    }
    return values, []

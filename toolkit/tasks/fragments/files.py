"""Read heaps from files, and write what `predict fragments` leaves for each."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from hvd.toolkit.core import Column, ToolkitError
from hvd.toolkit.images import (
    folder_images,
    images_in_zip,
    read_array,
    write_png,
)
from hvd.toolkit.outputs import cell, write_bytes
from hvd.toolkit.tasks.fragments.drawing import photograph, rows_by_group
from hvd.toolkit.tasks.fragments.options import LARGEST, MOST, InputOptions
from hvd.toolkit.tasks.fragments.types import Arrangement, Heap, heap_of

COLUMNS = (
    Column("fragments", lambda record: str(record["fragments"])),
    Column("photographs", lambda record: str(record["photographs"])),
    Column("mean confidence", lambda record: f"{record['confidence']:.2f}"),
)


def read(path: Path, options: InputOptions) -> Heap:
    """The heap in a folder of images, a .zip of images, or an .npy of uint8 (n, s, s, 3).

    Fragments come in the order of their names.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return heap_of(read_array(path), options)

    if path.is_dir():
        refuse_subfolders(path)
        images = folder_images(path, options.max_pixels)
    elif suffix == ".zip":
        images = images_in_zip(path, options.max_pixels)
    else:
        remedy = (
            "Give a folder or .zip of images, or an .npy of uint8 (n, s, s, 3)."
        )
        raise ToolkitError(f"{path} is no heap of fragments.", remedy)

    names = []
    fragments = []
    for name, image in images:
        if fragments and image.shape != fragments[0].shape:
            reason = (
                f"Fragments of {path} differ in size: {names[0]} and {name}."
            )
            raise ToolkitError(reason, "Give fragments of one size.")

        # Checked here too, before all of a huge folder is in memory.
        limits = f"Give at most {MOST} fragments, {LARGEST} pixels wide."
        if max(image.shape) > LARGEST:
            size = f"{image.shape[1]} x {image.shape[0]} pixels"
            raise ToolkitError(f"{path} is no heap: {name} is {size}.", limits)
        if len(fragments) == MOST:
            raise ToolkitError(f"{path} is no heap: there are more.", limits)

        names.append(name)
        fragments.append(image)

    if not fragments:
        remedy = "Give a folder or .zip with at least 2 fragments as images."
        raise ToolkitError(f"{path} holds no image.", remedy)

    return heap_of(np.stack(fragments), options, tuple(names))


def refuse_subfolders(path: Path) -> None:
    """Raise ToolkitError when a folder holds another one that is not hidden."""
    for entry in sorted(path.iterdir()):
        if entry.is_dir() and not entry.name.startswith("."):
            remedy = "Give each heap as one folder of images."
            raise ToolkitError(f"{entry} is a folder in a heap.", remedy)


def write(
    arrangement: Arrangement,
    heap: Heap,
    values: dict[str, Any],
    folder: Path,
) -> list[str]:
    """Write groups.csv, groups.png and photograph-NN.png into `folder`; returns their names."""
    table = group_table(arrangement, heap).encode(errors="backslashreplace")
    write_bytes(folder / "groups.csv", table)
    write_png(
        folder / "groups.png", rows_by_group(heap.fragments, arrangement.group)
    )

    names = ["groups.csv", "groups.png"]
    for group in range(values["photographs"]):
        names.append(f"photograph-{group:02d}.png")
        write_png(folder / names[-1], photograph(heap, arrangement, group))

    return names


def group_table(arrangement: Arrangement, heap: Heap) -> str:
    """Group, place, turn and confidence of every fragment, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["fragment", "group", "row", "column", "turn", "confidence"]
    )

    names = heap.names or range(len(heap.fragments))
    for k, name in enumerate(names):
        writer.writerow(
            [
                cell(name),
                int(arrangement.group[k]),
                int(arrangement.row[k]),
                int(arrangement.column[k]),
                int(arrangement.turn[k]),
                f"{arrangement.confidence[k]:.3f}",
            ]
        )

    return text.getvalue()


def measure(
    arrangement: Arrangement, heap: Heap
) -> tuple[dict[str, Any], list[str]]:
    """Values for the record: what was known of the heap, and what was found."""
    values = {
        "known": {
            "images": heap.images,
            "equal": heap.equal,
            "turned": heap.turned,
        },
        "fragments": len(heap.fragments),
        "photographs": int(arrangement.group.max()) + 1,
        "confidence": round(float(arrangement.confidence.mean()), 3),
    }
    return values, []

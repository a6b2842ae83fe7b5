"""Write what `predict grains` leaves for each micrograph."""

import csv
import io
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi
from scipy.ndimage import find_objects

from hvd.toolkit.core import Column
from hvd.toolkit.images import write_png
from hvd.toolkit.outputs import write_bytes
from hvd.toolkit.tasks.grains.astm import chords
from hvd.toolkit.tasks.grains.charts import distribution_chart
from hvd.toolkit.tasks.grains.overlay import overlay
from hvd.toolkit.tasks.grains.reliability import reliability
from hvd.toolkit.tasks.grains.sizes import Grains, significant
from hvd.toolkit.tasks.grains.summary import (
    ELONGATED,
    UNITS,
    notes_on_sizes,
    summary,
    without_sizes,
)
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph

KINDS = (
    "boundaries.png",
    "labels.tif",
    "overlay.png",
    "grains.csv",
    "chords.csv",
    "distribution.png",
    "rois.zip",
)


def diameter_cell(record: dict[str, Any]) -> str:
    """The mean equivalent diameter with its unit."""
    if not record["diameter"]:
        return "no size"
    mean = record["diameter"]["number_weighted"]["mean"]
    return f"{mean:.3g} {UNITS[record['unit']]}"


def astm_cell(record: dict[str, Any]) -> str:
    """The ASTM E112 number by count, with its interval."""
    number = record["astm_g"] and record["astm_g"]["planimetric"]
    if not number:
        return "-"
    ends = [
        f"{number[end]:.1f}" if number[end] is not None else "?"
        for end in ("low", "high")
    ]
    return f"{number['mean']:.1f} [{', '.join(ends)}]"


def reliability_cell(record: dict[str, Any]) -> str:
    """How far the answer can be trusted, 0 to 1."""
    value = record["reliability"]
    return "-" if value is None else f"{value:.2f}"


COLUMNS = (
    Column("grains", lambda record: str(record["grains"])),
    Column("mean diameter", diameter_cell),
    Column("ASTM G [95 %]", astm_cell),
    Column("reliability", reliability_cell),
    Column("scale", lambda record: record["scale_source"], is_text=True),
)


def measure(
    answer: Boundaries, micrograph: Micrograph
) -> tuple[dict[str, Any], list[str]]:
    """Values for the record: size and scale of the micrograph, and sizes of its grains."""
    height, width = answer.labels.shape
    scale = micrograph.scale
    values = {
        "width": width,
        "height": height,
        "measured_share": 1.0,
        "micrometres_per_pixel": scale.micrometres_per_pixel,
        "scale_source": scale.source,
    }
    notes = list(micrograph.notes)
    if micrograph.inside is not None:
        share = float(micrograph.inside.mean())
        values["measured_share"] = significant(share)

    values |= summary(
        answer.labels,
        answer.grains,
        scale.micrometres_per_pixel,
        micrograph.three_dimensional,
    )
    if micrograph.smallest:
        unit = scale.micrometres_per_pixel or 1.0
        values["smallest_diameter"] = significant(micrograph.smallest * unit)
        values["left_out"] = answer.left_out
        if answer.left_out:
            notes.append(
                f"Grains below the least diameter: {answer.left_out}. They became part of their "
                "neighbours."
            )
    if micrograph.merge_twins:
        values["twins"] = answer.twins
        notes.append(twins_note(values))

    trust = answer.trust or reliability(answer)
    values["reliability"] = trust.reliability
    values["reliability_parts"] = trust.parts and {
        name: significant(value) for name, value in asdict(trust.parts).items()
    }
    if trust.is_doubtful:
        return without_sizes(values), notes + trust.notes
    return values, notes + trust.notes + notes_on_sizes(values)


def twins_note(values: dict[str, Any]) -> str:
    """What merging twins did, and when to doubt it."""
    note = f"Twins that were told by their shape and merged: {values['twins']}."
    directions = values["intercept_by_direction"]
    index = directions and directions["anisotropy_index"]
    if index and index >= ELONGATED:
        return (
            f"{note} The grains are elongated, so that many of these may be grains: "
            "compare with --twins keep."
        )
    return f"{note} Check them in the overlay."


def write(
    answer: Boundaries,
    micrograph: Micrograph,
    values: dict[str, Any],
    folder: Path,
) -> list[str]:
    """Write the files of one micrograph into `folder`; returns their names."""
    name = micrograph.name
    labels = answer.labels
    grains = answer.grains
    # Without a scale, sizes are in pixels.
    scale = micrograph.scale.micrometres_per_pixel
    unit = UNITS[values["unit"]]

    write_png(
        folder / f"{name}-boundaries.png", answer.mask.astype(np.uint8) * 255
    )
    write_labels(folder / f"{name}-labels.tif", labels, scale)
    write_png(
        folder / f"{name}-overlay.png", overlay(answer, micrograph, values)
    )
    write_bytes(
        folder / f"{name}-grains.csv", table(grains, scale or 1, unit).encode()
    )
    write_bytes(
        folder / f"{name}-chords.csv",
        chord_table(labels, scale or 1, unit).encode(),
    )
    chart = distribution_chart(name, grains, values, micrograph.scale, unit)
    write_png(folder / f"{name}-distribution.png", chart)
    write_bytes(folder / f"{name}-rois.zip", rois(labels))

    return [f"{name}-{kind}" for kind in KINDS]


def chord_table(
    labels: np.ndarray,
    scale: float,
    unit: str,
) -> str:
    """A CSV table with one chord of a test line a row: its direction, and its length in `unit`."""
    rows = [f"direction,length_{unit}"]
    for direction, length in chords(labels):
        rows.append(f"{direction},{length * scale:.6g}")
    return "\n".join(rows) + "\n"


def write_labels(
    path: Path,
    labels: np.ndarray,
    scale: float | None,
) -> None:
    """Write the number of every pixel's grain as TIFF, with the scale in its tags."""
    pixels_per_cm = 1e4 / scale if scale else None
    tifffile.imwrite(
        path,
        labels,
        compression="zlib",
        resolution=(pixels_per_cm, pixels_per_cm) if scale else None,
        resolutionunit="CENTIMETER" if scale else None,
        metadata=None,
    )


def table(
    grains: Grains,
    scale: float,
    unit: str,
) -> str:
    """A CSV table with one grain a row: lengths in `unit`, positions in pixels."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    sizes = f"area_{unit}2", f"diameter_{unit}", f"perimeter_{unit}"
    # Positions stay in pixels, so that they can be looked up in the image.
    shape = "aspect_ratio", "orientation_degrees", "touches_frame"
    writer.writerow(["grain", "row_px", "column_px", *sizes, *shape])

    for k in range(len(grains.area)):
        writer.writerow(
            [
                k + 1,
                f"{grains.row[k]:.1f}",
                f"{grains.column[k]:.1f}",
                f"{grains.area[k] * scale**2:.6g}",
                f"{grains.diameter[k] * scale:.6g}",
                f"{grains.perimeter[k] * scale:.6g}",
                f"{grains.aspect_ratio[k]:.3f}",
                f"{grains.orientation[k]:.1f}",
                int(grains.touches_frame[k]),
            ]
        )

    return text.getvalue()


def rois(labels: np.ndarray) -> bytes:
    """An ImageJ ROI set: the outline of every grain, without islands in it, named by its number."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, place in enumerate(find_objects(labels), 1):
            if place is None:
                continue
            rows, columns = place
            outlines = outlines_of(labels[rows, columns] == number)
            corner = np.array([columns.start, rows.start])
            roi = roi_of([outline + corner for outline in outlines])
            roi.name = f"grain-{number:05d}"
            archive.writestr(zipfile.ZipInfo(f"{roi.name}.roi"), roi.tobytes())

    return buffer.getvalue()


def outlines_of(inside: np.ndarray) -> list[np.ndarray]:
    """Outlines (n, 2), as x and y, of a mask bool (H, W), along the corners of pixels.

    The first is the outer one; further ones are those of islands in it.
    """
    # OpenCV's contours run through the centres of pixels. At twice the size, corner k of the
    # original is the pixel 2k + 1 or 2k + 2, so that halving rounds to the corner.
    twice = inside.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    twice = cv2.copyMakeBorder(twice, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    outlines, tree = cv2.findContours(
        twice, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    areas = [cv2.contourArea(outline) for outline in outlines]
    outer = max(
        (k for k in range(len(outlines)) if tree[0, k, 3] < 0),
        key=lambda k: areas[k],
    )
    chosen = [outlines[outer][:, 0] // 2]
    for k in range(len(outlines)):
        if tree[0, k, 3] == outer:
            # Contours of holes run through the pixels around them, not through their own.
            left, top, across, down = cv2.boundingRect(outlines[k])
            hole = np.zeros((down, across), np.uint8)
            corner = -left, -top
            cv2.drawContours(hole, outlines, k, 1, -1, offset=corner)
            hole[twice[top : top + down, left : left + across] > 0] = 0
            (its,), _ = cv2.findContours(
                hole, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
            )
            chosen.append((its[:, 0] + (left, top)) // 2)
    return chosen


def roi_of(outlines: list[np.ndarray]) -> ImagejRoi:
    """An ROI with one outline (n, 2); further ones are cut out of it."""
    roi = ImagejRoi.frompoints(outlines[0])
    roi.roitype = ROI_TYPE.POLYGON
    roi.options &= ~ROI_OPTIONS.SUB_PIXEL_RESOLUTION
    if len(outlines) == 1:
        return roi

    # A composite ROI is a path: 0 moves to a point, 1 draws a line to it, 4 closes an outline.
    path: list[float] = []
    for outline in outlines:
        for k, (x, y) in enumerate(outline.tolist()):
            path += [1.0 if k else 0.0, x, y]
        path.append(4.0)
    roi.roitype = ROI_TYPE.RECT
    roi.integer_coordinates = None
    roi.n_coordinates = 0
    roi.multi_coordinates = np.array(path, np.float32)
    roi.shape_roi_size = len(path)
    return roi

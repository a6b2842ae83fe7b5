"""Micrographs in files, and what `predict grains` leaves for each."""

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi
from scipy.ndimage import find_objects

from hvd.toolkit.core import Column, ToolkitError
from hvd.toolkit.images import decoded_grey, grey_levels, read_bytes, write_png
from hvd.toolkit.outputs import write_bytes
from hvd.toolkit.tasks.grains import sizes
from hvd.toolkit.tasks.grains.drawing import distribution, overlay
from hvd.toolkit.tasks.grains.options import InputOptions
from hvd.toolkit.tasks.grains.scale import Scale, scale_bar, tiff_scale
from hvd.toolkit.tasks.grains.sizes import Grains
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph

KINDS = "boundaries.png", "labels.tif", "overlay.png", "grains.csv", "distribution.png", "rois.zip"
UNITS = {"micrometre": "um", "pixel": "px"}


def diameter_cell(record: dict[str, Any]) -> str:
    """The mean equivalent diameter with its unit."""
    if not record["diameter"]:
        return "no grain"
    mean = record["diameter"]["number_weighted"]["mean"]
    return f"{mean:.3g} {UNITS[record['unit']]}"


def astm_cell(record: dict[str, Any]) -> str:
    """The ASTM E112 number by count, with its interval."""
    number = record["astm_g"] and record["astm_g"]["planimetric"]
    if not number:
        return "-"
    ends = [f"{number[end]:.1f}" if number[end] is not None else "?" for end in ("low", "high")]
    return f"{number['mean']:.1f} [{', '.join(ends)}]"


COLUMNS = (
    Column("grains", lambda record: str(record["grains"])),
    Column("mean diameter", diameter_cell),
    Column("ASTM G [95 %]", astm_cell),
    Column("scale", lambda record: record["scale_source"], is_text=True),
)


# --- read


def read(path: Path, options: InputOptions) -> Micrograph:
    """The micrograph in an image file, without its data bar, and its scale.

    The scale is the one given, or measured on the scale bar, or read from a TIFF's tags.
    """
    data = read_bytes(path)
    image = decoded_grey(data, str(path), options.max_pixels)
    scale = scale_of(image, options) or tiff_scale(data)
    return micrograph_of(image, options, scale, path.stem)


def from_array(array: np.ndarray, options: InputOptions) -> Micrograph:
    """The micrograph in an array: grey (H, W), or RGB uint8 (H, W, 3), of which the grey is taken."""
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8:
        array = cv2.cvtColor(array, cv2.COLOR_RGB2GRAY)
    if array.ndim != 2 or array.dtype.kind not in "uif":
        reason = f"The micrograph is {array.dtype} {array.shape}."
        raise ToolkitError(reason, "Give grey values (H, W), or RGB as uint8 (H, W, 3).")

    image = grey_levels(array, "the micrograph")
    return micrograph_of(image, options, scale_of(image, options) or Scale(), "micrograph")


def scale_of(image: np.ndarray, options: InputOptions) -> Scale | None:
    """The scale that the options say, or that the scale bar shows; None when they name neither."""
    if options.micrometres_per_pixel:
        return Scale(options.micrometres_per_pixel, "given")
    if not options.scale_bar_micrometres:
        return None

    above = max(0, len(image) - options.exclude_bottom) if options.exclude_bottom else 0

    try:  # the bar stands in the data bar, or else in the picture
        length, row, column = scale_bar(image[above:])
    except ToolkitError:
        if not above:
            raise
        above = 0
        length, row, column = scale_bar(image)

    source = f"scale bar of {length} pixels at row {above + row}, column {column}"
    return Scale(options.scale_bar_micrometres / length, source)


def micrograph_of(image: np.ndarray, options: InputOptions, scale: Scale, name: str) -> Micrograph:
    """A micrograph without its data bar."""
    if options.exclude_bottom >= len(image):
        reason = (
            f"{name} has {len(image)} rows: --exclude-bottom {options.exclude_bottom} leaves none."
        )
        raise ToolkitError(reason, "Give fewer rows.")
    return Micrograph(image[: len(image) - options.exclude_bottom], scale, name)


# --- write


def measure(answer: Boundaries, micrograph: Micrograph) -> tuple[dict[str, Any], list[str]]:
    """Size and scale of the micrograph, and what engineers ask of its grains."""
    height, width = answer.labels.shape
    scale = micrograph.scale
    values = {
        "width": width,
        "height": height,
        "micrometres_per_pixel": scale.micrometres_per_pixel,
        "scale_source": scale.source,
    }

    return values | sizes.summary(answer.labels, answer.grains, scale.micrometres_per_pixel), []


def write(
    answer: Boundaries, micrograph: Micrograph, values: dict[str, Any], folder: Path
) -> list[str]:
    """The files of one micrograph in `folder`; returns their names."""
    name = micrograph.name
    labels = answer.labels
    grains = answer.grains
    scale = micrograph.scale.micrometres_per_pixel
    unit = UNITS[values["unit"]]

    write_png(folder / f"{name}-boundaries.png", answer.mask.astype(np.uint8) * 255)
    write_labels(folder / f"{name}-labels.tif", labels, scale)
    picture = overlay(micrograph.image, labels, grains.diameter * (scale or 1), unit)
    write_png(folder / f"{name}-overlay.png", picture)
    write_bytes(folder / f"{name}-grains.csv", table(grains, scale or 1, unit).encode())
    chart = distribution(name, grains, values, micrograph.scale, unit)
    write_png(folder / f"{name}-distribution.png", chart)
    write_bytes(folder / f"{name}-rois.zip", rois(labels))

    return [f"{name}-{kind}" for kind in KINDS]


def write_labels(path: Path, labels: np.ndarray, scale: float | None) -> None:
    """The number of every pixel's grain as TIFF, with the scale in its tags."""
    pixels_per_cm = 1e4 / scale if scale else None
    tifffile.imwrite(
        path,
        labels,
        compression="zlib",
        resolution=(pixels_per_cm, pixels_per_cm) if scale else None,
        resolutionunit="CENTIMETER" if scale else None,
        metadata=None,
    )


def table(grains: Grains, scale: float, unit: str) -> str:
    """One grain a row as CSV, lengths in the unit, places in pixels."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    lengths = f"area_{unit}2", f"diameter_{unit}", f"perimeter_{unit}"
    rows.writerow(
        [
            "grain",
            "row_px",
            "column_px",
            *lengths,
            "aspect_ratio",
            "orientation_degrees",
            "touches_frame",
        ]
    )

    for k in range(len(grains.area)):
        lengths = grains.area[k] * scale**2, grains.diameter[k] * scale, grains.perimeter[k] * scale
        shape = (
            f"{grains.aspect_ratio[k]:.3f}",
            f"{grains.orientation[k]:.1f}",
            int(grains.touches_frame[k]),
        )
        rows.writerow(
            [
                k + 1,
                f"{grains.row[k]:.1f}",
                f"{grains.column[k]:.1f}",
                *(f"{x:.6g}" for x in lengths),
                *shape,
            ]
        )

    return text.getvalue()


def rois(labels: np.ndarray) -> bytes:
    """An ImageJ ROI set: the outer outline of every grain along the corners of its pixels, named by its number."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (rows, columns) in enumerate(find_objects(labels), 1):
            inside = (labels[rows, columns] == number).astype(np.uint8)
            twice = cv2.copyMakeBorder(
                np.kron(inside, np.ones((2, 2), np.uint8)), 1, 1, 1, 1, cv2.BORDER_CONSTANT
            )
            outlines, _ = cv2.findContours(twice, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            # at twice the size, pixel 2k + 1 or 2k + 2 of a corner k
            outline = max(outlines, key=cv2.contourArea)[:, 0] // 2
            roi = ImagejRoi.frompoints(
                outline + np.array([columns.start, rows.start]), name=f"grain-{number:05d}"
            )
            roi.roitype, roi.options = (
                ROI_TYPE.POLYGON,
                roi.options & ~ROI_OPTIONS.SUB_PIXEL_RESOLUTION,
            )
            archive.writestr(zipfile.ZipInfo(f"{roi.name}.roi"), roi.tobytes())

    return packed.getvalue()

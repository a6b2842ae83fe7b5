"""Read micrographs from files, and write what `predict grains` leaves for each."""

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
from hvd.toolkit.images import decode_grey, grey_levels, read_bytes, write_png
from hvd.toolkit.outputs import write_bytes
from hvd.toolkit.tasks.grains import sizes
from hvd.toolkit.tasks.grains.drawing import distribution, overlay
from hvd.toolkit.tasks.grains.options import InputOptions
from hvd.toolkit.tasks.grains.scale import Scale, scale_bar, tiff_scale
from hvd.toolkit.tasks.grains.sizes import Grains
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph

KINDS = (
    "boundaries.png",
    "labels.tif",
    "overlay.png",
    "grains.csv",
    "distribution.png",
    "rois.zip",
)
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
    ends = [
        f"{number[end]:.1f}" if number[end] is not None else "?"
        for end in ("low", "high")
    ]
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

    The scale comes from the options, else from a TIFF's tags.
    """
    data = read_bytes(path)
    image = decode_grey(data, str(path), options.max_pixels)
    scale = scale_of(image, options) or tiff_scale(data)
    return micrograph_of(image, options, scale, path.stem)


def from_array(array: np.ndarray, options: InputOptions) -> Micrograph:
    """The micrograph in an array: grey (H, W), or RGB uint8 (H, W, 3), turned into grey."""
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8:
        array = cv2.cvtColor(array, cv2.COLOR_RGB2GRAY)
    if array.ndim != 2 or array.dtype.kind not in "uif":
        reason = f"The micrograph is {array.dtype} {array.shape}."
        raise ToolkitError(
            reason, "Give grey values (H, W), or RGB as uint8 (H, W, 3)."
        )

    image = grey_levels(array, "the micrograph")
    return micrograph_of(
        image, options, scale_of(image, options) or Scale(), "micrograph"
    )


def scale_of(image: np.ndarray, options: InputOptions) -> Scale | None:
    """The scale by the options, or by the scale bar that they describe; None without either."""
    if options.micrometres_per_pixel:
        return Scale(options.micrometres_per_pixel, "given")
    if not options.scale_bar_micrometres:
        return None

    # The bar usually stands in the data bar, else in the picture.
    above = (
        max(0, len(image) - options.exclude_bottom)
        if options.exclude_bottom
        else 0
    )
    try:
        length, row, column = scale_bar(image[above:])
    except ToolkitError:
        if not above:
            raise
        above = 0
        length, row, column = scale_bar(image)

    source = (
        f"scale bar of {length} pixels at row {above + row}, column {column}"
    )
    return Scale(options.scale_bar_micrometres / length, source)


def micrograph_of(
    image: np.ndarray, options: InputOptions, scale: Scale, name: str
) -> Micrograph:
    """A micrograph without its data bar."""
    rows = len(image) - options.exclude_bottom
    if rows <= 0:
        excluded = f"--exclude-bottom {options.exclude_bottom} leaves none"
        raise ToolkitError(
            f"{name} has {len(image)} rows: {excluded}.", "Give fewer rows."
        )
    return Micrograph(image[:rows], scale, name)


# --- write


def measure(
    answer: Boundaries, micrograph: Micrograph
) -> tuple[dict[str, Any], list[str]]:
    """Values for the record: size and scale of the micrograph, and sizes of its grains."""
    height, width = answer.labels.shape
    scale = micrograph.scale
    values = {
        "width": width,
        "height": height,
        "micrometres_per_pixel": scale.micrometres_per_pixel,
        "scale_source": scale.source,
    }

    return values | sizes.summary(
        answer.labels, answer.grains, scale.micrometres_per_pixel
    ), []


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
    picture = overlay(
        micrograph.image, labels, grains.diameter * (scale or 1), unit
    )
    write_png(folder / f"{name}-overlay.png", picture)
    write_bytes(
        folder / f"{name}-grains.csv", table(grains, scale or 1, unit).encode()
    )
    chart = distribution(name, grains, values, micrograph.scale, unit)
    write_png(folder / f"{name}-distribution.png", chart)
    write_bytes(folder / f"{name}-rois.zip", rois(labels))

    return [f"{name}-{kind}" for kind in KINDS]


def write_labels(path: Path, labels: np.ndarray, scale: float | None) -> None:
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


def table(grains: Grains, scale: float, unit: str) -> str:
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
    """An ImageJ ROI set: the outer outline of every grain, named by its number."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (rows, columns) in enumerate(find_objects(labels), 1):
            inside = labels[rows, columns] == number
            corners = outline_of(inside) + np.array([columns.start, rows.start])
            roi = ImagejRoi.frompoints(corners, name=f"grain-{number:05d}")
            roi.roitype = ROI_TYPE.POLYGON
            roi.options &= ~ROI_OPTIONS.SUB_PIXEL_RESOLUTION
            archive.writestr(zipfile.ZipInfo(f"{roi.name}.roi"), roi.tobytes())

    return buffer.getvalue()


def outline_of(inside: np.ndarray) -> np.ndarray:
    """The outer outline (n, 2), as x and y, of a mask bool (H, W), along the corners of pixels."""
    # OpenCV's contours run through the centres of pixels. At twice the size, corner k of the
    # original is the pixel 2k + 1 or 2k + 2, so that halving rounds to the corner.
    twice = np.kron(inside.astype(np.uint8), np.ones((2, 2), np.uint8))
    twice = cv2.copyMakeBorder(twice, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    outlines, _ = cv2.findContours(
        twice, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return max(outlines, key=cv2.contourArea)[:, 0] // 2

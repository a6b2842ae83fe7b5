"""The scale of a micrograph: given, read from a TIFF's tags, or measured on its scale bar."""

import io
from dataclasses import dataclass

import cv2
import numpy as np
import tifffile

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains.options import COARSEST, FINEST
from hvd.toolkit.tiff import is_tiff, quiet_tifffile

MICROMETRES = {  # in a unit, by its name in lower case
    **dict.fromkeys(
        ("um", "\u00b5m", "\u03bcm", "\\u00b5m", "micron", "microns", "micrometer", "micrometre"),
        1.0,
    ),
    **{"nm": 1e-3, "mm": 1e3, "cm": 1e4, "inch": 25400.0},
}
PRINTED = 20.0  # micrometres a pixel: coarser resolutions in inches or centimetres are for printers (1,270 dots an inch)
# of the image's width: a scale bar
SHORTEST = 0.03
LONGEST = 0.8
TICKS = 0.25  # most of a row that ticks at the ends fill


@dataclass(frozen=True)
class Scale:
    """Micrometres per pixel, or None when nothing tells, and what told it."""

    micrometres_per_pixel: float | None = None
    source: str = "none: lengths are in pixels"


def tiff_scale(data: bytes) -> Scale:
    """The scale in a TIFF's resolution and ImageJ tags; none for other files, and for a resolution that is meant for a printer."""
    if not is_tiff(data):
        return Scale()
    try:
        with quiet_tifffile(), tifffile.TiffFile(io.BytesIO(data)) as file:
            tags = file.pages[0].tags
            imagej = file.imagej_metadata or {}
            x, y = (tags[name].value for name in ("XResolution", "YResolution"))
            inches = {2: "inch", 3: "cm"}.get(
                tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 2
            )

        unit = str(imagej.get("unit", "")).lower()
        each = [MICROMETRES[unit or inches] * below / above for above, below in (x, y)]
    except (
        Exception
    ):  # garbled tags fail in a dozen ways, and a micrograph without a scale is still one
        return Scale()

    if not all(FINEST <= size <= COARSEST for size in each):
        return Scale()
    if (
        unit in ("", "inch") and each[0] > PRINTED
    ):  # ImageJ says inch where it knows dots an inch alone
        return Scale(
            source=f"none: {25400 / each[0]:.0f} dots an inch are for a printer; lengths are in pixels"
        )

    if abs(each[0] - each[1]) > 1e-3 * each[0]:
        reason = f"The TIFF's pixels are {each[0]:.4g} x {each[1]:.4g} micrometres, not square."
        raise ToolkitError(reason, "Resample the image, or give --micrometres-per-pixel.")

    return Scale(each[0], "ImageJ tags" if unit else "TIFF resolution")


def scale_bar(image: np.ndarray) -> tuple[int, int, int]:
    """Length, row and column in pixels of the one scale bar in an image (H, W): a dark or bright line, drawn in one tone, with or
    without ticks at its ends. Raises ToolkitError when there is none, or more than one length."""
    height, width = image.shape
    top = 255 if image.dtype == np.uint8 else int(image.max())  # 12 bits lie in a 16-bit file
    found = []
    for flat in (image >= 0.97 * top, image <= 0.03 * top):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            flat.astype(np.uint8), connectivity=4
        )
        for k in range(1, count):
            left, up, across, down, _ = (int(x) for x in stats[k])
            at_frame = left == 0 or up == 0 or left + across == width or up + down == height
            if at_frame or not SHORTEST * width <= across <= LONGEST * width or down > across / 3:
                continue
            filled = (labels[up : up + down, left : left + across] == k).mean(1)
            full = filled == 1
            if full.any() and (filled[~full] < TICKS).all():
                found.append((across, up + int(np.flatnonzero(full)[0]), left))

    if not found:
        raise ToolkitError(
            "No scale bar was found.", "Measure it and give --micrometres-per-pixel."
        )

    if max(found)[0] - min(found)[0] > 2:
        places = ", ".join(
            f"{length} pixels at row {row}, column {column}" for length, row, column in found[:5]
        )
        raise ToolkitError(
            f"More than one line may be the scale bar: {places}.",
            "Give --micrometres-per-pixel instead.",
        )

    return max(found)

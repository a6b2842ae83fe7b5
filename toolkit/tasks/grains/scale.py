"""The scale of a micrograph: from an option, a TIFF's tags, or the scale bar in the image."""

import io
from dataclasses import dataclass

import cv2
import numpy as np
import tifffile

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains.options import COARSEST, FINEST
from hvd.toolkit.tiff import is_tiff, quiet_tifffile

# How many micrometres a unit is, by its name in lower case.
MICRON_NAMES = (
    "um",
    "\u00b5m",
    "\u03bcm",
    "\\u00b5m",
    "micron",
    "microns",
    "micrometer",
    "micrometre",
)
MICROMETRES = {
    **dict.fromkeys(MICRON_NAMES, 1.0),
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "inch": 25400.0,
}

# Micrometres a pixel: a coarser resolution in inches or centimetres (below 1,270 dots an inch) is
# meant for a printer.
PRINTED = 20.0

# Length of a scale bar, in widths of the image.
SHORTEST = 0.03
LONGEST = 0.8

TICKS = 0.25  # ticks at the ends of a bar fill at most this share of a row


@dataclass(frozen=True)
class Scale:
    """Micrometres per pixel, or None when the scale is unknown, and where it comes from."""

    micrometres_per_pixel: float | None = None
    source: str = "none: lengths are in pixels"


def tiff_scale(data: bytes) -> Scale:
    """The scale in a TIFF's resolution or ImageJ tags.

    None for other files, and for a resolution that is meant for a printer. Raises ToolkitError for
    pixels that are not square.
    """
    if not is_tiff(data):
        return Scale()

    try:
        with quiet_tifffile(), tifffile.TiffFile(io.BytesIO(data)) as file:
            tags = file.pages[0].tags
            imagej = file.imagej_metadata or {}
            resolutions = tags["XResolution"].value, tags["YResolution"].value
            unit_tag = (
                tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 2
            )

        unit = str(imagej.get("unit", "")).lower()
        length = MICROMETRES[unit or {2: "inch", 3: "cm"}.get(unit_tag)]
        x, y = (length * below / above for above, below in resolutions)
    except Exception:
        # Garbled tags fail in a dozen ways, and a micrograph without a scale is still one.
        return Scale()

    if not (FINEST <= x <= COARSEST and FINEST <= y <= COARSEST):
        return Scale()

    # ImageJ says "inch" where it knows nothing but dots an inch.
    if unit in ("", "inch") and x > PRINTED:
        dots = f"{25400 / x:.0f} dots an inch are for a printer"
        return Scale(source=f"none: {dots}; lengths are in pixels")

    if abs(x - y) > 1e-3 * x:
        reason = (
            f"The TIFF's pixels are {x:.4g} x {y:.4g} micrometres, not square."
        )
        raise ToolkitError(
            reason, "Resample the image, or give --micrometres-per-pixel."
        )

    return Scale(x, "ImageJ tags" if unit else "TIFF resolution")


def scale_bar(image: np.ndarray) -> tuple[int, int, int]:
    """Length, row and column in pixels of the one scale bar in an image (H, W).

    A scale bar is a dark or bright line in one tone, with or without ticks at its ends. Raises
    ToolkitError when there is none, or when lines of different lengths may be it.
    """
    # 12 bits lie in a 16-bit file, so the brightest value there is that of the image.
    top = 255 if image.dtype == np.uint8 else int(image.max())
    bars = bars_in(image >= 0.97 * top) + bars_in(image <= 0.03 * top)

    if not bars:
        reason = "No scale bar was found."
        raise ToolkitError(
            reason, "Measure it and give --micrometres-per-pixel."
        )

    if max(bars)[0] - min(bars)[0] > 2:
        places = [
            f"{length} pixels at row {row}, column {column}"
            for length, row, column in bars
        ]
        reason = (
            f"More than one line may be the scale bar: {', '.join(places[:5])}."
        )
        raise ToolkitError(reason, "Give --micrometres-per-pixel instead.")

    return max(bars)


def bars_in(tone: np.ndarray) -> list[tuple[int, int, int]]:
    """Length, row and column of every shape in a mask bool (H, W) that may be a scale bar."""
    height, width = tone.shape
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        tone.astype(np.uint8), connectivity=4
    )
    bars = []

    for k in range(1, count):
        left, top, across, down, _ = (int(x) for x in stats[k])
        at_frame = (
            left == 0
            or top == 0
            or left + across == width
            or top + down == height
        )
        if (
            at_frame
            or not SHORTEST * width <= across <= LONGEST * width
            or down > across / 3
        ):
            continue

        # Full rows are the bar; other rows may hold nothing but the ticks at its ends.
        share = (labels[top : top + down, left : left + across] == k).mean(1)
        full = share == 1
        if full.any() and (share[~full] < TICKS).all():
            bars.append((across, top + int(np.flatnonzero(full)[0]), left))

    return bars

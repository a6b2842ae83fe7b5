"""One grey plane of a micrograph: robust against outliers, and from colours where grey shows less.

A micrograph comes in any type: whole or floating-point numbers, of any range, grey or in colour.
"""

import cv2
import numpy as np

from hvd.toolkit.core import ToolkitError

# Rows and columns, at most, from which statistics are taken
MOST_SAMPLED = 1000

# The range of grey leaves out the darkest and brightest thousandth, and outliers: values that lie
# further from the first and last percentile than REACH times the distance between these.
ENDS = 0.1, 1.0, 99.0, 99.9  # percentiles
REACH = 3.0
ROOM = 0.25  # on either side of that range, where values are brought to 16 bits

# Edges of colour and of brightness are compared under a blur, in pixels, wherever the edge of
# colour is half as strong as the strongest tenth, and no noise: changes less than FAINT of the
# range of values per pixel.
EDGE_BLUR = 1.5
STRONGEST = 90  # percentile
FAINT = 0.005

# Brightness hides an edge when it shows less than half of it. It hides grains when it hides more
# than MOST_HIDDEN of all edges: on photographs of etched metals it hides up to 0.09.
HIDDEN = 0.5
MOST_HIDDEN = 0.12

# Brightness of red, green and blue, ITU-R BT.601.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)

# Blur, in pixels, under which edges of colours become lines.
LINE_BLUR = 1.0

COLOUR_NOTE = (
    "The grains differ in colour more than in brightness, so the edges of the colours were used "
    "instead of grey values. Twins and lines of another colour count as boundaries too."
)


def sampled(image: np.ndarray) -> np.ndarray:
    """Every n-th row and column of an image, so that statistics of large ones take no time."""
    steps = [-(-length // MOST_SAMPLED) for length in image.shape[:2]]
    return image[:: steps[0], :: steps[1]]


def value_range(values: np.ndarray) -> tuple[float, float]:
    """The least and the greatest value of an image (H, W) that are no outliers."""
    low, first, last, high = np.percentile(values, ENDS, method="nearest")
    first, last = float(first), float(last)
    reach = REACH * (last - first)
    if (
        not reach
    ):  # nearly all pixels are alike: the others are what there is to see
        return float(low), float(high)
    return max(float(low), first - reach), min(float(high), last + reach)


def grey_plane(
    values: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """One grey plane of an image of any type, grey (H, W) or in colour (H, W, 3).

    Raises ToolkitError for other shapes and types.

    Returns
    -------
    Grey uint8 or uint16 (H, W); bool (H, W), True where the values are finite, or None where all
    are; and notes about what was done.
    """
    is_grey = values.ndim == 2
    is_colour = values.ndim == 3 and values.shape[2] == 3
    if not (is_grey or is_colour) or values.dtype.kind not in "buif":
        reason = f"{name} is {values.dtype} {values.shape}."
        raise ToolkitError(
            reason, "Give grey values (H, W), or colours (H, W, 3)."
        )

    finite = None
    if values.dtype.kind == "f":
        finite = np.isfinite(values if is_grey else values.sum(axis=2))
        if finite.all():
            finite = None
        elif not finite.any():
            raise ToolkitError(
                f"{name} holds nothing but NaN or infinite values.",
                "Give a micrograph with values.",
            )

    if is_colour:
        values, notes = grey_of_colours(values, finite)
    else:
        notes = []
    return grey_levels(values, finite), finite, notes


def brightness(values: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """Brightness uint8 or uint16 (H, W) of an image whose grey plane may show edges of colours."""
    if values.ndim == 2:
        return plane
    if values.dtype == np.uint8:
        return cv2.cvtColor(values, cv2.COLOR_RGB2GRAY)
    return grey_levels(values.astype(np.float32) @ LUMA, None)


def grey_levels(values: np.ndarray, finite: np.ndarray | None) -> np.ndarray:
    """Values (H, W) of any type as uint8 or uint16.

    8 and 16 bits stay as they are. Other types are scaled so that all values but outliers lie
    between 0 and 65535, with some room on either side; what is not finite becomes the least.
    """
    if values.dtype in (np.uint8, np.uint16):
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * 255

    part = sampled(values)
    if finite is not None:
        part = part[sampled(finite)]
    # In float64, so that the spread of large integers does not overflow.
    low, high = value_range(part.astype(np.float64))
    if low == high:
        low, high = float(part.min()), float(part.max())
    if low == high:
        return np.zeros(values.shape, np.uint16)
    room = ROOM * (high - low)
    low, high = low - room, high + room
    levels = np.nan_to_num(values.astype(np.float64), nan=low)
    shares = (np.clip(levels, low, high) - low) / (high - low)
    return np.rint(65535 * shares).astype(np.uint16)


def grey_of_colours(
    values: np.ndarray, finite: np.ndarray | None
) -> tuple[np.ndarray, list[str]]:
    """Grey (H, W) of colours (H, W, 3), with notes: brightness, or the edges of the colours.

    Brightness hides grains that differ in hue alone, as after tint etching.
    """
    is_kept = values.dtype in (np.uint8, np.uint16)
    channels = values.astype(np.float32)
    if finite is not None:
        channels[~finite] = 0
    grey = channels @ LUMA

    low, high = value_range(sampled(channels))
    if high > low and is_colour_needed((channels - low) / (high - low)):
        blurred = cv2.GaussianBlur(channels, (0, 0), LINE_BLUR)
        strength = colour_edges(blurred)
        # Boundaries become dark lines, as etching shows them; half as strong ones are black too.
        top = max(float(np.percentile(sampled(strength), 99)) / 2, 1e-12)
        lines = 255 * (1 - np.clip(strength / top, 0, 1))
        return np.rint(lines).astype(np.uint8), [COLOUR_NOTE]

    return np.rint(grey).astype(values.dtype) if is_kept else grey, []


def is_colour_needed(channels: np.ndarray) -> bool:
    """Whether edges of the colours, float32 (H, W, 3) from 0 to 1, are hidden in grey."""
    blurred = cv2.GaussianBlur(channels, (0, 0), EDGE_BLUR)
    grey = blurred @ LUMA
    in_colour = colour_edges(blurred) / np.sqrt(3)
    in_grey = np.hypot(*np.gradient(grey))

    least = max(float(np.percentile(in_colour, STRONGEST)) / 2, FAINT)
    is_edge = in_colour >= least
    if not is_edge.any():
        return False
    is_hidden = in_grey[is_edge] < HIDDEN * in_colour[is_edge]
    return float(is_hidden.mean()) > MOST_HIDDEN


def colour_edges(channels: np.ndarray) -> np.ndarray:
    """The greatest change of colours (H, W, 3) per pixel in any direction (Di Zenzo, 1986)."""
    down, right = np.gradient(channels, axis=(0, 1))
    dd = (down * down).sum(axis=2)
    rr = (right * right).sum(axis=2)
    dr = (down * right).sum(axis=2)
    root = np.sqrt(((dd - rr) / 2) ** 2 + dr**2)
    return np.sqrt((dd + rr) / 2 + root)

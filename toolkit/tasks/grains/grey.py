"""One grey plane of a micrograph: robust against outliers, and from colours where grey shows less.

A micrograph comes in any type: whole or floating-point numbers, of any range, grey or in colour.
"""

from collections.abc import Iterator

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

# Edges of colour and of grey are compared in the middle of the image, under a blur in pixels,
# wherever the edge of colour is half as strong as the strongest tenth, and no noise: changes less
# than FAINT of the range of values per pixel.
MIDDLE = 1536  # pixels along a side
EDGE_BLUR = 1.5
STRONGEST = 90  # percentile
FAINT = 0.005

# Grey hides an edge when nowhere near it shows half of it: the colours of a lens that is not
# corrected lie some pixels apart. It hides grains when, in most of BLOCKS x BLOCKS parts, it hides
# more than MOST_HIDDEN of all edges: on photographs of etched metals it hides up to 0.09.
HIDDEN = 0.5
NEAR = 5  # pixels
BLOCKS = 6
MOST_HIDDEN = 0.12

# From this share of the variance on, a picture is of one colour.
ONE_COLOUR = 0.9

# Brightness of red, green and blue, ITU-R BT.601.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)

# Blur, in pixels, under which edges of colours become lines.
LINE_BLUR = 1.0

STRIP = 512  # rows that are converted at a time
MARGIN = 8  # rows above and below a strip that a blur looks at

EDGE_NOTE = (
    "The grains differ in colour more than in brightness, so the edges of the colours were used "
    "instead of grey values. Twins and lines of another colour count as boundaries too."
)
COMPONENT_NOTE = (
    "The picture is of one colour, which brightness hides, so the principal component of its "
    "colours was used as grey."
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
    # Nearly all pixels may be alike: the others are what there is to see.
    if not reach:
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
    return grey_levels(weighted(values, LUMA), None)


def strips(rows: int) -> Iterator[tuple[slice, slice, slice]]:
    """Yield rows of an image in parts: a strip, the strip with its margins, the strip in those."""
    for start in range(0, rows, STRIP):
        stop = min(start + STRIP, rows)
        first = max(0, start - MARGIN)
        inner = slice(start - first, stop - first)
        yield slice(start, stop), slice(first, stop + MARGIN), inner


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
    levels = np.zeros(values.shape, np.uint16)
    if low == high:
        return levels

    room = ROOM * (high - low)
    low, high = low - room, high + room
    for rows, _, _ in strips(len(values)):
        strip = np.nan_to_num(values[rows].astype(np.float64), nan=low)
        shares = (np.clip(strip, low, high) - low) / (high - low)
        levels[rows] = np.rint(65535 * shares)
    return levels


# --- colours


def grey_of_colours(
    values: np.ndarray, finite: np.ndarray | None
) -> tuple[np.ndarray, list[str]]:
    """Grey (H, W) of colours (H, W, 3), with notes.

    That is the brightness; where that hides grains, the principal component of a picture of one
    colour; else, as after tint etching, the edges of the colours.
    """
    starts = [max(0, (length - MIDDLE) // 2) for length in values.shape[:2]]
    window = tuple(slice(start, start + MIDDLE) for start in starts)
    middle = values[window].astype(np.float32)
    if finite is not None:
        middle[~finite[window]] = 0
    low, high = value_range(sampled(middle))
    if not high > low:
        return weighted(values, LUMA), []

    middle = (middle - low) / (high - low)
    if not hides_grains(middle, LUMA):
        return weighted(values, LUMA), []
    component, share = principal_component(middle)
    if share > ONE_COLOUR and not hides_grains(middle, component):
        return weighted(values.astype(np.float32), component), [COMPONENT_NOTE]

    # Boundaries become dark lines, as etching shows them; half as strong ones are black too. The
    # root darkens those between grains of nearly one colour.
    blurred = cv2.GaussianBlur(middle, (0, 0), LINE_BLUR)
    top = max(float(np.percentile(sampled(colour_edges(blurred)), 99)), 1e-12)
    grey = np.empty(values.shape[:2], np.uint8)
    for rows, wide, inner in strips(len(values)):
        channels = values[wide].astype(np.float32)
        if finite is not None:
            channels[~finite[wide]] = low
        channels = (channels - low) / (high - low)
        blurred = cv2.GaussianBlur(channels, (0, 0), LINE_BLUR)
        strength = np.clip(2 * colour_edges(blurred)[inner] / top, 0, 1) ** 0.5
        grey[rows] = np.rint(255 * (1 - strength))
    return grey, [EDGE_NOTE]


def weighted(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted sum (H, W) of channels (H, W, 3), in their type if that has 8 or 16 bits."""
    kind = values.dtype if values.dtype in (np.uint8, np.uint16) else np.float32
    grey = np.empty(values.shape[:2], kind)
    for rows, _, _ in strips(len(values)):
        strip = values[rows].astype(np.float32) @ weights
        grey[rows] = np.rint(strip) if kind != np.float32 else strip
    return grey


def principal_component(channels: np.ndarray) -> tuple[np.ndarray, float]:
    """The direction (3,) in which colours (H, W, 3) vary most, and its share of their variance.

    Bright stays bright.
    """
    colours = sampled(channels).reshape(-1, 3).astype(np.float64)
    variances, directions = np.linalg.eigh(np.cov(colours.T))
    component = directions[:, -1]
    if component.sum() < 0:
        component = -component
    return component.astype(np.float32), float(variances[-1] / variances.sum())


def hides_grains(channels: np.ndarray, weights: np.ndarray) -> bool:
    """Whether grey by these weights hides edges of the colours, float32 (H, W, 3) from 0 to 1."""
    blurred = cv2.GaussianBlur(channels, (0, 0), EDGE_BLUR)
    in_colour = colour_edges(blurred) / np.sqrt(3)
    in_grey = np.hypot(
        *np.gradient(blurred @ (weights / np.abs(weights).sum()))
    )
    in_grey = cv2.dilate(in_grey, np.ones((NEAR, NEAR), np.uint8))

    least = max(float(np.percentile(in_colour, STRONGEST)) / 2, FAINT)
    is_edge = in_colour >= least
    is_hidden = is_edge & (in_grey < HIDDEN * in_colour)
    shares = []
    for edges, hidden in zip(blocks(is_edge), blocks(is_hidden), strict=True):
        if edges.any():
            shares.append(float(hidden.sum() / edges.sum()))
    return bool(shares) and float(np.median(shares)) > MOST_HIDDEN


def blocks(image: np.ndarray) -> Iterator[np.ndarray]:
    """Yield BLOCKS x BLOCKS parts of an image (H, W)."""
    for rows in np.array_split(image, BLOCKS, axis=0):
        yield from np.array_split(rows, BLOCKS, axis=1)


def colour_edges(channels: np.ndarray) -> np.ndarray:
    """The greatest change of colours (H, W, 3) per pixel in any direction (Di Zenzo, 1986)."""
    down, right = np.gradient(channels, axis=(0, 1))
    dd = (down * down).sum(axis=2)
    rr = (right * right).sum(axis=2)
    dr = (down * right).sum(axis=2)
    root = np.sqrt(((dd - rr) / 2) ** 2 + dr**2)
    return np.sqrt((dd + rr) / 2 + root)

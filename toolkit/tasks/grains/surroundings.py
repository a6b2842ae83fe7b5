"""Find what is no specimen in a micrograph: data bar, empty margins, boxes with text.

These are drawn or filled by software, so they are of exactly one tone, while a camera's pixels are
never free of noise.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from hvd.toolkit.tasks.grains.grey import sampled, value_range

# An even place: a square of EVEN_SIDE pixels whose tones differ by at most this share of the range
# of tones. JPEG leaves small differences.
EVEN_SIDE = 5
EVEN = 0.01

# A picture that is even in a larger share of its area is drawn, not taken by a camera: there even
# places may be grains.
MOST_EVEN = 0.25

# A data bar: rows at the bottom or top, most of which are mostly of one tone.
LEAST_BAR = 0.015  # of the picture's height, and at least 8 rows
LARGEST_BAR = 0.4
MOSTLY = 0.5  # share of a bar's pixels that have the tone of its ground
EDGE = 0.6  # the same, of its outermost row
MOST_ABOVE = 0.15  # share of the tone in the rest of the picture

# Margins: even areas joined to the frame, in its corners or along much of a side.
LEAST_MARGIN = 0.01  # of the picture's area
LARGEST_MARGINS = 0.9  # of the picture's area
LONG_SIDE = 0.3  # of a side of the frame
MOST_ELSEWHERE = (
    0.005  # share of even places of the same tone in the rest of the picture
)

# Boxes with text, white or black, inside the picture.
LEAST_BOX = 0.0005  # of the picture's area
LARGEST_BOX = 0.2
LEAST_SIDE = 6  # pixels
LEAST_FILLED = (
    0.88  # share of the rectangle around a box that it fills, with its text
)
FILLED = 0.98  # the same, of its convex hull: text at its edge leaves notches
WHITE = 0.93  # of the range of tones; black is as far from its other end


@dataclass(frozen=True)
class Surroundings:
    """What is no specimen in a micrograph.

    Attributes
    ----------
    bar_rows : how many rows the data bar at the bottom has.
    outside : bool (H, W), True where there is no specimen above these rows; None without any.
    notes : what was left out.
    """

    bar_rows: int = 0
    outside: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def surroundings(image: np.ndarray) -> Surroundings:
    """Data bar, empty margins and boxes with text in a micrograph uint8 or uint16 (H, W)."""
    low, high = value_range(sampled(image))
    tolerance = EVEN * (high - low)
    if not tolerance:
        return Surroundings()

    square = np.ones((EVEN_SIDE, EVEN_SIDE), np.uint8)
    darkest = cv2.erode(image, square)
    brightest = cv2.dilate(image, square)
    is_even = cv2.subtract(brightest, darkest) <= tolerance

    outside = np.zeros(image.shape, bool)
    notes = []
    bar = 0
    for name in ("bottom", "top"):
        rows = bar_rows(image, is_even, tolerance, name)
        if not rows:
            continue
        notes.append(
            f"The {rows} rows at the {name} are an even band, as a data bar is: "
            "they were left out."
        )
        if name == "bottom":
            outside[-rows:] = True
            bar = rows
        else:
            outside[:rows] = True

    share = add_margins(outside, image, is_even, tolerance)
    if share:
        notes.append(
            f"Empty surroundings, {share:.0%} of the picture, were left out."
        )
    count = add_boxes(outside, image, low, high)
    if count:
        notes.append(f"Boxes with text were left out: {count}.")
    outside = outside[: len(image) - bar]
    return Surroundings(bar, outside if outside.any() else None, tuple(notes))


def bar_rows(
    image: np.ndarray,
    is_even: np.ndarray,
    tolerance: float,
    where: str,
) -> int:
    """How many rows the data bar has at the bottom or at the top; 0 without one."""
    if where == "top":
        image = image[::-1]
        is_even = is_even[::-1]
    height = len(image)
    last = height - 1 - EVEN_SIDE // 2
    if is_even[last].mean() < MOSTLY:
        return 0

    # The tone of the bar's ground, and how much of each row has it.
    tone = float(np.median(image[last][is_even[last]]))
    has_tone = np.abs(image.astype(np.float32) - tone) <= tolerance
    share = has_tone.mean(axis=1)[::-1]
    window = max(8, height // 50)
    mean = np.convolve(share, np.ones(window) / window, "same")
    ends = np.flatnonzero(mean < MOSTLY)
    end = int(ends[0]) if len(ends) else height
    outer = np.flatnonzero(share[: end + window] >= EDGE)
    rows = int(outer[-1]) + 1 if len(outer) else 0

    is_bar = max(8, LEAST_BAR * height) <= rows <= LARGEST_BAR * height
    return rows if is_bar and share[rows:].mean() <= MOST_ABOVE else 0


def add_margins(
    outside: np.ndarray,
    image: np.ndarray,
    is_even: np.ndarray,
    tolerance: float,
) -> float:
    """Mark empty margins in `outside`; returns their share of the picture."""
    rest = is_even & ~outside
    count, places, stats, _ = cv2.connectedComponentsWithStats(
        rest.astype(np.uint8), connectivity=4
    )
    margins = [
        k
        for k in range(1, count)
        if stats[k, cv2.CC_STAT_AREA] >= LEAST_MARGIN * image.size
        and is_margin(places == k)
    ]
    if not margins:
        return 0.0

    chosen = np.isin(places, margins)
    # In a picture that was drawn, without a camera's noise, nobody can tell margins from grains.
    others = rest & ~chosen
    left = ~outside & ~chosen
    if chosen.mean() > LARGEST_MARGINS or others.sum() > MOST_EVEN * left.sum():
        return 0.0

    before = outside.sum()
    for k in margins:
        tone = float(np.median(image[places == k]))
        has_tone = np.abs(image.astype(np.float32) - tone) <= tolerance
        # Overexposed grains are of one tone too, but not only at the frame.
        if (others & has_tone).sum() > MOST_ELSEWHERE * left.sum():
            continue
        square = np.ones((EVEN_SIDE, EVEN_SIDE), np.uint8)
        near = cv2.dilate((places == k).astype(np.uint8), square) > 0
        outside |= has_tone & near
    return float((outside.sum() - before) / image.size)


def is_margin(area: np.ndarray) -> bool:
    """Whether an even area holds a corner of the frame, or runs along much of one side of it."""
    sides = (area[0], area[-1], area[:, 0], area[:, -1])
    has_corner = any(area[row, column] for row in (0, -1) for column in (0, -1))
    return has_corner or any(side.mean() >= LONG_SIDE for side in sides)


def add_boxes(
    outside: np.ndarray,
    image: np.ndarray,
    low: float,
    high: float,
) -> int:
    """Mark upright rectangles of white or black, with text in them; returns their number."""
    number = 0
    margin = (1 - WHITE) * (high - low)
    for tone in (image >= high - margin, image <= low + margin):
        _, places, stats, _ = cv2.connectedComponentsWithStats(
            (tone & ~outside).astype(np.uint8), connectivity=4
        )
        _, _, across, down, area = stats.T
        box = across * down
        may_be_box = (
            (np.minimum(across, down) >= LEAST_SIDE)
            & (box >= LEAST_BOX * image.size)
            & (box <= LARGEST_BOX * image.size)
            & (area >= box / 3)
        )
        for k in np.flatnonzero(may_be_box):
            left, top, across, down, _ = (int(x) for x in stats[k])
            part = places[top : top + down, left : left + across]
            if is_filled(part == k):
                # With its frame.
                rows = slice(max(0, top - 2), top + down + 2)
                outside[rows, max(0, left - 2) : left + across + 2] = True
                number += 1
    return number


def is_filled(area: np.ndarray) -> bool:
    """Whether an area bool (H, W), with the holes and notches of text, fills its rectangle."""
    outlines, _ = cv2.findContours(
        area.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    covered = np.zeros(area.shape, np.uint8)
    cv2.drawContours(covered, outlines, -1, 1, -1)
    hull = np.zeros(area.shape, np.uint8)
    cv2.drawContours(hull, [cv2.convexHull(outlines[0])], -1, 1, -1)
    return bool(covered.mean() >= LEAST_FILLED and hull.mean() >= FILLED)

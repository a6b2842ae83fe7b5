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

# A data bar: rows at the bottom or top, most of which are mostly of one tone, or that end in a row
# that is nearly all of it. One row at least is, and none of a specimen.
LEAST_BAR = 0.015  # of the picture's height, and at least 8 rows
LARGEST_BAR = 0.4
MOSTLY = 0.5  # share of a bar's pixels that have the tone of its ground
EDGE = 0.6  # the same, of its outermost row
NEARLY_ALL = 0.9
# Share of the tone in the entire bar: text and logos have others.
LEAST_GROUND = 0.35
MOST_ABOVE = 0.15  # share of the tone in the rest of the picture
WIDEST_RULE = 4  # rows of a line at the edge of a bar

# Margins: even areas joined to the frame, in two of its corners or along much of a side.
LEAST_MARGIN = 0.01  # of the picture's area
LARGEST_MARGINS = 0.9  # of the picture's area
LONG_SIDE = 0.3  # of a side of the frame

# Overexposed grains are of one tone too, but not only at the frame: where another even area of the
# tone has this share of a margin's area, that is no margin. Pores are smaller.
AS_LARGE = 0.2

# Parts of the specimen below this share of its largest part are dust or text in a margin.
LEAST_PART = 0.02

# Boxes with text, white or black, inside the picture.
LEAST_BOX = 0.0005  # of the picture's area
LARGEST_BOX = 0.2
LEAST_SIDE = 6  # pixels
MOSTLY_EVEN = 0.75  # share of a box's ground that is of one tone
# Share of a box that is ground: the rest is its text, which an even block of a JPEG lacks.
MOST_GROUND = 0.97
# Share of the rectangle around a box that it fills, with its text.
LEAST_FILLED = 0.88
FILLED = 0.97  # the same, of its convex hull: text at its edge leaves notches
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


def surroundings(
    image: np.ndarray, has_bar: bool | None = None
) -> Surroundings:
    """Data bar, empty margins and boxes with text in a micrograph uint8 or uint16 (H, W).

    `has_bar` False says that there is no data bar; None looks for one.
    """
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
    for name in ("bottom", "top") if has_bar is None else ():
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
    count = add_boxes(outside, image, is_even, (low, high))
    if count:
        notes.append(f"Boxes with text were left out: {count}.")
    outside = outside[: len(image) - bar]
    add_small_parts(outside)
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
    window = max(8, height // 50)
    outer = image[-window:][is_even[-window:]]
    if outer.size < MOSTLY * window * image.shape[1] / 2:
        return 0

    # The tone of the bar's ground, and how much of each row has it, from the outside.
    tone = float(np.median(outer))
    share = has_tone(image, tone, tolerance).mean(axis=1)[::-1]
    ones = np.ones(window)
    mean = np.convolve(share, ones, "same") / np.convolve(
        np.ones(height), ones, "same"
    )
    ends = np.flatnonzero(mean < MOSTLY)
    end = int(ends[0]) if len(ends) else height
    candidates = np.flatnonzero(share[: end + window] >= EDGE)
    rows = int(candidates[-1]) + 1 if len(candidates) else 0
    # Text and logos may part the ground.
    most = int(LARGEST_BAR * height)
    for row in np.flatnonzero(share[:most] >= NEARLY_ALL):
        if share[: row + 1].mean() >= LEAST_GROUND:
            rows = max(rows, int(row) + 1)
    # A line along the edge belongs to it.
    for row in image[::-1][rows : rows + WIDEST_RULE]:
        if has_tone(row, float(np.median(row)), tolerance).mean() < NEARLY_ALL:
            break
        rows += 1

    has_empty_row = (share[:rows] >= NEARLY_ALL).any()
    is_bar = max(8, LEAST_BAR * height) <= rows <= most and has_empty_row
    return rows if is_bar and share[rows:].mean() <= MOST_ABOVE else 0


def has_tone(
    image: np.ndarray,
    tone: float,
    tolerance: float,
) -> np.ndarray:
    """Whether pixels are of a tone, bool of the image's shape."""
    low = np.ceil(tone - tolerance)
    return (image >= low) & (image <= np.floor(tone + tolerance))


def add_margins(
    outside: np.ndarray,
    image: np.ndarray,
    is_even: np.ndarray,
    tolerance: float,
) -> float:
    """Mark empty margins in `outside`; returns their share of the picture."""
    rest = is_even & ~outside
    if rest.sum() < LEAST_MARGIN * image.size:
        return 0.0
    _, places, stats, _ = cv2.connectedComponentsWithStats(
        rest.astype(np.uint8), connectivity=4
    )
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    at_frame = np.flatnonzero(areas >= LEAST_MARGIN * image.size).tolist()
    tones = {k: float(np.median(image[places == k])) for k in at_frame}
    margins = []
    for k in at_frame:
        alike = [i for i in at_frame if abs(tones[i] - tones[k]) <= tolerance]
        if is_margin(np.isin(places, alike), places == k):
            margins.append(k)
    if not margins:
        return 0.0

    chosen = np.isin(places, margins)
    # In a picture that was drawn, without a camera's noise, nobody can tell margins from grains.
    others = rest & ~chosen
    left = ~outside & ~chosen
    if chosen.mean() > LARGEST_MARGINS or others.sum() > MOST_EVEN * left.sum():
        return 0.0

    before = outside.sum()
    square = np.ones((EVEN_SIDE, EVEN_SIDE), np.uint8)
    for k in margins:
        of_tone = has_tone(image, tones[k], tolerance)
        numbers, counts = np.unique(
            places[others & of_tone], return_counts=True
        )
        if (counts[numbers > 0] > AS_LARGE * areas[k]).any():
            continue
        near = cv2.dilate((places == k).astype(np.uint8), square) > 0
        outside |= of_tone & near
    return float((outside.sum() - before) / image.size)


def is_margin(alike: np.ndarray, area: np.ndarray) -> bool:
    """Whether an even area is a margin.

    It runs along much of one side of the frame, or holds one of two corners that areas `alike` in
    tone hold, as around a picture that was turned.
    """
    sides = (area[0], area[-1], area[:, 0], area[:, -1])
    corners = [(row, column) for row in (0, -1) for column in (0, -1)]
    has_corner = any(area[corner] for corner in corners)
    number = sum(bool(alike[corner]) for corner in corners)
    is_long = any(side.mean() >= LONG_SIDE for side in sides)
    return is_long or (has_corner and number >= 2)


def add_small_parts(outside: np.ndarray) -> None:
    """Mark small parts of the specimen, which what is outside parts from the rest, in `outside`."""
    if not outside.any():
        return
    _, places, stats, _ = cv2.connectedComponentsWithStats(
        (~outside).astype(np.uint8), connectivity=4
    )
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    if areas.any():
        outside |= (areas < LEAST_PART * areas.max())[places]


def add_boxes(
    outside: np.ndarray,
    image: np.ndarray,
    is_even: np.ndarray,
    tones: tuple[float, float],
) -> int:
    """Mark upright rectangles of even white or black, with text in them; returns their number.

    `tones` is the range of the image's tones.
    """
    low, high = tones
    number = 0
    margin = (1 - WHITE) * (high - low)
    tolerance = 2 * EVEN * (high - low)
    for tone in (image >= high - margin, image <= low + margin):
        if not (tone & is_even).any():
            continue
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
        may_be_box[0] = False  # what has another tone
        for k in np.flatnonzero(may_be_box):
            left, top, across, down, _ = (int(x) for x in stats[k])
            window = np.s_[top : top + down, left : left + across]
            part = places[window] == k
            # Text stands inside, while blurred corners do not.
            rim = max(1, min(part.shape) // 10)
            if part[rim:-rim, rim:-rim].mean() > MOST_GROUND:
                continue
            ground = image[window][part]
            middle = float(np.median(ground))
            if has_tone(ground, middle, tolerance).mean() < MOSTLY_EVEN:
                continue
            if is_filled(part):
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

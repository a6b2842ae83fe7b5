"""Find the scale bar that is burned into a micrograph.

A bar is a straight horizontal line in one tone or colour, thick or one row thin, with or without
ends, whole or with its number in the middle. It is measured from outer end to outer end.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains.grey import LUMA

# Length of a scale bar, in widths of the image and in pixels.
SHORTEST = 0.035
LEAST_PIXELS = 16
LONGEST = 0.8
THICKEST = 0.25  # in lengths of the bar

# Tones that a bar may have, in shares of the brightest value: from BRIGHT on, or up to DARK.
BRIGHT = 0.97, 0.85, 0.7
DARK = 0.03, 0.15, 0.3
COLOURED = 0.3  # least difference of two channels of a coloured bar

# Rows directly above and below a bar may hold its ends, or its number.
MOST_BESIDE = 0.4  # share of the bar's length that has its tone too
EVEN = 0.06  # standard deviation of an even ground, in shares of the brightest value

# A bar is drawn: its values hardly vary, and it stands out from what is above and below it.
STEADY = 0.03  # standard deviation along it, in shares of the brightest value
CONSTANT = 0.004  # the same, of a bar in a file that was stored without loss
LEAST_CONTRAST = 0.2  # in shares of the brightest value
LEAST_EVIDENCE = 2
# Share of its length along which it does, on one side and on the other.
STANDS_OUT = 0.6, 0.85

WIDEST_GAP = 0.7  # for the number in the middle, in lengths of the bar
# Lengths that differ by so many pixels, or by such a share, are the same.
ALIKE = 2, 0.02
# A picture with more runs is no drawing: it holds texture in this tone.
MOST_RUNS = 50_000
# The number stands at most so far from the bar: in lengths of the bar, and in pixels.
AROUND = 0.5
MOST_AROUND = 60
# What belongs to a bar has its tone, in shares of the brightest value.
SAME_INK = 0.02

TOUCHING = 2  # pixels between things that touch
MOST_MOVED = 4  # pixels by which blurred ends are corrected


@dataclass(frozen=True)
class ScaleBar:
    """A scale bar.

    Attributes
    ----------
    length : pixels from outer end to outer end.
    row, column : of its top left pixel.
    rows : how thick it is.
    box : rows and columns that hold the bar with its ends and its number.
    evidence : how much tells it from a line in the picture: 2 for one tone throughout, 2 for a
        colour, 1 for black or white, 1 for an even ground.
    is_joined : whether it consists of two pieces with a number between them.
    """

    length: int
    row: int
    column: int
    rows: int
    box: tuple[slice, slice]
    evidence: int
    is_joined: bool

    @property
    def end(self) -> int:
        """The column after its last."""
        return self.column + self.length

    @property
    def place(self) -> str:
        return f"{self.length} pixels at row {self.row}, column {self.column}"


def scale_bar(image: np.ndarray) -> ScaleBar:
    """The one scale bar in an image (H, W) or (H, W, 3).

    Lines of one tone, in a colour or on even ground go before others. Raises ToolkitError when
    there is none, or when lines of different lengths may be it.
    """
    shares = shares_of_top(image)
    bars = []
    for ink, is_colour in inks(shares):
        bars += bars_in(ink, is_colour, shares)

    bars = [bar for bar in bars if not is_paper(bar, bars)]
    bars += segmented_bars(bars)

    # In one ink the pieces of a bar may be parted from its number, in another one not.
    entire = [bar for bar in bars if bar.is_joined]
    bars = [
        bar
        for bar in bars
        if bar.is_joined or not any(is_piece(bar, other) for other in entire)
    ]
    candidates = bars
    most = max((bar.evidence for bar in bars), default=0)
    bars = [bar for bar in bars if bar.evidence == most]
    if most < LEAST_EVIDENCE:
        raise ToolkitError(
            "No scale bar was found.",
            "Measure it and give --micrometres-per-pixel.",
        )

    longest = max(bars, key=lambda bar: bar.length)
    shortest = min(bars, key=lambda bar: bar.length)
    if not is_alike(longest.length, shortest.length):
        places = list(dict.fromkeys(bar.place for bar in bars))
        reason = (
            f"More than one line may be the scale bar: {', '.join(places[:5])}."
        )
        raise ToolkitError(reason, "Give --micrometres-per-pixel instead.")
    is_in_pieces = (
        goes_on(longest, shares)
        or has_piece_at_frame(longest, shares)
        or any(
            are_pieces(longest, bar) and bar.length >= longest.length / 4
            for bar in candidates
        )
    )
    if is_in_pieces:
        reason = f"The scale bar seems to be in pieces: {longest.place}."
        raise ToolkitError(reason, "Give --micrometres-per-pixel instead.")
    return with_sharp_ends(longest, shares)


def is_paper(bar: ScaleBar, bars: list[ScaleBar]) -> bool:
    """Whether a line is the ground of a box, beside a shorter line: that is the bar."""
    for other in bars:
        is_within = (
            other.column >= bar.column
            and other.end <= bar.end
            and not is_alike(other.length, bar.length)
        )
        apart = max(
            other.row - bar.row - bar.rows, bar.row - other.row - other.rows
        )
        if is_within and -TOUCHING <= apart <= TOUCHING:
            return True
    return False


def are_pieces(one: ScaleBar, other: ScaleBar) -> bool:
    """Whether two lines lie beside each other in the same rows."""
    is_same_row = abs(one.row - other.row) <= 1
    return is_same_row and (one.end <= other.column or other.end <= one.column)


def goes_on(bar: ScaleBar, shares: np.ndarray) -> bool:
    """Whether a piece of another tone touches an end of a bar, as in bars of black and white."""
    middle = bar.row + bar.rows // 2
    length = max(8, bar.length // 5)
    for start in (bar.end + TOUCHING, bar.column - TOUCHING - length):
        columns = slice(max(start, 0), max(start, 0) + length)
        piece = shares[middle, columns]
        above = shares[max(0, bar.row - 3), columns]
        below = shares[min(len(shares) - 1, bar.row + bar.rows + 2), columns]
        if not len(piece) or float(piece.std(axis=0).max()) > STEADY:
            continue
        apart = [np.abs(other - piece).mean() for other in (above, below)]
        if min(apart) >= LEAST_CONTRAST / 2:
            return True
    return False


def has_piece_at_frame(bar: ScaleBar, shares: np.ndarray) -> bool:
    """Whether a line of a bar's tone, in its rows and apart from it, ends at the frame."""
    middle = bar.row + bar.rows // 2
    row = shares[middle]
    tone = np.median(row[bar.column : bar.end], axis=0)
    apart = np.abs(row - tone)
    has_tone = (apart.max(axis=1) if apart.ndim > 1 else apart) <= SAME_INK
    least = max(LEAST_PIXELS, bar.length // 4)
    for columns, beyond in (
        (slice(-least, None), bar.end),
        (slice(0, least), len(row) - bar.column),
    ):
        if beyond + least >= len(row) or not has_tone[columns].all():
            continue
        above = shares[max(0, bar.row - 3), columns]
        below = shares[min(len(shares) - 1, bar.row + bar.rows + 2), columns]
        contrast = min(np.abs(other - tone).mean() for other in (above, below))
        if contrast >= LEAST_CONTRAST / 2:
            return True
    return False


def segmented_bars(bars: list[ScaleBar]) -> list[ScaleBar]:
    """Bars of pieces in turn black and white that touch, each chain as one."""
    found = []
    for first in bars:
        chain = [first]
        while True:
            last = chain[-1]
            following = [
                bar
                for bar in bars
                if are_pieces(last, bar)
                and abs(bar.column - last.end) <= TOUCHING
                and abs(bar.rows - last.rows) <= TOUCHING
            ]
            if not following:
                break
            chain.append(following[0])
        is_start = not any(
            are_pieces(first, bar) and abs(bar.end - first.column) <= TOUCHING
            for bar in bars
        )
        if len(chain) > 1 and is_start:
            last = chain[-1]
            rows, columns = first.box
            box = rows, slice(columns.start, last.box[1].stop)
            found.append(
                replace(
                    first,
                    length=last.end - first.column,
                    box=box,
                    is_joined=True,
                )
            )
    return found


def with_sharp_ends(bar: ScaleBar, shares: np.ndarray) -> ScaleBar:
    """A bar whose blurred ends are where its tone is half that of the ground."""
    row = shares[bar.row + bar.rows // 2]
    tone = np.median(row[bar.column + 1 : bar.end - 1], axis=0)
    apart = np.abs(row - tone)
    if apart.ndim > 1:
        apart = apart.max(axis=1)

    ends = []
    for end, outward in ((bar.column, -1), (bar.end - 1, 1)):
        beyond = end + outward * np.arange(MOST_MOVED, 3 * MOST_MOVED)
        beyond = beyond[(beyond >= 0) & (beyond < len(apart))]
        half = float(np.median(apart[beyond])) / 2 if len(beyond) else 0.0
        place = end
        for _ in range(MOST_MOVED):
            following = place + outward
            if 0 <= following < len(apart) and apart[following] < half:
                place = following
            elif apart[place] >= half > 0:
                place -= outward
            else:
                break
        ends.append(place)
    left, right = ends
    return replace(bar, column=left, length=right + 1 - left)


def is_piece(bar: ScaleBar, entire: ScaleBar) -> bool:
    """Whether a bar is one of the pieces of another one."""
    return (
        abs(bar.row - entire.row) <= max(bar.rows, entire.rows)
        and bar.column >= entire.column - 2
        and bar.column + bar.length <= entire.column + entire.length + 2
    )


def is_alike(a: int, b: int) -> bool:
    """Whether two lengths in pixels are the same but for blurred ends."""
    return abs(a - b) <= max(ALIKE[0], ALIKE[1] * max(a, b))


def shares_of_top(image: np.ndarray) -> np.ndarray:
    """An image as shares of its brightest value, float32.

    12 bits lie in a 16-bit file, so the brightest value there is that of the image.
    """
    top = 255 if image.dtype == np.uint8 else float(image.max())
    return image.astype(np.float32) / max(top, 1e-12)


def inks(shares: np.ndarray) -> Iterator[tuple[np.ndarray, bool]]:
    """Masks bool (H, W) of the pixels that have a tone, or a colour, of which bars are drawn.

    With each, whether it is a colour.
    """
    grey = shares if shares.ndim == 2 else shares @ LUMA
    for level in BRIGHT:
        yield grey >= level, False
    for level in DARK:
        yield grey <= level, False
    if shares.ndim == 2:
        return

    # Coloured inks, by which channels are strong: red, yellow, green, cyan, blue, magenta.
    low = shares.min(axis=2)
    high = shares.max(axis=2)
    is_coloured = high - low >= COLOURED
    if not is_coloured.any():
        return
    strong = shares >= ((low + high) / 2)[..., None]
    code = strong @ np.array([1, 2, 4])
    for kind in range(1, 7):
        yield is_coloured & (code == kind), True


def bars_in(
    ink: np.ndarray,
    is_colour: bool,
    shares: np.ndarray,
) -> list[ScaleBar]:
    """Every line in the mask of an ink that may be a scale bar, or a part of one."""
    height, width = ink.shape
    rows, starts, ends = long_runs(
        ink, max(LEAST_PIXELS, int(SHORTEST * width))
    )
    if len(rows) > MOST_RUNS:
        return []

    lines = []
    for top, bottom, left, right in blocks_of_runs(rows, starts, ends):
        is_inside = top > 0 and bottom < height and left > 0 and right < width
        if (
            is_inside
            and bottom - top <= THICKEST * (right - left)
            and is_bare(ink, top - 1, left, right)
            and is_bare(ink, bottom, left, right)
            and is_drawn(shares, top, bottom, left, right)
        ):
            lines.append((top, bottom, left, right))

    lines = without_frames(lines, ink)
    entire = joined_pieces(lines, ink)
    bars = []
    for top, bottom, left, right in lines + entire:
        if right - left > LONGEST * width:
            continue
        box = box_of_bar(shares, top, bottom, left, right)
        evidence = (
            2 * is_constant(shares, top, bottom, left, right)
            + (2 if is_colour else is_black_or_white(shares, top, left, right))
            + is_ground_even(shares, ink, box)
        )
        bars.append(
            ScaleBar(
                length=right - left,
                row=top,
                column=left,
                rows=bottom - top,
                box=box,
                evidence=evidence,
                is_joined=(top, bottom, left, right) in entire,
            )
        )
    return bars


def long_runs(
    ink: np.ndarray, least: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, start and end of every horizontal run of at least so many pixels in a mask."""
    padded = np.zeros((ink.shape[0], ink.shape[1] + 2), np.int8)
    padded[:, 1:-1] = ink
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    is_long = ends - starts >= least
    return rows[is_long], starts[is_long], ends[is_long]


def blocks_of_runs(
    rows: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
) -> list[tuple[int, int, int, int]]:
    """Runs in neighbouring rows that begin and end alike: top, bottom, left and right of each."""
    open_blocks: list[list[int]] = []
    closed = []
    for row, start, end in zip(
        rows.tolist(), starts.tolist(), ends.tolist(), strict=True
    ):
        closed += [block for block in open_blocks if block[1] < row]
        open_blocks = [block for block in open_blocks if block[1] >= row]
        for block in open_blocks:
            is_same = abs(block[2] - start) <= 1 and abs(block[3] - end) <= 1
            if block[1] == row and is_same:
                block[1] = row + 1
                block[2] = min(block[2], start)
                block[3] = max(block[3], end)
                break
        else:
            open_blocks.append([row, row + 1, start, end])
    return [(b[0], b[1], b[2], b[3]) for b in closed + open_blocks]


def is_bare(
    ink: np.ndarray,
    row: int,
    left: int,
    right: int,
) -> bool:
    """Whether a row beside a line holds little of its ink."""
    return float(ink[row, left:right].mean()) <= MOST_BESIDE


def is_drawn(
    shares: np.ndarray,
    top: int,
    bottom: int,
    left: int,
    right: int,
) -> bool:
    """Whether a line has one tone, and stands out from the rows above and below it."""
    # Its ends, and the rows next to it, may be blurred.
    columns = slice(left + 1, right - 1)
    body = shares[(top + bottom) // 2, columns]
    if float(body.std(axis=0).max()) > STEADY:
        return False

    height = len(shares)
    stands_out = []
    for row in (max(0, top - 2), min(height - 1, bottom + 1)):
        apart = np.abs(shares[row, columns] - body)
        if apart.ndim > 1:
            apart = apart.max(axis=1)
        stands_out.append(float((apart >= LEAST_CONTRAST).mean()))
    least, most = sorted(stands_out)
    if least < STANDS_OUT[0] or most < STANDS_OUT[1]:
        return False

    # It ends there: a boundary that is straight for a while goes on, a little higher or lower.
    tone = np.median(body, axis=0)
    for column in (left - 3, right + 2):
        if not 0 <= column < shares.shape[1]:
            continue
        beyond = np.abs(shares[max(0, top - 2) : bottom + 2, column] - tone)
        if beyond.ndim > 1:
            beyond = beyond.max(axis=1)
        if beyond.min() < LEAST_CONTRAST / 2:
            return False
    return True


def is_black_or_white(
    shares: np.ndarray,
    row: int,
    left: int,
    right: int,
) -> bool:
    """Whether a line has the darkest or the brightest tone."""
    tone = float(np.median(shares[row, left:right]))
    return tone >= BRIGHT[1] or tone <= DARK[1]


def is_constant(
    shares: np.ndarray,
    top: int,
    bottom: int,
    left: int,
    right: int,
) -> bool:
    """Whether both ends of a line, between which a number may stand, have exactly one tone."""
    row = (top + bottom) // 2
    reach = max(4, (right - left) // 8)
    ends = np.concatenate(
        [
            shares[row, left + 1 : left + reach],
            shares[row, right - reach : right - 1],
        ]
    )
    return float(ends.std(axis=0).max()) <= CONSTANT


Line = tuple[int, int, int, int]


def without_frames(lines: list[Line], ink: np.ndarray) -> list[Line]:
    """Lines without those that are the upper and lower edges of a frame around something.

    A frame that is as flat as a bar is a bar drawn hollow: its upper edge stays.
    """
    dropped = set()
    for upper in lines:
        for lower in lines:
            is_pair = (
                lower[0] > upper[1]
                and abs(lower[2] - upper[2]) <= 1
                and abs(lower[3] - upper[3]) <= 1
            )
            if not is_pair:
                continue
            left = ink[upper[1] : lower[0], upper[2]]
            right = ink[upper[1] : lower[0], upper[3] - 1]
            if left.mean() > 0.9 and right.mean() > 0.9:
                dropped.add(lower)
                if lower[1] - upper[0] > THICKEST * (upper[3] - upper[2]):
                    dropped.add(upper)
    return [line for line in lines if line not in dropped]


def joined_pieces(lines: list[Line], ink: np.ndarray) -> list[Line]:
    """Every two lines of one row, as one, between which the number of a bar stands."""
    joined = []
    for one in lines:
        for other in lines:
            is_same_row = (
                abs(one[0] - other[0]) <= 1 and abs(one[1] - other[1]) <= 1
            )
            gap = other[2] - one[3]
            length = other[3] - one[2]
            if not (is_same_row and 0 < gap <= WIDEST_GAP * length):
                continue
            # The number is higher than the line is thick.
            reach = max(3, gap // 3)
            between = ink[
                max(0, one[0] - reach) : one[1] + reach, one[3] : other[2]
            ]
            beside = np.delete(between, np.s_[one[0] : one[1]], axis=0)
            if beside.any():
                joined.append((one[0], one[1], one[2], other[3]))
    return joined


def box_of_bar(
    shares: np.ndarray,
    top: int,
    bottom: int,
    left: int,
    right: int,
) -> tuple[slice, slice]:
    """Rows and columns that hold a bar, its ends, and what of its tone stands close to it."""
    reach = min(MOST_AROUND, int(AROUND * (right - left)))
    rows = slice(max(0, top - reach), bottom + reach)
    columns = slice(max(0, left - reach // 4), right + reach // 4)
    tone = np.median(shares[top, left:right], axis=0)
    has_tone = np.abs(shares[rows, columns] - tone) <= SAME_INK
    if has_tone.ndim > 2:
        has_tone = has_tone.all(axis=2)
    inked_rows = np.flatnonzero(has_tone.any(axis=1)) + rows.start
    above = inked_rows[inked_rows <= top]
    below = inked_rows[inked_rows >= bottom - 1]

    # Rows without ink of more than a third of the reach end what belongs to the bar.
    gap = max(4, reach // 3)
    first, last = top, bottom - 1
    for row in above[::-1]:
        if first - row > gap:
            break
        first = int(row)
    for row in below:
        if row - last > gap:
            break
        last = int(row)
    return slice(first, last + 1), columns


def is_ground_even(
    shares: np.ndarray,
    ink: np.ndarray,
    box: tuple[slice, slice],
) -> bool:
    """Whether the pixels around a bar that are not of its ink have one tone."""
    rows, columns = box
    margin = 2
    area = (
        slice(max(0, rows.start - margin), rows.stop + margin),
        slice(max(0, columns.start - margin), columns.stop + margin),
    )
    part = shares[area]
    # Antialiasing blurs the rim of the ink.
    padded = np.pad(ink[area], 1)
    near = padded[1:-1, 1:-1].copy()
    for down in (0, 1, 2):
        for right in (0, 1, 2):
            near |= padded[
                down : down + near.shape[0], right : right + near.shape[1]
            ]
    ground = part[~near]
    if len(ground) < 0.2 * near.size:
        return False
    return float(ground.reshape(len(ground), -1).std(axis=0).max()) <= EVEN

"""Missing lines: their masks, described, drawn, and recognised in damaged scans.

Masks are bool (H, W), True where missing. Angles are in degrees: 0 = rows, 90 = columns.
"""

import re
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import maximum_filter

from hvd.toolkit.core import ToolkitError

TASK_MASK = (
    np.unpackbits(  # slanted lines, 2 of about 4 pixels: no formula gives them exactly
        np.frombuffer(
            bytes.fromhex(
                "333333333333336c33333333333339b633333333339999b633333331999999b633331999999999b631999999999999b699999999999999bb"
                "999999999999ccdb999999999cccccdb9999998cccccccdb9998ccccccccccdb8cccccccccccccdbccccccccccccccedccccccccccce666d"
                "ccccccccc666666dcccccc666666666dccc666666666666d666666666666666d666666666666673666666666667333366666666633333336"
                "666663333333333666333333333333363333333333333337333333333333399b333333333399999b333333319999999b333319999999999b"
                "319999999999999b999999999999999d999999999999cccd9999999998cccccd9999998ccccccccd9998cccccccccccd8ccccccccccccccd"
                "cccccccccccccce6ccccccccccce6666ccccccccc6666666cccccc6666666666ccc6666666666666e6666666666666666666666666666733"
                "6666666666633333666666663333333366666333333333336633333333333333333333333333333333333333333339993333333333199999"
                "333333319999999933331999999999993399999999999999999999999999999c9999999999998ccc9999999998cccccc9999998ccccccccc"
                "9998cccccccccccc9ccccccccccccccccccccccccccccce6cccccccccccc6666ccccccccc6666666cccccc6666666666ccc6666666666666"
                "e666666666666666"
            ),
            np.uint8,
        )
    )
    .reshape(64, 64)
    .astype(bool)
)


def stripes(
    shape: tuple[int, int], width: float, period: float, angle: float, phase: float = 0
) -> np.ndarray:
    """Parallel lines, each `width` pixels of every `period` missing, measured along rows or columns, whichever the lines cross
    more steeply; `phase` in pixels."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    sine = np.sin(np.radians(angle))
    cosine = np.cos(np.radians(angle))
    across = (
        columns + rows * cosine / sine
        if abs(sine) > abs(cosine)
        else rows + columns * sine / cosine
    )

    return np.floor(across + phase + 1e-9) % period < width


def scattered(
    shape: tuple[int, int], share: float, columns: bool, rng: np.random.Generator
) -> np.ndarray:
    """A share of the rows, or columns, at random places."""
    length = shape[int(columns)]
    line = np.zeros(length, bool)
    line[rng.permutation(length)[: round(share * length)]] = True
    return np.broadcast_to(line if columns else line[:, None], shape).copy()


def described(text: str, shape: tuple[int, int], rng: np.random.Generator | None) -> np.ndarray:
    """The mask that a description names: `task`, `WIDTH/PERIOD@ANGLE` such as 2/4@45, with `+PHASE` the same lines that many
    pixels further left or up, or, with a generator, `random:SHARE` of the rows and `random:SHARE@90` of the columns."""
    if text == "task":
        if shape != TASK_MASK.shape:
            height, width = shape
            raise ToolkitError(
                f"The task's mask is 64 x 64, the scan {width} x {height}.",
                "Give another --mask: 2/4@80, say.",
            )
        return TASK_MASK

    number = r"(\d+(?:\.\d+)?)"
    if found := re.fullmatch(rf"(\d+)/{number}@{number}(?:\+{number})?", text):
        width, period, angle, phase = (float(part or 0) for part in found.groups())
        if 0 < width < period <= 64 and angle < 180:
            return stripes(shape, width, period, angle, phase)

    if (
        rng
        and (found := re.fullmatch(rf"random:{number}(@90|@0)?", text))
        and 0 < float(found[1]) < 1
    ):
        return scattered(shape, float(found[1]), found[2] == "@90", rng)

    remedy = "Give a file, task, or WIDTH/PERIOD@ANGLE or WIDTH/PERIOD@ANGLE+PHASE (lines of 0 < WIDTH < PERIOD <= 64 pixels, "
    remedy += "0 <= ANGLE < 180)" + (
        ", or random:SHARE or random:SHARE@90 (of rows, of columns)." if rng else "."
    )
    raise ToolkitError(f"There is no mask {text!r}.", remedy, status=2)


@dataclass(frozen=True)
class Recognised:
    """A mask found in damaged scans: `missing` bool (H, W), how it was told, and how far it agrees with the zeros among bright
    pixels: the share of either that both have, 0 to 1."""

    missing: np.ndarray
    kind: str
    confidence: float


UNDESCRIBED = "zero in more than half of the scans"
BRIGHT = 0.08  # of the brightest: what is brighter is no background
# pixels within which a gap has something bright on either side: narrow gaps and wide ones
REACHES = 4, 12, 32
# share of a described line that must be zero, and of a fitted one, whose rounding may differ
SURE = 0.95
LIKELY = 0.85
TOGETHER = 0.75  # agreement of fitted lines with zeros, below which they are chance
HOLES = 0.1  # of what is among bright pixels: zeros as rare may lie there without being missing
FEW = 0.02  # the same, of zeros so rare that only whole rows and columns are sought
ASTRAY = 0.2  # zeros of a scan that its mask leaves unexplained: it has another mask
BATCH = 8  # scans from which a mask shows without a description
LEAST = 12  # pixels of a line among bright ones, from which it is told


def recognised(images: np.ndarray) -> Recognised:
    """The mask that damaged scans share, (N, H, W) with zeros where pixels are missing.

    A pixel counts when something bright lies on either side of it, and is missing when it is zero in more than half of the scans
    where it counts. Which other zeros are missing, a description tells that fits: the task's mask, whole rows or columns, or
    parallel lines. Single pixels are missing when nearly all of several scans are zero there. Raises ToolkitError when nothing
    fits, or when some scans have another mask.
    """
    bright = images > BRIGHT * np.quantile(images, 0.99)
    if not bright.any():
        raise ToolkitError("The scan is black.", "Give --mask FILE, 1 = missing.")
    best = complete = scattered = None

    for reach in REACHES:
        among = np.stack([enclosed(scan, reach) for scan in bright])
        counted = among.sum(0)
        zeros = ((images == 0) & among).sum(0)
        ground = counted > 0
        dark = np.where(ground, 2 * zeros > counted, (images == 0).all(0))
        if scattered is None:  # narrow gaps: complete scans have next to no zeros there
            scattered = ground & (zeros >= SURE * counted)
            lone = scattered if len(images) >= BATCH else scattered & amid(bright)
            many = lone.sum() > FEW * ground.sum()

        found = explanation(dark, ground, len(images))
        if found and found.kind != "none":
            astray = [
                k
                for k in range(len(images))
                if unexplained(images[k] == 0, among[k], found.missing) > ASTRAY
            ]
            if astray:
                reason = f"Scans {', '.join(map(str, astray[:10]))} have zeros that the mask of the others "
                f"({found.kind}) does not tell."
                raise ToolkitError(reason, "Give them apart, or save missing pixels as NaN.")

            if (
                best is None or found.confidence >= best.confidence
            ):  # of equals the wider reach sees more
                best = found

        complete = complete or found

    if best or (complete and not many):
        return best or complete
    if many and len(images) >= BATCH:
        return Recognised(scattered, UNDESCRIBED, 1.0)
    raise ToolkitError(
        "Which pixels are missing cannot be told.",
        "Give --mask FILE, 1 = missing, or save missing pixels as NaN.",
    )


def enclosed(bright: np.ndarray, reach: int) -> np.ndarray:
    """Pixels with a bright one within `reach` pixels on either side, along the row or the column."""
    level = bright.astype(np.uint8)

    def seen(rows: int, columns: int) -> np.ndarray:
        shape = np.ones((reach + 1 if rows else 1, reach + 1 if columns else 1), np.uint8)
        anchor = (0 if columns >= 0 else reach, 0 if rows >= 0 else reach)
        return cv2.dilate(
            level, shape, anchor=anchor, borderType=cv2.BORDER_CONSTANT, borderValue=0
        )

    return ((seen(0, 1) & seen(0, -1)) | (seen(1, 0) & seen(-1, 0))).astype(bool)


def amid(bright: np.ndarray) -> np.ndarray:
    """Pixels whose four neighbours are bright in all scans (N, H, W): a zero there is abrupt."""
    level = bright.all(0).astype(np.uint8)
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.uint8)
    return cv2.erode(level, cross, borderType=cv2.BORDER_CONSTANT, borderValue=0).astype(bool)


def unexplained(zero: np.ndarray, among: np.ndarray, mask: np.ndarray) -> float:
    """Share of what counts outside a mask that is zero all the same."""
    rest = among & ~mask
    return float((zero & rest).sum() / max(LEAST, rest.sum()))


def explanation(dark: np.ndarray, ground: np.ndarray, scans: int) -> Recognised | None:
    """The description that fits zeros among bright pixels, that nothing is missing, or None when neither does."""
    if not ground.any():
        return None
    share = float(dark[ground].mean())

    def fits(mask: np.ndarray, least: float) -> bool:
        seen = mask & ground
        return (
            seen.sum() >= LEAST
            and dark[seen].mean() >= least
            and unexplained(dark, ground, mask) <= HOLES
        )

    def agreement(mask: np.ndarray) -> float:
        return float((dark & mask & ground).sum() / ((dark | mask) & ground).sum())

    candidates = {"rows": whole_lines(dark, ground), "columns": whole_lines(dark.T, ground.T).T}
    if dark.shape == TASK_MASK.shape:
        candidates["task"] = TASK_MASK
    found = [
        Recognised(mask & dark, kind, agreement(mask))
        for kind, mask in candidates.items()
        if fits(mask, SURE)
    ]

    if not found and share > FEW:
        lines = fitted(dark, ground)
        if fits(lines, LIKELY) and agreement(lines) >= TOGETHER:
            beside = cv2.dilate(lines.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
            found.append(
                Recognised(dark & (lines | (beside & ground)), "parallel lines", agreement(lines))
            )

    if found:
        return max(found, key=lambda one: one.confidence)
    if scans >= BATCH and share > HOLES:
        return Recognised(dark & ground, UNDESCRIBED, float((ground | ~dark).mean()))

    return Recognised(np.zeros(dark.shape, bool), "none", 1 - share) if share <= HOLES else None


def whole_lines(dark: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Rows that are dark wherever they count; and, when these recur at a period, those dark all along that continue it."""
    seen = ground.sum(1) >= LEAST
    line = seen & (dark | ~ground).all(1)
    for period in range(2, len(dark) // 2):
        same = line[period:] == line[:-period]
        both = seen[period:] & seen[:-period]
        if line.any() and both.sum() >= 2 * period and same[both].all():
            recurs = np.array(
                [
                    line[seen & (np.arange(len(line)) % period == k % period)].any()
                    for k in range(len(line))
                ]
            )
            line = np.where(seen, line, recurs & dark.all(1))
            break

    return np.broadcast_to(line[:, None], dark.shape)


POINTS = 20_000  # that parallel lines are fitted at
WINDOW = 256  # pixels along a side of what the spectrum is taken of


def fitted(dark: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """The parallel lines that agree best with zeros among bright pixels: their wave is sought in the spectrum of a part, then
    refined over larger and larger parts."""
    rows, columns = np.nonzero(ground)
    centre = int(np.median(rows)), int(np.median(columns))
    share = dark[ground].mean()
    part = tuple(slice(max(0, c - WINDOW // 2), max(0, c - WINDOW // 2) + WINDOW) for c in centre)
    wave = np.where(ground, dark - share, 0)[part]
    spectrum = np.abs(np.fft.fft2(wave, (4 * wave.shape[0], 4 * wave.shape[1])))
    down, along = (np.fft.fftfreq(4 * n) for n in wave.shape)
    spectrum[np.hypot(down[:, None], along) < 0.01] = 0
    high = (spectrum >= 0.8 * spectrum.max()) & (
        spectrum == maximum_filter(spectrum, 9, mode="wrap")
    )
    peaks = np.argwhere(
        high
    )  # thin lines have overtones as strong as their wave, which is the slowest
    peak = min(peaks, key=lambda k: np.hypot(down[k[0]], along[k[1]]))
    best = (down[peak[0]], along[peak[1]], 0.0)
    step = 0.25 / np.array(wave.shape)
    chosen = np.random.default_rng(0).permutation(len(rows))[:POINTS]
    rows = rows[chosen]
    columns = columns[chosen]
    reach = WINDOW

    while True:
        near = (np.abs(rows - centre[0]) <= reach / 2) & (np.abs(columns - centre[1]) <= reach / 2)
        for finer in (1, 3, 9):
            best = refined(
                best,
                step / finer,
                rows[near],
                columns[near],
                dark[rows[near], columns[near]],
                share,
            )

        if reach >= 2 * max(dark.shape):
            break
        reach = 2 * reach
        step = step / 2

    rows, columns = (np.arange(n) for n in dark.shape)
    return drawn_lines(rows[:, None], columns, *best, share)


def refined(
    start: tuple[float, float, float],
    step: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    dark: np.ndarray,
    share: float,
) -> tuple[float, float, float]:
    """Frequencies down and along, within a step of the start, and a phase in pixels, that agree best with zeros at some pixels."""
    best = start
    highest = -1.0
    for down, along in np.stack(
        np.meshgrid(*(f + np.linspace(-s, s, 9) for f, s in zip(start[:2], step, strict=True))), -1
    ).reshape(-1, 2):
        across, period = crossed(rows, columns, down, along)
        turn = (
            np.angle(((dark - share) * np.exp(2j * np.pi * across / period)).sum())
            / (2 * np.pi)
            * period
        )
        for offset in (-0.75, -0.5, -0.25, 0.0, 0.25, 0.5):
            lines = drawn_lines(rows, columns, down, along, turn + offset, share)
            agreement = (dark & lines).sum() / max(1, (dark | lines).sum())
            if agreement > highest:
                best = (float(down), float(along), float(turn + offset))
                highest = agreement

    return best


def crossed(
    rows: np.ndarray, columns: np.ndarray, down: float, along: float
) -> tuple[np.ndarray, float]:
    """How far lines of these frequencies are crossed at pixels, along the axis that crosses them more steeply, and their period."""
    if abs(down) > abs(along):
        return rows + columns * along / down, 1 / abs(down)
    return columns + rows * (down / along if along else 0), 1 / max(abs(along), 1e-9)


def drawn_lines(
    rows: np.ndarray, columns: np.ndarray, down: float, along: float, phase: float, share: float
) -> np.ndarray:
    """Whether pixels lie on lines of these frequencies, of which a share is line."""
    across, period = crossed(rows, columns, down, along)
    return (np.floor(across) - phase + share * period / 2) % period < share * period

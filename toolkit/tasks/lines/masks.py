"""Masks of missing lines: made from a description, or recognised in damaged scans.

Masks are bool (H, W), True where missing. Angles are in degrees: 0 = rows, 90 = columns.
"""

import re
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import maximum_filter

from hvd.toolkit.core import ToolkitError

# Slanted lines, 2 of about 4 pixels missing: one bit a pixel, since no formula gives them exactly.
TASK_MASK_BITS = bytes.fromhex(
    "333333333333336c33333333333339b633333333339999b633333331999999b6"
    "33331999999999b631999999999999b699999999999999bb999999999999ccdb"
    "999999999cccccdb9999998cccccccdb9998ccccccccccdb8cccccccccccccdb"
    "ccccccccccccccedccccccccccce666dccccccccc666666dcccccc666666666d"
    "ccc666666666666d666666666666666d66666666666667366666666666733336"
    "6666666633333336666663333333333666333333333333363333333333333337"
    "333333333333399b333333333399999b333333319999999b333319999999999b"
    "319999999999999b999999999999999d999999999999cccd9999999998cccccd"
    "9999998ccccccccd9998cccccccccccd8ccccccccccccccdcccccccccccccce6"
    "ccccccccccce6666ccccccccc6666666cccccc6666666666ccc6666666666666"
    "e666666666666666666666666666673366666666666333336666666633333333"
    "6666633333333333663333333333333333333333333333333333333333333999"
    "3333333333199999333333319999999933331999999999993399999999999999"
    "999999999999999c9999999999998ccc9999999998cccccc9999998ccccccccc"
    "9998cccccccccccc9ccccccccccccccccccccccccccccce6cccccccccccc6666"
    "ccccccccc6666666cccccc6666666666ccc6666666666666e666666666666666"
)
TASK_MASK = (
    np.unpackbits(np.frombuffer(TASK_MASK_BITS, np.uint8))
    .reshape(64, 64)
    .astype(bool)
)


def stripes(
    shape: tuple[int, int],
    width: float,
    period: float,
    angle: float,
    phase: float = 0,
) -> np.ndarray:
    """Parallel lines, of which `width` pixels in every `period` are missing.

    Width, period and phase are in pixels, measured along rows or along columns, whichever the
    lines cross more steeply. A phase moves the lines that far to the left or up.
    """
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    sine = np.sin(np.radians(angle))
    cosine = np.cos(np.radians(angle))

    if abs(sine) > abs(cosine):
        across = columns + rows * cosine / sine
    else:
        across = rows + columns * sine / cosine

    return np.floor(across + phase + 1e-9) % period < width


def random_lines(
    shape: tuple[int, int],
    share: float,
    columns: bool,
    rng: np.random.Generator,
) -> np.ndarray:
    """A share of the rows, or of the columns, at random places."""
    length = shape[int(columns)]
    line = np.zeros(length, bool)
    line[rng.permutation(length)[: round(share * length)]] = True
    return np.broadcast_to(line if columns else line[:, None], shape).copy()


def mask_of_description(
    text: str, shape: tuple[int, int], rng: np.random.Generator | None
) -> np.ndarray:
    """The mask that a description names.

    Parameters
    ----------
    text : `task`; `WIDTH/PERIOD@ANGLE` such as 2/4@45, with `+PHASE` the same lines that many
        pixels further left or up; with a generator also `random:SHARE` of the rows and
        `random:SHARE@90` of the columns.
    shape : of the scans, (H, W).
    rng : chooses random lines.

    Raises
    ------
    ToolkitError
        With status 2 for a text that describes no mask; also when the task's mask does not fit.
    """
    if text == "task":
        if shape != TASK_MASK.shape:
            reason = (
                f"The task's mask is 64 x 64, the scan {shape[1]} x {shape[0]}."
            )
            raise ToolkitError(reason, "Give another --mask, such as 2/4@80.")
        return TASK_MASK

    number = r"(\d+(?:\.\d+)?)"
    match = re.fullmatch(rf"(\d+)/{number}@{number}(?:\+{number})?", text)
    if match:
        width, period, angle, phase = (
            float(part or 0) for part in match.groups()
        )
        if 0 < width < period <= 64 and angle < 180:
            return stripes(shape, width, period, angle, phase)

    # Random lines need a generator: they are for evaluating, not for real
    # scans.
    match = re.fullmatch(rf"random:{number}(@90|@0)?", text)
    if match and rng and 0 < float(match[1]) < 1:
        return random_lines(shape, float(match[1]), match[2] == "@90", rng)

    remedy = (
        "Give a file, task, or WIDTH/PERIOD@ANGLE or WIDTH/PERIOD@ANGLE+PHASE "
    )
    remedy += "(lines of 0 < WIDTH < PERIOD <= 64 pixels, 0 <= ANGLE < 180)"
    remedy += (
        ", or random:SHARE or random:SHARE@90 (of rows, of columns)."
        if rng
        else "."
    )
    raise ToolkitError(f"There is no mask {text!r}.", remedy, status=2)


@dataclass(frozen=True)
class MaskFinding:
    """A mask that was recognised in damaged scans, or given.

    Attributes
    ----------
    missing : bool (H, W), or (N, H, W) where scans differ.
    kind : how it was determined, for the record.
    confidence : how far it agrees with the zeros among bright pixels: of the pixels in either,
        the share in both; 0 to 1.
    """

    missing: np.ndarray
    kind: str
    confidence: float


UNDESCRIBED = "zero in more than half of the scans"

BRIGHT = 0.08  # of the brightest pixel: anything darker may be background

# A pixel counts when bright pixels lie on both sides within this many pixels. Narrow gaps need a
# short reach, wide ones a long reach.
REACHES = 4, 12, 32

# The share of a line's counted pixels that must be zero: of the task's mask or of entire rows and
# columns, and of fitted parallel lines, whose rounding may differ.
SURE = 0.95
LIKELY = 0.85

TOGETHER = 0.75  # fitted lines that agree less with the zeros are chance
HOLES = 0.1  # up to this share of the counted pixels may be zero without being missing
FEW = 0.02  # when a smaller share is zero, only entire rows and columns are looked for
ASTRAY = 0.2  # a scan with a larger share of unexplained zeros has another mask
BATCH = 8  # with this many scans, a mask shows without a description
LEAST = 12  # counted pixels that a line needs to be recognised

# For fitting parallel lines.
POINTS = 20_000  # pixels that lines are compared with
WINDOW = 256  # pixels along a side of the part whose spectrum is taken


def recognise_mask(images: np.ndarray) -> MaskFinding:
    """Find the mask that damaged scans share: zeros are missing where that cannot be background.

    A pixel counts when bright pixels lie on both sides of it. It is missing when it is zero in
    more than half of the scans in which it counts. Where pixels do not count, a description that
    fits decides: the task's mask, entire rows or columns, or parallel lines. Single pixels are
    missing when nearly all of several scans are zero there.

    Parameters
    ----------
    images : (N, H, W), zero where pixels may be missing.

    Raises
    ------
    ToolkitError
        When nothing fits, or when some scans have another mask than the others.
    """
    bright = images > BRIGHT * np.quantile(images, 0.99)
    if not bright.any():
        raise ToolkitError(
            "The scan is black.", "Give --mask FILE, 1 = missing."
        )

    best = None  # the most confident finding of missing pixels
    complete = None  # the first finding that nothing is missing
    single_zeros = None

    for reach in REACHES:
        among = np.stack(
            [between_bright_pixels(scan, reach) for scan in bright]
        )
        counted = among.sum(0)
        zeros = ((images == 0) & among).sum(0)
        ground = counted > 0
        dark = np.where(ground, 2 * zeros > counted, (images == 0).all(0))

        # Single missing pixels are sought with the shortest reach: within it, complete scans have
        # next to no zeros.
        if single_zeros is None:
            single_zeros = ground & (zeros >= SURE * counted)
            abrupt = single_zeros
            if len(images) < BATCH:
                abrupt = single_zeros & among_bright_neighbours(bright)
            many_single = abrupt.sum() > FEW * ground.sum()

        finding = explanation(dark, ground, len(images))
        if finding and finding.kind != "none":
            refuse_other_masks(images, among, finding)
            # Of equally confident findings the one with the longer reach sees more.
            if best is None or finding.confidence >= best.confidence:
                best = finding
        complete = complete or finding

    if best:
        return best
    if complete and not many_single:
        return complete
    if many_single and len(images) >= BATCH:
        return MaskFinding(single_zeros, UNDESCRIBED, 1.0)

    reason = "It is not clear which pixels are missing."
    raise ToolkitError(
        reason, "Give --mask FILE, 1 = missing, or save missing pixels as NaN."
    )


def refuse_other_masks(
    images: np.ndarray, among: np.ndarray, finding: MaskFinding
) -> None:
    """Raise ToolkitError when scans (N, H, W) have many zeros that the common mask leaves open."""
    astray = []
    for k in range(len(images)):
        if (
            unexplained_share(images[k] == 0, among[k], finding.missing)
            > ASTRAY
        ):
            astray.append(str(k))

    if astray:
        scans = ", ".join(astray[:10])
        reason = f"Scans {scans} have zeros outside the mask of the others ({finding.kind})."
        raise ToolkitError(
            reason, "Give them apart, or save missing pixels as NaN."
        )


def between_bright_pixels(bright: np.ndarray, reach: int) -> np.ndarray:
    """Pixels with bright ones on both sides, along the row or the column, within `reach` pixels."""
    level = bright.astype(np.uint8)

    def spread(rows: int, columns: int) -> np.ndarray:
        """Bright pixels spread towards one side."""
        kernel = np.ones(
            (reach + 1 if rows else 1, reach + 1 if columns else 1), np.uint8
        )
        anchor = (0 if columns >= 0 else reach, 0 if rows >= 0 else reach)
        border = cv2.BORDER_CONSTANT
        return cv2.dilate(
            level, kernel, anchor=anchor, borderType=border, borderValue=0
        )

    along_row = spread(0, 1) & spread(0, -1)
    along_column = spread(1, 0) & spread(-1, 0)
    return (along_row | along_column).astype(bool)


def among_bright_neighbours(bright: np.ndarray) -> np.ndarray:
    """Pixels whose four neighbours are bright in all scans (N, H, W): a zero there is abrupt."""
    level = bright.all(0).astype(np.uint8)
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.uint8)
    return cv2.erode(
        level, cross, borderType=cv2.BORDER_CONSTANT, borderValue=0
    ).astype(bool)


def unexplained_share(
    zero: np.ndarray, among: np.ndarray, mask: np.ndarray
) -> float:
    """Of the counted pixels outside a mask, the share that is zero all the same."""
    rest = among & ~mask
    return float((zero & rest).sum() / max(LEAST, rest.sum()))


def explanation(
    dark: np.ndarray, ground: np.ndarray, scans: int
) -> MaskFinding | None:
    """The mask that explains which counted pixels are zero; it may be that none is missing.

    Parameters
    ----------
    dark : bool (H, W), zero in most scans.
    ground : bool (H, W), the pixels that count.
    scans : how many there are.

    Returns
    -------
    None when no description fits and too many pixels are zero to be nothing.
    """
    if not ground.any():
        return None
    share = float(dark[ground].mean())

    def fits(mask: np.ndarray, least: float) -> bool:
        counted = mask & ground
        is_dark = counted.sum() >= LEAST and dark[counted].mean() >= least
        return is_dark and unexplained_share(dark, ground, mask) <= HOLES

    def agreement(mask: np.ndarray) -> float:
        return float(
            (dark & mask & ground).sum() / ((dark | mask) & ground).sum()
        )

    candidates = {
        "rows": rows_missing(dark, ground),
        "columns": rows_missing(dark.T, ground.T).T,
    }
    if dark.shape == TASK_MASK.shape:
        candidates["task"] = TASK_MASK
    findings = []
    for kind, mask in candidates.items():
        if fits(mask, SURE):
            findings.append(MaskFinding(mask & dark, kind, agreement(mask)))

    if not findings and share > FEW:
        lines = parallel_lines(dark, ground)
        if fits(lines, LIKELY) and agreement(lines) >= TOGETHER:
            # The lines' rounding may differ from the scan's by a pixel.
            beside = cv2.dilate(
                lines.astype(np.uint8), np.ones((3, 3), np.uint8)
            ).astype(bool)
            missing = dark & (lines | (beside & ground))
            findings.append(
                MaskFinding(missing, "parallel lines", agreement(lines))
            )

    if findings:
        return max(findings, key=lambda finding: finding.confidence)
    if scans >= BATCH and share > HOLES:
        return MaskFinding(
            dark & ground, UNDESCRIBED, float((ground | ~dark).mean())
        )
    if share <= HOLES:
        return MaskFinding(np.zeros(dark.shape, bool), "none", 1 - share)
    return None


def rows_missing(dark: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Rows that are dark wherever they count, as a mask.

    When these recur at a period, rows that do not count but continue it are missing too, if they
    are dark along their entire length.
    """
    counts = ground.sum(1) >= LEAST
    line = counts & (dark | ~ground).all(1)
    number = np.arange(len(line))

    for period in range(2, len(dark) // 2):
        same = line[period:] == line[:-period]
        both = counts[period:] & counts[:-period]
        if line.any() and both.sum() >= 2 * period and same[both].all():
            missing_phases = np.unique(number[line & counts] % period)
            recurs = np.isin(number % period, missing_phases)
            line = np.where(counts, line, recurs & dark.all(1))
            break

    return np.broadcast_to(line[:, None], dark.shape)


def parallel_lines(dark: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """The parallel lines, as a mask, that agree best with the dark pixels among those that count.

    A peak in the spectrum of one part gives the wave of the lines; it is then refined over larger
    and larger parts.
    """
    rows, columns = np.nonzero(ground)
    centre = int(np.median(rows)), int(np.median(columns))
    share = dark[ground].mean()

    starts = [max(0, c - WINDOW // 2) for c in centre]
    part = tuple(slice(start, start + WINDOW) for start in starts)
    wave = np.where(ground, dark - share, 0)[part]
    best = *slowest_frequencies(wave), 0.0

    # A random choice of pixels is enough to compare lines with.
    chosen = np.random.default_rng(0).permutation(len(rows))[:POINTS]
    rows = rows[chosen]
    columns = columns[chosen]

    step = 0.25 / np.array(wave.shape)
    reach = WINDOW
    while True:
        near_row = np.abs(rows - centre[0]) <= reach / 2
        near_column = np.abs(columns - centre[1]) <= reach / 2
        points = rows[near_row & near_column], columns[near_row & near_column]
        for finer in (1, 3, 9):
            best = refine_wave(best, step / finer, *points, dark[points], share)

        if reach >= 2 * max(dark.shape):
            break
        reach = 2 * reach
        step = step / 2

    all_rows, all_columns = (np.arange(length) for length in dark.shape)
    return is_on_line(all_rows[:, None], all_columns, *best, share)


def slowest_frequencies(wave: np.ndarray) -> tuple[float, float]:
    """Frequencies down and along, in lines per pixel, of the slowest strong wave in an image."""
    # Padding to four times the size samples the spectrum more finely.
    spectrum = np.abs(np.fft.fft2(wave, (4 * wave.shape[0], 4 * wave.shape[1])))
    down, along = (np.fft.fftfreq(4 * length) for length in wave.shape)
    spectrum[np.hypot(down[:, None], along) < 0.01] = 0

    # Thin lines have overtones as strong as their wave; the wave is the slowest of them.
    is_strong = spectrum >= 0.8 * spectrum.max()
    is_peak = spectrum == maximum_filter(spectrum, 9, mode="wrap")
    peaks = np.argwhere(is_strong & is_peak)
    row, column = min(
        peaks, key=lambda peak: np.hypot(down[peak[0]], along[peak[1]])
    )
    return down[row], along[column]


def refine_wave(
    start: tuple[float, float, float],
    step: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    dark: np.ndarray,
    share: float,
) -> tuple[float, float, float]:
    """Search around a wave for the one whose lines agree best with the dark pixels.

    Parameters
    ----------
    start : frequencies down and along, in lines per pixel, and a phase in pixels.
    step : how far the frequencies may differ from the start, (2,).
    rows, columns, dark : pixels (n,), and whether they are dark.
    share : of the pixels that lie on a line.
    """
    best = start
    highest = -1.0
    down_range = start[0] + np.linspace(-step[0], step[0], 9)
    along_range = start[1] + np.linspace(-step[1], step[1], 9)

    for along in along_range:
        for down in down_range:
            across, period = distance_across(rows, columns, down, along)
            # The phase of the wave at these frequencies, then some offsets around it.
            wave = ((dark - share) * np.exp(2j * np.pi * across / period)).sum()
            phase = np.angle(wave) / (2 * np.pi) * period
            for offset in (-0.75, -0.5, -0.25, 0.0, 0.25, 0.5):
                lines = is_on_line(
                    rows, columns, down, along, phase + offset, share
                )
                agreement = (dark & lines).sum() / max(1, (dark | lines).sum())
                if agreement > highest:
                    best = float(down), float(along), float(phase + offset)
                    highest = agreement

    return best


def distance_across(
    rows: np.ndarray,
    columns: np.ndarray,
    down: float,
    along: float,
) -> tuple[np.ndarray, float]:
    """How far pixels lie across lines of these frequencies, and the period of the lines, in pixels.

    Both are measured along the axis that the lines cross more steeply.
    """
    if abs(down) > abs(along):
        return rows + columns * along / down, 1 / abs(down)
    return columns + rows * (down / along if along else 0), 1 / max(
        abs(along), 1e-9
    )


def is_on_line(
    rows: np.ndarray,
    columns: np.ndarray,
    down: float,
    along: float,
    phase: float,
    share: float,
) -> np.ndarray:
    """Whether pixels lie on lines of these frequencies; `share` of all pixels do."""
    across, period = distance_across(rows, columns, down, along)
    return (
        np.floor(across) - phase + share * period / 2
    ) % period < share * period

"""Recognise which pixels of damaged scans are missing.

They hold NaN, or one value that stands for nothing. Entire rows and columns come first
(`lost_lines`), then lines at any angle.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.ndimage import maximum_filter

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.lines.lost_lines import listed, lost_rows
from hvd.toolkit.tasks.lines.masks import TASK_MASK


@dataclass(frozen=True)
class MaskFinding:
    """A mask that was recognised in damaged scans, or given.

    Attributes
    ----------
    missing : bool (N, H, W).
    kind : how it was determined, for the record.
    confidence : how far it agrees with the empty pixels in the picture, 0 to 1.
    notes : what is doubtful.
    is_shared : whether the scans miss the same pixels.
    """

    missing: np.ndarray
    kind: str
    confidence: float
    notes: tuple[str, ...] = ()
    is_shared: bool = True


UNDESCRIBED = "zero in more than half of the scans"

BRIGHT = 0.08  # of the brightest pixel: anything darker may be background

# A pixel counts when bright pixels lie on both sides within this many pixels. Narrow gaps need a
# short reach, wide ones a long reach.
REACHES = 4, 12, 32

# The share of a line's counted pixels that must be zero: of the task's mask, and of fitted parallel
# lines, whose rounding may differ.
SURE = 0.95
LIKELY = 0.85

TOGETHER = 0.75  # fitted lines that agree less with the zeros are chance
HOLES = 0.1  # up to this share of the counted pixels may be zero without being missing
FEW = 0.02  # when a smaller share is zero, only entire rows and columns are looked for
ASTRAY = 0.2  # a scan with a larger share of unexplained zeros has another mask
BATCH = 8  # with this many scans, a mask shows without a description
LEAST = 12  # counted pixels that a line needs to be recognised
GROUND = 9  # pixels: wider areas of NaN at the frame are ground

# For fitting parallel lines.
POINTS = 20_000  # pixels that lines are compared with
WINDOW = 256  # pixels along a side of the part whose spectrum is taken


def recognise_mask(values: np.ndarray, zero: float = 0) -> MaskFinding:
    """Find which pixels of scans (N, H, W) are missing, shared or of each scan's own.

    They hold NaN or a value that may stand for nothing: `zero`, -1, the least or the greatest one.
    Entire rows and columns are found by themselves, other lines by what all scans lack between
    bright pixels: the task's mask, parallel lines, or single pixels of many scans. NaN in large
    areas at the frame is ground, not missing.

    Raises
    ------
    ToolkitError
        When nothing fits, or when some scans have another mask than the others.
    """
    nan = np.isnan(values)
    if nan.all():
        raise ToolkitError("All pixels are NaN.", "Give measured scans.")
    least, greatest = float(np.nanmin(values)), float(np.nanmax(values))
    if least == greatest == zero and not nan.any():
        raise ToolkitError(
            "The scan is black.", "Give --mask FILE, 1 = missing."
        )
    marks = dict.fromkeys((float(zero), least, greatest, -1.0))
    rows = lost_rows(values, np.array([*marks]))
    columns = lost_rows(values.transpose(0, 2, 1), np.array([*marks]))
    # NaN in a line of another value is ground that the line crosses.
    lines = rows.lost[:, :, None] & (~nan | nan.all(axis=2, keepdims=True))
    lines |= columns.lost[:, None, :] & (~nan | nan.all(axis=1, keepdims=True))
    kinds = []
    notes = []
    for name, its in (("rows", rows), ("columns", columns)):
        if its.lost.any():
            kinds.append(name if its.is_shared else f"{name} of each scan")
        notes += [
            note.format(lines=name, Lines=name.capitalize())
            for note in its.notes
        ]

    missing = lines
    stripes = stripes_of(values, nan, lines, [*marks])
    notes += stripes.notes
    if stripes.kind != "none":
        kinds.append(stripes.kind)
        missing = lines | stripes.missing

    # What is NaN besides is missing, unless it is ground; lines that cross ground are not.
    if nan.any():
        ground = np.stack(
            [ground_of(*its) for its in zip(nan, missing, strict=True)]
        )
        rest = nan & ~missing & ~ground
        if rest.any():
            kinds.append("NaN")
        missing = (missing | rest) & ~ground
        if ground.any():
            notes.append(
                f"NaN around the picture, {ground.mean():.0%} of the pixels, stays as it is; "
                "--fill-outside fills it."
            )
    notes += note_on_empty_scans(~nan & (values != values[:, :1, :1]))
    kind = " and ".join(kinds) or "none"
    is_shared = rows.is_shared and columns.is_shared and stripes.is_shared
    return MaskFinding(
        missing, kind, stripes.confidence, tuple(notes), is_shared
    )


def stripes_of(
    values: np.ndarray,
    nan: np.ndarray,
    lines: np.ndarray,
    marks: list[float],
) -> MaskFinding:
    """What is missing of scans (N, H, W) besides entire lines, by the first mark that shows it.

    Raises ToolkitError when it is not clear whether pixels of the first mark are missing, unless
    NaN tells.
    """
    nothing = MaskFinding(np.zeros(values.shape, bool), "none", 1.0)
    answers = []
    for mark in marks:
        empty = (values == mark) | nan
        if (empty & ~lines).mean() < LEAST / values[0].size:
            continue
        apart = np.abs(np.where(empty, mark, values).astype(np.float64) - mark)
        images = (apart / max(apart.max(), 1e-12)).astype(np.float32)
        images = np.where(empty, 0, np.maximum(images, 1e-6))
        try:
            finding = recognise_stripes(images, lines)
        except ToolkitError:
            if mark == marks[0] and not nan.any():
                raise
            continue
        if finding.kind != "none":
            return replace(finding, missing=finding.missing & empty & ~lines)
        answers.append(finding)
    return answers[0] if answers else nothing


def note_on_empty_scans(differs: np.ndarray) -> list[str]:
    """A note about scans of one value between others, by which pixels differ (N, H, W)."""
    has_picture = np.flatnonzero(differs.any(axis=(1, 2)))
    if not len(has_picture):
        return []
    inside = np.arange(has_picture[0], has_picture[-1])
    empty = np.setdiff1d(inside, has_picture).tolist()
    if not empty:
        return []
    return [
        f"Scans {listed(empty)} hold one value alone, and were left as they are: lost, or do "
        "slices lie along another axis? Give --axis."
    ]


def ground_of(nan: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """What lies around the picture of a scan (H, W): NaN at the frame that is wide somewhere.

    Missing pixels are ground where the nearest other pixel is.
    """
    if nan.all():
        return np.zeros(nan.shape, bool)
    _, nearest = cv2.distanceTransformWithLabels(
        missing.astype(np.uint8),
        cv2.DIST_L2,
        5,
        labelType=cv2.DIST_LABEL_PIXEL,
    )
    is_nan = np.zeros(int(nearest.max()) + 1, bool)
    is_nan[nearest[~missing]] = nan[~missing]
    area = is_nan[nearest].astype(np.uint8)
    number, places = cv2.connectedComponents(area, connectivity=8)
    wide = cv2.erode(
        area,
        np.ones((GROUND, GROUND), np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=1,
    )
    edges = (places[0], places[-1], places[:, 0], places[:, -1])
    at_frame = np.unique(np.concatenate(edges))
    chosen = np.intersect1d(at_frame, np.unique(places[wide > 0]))
    is_ground = np.zeros(number, bool)
    is_ground[chosen] = True
    is_ground[0] = False
    return is_ground[places]


def recognise_stripes(images: np.ndarray, lines: np.ndarray) -> MaskFinding:
    """Find what scans miss besides entire lines, all the same pixels or each its own.

    Raises ToolkitError when it is not clear which pixels are missing.
    """
    try:
        finding = shared_stripes(images, lines)
    except ToolkitError:
        if len(images) == 1:
            raise
        return own_stripes(images, lines)
    if finding.kind == "none" and len(images) > 1:
        return own_stripes(images, lines, is_likely=False)
    missing = np.broadcast_to(finding.missing, images.shape)
    return replace(finding, missing=missing)


def own_stripes(
    images: np.ndarray,
    lines: np.ndarray,
    is_likely: bool = True,
) -> MaskFinding:
    """What each of several scans misses.

    When that of one is not clear, a note tells it, or where it is likely that scans miss something
    ToolkitError is raised.
    """
    missing = np.zeros(images.shape, bool)
    kinds = []
    unclear = []
    confidence = 1.0
    for k in range(len(images)):
        if not is_likely and not has_many_zeros(images[k], lines[k]):
            continue
        try:
            finding = shared_stripes(images[k : k + 1], lines[k : k + 1])
        except ToolkitError as error:
            if not is_likely:
                unclear.append(k)
                continue
            reason = f"It is not clear which pixels of scan {k} are missing."
            raise ToolkitError(reason, error.remedy) from error
        missing[k] = finding.missing
        confidence = min(confidence, finding.confidence)
        if finding.kind != "none":
            kinds.append(finding.kind)
    kind = f"{' or '.join(dict.fromkeys(kinds))} of each scan"
    notes: tuple[str, ...] = ()
    if unclear:
        notes = (
            f"Scans {listed(unclear)} hold empty pixels that no lines explain: look at them.",
        )
    if not kinds:
        return MaskFinding(missing, "none", confidence, notes)
    return MaskFinding(missing, kind, confidence, notes, is_shared=False)


def has_many_zeros(image: np.ndarray, lines: np.ndarray) -> bool:
    """Whether a scan (H, W) has more zeros between bright pixels than hollows of a body."""
    bright = image > BRIGHT * np.quantile(image, 0.99)
    among = between_bright_pixels(bright, REACHES[1])
    return unexplained_share(image == 0, among, lines) > HOLES


def shared_stripes(images: np.ndarray, lines: np.ndarray) -> MaskFinding:
    """Find the mask that damaged scans share: zeros are missing where that cannot be background.

    A pixel counts when bright pixels lie on both sides of it. It is missing when it is zero in
    more than half of the scans in which it counts. Where pixels do not count, a description that
    fits decides: the task's mask, or parallel lines. Single pixels are missing when nearly all of
    several scans are zero there.

    Parameters
    ----------
    images : (N, H, W), zero where pixels may be missing.
    lines : bool (N, H, W), what is missing for certain.

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
        among &= ~lines
        counted = among.sum(0)
        zeros = ((images == 0) & among).sum(0)
        ground = counted > 0
        mostly_zero = 2 * (images == 0).sum(0) > len(images)
        dark = np.where(ground, 2 * zeros > counted, mostly_zero)

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

    findings = []
    if dark.shape == TASK_MASK.shape and fits(TASK_MASK, SURE):
        agreed = agreement(TASK_MASK)
        findings.append(MaskFinding(TASK_MASK, "task", agreed))

    if not findings and share > FEW:
        lines = parallel_lines(dark, ground)
        if fits(lines, LIKELY) and agreement(lines) >= TOGETHER:
            # The lines' edges may differ from the scan's: by a pixel, wide ones by more.
            depth = cv2.distanceTransform(
                lines.astype(np.uint8), cv2.DIST_L2, 3
            )
            reach = 2 * max(1, round(float(depth.max()) / 2)) + 1
            beside = cv2.dilate(
                lines.astype(np.uint8), np.ones((reach, reach), np.uint8)
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

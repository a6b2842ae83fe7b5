"""Measure closed grains: size and shape of each, their distribution, ASTM E112 grain-size numbers.

Labels are int32 (H, W): the grains are numbered from 1 and cover every pixel, or all pixels are 0
when there is no grain. Lengths are in pixels unless a name says otherwise.

ASTM E112 asks for several fields of view. The intervals here come from the lines or parts of one
micrograph, so they say nothing about the rest of the specimen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtrit

STRIP = 1 << 22  # pixels that are held in memory at once

# Cauchy-Crofton directions: step down, step right, distance between parallel lines of pixels.
DIRECTIONS = (0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.5**0.5), (1, -1, 0.5**0.5)

LINES = 10  # test lines in each direction
# Radii of the three test circles, in units of the shorter side
CIRCLES = (
    0.45,
    0.3,
    0.15,
)
PARTS = 3  # the micrograph is cut into 3 x 3 parts for the intervals


@dataclass(frozen=True)
class Grains:
    """Size and shape of every grain; each attribute is an array (n,).

    Attributes
    ----------
    area : pixels.
    row, column : the centre, in pixels from the top left pixel.
    diameter : of the circle of equal area, in pixels.
    perimeter : by the Cauchy-Crofton formula, in pixels.
    aspect_ratio : of the ellipse of equal second moments, at least 1.
    orientation : of its major axis, in degrees counter-clockwise from horizontal, (-90, 90].
    touches_frame : True where the frame cuts the grain.
    """

    area: np.ndarray
    row: np.ndarray
    column: np.ndarray
    diameter: np.ndarray
    perimeter: np.ndarray
    aspect_ratio: np.ndarray
    orientation: np.ndarray
    touches_frame: np.ndarray


def strips(labels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Cut labels into strips of rows; yields the first row's number and the rows of each."""
    rows = max(1, STRIP // labels.shape[1])
    for top in range(0, len(labels), rows):
        yield top, labels[top : top + rows]


def areas(labels: np.ndarray) -> np.ndarray:
    """Pixels of each grain (n,)."""
    counts = np.zeros(int(labels.max()) + 1, np.int64)
    for _, strip in strips(labels):
        counts += np.bincount(strip.ravel(), minlength=len(counts))
    return counts[1:]


def equivalent_diameters(labels: np.ndarray) -> np.ndarray:
    """Diameters (n,) of the circles of equal area, in pixels."""
    return np.sqrt(4 * areas(labels) / np.pi)


def is_inside_frame(labels: np.ndarray) -> np.ndarray:
    """True (n,) for grains that do not touch the frame."""
    inside = np.ones(labels.max() + 1, bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        inside[edge] = False
    return inside[1:]


def grain_measures(labels: np.ndarray) -> Grains:
    """Size and shape of every grain."""
    area = areas(labels).astype(np.float64)
    row, column, row2, column2, mixed = moment_sums(labels) / area

    # A pixel is a unit square, not a point: its own second moment of 1/12 is added.
    rr = row2 - row**2 + 1 / 12
    cc = column2 - column**2 + 1 / 12
    rc = mixed - row * column

    # Eigenvalues of the second moments are the squared half axes of the ellipse, over 4.
    half_trace = (rr + cc) / 2
    root = np.sqrt(((rr - cc) / 2) ** 2 + rc**2)
    aspect_ratio = np.sqrt((half_trace + root) / (half_trace - root))

    # 0.0 - 0.0 is +0.0, which makes upright grains +90 degrees; -2 * 0.0 would make them -90.
    orientation = np.degrees(np.arctan2(0.0 - 2 * rc, cc - rr) / 2)

    return Grains(
        area=area,
        row=row,
        column=column,
        diameter=np.sqrt(4 * area / np.pi),
        perimeter=np.pi / 2 * weighted_crossings(labels) / len(DIRECTIONS),
        aspect_ratio=aspect_ratio,
        orientation=orientation,
        touches_frame=~is_inside_frame(labels),
    )


def moment_sums(labels: np.ndarray) -> np.ndarray:
    """Sums of row, column, row², column² and row x column over the pixels of each grain, (5, n)."""
    count = int(labels.max()) + 1
    sums = np.zeros((5, count))
    columns = np.arange(labels.shape[1], dtype=np.float64)

    for top, strip in strips(labels):
        row, column = np.meshgrid(
            np.arange(top, top + len(strip)), columns, indexing="ij"
        )
        grain = strip.ravel()
        for k, weight in enumerate(
            (row, column, row**2, column**2, row * column)
        ):
            sums[k] += np.bincount(grain, weight.ravel(), count)

    return sums[:, 1:]


def weighted_crossings(labels: np.ndarray) -> np.ndarray:
    """How often lines in four directions cross the outline of each grain, (n,).

    Crossings are weighted by the distance between the lines, as the Cauchy-Crofton formula asks.
    The frame counts as an outline.
    """
    count = int(labels.max()) + 1
    crossings = np.zeros(count)

    for top, strip in strips(labels):
        # One pixel of frame on each side, and below the strip the first row of the next one.
        next_row = labels[top + len(strip) : top + len(strip) + 1]
        padded = np.zeros((len(strip) + 1, labels.shape[1] + 2), labels.dtype)
        padded[:-1, 1:-1] = strip
        padded[-1, 1:-1] = next_row if len(next_row) else 0
        if top == 0:
            padded = np.vstack([np.zeros_like(padded[:1]), padded])

        height, width = padded.shape
        for down, right, spacing in DIRECTIONS:
            a = padded[: height - down, max(0, -right) : width - max(0, right)]
            b = padded[down:, max(0, right) : width + min(0, right)]
            if not down:  # the last row belongs to the next strip
                a = a[:-1]
                b = b[:-1]
            differ = a != b
            at_a = np.bincount(a[differ], minlength=count)
            at_b = np.bincount(b[differ], minlength=count)
            crossings += spacing * (at_a + at_b)

    return crossings[1:]


# --- the distribution of diameters


def percentiles(
    values: np.ndarray, weights: np.ndarray, shares: tuple[float, ...]
) -> np.ndarray:
    """Weighted percentiles: the least values up to which `shares` of the summed weights lie.

    A value of weight 2 counts as much as the value twice.
    """
    return np.quantile(values, shares, method="inverted_cdf", weights=weights)


def distribution(diameters: np.ndarray, areas: np.ndarray) -> dict[str, Any]:
    """Describe diameters (n,) by number and by area, and fit a log-normal distribution.

    Returns mean, D10, D50 and D90 for both weightings; of the fit its median, its geometric
    standard deviation, and the Kolmogorov-Smirnov distance of the diameters from it.
    """
    result = {}
    for name, weights in (("number", np.ones(len(diameters))), ("area", areas)):
        # Area-weighted values say what a point of the section sees; ASTM E112
        # counts by number.
        mean = (diameters * weights).sum() / weights.sum()
        d10, d50, d90 = percentiles(diameters, weights, (0.1, 0.5, 0.9))
        result[f"{name}_weighted"] = {
            "mean": significant(mean),
            "d10": significant(d10),
            "d50": significant(d50),
            "d90": significant(d90),
        }

    logs = np.log(diameters)
    result["log_normal"] = {
        "median": significant(np.exp(logs.mean())),
        "geometric_deviation": significant(np.exp(logs.std())),
        # Grains of one size have no distribution to compare with.
        "ks_distance": significant(normal_distance(logs))
        if logs.std() > 0
        else None,
    }

    return result


def normal_distance(values: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance of values (n,) from the normal distribution fitted to them.

    `scipy.stats.kstest` gives the same, but takes half a second to import.
    """
    expected = ndtr(np.sort((values - values.mean()) / values.std()))
    steps = np.arange(len(values) + 1) / len(values)
    return float(
        max((steps[1:] - expected).max(), (expected - steps[:-1]).max())
    )


# --- grain-size numbers (ASTM E112-13, table 4 and its equations)


def g_from_intercept(millimetres: float) -> float:
    """ASTM grain-size number of a mean lineal intercept: G = -6.643856 log10(l) - 3.288."""
    return -6.643856 * np.log10(millimetres) - 3.288


def g_from_density(grains_per_square_millimetre: float) -> float:
    """ASTM grain-size number of grains per area at 1 x: G = 3.321928 log10(N_A) - 2.954."""
    return 3.321928 * np.log10(grains_per_square_millimetre) - 2.954


def intercepts(labels: np.ndarray) -> np.ndarray:
    """Length and number of intercepts of five patterns of test lines, (5, 2).

    The patterns are LINES horizontal, vertical, falling and rising lines, and three circles. A
    line's ends at the frame count half each, so its intercepts equal the boundaries it crosses.
    """
    height, width = labels.shape
    result = np.zeros((5, 2))

    for k in range(LINES):
        share = (k + 0.5) / LINES
        offset = int(share * (height + width)) - height
        lines = (
            labels[int(share * height)],
            labels[:, int(share * width)],
            np.diagonal(labels, offset),
            np.diagonal(labels[:, ::-1], offset),
        )
        for pattern, (line, spacing) in enumerate(
            zip(lines, (1, 1, 2**0.5, 2**0.5), strict=True)
        ):
            length = max(0, len(line) - 1) * spacing
            result[pattern] += length, boundary_crossings(line)

    # Circles cross boundaries of all directions, so that elongated grains do
    # not bias the mean.
    for share in CIRCLES:
        radius = share * min(height, width)
        angle = np.linspace(0, 2 * np.pi, max(8, int(2 * np.pi * radius)) + 1)
        rows = np.rint((height - 1) / 2 + radius * np.sin(angle)).astype(int)
        columns = np.rint((width - 1) / 2 + radius * np.cos(angle)).astype(int)
        result[4] += (
            2 * np.pi * radius,
            boundary_crossings(labels[rows, columns]),
        )

    return result


def boundary_crossings(line: np.ndarray) -> int:
    """How many boundaries lie between the grains (n,) along a line."""
    return int((line[1:] != line[:-1]).sum())


def line_density(labels: np.ndarray) -> float:
    """Boundaries crossed per pixel of test line.

    All five patterns weigh the same, whatever the shape of the frame.
    """
    lengths, counts = intercepts(labels).T
    return float((counts / lengths).mean())


def relative_half_interval(
    labels: np.ndarray, value: Callable[[np.ndarray], float]
) -> float:
    """Half the 95 % confidence interval of a positive value's mean, divided by that mean.

    The spread is taken from 3 x 3 parts of the micrograph.
    """
    parts = []
    for third in np.array_split(labels, PARTS, axis=0):
        for part in np.array_split(third, PARTS, axis=1):
            parts.append(value(part))

    mean = np.mean(parts)
    if not mean:
        return np.inf

    student_t = stdtrit(PARTS**2 - 1, 0.975)
    return float(student_t * np.std(parts, ddof=1) / PARTS / mean)


def mean_intercept(labels: np.ndarray) -> tuple[float, float, float] | None:
    """Mean lineal intercept and the ends of its 95 % confidence interval, in pixels.

    None when no boundary is crossed. The upper end is infinite when the parts differ too much.
    """
    density = line_density(labels)
    if not density:
        return None

    half = relative_half_interval(labels, line_density)
    high = 1 / (density * (1 - half)) if half < 1 else np.inf
    return 1 / density, 1 / (density * (1 + half)), high


def planimetric_count(labels: np.ndarray) -> float:
    """Grains in the frame by Jeffries' rule: inside 1, cut by an edge 1/2, at a corner 1/4."""
    inside = is_inside_frame(labels)
    at_corner = {
        int(labels[row, column]) for row in (0, -1) for column in (0, -1)
    }
    at_edge = (~inside).sum() - len(at_corner)

    # The four corners count a quarter each, together 1, even when a grain holds several.
    return float(inside.sum() + 0.5 * at_edge + 1.0)


def density(labels: np.ndarray) -> tuple[float, float, float]:
    """Grains per square pixel by the planimetric count, and the ends of its 95 % interval.

    For the interval each grain is shared out to the 3 x 3 parts by area. The lower end is at least
    0; the upper is infinite when no grain lies inside the frame.
    """
    count = planimetric_count(labels) / labels.size
    if not is_inside_frame(labels).any():
        return count, 0.0, np.inf

    share = np.concatenate([[0], 1 / areas(labels)])

    def grains_per_pixel(part: np.ndarray) -> float:
        return float(np.mean([share[row].mean() for row in part]))

    half = relative_half_interval(labels, grains_per_pixel)
    return count, count * max(0.0, 1 - half), count * (1 + half)


# --- the summary in a record


def summary(
    labels: np.ndarray, grains: Grains, micrometres_per_pixel: float | None
) -> dict[str, Any]:
    """The sizes that engineers ask for, in micrometres, or in pixels without a scale.

    A value that cannot be determined is None.
    """
    unit = micrometres_per_pixel or 1.0
    inside = ~grains.touches_frame
    result: dict[str, Any] = {
        "unit": "micrometre" if micrometres_per_pixel else "pixel",
        "grains": len(inside),
        "whole_grains": int(inside.sum()),
    }
    if not len(inside):
        nothing = dict.fromkeys(
            ("diameter", "elongation", "mean_intercept", "astm_g")
        )
        return result | nothing

    # Grains cut by the frame are too small, so they count only where there are no others.
    counted = inside if inside.any() else ~inside
    diameters = grains.diameter[counted] * unit
    result["diameter"] = distribution(diameters, grains.area[counted] * unit**2)
    result["elongation"] = significant(np.median(grains.aspect_ratio[counted]))

    intercept = mean_intercept(labels)
    result["mean_intercept"] = (
        interval(*(x * unit for x in intercept)) if intercept else None
    )
    result["intercepts"] = int(intercepts(labels)[:, 1].sum())

    count = density(labels)
    if micrometres_per_pixel:
        result["grains_per_mm2"] = interval(*(x * 1e6 / unit**2 for x in count))
    else:
        result["grains_per_px2"] = interval(*(x * 1.0 / unit**2 for x in count))

    result["astm_g"] = (
        astm_numbers(intercept, count, unit) if micrometres_per_pixel else None
    )
    return result


def astm_numbers(
    intercept: tuple[float, float, float] | None,
    count: tuple[float, float, float],
    micrometres_per_pixel: float,
) -> dict[str, dict[str, float | None]]:
    """ASTM grain-size numbers by counting grains and, where boundaries were crossed, by intercepts.

    `intercept` and `count` are a mean with the ends of its interval, in pixels.
    """
    by_count = []
    for value in count:
        per_mm2 = value * 1e6 / micrometres_per_pixel**2
        by_count.append(g_from_density(per_mm2) if 0 < value < np.inf else None)
    result = {"planimetric": interval(*by_count)}

    if intercept:
        # G falls as the intercept grows: the ends of the interval change places.
        mean, low, high = (x * micrometres_per_pixel / 1000 for x in intercept)
        result["intercept"] = interval(
            g_from_intercept(mean),
            g_from_intercept(high),
            g_from_intercept(low),
        )

    return result


def interval(
    mean: float, low: float | None, high: float | None
) -> dict[str, float | None]:
    """A mean with its 95 % confidence interval; an end that is not finite becomes None."""
    result = {"mean": significant(mean)}
    for name, end in (("low", low), ("high", high)):
        result[name] = (
            significant(end) if end is not None and np.isfinite(end) else None
        )
    return result


def significant(value: float) -> float:
    """Round to six significant digits."""
    return float(f"{value:.6g}")

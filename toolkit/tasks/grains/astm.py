"""Grain-size numbers and what goes with them: ASTM E112, E930, E1181, E1382.

Labels are as in `sizes`. ASTM E112 asks for several fields of view. The intervals here come from
the lines or parts of one micrograph, so they say nothing about the rest of the specimen.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from scipy.special import stdtrit

from hvd.toolkit.tasks.grains.boundaries import lines
from hvd.toolkit.tasks.grains.sizes import (
    Grains,
    areas,
    is_inside_frame,
    significant,
    strips,
)

LINES = 10  # test lines in each direction
SHALLOW = 2.5  # pixels: how deep a line gets into a grain that it only grazes
# Radii of the three test circles, in units of the shorter side
CIRCLES = 0.45, 0.3, 0.15
PATTERNS = "horizontal", "vertical", "falling", "rising", "circles"

PARTS = 3  # the micrograph is cut into 3 x 3 parts for the intervals
LEAST_INSIDE = 0.25  # share of a part that must be specimen
FEWEST_PARTS = 4  # with specimen, for an interval

# E112 asks for so many grains in a field that is counted.
ENOUGH_GRAINS = 50

# E1181: differences in grain-size numbers that make a structure duplex, and shares of its area.
ISOLATED = 3.0  # of the largest grains to the mean
MOST_ISOLATED = 0.05
WIDE_RANGE = 5.0  # between the shares WIDE_ENDS of the area
WIDE_ENDS = 0.05, 0.95
BIMODAL = 4.0  # between two peaks
LEAST_MODE = 0.1  # of each peak
VALLEY = 0.5  # between them, in heights of the lower one


def g_from_intercept(millimetres: float) -> float:
    """ASTM grain-size number of a mean lineal intercept: G = -6.643856 log10(l) - 3.288."""
    return -6.643856 * np.log10(millimetres) - 3.288


def g_from_density(grains_per_square_millimetre: float) -> float:
    """ASTM grain-size number of grains per area at 1 x: G = 3.321928 log10(N_A) - 2.954."""
    return 3.321928 * np.log10(grains_per_square_millimetre) - 2.954


# --- intercepts


def straight_lines(
    labels: np.ndarray,
) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield the straight test lines: the pattern, labels (n,) along a line, pixels between them.

    There are LINES horizontal, vertical, falling and rising ones.
    """
    height, width = labels.shape
    for k in range(LINES):
        share = (k + 0.5) / LINES
        offset = int(share * (height + width)) - height
        yield "horizontal", labels[int(share * height)], 1.0
        yield "vertical", labels[:, int(share * width)], 1.0
        yield "falling", np.diagonal(labels, offset), 2**0.5
        yield "rising", np.diagonal(labels[:, ::-1], offset), 2**0.5


def intercepts(labels: np.ndarray) -> np.ndarray:
    """Length and number of intercepts of the patterns of test lines, (5, 2).

    The patterns are the straight lines of each direction, and three circles. A line's ends at the
    frame count half each, so its intercepts equal the boundaries it crosses. Only what lies on the
    specimen counts.
    """
    height, width = labels.shape
    result = np.zeros((5, 2))
    depth = depths(labels)
    for pattern, line, spacing in straight_lines(labels):
        result[PATTERNS.index(pattern)] += (
            steps_inside(line) * spacing,
            boundary_crossings(line),
        )

    # Circles cross boundaries of all directions, so that elongated grains do
    # not bias the mean.
    for share in CIRCLES:
        radius = share * min(height, width)
        angle = np.linspace(0, 2 * np.pi, max(8, int(2 * np.pi * radius)) + 1)
        rows = np.rint((height - 1) / 2 + radius * np.sin(angle)).astype(int)
        columns = np.rint((width - 1) / 2 + radius * np.cos(angle)).astype(int)
        line = without_excursions(labels[rows, columns], depth[rows, columns])
        length = 2 * np.pi * radius * steps_inside(line) / (len(line) - 1)
        result[4] += length, boundary_crossings(line)

    return result


def steps_inside(line: np.ndarray) -> int:
    """How many steps from pixel to pixel along a line of labels (n,) stay on the specimen."""
    inside = line > 0
    return int((inside[1:] & inside[:-1]).sum())


def boundary_crossings(line: np.ndarray) -> int:
    """How many boundaries lie between the grains (n,) along a line."""
    inside = line > 0
    return int(((line[1:] != line[:-1]) & inside[1:] & inside[:-1]).sum())


def line_density(labels: np.ndarray) -> float:
    """Boundaries crossed per pixel of test line; NaN without specimen.

    All patterns weigh the same, whatever the shape of the frame.
    """
    lengths, counts = intercepts(labels).T
    inside = lengths > 0
    if not inside.any():
        return float("nan")
    return float((counts[inside] / lengths[inside]).mean())


def relative_half_interval(
    labels: np.ndarray, value: Callable[[np.ndarray], float]
) -> float:
    """Half the 95 % confidence interval of a positive value's mean, divided by that mean.

    The spread is taken from 3 x 3 parts of the micrograph; infinite when too few of them show
    specimen.
    """
    parts = []
    for third in np.array_split(labels, PARTS, axis=0):
        for part in np.array_split(third, PARTS, axis=1):
            if part.size and (part > 0).mean() >= LEAST_INSIDE:
                parts.append(value(part))

    mean = np.mean(parts) if len(parts) >= FEWEST_PARTS else 0
    if not mean or not np.isfinite(mean):
        return np.inf

    student_t = stdtrit(len(parts) - 1, 0.975)
    error = np.std(parts, ddof=1) / np.sqrt(len(parts))
    return float(student_t * error / mean)


def mean_intercept(labels: np.ndarray) -> tuple[float, float, float] | None:
    """Mean lineal intercept and the ends of its 95 % confidence interval, in pixels.

    None when no boundary is crossed. The upper end is infinite when the parts differ too much.
    """
    density = line_density(labels)
    if not density > 0:
        return None

    half = relative_half_interval(labels, line_density)
    high = 1 / (density * (1 - half)) if half < 1 else np.inf
    low = 1 / (density * (1 + half)) if np.isfinite(half) else 0.0
    return 1 / density, low, high


def long_axis(grains: Grains) -> float:
    """Degrees counter-clockwise from horizontal, (-90, 90], along which grains are longest.

    Grains count by their area and by how elongated they are.
    """
    stretch = grains.area * (1 - 1 / grains.aspect_ratio)
    angle = 2 * np.radians(grains.orientation)
    degrees = np.degrees(
        np.arctan2(
            (stretch * np.sin(angle)).sum(), (stretch * np.cos(angle)).sum()
        )
        / 2
    )
    return float(degrees)


def depths(labels: np.ndarray) -> np.ndarray:
    """How far every pixel lies from the nearest boundary, in pixels, float32 (H, W)."""
    return cv2.distanceTransform(
        (~lines(labels)).astype(np.uint8), cv2.DIST_L2, 5
    )


def intercept_along(
    labels: np.ndarray,
    depth: np.ndarray,
    degrees: float,
) -> float | None:
    """Mean intercept in pixels along parallel test lines, None when they cross no boundary.

    `depth` is as `depths` tells it; `degrees` is the direction of the lines, counter-clockwise
    from horizontal.
    """
    height, width = labels.shape
    reach = int(np.hypot(height, width) / 2)
    steps = np.arange(-reach, reach + 1)
    angle = np.radians(degrees)
    along = np.array([-np.sin(angle), np.cos(angle)])  # rows point down
    # One pixel further along the steeper axis at each step.
    spacing = 1 / np.abs(along).max()
    across = np.array([along[1], -along[0]])
    length = 0.0
    count = 0

    for share in np.linspace(-0.95, 0.95, 4 * LINES):
        start = np.array([height - 1, width - 1]) / 2 + share * reach * across
        rows = np.rint(start[0] + steps * spacing * along[0]).astype(int)
        columns = np.rint(start[1] + steps * spacing * along[1]).astype(int)
        is_on = (
            (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        )
        if not is_on.any():
            continue
        place = rows[is_on], columns[is_on]
        line = without_excursions(labels[place], depth[place])
        length += steps_inside(line) * spacing
        count += boundary_crossings(line)

    return length / count if count else None


def without_excursions(line: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Labels (n,) along a slanted line, without short visits to another grain.

    Where a line runs along a boundary, its pixels lie now on one side of it, now on the other. A
    visit is short when the line gets no deeper than SHALLOW pixels into the other grain, whose
    `depth` (n,) is the distance to the nearest boundary, and comes back.
    """
    starts = np.append(0, np.flatnonzero(line[1:] != line[:-1]) + 1)
    deepest = np.maximum.reduceat(depth, starts)
    ends = np.append(starts[1:], len(line))
    cleaned = line.copy()
    for k in range(1, len(starts) - 1):
        before = cleaned[starts[k] - 1]
        if (
            line[starts[k]] > 0
            and deepest[k] < SHALLOW
            and line[starts[k + 1]] == before
        ):
            cleaned[starts[k] : ends[k]] = before
    return cleaned


def chords(labels: np.ndarray) -> list[tuple[str, float]]:
    """Direction and length in pixels of every chord of the straight test lines.

    A chord reaches from one boundary to the next; those that the frame or the edge of the specimen
    cuts are left out.
    """
    result = []
    for pattern, line, spacing in straight_lines(labels):
        ends = np.flatnonzero(line[1:] != line[:-1])
        for first, last in itertools.pairwise(ends):
            neighbours = line[first], line[last], line[last + 1]
            if all(neighbours):
                result.append((pattern, float((last - first) * spacing)))
    return result


# --- counting


def planimetric_count(labels: np.ndarray) -> float:
    """Grains on the specimen: inside 1, cut by an edge 1/2, at a corner of the frame 1/4.

    That is Jeffries' rule. Where the specimen has another outline than the frame, the rule is
    generalised: half a grain goes off for each arc of the outline that lies in one grain, and one
    for each part of the specimen; one comes back for each hole that cuts several grains.
    """
    inside = is_inside_frame(labels)
    if (labels > 0).all():
        at_corner = {
            int(labels[row, column]) for row in (0, -1) for column in (0, -1)
        }
        at_edge = (~inside).sum() - len(at_corner)

        # The four corners count a quarter each, together 1, even when a grain holds several.
        return float(inside.sum() + 0.5 * at_edge + 1.0)

    outlines, hierarchy = cv2.findContours(
        (labels > 0).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    count = float(len(inside))
    for outline, (*_, parent) in zip(outlines, hierarchy[0], strict=True):
        columns, rows = outline[:, 0].T
        along = labels[rows, columns]
        arcs = int((along != np.roll(along, 1)).sum())
        is_hole = parent >= 0
        # A hole within one grain leaves it one grain.
        if is_hole and arcs:
            count += 1
        elif not is_hole:
            count -= 1
        count -= arcs / 2
    return float(max(count, inside.sum()))


def density(labels: np.ndarray) -> tuple[float, float, float]:
    """Grains per square pixel by the planimetric count, and the ends of its 95 % interval.

    For the interval each grain is shared out to the 3 x 3 parts by area. The lower end is at least
    0; the upper is infinite when no grain lies inside the frame.
    """
    count = planimetric_count(labels) / (labels > 0).sum()
    if not is_inside_frame(labels).any():
        return count, 0.0, np.inf

    share = np.concatenate([[0], 1 / areas(labels)])

    def grains_per_pixel(part: np.ndarray) -> float:
        total = sum(float(share[strip].sum()) for _, strip in strips(part))
        return total / (part > 0).sum()

    half = relative_half_interval(labels, grains_per_pixel)
    return count, count * max(0.0, 1 - half), count * (1 + half)


# --- large grains


def ala_number(largest_area: float) -> float:
    """Grain-size number of the largest grain (ASTM E930), whose area is in square millimetres."""
    return g_from_density(1 / largest_area)


def duplex(areas: np.ndarray) -> dict[str, Any]:
    """Whether grains are of two sizes (after ASTM E1181), by the areas (n,) of all of them.

    What counts is which share of the section grains of each grain-size number cover. This is a
    test by numbers: how coarse grains are arranged, in bands or necklaces, is not looked at.

    Returns
    -------
    `kind` : "none"; "isolated coarse grains" when grains 3 numbers coarser than the mean cover up
        to 5 % of the section; "bimodal" for two peaks 4 numbers apart; "wide range" when 90 % of
        the section spans 5 numbers or more.
    `coarse_share` : of the section that is covered by grains 3 numbers coarser than the mean.
    `range` : grain-size numbers that 90 % of the section spans.
    """
    numbers = -np.log2(
        areas
    )  # up to a constant: G rises by 1 when the area halves
    order = np.argsort(numbers)
    numbers = numbers[order]
    weights = areas[order] / areas.sum()
    mean = -np.log2(areas.mean())
    coarse = float(weights[numbers <= mean - ISOLATED].sum())
    low, high = np.interp(WIDE_ENDS, np.cumsum(weights), numbers)

    kind = "none"
    if has_two_peaks(numbers, weights):
        kind = "bimodal"
    elif high - low >= WIDE_RANGE:
        kind = "wide range"
    elif 0 < coarse <= MOST_ISOLATED:
        kind = "isolated coarse grains"
    return {
        "kind": kind,
        "coarse_share": significant(coarse),
        "range": significant(high - low),
    }


def has_two_peaks(numbers: np.ndarray, weights: np.ndarray) -> bool:
    """Whether weighted grain-size numbers (n,) have two peaks that are BIMODAL apart."""
    classes = np.arange(numbers.min() - 2, numbers.max() + 2, 0.25)
    apart = (classes[:, None] - numbers[None]) / 0.6  # a smooth histogram
    heights = (weights * np.exp(-(apart**2) / 2)).sum(axis=1)
    is_peak = (heights[1:-1] > heights[:-2]) & (heights[1:-1] >= heights[2:])
    peaks = np.flatnonzero(is_peak) + 1

    for k, first in enumerate(peaks):
        for second in peaks[k + 1 :]:
            valley = first + int(heights[first:second].argmin())
            share = weights[numbers < classes[valley]].sum()
            if (
                classes[second] - classes[first] >= BIMODAL
                and LEAST_MODE <= share <= 1 - LEAST_MODE
                and heights[valley]
                <= VALLEY * min(heights[first], heights[second])
            ):
                return True
    return False


# --- several fields


def pooled(values: np.ndarray) -> dict[str, float | None]:
    """Mean of one value per field (n,), as E112 reports it.

    Returns
    -------
    `fields`; `mean`; `s`, the standard deviation; `ci95`, half the 95 % confidence interval; and
    `relative_accuracy` in per cent. With one field only the first two are known, and with none
    only the first.
    """
    count = len(values)
    mean = float(values.mean()) if count else None
    result = {
        "fields": count,
        "mean": significant(mean) if mean is not None else None,
    }
    if count < 2:
        return result | dict.fromkeys(("s", "ci95", "relative_accuracy"))
    deviation = float(values.std(ddof=1))
    half = float(stdtrit(count - 1, 0.975)) * deviation / np.sqrt(count)
    return result | {
        "s": significant(deviation),
        "ci95": significant(half),
        "relative_accuracy": significant(100 * half / mean),
    }

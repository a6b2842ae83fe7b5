"""Measure closed grains: size and shape of each, and their distribution.

Labels are int32 (H, W): the grains are numbered from 1, and 0 is outside the specimen, or all
pixels are 0 when there is no grain. Lengths are in pixels unless a name says otherwise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

STRIP = 1 << 22  # pixels that are held in memory at once

# Cauchy-Crofton directions: step down, step right, distance between parallel lines of pixels.
DIRECTIONS = (0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.5**0.5), (1, -1, 0.5**0.5)

SALTYKOV_CLASSES = 10  # of diameters in space


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
    touches_frame : True where the frame, or the edge of the specimen, cuts the grain.
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
    """True (n,) for grains that touch neither the frame nor what is outside the specimen."""
    inside = np.ones(labels.max() + 1, bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        inside[edge] = False

    outside = labels == 0
    if outside.any():
        for one, other in (
            (np.s_[:-1], np.s_[1:]),
            (np.s_[:, :-1], np.s_[:, 1:]),
        ):
            inside[labels[one][outside[other]]] = False
            inside[labels[other][outside[one]]] = False
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
    """Sums of row, column, row², column² and row x column over the pixels of each grain, (5, n).

    They are added up run by run: a run is a piece of a row within one grain.
    """
    count = int(labels.max()) + 1
    sums = np.zeros((5, count))

    for top, strip in strips(labels):
        is_first = np.ones(strip.shape, bool)
        is_first[:, 1:] = strip[:, 1:] != strip[:, :-1]
        row, start = np.nonzero(is_first)
        grain = strip[row, start]
        last = np.append(row[1:] != row[:-1], True)
        end = np.append(start[1:], 0)
        end[last] = strip.shape[1]

        rows = (row + top).astype(np.float64)
        length = (end - start).astype(np.float64)
        columns = sum_of_powers(end, 1) - sum_of_powers(start, 1)
        column2 = sum_of_powers(end, 2) - sum_of_powers(start, 2)
        for k, weight in enumerate(
            (length * rows, columns, length * rows**2, column2, rows * columns)
        ):
            sums[k] += np.bincount(grain, weight, count)

    return sums[:, 1:]


def sum_of_powers(n: np.ndarray, power: int) -> np.ndarray:
    """Sum of k to the power 1 or 2 over the whole numbers k from 0 to n - 1."""
    n = n.astype(np.float64)
    if power == 1:
        return n * (n - 1) / 2
    return n * (n - 1) * (2 * n - 1) / 6


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
    values: np.ndarray,
    weights: np.ndarray,
    shares: tuple[float, ...],
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


def saltykov(diameters: np.ndarray) -> dict[str, Any]:
    """Diameters in space of spherical grains, estimated from those in a section (Saltykov, 1958).

    A section cuts most grains off their middle, so that it shows them too small. Classes are of
    equal width, and the spheres of a class have its largest diameter; classes in which the method
    yields fewer than none are set to none.

    Parameters
    ----------
    diameters : (n,) in the section.

    Returns
    -------
    `mean` and `median` by number, in the unit of the diameters; `negative_share`, the share of all
    grains that was set to none: where it is large, the grains are too few or no spheres.
    """
    width = float(diameters.max()) / SALTYKOV_CLASSES * (1 + 1e-9)
    edges = width * np.arange(SALTYKOV_CLASSES + 1)
    seen = np.histogram(diameters, edges)[0].astype(float)

    # A sphere of the upper diameter of class j shows a circle of class i with this probability.
    j = np.arange(1, SALTYKOV_CLASSES + 1)[None]
    i = np.arange(1, SALTYKOV_CLASSES + 1)[:, None]
    outer = np.sqrt(np.maximum(j**2 - (i - 1) ** 2, 0))
    inner = np.sqrt(np.maximum(j**2 - i**2, 0))
    in_space = np.linalg.solve(np.triu(outer - inner), seen)

    negative = np.maximum(-in_space, 0).sum()
    counts = np.maximum(in_space, 0)
    largest = edges[1:]
    shares = np.cumsum(counts) / counts.sum()
    # Half a class further, since the spheres of a class are as large as its upper end.
    median = np.interp(0.5, [0, *shares], edges) + width / 2
    return {
        "mean": significant((counts * largest).sum() / counts.sum()),
        "median": significant(min(median, largest[-1])),
        "negative_share": significant(negative / (negative + counts.sum())),
    }


def normal_distance(values: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance of values (n,) from the normal distribution fitted to them.

    `scipy.stats.kstest` gives the same, but takes half a second to import.
    """
    expected = ndtr(np.sort((values - values.mean()) / values.std()))
    steps = np.arange(len(values) + 1) / len(values)
    return float(
        max((steps[1:] - expected).max(), (expected - steps[:-1]).max())
    )


def interval(
    mean: float,
    low: float | None,
    high: float | None,
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

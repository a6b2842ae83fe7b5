"""Grain sizes from closed grains: each grain, their distribution, and the grain-size numbers of ASTM E112.

Labels are int32 (H, W), a partition into grains from 1, or all 0 when there is none. Lengths are in pixels unless a name says
otherwise. ASTM E112 asks for several fields; intervals here are of one micrograph, from its own lines or parts, and say nothing of
the rest of the specimen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtrit

STRIP = 1 << 22  # pixels that are held at once
# step and the distance between lines of pixels that way
DIRECTIONS = (0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.5**0.5), (1, -1, 0.5**0.5)
LINES = 10  # test lines a direction
CIRCLES = (0.45, 0.3, 0.15)  # radii of the test circles, of the shorter side: three, as 3 : 2 : 1
PARTS = 3  # the micrograph is cut into 3 x 3 for intervals


@dataclass(frozen=True)
class Grains:
    """Of each grain, arrays (n,): area, centre (row, column), equivalent diameter, perimeter (Crofton), ratio of the axes of the
    ellipse of equal second moments, orientation of its major axis in degrees, counter-clockwise from horizontal, within (-90, 90],
    and whether it touches the frame."""

    area: np.ndarray
    row: np.ndarray
    column: np.ndarray
    diameter: np.ndarray
    perimeter: np.ndarray
    aspect_ratio: np.ndarray
    orientation: np.ndarray
    touches_frame: np.ndarray


def strips(labels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """First row and rows of each strip."""
    rows = max(1, STRIP // labels.shape[1])
    for top in range(0, len(labels), rows):
        yield top, labels[top : top + rows]


def areas(labels: np.ndarray) -> np.ndarray:
    """Pixels of each grain (n,)."""
    count = int(labels.max()) + 1
    return sum(np.bincount(strip.ravel(), minlength=count) for _, strip in strips(labels))[1:]


def equivalent_diameters(labels: np.ndarray) -> np.ndarray:
    """Diameters (n,) of the circles of equal area."""
    return np.sqrt(4 * areas(labels) / np.pi)


def whole(labels: np.ndarray) -> np.ndarray:
    """True (n,) for grains that do not touch the frame."""
    found = np.ones(labels.max() + 1, bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        found[edge] = False
    return found[1:]


def measured(labels: np.ndarray) -> Grains:
    """Every grain's measures."""
    count = int(labels.max()) + 1
    sums = np.zeros((5, count))
    crossings = np.zeros(count)
    columns = np.arange(labels.shape[1], dtype=np.float64)

    for top, strip in strips(labels):
        rows = np.arange(top, top + len(strip), dtype=np.float64)[:, None]
        for k, weight in enumerate(
            (
                rows + 0 * columns,
                0 * rows + columns,
                rows**2 + 0 * columns,
                0 * rows + columns**2,
                rows * columns,
            )
        ):
            sums[k] += np.bincount(strip.ravel(), weight.ravel(), count)

        below = labels[top + len(strip) : top + len(strip) + 1]  # the next row, or the frame
        padded = np.zeros((len(strip) + 1, labels.shape[1] + 2), labels.dtype)
        padded[:-1, 1:-1] = strip
        padded[-1, 1:-1] = below if len(below) else 0
        if top == 0:
            padded = np.vstack([np.zeros_like(padded[:1]), padded])
        for down, right, spacing in DIRECTIONS:
            a = padded[: len(padded) - down, max(0, -right) : padded.shape[1] - max(0, right)]
            b = padded[down:, max(0, right) : padded.shape[1] + min(0, right)]
            if not down:  # the last row is the next strip's first
                a = a[:-1]
                b = b[:-1]
            across = a != b
            crossings += spacing * (
                np.bincount(a[across], minlength=count) + np.bincount(b[across], minlength=count)
            )

    area = areas(labels).astype(np.float64)
    row, column, row2, column2, mixed = sums[:, 1:] / area
    # second moments of unit squares, not of their centres: a twelfth more
    rr = row2 - row**2 + 1 / 12
    cc = column2 - column**2 + 1 / 12
    rc = mixed - row * column
    half_trace = (rr + cc) / 2
    root = np.sqrt(((rr - cc) / 2) ** 2 + rc**2)

    return Grains(
        area=area,
        row=row,
        column=column,
        diameter=np.sqrt(4 * area / np.pi),
        perimeter=np.pi
        / 2
        * crossings[1:]
        / len(DIRECTIONS),  # Cauchy-Crofton over four directions
        aspect_ratio=np.sqrt((half_trace + root) / (half_trace - root)),
        orientation=np.degrees(
            np.arctan2(0.0 - 2 * rc, cc - rr) / 2
        ),  # 0 - 0 is +0: 90 degrees, not -90
        touches_frame=~whole(labels),
    )


# --- the distribution


def percentiles(values: np.ndarray, weights: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """The least values up to which the given shares of the summed weights lie: a weight of 2 is as good as a repetition."""
    return np.quantile(values, shares, method="inverted_cdf", weights=weights)


def distribution(diameters: np.ndarray, areas: np.ndarray) -> dict[str, Any]:
    """Number and area-weighted mean, D10, D50 and D90 of diameters (n,), and a log-normal fit: its median, geometric standard
    deviation, and the Kolmogorov-Smirnov distance from it."""
    found = {}
    for name, weights in (("number", np.ones(len(diameters))), ("area", areas)):
        d10, d50, d90 = percentiles(diameters, weights, (0.1, 0.5, 0.9))
        values = {
            "mean": (diameters * weights).sum() / weights.sum(),
            "d10": d10,
            "d50": d50,
            "d90": d90,
        }
        found[f"{name}_weighted"] = {key: significant(value) for key, value in values.items()}

    logs = np.log(diameters)
    fit = {
        "median": significant(np.exp(logs.mean())),
        "geometric_deviation": significant(np.exp(logs.std())),
    }
    fit["ks_distance"] = significant(normal_distance(logs)) if logs.std() > 0 else None

    return found | {"log_normal": fit}


def normal_distance(values: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance of values (n,) from the normal distribution with their mean and deviation; `scipy.stats.kstest`
    gives the same, but takes half a second to import."""
    expected = ndtr(np.sort((values - values.mean()) / values.std()))
    steps = np.arange(len(values) + 1) / len(values)
    return float(max((steps[1:] - expected).max(), (expected - steps[:-1]).max()))


# --- grain-size numbers (ASTM E112-13, table 4 and its equations)


def g_from_intercept(millimetres: float) -> float:
    """ASTM grain-size number of a mean lineal intercept: G = -6.643856 log10(l) - 3.288."""
    return -6.643856 * np.log10(millimetres) - 3.288


def g_from_density(grains_per_square_millimetre: float) -> float:
    """ASTM grain-size number of a number of grains per area at 1 x: G = 3.321928 log10(N_A) - 2.954."""
    return 3.321928 * np.log10(grains_per_square_millimetre) - 2.954


def intercepts(labels: np.ndarray) -> np.ndarray:
    """Summed length and intercepts of the test lines of five patterns, (5, 2): LINES each in four directions, ends at the frame
    counting half, so that a line's number is that of the boundaries it crosses; and three circles."""
    height, width = labels.shape
    found = np.zeros((5, 2))
    for k in range(LINES):
        share = (k + 0.5) / LINES
        offset = int(share * (height + width)) - height
        lines = (
            labels[int(share * height)],
            labels[:, int(share * width)],
            np.diagonal(labels, offset),
            np.diagonal(labels[:, ::-1], offset),
        )
        for pattern, (line, spacing) in enumerate(zip(lines, (1, 1, 2**0.5, 2**0.5), strict=True)):
            found[pattern] += max(0, len(line) - 1) * spacing, crossed(line)

    for share in CIRCLES:
        radius = share * min(height, width)
        angle = np.linspace(0, 2 * np.pi, max(8, int(2 * np.pi * radius)) + 1)
        rows = (height - 1) / 2 + radius * np.sin(angle)
        columns = (width - 1) / 2 + radius * np.cos(angle)
        found[4] += (
            2 * np.pi * radius,
            crossed(labels[np.rint(rows).astype(int), np.rint(columns).astype(int)]),
        )

    return found


def line_density(labels: np.ndarray) -> float:
    """Boundaries crossed per pixel of test line, the five patterns counting alike, whatever the shape of the frame."""
    lengths, counts = intercepts(labels).T
    return float((counts / lengths).mean())


def over_parts(labels: np.ndarray, value: Callable[[np.ndarray], float]) -> float:
    """Half of the 95 % confidence interval of a positive value's mean, relative to it, from its spread over 3 x 3 parts."""
    parts = [
        value(part)
        for third in np.array_split(labels, PARTS, axis=0)
        for part in np.array_split(third, PARTS, axis=1)
    ]
    mean = np.mean(parts)

    return (
        float(stdtrit(PARTS**2 - 1, 0.975) * np.std(parts, ddof=1) / PARTS / mean)
        if mean
        else np.inf
    )


def crossed(line: np.ndarray) -> int:
    """Boundaries between the grains (n,) along a line."""
    return int((line[1:] != line[:-1]).sum())


def mean_intercept(labels: np.ndarray) -> tuple[float, float, float] | None:
    """Mean lineal intercept with the ends of its 95 % confidence interval; None when nothing is crossed. The upper end is infinite
    when the parts differ too much."""
    found = line_density(labels)
    if not found:
        return None
    half = over_parts(labels, line_density)
    return 1 / found, 1 / (found * (1 + half)), 1 / (found * (1 - half)) if half < 1 else np.inf


def planimetric_count(labels: np.ndarray) -> float:
    """Grains in the frame by Jeffries' rule: inside 1, cut by an edge 1/2, at a corner 1/4."""
    at_corner = {int(labels[r, c]) for r in (0, -1) for c in (0, -1)}
    inside = whole(labels)
    return float(
        inside.sum() + 0.5 * ((~inside).sum() - len(at_corner)) + 1.0
    )  # four corners, a quarter each


def density(labels: np.ndarray) -> tuple[float, float, float]:
    """Grains per square pixel by the planimetric count with the ends of its 95 % confidence interval, each grain shared out to the
    parts by area; the lower end is at least 0, and the upper infinite without a whole grain."""
    found = planimetric_count(labels) / labels.size
    if not whole(labels).any():
        return found, 0.0, np.inf
    share = np.concatenate([[0], 1 / areas(labels)])
    half = over_parts(labels, lambda part: float(np.mean([share[row].mean() for row in part])))
    return found, found * max(0.0, 1 - half), found * (1 + half)


def summary(
    labels: np.ndarray, grains: Grains, micrometres_per_pixel: float | None
) -> dict[str, Any]:
    """What engineers ask of a micrograph, lengths in micrometres, or in pixels without a scale: None where nothing can be said."""
    unit = micrometres_per_pixel or 1.0
    counted = ~grains.touches_frame
    found = {
        "unit": "micrometre" if micrometres_per_pixel else "pixel",
        "grains": len(counted),
        "whole_grains": int(counted.sum()),
    }

    if not len(counted):
        return found | {
            "diameter": None,
            "elongation": None,
            "mean_intercept": None,
            "astm_g": None,
        }

    counted = counted if counted.any() else ~counted
    found["diameter"] = distribution(
        grains.diameter[counted] * unit, grains.area[counted] * unit**2
    )
    found["elongation"] = significant(np.median(grains.aspect_ratio[counted]))
    intercept = mean_intercept(labels)
    count = density(labels)
    found["mean_intercept"] = interval(*(x * unit for x in intercept)) if intercept else None
    found["intercepts"] = int(intercepts(labels)[:, 1].sum())
    density_name, each = (
        ("grains_per_mm2", 1e6) if micrometres_per_pixel else ("grains_per_px2", 1.0)
    )
    found[density_name] = interval(*(x * each / unit**2 for x in count))
    found["astm_g"] = None

    if micrometres_per_pixel:
        by_count = interval(
            *(g_from_density(x * 1e6 / unit**2) if 0 < x < np.inf else None for x in count)
        )
        found["astm_g"] = {"planimetric": by_count}
        if intercept:
            mean, low, high = (x * unit / 1000 for x in intercept)
            found["astm_g"]["intercept"] = interval(
                g_from_intercept(mean), g_from_intercept(high), g_from_intercept(low)
            )

    return found


def interval(mean: float, low: float | None, high: float | None) -> dict[str, float | None]:
    """A mean with its 95 % confidence interval; an end that is not finite is None."""
    ends = {
        k: significant(x) if x is not None and np.isfinite(x) else None
        for k, x in (("low", low), ("high", high))
    }
    return {"mean": significant(mean), **ends}


def significant(value: float) -> float:
    """Six significant digits."""
    return float(f"{value:.6g}")

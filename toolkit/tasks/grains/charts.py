"""Draw distributions of diameters as pictures: shares against a logarithmic axis."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from hvd.toolkit import pictures
from hvd.toolkit.tasks.grains.sizes import Grains

COLOURS = (
    (31, 90, 180),
    (214, 110, 20),
    (40, 140, 60),
    (150, 60, 160),
    (120, 80, 40),
    (0, 150, 160),
    (200, 40, 90),
    (110, 110, 110),
)
RULE = (225, 225, 225)
INK = (pictures.INK,) * 3

# Pixels: the size of the picture, and the axes in it.
WIDTH, HEIGHT = 1200, 700
LEFT, RIGHT, TOP, BOTTOM = 110, 1170, 70, 620
MARK = 5  # radius of the mark of a curve that has few values
FEW = 8


def distribution_chart(
    name: str,
    grains: Grains,
    values: dict[str, Any],
    scale: Any,
    unit: str,
) -> np.ndarray:
    """Histogram and cumulative share of the equivalent diameters, by number and by area.

    Parameters
    ----------
    name : of the micrograph.
    grains : their sizes in pixels.
    values : the record of these grains, as `summary.summary` gives it.
    scale : micrometres per pixel and its source.
    unit : "um" or "px".

    Returns
    -------
    RGB uint8 (H, W, 3).
    """
    if not values["diameter"]:
        return chart([], [], f"{name}: no size is given, see the notes", "")

    counted = ~grains.touches_frame
    pixel = scale.micrometres_per_pixel or 1
    diameters = grains.diameter[counted] * pixel
    areas = grains.area[counted]

    # As many classes as the number of grains can fill.
    bins = int(np.clip(2 * len(diameters) ** (1 / 3), 6, 40))
    low = 0.98 * diameters.min()
    high = 1.02 * diameters.max()
    edges = np.geomspace(low, high, bins + 1)
    order = np.argsort(diameters)

    bars = []
    curves = []
    for weighting, weights in (
        ("number", np.ones(len(areas))),
        ("area", areas),
    ):
        counts, _ = np.histogram(diameters, edges, weights=weights)
        bars.append((f"by {weighting}", edges, counts / weights.sum()))
        its = values["diameter"][f"{weighting}_weighted"]
        label = (
            f"by {weighting}: D10 {its['d10']:.3g}, D50 {its['d50']:.3g}, "
            f"D90 {its['d90']:.3g} {unit}"
        )
        shares = np.cumsum(weights[order]) / weights.sum()
        curves.append((label, diameters[order], shares))

    title = f"{name}: {len(areas)} whole grains"
    if values["astm_g"]:
        title += f", ASTM G {values['astm_g']['planimetric']['mean']:.1f}"
    if scale.micrometres_per_pixel:
        title += f"; {pixel:.4g} um a pixel ({scale.source})"
    else:
        title += "; no scale: lengths in pixels"

    return chart(bars, curves, title, f"equivalent diameter, {unit}")


@dataclass(frozen=True)
class Axes:
    """Where values and shares stand on a sheet; `low` and `high` are logarithms of the ends."""

    low: float
    high: float

    def x_of(self, values: np.ndarray | float) -> np.ndarray:
        """Columns of positive values."""
        share = (np.log(values) - self.low) / (self.high - self.low)
        columns = LEFT + share * (RIGHT - LEFT)
        return np.rint(columns).astype(int)

    def y_of(self, shares: np.ndarray | float) -> np.ndarray:
        """Rows of shares from 0 to 1."""
        rows = BOTTOM - np.asarray(shares) * (BOTTOM - TOP)
        return np.rint(rows).astype(int)


def chart(
    bars: list[tuple],
    curves: list[tuple],
    title: str,
    label: str,
) -> np.ndarray:
    """Shares against a logarithmic axis, RGB uint8 (700, 1200, 3).

    Parameters
    ----------
    bars : histograms as (name, edges, shares); at most two, drawn as outlines.
    curves : as (name, ascending values, shares).
    title : stands above the chart.
    label : of the logarithmic axis.
    """
    sheet = np.full((HEIGHT, WIDTH, 3), pictures.PAPER, np.uint8)
    size = 0.7 * min(1, 95 / max(1, len(title)))
    pictures.put_text(sheet, title, (LEFT, 40), size)
    if not bars and not curves:
        return sheet

    axes = axes_for([values for _, values, _ in (*bars, *curves)])
    draw_grid(sheet, axes)
    middle = (LEFT + RIGHT) // 2
    place = middle - 5 * len(label), BOTTOM + 60
    pictures.put_text(sheet, label, place, 0.6)
    upright = "share up to this size"
    if bars:
        upright += ", and of each bar"
    put_upright_text(sheet, upright)

    for k, (_, edges, shares) in enumerate(bars):
        draw_bars(sheet, axes.x_of(edges), axes.y_of(shares), k)
    for k, (_, values, shares) in enumerate(curves):
        draw_curve(sheet, axes.x_of(values), axes.y_of(shares), k)

    # The legend, in the corner that rising curves leave free.
    for k, (name, *_) in enumerate(curves or bars):
        y = TOP + 22 + 28 * k
        cv2.line(sheet, (LEFT + 20, y), (LEFT + 60, y), COLOURS[k], 3)
        pictures.put_text(sheet, name, (LEFT + 70, y + 6), 0.6)

    cv2.rectangle(sheet, (LEFT, TOP), (RIGHT, BOTTOM), INK, 1)
    return sheet


def axes_for(values: list[np.ndarray]) -> Axes:
    """Axes that span all values; a single value gets some room on either side."""
    joined = np.concatenate(values)
    low = float(np.log(joined.min()))
    high = float(np.log(joined.max()))
    if high <= low:
        return Axes(low - 0.1, high + 0.1)
    return Axes(low, high)


def draw_grid(sheet: np.ndarray, axes: Axes) -> None:
    """Draw rules at quarters, and numbers along both axes, in place."""
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = int(axes.y_of(share))
        cv2.line(sheet, (LEFT, y), (RIGHT, y), RULE, 1)
        pictures.put_text(sheet, f"{share:.0%}", (LEFT - 52, y + 6), 0.5)

    for tick in ticks(np.exp(axes.low), np.exp(axes.high)):
        x = int(axes.x_of(tick))
        text = f"{tick:g}"
        cv2.line(sheet, (x, BOTTOM), (x, BOTTOM + 6), INK, 1)
        place = x - 4 * len(text), BOTTOM + 26
        pictures.put_text(sheet, text, place, 0.5)


def draw_curve(
    sheet: np.ndarray,
    columns: np.ndarray,
    rows: np.ndarray,
    k: int,
) -> None:
    """Draw the k-th curve through points (n,), in place."""
    points = np.stack([columns, rows], axis=1).astype(np.int32)
    cv2.polylines(sheet, [points], False, COLOURS[k], 2, cv2.LINE_AA)

    # A curve of one value would be no more than a dot.
    if len(points) <= FEW:
        for point in points.tolist():
            cv2.circle(sheet, point, MARK, COLOURS[k], -1, cv2.LINE_AA)


def put_upright_text(sheet: np.ndarray, text: str) -> None:
    """Write the title of the upright axis, from bottom to top, in place."""
    width = cv2.getTextSize(text, pictures.FONT, 0.6, 1)[0][0]
    strip = np.full((26, width + 4, 3), pictures.PAPER, np.uint8)
    pictures.put_text(strip, text, (2, 19), 0.6)
    turned = cv2.rotate(strip, cv2.ROTATE_90_COUNTERCLOCKWISE)
    top = (TOP + BOTTOM - len(turned)) // 2
    pictures.paste(sheet, turned, top, 14)


def draw_bars(
    sheet: np.ndarray,
    edges: np.ndarray,
    tops: np.ndarray,
    k: int,
) -> None:
    """Draw the outline of the k-th histogram, in place; the first one is filled."""
    left = edges[:-1].tolist()
    right = edges[1:].tolist()
    heights = tops.tolist()

    if k == 0:
        pale = tuple(255 - (255 - c) // 4 for c in COLOURS[k])
        for start, end, top in zip(left, right, heights, strict=True):
            corner = end - 1, BOTTOM - 1
            cv2.rectangle(sheet, (start, top), corner, pale, -1)

    outline = [(left[0], BOTTOM)]
    for start, end, top in zip(left, right, heights, strict=True):
        outline += [(start, top), (end, top)]
    outline.append((right[-1], BOTTOM))
    points = np.array(outline, np.int32)
    cv2.polylines(sheet, [points], False, COLOURS[k], 1, cv2.LINE_AA)


def ticks(low: float, high: float) -> list[float]:
    """Numbers from one positive number to another, both included, for a logarithmic axis.

    1, 2 and 5 of every power of ten; closer steps where these are fewer than three.
    """
    exponents = range(
        int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1
    )
    round_steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    for steps in ((1, 2, 5), round_steps, np.arange(1, 10, 0.1)):
        numbers = []
        for exponent in exponents:
            for step in steps:
                number = step * 10.0**exponent
                if low <= number <= high:
                    numbers.append(float(f"{number:.3g}"))

        if len(numbers) > 2:
            numbers = numbers[:: -(-len(numbers) // 10)]  # ten at most
            break
    else:
        numbers = []

    # The ends of the axis, where no other number is close.
    room = 0.06 * np.log(high / low)
    for end, rounding in ((low, np.ceil), (high, np.floor)):
        if all(abs(np.log(end / number)) > room for number in numbers):
            # To three digits, but not beyond the axis.
            step = 10.0 ** (np.floor(np.log10(end)) - 2)
            whole = rounding(round(end / step, 6))
            numbers.append(float(f"{whole * step:.3g}"))
    return sorted(numbers)

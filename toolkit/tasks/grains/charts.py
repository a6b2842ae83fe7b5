"""Draw distributions as pictures: shares against a logarithmic axis."""

import cv2
import numpy as np

from hvd.toolkit import pictures

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
LEFT, RIGHT, TOP, BOTTOM = 90, 1170, 70, 620


def chart(
    bars: list[tuple], curves: list[tuple], title: str, label: str
) -> np.ndarray:
    """Shares against a logarithmic axis, RGB uint8 (700, 1200, 3).

    Parameters
    ----------
    bars : histograms as (name, edges, shares); at most two, drawn side by side.
    curves : as (name, ascending values, shares).
    title : stands above the chart.
    label : of the logarithmic axis.
    """
    sheet = np.full((HEIGHT, WIDTH, 3), pictures.PAPER, np.uint8)
    pictures.put_text(
        sheet, title, (LEFT, 40), 0.7 * min(1, 95 / max(1, len(title)))
    )
    if not bars and not curves:
        return sheet

    # The axis spans all values; a single value gets some room on either side.
    all_values = np.concatenate([values for _, values, _ in (*bars, *curves)])
    low = np.log(all_values.min())
    high = np.log(all_values.max())
    if high <= low:
        low, high = low - 0.1, high + 0.1

    def x_of(values: np.ndarray | float) -> np.ndarray:
        share = (np.log(values) - low) / (high - low)
        return np.rint(LEFT + share * (RIGHT - LEFT)).astype(int)

    def y_of(shares: np.ndarray) -> np.ndarray:
        return np.rint(BOTTOM - np.asarray(shares) * (BOTTOM - TOP)).astype(int)

    for share in (0, 0.25, 0.5, 0.75, 1):
        y = int(BOTTOM - share * (BOTTOM - TOP))
        cv2.line(sheet, (LEFT, y), (RIGHT, y), RULE, 1)
        pictures.put_text(sheet, f"{share:.0%}", (LEFT - 62, y + 6), 0.5)

    for tick in ticks(np.exp(low), np.exp(high)):
        x = int(x_of(tick))
        text = f"{tick:g}"
        cv2.line(sheet, (x, BOTTOM), (x, BOTTOM + 6), INK, 1)
        pictures.put_text(sheet, text, (x - 4 * len(text), BOTTOM + 26), 0.5)
    pictures.put_text(
        sheet, label, ((LEFT + RIGHT) // 2 - 5 * len(label), BOTTOM + 60), 0.6
    )

    for k, (_, edges, shares) in enumerate(bars):
        draw_bars(
            sheet,
            x_of(edges),
            BOTTOM - np.rint(shares * (BOTTOM - TOP)).astype(int),
            k,
        )

    for k, (_, values, shares) in enumerate(curves):
        points = np.stack([x_of(values), y_of(shares)], 1).astype(np.int32)
        cv2.polylines(sheet, [points], False, COLOURS[k], 2, cv2.LINE_AA)

    for k, (name, *_) in enumerate(curves or bars):
        y = TOP + 22 + 28 * k
        cv2.line(sheet, (LEFT + 20, y), (LEFT + 60, y), COLOURS[k], 3)
        pictures.put_text(sheet, name, (LEFT + 70, y + 6), 0.6)

    cv2.rectangle(sheet, (LEFT, TOP), (RIGHT, BOTTOM), INK, 1)
    return sheet


def draw_bars(
    sheet: np.ndarray, edges: np.ndarray, tops: np.ndarray, k: int
) -> None:
    """Draw the k-th histogram in pale colours: the first fills the left half of each bin."""
    pale = tuple(int(255 - 0.45 * (255 - c)) for c in COLOURS[k])
    middle = (edges[1:] + edges[:-1]) // 2
    starts, ends = (
        (edges[:-1] + 1, middle) if k == 0 else (middle, edges[1:] - 1)
    )
    for start, end, top in zip(starts, ends, tops, strict=True):
        cv2.rectangle(
            sheet, (int(start), int(top)), (int(end), BOTTOM), pale, -1
        )


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between two positive ones, at least two, for a logarithmic axis.

    1, 2 and 5 of every power of ten; closer steps where these are fewer than three.
    """
    exponents = range(
        int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1
    )
    for steps in ((1, 2, 5), range(1, 10), np.arange(1, 10, 0.1)):
        numbers = []
        for exponent in exponents:
            for step in steps:
                number = step * 10.0**exponent
                if low <= number <= high:
                    numbers.append(float(f"{number:.3g}"))

        if len(numbers) > 2:
            return numbers[:: -(-len(numbers) // 12)]  # twelve at most

    return [float(f"{low:.3g}"), float(f"{high:.3g}")]

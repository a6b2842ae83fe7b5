"""Distributions as pictures: shares against a logarithmic axis."""

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


def chart(bars: list[tuple], curves: list[tuple], title: str, label: str) -> np.ndarray:
    """Shares against a logarithmic axis, uint8 (700, 1200, 3): `bars` (name, edges, shares) and
    `curves` (name, ascending values, shares)."""
    sheet = np.full((700, 1200, 3), pictures.PAPER, np.uint8)
    left = 90
    right = 1170
    top = 70
    bottom = 620
    pictures.put_text(sheet, title, (left, 40), 0.7 * min(1, 95 / max(1, len(title))))
    values = [values for _, values, _ in (*bars, *curves)]
    if not values:
        return sheet
    low, high = (np.log(f([f(v) for v in values])) for f in (min, max))
    low, high = (low, high) if high > low else (low - 0.1, high + 0.1)

    def across(x: np.ndarray) -> np.ndarray:
        return np.rint(left + (np.log(x) - low) / (high - low) * (right - left)).astype(int)

    for share in (0, 0.25, 0.5, 0.75, 1):
        y = int(bottom - share * (bottom - top))
        cv2.line(sheet, (left, y), (right, y), (225, 225, 225), 1)
        pictures.put_text(sheet, f"{share:.0%}", (left - 62, y + 6), 0.5)

    for tick in ticks(np.exp(low), np.exp(high)):
        x = int(across(tick))
        cv2.line(sheet, (x, bottom), (x, bottom + 6), (pictures.INK,) * 3, 1)
        pictures.put_text(sheet, f"{tick:g}", (x - 4 * len(f"{tick:g}"), bottom + 26), 0.5)

    pictures.put_text(sheet, label, ((left + right) // 2 - 5 * len(label), bottom + 60), 0.6)
    for k, (_, edges, heights) in enumerate(bars):
        x = across(edges)
        tall = np.rint(heights * (bottom - top)).astype(int)
        middle = (x[1:] + x[:-1]) // 2
        for start, end, height in zip(
            *((x[:-1] + 1, middle) if k == 0 else (middle, x[1:] - 1)), tall, strict=True
        ):
            pale = tuple(int(255 - 0.45 * (255 - c)) for c in COLOURS[k])
            cv2.rectangle(sheet, (int(start), bottom - int(height)), (int(end), bottom), pale, -1)

    for k, (_, x, shares) in enumerate(curves):
        points = np.stack(
            [across(x), np.rint(bottom - shares * (bottom - top)).astype(int)], 1
        ).astype(np.int32)
        cv2.polylines(sheet, [points], False, COLOURS[k], 2, cv2.LINE_AA)

    for k, (name, *_) in enumerate(curves or bars):
        cv2.line(
            sheet, (left + 20, top + 22 + 28 * k), (left + 60, top + 22 + 28 * k), COLOURS[k], 3
        )
        pictures.put_text(sheet, name, (left + 70, top + 28 + 28 * k), 0.6)

    cv2.rectangle(sheet, (left, top), (right, bottom), (pictures.INK,) * 3, 1)
    return sheet


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between two positive ones, two at least: 1, 2 and 5 of every power of ten, or closer ones."""
    powers = [
        10.0**p for p in range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ]
    for steps in ((1, 2, 5), range(1, 10), np.arange(1, 10, 0.1)):
        found = [
            float(f"{step * power:.3g}")
            for power in powers
            for step in steps
            if low <= step * power <= high
        ]
        if len(found) > 2:
            return found[:: -(-len(found) // 12)]

    return [float(f"{low:.3g}"), float(f"{high:.3g}")]

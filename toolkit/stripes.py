"""Missing lines: their masks, described, drawn, and recognised in damaged scans.

Masks are bool (H, W), True where missing. Angles are in degrees: 0 = rows, 90 = columns.
"""

import re
from dataclasses import dataclass

import cv2
import numpy as np

from toolkit.core import ToolkitError

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


def stripes(shape: tuple[int, int], width: float, period: float, angle: float, phase: float = 0) -> np.ndarray:
    """Parallel lines, each `width` pixels of every `period` missing, measured along rows or columns, whichever the lines cross
    more steeply; `phase` in pixels."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    across = columns + rows * cosine / sine if abs(sine) > abs(cosine) else rows + columns * sine / cosine
    return np.floor(across + phase + 1e-9) % period < width


def scattered(shape: tuple[int, int], share: float, columns: bool, rng: np.random.Generator) -> np.ndarray:
    """A share of the rows, or columns, at random places."""
    length = shape[int(columns)]
    line = np.zeros(length, bool)
    line[rng.permutation(length)[: round(share * length)]] = True
    return np.broadcast_to(line if columns else line[:, None], shape).copy()


def described(text: str, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The mask that a description names: `task`, `WIDTH/PERIOD@ANGLE` such as 2/4@45, or `random:SHARE` of the rows."""
    if text == "task":
        if shape != TASK_MASK.shape:
            height, width = shape
            raise ToolkitError(f"The task's mask is 64 x 64, the scan {width} x {height}.", "Give another --mask: 2/4@80, say.", 2)
        return TASK_MASK
    number = r"(\d+(?:\.\d+)?)"
    if found := re.fullmatch(rf"{number}/{number}@{number}", text):
        width, period, angle = map(float, found.groups())
        if 0 < width < period <= 64 and angle < 180:
            return stripes(shape, width, period, angle)
    if (found := re.fullmatch(rf"random:{number}", text)) and 0 < float(found[1]) < 1:
        return scattered(shape, float(found[1]), False, rng)
    remedy = "Give task, a file, WIDTH/PERIOD@ANGLE (lines of 0 < WIDTH < PERIOD <= 64 pixels, 0 <= ANGLE < 180), or random:SHARE."
    raise ToolkitError(f"There is no mask {text!r}.", remedy, status=2)


@dataclass(frozen=True)
class Recognised:
    """A mask found in damaged scans: `missing` bool (H, W), how it was told, and the share of the pixels on bright ground that it
    explains, 0 to 1."""

    missing: np.ndarray
    kind: str
    confidence: float


UNDESCRIBED = "zero in more than half of the scans"
BRIGHT = 0.08  # of the brightest: a zero on ground brighter than this is no background
SURE = 0.95  # a description must explain this share to be believed to the last pixel
LIKELY = 0.85  # a fitted description, whose rounding to pixels may differ here and there
FEW, HOLES = 0.005, 0.1  # of the bright ground: zeros as rare are no lines; and are none when they lie on no line
BATCH = 8  # scans from which a mask shows without a description


def recognised(images: np.ndarray) -> Recognised:
    """The mask that damaged scans share, (N, H, W) with zeros where pixels are missing.

    A pixel is missing when it is zero in more than half of the scans that are bright around it. Which zeros on dark ground are
    missing, a description tells that fits on bright ground: the task's mask, whole rows or columns, or parallel lines. Raises
    ToolkitError when nothing fits.
    """
    level = np.quantile(images, 0.99)
    around = np.stack([cv2.boxFilter(image, cv2.CV_32F, (9, 9), borderType=cv2.BORDER_REFLECT) for image in images])
    bright = (around > BRIGHT * level).sum(0)
    zeros = ((images == 0) & (around > BRIGHT * level)).sum(0)
    ground = bright > 0
    dark = np.where(ground, zeros > 0.5 * bright, (images == 0).all(0))
    if not ground.any():
        raise ToolkitError("The scan is black.", "Give --mask FILE, 1 = missing.")
    share = float(dark[ground].mean())
    complete = Recognised(np.zeros(dark.shape, bool), "none", 1 - share)
    if share <= FEW:
        return complete

    def explained(mask: np.ndarray) -> float:
        return float((dark & mask & ground).sum() / ((dark | mask) & ground).sum())

    candidates = {"rows": whole_lines(dark, ground), "columns": whole_lines(dark.T, ground.T).T}
    if dark.shape == TASK_MASK.shape:
        candidates["task"] = TASK_MASK
    kind = max(candidates, key=lambda name: explained(candidates[name]))
    confidence = explained(candidates[kind])
    if confidence >= SURE:
        return Recognised(candidates[kind] & dark, kind, confidence)
    lines = fitted(dark, ground)
    if explained(lines) >= LIKELY:
        return Recognised(dark & (lines | ground), "parallel lines", explained(lines))
    if share <= HOLES:
        return complete
    seen = float((ground | ~dark).mean())
    if len(images) >= BATCH and seen >= SURE:
        return Recognised(dark & ground, UNDESCRIBED, seen)
    reason = (
        f"Which pixels are missing cannot be told: the best guess, {kind}, explains {confidence:.0%} of the zeros on bright ground."
    )
    raise ToolkitError(reason, "Give --mask FILE, 1 = missing, or save missing pixels as NaN.")


def whole_lines(dark: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Rows that are dark all along their bright ground, or all along when they have none."""
    seen = ground.any(1)
    line = np.where(seen, (dark | ~ground).all(1), dark.all(1))
    return np.broadcast_to(line[:, None], dark.shape)


def fitted(dark: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """The parallel lines that agree best with zeros on bright ground: their wave is sought in the spectrum, then refined."""
    share = dark[ground].mean()
    wave = np.where(ground, dark - share, 0)
    height, width = wave.shape
    spectrum = np.abs(np.fft.fft2(wave, (4 * height, 4 * width)))
    down, along = (np.abs(np.fft.fftfreq(4 * n)) for n in wave.shape)
    spectrum[np.hypot(down[:, None], along) < 0.03] = 0
    peak = np.unravel_index(spectrum.argmax(), spectrum.shape)
    first = np.array([np.fft.fftfreq(4 * n)[k] for n, k in zip(wave.shape, peak, strict=True)])
    best, agreement = np.zeros(dark.shape, bool), -1.0
    rows, columns = np.mgrid[:height, :width]
    for step in np.stack(np.meshgrid(*(np.linspace(-0.25, 0.25, 9) / n for n in wave.shape), indexing="ij"), -1).reshape(-1, 2):
        down, along = first + step
        across = rows + columns * along / down if abs(down) > abs(along) else columns + rows * down / along
        period = 1 / max(abs(down), abs(along))
        turn = np.angle((wave * np.exp(2j * np.pi * across / period)).sum()) / (2 * np.pi)
        for offset in (-0.5, 0.0, 0.5):
            lines = (np.floor(across) - turn * period + share * period / 2 + offset) % period < share * period
            score = (dark & lines & ground).sum() / ((dark | lines) & ground).sum()
            if score > agreement:
                best, agreement = lines, score
    return best

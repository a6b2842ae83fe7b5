"""Masks of missing lines, made from a description; `recognition` finds them in damaged scans.

Masks are bool (H, W), True where missing. Angles are in degrees: 0 = rows, 90 = columns.
"""

import re

import numpy as np

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

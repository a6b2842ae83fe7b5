"""Answer a micrograph at the size at which its details are neither blurred nor too fine.

Many micrographs are stored larger than their detail asks for: enlarged, or taken through a lens
that shows less than the camera could. Microscopists call that empty magnification. It is taken
away before methods look at the picture, so that the same scene has the same grains at any size.
"""

from collections.abc import Callable

import cv2
import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains.boundaries import (
    Closure,
    band_width,
    largest_pieces,
    lines,
    partition,
    probability_by_tiles,
    renumber_present,
    watershed_grains,
)
from hvd.toolkit.tasks.grains.types import SMALLEST, Micrograph

LARGEST_REDUCTION = 4
LARGEST_WORK = 32_000_000  # pixels of an enlarged picture
MIDDLE = 1024  # pixels along a side of the part that detail is measured on

# Empty magnification: the part of the fine detail that a reduced copy loses. Bicubic enlargement by
# that factor loses 0.11 to 0.25 on photographs of metals; photographs as taken lose 0.27 or more.
MOST_LOST = 0.26
NOTHING_LOST = 0.12
# Where halving takes more than this, detail is as fine as the pixels: nothing was enlarged by 3 or
# 4, as then halving loses 0.32 at most.
MUCH_LOST = 0.35


def empty_magnification(image: np.ndarray) -> int:
    """By which whole number, 1 to 4, an image (H, W) can be reduced without losing detail."""
    starts = [max(0, (length - MIDDLE) // 2) for length in image.shape]
    part = image[
        starts[0] : starts[0] + MIDDLE, starts[1] : starts[1] + MIDDLE
    ].astype(np.float32)

    if not np.ptp(part):
        return 1

    lost: dict[int, float] = {}
    for times in range(2, LARGEST_REDUCTION + 1):
        if min(part.shape) < 32 * times:
            continue
        if is_repeated(part, times):
            lost[times] = 0.0
        elif lost.get(2, 0.0) <= MUCH_LOST:
            lost[times] = lost_detail(part, times)
    # An exact reconstruction tells the very factor.
    for limit in (NOTHING_LOST, MOST_LOST):
        for times in sorted(lost, reverse=True):
            if lost[times] < limit:
                return times
    return 1


def is_repeated(image: np.ndarray, times: int) -> bool:
    """Whether every pixel of an image (H, W) stands there `times` times in both directions."""
    for offset in range(times):
        rows = image[offset:]
        rows = rows[: len(rows) // times * times]
        blocks = rows.reshape(-1, times, rows.shape[1])
        if (blocks == blocks[:, :1]).all():
            break
    else:
        return False

    columns = image.T
    for offset in range(times):
        rows = columns[offset:]
        rows = rows[: len(rows) // times * times]
        blocks = rows.reshape(-1, times, rows.shape[1])
        if (blocks == blocks[:, :1]).all():
            return True
    return False


def lost_detail(image: np.ndarray, times: int) -> float:
    """What an image (H, W) loses when it is reduced and enlarged again, as a share of its detail.

    Detail is what a blur by as many pixels takes away. Of the ways to reduce and to enlarge, the
    one that loses least counts.
    """
    height, width = (length // times * times for length in image.shape)
    image = image[:height, :width]
    size = width // times, height // times
    reduced = [cv2.resize(image, size, interpolation=cv2.INTER_AREA)]
    # The middle one of every three pixels may be that which was enlarged.
    if times % 2:
        reduced.append(image[times // 2 :: times, times // 2 :: times])

    lost = []
    for small in reduced:
        for kind in (cv2.INTER_CUBIC, cv2.INTER_LINEAR):
            back = cv2.resize(small, (width, height), interpolation=kind)
            lost.append(float(np.square(image - back).mean()))
    detail = image - cv2.GaussianBlur(image, (0, 0), float(times))
    all_of_it = float(np.square(detail).mean())
    return (min(lost) / all_of_it) ** 0.5 if all_of_it else 1.0


def resized(image: np.ndarray, scale: float) -> np.ndarray:
    """An image (H, W) enlarged (scale above 1) or reduced by a factor.

    Enlarged ones are float32, so that images of 8 and 16 bits look alike.
    """
    if scale == 1:
        return image
    if scale > 1:
        image = image.astype(np.float32)
    size = tuple(
        max(SMALLEST, round(scale * side)) for side in image.shape[::-1]
    )
    kind = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return cv2.resize(image, size, interpolation=kind)


def answer_at(
    micrograph: Micrograph,
    scale: float,
    boundary: Callable[[np.ndarray], np.ndarray],
    closure: Closure,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Boundary probability uint8 and labels int32 (H, W), computed at another size.

    Only the rectangle around the specimen is looked at. The third value is the width of the
    boundaries there, in pixels of the micrograph.

    Parameters
    ----------
    micrograph : whose image is (H, W).
    scale : by which it is enlarged, or reduced below 1, for the method.
    boundary, closure : as `boundaries.probability_by_tiles` and `boundaries.partition` take them.

    Raises
    ------
    ToolkitError
        When it is enlarged to more than LARGEST_WORK pixels.
    """
    window = specimen_window(micrograph)
    image = micrograph.image[window]
    if scale > 1 and image.size * scale**2 > LARGEST_WORK:
        reason = f"{micrograph.name} enlarged by {scale:g} has more than {LARGEST_WORK:,} pixels."
        raise ToolkitError(reason, "Give a smaller --size, or a part of it.")
    worked_on = resized(image, scale)
    probability = probability_by_tiles(worked_on, boundary)
    labels = partition(probability, closure, worked_on)
    width = band_width(probability) / scale
    if scale != 1:
        kind = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
        shape = image.shape[::-1]
        probability = cv2.resize(probability, shape, interpolation=kind)
        labels = labels_at(labels, probability, scale)

    if image.shape == micrograph.image.shape:
        return probability, labels, width
    around = [
        (part.start, length - part.stop)
        for part, length in zip(window, micrograph.image.shape, strict=True)
    ]
    return (
        np.pad(probability, around),
        np.pad(labels, around, mode="edge"),
        width,
    )


def specimen_window(micrograph: Micrograph) -> tuple[slice, slice]:
    """Rows and columns of the rectangle around the specimen, at least as large as a micrograph."""
    shape = micrograph.image.shape
    if micrograph.inside is None:
        return slice(0, shape[0]), slice(0, shape[1])
    parts = []
    for axis, length in enumerate(shape):
        places = np.flatnonzero(micrograph.inside.any(axis=1 - axis))
        first = min(int(places[0]), length - SMALLEST)
        parts.append(slice(first, max(int(places[-1]) + 1, first + SMALLEST)))
    return parts[0], parts[1]


def labels_at(
    labels: np.ndarray,
    probability: np.ndarray,
    scale: float,
) -> np.ndarray:
    """Labels that were computed at another size, at the size of the probability uint8 (H, W)."""
    places = [
        np.minimum(
            ((np.arange(length) + 0.5) * side / length).astype(int), side - 1
        )
        for length, side in zip(probability.shape, labels.shape, strict=True)
    ]
    native = labels[places[0][:, None], places[1][None]]
    if not native.any():
        return native
    if scale > 1:
        # Where a grain is thinner than a pixel, it falls into pieces.
        return renumber_present(largest_pieces(native))

    # Enlarged pixels make stairs: boundaries are found anew within them.
    reach = 2 * round(1 / scale) + 1
    near = cv2.dilate(
        lines(native).astype(np.uint8), np.ones((reach, reach), np.uint8)
    )
    native[near > 0] = 0
    blur = cv2.GaussianBlur(probability, (0, 0), 0.5 / scale)
    return renumber_present(largest_pieces(watershed_grains(blur, native)))

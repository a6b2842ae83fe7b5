"""Cut large images into parts: tiles with margins, or parts that overlap and blend."""

from collections.abc import Iterator

import numpy as np

Window = tuple[slice, slice]


def tiles(
    shape: tuple[int, int], tile: int, margin: int
) -> Iterator[tuple[Window, Window, Window]]:
    """Cut an image into tiles with margins.

    Yields for each tile where it lies in the image, where it lies with its margin, and where it
    lies within that.
    """
    for top in range(0, shape[0], tile):
        for left in range(0, shape[1], tile):
            rows = window(top, shape[0], tile, margin)
            columns = window(left, shape[1], tile, margin)
            core, wide, inner = zip(rows, columns, strict=True)
            yield core, wide, inner


def window(
    start: int,
    length: int,
    tile: int,
    margin: int,
) -> tuple[slice, slice, slice]:
    """As `tiles`, along one axis of an image of that length."""
    core = slice(start, min(start + tile, length))
    wide = slice(max(0, core.start - margin), min(core.stop + margin, length))
    inner = slice(core.start - wide.start, core.stop - wide.start)
    return core, wide, inner


def overlapping_parts(
    length: int, largest: int, overlap: int
) -> list[tuple[int, int]]:
    """Start and end of the parts of a side: one if it is short enough, else overlapping ones.

    >>> overlapping_parts(2000, 1024, 256)
    [(0, 1024), (768, 1792), (976, 2000)]
    """
    if length <= largest:
        return [(0, length)]
    starts = [*range(0, length - largest, largest - overlap), length - largest]
    return [(start, start + largest) for start in starts]


def ramp(length: int) -> np.ndarray:
    """Weights float32 (length,) from 0 to 1: of the later one where two parts overlap."""
    return (
        (np.arange(length, dtype=np.float32) + 0.5) / max(1, length)
    ).astype(np.float32)


def repeat_to_square(array: np.ndarray, side: int, axis: int) -> np.ndarray:
    """Repeat an array along `axis` and the next one, and cut both to `side` pixels."""
    times = [1] * array.ndim
    for k in (axis, axis + 1):
        times[k] = -(-side // array.shape[k])
    square = (slice(None),) * axis + (slice(side), slice(side))
    return np.ascontiguousarray(np.tile(array, times)[square])

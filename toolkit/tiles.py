"""Large images in parts: tiles with margins, or parts that overlap and blend."""

from collections.abc import Iterator

import numpy as np

Window = tuple[slice, slice]


def tiles(
    shape: tuple[int, int], tile: int, margin: int
) -> Iterator[tuple[Window, Window, Window]]:
    """For each tile of an image: where it lies, where it lies with its margin, and where it lies within that."""
    for top in range(0, shape[0], tile):
        for left in range(0, shape[1], tile):
            core = slice(top, min(top + tile, shape[0])), slice(left, min(left + tile, shape[1]))
            wide = tuple(
                slice(max(0, c.start - margin), min(c.stop + margin, length))
                for c, length in zip(core, shape, strict=True)
            )
            inner = tuple(
                slice(c.start - w.start, c.stop - w.start) for c, w in zip(core, wide, strict=True)
            )
            yield core, wide, inner


def overlapping(length: int, largest: int, overlap: int) -> list[tuple[int, int]]:
    """Where the parts of a side begin and end: one when it is not too long, else parts that overlap.

    >>> overlapping(2000, 1024, 256)
    [(0, 1024), (768, 1792), (976, 2000)]
    """
    if length <= largest:
        return [(0, length)]
    starts = [*range(0, length - largest, largest - overlap), length - largest]
    return [(start, start + largest) for start in starts]


def ramp(length: int) -> np.ndarray:
    """Shares float32 (length,) of the later of two parts that overlap: from 0 to 1."""
    return ((np.arange(length, dtype=np.float32) + 0.5) / max(1, length)).astype(np.float32)


def repeat_to_square(array: np.ndarray, side: int, axis: int) -> np.ndarray:
    """An array repeated along two axes, `axis` and the next, and cut to `side` pixels each."""
    times = [1] * array.ndim
    for k in (axis, axis + 1):
        times[k] = -(-side // array.shape[k])
    square = (slice(None),) * axis + (slice(side), slice(side))
    return np.ascontiguousarray(np.tile(array, times)[square])

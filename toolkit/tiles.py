"""Large images in parts: tiles with margins, so that what a method sees around a pixel is there in every tile."""

from collections.abc import Iterator

Window = tuple[slice, slice]


def tiles(shape: tuple[int, int], tile: int, margin: int) -> Iterator[tuple[Window, Window, Window]]:
    """For each tile of an image: where it lies, where it lies with its margin, and where it lies within that."""
    for top in range(0, shape[0], tile):
        for left in range(0, shape[1], tile):
            core = slice(top, min(top + tile, shape[0])), slice(left, min(left + tile, shape[1]))
            wide = tuple(
                slice(max(0, c.start - margin), min(c.stop + margin, length)) for c, length in zip(core, shape, strict=True)
            )
            inner = tuple(slice(c.start - w.start, c.stop - w.start) for c, w in zip(core, wide, strict=True))
            yield core, wide, inner

"""Filling scans mask by mask, and large ones tile by tile."""

from collections.abc import Callable

import numpy as np

from hvd.toolkit.tiles import tiles

# pixels: with its margins a tile is 512, the largest that is filled at once
TILE = 384
MARGIN = 64


def filled_by_mask(
    images: np.ndarray, missing: np.ndarray, fill: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Scans float32 (N, H, W) with their missing pixels filled, within 0 to 1, measured ones as they were.

    `fill(images (n, H, W), missing (H, W))` is asked once for all scans that share a mask; a tile that is wholly missing is filled
    with the mean of what is measured of its scan.
    """
    found = images.copy()
    groups = {}
    for k, gaps in enumerate(missing):
        groups.setdefault(gaps.tobytes(), []).append(k)

    for group in groups.values():
        members = np.array(group)
        gaps = missing[group[0]]
        whole = max(gaps.shape) <= TILE + 2 * MARGIN
        for core, wide, inner in tiles(gaps.shape, max(gaps.shape) if whole else TILE, MARGIN):
            if not gaps[core].any():
                continue
            part = images[:, *wide][members]
            if gaps[wide].all():
                filled = np.broadcast_to(
                    (images[members].sum((1, 2)) / (~gaps).sum())[:, None, None], part.shape
                )
            else:
                filled = fill(part, gaps[wide])

            place = (
                members[:, None, None],
                *np.ix_(
                    np.arange(core[0].start, core[0].stop), np.arange(core[1].start, core[1].stop)
                ),
            )
            found[place] = np.where(gaps[core], np.clip(filled[:, *inner], 0, 1), found[place])

    return found

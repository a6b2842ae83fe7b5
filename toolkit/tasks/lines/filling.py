"""Fill scans mask by mask, and large ones tile by tile."""

from collections.abc import Callable

import numpy as np

from hvd.toolkit.tiles import tiles

# Pixels. With its margins a tile is 512 wide: the largest image that is filled in one piece.
TILE = 384
MARGIN = 64


def fill_by_mask(
    images: np.ndarray,
    missing: np.ndarray,
    fill: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Fill the missing pixels of scans; measured ones stay as they are.

    Parameters
    ----------
    images : float32 (N, H, W) in [0, 1].
    missing : bool (N, H, W).
    fill : `fill(images (n, H, W), missing (H, W)) -> (n, H, W)`, called once for all scans that
        share a mask, tile by tile. A tile without a measured pixel is not shown to it, but filled
        with the mean of the scan's measured pixels.

    Returns
    -------
    float32 (N, H, W) in [0, 1].
    """
    result = images.copy()
    # Scans with the same mask are filled together, which is many times faster.
    scans_by_mask = {}
    for k, gaps in enumerate(missing):
        scans_by_mask.setdefault(gaps.tobytes(), []).append(k)

    for group in scans_by_mask.values():
        members = np.array(group)
        gaps = missing[group[0]]
        # Small scans are filled in one piece; large ones in tiles, to bound
        # memory.
        longest = max(gaps.shape)
        tile = longest if longest <= TILE + 2 * MARGIN else TILE

        for core, wide, inner in tiles(gaps.shape, tile, MARGIN):
            if not gaps[core].any():
                continue

            part = images[:, *wide][members]
            # Nothing is measured nearby, so that the scan's mean is the best
            # guess.
            if gaps[wide].all():
                mean = images[members].sum((1, 2)) / (~gaps).sum()
                filled = np.broadcast_to(mean[:, None, None], part.shape)
            else:
                filled = fill(part, gaps[wide])

            rows = np.arange(core[0].start, core[0].stop)
            columns = np.arange(core[1].start, core[1].stop)
            place = members[:, None, None], rows[:, None], columns
            values = np.clip(filled[:, *inner], 0, 1)
            # Measured pixels keep their exact values.
            result[place] = np.where(gaps[core], values, result[place])

    return result

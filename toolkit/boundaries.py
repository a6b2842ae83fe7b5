"""From a boundary probability to closed grains: markers, watershed, merging across weak boundaries.

Probabilities are uint8 (H, W), 255 = certain. Labels are int32 (H, W): a partition of the image into grains from 1, or all 0 when
no pixel is inside a grain. Grains are 4-connected, boundaries lie between them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.morphology import skeletonize
from skimage.segmentation import watershed

TILE, MARGIN = 1600, 256  # pixels; multiples of 32, so that a network's coarsest cells lie alike in every tile


@dataclass(frozen=True)
class Closure:
    """How boundaries are closed: probabilities are blurred by `blur` pixels; connected pixels below `inside`, `smallest` or more of
    them, mark a grain; grains merge when the mean probability along their common boundary is below `weakest`."""

    blur: float = 1.0
    inside: float = 0.3
    smallest: int = 60
    weakest: float = 0.3


Window = tuple[slice, slice]


def tiles(shape: tuple[int, int], tile: int = TILE) -> Iterator[tuple[Window, Window, Window]]:
    """For each tile of an image: where it lies, where it lies with its margin, and where it lies within that."""
    for top in range(0, shape[0], tile):
        for left in range(0, shape[1], tile):
            core = slice(top, min(top + tile, shape[0])), slice(left, min(left + tile, shape[1]))
            wide = tuple(
                slice(max(0, c.start - MARGIN), min(c.stop + MARGIN, length)) for c, length in zip(core, shape, strict=True)
            )
            inner = tuple(slice(c.start - w.start, c.stop - w.start) for c, w in zip(core, wide, strict=True))
            yield core, wide, inner


def partition(probability: np.ndarray, closure: Closure) -> np.ndarray:
    """Closed grains, int32 (H, W), of a boundary probability, uint8 (H, W)."""
    relief = cv2.GaussianBlur(probability, (0, 0), closure.blur) if closure.blur else probability
    _, markers, stats, _ = cv2.connectedComponentsWithStats((relief < closure.inside * 255).astype(np.uint8), connectivity=4)
    kept = stats[:, cv2.CC_STAT_AREA] >= closure.smallest
    kept[0] = False
    markers = renumbered(markers, np.cumsum(kept, dtype=np.int32) * kept)
    if not kept.any():
        return markers
    return merged(flooded(relief, markers), relief, closure.weakest)


def flooded(relief: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """Watershed (Meyer, 1994) of a relief uint8 (H, W) from markers int32 (H, W), tile by tile: a partition."""
    found = np.empty_like(markers)
    for core, wide, inner in tiles(relief.shape):
        found[core] = watershed(relief[wide], markers[wide])[inner]
    if not found.all():  # a tile without a marker: rare, and only then the whole image at once
        found = watershed(relief, found)
    return found


def merged(labels: np.ndarray, relief: np.ndarray, weakest: float) -> np.ndarray:
    """Labels in which neighbours with a mean relief below `weakest` along their boundary are one grain."""
    count = int(labels.max()) + 1
    length, height = (coo_array((count, count)).tocsr() for _ in range(2))
    for core, _, _ in tiles(labels.shape):
        wide = tuple(slice(c.start, c.stop + 1) for c in core)  # one more, so that no pair of pixels is lost between tiles
        part, level = labels[wide], relief[wide]
        for a, b in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
            across = part[a] != part[b]
            pair = np.sort([part[a][across], part[b][across]], axis=0)
            top = np.maximum(level[a][across], level[b][across]).astype(np.float64)
            length = length + coo_array((np.ones(len(top)), pair), (count, count))
            height = height + coo_array((top, pair), (count, count))
    length, height = length.tocoo(), height.tocsr()
    means = np.asarray(height[length.row, length.col]).ravel() / length.data
    weak = means < weakest * 255
    joined = coo_array((np.ones(weak.sum()), (length.row[weak], length.col[weak])), (count, count))
    _, group = connected_components(joined, directed=False)
    return renumbered(labels, np.unique(group, return_inverse=True)[1].astype(np.int32)) if weak.any() else labels


def renumbered(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The same array with its labels replaced, row by row: to index all at once would take eight bytes a pixel."""
    for row in labels:
        row[:] = numbers[row]
    return labels


def lines(labels: np.ndarray) -> np.ndarray:
    """True (H, W) on closed lines of one pixel between grains: no two grains touch over the sides of pixels that are False."""
    found = np.zeros(labels.shape, bool)
    found[:-1] |= labels[:-1] != labels[1:]
    found[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return found


def drawn(labels: np.ndarray, pen: float) -> np.ndarray:
    """True (H, W) within half a pen's width of the boundaries of labels."""
    found = lines(labels)
    if not found.any():
        return found
    return cv2.distanceTransform((~found).astype(np.uint8), cv2.DIST_L2, 5) <= max(pen / 2 - 0.25, 0.5)


def marked(probability: np.ndarray, labels: np.ndarray, threshold: float) -> np.ndarray:
    """True (H, W) where the probability exceeds the threshold about the closed boundaries, and on them."""
    line, above = lines(labels), probability > threshold * 255
    if not labels.any():
        return above
    pen = above.sum() / max(1, line.sum())
    reach = int(np.clip(pen / 2 + 2, 2, 30))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    near = cv2.dilate(line.astype(np.uint8), disc).astype(bool)
    return (above & near) | line


def pen_width(mask: np.ndarray, skeleton: np.ndarray) -> float:
    """Mean width in pixels of drawn boundaries: area over the length of their skeleton; 0 when none is drawn."""
    return float(mask.sum() / max(1, skeleton.sum()))


def closed_drawing(mask: np.ndarray, skeleton: np.ndarray) -> np.ndarray:
    """Grains of boundaries drawn by hand, bool (H, W): what a pen encloses, grown to the middle of its stroke. Spots smaller than
    the pen is wide are no grains."""
    _, markers, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    kept = stats[:, cv2.CC_STAT_AREA] >= pen_width(mask, skeleton) ** 2
    kept[0] = False
    markers = renumbered(markers, np.cumsum(kept, dtype=np.int32) * kept)
    if not kept.any():
        return markers
    return watershed(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5), markers)


def skeleton(mask: np.ndarray) -> np.ndarray:
    """Lines of one pixel through the middle of drawn boundaries (Zhang & Suen, 1984), bool (H, W)."""
    return skeletonize(mask)

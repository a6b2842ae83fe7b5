"""From a boundary probability to closed grains: markers, watershed, merging across weak boundaries.

Probabilities are uint8 (H, W), 255 = certain. Labels are int32 (H, W): a partition of the image into grains from 1, or all 0 when
no pixel is inside a grain. Grains are 4-connected, boundaries lie between them.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_array
from skimage.morphology import skeletonize
from skimage.segmentation import watershed

from hvd.toolkit.tiles import tiles

# pixels; multiples of 32, so that a network's coarsest cells lie alike in every tile
TILE = 1600
MARGIN = 352
QUIET = {
    np.dtype(np.uint8): 8,
    np.dtype(np.uint16): 64,
}  # levels: an image whose grey spreads over fewer is flat, not faint
WIDEST = 40  # pixels that bands of boundary are at most taken to be wide
RISE = 0.3  # of the threshold of what is marked, for each width of the boundaries that a pixel lies away from them
SEEN = 1000  # rows and columns, at most, that the range of grey is taken from


@dataclass(frozen=True)
class Closure:
    """How boundaries are closed, in widths of the boundaries themselves, so that coarse and fine structures are treated alike:
    probabilities are blurred by `blur` widths; connected pixels below `inside`, together `smallest` square widths or more, mark a
    grain; grains merge when the mean probability along their common boundary is below `weakest`."""

    blur: float = 0.3
    inside: float = 0.3
    smallest: float = 1.0
    weakest: float = 0.3


def tilewise(image: np.ndarray, boundary: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Boundary probability uint8 (H, W), 255 = certain, of an image uint8 or uint16 (H, W), tile by tile.

    `boundary` gives probabilities of float32 tiles whose grey is about 0 to 1: least to greatest of the whole image, a thousandth
    at either end left out, so that 12 bits in a 16-bit file count as much as 16. What it sees lies within the margin of a tile, so
    tiles leave no trace and need no blending. A flat image has no boundary.
    """
    every = tuple(slice(None, None, -(-length // SEEN)) for length in image.shape)
    low, high = (int(x) for x in np.percentile(image[every], (0.1, 99.9), method="nearest"))
    span = np.float32(high - low)
    found = np.zeros(image.shape, np.uint8)
    if span < QUIET[image.dtype]:
        return found
    for core, wide, inner in tiles(image.shape, TILE, MARGIN):
        part = boundary((image[wide].astype(np.float32) - low) / span)
        found[core] = np.rint(part[inner] * 255)

    return found


def partition(probability: np.ndarray, closure: Closure) -> np.ndarray:
    """Closed grains, int32 (H, W), of a boundary probability, uint8 (H, W)."""
    width = band_width(probability)
    relief = (
        cv2.GaussianBlur(probability, (0, 0), closure.blur * width) if closure.blur else probability
    )
    _, markers, stats, _ = cv2.connectedComponentsWithStats(
        (relief < closure.inside * 255).astype(np.uint8), connectivity=4
    )
    kept = stats[:, cv2.CC_STAT_AREA] >= closure.smallest * width**2
    kept[0] = False
    markers = renumbered(markers, np.cumsum(kept, dtype=np.int32) * kept)
    if not kept.any():
        return markers

    return merged(flooded(relief, markers), relief, closure.weakest)


def band_width(probability: np.ndarray) -> float:
    """Mean width in pixels of the bands where a boundary is likelier than not, within 1 to WIDEST; 1 when there are none."""
    pixels = 0
    distances = 0.0
    for _, wide, inner in tiles(probability.shape, TILE, MARGIN):
        band = (probability[wide] > 127).astype(np.uint8)
        if not band.all():
            within = band[inner].astype(bool)
            pixels += int(within.sum())
            distances += float(cv2.distanceTransform(band, cv2.DIST_L2, 5)[inner][within].sum())

    # pixels of a band that is w wide lie (w + 2) / 4 from the nearest pixel outside, on average
    return float(np.clip(4 * distances / max(1, pixels) - 2, 1, WIDEST))


def flooded(relief: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """Watershed (Meyer, 1994) of a relief uint8 (H, W) from markers int32 (H, W), tile by tile: a partition.

    Only the rims of markers flood: what they surround has nothing left to flood, and would take half of the time.
    """
    found = np.empty_like(markers)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    for core, wide, inner in tiles(relief.shape, TILE, MARGIN):
        part = markers[wide]
        deep = cv2.erode((part > 0).astype(np.uint8), cross).astype(bool)
        flood = watershed(relief[wide], np.where(deep, 0, part), mask=~deep)
        found[core] = np.where(deep, part, flood)[inner]

    if not found.all():  # a tile without a marker: rare, and only then the whole image at once
        found = watershed(relief, found)
    return found


def merged(labels: np.ndarray, relief: np.ndarray, weakest: float) -> np.ndarray:
    """Labels in which neighbours with a mean relief below `weakest` along their boundary are one grain, weakest first; the mean is
    taken anew over the whole boundary of what has merged."""
    borders = common_borders(labels, relief)
    queue = [
        (high / length, a, b)
        for a in borders
        for b, (length, high) in borders[a].items()
        if a < b and high < weakest * 255 * length
    ]
    heapq.heapify(queue)
    merged_into = np.arange(labels.max() + 1, dtype=np.int32)

    while queue:
        mean, a, b = heapq.heappop(queue)
        if (
            a not in borders
            or b not in borders
            or b not in borders[a]
            or borders[a][b][1] / borders[a][b][0] != mean
        ):
            continue  # one of the two has merged meanwhile

        merged_into[b] = a
        for other, (length, high) in borders.pop(b).items():
            del borders[other][b]
            if other == a:
                continue
            before = borders[a].get(other, (0.0, 0.0))
            length = length + before[0]
            high = high + before[1]
            borders[a][other] = borders[other][a] = length, high
            if high < weakest * 255 * length:
                heapq.heappush(queue, (high / length, min(a, other), max(a, other)))

    while (merged_into[merged_into] != merged_into).any():
        merged_into = merged_into[merged_into]
    return renumbered(labels, np.unique(merged_into, return_inverse=True)[1].astype(np.int32))


def common_borders(
    labels: np.ndarray, relief: np.ndarray
) -> dict[int, dict[int, tuple[float, float]]]:
    """For every grain and each of its neighbours, the number of pairs of pixels they touch in, and the relief summed over them."""
    count = int(labels.max()) + 1
    length, height = (coo_array((count, count)).tocsr() for _ in range(2))
    for core, _, _ in tiles(labels.shape, TILE, MARGIN):
        wide = tuple(
            slice(c.start, c.stop + 1) for c in core
        )  # one more, so that no pair of pixels is lost between tiles
        part = labels[wide]
        level = relief[wide]
        for a, b in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
            across = part[a] != part[b]
            pair = np.sort([part[a][across], part[b][across]], axis=0)
            top = np.maximum(level[a][across], level[b][across]).astype(np.float64)
            length = length + coo_array((np.ones(len(top)), pair), (count, count))
            height = height + coo_array((top, pair), (count, count))

    length = length.tocsr()
    height = height.tocsr()
    length.sort_indices(), height.sort_indices()
    borders = {grain: {} for grain in range(1, count)}
    rows = np.repeat(np.arange(count), np.diff(length.indptr))

    for a, b, pixels in zip(
        rows.tolist(), length.indices.tolist(), length.data.tolist(), strict=True
    ):
        borders[a][b] = borders[b][a] = pixels, float(height[a, b])

    return borders


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
    return cv2.distanceTransform((~found).astype(np.uint8), cv2.DIST_L2, 5) <= max(
        pen / 2 - 0.25, 0.5
    )


def marked(probability: np.ndarray, labels: np.ndarray, threshold: float) -> np.ndarray:
    """True (H, W) on the closed boundaries, and about them where the probability exceeds a threshold that rises with the distance:
    from `threshold` by RISE for each width of the boundaries."""
    if not labels.any():
        return probability > threshold * 255
    line = lines(labels)
    found = line.copy()
    rise = RISE * 255 / band_width(probability)

    for core, wide, inner in tiles(line.shape, TILE, MARGIN):
        if line[wide].any():
            distance = cv2.distanceTransform((~line[wide]).astype(np.uint8), cv2.DIST_L2, 5)
            found[core] |= (probability[wide] - rise * distance > threshold * 255)[inner]

    return found


def pen_width(mask: np.ndarray, skeleton: np.ndarray) -> float:
    """Mean width in pixels of drawn boundaries: area over the length of their skeleton; 0 when none is drawn."""
    return float(mask.sum() / max(1, skeleton.sum()))


def closed_drawing(mask: np.ndarray, skeleton: np.ndarray) -> np.ndarray:
    """Grains of boundaries drawn by hand, bool (H, W): what a pen encloses, grown to the middle of its stroke. Spots smaller than
    the pen is wide are no grains."""
    _, markers, stats, _ = cv2.connectedComponentsWithStats(
        (~mask).astype(np.uint8), connectivity=4
    )
    kept = stats[:, cv2.CC_STAT_AREA] >= pen_width(mask, skeleton) ** 2
    kept[0] = False
    markers = renumbered(markers, np.cumsum(kept, dtype=np.int32) * kept)
    if not kept.any():
        return markers

    return watershed(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5), markers)


def skeleton(mask: np.ndarray) -> np.ndarray:
    """Lines of one pixel through the middle of drawn boundaries (Zhang & Suen, 1984), bool (H, W)."""
    return skeletonize(mask)

"""From a boundary probability to closed grains: markers, watershed, merging across weak boundaries.

Probabilities are uint8 (H, W), 255 = certain. Labels are int32 (H, W): grains numbered from 1 that
cover every pixel, or all 0 when no pixel is inside a grain. Grains are 4-connected; boundaries lie
between them.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_array
from skimage.measure import label
from skimage.segmentation import watershed

from hvd.toolkit.tasks.grains.grey import ROOM, sampled, value_range
from hvd.toolkit.tiles import tiles

# Pixels; multiples of 32, so that a network's coarsest cells fall alike in every tile.
TILE = 1600
MARGIN = 352

STRIP = 512  # rows that statistics are taken of at a time

ALIKE = 0.5  # deviations of grey within grains, by which grains of one tone may differ

# Grey levels: an image of whole numbers that spreads over fewer is flat, not faint.
LEAST_SPREAD = 8

WIDEST = 40  # pixels: a band of boundary is never taken to be wider
RISE = 0.3  # how much the threshold rises for each boundary width away from the line


@dataclass(frozen=True)
class Closure:
    """How boundaries are closed.

    Lengths are in widths of the boundaries themselves, so that coarse and fine structures are
    treated alike.

    Attributes
    ----------
    blur : standard deviation of the blur of the probabilities, in widths.
    inside : a pixel below this probability may mark a grain.
    smallest : the least area of connected marking pixels, in square widths.
    weakest : grains merge when the mean probability along their common boundary is below this.
    faint : grains are parted by boundaries from this probability on, if their tones differ; 0 for
        none.
    """

    blur: float = 0.3
    inside: float = 0.3
    smallest: float = 1.0
    weakest: float = 0.3
    faint: float = 0.0


def probability_by_tiles(
    image: np.ndarray, boundary: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Boundary probability of an image, computed tile by tile.

    A flat image has no boundary. Tiles leave no trace and need no blending as long as `boundary`
    looks no further than the margin of a tile.

    Parameters
    ----------
    image : (H, W) of any range.
    boundary : makes probabilities of a float32 tile whose grey is scaled to about 0 to 1.

    Returns
    -------
    uint8 (H, W), 255 = certain.
    """
    # The range is that of this image, so that 12 bits in a 16-bit file count as much as 16.
    low, high = value_range(sampled(image))
    span = np.float32(high - low)
    least = np.float32(low)

    probability = np.zeros(image.shape, np.uint8)
    if span < LEAST_SPREAD:
        return probability

    for core, wide, inner in tiles(image.shape, TILE, MARGIN):
        shares = (image[wide].astype(np.float32) - least) / span
        part = boundary(np.clip(shares, -ROOM, 1 + ROOM))
        probability[core] = np.rint(part[inner] * 255)

    return probability


def partition(
    probability: np.ndarray,
    closure: Closure,
    image: np.ndarray | None = None,
) -> np.ndarray:
    """Closed grains, int32 (H, W), of a boundary probability, uint8 (H, W).

    The image (H, W) tells the tones of the grains, for faint boundaries.
    """
    width = band_width(probability)
    relief = probability
    if closure.blur:
        relief = cv2.GaussianBlur(probability, (0, 0), closure.blur * width)

    least_area = closure.smallest * width**2
    below = (relief < closure.inside * 255).astype(np.uint8)
    markers = large_components(below, least_area)
    if not markers.any():
        return markers

    are_alike = None
    if closure.faint and image is not None:
        below = (relief < closure.faint * 255).astype(np.uint8)
        parts = large_components(below, least_area)
        markers, origin = parts_of_markers(markers, parts)
        are_alike = Alikeness(markers, origin, image)
    return merge_across_weak_boundaries(
        watershed_grains(relief, markers), relief, closure.weakest, are_alike
    )


def parts_of_markers(
    markers: np.ndarray, parts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Markers int32 (H, W), in parts where they have several, and which each came from (n + 1,).

    `parts` int32 (H, W) lie within the markers; they are changed.
    """
    of_part = np.zeros(int(parts.max()) + 1, np.int32)
    for start in range(0, len(parts), STRIP):
        its = parts[start : start + STRIP]
        of_part[its] = markers[start : start + STRIP]
    of_part[0] = 0
    number = np.bincount(of_part[1:], minlength=int(markers.max()) + 1)
    is_parted = number > 1

    # Numbers follow those of the markers.
    chosen = np.flatnonzero(is_parted[of_part])
    entire = np.flatnonzero(~is_parted)[1:]  # 0 is no marker
    origin = np.concatenate([of_part[chosen], entire])
    order = np.argsort(origin, kind="stable")
    new_numbers = np.zeros(len(order), np.int32)
    new_numbers[order] = 1 + np.arange(len(order))
    new_of_part = np.zeros(len(of_part), np.int32)
    new_of_part[chosen] = new_numbers[: len(chosen)]
    new_of_entire = np.zeros(len(is_parted), np.int32)
    new_of_entire[entire] = new_numbers[len(chosen) :]
    for start in range(0, len(parts), STRIP):
        its = parts[start : start + STRIP]
        whole = markers[start : start + STRIP]
        its[:] = np.where(
            is_parted[whole], new_of_part[its], new_of_entire[whole]
        )
    return parts, np.append(0, origin[order])


class Alikeness:
    """Tells whether two grains are parts of one marker, and of one tone.

    Their tones are one when their means differ by less than ALIKE deviations within them, as grey
    varies by noise and texture.
    """

    def __init__(
        self,
        markers: np.ndarray,
        origin: np.ndarray,
        image: np.ndarray,
    ):
        """Markers int32 (H, W), which marker each came from (n + 1,), and the image (H, W)."""
        size = len(origin)
        is_part = np.bincount(origin)[origin] > 1
        count = np.zeros(size)
        total = np.zeros(size)
        squares = np.zeros(size)
        for start in range(0, len(image), STRIP):
            rows = slice(start, start + STRIP)
            in_part = is_part[markers[rows]]
            numbers = markers[rows][in_part]
            values = image[rows][in_part].astype(np.float64)
            count += np.bincount(numbers, minlength=size)
            total += np.bincount(numbers, values, size)
            squares += np.bincount(numbers, values * values, size)
        count = np.maximum(count, 1)
        self.origin = origin
        self.mean = total / count
        self.variance = np.maximum(squares / count - self.mean**2, 0)

    def __call__(self, a: int, b: int) -> bool:
        if self.origin[a] != self.origin[b]:
            return False
        variance = (self.variance[a] + self.variance[b]) / 2
        apart = (self.mean[a] - self.mean[b]) ** 2
        return bool(apart <= ALIKE**2 * variance)


def large_components(mask: np.ndarray, least_area: float) -> np.ndarray:
    """Number the 4-connected components of a mask uint8 (H, W) that have at least that area.

    Returns int32 (H, W), 0 elsewhere.
    """
    _, components, stats, _ = cv2.connectedComponentsWithStats(
        mask, connectivity=4
    )
    large = stats[:, cv2.CC_STAT_AREA] >= least_area
    large[0] = False  # the background
    return renumber(components, np.cumsum(large, dtype=np.int32) * large)


def band_width(probability: np.ndarray) -> float:
    """Mean width in pixels of the bands where a boundary is likelier than not.

    Within 1 to WIDEST; 1 when there are no such bands.
    """
    pixels = 0
    distances = 0.0
    for _, wide, inner in tiles(probability.shape, TILE, MARGIN):
        band = (probability[wide] > 127).astype(np.uint8)
        if not band.all():
            in_band = band[inner].astype(bool)
            distance = cv2.distanceTransform(band, cv2.DIST_L2, 5)[inner]
            pixels += int(in_band.sum())
            distances += float(distance[in_band].sum())

    # In a band of width w, pixels lie on average (w + 2) / 4 from the nearest pixel outside.
    return float(np.clip(4 * distances / max(1, pixels) - 2, 1, WIDEST))


def watershed_grains(relief: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """Watershed (Meyer, 1994) of a relief uint8 (H, W) from markers int32 (H, W), tile by tile.

    Returns labels int32 (H, W) that cover every pixel.
    """
    labels = np.empty_like(markers)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))

    # Only the rims of markers flood: their insides have nothing left to flood, and would take
    # half of the time.
    for core, wide, inner in tiles(relief.shape, TILE, MARGIN):
        part = markers[wide]
        inside = cv2.erode((part > 0).astype(np.uint8), cross).astype(bool)
        flood = watershed(relief[wide], np.where(inside, 0, part), mask=~inside)
        labels[core] = np.where(inside, part, flood)[inner]

    # A tile without a marker stays empty. That is rare; only then flood the entire image at once.
    if not labels.all():
        labels = watershed(relief, labels)
    return labels


def merge_across_weak_boundaries(
    labels: np.ndarray,
    relief: np.ndarray,
    weakest: float,
    are_alike: Callable[[int, int], bool] | None = None,
) -> np.ndarray:
    """Merge neighbours whose common boundary has a mean relief below `weakest` of 255.

    The weakest boundary goes first; after a merge the mean is taken anew over the joint boundary.
    Where neighbours `are_alike`, their boundary counts as none. Changes `labels` and returns it.
    """
    borders = common_borders(labels, relief)
    if are_alike is not None:
        for a, neighbours in borders.items():
            for b, (length, _) in neighbours.items():
                if are_alike(a, b):
                    neighbours[b] = length, 0.0
    queue = []
    for a, neighbours in borders.items():
        for b, (length, height) in neighbours.items():
            if a < b and height < weakest * 255 * length:
                queue.append((height / length, a, b))
    heapq.heapify(queue)
    parent = np.arange(labels.max() + 1, dtype=np.int32)

    while queue:
        mean, a, b = heapq.heappop(queue)
        if not is_current(borders, a, b, mean):
            continue

        # Grain b becomes part of a; a inherits b's borders.
        parent[b] = a
        for other, (length, height) in borders.pop(b).items():
            del borders[other][b]
            if other == a:
                continue
            before = borders[a].get(other, (0.0, 0.0))
            joint = length + before[0], height + before[1]
            borders[a][other] = joint
            borders[other][a] = joint
            if joint[1] < weakest * 255 * joint[0]:
                heapq.heappush(
                    queue, (joint[1] / joint[0], min(a, other), max(a, other))
                )

    # Follow chains of merges to their ends.
    while (parent[parent] != parent).any():
        parent = parent[parent]
    return renumber(
        labels, np.unique(parent, return_inverse=True)[1].astype(np.int32)
    )


Borders = dict[int, dict[int, tuple[float, float]]]


def is_current(
    borders: Borders,
    a: int,
    b: int,
    mean: float,
) -> bool:
    """Whether two grains still exist and their common border still has that mean relief."""
    if a not in borders or b not in borders or b not in borders[a]:
        return False
    length, height = borders[a][b]
    return height / length == mean


def common_borders(labels: np.ndarray, relief: np.ndarray) -> Borders:
    """For every grain and each of its neighbours, the border's length and the relief along it.

    The length is the number of pairs of touching pixels; the relief is summed over them.
    """
    count = int(labels.max()) + 1
    shape = count, count
    length = coo_array(shape).tocsr()
    height = coo_array(shape).tocsr()

    for core, _, _ in tiles(labels.shape, TILE, MARGIN):
        # One row and column more, so that no pair of pixels is lost between tiles.
        wide = tuple(slice(c.start, c.stop + 1) for c in core)
        part = labels[wide]
        level = relief[wide]
        for a, b in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
            differ = part[a] != part[b]
            pair = np.sort([part[a][differ], part[b][differ]], axis=0)
            top = np.maximum(level[a][differ], level[b][differ]).astype(
                np.float64
            )
            length = length + coo_array((np.ones(len(top)), pair), shape)
            height = height + coo_array((top, pair), shape)

    length = length.tocsr()
    height = height.tocsr()
    length.sort_indices()
    height.sort_indices()

    borders = {grain: {} for grain in range(1, count)}
    rows = np.repeat(np.arange(count), np.diff(length.indptr)).tolist()
    for grain, other, pixels in zip(
        rows, length.indices.tolist(), length.data.tolist(), strict=True
    ):
        border = pixels, float(height[grain, other])
        borders[grain][other] = border
        borders[other][grain] = border

    return borders


def renumber(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Replace every label k by numbers[k], in place; returns the same array.

    Row by row: to index all at once would take eight bytes a pixel.
    """
    for row in labels:
        row[:] = numbers[row]
    return labels


def renumber_present(labels: np.ndarray) -> np.ndarray:
    """Give labels that have pixels numbers in a row from 1, in place; 0 stays."""
    present = np.zeros(int(labels.max()) + 1, np.int32)
    for row in labels:
        present[row] = 1
    present[0] = 0
    return renumber(labels, np.cumsum(present, dtype=np.int32) * present)


def nearest_grains(labels: np.ndarray) -> np.ndarray:
    """Labels int32 (H, W), each pixel of 0 given to the nearest grain."""
    if not labels.any() or labels.all():
        return labels
    _, nearest = cv2.distanceTransformWithLabels(
        (labels == 0).astype(np.uint8),
        cv2.DIST_L2,
        5,
        labelType=cv2.DIST_LABEL_PIXEL,
    )
    numbers = np.zeros(int(nearest.max()) + 1, np.int32)
    numbers[nearest[labels > 0]] = labels[labels > 0]
    return renumber(nearest, numbers)


def largest_pieces(labels: np.ndarray) -> np.ndarray:
    """Labels int32 (H, W) of which each is one 4-connected piece, its largest.

    Its other pieces go to the nearest grain.
    """
    pieces = label(labels, connectivity=1).astype(np.int32)
    areas = np.bincount(pieces.ravel())
    of_label = np.zeros(len(areas), np.int32)
    for row, numbers in zip(pieces, labels, strict=True):
        of_label[row] = numbers
    order = np.argsort(areas, kind="stable")
    largest = np.zeros(int(labels.max()) + 1, np.int32)
    largest[of_label[order]] = order
    is_kept = largest[of_label] == np.arange(len(areas))
    is_outside = of_label == 0
    if (is_kept | is_outside).all():
        return labels
    kept = renumber(pieces, np.where(is_kept, of_label, 0))
    return np.where(labels > 0, nearest_grains(kept), 0).astype(np.int32)


def lines(labels: np.ndarray) -> np.ndarray:
    """True (H, W) on closed lines, one pixel wide, between grains.

    Off the lines, no two grains share a side of a pixel. The edge of the specimen is no line.
    """
    inside = labels > 0
    is_line = np.zeros(labels.shape, bool)
    is_line[:-1] |= (labels[:-1] != labels[1:]) & inside[:-1] & inside[1:]
    differ = (labels[:, :-1] != labels[:, 1:]) & inside[:, :-1] & inside[:, 1:]
    is_line[:, :-1] |= differ
    return is_line


def pen_strokes(labels: np.ndarray, pen: float) -> np.ndarray:
    """True (H, W) within half a pen's width, in pixels, of the boundaries of labels."""
    line = lines(labels)
    if not line.any():
        return line
    distance = cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, 5)
    return distance <= max(pen / 2 - 0.25, 0.5)


def boundary_mask(
    probability: np.ndarray,
    labels: np.ndarray,
    threshold: float,
) -> np.ndarray:
    """True (H, W) on the closed boundaries, and beside them where the probability is high.

    The threshold on the probability, 0 to 1, rises with the distance from the closed line: by RISE
    for each width of the boundaries.
    """
    if not labels.any():
        return probability > threshold * 255

    line = lines(labels)
    mask = line.copy()
    rise = RISE * 255 / band_width(probability)

    for core, wide, inner in tiles(line.shape, TILE, MARGIN):
        if line[wide].any():
            distance = cv2.distanceTransform(
                (~line[wide]).astype(np.uint8), cv2.DIST_L2, 5
            )
            above = probability[wide] - rise * distance > threshold * 255
            mask[core] |= above[inner]

    return mask


def pen_width(mask: np.ndarray, skeleton: np.ndarray) -> float:
    """Mean width in pixels of drawn boundaries: area over length of skeleton; 0 without any."""
    return float(mask.sum() / max(1, skeleton.sum()))


def grains_of_drawing(mask: np.ndarray, skeleton: np.ndarray) -> np.ndarray:
    """Grains of boundaries drawn by hand, bool (H, W): what the pen encloses.

    Grains grow to the middle of the stroke. Spots smaller than the pen is wide are no grains.
    """
    pen = pen_width(mask, skeleton)
    markers = large_components((~mask).astype(np.uint8), pen**2)
    if not markers.any():
        return markers

    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    return watershed(depth, markers)


def skeleton(mask: np.ndarray) -> np.ndarray:
    """Lines of one pixel through the middle of drawn boundaries (Zhang & Suen, 1984)."""
    # It takes a while to import, and predicting does not need it.
    from skimage.morphology import skeletonize

    return skeletonize(mask)

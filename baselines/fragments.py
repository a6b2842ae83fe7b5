"""`fragments` without learning: colour histograms, and the continuity of colour across touching sides.

Fragments are compared in CIELAB. A side's dissimilarity to another is Gallagher's Mahalanobis gradient compatibility (CVPR
2012) over all sides and turns, counted against the second-best partner of either side.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from hdbscan import HDBSCAN
from scipy.special import logsumexp

from hvd.toolkit.tasks.fragments.assembly import arrangement, arrangement_of_groups, in_any_order
from hvd.toolkit.tasks.fragments.types import Arrangement, Heap

# added to gradient variances: flat sides would have none; in squared CIELAB units
REGULARISATION = 1.0


def lab(fragments: np.ndarray) -> np.ndarray:
    """CIELAB float32 (n, s, s, 3), L in [0, 100], of RGB uint8 fragments."""
    count, size = fragments.shape[:2]
    image = fragments.reshape(count * size, size, 3).astype(np.float32) / 255
    return cv2.cvtColor(image, cv2.COLOR_RGB2LAB).reshape(fragments.shape)


def colour_similarity(pixels: np.ndarray, bins: int, blur: float) -> np.ndarray:
    """Histogram intersection (n, n) in [0, 1], mean over the three channels of CIELAB fragments (Swain & Ballard, 1991)."""
    count = len(pixels)
    histograms = []
    for channel, (low, high) in enumerate(((0, 100), (-60, 60), (-60, 60))):
        position = (pixels[..., channel].reshape(count, -1) - low) / (high - low) * bins
        index = np.clip(position, 0, bins - 1).astype(int)
        histogram = np.zeros((count, bins))
        np.add.at(histogram, (np.arange(count)[:, None], index), 1 / index.shape[1])
        kernel = np.exp(-0.5 * ((np.arange(bins)[:, None] - np.arange(bins)) / blur) ** 2)
        histograms.append(histogram @ (kernel / kernel.sum(1)))

    return np.mean([np.minimum(h[:, None], h[None]).sum(-1) for h in histograms], 0)


def side_dissimilarity(pixels: np.ndarray) -> np.ndarray:
    """Gradient dissimilarity float64 (4, 4, n, n): side a of i against side (a + 2 + o) mod 4 of j, infinite for i = j.

    The quadratic form is multiplied out, so that all pairs are one matrix product.
    """
    count, size = pixels.shape[:2]
    turned = np.stack([np.rot90(pixels, k, (1, 2)) for k in range(4)])[:, :, :2].astype(np.float64)
    # (4, n, s, 3), read clockwise
    edge = turned[:, :, 0]
    inner = turned[:, :, 1]
    gradient = edge - inner
    mean = gradient.mean(2, keepdims=True)
    centred = gradient - mean
    covariance = centred.swapaxes(2, 3) @ centred / size + REGULARISATION * np.eye(3)
    precision = np.linalg.inv(covariance)
    expected = edge + mean
    weighted = expected @ precision
    query = [
        precision.reshape(4, count, 9),
        -2 * weighted.reshape(4, count, -1),
        (weighted * expected).sum((2, 3))[..., None],
    ]
    squares = edge.swapaxes(2, 3) @ edge
    key = [
        squares.reshape(4, count, 9),
        edge[:, :, ::-1].reshape(4, count, -1),
        np.ones((4, count, 1)),
    ]
    one_way = (
        np.concatenate(query, -1).reshape(4 * count, -1)
        @ np.concatenate(key, -1).reshape(4 * count, -1).T
    )
    both = np.maximum(one_way + one_way.T, 0).reshape(4, count, 4, count)
    index = np.arange(count)
    both[:, index, :, index] = np.inf
    side = np.arange(4)

    return both.transpose(0, 2, 1, 3)[side[:, None], (side[:, None] + 2 + side) % 4]


def mutual_ratio(dissimilarity: np.ndarray) -> np.ndarray:
    """(4, 4, n, n): dissimilarity over the second best of either side, geometric mean; below 1 for mutual best partners."""
    side = np.arange(4)
    second = (
        np.partition(
            dissimilarity.transpose(0, 2, 1, 3).reshape(4, dissimilarity.shape[2], -1), 1, -1
        )[..., 1]
        + 1e-6
    )
    other = second[(side[:, None] + 2 + side) % 4]  # (4, 4, n)

    return dissimilarity / np.sqrt(second[:, None, :, None] * other[:, :, None])


def walked(affinity: np.ndarray, steps: int) -> np.ndarray:
    """n times the probability (n, n) that a lazy random walk over the affinity ends there after `steps`, a power of two: above 1
    where it is likelier than chance (cf. Coifman & Lafon, 2006)."""
    scale = 1 / np.sqrt(affinity.sum(1) + 1e-12)
    walk = (affinity * scale[:, None] * scale + np.eye(len(affinity))) / 2
    for _ in range(int(np.log2(steps))):
        walk = walk @ walk
    return walk * len(affinity)


@dataclass(frozen=True)
class Gradient:
    """Colour histograms + mutual gradient compatibility -> affinity -> random walk -> the shared clustering and assembly.

    `contrast`, `edge` and `steps` were chosen, and the last two fitted by logistic regression, on photographs of the training part.
    """

    bins: int = 16
    blur: float = 1.0  # of histograms, in bins
    contrast: int = 8  # power of the colour similarity
    edge: float = 128.0  # weight of a certain side against the same colours
    steps: int = 16
    slope: float = 2.7
    offset: float = -2.7

    @in_any_order
    def predict(self, inputs: Heap) -> Arrangement:
        pixels = lab(inputs.fragments)
        ratio = mutual_ratio(side_dissimilarity(pixels))
        steep = 1 / (
            1 + ratio**16
        )  # near 1/2 where a partner ties with the second best: all that noise leaves
        sides = np.maximum(1 - ratio, 0) + 0.1 * steep
        affinity = colour_similarity(
            pixels, self.bins, self.blur
        ) ** self.contrast + self.edge * sides.max((0, 1))
        np.fill_diagonal(affinity, 0)
        logits = self.slope * np.log(walked(affinity, self.steps) + 1e-4) + self.offset

        return arrangement(1 / (1 + np.exp(-logits)), steep[:, : 4 if inputs.turned else 1], inputs)


def touching_probability(scores: np.ndarray, none: float) -> np.ndarray:
    """(4, O, n, n): geometric mean of the two softmaxes of side scores over all partners of either side, or none."""
    turns, count = scores.shape[1:3]
    rows = scores.transpose(0, 2, 1, 3).reshape(4, count, -1)
    total = np.logaddexp(logsumexp(rows, -1), none)
    side = np.arange(4)
    other = total[(side[:, None] + 2 + np.arange(turns)) % 4]
    return np.exp(scores - (total[:, None, :, None] + other[:, :, None]) / 2)


def closing_loops(touching: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For either corner, (4, O, n, n) probabilities that the way round it over two other fragments joins the same two sides, so
    that four fragments meet (Son et al., ECCV 2014)."""
    side = np.arange(4)
    if touching.shape[1] == 1:
        p = touching[:, 0]
        around = (p[(side + 1) % 4] @ p @ p[(side + 3) % 4])[:, None]
        return around, around[(side + 2) % 4].swapaxes(2, 3)

    count = touching.shape[2]
    relative = (
        side[None] - side[:, None] - 2
    ) % 4  # the turn at which side b of j meets side a of i
    crossed = touching[side[:, None], relative].transpose(0, 2, 1, 3)  # (a, i, b, j)
    step = np.roll(crossed, -1, 0).reshape(4 * count, -1)
    around = np.roll((step @ step @ step).reshape(4, count, 4, count), 1, 2)
    opposite = (side[:, None] + 2 + side) % 4

    return tuple(
        w.transpose(0, 2, 1, 3)[side[:, None], opposite]
        for w in (around, around.transpose(2, 3, 0, 1))
    )


@dataclass(frozen=True)
class Loops:
    """Mutual gradient compatibility, sharpened by the loops of four fragments that it closes -> random walk over neighbours ->
    the shared clustering and assembly: the steps that also stand in the network of `deep`, with constants set by hand.

    The first four defaults were chosen on heaps of the training part, clean, noisy, turned and worn; the others were not tuned.
    """

    ratio: float = 5.0  # weight of the logarithm of the mutual ratio
    gradient: float = 0.5  # weight of the logarithm of the dissimilarity
    none: float = -2.0  # score of having no neighbour
    loops: float = 1.5  # weight of the logarithm of a loop's probability over the floor
    floor: float = 0.02  # probability of a loop that says nothing
    rounds: int = 3
    steps: int = 16
    slope: float = 2.0
    offset: float = -2.0

    @in_any_order
    def predict(self, inputs: Heap) -> Arrangement:
        turns = 4 if inputs.turned else 1
        pixels = lab(inputs.fragments)
        dissimilarity = side_dissimilarity(pixels)
        ratio = np.clip(np.log(mutual_ratio(dissimilarity)[:, :turns] + 1e-6), -2.5, 2.5)
        start = -self.ratio * ratio - self.gradient * np.log(
            dissimilarity[:, :turns] / pixels.shape[1] + 1e-3
        )
        touching = touching_probability(start, self.none)
        for _ in range(self.rounds):
            closed = sum(np.log1p(way / self.floor) for way in closing_loops(touching))
            touching = touching_probability(start + self.loops * closed, self.none)

        reached = walked(touching.sum((0, 1)), self.steps)
        affinity = 1 / (1 + np.exp(-(self.slope * np.log(reached + 1e-4) + self.offset)))
        return arrangement(affinity, touching, inputs)


@dataclass(frozen=True)
class Colour:
    """Colour histograms alone."""

    bins: int = 16
    blur: float = 1.0
    slope: float = 8.3
    offset: float = -7.3

    @in_any_order
    def predict(self, inputs: Heap) -> Arrangement:
        logits = (
            self.slope * colour_similarity(lab(inputs.fragments), self.bins, self.blur)
            + self.offset
        )
        return arrangement(1 / (1 + np.exp(-logits)), None, inputs)


@dataclass(frozen=True)
class Density:
    """Colour histograms, and HDBSCAN (Campello et al., 2013) for the number of photographs; fragments that it calls noise join
    the group whose members are most alike, and without any group all are one."""

    bins: int = 16
    blur: float = 1.0
    smallest: int = 4

    @in_any_order
    def predict(self, inputs: Heap) -> Arrangement:
        similarity = colour_similarity(lab(inputs.fragments), self.bins, self.blur)
        labels = HDBSCAN(metric="precomputed", min_cluster_size=self.smallest).fit_predict(
            1 - similarity
        )
        found = labels.max() + 1

        if found == 0:
            labels = np.zeros(len(labels), int)
        else:
            likeness = np.stack([similarity[:, labels == k].mean(1) for k in range(found)], 1)
            labels = np.where(labels < 0, likeness.argmax(1), labels)

        return arrangement_of_groups(labels.astype(np.int32), similarity, None, inputs)

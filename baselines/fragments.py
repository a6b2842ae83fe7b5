"""`fragments` without learning: colour histograms, and how colour continues across sides.

Fragments are compared in CIELAB. Sides are compared by Gallagher's Mahalanobis gradient
compatibility (CVPR 2012), relative to the second-best partner of either side.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from hdbscan import HDBSCAN
from scipy.special import logsumexp

from hvd.toolkit.tasks.fragments.assembly import (
    arrangement,
    arrangement_of_groups,
    in_any_order,
)
from hvd.toolkit.tasks.fragments.types import Arrangement, Heap

# Added to gradient variances, since flat sides would have none; in squared CIELAB units.
REGULARISATION = 1.0

SIDE = np.arange(4)

# Side (a + 2 + o) mod 4 of j faces side a of i when j is turned o quarter turns less.
FACING = (SIDE[:, None] + 2 + SIDE) % 4


def lab(fragments: np.ndarray) -> np.ndarray:
    """CIELAB float32 (n, s, s, 3), L in [0, 100], of RGB uint8 fragments."""
    count, size = fragments.shape[:2]
    image = fragments.reshape(count * size, size, 3).astype(np.float32) / 255
    return cv2.cvtColor(image, cv2.COLOR_RGB2LAB).reshape(fragments.shape)


def colour_similarity(pixels: np.ndarray, bins: int, blur: float) -> np.ndarray:
    """Histogram intersection (n, n) in [0, 1] of CIELAB fragments (Swain & Ballard, 1991).

    The mean over the three channels; `blur` smooths the histograms over that many bins.
    """
    count = len(pixels)
    offsets = np.arange(bins)[:, None] - np.arange(bins)
    kernel = np.exp(-0.5 * (offsets / blur) ** 2)
    # Neighbouring bins share their counts, so that a slight change of light
    # does not move all of them.
    similarities = []

    # Ranges of L, a and b that photographs use.
    for channel, (low, high) in enumerate(((0, 100), (-60, 60), (-60, 60))):
        position = (
            (pixels[..., channel].reshape(count, -1) - low)
            / (high - low)
            * bins
        )
        index = np.clip(position, 0, bins - 1).astype(int)
        histogram = np.zeros((count, bins))
        np.add.at(
            histogram, (np.arange(count)[:, None], index), 1 / index.shape[1]
        )
        histogram = histogram @ (kernel / kernel.sum(1))
        similarities.append(
            np.minimum(histogram[:, None], histogram[None]).sum(-1)
        )

    return np.mean(similarities, 0)


def side_dissimilarity(pixels: np.ndarray) -> np.ndarray:
    """Gradient dissimilarity float64 (4, 4, n, n) of all sides of CIELAB fragments.

    Entry (a, o, i, j) compares side a of i with side (a + 2 + o) mod 4 of j; it is infinite for
    i = j.
    """
    count, size = pixels.shape[:2]

    # The two outermost rows of each side, (4, n, s, 3), read clockwise.
    turned = np.stack([np.rot90(pixels, k, (1, 2)) for k in range(4)])[
        :, :, :2
    ].astype(np.float64)
    edge = turned[:, :, 0]
    inner = turned[:, :, 1]

    # Across the side, the gradient is expected to go on as inside the fragment.
    gradient = edge - inner
    mean = gradient.mean(2, keepdims=True)
    centred = gradient - mean
    covariance = centred.swapaxes(
        2, 3
    ) @ centred / size + REGULARISATION * np.eye(3)
    precision = np.linalg.inv(covariance)
    expected = edge + mean
    weighted = expected @ precision

    # The quadratic form (x - expected) precision (x - expected), multiplied out into inner
    # products of a query and a key, so that all pairs are one matrix product.
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
    queries = np.concatenate(query, -1).reshape(4 * count, -1)
    keys = np.concatenate(key, -1).reshape(4 * count, -1)
    one_way = queries @ keys.T

    both = np.maximum(one_way + one_way.T, 0).reshape(4, count, 4, count)
    index = np.arange(count)
    both[:, index, :, index] = np.inf
    return both.transpose(0, 2, 1, 3)[SIDE[:, None], FACING]


def mutual_ratio(dissimilarity: np.ndarray) -> np.ndarray:
    """Dissimilarity (4, 4, n, n) divided by the second best of either side, geometric mean.

    Below 1 for sides that are each other's best partner.
    """
    count = dissimilarity.shape[2]
    rows = dissimilarity.transpose(0, 2, 1, 3).reshape(4, count, -1)
    second = np.partition(rows, 1, -1)[..., 1] + 1e-6
    other = second[FACING]  # (4, 4, n)
    return dissimilarity / np.sqrt(second[:, None, :, None] * other[:, :, None])


def walk_probability(affinity: np.ndarray, steps: int) -> np.ndarray:
    """How likely a lazy random walk over the affinity leads from one fragment to another.

    `steps` is a power of two. Returns (n, n), multiplied by n: above 1 where it is likelier than
    chance (cf. Coifman & Lafon, 2006).
    """
    scale = 1 / np.sqrt(affinity.sum(1) + 1e-12)
    walk = (affinity * scale[:, None] * scale + np.eye(len(affinity))) / 2
    for _ in range(int(np.log2(steps))):
        walk = walk @ walk
    return walk * len(affinity)


@dataclass(frozen=True)
class Gradient:
    """Colour histograms and gradient compatibility -> affinity -> random walk -> shared last steps.

    `contrast`, `edge` and `steps` were chosen on photographs of the training part; `slope` and
    `offset` were fitted there by logistic regression.
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

        # Near 1/2 where a partner ties with the second best: all that remains under noise.
        touching = 1 / (1 + ratio**16)
        sides = np.maximum(1 - ratio, 0) + 0.1 * touching
        colour = (
            colour_similarity(pixels, self.bins, self.blur) ** self.contrast
        )
        affinity = colour + self.edge * sides.max((0, 1))
        np.fill_diagonal(affinity, 0)

        walk = walk_probability(affinity, self.steps)
        logits = self.slope * np.log(walk + 1e-4) + self.offset
        turns = 4 if inputs.turned else 1
        return arrangement(
            1 / (1 + np.exp(-logits)), touching[:, :turns], inputs
        )


def touching_probability(scores: np.ndarray, none: float) -> np.ndarray:
    """Probability (4, O, n, n) that sides touch, from their scores.

    The geometric mean of two softmaxes, each over all partners of one of the sides and over having
    no neighbour, whose score is `none`.
    """
    turns, count = scores.shape[1:3]
    rows = scores.transpose(0, 2, 1, 3).reshape(4, count, -1)
    total = np.logaddexp(logsumexp(rows, -1), none)
    other = total[FACING[:, :turns]]
    return np.exp(scores - (total[:, None, :, None] + other[:, :, None]) / 2)


def closing_loops(touching: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expected number of ways from one side to the other through two further fragments.

    Four fragments meet at a corner: when i touches j, and the other two sides of the corner touch
    as well, they support each other (Son et al., ECCV 2014). One array (4, O, n, n) for each of
    the two corners at a side; O is the number of turns, 1 for upright heaps and 4 for turned ones.
    """
    if touching.shape[1] == 1:
        p = touching[:, 0]
        around = (p[(SIDE + 1) % 4] @ p @ p[(SIDE + 3) % 4])[:, None]
        return around, around[(SIDE + 2) % 4].swapaxes(2, 3)

    # As one matrix from (side, fragment) to (side, fragment), (4, n, 4, n): the turn at which side
    # b of j meets side a of i selects the entry.
    count = touching.shape[2]
    turn = (SIDE[None] - SIDE[:, None] - 2) % 4
    pairs = touching[SIDE[:, None], turn].transpose(0, 2, 1, 3)

    # A step goes on to the next side of a fragment and crosses it. After three
    # steps, the next side of j faces side a of i: the second roll leads there.
    step = np.roll(pairs, -1, 0).reshape(4 * count, -1)
    around = np.roll((step @ step @ step).reshape(4, count, 4, count), 1, 2)

    loops = []
    for corner in (around, around.transpose(2, 3, 0, 1)):
        loops.append(corner.transpose(0, 2, 1, 3)[SIDE[:, None], FACING])
    return tuple(loops)


@dataclass(frozen=True)
class Loops:
    """Gradient compatibility, sharpened by loops of four fragments -> random walk -> shared steps.

    These steps are also part of the network of `deep`; here their constants are set by hand. The
    first four defaults were chosen on heaps of the training part, clean, noisy, turned and worn;
    the others were not tuned.
    """

    ratio: float = 5.0  # weight of the logarithm of the mutual ratio
    gradient: float = 0.5  # weight of the logarithm of the dissimilarity
    none: float = -2.0  # score of having no neighbour
    # Weight of the logarithm of a loop's probability over the floor
    loops: float = 1.5
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

        # Neighbours are each other's best match; the ratio says by how much.
        ratio = np.clip(
            np.log(mutual_ratio(dissimilarity)[:, :turns] + 1e-6), -2.5, 2.5
        )
        gradient = np.log(dissimilarity[:, :turns] / pixels.shape[1] + 1e-3)
        start = -self.ratio * ratio - self.gradient * gradient
        touching = touching_probability(start, self.none)
        # Four fragments that close a loop support each other's sides.
        for _ in range(self.rounds):
            bonus = sum(
                np.log1p(loop / self.floor) for loop in closing_loops(touching)
            )
            touching = touching_probability(
                start + self.loops * bonus, self.none
            )

        # Fragments of one photograph need not touch: a random walk along
        # likely neighbours joins them.
        walk = walk_probability(touching.sum((0, 1)), self.steps)
        affinity = 1 / (
            1 + np.exp(-(self.slope * np.log(walk + 1e-4) + self.offset))
        )
        return arrangement(affinity, touching, inputs)


@dataclass(frozen=True)
class Colour:
    """Nothing but colour histograms."""

    bins: int = 16
    blur: float = 1.0
    slope: float = 8.3
    offset: float = -7.3

    @in_any_order
    def predict(self, inputs: Heap) -> Arrangement:
        similarity = colour_similarity(
            lab(inputs.fragments), self.bins, self.blur
        )
        logits = self.slope * similarity + self.offset
        return arrangement(1 / (1 + np.exp(-logits)), None, inputs)


@dataclass(frozen=True)
class Density:
    """Colour histograms, grouped by HDBSCAN (Campello et al., 2013), which chooses the number.

    Fragments that it calls noise join the group whose members are most alike. When it finds no
    group, all fragments are one.
    """

    bins: int = 16
    blur: float = 1.0
    smallest: int = 4

    @in_any_order
    def predict(self, inputs: Heap) -> Arrangement:
        similarity = colour_similarity(
            lab(inputs.fragments), self.bins, self.blur
        )
        clusters = HDBSCAN(metric="precomputed", min_cluster_size=self.smallest)
        labels = clusters.fit_predict(1 - similarity)
        count = labels.max() + 1

        if count == 0:
            labels = np.zeros(len(labels), int)
        else:
            means = [similarity[:, labels == k].mean(1) for k in range(count)]
            labels = np.where(labels < 0, np.stack(means, 1).argmax(1), labels)

        return arrangement_of_groups(
            labels.astype(np.int32), similarity, None, inputs
        )

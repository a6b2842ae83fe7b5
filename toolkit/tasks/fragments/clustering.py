"""From an affinity between fragments to groups: spectral start, then moves that raise the evidence within groups.

Affinities are probabilities in [0, 1] that two fragments come from one photograph; their logits, summed over the pairs of a
group, are the objective (correlation clustering, Bansal et al., 2004). Labels are int32 from 0, without gaps.
"""

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import squareform

MEAN_ROUNDS, MOVE_ROUNDS = 12, 1000  # most; both end by themselves long before
MOST_GROUPS = 50
PATIENCE = 10  # larger numbers of groups that are tried after the best so far
LENIENCY = 1.0  # added to logits when the number of groups is judged: members that none claims surely are no groups of their own
GROUP_COST = 25.0  # evidence that a further group must add; both chosen on validation photographs
EVIDENCE_LIMIT = 6.0  # logits beyond are certain enough: one wrong pair must not outweigh a group


def groups(affinity: np.ndarray, images: int | None, equal: bool) -> np.ndarray:
    """Labels int32 (n,) from an affinity (n, n), with the number of groups and their equal size known or not.

    An unknown number is the one, up to MOST_GROUPS, whose groups hold the most evidence, each group at a cost.
    """
    logits = evidence(affinity)
    count = len(logits)
    if images == 1:
        return np.zeros(count, np.int32)
    if equal:
        points = spectral_embedding(affinity, images)
        return swapped(logits, spherical_means(points, images, np.full(images, count // images)))

    if images:
        return grouped(
            logits, spectral_embedding(affinity, images), average_linkage(logits), images
        )

    most = min(count, MOST_GROUPS)
    points = spectral_embedding(affinity, most)
    tree = average_linkage(logits)
    lenient = logits + LENIENCY * (1 - np.eye(count))
    best = np.zeros(count, np.int32)
    highest = within(lenient, best) - GROUP_COST

    for images in range(2, most + 1):
        labels = grouped(logits, points, tree, images)
        score = within(lenient, labels) - GROUP_COST * images
        if score > highest:
            best = labels
            highest = score
        elif images > best.max() + 1 + PATIENCE:
            break

    return best


def grouped(logits: np.ndarray, points: np.ndarray, tree: np.ndarray, images: int) -> np.ndarray:
    """The better of two starts, spectral and average linkage, after moves; sizes are free."""
    starts = (
        spherical_means(unit(points[:, :images]), images, None),
        fcluster(tree, images, "maxclust"),
    )

    return max(
        (moved(logits, filled(start, images)) for start in starts),
        key=lambda labels: within(logits, labels),
    )


def unit(points: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1."""
    return points / (np.linalg.norm(points, axis=-1, keepdims=True) + 1e-12)


def evidence(affinity: np.ndarray) -> np.ndarray:
    """Logits (n, n) of an affinity, symmetric, limited, zero on the diagonal."""
    limit = 1 / (1 + np.exp(EVIDENCE_LIMIT))
    p = np.clip((affinity + affinity.T) / 2, limit, 1 - limit).astype(np.float64)
    logits = np.log(p / (1 - p))
    np.fill_diagonal(logits, 0)
    return logits


def spectral_embedding(affinity: np.ndarray, dimensions: int) -> np.ndarray:
    """Unit rows (n, dimensions) of the normalised affinity's leading eigenvectors, largest first (Ng, Jordan & Weiss, 2001)."""
    weights = (affinity + affinity.T).astype(np.float64) / 2
    np.fill_diagonal(weights, 0)
    scale = 1 / np.sqrt(weights.sum(1) + 1e-9)
    _, vectors = np.linalg.eigh(
        weights * scale[:, None] * scale[None]
    )  # SciPy's subset driver fails on nearly equal eigenvalues
    return unit(vectors[:, : -dimensions - 1 : -1])


def farthest_points(points: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` rows, each the one least like those chosen before; the first is the most central."""
    chosen = [int(np.argmax(points @ points.mean(0)))]
    nearest = points @ points[chosen[0]]
    while len(chosen) < count:
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, points @ points[chosen[-1]])
    return np.array(chosen)


def assigned(scores: np.ndarray, sizes: np.ndarray | None) -> np.ndarray:
    """Group of every row under scores (n, k): the best, or, with sizes (k,), the best assignment that fills them."""
    if sizes is None:
        return scores.argmax(1).astype(np.int32)
    slots = np.repeat(np.arange(len(sizes)), sizes)
    rows, columns = linear_sum_assignment(scores[:, slots], maximize=True)
    labels = np.empty(len(scores), np.int32)
    labels[rows] = slots[columns]
    return labels


def spherical_means(points: np.ndarray, count: int, sizes: np.ndarray | None) -> np.ndarray:
    """k-means on unit vectors from farthest points, with the sizes kept when they are known."""
    centres = points[farthest_points(points, count)]
    labels = None
    for _ in range(MEAN_ROUNDS):
        previous = labels
        labels = assigned(points @ centres.T, sizes)
        if previous is not None and np.array_equal(previous, labels):
            break
        centres = np.stack(
            [
                points[labels == k].sum(0) if (labels == k).any() else centres[k]
                for k in range(count)
            ]
        )
        centres = unit(centres)

    return labels


def within(logits: np.ndarray, labels: np.ndarray) -> float:
    """Evidence summed over the pairs of each group: the objective."""
    return float((logits * (labels[:, None] == labels[None])).sum() / 2)


def average_linkage(logits: np.ndarray) -> np.ndarray:
    """The tree of groups merged by their mean evidence, as SciPy's `linkage` gives it."""
    return linkage(squareform(logits.max() - logits, checks=False), "average")


def filled(labels: np.ndarray, count: int) -> np.ndarray:
    """Labels from 0 without gaps; when fewer than `count` groups are in use, members of the largest go to new ones."""
    labels = np.unique(labels, return_inverse=True)[1].astype(np.int32)
    for new in range(labels.max() + 1, count):
        labels[np.flatnonzero(labels == np.bincount(labels).argmax())[-1]] = new
    return labels


def moved(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Single moves between groups, best first, while the evidence within groups rises and none runs empty."""
    labels = labels.copy()
    # (n, k): evidence of each fragment for each group
    gain = logits @ np.eye(labels.max() + 1)[labels]
    index = np.arange(len(labels))
    for _ in range(MOVE_ROUNDS):
        better = gain - gain[index, labels][:, None]
        better[np.bincount(labels)[labels] == 1] = 0
        i, k = np.unravel_index(better.argmax(), better.shape)
        if better[i, k] <= 1e-9:
            break
        gain[:, labels[i]] -= logits[:, i]
        gain[:, k] += logits[:, i]
        labels[i] = k

    return labels


def swapped(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Exchanges of two fragments between groups, best first, while the evidence within groups rises (Kernighan & Lin, 1970)."""
    labels = labels.copy()
    gain = logits @ np.eye(labels.max() + 1)[labels]
    index = np.arange(len(labels))
    for _ in range(MOVE_ROUNDS):
        moving = gain[:, labels] - gain[index, labels][:, None]  # (i, j): i into the group of j
        change = moving + moving.T - 2 * logits
        change[labels[:, None] == labels[None]] = 0
        i, j = np.unravel_index(change.argmax(), change.shape)
        if change[i, j] <= 1e-9:
            break
        difference = logits[:, j] - logits[:, i]
        gain[:, labels[i]] += difference
        gain[:, labels[j]] -= difference
        labels[i], labels[j] = labels[j], labels[i]

    return labels

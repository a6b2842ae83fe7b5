"""Group fragments by their affinity: a spectral start, then moves that raise the evidence.

An affinity is the probability, in [0, 1], that two fragments come from one photograph. Its logit is
the evidence for that; the objective is the evidence summed over the pairs within groups
(correlation clustering, Bansal et al., 2004). Labels are int32 from 0, without gaps.
"""

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import squareform

# Upper limits; both loops end by themselves long before.
MEAN_ROUNDS = 12
MOVE_ROUNDS = 1000

MOST_GROUPS = 50
# How many larger numbers of groups are tried after the best one so far
PATIENCE = 10

# When the number of groups is chosen, LENIENCY is added to all logits, so that fragments which no
# group claims do not become groups of their own, and a further group must add GROUP_COST of
# evidence. Both were chosen on validation photographs.
LENIENCY = 1.0
GROUP_COST = 25.0

# Logits are limited to this: one wrong pair must not outweigh a group
EVIDENCE_LIMIT = 6.0


def groups(affinity: np.ndarray, images: int | None, equal: bool) -> np.ndarray:
    """Group fragments by their affinity.

    Parameters
    ----------
    affinity : (n, n) in [0, 1].
    images : the number of groups; None when unknown, then up to MOST_GROUPS are tried.
    equal : whether all groups have the same size; needs `images`.

    Returns
    -------
    Labels int32 (n,).
    """
    logits = evidence_of(affinity)
    count = len(logits)
    if images == 1:
        return np.zeros(count, np.int32)

    if equal:
        points = spectral_embedding(affinity, images)
        sizes = np.full(images, count // images)
        return after_exchanges(logits, spherical_means(points, images, sizes))

    if images:
        points = spectral_embedding(affinity, images)
        return best_labels(logits, points, average_linkage(logits), images)

    return groups_of_unknown_number(affinity, logits)


def groups_of_unknown_number(
    affinity: np.ndarray, logits: np.ndarray
) -> np.ndarray:
    """Labels int32 (n,) of the number of groups that hold the most evidence, at a cost for each."""
    count = len(logits)
    most = min(count, MOST_GROUPS)
    points = spectral_embedding(affinity, most)
    tree = average_linkage(logits)

    # Without leniency towards weak pairs, large photographs would be divided.
    lenient = logits + LENIENCY * (1 - np.eye(count))
    best = np.zeros(count, np.int32)
    highest = evidence_within(lenient, best) - GROUP_COST

    for images in range(2, most + 1):
        labels = best_labels(logits, points, tree, images)
        score = evidence_within(lenient, labels) - GROUP_COST * images
        if score > highest:
            best = labels
            highest = score
        # The best number has passed: more groups only lower the evidence.
        elif images > best.max() + 1 + PATIENCE:
            break

    return best


def best_labels(
    logits: np.ndarray,
    points: np.ndarray,
    tree: np.ndarray,
    images: int,
) -> np.ndarray:
    """Labels of groups of any size: the better of two starts, spectral and average linkage."""
    spectral = spherical_means(unit_rows(points[:, :images]), images, None)
    linked = fcluster(tree, images, "maxclust")

    first = after_moves(logits, labels_without_gaps(spectral, images))
    second = after_moves(logits, labels_without_gaps(linked, images))
    return max(
        (first, second), key=lambda labels: evidence_within(logits, labels)
    )


def unit_rows(points: np.ndarray) -> np.ndarray:
    """Scale rows to length 1."""
    return points / (np.linalg.norm(points, axis=-1, keepdims=True) + 1e-12)


def evidence_of(affinity: np.ndarray) -> np.ndarray:
    """Logits (n, n) of an affinity: symmetric, limited, zero on the diagonal."""
    limit = 1 / (1 + np.exp(EVIDENCE_LIMIT))
    p = np.clip((affinity + affinity.T) / 2, limit, 1 - limit).astype(
        np.float64
    )
    logits = np.log(p / (1 - p))
    np.fill_diagonal(logits, 0)
    return logits


def spectral_embedding(affinity: np.ndarray, dimensions: int) -> np.ndarray:
    """Unit rows (n, dimensions) of the leading eigenvectors of the normalised affinity.

    The largest eigenvalue comes first. Source: Ng, Jordan & Weiss, 2001.
    """
    weights = (affinity + affinity.T).astype(np.float64) / 2
    np.fill_diagonal(weights, 0)
    scale = 1 / np.sqrt(weights.sum(1) + 1e-9)

    # All eigenvectors: SciPy's driver for a subset fails on nearly equal eigenvalues.
    _, vectors = np.linalg.eigh(weights * scale[:, None] * scale[None])
    return unit_rows(vectors[:, : -dimensions - 1 : -1])


def farthest_points(points: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` rows, each the one least like those chosen before.

    The first is the row most like the mean.
    """
    chosen = [int(np.argmax(points @ points.mean(0)))]
    nearest = points @ points[chosen[0]]
    while len(chosen) < count:
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, points @ points[chosen[-1]])
    return np.array(chosen)


def assignment(scores: np.ndarray, sizes: np.ndarray | None) -> np.ndarray:
    """The group of every row, by its scores (n, k) for the groups.

    Each row goes to its best group; with sizes (k,), rows go so that the groups have these sizes
    and the sum of the scores is greatest.
    """
    if sizes is None:
        return scores.argmax(1).astype(np.int32)

    slots = np.repeat(np.arange(len(sizes)), sizes)
    rows, columns = linear_sum_assignment(scores[:, slots], maximize=True)
    labels = np.empty(len(scores), np.int32)
    labels[rows] = slots[columns]
    return labels


def spherical_means(
    points: np.ndarray, count: int, sizes: np.ndarray | None
) -> np.ndarray:
    """k-means on unit vectors, started at farthest points; keeps the sizes when they are known."""
    centres = points[farthest_points(points, count)]
    labels = None

    for _ in range(MEAN_ROUNDS):
        previous = labels
        labels = assignment(points @ centres.T, sizes)
        if previous is not None and np.array_equal(previous, labels):
            break
        sums = centres.copy()  # an empty group keeps its centre
        for k in np.unique(labels):
            sums[k] = points[labels == k].sum(0)
        centres = unit_rows(sums)

    return labels


def evidence_within(logits: np.ndarray, labels: np.ndarray) -> float:
    """The objective: evidence summed over the pairs within groups."""
    return float((logits * (labels[:, None] == labels[None])).sum() / 2)


def average_linkage(logits: np.ndarray) -> np.ndarray:
    """The tree that merges groups by their mean evidence, in the form of SciPy's `linkage`."""
    return linkage(squareform(logits.max() - logits, checks=False), "average")


def labels_without_gaps(labels: np.ndarray, count: int) -> np.ndarray:
    """Renumber labels from 0, and make sure that there are `count` groups.

    A missing group gets a member of the largest one.
    """
    labels = np.unique(labels, return_inverse=True)[1].astype(np.int32)
    for new in range(labels.max() + 1, count):
        largest = np.bincount(labels).argmax()
        labels[np.flatnonzero(labels == largest)[-1]] = new
    return labels


def after_moves(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Single moves between groups, best first, while the evidence within groups rises.

    No group becomes empty.
    """
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


def after_exchanges(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Exchanges of two fragments between groups, best first, while the evidence rises.

    Evidence is that within groups, as in Kernighan & Lin, 1970.
    """
    labels = labels.copy()
    gain = logits @ np.eye(labels.max() + 1)[labels]
    index = np.arange(len(labels))
    for _ in range(MOVE_ROUNDS):
        # (i, j): i into the group of j
        moving = gain[:, labels] - gain[index, labels][:, None]
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

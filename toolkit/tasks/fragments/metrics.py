"""Scores of predicted groups and of assembled photographs."""

import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import pair_confusion_matrix

from hvd.toolkit.core import Metric
from hvd.toolkit.tasks.fragments.types import STEPS, Arrangement


def ari(target: Arrangement, prediction: Arrangement) -> float:
    """Adjusted Rand index of the groups; 1 = perfect, 0 = chance (Hubert & Arabie, 1985).

    >>> one, two = np.zeros(4, int), np.array([0, 0, 1, 1])
    >>> places = np.arange(4), np.zeros(4, int), np.zeros(4, int), np.ones(4)
    >>> ari(Arrangement(two, *places), Arrangement(two[::-1], *places))
    1.0
    >>> ari(Arrangement(two, *places), Arrangement(one, *places))
    0.0
    """
    return float(adjusted_rand_score(target.group, prediction.group))


def pair_precision(target: Arrangement, prediction: Arrangement) -> float:
    """Of the pairs put together, the share that belongs together; 1 when none was put together.

    >>> one, two = np.zeros(4, int), np.array([0, 0, 1, 1])
    >>> places = np.arange(4), np.zeros(4, int), np.zeros(4, int), np.ones(4)
    >>> round(pair_precision(Arrangement(two, *places), Arrangement(one, *places)), 3)
    0.333
    """
    (_, false_positive), (_, true_positive) = pair_confusion_matrix(
        target.group, prediction.group
    )
    together = true_positive + false_positive
    return float(true_positive / together) if together else 1.0


def pair_recall(target: Arrangement, prediction: Arrangement) -> float:
    """Of the pairs that belong together, the share put together; 1 when there is none.

    >>> one, two = np.zeros(4, int), np.array([0, 0, 1, 1])
    >>> places = np.arange(4), np.zeros(4, int), np.zeros(4, int), np.ones(4)
    >>> pair_recall(Arrangement(two, *places), Arrangement(one, *places))
    1.0
    """
    _, (false_negative, true_positive) = pair_confusion_matrix(
        target.group, prediction.group
    )
    belonging = true_positive + false_negative
    return float(true_positive / belonging) if belonging else 1.0


def neighbour_pairs(arrangement: Arrangement) -> set[tuple[int, int, int, int]]:
    """Every two fragments that lie side by side: (i, side of i, j, turn of i minus turn of j)."""
    places = zip(
        arrangement.group, arrangement.row, arrangement.column, strict=True
    )
    fragment_at = {place: i for i, place in enumerate(places)}
    turn = arrangement.turn
    pairs = set()

    for (group, row, column), i in fragment_at.items():
        for side, (down, right) in enumerate(STEPS):
            j = fragment_at.get((group, row + down, column + right))
            if j is not None:
                pairs.add(
                    (i, int(side - turn[i]) % 4, j, int(turn[i] - turn[j]) % 4)
                )

    return pairs


def neighbour_accuracy(target: Arrangement, prediction: Arrangement) -> float:
    """Of the true neighbours, the share laid side by side in the same way (Gallagher, CVPR 2012).

    >>> pair = np.zeros(2, int)
    >>> row = Arrangement(pair, pair, np.arange(2), pair, np.ones(2))
    >>> column = Arrangement(pair, np.arange(2), pair, pair, np.ones(2))
    >>> neighbour_accuracy(row, row), neighbour_accuracy(row, column)
    (1.0, 0.0)
    """
    truth = neighbour_pairs(target)
    return (
        len(truth & neighbour_pairs(prediction)) / len(truth) if truth else 1.0
    )


def perfect_images(target: Arrangement, prediction: Arrangement) -> float:
    """Share of the photographs put together without a fault, up to a turn of the photograph.

    >>> pair = np.zeros(2, int)
    >>> row = Arrangement(pair, pair, np.arange(2), pair, np.ones(2))
    >>> perfect_images(row, row)
    1.0
    """
    true_pairs = neighbour_pairs(target)
    predicted_pairs = neighbour_pairs(prediction)
    photographs = np.unique(target.group)
    perfect = 0

    for group in photographs:
        members = np.flatnonzero(target.group == group)
        member_set = set(members.tolist())

        # Its fragments, and no others, are in one group, and all of them lie as they should.
        predicted = prediction.group[members]
        is_group = (predicted == predicted[0]).all()
        is_pure = (prediction.group == predicted[0]).sum() == len(members)
        wanted = {pair for pair in true_pairs if pair[0] in member_set}
        laid = {pair for pair in predicted_pairs if pair[0] in member_set}
        perfect += is_group and is_pure and wanted == laid

    return perfect / len(photographs)


def nmi(target: Arrangement, prediction: Arrangement) -> float:
    """Normalised mutual information of the groups, arithmetic mean; 0 to 1.

    >>> two = np.array([0, 0, 1, 1])
    >>> places = np.arange(4), np.zeros(4, int), np.zeros(4, int), np.ones(4)
    >>> nmi(Arrangement(two, *places), Arrangement(two, *places))
    1.0
    """
    score = normalized_mutual_info_score(target.group, prediction.group)
    return min(1.0, score)  # rounding may leave it a little above 1


METRICS = (
    Metric(
        "ari",
        ari,
        "adjusted Rand index (Hubert & Arabie, 1985); 0 = chance",
        "ARI",
    ),
    Metric(
        "nmi", nmi, "normalised mutual information; 1 = the same groups", "NMI"
    ),
    Metric(
        "pair_precision",
        pair_precision,
        "of the pairs put together, the share that belongs together",
    ),
    Metric(
        "pair_recall",
        pair_recall,
        "of the pairs that belong together, the share put together",
    ),
    Metric(
        "neighbour_accuracy",
        neighbour_accuracy,
        "of the true neighbours, the share laid side by side",
    ),
    Metric(
        "perfect_images",
        perfect_images,
        "share of photographs put together without a fault",
    ),
)

"""How good an arrangement of fragments is."""

import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import pair_confusion_matrix

from hvd.toolkit.core import Metric
from hvd.toolkit.tasks.fragments.types import STEPS, Arrangement


def ari(target: Arrangement, prediction: Arrangement) -> float:
    """Adjusted Rand index (Hubert & Arabie, 1985).

    >>> one, two = np.zeros(4, int), np.array([0, 0, 1, 1])
    >>> places = np.arange(4), np.zeros(4, int), np.zeros(4, int), np.ones(4)
    >>> ari(Arrangement(two, *places), Arrangement(two[::-1], *places))
    1.0
    >>> ari(Arrangement(two, *places), Arrangement(one, *places))
    0.0
    """
    return float(adjusted_rand_score(target.group, prediction.group))


def pair_precision(target: Arrangement, prediction: Arrangement) -> float:
    """Share of the pairs put together that belong together; 1 when none was put together."""
    (_, false_positive), (_, true_positive) = pair_confusion_matrix(target.group, prediction.group)
    together = true_positive + false_positive
    return float(true_positive / together) if together else 1.0


def pair_recall(target: Arrangement, prediction: Arrangement) -> float:
    """Share of the pairs that belong together that were put together; 1 when there are none."""
    _, (false_negative, true_positive) = pair_confusion_matrix(target.group, prediction.group)
    belonging = true_positive + false_negative
    return float(true_positive / belonging) if belonging else 1.0


def touching(arrangement: Arrangement) -> set[tuple[int, int, int, int]]:
    """(i, side of i, j, turn of i less that of j) for every two fragments that lie side by side."""
    place = {
        (g, r, c): i
        for i, (g, r, c) in enumerate(
            zip(arrangement.group, arrangement.row, arrangement.column, strict=True)
        )
    }
    found = set()

    for (group, row, column), i in place.items():
        for side, (down, right) in enumerate(STEPS):
            j = place.get((group, row + down, column + right))
            if j is not None:
                turn = arrangement.turn
                found.add((i, int(side - turn[i]) % 4, j, int(turn[i] - turn[j]) % 4))

    return found


def neighbour_accuracy(target: Arrangement, prediction: Arrangement) -> float:
    """Share of the pairs that lie side by side in the photographs that were laid the same way (Gallagher, CVPR 2012)."""
    truth = touching(target)
    return len(truth & touching(prediction)) / len(truth) if truth else 1.0


def perfect_images(target: Arrangement, prediction: Arrangement) -> float:
    """Share of the photographs whose fragments were grouped and laid without a fault, up to a turn of the whole."""
    truth = touching(target)
    found = touching(prediction)
    perfect = 0
    for group in np.unique(target.group):
        members = np.flatnonzero(target.group == group)
        wanted = {t for t in truth if target.group[t[0]] == group}
        inside = set(members.tolist())
        laid = {t for t in found if t[0] in inside}
        together = len(np.unique(prediction.group[members])) == 1
        alone = (prediction.group == prediction.group[members[0]]).sum() == len(members)
        perfect += together and alone and wanted == laid

    return perfect / len(np.unique(target.group))


def nmi(target: Arrangement, prediction: Arrangement) -> float:
    """Normalised mutual information, arithmetic mean."""
    return min(
        1.0, normalized_mutual_info_score(target.group, prediction.group)
    )  # rounding may leave a little more


METRICS = (
    Metric("ari", ari, "adjusted Rand index (Hubert & Arabie, 1985); 0 = chance", "ARI"),
    Metric("nmi", nmi, "normalised mutual information; 1 = the same groups", "NMI"),
    Metric(
        "pair_precision",
        pair_precision,
        "of the pairs put together, the share that belongs together",
    ),
    Metric("pair_recall", pair_recall, "of the pairs that belong together, the share put together"),
    Metric(
        "neighbour_accuracy",
        neighbour_accuracy,
        "of the true neighbours, the share laid side by side",
    ),
    Metric("perfect_images", perfect_images, "share of photographs put together without a fault"),
)

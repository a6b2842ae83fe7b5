"""Scores of predicted boundaries and of the grains between them."""

import cv2
import numpy as np
from scipy.sparse import coo_array, csr_array
from skimage.metrics import variation_of_information

from hvd.toolkit.core import Metric
from hvd.toolkit.tasks.grains.sizes import equivalent_diameters, is_inside_frame
from hvd.toolkit.tasks.grains.types import Boundaries

# Rows of labels that are counted at once, to bound the memory.
ROWS_AT_ONCE = 1024


def boundary_iou(target: Boundaries, prediction: Boundaries) -> float:
    """Intersection over union of the masks, 0 to 1; 1 when neither has a boundary.

    >>> labels = np.ones((1, 4), np.int32)
    >>> drawn = Boundaries(np.array([[True, True, False, False]]), labels)
    >>> predicted = Boundaries(np.array([[True, False, False, False]]), labels)
    >>> boundary_iou(drawn, predicted)
    0.5
    """
    union = (target.mask | prediction.mask).sum()
    return (
        float((target.mask & prediction.mask).sum() / union) if union else 1.0
    )


def share_within(
    lines: np.ndarray,
    others: np.ndarray,
    tolerance: float,
) -> float:
    """Share of the pixels of `lines` that lie at most `tolerance` pixels from `others`."""
    return 1 - float(
        pixels_beyond(lines, others, tolerance).sum() / lines.sum()
    )


def pixels_beyond(
    lines: np.ndarray,
    others: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    """True where a pixel of `lines` is more than `tolerance` pixels away from all `others`."""
    if not others.any():
        return lines
    distance = cv2.distanceTransform(
        (~others).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    return lines & (distance > tolerance)


def boundary_f1(target: Boundaries, prediction: Boundaries) -> float:
    """Harmonic mean of recall and precision of the lines, within the target's tolerance.

    From 0 to 1; 1 when neither has a line. Source: Martin et al., PAMI 2004.

    >>> labels = np.array([[1, 1, 2, 2]], np.int32)
    >>> halves = Boundaries(labels == 2, labels, tolerance=1)
    >>> boundary_f1(halves, halves)
    1.0
    """
    if not target.lines.any() or not prediction.lines.any():
        return float(not target.lines.any() and not prediction.lines.any())

    recall = share_within(target.lines, prediction.lines, target.tolerance)
    precision = share_within(prediction.lines, target.lines, target.tolerance)
    return (
        2 * precision * recall / (precision + recall)
        if precision + recall
        else 0.0
    )


def median_diameter(labels: np.ndarray) -> float | None:
    """Median equivalent diameter in pixels of the grains inside the frame; None without a grain.

    When the frame cuts every grain, the median is over all of them.
    """
    if not labels.any():
        return None
    diameters = equivalent_diameters(labels)
    inside = is_inside_frame(labels)
    return float(np.median(diameters[inside] if inside.any() else diameters))


def diameter_error(target: Boundaries, prediction: Boundaries) -> float:
    """Relative error of the median equivalent diameter; 1 when only one of the two has grains.

    >>> one = np.ones((4, 4), np.int32)
    >>> four = np.kron([[1, 2], [3, 4]], np.ones((2, 2))).astype(np.int32)
    >>> diameter_error(Boundaries(one > 1, one), Boundaries(one > 1, four))
    0.5
    """
    true = median_diameter(target.labels)
    predicted = median_diameter(prediction.labels)
    if true is None or predicted is None:
        return float(true is not predicted)
    return abs(predicted - true) / true


def grain_count_ratio(target: Boundaries, prediction: Boundaries) -> float:
    """Predicted grains per true grain. Without a true grain: 1 + the number predicted.

    >>> one, two = np.ones((1, 4), np.int32), np.array([[1, 1, 2, 2]], np.int32)
    >>> grain_count_ratio(Boundaries(one > 1, one), Boundaries(two > 1, two))
    2.0
    """
    true = int(target.labels.max())
    predicted = int(prediction.labels.max())
    return predicted / true if true else 1.0 + predicted


def information(target: Boundaries, prediction: Boundaries) -> float:
    """Variation of information between the grains, in bits; 0 for the same grains (Meila, 2007).

    >>> one, two = np.ones((1, 4), np.int32), np.array([[1, 1, 2, 2]], np.int32)
    >>> information(Boundaries(one > 1, one), Boundaries(two > 1, two))
    1.0
    """
    bits = float(
        sum(variation_of_information(target.labels, prediction.labels))
    )

    # Rounding leaves a perfect answer a last digit away from 0.
    return round(max(0.0, bits), 9)


def instance_f1(target: Boundaries, prediction: Boundaries) -> float:
    """F1 of the grains: a predicted one is right when it overlaps a true one by an IoU above 0.5.

    From 0 to 1; 1 when neither has a grain. A grain can be right for one true grain only.

    >>> one, two = np.ones((1, 4), np.int32), np.array([[1, 1, 2, 2]], np.int32)
    >>> instance_f1(Boundaries(two > 1, two), Boundaries(two > 1, two))
    1.0
    """
    number = int(target.labels.max()), int(prediction.labels.max())
    if not any(number):
        return 1.0
    both = overlaps(target.labels, prediction.labels)
    of_target = np.asarray(both.sum(axis=1)).ravel()
    of_prediction = np.asarray(both.sum(axis=0)).ravel()
    table = both.tocoo()
    union = of_target[table.row] + of_prediction[table.col] - table.data
    is_grain = (table.row > 0) & (table.col > 0)
    right = int((is_grain & (table.data > 0.5 * union)).sum())
    return 2 * right / sum(number)


def overlaps(labels: np.ndarray, others: np.ndarray) -> csr_array:
    """How many pixels each label has in common with each of the others, (n + 1, m + 1)."""
    shape = int(labels.max()) + 1, int(others.max()) + 1
    total = csr_array(shape, dtype=np.int64)
    for k in range(0, len(labels), ROWS_AT_ONCE):
        rows = labels[k : k + ROWS_AT_ONCE].ravel()
        columns = others[k : k + ROWS_AT_ONCE].ravel()
        ones = np.ones(len(rows), np.int64)
        total = total + coo_array((ones, (rows, columns)), shape).tocsr()
    return total


def rand_error(target: Boundaries, prediction: Boundaries) -> float:
    """Adapted Rand error: 1 minus the F1 of pairs of pixels that lie in one grain; 0 is best.

    Source: Arganda-Carreras et al., Frontiers in Neuroanatomy 2015.

    >>> one, two = np.ones((1, 4), np.int32), np.array([[1, 1, 2, 2]], np.int32)
    >>> round(rand_error(Boundaries(two > 1, two), Boundaries(one > 1, one)), 3)
    0.333
    """
    if not target.labels.any() or not prediction.labels.any():
        return float(target.labels.any() != prediction.labels.any())
    both = overlaps(target.labels, prediction.labels)
    pairs = float((both.data.astype(float) ** 2).sum())
    in_target = float((np.asarray(both.sum(axis=1)).astype(float) ** 2).sum())
    in_prediction = float(
        (np.asarray(both.sum(axis=0)).astype(float) ** 2).sum()
    )
    return max(0.0, 1 - 2 * pairs / (in_target + in_prediction))


METRICS = (
    Metric(
        "boundary_iou",
        boundary_iou,
        "intersection over union of the boundaries, several pixels wide",
        "boundary IoU",
    ),
    Metric(
        "boundary_f1",
        boundary_f1,
        "F1 of the lines: they agree within half the width of the drawn ones, at least 3 pixels",
        "boundary F1",
    ),
    Metric(
        "diameter_error",
        diameter_error,
        "relative error of the median equivalent diameter; 0 = none",
        better="lower",
        perfect=0.0,
        swept=True,
    ),
    Metric(
        "variation_of_information",
        information,
        "of the closed grains, in bits (Meila, 2007); 0 = the same grains",
        unit="bits",
        better="lower",
        perfect=0.0,
    ),
    Metric(
        "instance_f1",
        instance_f1,
        "F1 of the grains, which are right at an IoU above 0.5",
        "grain F1 at IoU 0.5",
    ),
    Metric(
        "rand_error",
        rand_error,
        "adapted Rand error of the grains; 0 = the same grains",
        "adapted Rand error",
        better="lower",
        perfect=0.0,
    ),
    Metric(
        "grain_count_ratio",
        grain_count_ratio,
        "predicted grains per true grain; 1 = as many",
        better="closer to 1",
    ),
)

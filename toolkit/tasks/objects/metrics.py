"""Scores of predicted masks."""

import numpy as np

from hvd.toolkit.core import Metric, ToolkitError
from hvd.toolkit.tasks.objects.types import BACKGROUND, IGNORE, Labelled


def pixel_counts(target: Labelled, prediction: Labelled) -> np.ndarray:
    """For each class, the pixels in which both masks have it, in the truth, and in the prediction.

    Pixels whose class is unknown are left out. Returns int64 (classes, 3).

    >>> truth = Labelled(np.array([[0, 0, 1, 255]], np.uint8), ("background", "person"))
    >>> answer = Labelled(np.array([[0, 1, 1, 1]], np.uint8), ("background", "person"))
    >>> pixel_counts(truth, answer).tolist()
    [[1, 2, 1], [1, 1, 2]]
    """
    if prediction.classes != target.classes:
        reason = f"The answer has the classes {prediction.classes}, the truth {target.classes}."
        raise ToolkitError(reason, "Use the same classes.")

    is_known = target.mask != IGNORE
    truth = target.mask[is_known]
    predicted = prediction.mask[is_known]

    size = len(target.classes)
    columns = []
    for part in (truth[truth == predicted], truth, predicted):
        columns.append(np.bincount(part, minlength=size)[:size])
    return np.stack(columns, 1)


def class_counts(target: Labelled, prediction: Labelled) -> np.ndarray:
    """As `pixel_counts`, with the counts of a background set to 0, so that means leave it out."""
    counts = pixel_counts(target, prediction)
    if BACKGROUND in target.classes:
        counts[target.classes.index(BACKGROUND)] = 0
    return counts


def mean_iou(counts: np.ndarray) -> float:
    """Mean over classes of the pixels in both masks divided by those in either.

    `counts` are as `class_counts` returns them. Classes that are in neither mask are left out;
    1 when that leaves none.

    >>> mean_iou(np.array([[0, 0, 0], [1, 2, 3]]))
    0.25
    """
    both, truth, predicted = counts.T
    either = truth + predicted - both
    present = either > 0
    return (
        float((both[present] / either[present]).mean())
        if present.any()
        else 1.0
    )


def mean_dice(counts: np.ndarray) -> float:
    """Mean over classes of twice the pixels in both masks, divided by the pixels of each summed.

    Classes in neither mask are left out; 1 when that leaves none.

    >>> mean_dice(np.array([[0, 0, 0], [1, 2, 2]]))
    0.5
    """
    both, truth, predicted = counts.T
    total = truth + predicted
    present = total > 0
    return (
        float((2 * both[present] / total[present]).mean())
        if present.any()
        else 1.0
    )


def accuracy(counts: np.ndarray) -> float:
    """Share of the known pixels whose class is right, background too; 1 when none is known.

    >>> accuracy(np.array([[3, 4, 3], [0, 0, 1]]))
    0.75
    """
    known = counts[:, 1].sum()
    return float(counts[:, 0].sum() / known) if known else 1.0


METRICS = (
    Metric(
        "iou",
        lambda target, prediction: mean_iou(class_counts(target, prediction)),
        "intersection over union, mean over an image's classes, then images",
        "IoU",
    ),
    Metric(
        "dice",
        lambda target, prediction: mean_dice(class_counts(target, prediction)),
        "Dice coefficient, in the same way",
        "Dice",
    ),
    Metric(
        "pixel_accuracy",
        lambda target, prediction: accuracy(pixel_counts(target, prediction)),
        "share of an image's pixels whose class is right",
    ),
    Metric(
        "pooled_iou",
        class_counts,
        "IoU of all images' pixels together, mean over classes",
        "pooled IoU",
        pool=mean_iou,
    ),
    Metric(
        "pooled_dice",
        class_counts,
        "Dice coefficient, in the same way",
        "pooled Dice",
        pool=mean_dice,
    ),
    Metric(
        "pooled_pixel_accuracy",
        pixel_counts,
        "share of all images' pixels whose class is right",
        pool=accuracy,
    ),
)

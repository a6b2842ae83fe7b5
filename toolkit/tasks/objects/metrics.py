"""How good masks of classes are."""

import numpy as np

from hvd.toolkit.core import Metric, ToolkitError
from hvd.toolkit.tasks.objects.types import BACKGROUND, IGNORE, Labelled


def counts(target: Labelled, prediction: Labelled) -> np.ndarray:
    """By class: pixels of both, of the truth, and of the prediction, where the truth is known; int64 (classes, 3)."""
    if prediction.classes != target.classes:
        raise ToolkitError(
            f"The answer has the classes {prediction.classes}, the truth {target.classes}.",
            "Use the same classes.",
        )

    known = target.mask != IGNORE
    truth = target.mask[known]
    found = prediction.mask[known]
    size = len(target.classes)

    return np.stack(
        [
            np.bincount(part, minlength=size)[:size]
            for part in (truth[truth == found], truth, found)
        ],
        1,
    )


def class_counts(target: Labelled, prediction: Labelled) -> np.ndarray:
    """As counts, those of a background set to 0."""
    found = counts(target, prediction)
    if BACKGROUND in target.classes:
        found[target.classes.index(BACKGROUND)] = 0
    return found


def mean_iou(total: np.ndarray) -> float:
    """Mean over classes of pixels of both by pixels of either; classes of neither are left out, and where all are, it is 1."""
    both, truth, found = total.T
    either = truth + found - both
    return float((both[either > 0] / either[either > 0]).mean()) if either.any() else 1.0


def mean_dice(total: np.ndarray) -> float:
    """Mean over classes of twice the pixels of both by the sum of those of each; else as mean_iou."""
    both, truth, found = total.T
    either = truth + found
    return float((2 * both[either > 0] / either[either > 0]).mean()) if either.any() else 1.0


def accuracy(total: np.ndarray) -> float:
    """Share of known pixels whose class is right, any background among them; 1 when none is known."""
    return float(total[:, 0].sum() / total[:, 1].sum()) if total[:, 1].any() else 1.0


METRICS = (
    Metric(
        "iou",
        lambda t, p: mean_iou(class_counts(t, p)),
        "intersection over union, mean over an image's classes, then images",
        "IoU",
    ),
    Metric(
        "dice",
        lambda t, p: mean_dice(class_counts(t, p)),
        "Dice coefficient, in the same way",
        "Dice",
    ),
    Metric(
        "pixel_accuracy",
        lambda t, p: accuracy(counts(t, p)),
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
        counts,
        "share of all images' pixels whose class is right",
        pool=accuracy,
    ),
)

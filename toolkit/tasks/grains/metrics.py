"""How good boundaries and the grains between them are."""

import cv2
import numpy as np
from skimage.metrics import variation_of_information

from hvd.toolkit.core import Metric
from hvd.toolkit.tasks.grains.sizes import equivalent_diameters, whole
from hvd.toolkit.tasks.grains.types import Boundaries


def boundary_iou(target: Boundaries, prediction: Boundaries) -> float:
    """Intersection over union of the masks; 1 when neither has a boundary."""
    union = (target.mask | prediction.mask).sum()
    return float((target.mask & prediction.mask).sum() / union) if union else 1.0


def share_within(lines: np.ndarray, others: np.ndarray, tolerance: float) -> float:
    """Share of the pixels of `lines` within `tolerance` pixels of `others`."""
    return 1 - float(beyond(lines, others, tolerance).sum() / lines.sum())


def beyond(lines: np.ndarray, others: np.ndarray, tolerance: float) -> np.ndarray:
    """True where a line has no other within the tolerance."""
    if not others.any():
        return lines
    distance = cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return lines & (distance > tolerance)


def boundary_f1(target: Boundaries, prediction: Boundaries) -> float:
    """Harmonic mean of the shares of lines found, and of lines right, within the tolerance (Martin et al., PAMI 2004); 1 when
    neither has a line."""
    if not target.lines.any() or not prediction.lines.any():
        return float(not target.lines.any() and not prediction.lines.any())
    recall = share_within(target.lines, prediction.lines, target.tolerance)
    precision = share_within(prediction.lines, target.lines, target.tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def median_diameter(labels: np.ndarray) -> float | None:
    """Median equivalent diameter in pixels of the whole grains, or of all when none is whole; None without a grain."""
    if not labels.any():
        return None
    diameters = equivalent_diameters(labels)
    kept = whole(labels)
    return float(np.median(diameters[kept] if kept.any() else diameters))


def diameter_error(target: Boundaries, prediction: Boundaries) -> float:
    """Relative error of the median equivalent diameter; 1 when only one of the two has grains."""
    wanted = median_diameter(target.labels)
    found = median_diameter(prediction.labels)
    if wanted is None or found is None:
        return float(wanted is not found)
    return abs(found - wanted) / wanted


def grain_count_ratio(target: Boundaries, prediction: Boundaries) -> float:
    """Grains found to each true one; of no true grain, 1 when none was found."""
    wanted = int(target.labels.max())
    found = int(prediction.labels.max())
    return found / wanted if wanted else 1.0 + found


def information(target: Boundaries, prediction: Boundaries) -> float:
    """Variation of information, with the last digits of a perfect answer's rounding cut off."""
    return round(
        max(0.0, float(sum(variation_of_information(target.labels, prediction.labels)))), 9
    )


METRICS = (
    Metric(
        "boundary_iou",
        boundary_iou,
        "intersection over union of the boundaries as drawn, some pixels wide",
        "boundary IoU",
    ),
    Metric(
        "boundary_f1",
        boundary_f1,
        "share of the lines found and right, within half the pen's width, at least 3 pixels",
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
        "grain_count_ratio",
        grain_count_ratio,
        "grains found to each true one; 1 = as many",
        better="closer to 1",
    ),
)

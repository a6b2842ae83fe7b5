"""How far the answer to a micrograph can be trusted, told from the answer itself.

A wrong answer leaves traces: boundaries of which the method was not sure, grains hardly wider than
the lines around them, lines that do not close, a large part without any boundary. A logistic model
weighs them; `python -m hvd.benchmarks.reliability` fits it, and tells how often it is right.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from hvd.toolkit.tasks.grains import boundaries, sizes
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph

SURE = 0.5  # probability from which a pixel lies on a boundary
LOOSE = 2.0  # band widths: boundaries further from the lines are loose ends

# Below this an answer is too doubtful for numbers.
LEAST = 0.5


@dataclass(frozen=True)
class Parts:
    """What the reliability of an answer is made from; each from 0 to 1 but for the first.

    Attributes
    ----------
    diameter_over_width : median diameter over the width of the boundaries, both in pixels.
    line_probability : mean probability of a boundary along the lines.
    closure : share of the lines along which a boundary is likelier than not.
    loose_ends : share of the likely boundaries that are part of no line.
    largest_share : of the specimen that the largest grain covers.
    """

    diameter_over_width: float
    line_probability: float
    closure: float
    loose_ends: float
    largest_share: float


def parts_of(answer: Boundaries) -> Parts | None:
    """The traces that an answer leaves; None when it has no line, or no probability."""
    probability = answer.probability
    lines = answer.lines
    if probability is None or not lines.any():
        return None

    width = boundaries.band_width(probability)
    inside = sizes.is_inside_frame(answer.labels)
    diameters = answer.grains.diameter
    median = float(np.median(diameters[inside] if inside.any() else diameters))

    # The line runs between pixels, and the crest of the probability may be beside it.
    crest = cv2.dilate(probability, np.ones((3, 3), np.uint8))
    along = crest[lines] / 255

    likely = probability > SURE * 255
    likely &= answer.labels > 0
    distance = cv2.distanceTransform((~lines).astype(np.uint8), cv2.DIST_L2, 5)
    loose = likely & (distance > LOOSE * width)
    areas = answer.grains.area
    return Parts(
        diameter_over_width=median / width,
        line_probability=float(along.mean()),
        closure=float((along > SURE).mean()),
        loose_ends=float(loose.sum() / max(1, likely.sum())),
        largest_share=float(areas.max() / areas.sum()),
    )


@dataclass(frozen=True)
class Trust:
    """How far an answer can be trusted.

    Attributes
    ----------
    reliability : from 0 to 1; None when the method tells no probabilities.
    parts : what it is made from, or None.
    notes : what is doubtful, and what to do about it.
    """

    reliability: float | None
    parts: Parts | None
    notes: list[str]

    @property
    def is_doubtful(self) -> bool:
        return self.reliability is not None and self.reliability < LEAST


def reliability(answer: Boundaries, micrograph: Micrograph) -> Trust:
    """How far the answer to a micrograph can be trusted."""
    return Trust(None, parts_of(answer), [])

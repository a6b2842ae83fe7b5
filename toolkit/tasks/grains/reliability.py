"""How far the answer to a micrograph can be trusted, told from the answer itself.

A wrong answer leaves traces: boundaries of which the method was not sure, grains hardly wider than
the lines around them, lines that do not close, a large part without any boundary. A logistic model
weighs them. `python -m hvd.benchmarks.reliability` fits one for each method, whose weights stand
with the method, and tells how often it is right.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from hvd.toolkit.tasks.grains import boundaries, sizes
from hvd.toolkit.tasks.grains.sizes import significant
from hvd.toolkit.tasks.grains.types import Boundaries

WIDE = 10.0  # median diameter, in widths of the boundaries, from which wider is no better
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

    width = answer.width or boundaries.band_width(probability)
    areas = sizes.areas(answer.labels)

    # The line runs between pixels, and the crest of the probability may be beside it.
    crest = cv2.dilate(probability, np.ones((3, 3), np.uint8))
    along = crest[lines] / 255

    likely = probability > SURE * 255
    likely &= answer.labels > 0
    distance = cv2.distanceTransform((~lines).astype(np.uint8), cv2.DIST_L2, 5)
    loose = likely & (distance > LOOSE * width)
    return Parts(
        diameter_over_width=answer.median_diameter / width,
        line_probability=float(along.mean()),
        closure=float((along > SURE).mean()),
        loose_ends=float(loose.sum() / max(1, likely.sum())),
        largest_share=float(areas.max() / areas.sum()),
    )


# From here on a part is worth a sentence in the notes of a doubtful answer.
FINE = 5.0
UNSURE = 0.7
OPEN = 0.85
MANY_LOOSE = 0.2
LARGE = 0.5


def features(parts: Parts) -> list[float]:
    """What the logistic model weighs, (5,)."""
    return [
        float(np.log(np.clip(parts.diameter_over_width, 0.1, WIDE))),
        parts.line_probability,
        parts.closure,
        parts.loose_ends,
        parts.largest_share,
    ]


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


NOTHING = (
    "No boundary was found, so no size is given. If there are grains, etch longer or raise the "
    "contrast, and check that the picture is sharp."
)
WHAT_TO_DO = (
    "So no size is given. Look at the overlay, and correct the labels by hand for "
    "`toolkit measure grains`."
)


def reliability(answer: Boundaries) -> Trust:
    """How far an answer can be trusted.

    Its `weights` are a constant, then one for each of `features`, in that order.
    """
    if answer.probability is None or answer.weights is None:
        return Trust(None, None, [])
    parts = parts_of(answer)
    if parts is None:
        return Trust(0.0, None, [NOTHING])

    constant, *weights = answer.weights
    total = constant + float(np.dot(weights, features(parts)))
    modelled = 1 / (1 + np.exp(-np.clip(total, -30, 30)))
    # Where one grain covers most of the picture, the others tell little.
    value = significant(min(modelled, 1 - parts.largest_share))
    notes = []
    if value < LEAST:
        notes = [" ".join([*doubts(parts, answer), WHAT_TO_DO])]
    return Trust(value, parts, notes)


def doubts(parts: Parts, answer: Boundaries) -> list[str]:
    """What makes an answer doubtful, as sentences."""
    sentences = []
    if parts.diameter_over_width < FINE:
        sentences.append(
            f"Grains are about {answer.median_diameter:.0f} pixels wide, hardly more than the "
            "lines between them: take the picture at a higher magnification, or try --size."
        )
    if parts.line_probability < UNSURE:
        sentences.append(
            f"The boundaries are faint: along them the mean probability is "
            f"{parts.line_probability:.2f}."
        )
    if parts.closure < OPEN:
        sentences.append(
            f"{1 - parts.closure:.0%} of the lines run where no boundary shows."
        )
    if parts.loose_ends > MANY_LOOSE:
        sentences.append(
            f"{parts.loose_ends:.0%} of what looks like boundaries closes no grain: broken "
            "etching, cracks or scratches."
        )
    if parts.largest_share > LARGE:
        sentences.append(
            f"One grain covers {parts.largest_share:.0%} of the picture: large parts show no "
            "boundary."
        )
    return sentences or ["The answer looks like those that are usually wrong."]

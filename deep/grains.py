"""`grains` by network: boundary probability tile by tile, then the closure of all methods."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from hvd.toolkit.network import NetworkMethod
from hvd.toolkit.tasks.grains.boundaries import Closure, boundary_mask
from hvd.toolkit.tasks.grains.magnification import (
    LARGEST_WORK,
    answer_at,
    empty_magnification,
)
from hvd.toolkit.tasks.grains.reliability import reliability
from hvd.toolkit.tasks.grains.sizes import is_inside_frame
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph

CLOSURE = Closure(blur=0.3, inside=0.1, smallest=0.7, weakest=0.1, faint=0.01)

# Fitted by `python -m hvd.benchmarks.reliability deep ../shared/data/grains/steel
# ../shared/data/grains/low_contrast_metal`.
RELIABILITY = (-9.362, 3.136, 4.661, 0.959, -14.789, -4.749)

# Fine grains are enlarged: where most are less than so many pixels wide, the network misses some,
# or sees none at all.
FINE = 22.0
FEW = 10  # whole grains, from which a median tells something
ENLARGEMENTS = 2, 3, 4
TRIAL = 256  # pixels along a side of the part of a micrograph on which they are tried
DOUBT = (
    0.1  # how much less reliable the answer to an enlarged micrograph may be
)


@dataclass(frozen=True)
class Network(NetworkMethod):
    """U-Net; see `deep/training/models/grains.py`.

    `threshold`, as in `boundaries.boundary_mask`, and the closure were set by trials on the
    training and validation micrographs and on 24 generated ones.
    """

    task: ClassVar[str] = "grains"
    threshold: float = 0.25
    closure: Closure = CLOSURE

    def answer(
        self,
        inputs: Micrograph,
        scale: float,
    ) -> Boundaries:
        """The answer to a micrograph that is enlarged by `scale` for the network."""
        network = self.network(inputs)

        def boundary(part: np.ndarray) -> np.ndarray:
            (probability,) = network.run(("float32", part.shape), image=part)
            return probability

        probability, labels, width = answer_at(
            inputs, scale, boundary, self.closure
        )
        mask = boundary_mask(probability, labels, self.threshold)
        return Boundaries(
            mask,
            labels,
            probability=probability,
            width=width,
            weights=RELIABILITY,
        )

    def predict(self, inputs: Micrograph) -> Boundaries:
        if inputs.size is not None:
            return self.answer(inputs, inputs.size)

        scale = 1 / empty_magnification(inputs.image)
        answer = self.answer(inputs, scale)
        trust = reliability(answer)
        if is_wider(answer, FINE / scale) and not trust.is_doubtful:
            return replace(answer, trust=trust)
        times = self.enlargement(inputs, scale)
        return self.answer(inputs, times * scale) if times > 1 else answer

    def enlargement(
        self,
        inputs: Micrograph,
        scale: float,
    ) -> int:
        """How many times to enlarge a micrograph of fine grains, by its middle; 1 for not at all.

        Of those whose answer is not doubtful, that is the first at which grains are wide enough,
        else the one with the most reliable answer, as long as that is better than before.
        """
        middle = middle_of(inputs, round(TRIAL / scale))
        best = 1
        most = reliability(self.answer(middle, scale)).reliability
        for times in ENLARGEMENTS:
            if inputs.image.size * (times * scale) ** 2 > LARGEST_WORK:
                break
            answer = self.answer(middle, times * scale)
            trust = reliability(answer)
            value = trust.reliability
            if trust.is_doubtful:
                continue
            is_wide = is_wider(answer, FINE / (times * scale))
            if is_wide and value > most - DOUBT:
                return times
            if whole_grains(answer) >= FEW and value > most:
                best = times
                most = value
        return best


def whole_grains(answer: Boundaries) -> int:
    """How many grains the frame does not cut."""
    return int(is_inside_frame(answer.labels).sum())


def is_wider(answer: Boundaries, pixels: float) -> bool:
    """Whether grains are wider than that in the median; never when there are too few to tell."""
    if whole_grains(answer) < FEW:
        return False
    return answer.median_diameter >= pixels


def middle_of(micrograph: Micrograph, side: int) -> Micrograph:
    """The middle of a micrograph, at most `side` pixels wide and high."""
    parts = []
    for length in micrograph.image.shape:
        start = max(0, (length - side) // 2)
        parts.append(slice(start, start + side))
    rows, columns = parts
    inside = micrograph.inside
    if inside is not None:
        inside = inside[rows, columns]
        if not inside.any():
            inside = None
    return replace(
        micrograph, image=micrograph.image[rows, columns], inside=inside
    )

"""`grains` by network: boundary probability tile by tile, then the closure of all methods."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from hvd.toolkit.network import NetworkMethod
from hvd.toolkit.tasks.grains.boundaries import Closure, boundary_mask
from hvd.toolkit.tasks.grains.magnification import (
    answer_at,
    empty_magnification,
)
from hvd.toolkit.tasks.grains.reliability import parts_of, reliability
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph

CLOSURE = Closure(blur=0.3, inside=0.15, smallest=0.7, weakest=0.15)

# Fine grains are enlarged: those of fewer band widths are too close together for the network, and
# it may see none at all.
FINE = 4.5
FEW = 10  # whole grains
ENLARGEMENTS = 2, 3, 4
TRIAL = 320  # pixels along a side of the part of a micrograph on which they are tried


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

        probability, labels = answer_at(inputs, scale, boundary, self.closure)
        mask = boundary_mask(probability, labels, self.threshold)
        return Boundaries(mask, labels, probability=probability)

    def predict(self, inputs: Micrograph) -> Boundaries:
        if inputs.size is not None:
            return self.answer(inputs, inputs.size)

        scale = 1 / empty_magnification(inputs.image)
        answer = self.answer(inputs, scale)
        if not is_too_fine(answer):
            return answer
        times = self.enlargement(inputs, scale)
        return self.answer(inputs, times * scale) if times > 1 else answer

    def enlargement(
        self,
        inputs: Micrograph,
        scale: float,
    ) -> int:
        """How many times to enlarge a micrograph of fine grains, by its middle; 1 for not at all.

        That is the first enlargement at which grains are no longer too fine, else the one whose
        answer is the most reliable, as long as that is better than before.
        """
        middle = middle_of(inputs, round(TRIAL / scale))
        answer = self.answer(middle, scale)
        best = 1
        most = reliability(answer).reliability
        for times in ENLARGEMENTS:
            answer = self.answer(middle, times * scale)
            value = reliability(answer).reliability
            if whole_grains(answer) >= FEW and value > most:
                best = times
                most = value
                if not is_too_fine(answer):
                    break
        return best


def whole_grains(answer: Boundaries) -> int:
    """How many grains the frame does not cut."""
    return int((~answer.grains.touches_frame).sum())


def is_too_fine(answer: Boundaries) -> bool:
    """Whether grains are hardly wider than the lines between them, or too few to tell."""
    parts = parts_of(answer)
    if parts is None or whole_grains(answer) < FEW:
        return True
    return parts.diameter_over_width < FINE


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

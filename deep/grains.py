"""`grains` by network: boundary probability tile by tile, then the closure of all methods."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hvd.toolkit.network import NetworkMethod
from hvd.toolkit.tasks.grains.boundaries import Closure, boundary_mask
from hvd.toolkit.tasks.grains.magnification import (
    answer_at,
    empty_magnification,
)
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph

CLOSURE = Closure(blur=0.3, inside=0.15, smallest=0.7, weakest=0.15)


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
        self, inputs: Micrograph, scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Boundary probability uint8 and labels int32 (H, W) of a micrograph.

        `scale` is by how much it is enlarged for the network.
        """
        network = self.network(inputs)

        def boundary(part: np.ndarray) -> np.ndarray:
            (probability,) = network.run(("float32", part.shape), image=part)
            return probability

        return answer_at(inputs, scale, boundary, self.closure)

    def predict(self, inputs: Micrograph) -> Boundaries:
        scale = inputs.size or 1 / empty_magnification(inputs.image)
        probability, labels = self.answer(inputs, scale)
        mask = boundary_mask(probability, labels, self.threshold)
        return Boundaries(mask, labels, probability=probability)

"""`grains` by network: boundary probability tile by tile, then the closure of all methods."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hvd.toolkit.network import NetworkMethod
from hvd.toolkit.tasks.grains.boundaries import (
    Closure,
    boundary_mask,
    partition,
    probability_by_tiles,
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

    def probability(self, inputs: Micrograph) -> np.ndarray:
        """Boundary probability uint8 (H, W), 255 = certain, of a micrograph."""
        network = self.network(inputs)

        def boundary(part: np.ndarray) -> np.ndarray:
            (probability,) = network.run(("float32", part.shape), image=part)
            return probability

        return probability_by_tiles(inputs.image, boundary)

    def predict(self, inputs: Micrograph) -> Boundaries:
        probability = self.probability(inputs)
        labels = partition(probability, self.closure)
        return Boundaries(
            boundary_mask(probability, labels, self.threshold), labels
        )

"""`grains` by network: boundary probability tile by tile, then the closure that all methods share."""

from dataclasses import dataclass

import numpy as np

from toolkit.boundaries import Closure, marked, partition, tilewise
from toolkit.network import checkpoint
from toolkit.tasks.grains import Boundaries, Micrograph

CLOSURE = Closure(blur=0.3, inside=0.15, smallest=0.7, weakest=0.15)


@dataclass(frozen=True)
class Network:
    """U-Net; see `deep/training/models/grains.py`. `threshold`, that of `boundaries.marked`, and the closure were set by trials on
    the training and validation micrographs and on 24 generated ones."""

    checkpoint: str | None = None
    threshold: float = 0.25
    closure: Closure = CLOSURE

    def sha256(self, inputs: Micrograph) -> str:
        """Of the checkpoint, for the record of a run."""
        return checkpoint("grains", self.checkpoint).sha256

    def probability(self, image: np.ndarray) -> np.ndarray:
        """Boundary probability uint8 (H, W), 255 = certain, of an image uint8 or uint16 (H, W)."""
        network = checkpoint("grains", self.checkpoint)
        return tilewise(image, lambda part: network.run(image=part)[0])

    def predict(self, inputs: Micrograph) -> Boundaries:
        probability = self.probability(inputs.image)
        labels = partition(probability, self.closure)
        return Boundaries(marked(probability, labels, self.threshold), labels)

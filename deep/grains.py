"""`grains` by network: boundary probability tile by tile, then the closure that all methods share."""

from dataclasses import dataclass, field

import numpy as np

from toolkit.boundaries import Closure, marked, partition, tiles
from toolkit.network import checkpoint
from toolkit.tasks.grains import Boundaries, Micrograph


@dataclass(frozen=True)
class Network:
    """U-Net; see `deep/training/models/grains.py`. `threshold`, above which a pixel counts as drawn boundary, and the closure
    were chosen on the validation micrograph."""

    checkpoint: str | None = None
    threshold: float = 0.5
    closure: Closure = field(default_factory=Closure)

    @property
    def sha256(self) -> str:
        """Of the checkpoint, for the record of a run."""
        return checkpoint("grains", self.checkpoint).sha256

    def probability(self, image: np.ndarray) -> np.ndarray:
        """Boundary probability uint8 (H, W), 255 = certain, of an image uint8 or uint16 (H, W). The margin of a tile is wider than
        the network sees, so that tiles leave no trace."""
        network, top = checkpoint("grains", self.checkpoint), np.float32(np.iinfo(image.dtype).max)
        found = np.empty(image.shape, np.uint8)
        for core, wide, inner in tiles(image.shape):
            (part,) = network.run(image=image[wide] / top)
            found[core] = np.rint(part[inner] * 255)
        return found

    def predict(self, inputs: Micrograph) -> Boundaries:
        probability = self.probability(inputs.image)
        labels = partition(probability, self.closure)
        return Boundaries(marked(probability, labels, self.threshold), labels)

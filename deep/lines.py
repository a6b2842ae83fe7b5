"""`lines` by network: scans and their masks in, filled scans out."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hvd.toolkit.network import NetworkMethod
from hvd.toolkit.tasks.lines.filling import fill_by_mask
from hvd.toolkit.tasks.lines.types import Filled, Scans

# Steps along a row: as it is, and mirrored, which the network saw in training as well.
VIEWS = 1, -1

# Pixels that the network fills at once. Its memory stays small, and Ctrl-C is heeded sooner.
AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Network(NetworkMethod):
    """Residual U-Net; see `deep/training/models/lines.py`.

    The uncertainty, when it is asked for, is how far the answers to the scan and to its mirror
    image differ; the answer is the same without it.
    """

    task: ClassVar[str] = "lines"

    def predict(self, inputs: Scans) -> Filled:
        filled = self.fill_view(inputs, VIEWS[0])
        if not inputs.uncertainty:
            return Filled(filled)
        mirrored = self.fill_view(inputs, VIEWS[1])
        return Filled(filled, np.std([filled, mirrored], 0))

    def fill_view(self, inputs: Scans, view: int) -> np.ndarray:
        """Fill the scans as seen in a view; the answer is turned back."""
        network = self.network(inputs)

        def fill(images: np.ndarray, missing: np.ndarray) -> np.ndarray:
            known = np.broadcast_to(~missing[:, ::view], images.shape).astype(
                np.float32
            )
            images = np.ascontiguousarray(images[:, :, ::view])
            # Large scans go in smaller batches, to bound memory.
            step = max(1, AT_ONCE // missing.size)
            parts = []

            for k in range(0, len(images), step):
                measured = images[k : k + step]
                answer = "float32", measured.shape
                parts += network.run(
                    answer, measured=measured, known=known[k : k + step]
                )

            return np.concatenate(parts)[:, :, ::view]

        return fill_by_mask(inputs.images, inputs.missing, fill)


@dataclass(frozen=True)
class Flipped(Network):
    """The mean of the answers to the scan and to its mirror image: twice the work."""

    def predict(self, inputs: Scans) -> Filled:
        views = [self.fill_view(inputs, view) for view in VIEWS]
        mean = np.where(inputs.missing, np.mean(views, 0), inputs.images)
        return Filled(mean, np.std(views, 0))

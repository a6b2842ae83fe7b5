"""`fragments` by network: affinity and neighbours from one pass over the heap, then the steps that all methods share."""

from dataclasses import dataclass

import numpy as np

from toolkit.assembly import arrangement, in_any_order
from toolkit.network import checkpoint
from toolkit.tasks.fragments import Arrangement, Heap


@dataclass(frozen=True)
class Network:
    """Set transformer over the fragments of a heap; see `deep/training/models/fragments.py`."""

    checkpoint: str | None = None

    def sha256(self, inputs: Heap) -> str:
        """Of the checkpoint, for the record of a run."""
        return checkpoint("fragments", self.checkpoint).sha256

    @in_any_order
    def predict(self, inputs: Heap) -> Arrangement:
        turns = np.arange(4 if inputs.turned else 1)
        affinity, neighbours = checkpoint("fragments", self.checkpoint).run(fragments=inputs.fragments, turns=turns)
        return arrangement(affinity, neighbours, inputs)

"""`fragments` by network: affinity and neighbours from one pass over the heap, then the steps that all methods share."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hvd.toolkit.network import NetworkMethod
from hvd.toolkit.tasks.fragments.assembly import arrangement, in_any_order
from hvd.toolkit.tasks.fragments.types import Arrangement, Heap


@dataclass(frozen=True)
class Network(NetworkMethod):
    """Set transformer over the fragments of a heap; see `deep/training/models/fragments.py`."""

    task: ClassVar[str] = "fragments"

    @in_any_order
    def predict(self, inputs: Heap) -> Arrangement:
        turns = np.arange(4 if inputs.turned else 1)
        affinity, neighbours = self.network(inputs).run(fragments=inputs.fragments, turns=turns)
        return arrangement(affinity, neighbours, inputs)

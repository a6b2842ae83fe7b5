"""`fragments` by network: affinity and neighbours of a heap, then the steps all methods share."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.network import NetworkMethod
from hvd.toolkit.tasks.fragments.assembly import arrangement, in_any_order
from hvd.toolkit.tasks.fragments.types import Arrangement, Heap

# In all fragments of a heap: a million pixels take up to 0.7 gigabytes.
MOST_PIXELS = 16_000_000


@dataclass(frozen=True)
class Network(NetworkMethod):
    """Set transformer over the fragments of a heap; see `deep/training/models/fragments.py`."""

    task: ClassVar[str] = "fragments"

    @in_any_order
    def predict(self, inputs: Heap) -> Arrangement:
        count, side = inputs.fragments.shape[:2]
        pixels = count * side * side
        if pixels > MOST_PIXELS:
            reason = f"The heap has {pixels:,} pixels; the network answers {MOST_PIXELS:,} at most."
            raise ToolkitError(
                reason, "Shrink the fragments, or give --method baseline."
            )

        turns = np.arange(4 if inputs.turned else 1)
        affinity, neighbours = self.network(inputs).run(
            ("float32", (count, count)),
            ("float32", (4, len(turns), count, count)),
            fragments=inputs.fragments,
            turns=turns,
        )

        return arrangement(affinity, neighbours, inputs)

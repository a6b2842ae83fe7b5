"""The floors: methods that do not look at their input."""

from dataclasses import dataclass

import numpy as np

from hvd.toolkit.core import Floor
from hvd.toolkit.tasks.fragments.assembly import (
    arrangement_of_groups,
    in_any_order,
)
from hvd.toolkit.tasks.fragments.types import Arrangement, Heap
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph
from hvd.toolkit.tasks.lines.types import Filled, Scans


@dataclass(frozen=True)
class OneGroup(Floor):
    """All fragments in one group, in reading order."""

    @in_any_order
    def predict(self, inputs: Heap) -> Arrangement:
        count = len(inputs.fragments)
        group = np.zeros(count, np.int32)
        return arrangement_of_groups(
            group, np.zeros((count, count)), None, inputs
        )


@dataclass(frozen=True)
class NoBoundary(Floor):
    """No boundary: the entire micrograph is one grain."""

    def predict(self, inputs: Micrograph) -> Boundaries:
        shape = inputs.image.shape
        return Boundaries(np.zeros(shape, bool), np.ones(shape, np.int32))


@dataclass(frozen=True)
class AllBoundary(Floor):
    """Boundary everywhere, no grain. Its IoU is the share of boundary: the floor of that metric."""

    def predict(self, inputs: Micrograph) -> Boundaries:
        shape = inputs.image.shape
        return Boundaries(np.ones(shape, bool), np.zeros(shape, np.int32))


@dataclass(frozen=True)
class Zeros(Floor):
    """Missing pixels stay 0."""

    def predict(self, inputs: Scans) -> Filled:
        return Filled(inputs.images.copy())

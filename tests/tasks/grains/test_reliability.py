"""How far answers are trusted."""

import numpy as np

from hvd.baselines.grains import RELIABILITY
from hvd.data.polycrystals import tessellation
from hvd.toolkit.tasks.grains.boundaries import pen_strokes
from hvd.toolkit.tasks.grains.reliability import reliability
from hvd.toolkit.tasks.grains.types import Boundaries


def answer(labels):
    """An answer that is sure of every boundary."""
    mask = pen_strokes(labels, 4)
    return Boundaries(
        mask,
        labels,
        probability=mask.astype(np.uint8) * 255,
        weights=RELIABILITY,
    )


def test_a_picture_of_which_half_is_one_grain_is_doubtful():
    labels = tessellation((400, 500), 40, np.random.default_rng(0)).labels
    assert reliability(answer(labels)).reliability > 0.8
    half = np.where(np.arange(500) < 260, labels.max() + 1, labels)
    numbers = np.unique(half, return_inverse=True)[1].reshape(half.shape) + 1
    trust = reliability(answer(numbers.astype(np.int32)))
    assert trust.is_doubtful
    assert "One grain covers 52%" in trust.notes[0]

"""Pictures larger than the network is shown at once."""

from itertools import pairwise

import numpy as np
import pytest

from deep import objects as deep
from toolkit.core import ToolkitError
from toolkit.tasks.objects import Picture


class Shades:
    """Stands for a network: three classes, as probable as the colours are bright."""

    sha256, card, shown = "0", {"classes": ["red", "green", "blue"]}, 0

    def run(self, image):
        self.shown = max(self.shown, *image.shape[1:3])
        return [image.astype(np.float32).transpose(0, 3, 1, 2) / 255]


@pytest.mark.parametrize("shape", [(8, 8), (1024, 40), (1025, 1500), (300, 3000), (2100, 60)])
def test_parts_are_joined_without_a_trace(shape, monkeypatch):
    stand_in = Shades()
    monkeypatch.setattr(deep, "checkpoint", lambda *arguments: stand_in)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    answer = deep.Network().predict(Picture(image))
    np.testing.assert_array_equal(answer.mask, image.argmax(2))
    assert stand_in.shown <= deep.LARGEST


@pytest.mark.parametrize("length", [1, 1024, 1025, 1792, 1793, 5000])
def test_parts_cover_a_side_and_overlap(length):
    parts = deep.parts(length)
    assert parts[0][0] == 0 and parts[-1][1] == length
    assert all(stop - start == min(length, deep.LARGEST) for start, stop in parts)
    assert all(after[0] < before[1] and after[0] > before[0] for before, after in pairwise(parts))


def test_a_checkpoint_of_other_classes_is_refused(monkeypatch):
    monkeypatch.setattr(deep, "checkpoint", lambda *arguments: Shades())
    Shades.name = "some.onnx"
    with pytest.raises(ToolkitError, match="knows the classes red") as refusal:
        deep.Network("some.onnx").predict(Picture(np.zeros((8, 8, 3), np.uint8), ("a", "b")))
    assert refusal.value.status == 3

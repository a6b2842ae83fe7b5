"""Pictures larger than the network is shown at once, and pictures answered at another size."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from hvd.deep import objects as deep
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.objects.files import (
    finish,
    measure,
    read,
    resize_mask,
    write,
)
from hvd.toolkit.tasks.objects.options import InputOptions
from hvd.toolkit.tasks.objects.types import Labelled, Picture
from hvd.toolkit.tiles import overlapping_parts


class Shades:
    """Stands for a network: three classes, as probable as the colours are bright."""

    sha256, card, shown = "0", {"classes": ["red", "green", "blue"]}, 0

    def run(self, *answers, image):
        self.shown = max(self.shown, *image.shape[1:3])
        return [image.astype(np.float32).transpose(0, 3, 1, 2) / 255]


@pytest.mark.parametrize(
    "shape", [(8, 8), (1024, 40), (1025, 1500), (300, 3000), (2100, 60)]
)
def test_parts_are_joined_without_a_trace(shape, monkeypatch):
    stand_in = Shades()
    monkeypatch.setattr(deep, "checkpoint", lambda *arguments: stand_in)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    answer = deep.Network().predict(Picture(image))
    np.testing.assert_array_equal(answer.mask, image.argmax(2))
    assert stand_in.shown <= deep.LARGEST


@pytest.mark.parametrize("length", [1, 1024, 1025, 1792, 1793, 5000])
def test_parts_cover_a_side_and_overlap(length):
    parts = overlapping_parts(length, deep.LARGEST, deep.OVERLAP)
    assert parts[0][0] == 0 and parts[-1][1] == length
    assert all(
        stop - start == min(length, deep.LARGEST) for start, stop in parts
    )
    assert all(
        after[0] < before[1] and after[0] > before[0]
        for before, after in pairwise(parts)
    )


def test_a_checkpoint_of_other_classes_is_refused(monkeypatch):
    monkeypatch.setattr(deep, "checkpoint", lambda *arguments: Shades())
    Shades.name = "some.onnx"
    with pytest.raises(ToolkitError, match="knows the classes red") as refusal:
        deep.Network("some.onnx").predict(
            Picture(np.zeros((8, 8, 3), np.uint8), ("a", "b"))
        )
    assert refusal.value.status == 3


def written(answer, inputs, folder):
    """What is measured on an answer, whose files are written to a folder."""
    finished = finish(answer, inputs)
    values, _ = measure(finished, inputs)
    write(finished, inputs, values, folder)
    return values


@pytest.mark.parametrize(
    ("size", "shape"), [(60, (40, 60)), (300, (200, 300)), (12, (8, 12))]
)
def test_an_answer_at_another_size_is_written_at_that_of_the_picture(
    size, shape, tmp_path
):
    picture = np.zeros((80, 120, 3), np.uint8)
    picture[20:60, 30:90] = 255
    cv2.imwrite(str(tmp_path / "picture.png"), picture)
    inputs = read(tmp_path / "picture.png", InputOptions(size=size))
    assert inputs.image.shape[:2] == shape
    answer = Labelled(
        (inputs.image[..., 0] > 127).astype(np.uint8), ("dark", "light")
    )
    values = written(answer, inputs, tmp_path)
    mask = cv2.imread(str(tmp_path / "mask.png"), cv2.IMREAD_UNCHANGED)
    overlay = cv2.imread(str(tmp_path / "overlay.png"))
    assert mask.shape[:2] == overlay.shape[:2] == picture.shape[:2]
    light = (mask != mask[0, 0]).any(2)
    assert (light == (picture[..., 0] > 0)).mean() > 0.95 and values[
        "fractions"
    ]["light"] == pytest.approx(light.mean(), abs=1e-4)


def test_a_picture_of_one_pixel_can_be_answered_larger(tmp_path):
    cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(ToolkitError, match="1 x 1"):
        read(tmp_path / "picture.png", InputOptions())
    inputs = read(tmp_path / "picture.png", InputOptions(size=64))
    assert inputs.image.shape == (64, 64, 3)
    values = written(
        Labelled(np.ones((64, 64), np.uint8), ("a", "b")), inputs, tmp_path
    )
    assert values["fractions"] == {"a": 0.0, "b": 1.0}


@pytest.mark.parametrize(
    ("shape", "size", "noted"),
    [
        ((8, 1025), None, True),
        ((8, 1024), None, False),
        ((8, 1025), 256, False),
    ],
)
def test_a_large_picture_answered_at_its_own_size_is_noted(
    shape, size, noted, tmp_path
):
    cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((*shape, 3), np.uint8))
    inputs = read(tmp_path / "picture.png", InputOptions(size=size))
    answer = Labelled(np.zeros(inputs.image.shape[:2], np.uint8), ("a", "b"))
    _, notes = measure(finish(answer, inputs), inputs)
    assert any("--size" in note for note in notes) == noted


def test_a_mask_grows_with_straight_edges_and_shrinks_by_majority():
    mask = np.add.outer(np.arange(40), np.arange(40)) // 20 % 3
    grown = resize_mask(mask.astype(np.uint8), (400, 400))
    exact = (np.add.outer(np.arange(400), np.arange(400)) - 4) // 200 % 3
    blocks = np.kron(mask, np.ones((10, 10), int))
    assert (grown != exact).mean() < (blocks != exact).mean() / 2
    np.testing.assert_array_equal(
        resize_mask(blocks.astype(np.uint8), (40, 40)), mask
    )


@pytest.mark.parametrize("size", [7, 8193])
def test_a_size_out_of_range_is_refused(size):
    with pytest.raises(ToolkitError, match=f"size is {size}") as refusal:
        InputOptions(size=size)
    assert refusal.value.status == 2

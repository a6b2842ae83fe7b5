"""Folders of labelled images."""

import json
import struct
import zlib

import cv2
import numpy as np
import pytest

from hvd.data.objects import samples
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.objects.dataset import (
    class_names,
    data_set,
    read_mask,
    read_pair,
)
from hvd.toolkit.tasks.objects.options import Conditions


@pytest.fixture
def folder(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for k in range(4):
        cv2.imwrite(
            str(tmp_path / f"images/{k}.jpg"),
            np.full((10, 12, 3), 40 * k, np.uint8),
        )
        cv2.imwrite(
            str(tmp_path / f"masks/{k}.png"), np.full((10, 12), k % 2, np.uint8)
        )
    (tmp_path / "classes.json").write_text(
        json.dumps({"classes": ["background", "person"], "ignore": 255})
    )
    return tmp_path


def test_a_folder_gives_images_with_their_masks(folder):
    result = data_set(folder)
    assert result.classes == ("background", "person") and len(result.pairs) == 4
    image, mask = read_pair(result.pairs[3], 2)
    assert (
        image.shape == (10, 12, 3)
        and mask.shape == (10, 12)
        and (mask == 1).all()
    )
    drawn = list(samples(str(folder), Conditions(), 3, 0))
    assert len(drawn) == 3 and len({sample.id for sample in drawn}) == 3


@pytest.mark.parametrize("part", ["images", "masks", "classes.json"])
def test_a_folder_that_lacks_something_is_refused(part, folder):
    (folder / part).rename(folder / "elsewhere")
    with pytest.raises(ToolkitError, match=part) as refusal:
        data_set(folder)
    assert refusal.value.status == 5


def test_an_image_without_a_mask_is_named(folder):
    (folder / "masks/2.png").unlink()
    with pytest.raises(ToolkitError, match=r"2\.jpg has no mask"):
        data_set(folder)


def test_hidden_files_are_passed_over_and_one_mask_is_not_for_two_images(
    folder,
):
    (folder / "images/._0.png").write_bytes(b"")
    assert len(data_set(folder).pairs) == 4
    (folder / "images/2.bmp").write_bytes(b"")
    with pytest.raises(
        ToolkitError, match=r"2\.bmp and 2\.jpg would have the same mask"
    ) as refusal:
        data_set(folder)
    assert refusal.value.status == 5


@pytest.mark.parametrize(
    ("depth", "kind"), [(1, 0), (2, 0), (4, 0), (8, 0), (1, 3), (4, 3), (8, 3)]
)
def test_masks_are_indices_however_a_png_holds_them(depth, kind, tmp_path):
    mask = np.random.default_rng(0).integers(0, 2, (10, 13)).astype(np.uint8)
    bits = (mask[..., None] >> np.arange(depth)[::-1] & 1).reshape(10, -1)
    rows = b"".join(
        b"\0" + np.packbits(row).tobytes() for row in bits.astype(np.uint8)
    )
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 13, 10, depth, kind, 0, 0, 0))]
    chunks += [(b"PLTE", bytes([200, 0, 0, 0, 0, 90]))] if kind else []
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    written = (
        struct.pack(">I", len(its))
        + name
        + its
        + struct.pack(">I", zlib.crc32(name + its))
        for name, its in chunks
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(written))
    assert (read_mask(tmp_path / "a.png", 2) == mask).all()


def test_a_set_whose_masks_hold_0_and_255_alone_is_not_scored(folder):
    for path in (folder / "masks").glob("*.png"):
        cv2.imwrite(
            str(path),
            np.where(cv2.imread(str(path), -1) > 0, 255, 0).astype(np.uint8),
        )
    cv2.imwrite(
        str(folder / "masks/0.png"),
        np.eye(
            *cv2.imread(str(folder / "masks/0.png"), -1).shape, dtype=np.uint8
        )
        * 255,
    )
    with pytest.raises(ToolkitError, match="hold 0 and 255 alone") as refusal:
        list(samples(str(folder), Conditions(), 3, 0))
    assert refusal.value.status == 5


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.arange(120, dtype=np.uint8).reshape(10, 12) % 4, "holds 2"),
        (
            np.full((10, 12), 128, np.uint8),
            "holds 128, which is none of 2 classes",
        ),
        (np.zeros((10, 12, 3), np.uint8), "one channel"),
        (np.zeros((10, 12), np.uint16), "one channel"),
        (np.zeros((12, 10), np.uint8), "12 x 10|10 x 12"),
    ],
)
def test_a_mask_that_cannot_be_one_is_refused_by_name(mask, words, folder):
    cv2.imwrite(str(folder / "masks/2.png"), mask)
    with pytest.raises(ToolkitError, match=words) as refusal:
        read_pair(data_set(folder).pairs[2], 2)
    assert refusal.value.status == 5 and "2." in refusal.value.reason


NO_CLASSES = (
    "{",
    "[]",
    "{}",
    '{"classes": "person"}',
    '{"classes": ["a"]}',
    '{"classes": ["a", "a"]}',
    '{"classes": ["a", 3]}',
    '{"classes": ["a", "b"], "classes": ["b", "a"]}',
    '{"classes": ["a", "b"], "ignore": 0}',
)


@pytest.mark.parametrize("text", NO_CLASSES)
def test_classes_that_are_none_are_refused(text, tmp_path):
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(ToolkitError) as refusal:
        class_names(tmp_path / "classes.json")
    assert refusal.value.status == 5


def test_samples_are_brought_to_the_size_asked_for():
    complete = next(samples("builtin", Conditions(), 1, 3))
    result = next(samples("builtin", Conditions(size=64), 1, 3))
    assert result.inputs.image.shape == (
        64,
        64,
        3,
    ) and result.target.mask.shape == (64, 64)
    assert set(np.unique(result.target.mask)) <= set(
        np.unique(complete.target.mask)
    )
    assert (
        next(
            samples("builtin", Conditions(size=128), 1, 3)
        ).target.mask.tobytes()
        == complete.target.mask.tobytes()
    )


@pytest.mark.parametrize("size", [0, 7, 9000])
def test_a_size_out_of_bounds_is_refused(size):
    with pytest.raises(ToolkitError, match="--size"):
        Conditions(size=size)

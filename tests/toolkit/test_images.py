"""Bytes to pixels: what is read, and what is refused in a sentence."""

import io
import os
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import (
    decode,
    folder_images,
    image_files,
    images_in_zip,
    read_image,
    square,
    write_png,
)


@pytest.fixture
def image():
    return cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8),
        (0, 0),
        2,
    )


def encoded(image, suffix):
    return cv2.imencode(suffix, image[..., ::-1])[1].tobytes()


@pytest.mark.parametrize(
    ("suffix", "error"),
    [(".png", 0), (".bmp", 0), (".tif", 0), (".jpg", 12), (".webp", 12)],
)
def test_five_formats_are_read_as_rgb(image, suffix, error):
    result = decode(encoded(image, suffix), "some")
    assert result.dtype == np.uint8
    assert np.abs(result.astype(int) - image).max() <= error


def test_grey_and_16_bit_and_transparent_images_become_rgb(image):
    grey = cv2.imencode(".png", image[..., 0])[1].tobytes()
    np.testing.assert_array_equal(
        decode(grey, "grey"), np.repeat(image[..., :1], 3, 2)
    )
    deep = cv2.imencode(".png", image[..., ::-1].astype(np.uint16) * 257)[
        1
    ].tobytes()
    np.testing.assert_array_equal(decode(deep, "deep"), image)
    alpha = cv2.imencode(
        ".png",
        np.dstack([image[..., ::-1], np.full(image.shape[:2], 7, np.uint8)]),
    )[1].tobytes()
    np.testing.assert_array_equal(decode(alpha, "alpha"), image)


@pytest.mark.parametrize(
    "data",
    [b"", b"some text, renamed .png", b"GIF89a" + bytes(50), b"%PDF-1.7"],
)
def test_what_is_no_image_is_refused(data):
    with pytest.raises(ToolkitError, match=r"some\.png"):
        decode(data, "some.png")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_file_cut_short_is_refused(image, suffix):
    data = encoded(image, suffix)
    with pytest.raises(ToolkitError, match="damaged or cut short"):
        decode(data[: len(data) // 2], "some")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ToolkitError, match="cannot be read"):
        read_image(tmp_path / "nowhere.png")


def test_what_is_written_is_read_back_and_leaves_nothing_else(image, tmp_path):
    write_png(tmp_path / "new" / "some.png", image)
    np.testing.assert_array_equal(
        read_image(tmp_path / "new" / "some.png"), image
    )
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["some.png"]


def test_a_square_is_cut_from_the_centre(image):
    np.testing.assert_array_equal(square(image, 30), image[5:35])
    assert square(image, 12).shape == (12, 12, 3)


def test_a_cameras_jpeg_with_previews_is_one_picture(image):
    file = io.BytesIO()
    Image.fromarray(image).save(
        file,
        "MPO",
        save_all=True,
        append_images=[Image.fromarray(image[::2, ::2])],
    )
    assert decode(file.getvalue(), "DSC_0001.JPG").shape == image.shape


def test_a_pipe_among_images_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ToolkitError, match="no plain file"):
        list(folder_images(tmp_path))


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED]
)
def test_a_damaged_member_of_an_archive_is_reported(image, method, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.png", encoded(image, ".png"))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[60:90] = bytes(30)
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ToolkitError, match="not a readable"):
        list(images_in_zip(tmp_path / "a.zip"))


def test_results_of_an_earlier_run_are_no_inputs(tmp_path):
    for name in ("a.png", "deep/b.png", "a/a-overlay.png", "a/record.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = {file.path.name for file in image_files(tmp_path)}
    assert names == {"a.png", "b.png"}

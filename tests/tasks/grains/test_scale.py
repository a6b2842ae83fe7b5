"""Where the scale of a micrograph comes from."""

import io

import cv2
import numpy as np
import pytest
import tifffile

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains.scale import scale_bar, tiff_scale

GREY = np.full((20, 30), 100, np.uint8)


def tiff(**options):
    file = io.BytesIO()
    tifffile.imwrite(file, GREY, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {
                "imagej": True,
                "resolution": (2.5, 2.5),
                "metadata": {"unit": "um"},
            },
            0.4,
        ),
        (
            {
                "imagej": True,
                "resolution": (2.5, 2.5),
                "metadata": {"unit": "micron"},
            },
            0.4,
        ),
        (
            {
                "imagej": True,
                "resolution": (0.02, 0.02),
                "metadata": {"unit": "nm"},
            },
            0.05,
        ),
        (
            {"resolution": (22502, 22502), "resolutionunit": "CENTIMETER"},
            1e4 / 22502,
        ),
        ({"resolution": (25400, 25400), "resolutionunit": "INCH"}, 1.0),
    ],
)
def test_a_tiffs_tags_tell_the_scale(options, expected):
    assert tiff_scale(tiff(**options)).micrometres_per_pixel == pytest.approx(
        expected, rel=1e-4
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resolution": (72, 72), "resolutionunit": "INCH"},
        {"resolution": (300, 300), "resolutionunit": "INCH"},
        {
            "imagej": True,
            "resolution": (300, 300),
            "metadata": {"unit": "inch"},
        },
    ],
)
def test_a_printers_resolution_is_no_scale(options):
    assert tiff_scale(tiff(**options)).micrometres_per_pixel is None


def test_files_without_tags_or_with_garbled_ones_have_no_scale():
    assert tiff_scale(b"\x89PNG\r\n\x1a\n").micrometres_per_pixel is None
    assert tiff_scale(tiff()[:40]).micrometres_per_pixel is None


def test_pixels_that_are_not_square_are_refused():
    with pytest.raises(ToolkitError, match="not square"):
        tiff_scale(tiff(resolution=(10000, 20000), resolutionunit="CENTIMETER"))


def micrograph():
    return (
        np.random.default_rng(0).integers(60, 190, (300, 500)).astype(np.uint8)
    )


@pytest.mark.parametrize("tone", [0, 255])
def test_the_scale_bar_is_measured(tone):
    image = micrograph()
    image[280:285, 350:451] = tone
    assert scale_bar(image) == (101, 280, 350)


def test_a_bar_with_ticks_in_a_data_bar_is_measured():
    image = micrograph()
    image[270:] = 0
    image[284:287, 300:400] = 255
    image[278:293, 300:302] = image[278:293, 398:400] = 255
    assert scale_bar(image)[0] == 100


def test_a_saturated_blob_is_no_bar():
    image = micrograph()
    cv2.ellipse(image, (250, 150), (25, 6), 0, 0, 360, 0, -1)
    with pytest.raises(ToolkitError, match="No scale bar"):
        scale_bar(image)


def test_no_bar_and_two_bars_are_refused():
    image = micrograph()
    with pytest.raises(ToolkitError, match="No scale bar"):
        scale_bar(image)
    image[280:285, 350:451] = 255
    image[20:25, 50:110] = 255
    with pytest.raises(ToolkitError, match="More than one"):
        scale_bar(image)


def test_a_bar_of_12_bits_in_a_file_of_16_is_measured():
    image = micrograph().astype(np.uint16) * 10
    image[200:206, 300:420] = 4095
    assert scale_bar(image) == (120, 200, 300)

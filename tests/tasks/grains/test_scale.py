"""Where the scale of a micrograph comes from."""

import io

import numpy as np
import pytest
import tifffile

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains.scale import file_tags

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
    assert file_tags(
        tiff(**options)
    ).scale.micrometres_per_pixel == pytest.approx(expected, rel=1e-4)


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
    assert file_tags(tiff(**options)).scale.micrometres_per_pixel is None


def test_files_without_tags_or_with_garbled_ones_have_no_scale():
    assert file_tags(b"\x89PNG\r\n\x1a\n").scale.micrometres_per_pixel is None
    assert file_tags(tiff()[:40]).scale.micrometres_per_pixel is None


def test_pixels_that_are_not_square_are_refused():
    with pytest.raises(ToolkitError, match="not square"):
        file_tags(tiff(resolution=(10000, 20000), resolutionunit="CENTIMETER"))

"""Scale bars of every kind that microscopes draw."""

import cv2
import numpy as np
import pytest

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains.scalebar import scale_bar


def micrograph():
    return (
        np.random.default_rng(0).integers(60, 190, (300, 500)).astype(np.uint8)
    )


@pytest.mark.parametrize("tone", [0, 255])
def test_the_scale_bar_is_measured(tone):
    image = micrograph()
    image[280:285, 350:451] = tone
    bar = scale_bar(image)
    assert (bar.length, bar.row, bar.column) == (101, 280, 350)


def test_a_bar_with_ticks_in_a_data_bar_is_measured():
    image = micrograph()
    image[270:] = 0
    image[284:287, 300:400] = 255
    image[278:293, 300:302] = image[278:293, 398:400] = 255
    assert scale_bar(image).length == 100


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
    bar = scale_bar(image)
    assert (bar.length, bar.row, bar.column) == (120, 200, 300)

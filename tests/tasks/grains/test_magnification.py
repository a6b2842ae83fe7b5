"""The same scene has the same grains at any size of its file."""

import cv2
import numpy as np
import pytest
from skimage.measure import label

from hvd.data.polycrystals import through_jpeg
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains.boundaries import Closure, pen_strokes
from hvd.toolkit.tasks.grains.magnification import (
    answer_at,
    empty_magnification,
    specimen_window,
)
from hvd.toolkit.tasks.grains.types import Micrograph
from tests.tasks.grains.test_surroundings import etched


@pytest.mark.parametrize("times", [2, 3, 4])
@pytest.mark.parametrize("kind", ["nearest", "linear", "cubic", "area"])
@pytest.mark.parametrize("is_jpeg", [False, True])
def test_enlargement_is_recognised(times, kind, is_jpeg):
    image = etched(noise=8)
    if is_jpeg:
        image = np.rint(through_jpeg(image / 255, 85) * 255).astype(np.uint8)
    flag = getattr(cv2, f"INTER_{kind.upper()}")
    large = cv2.resize(image, None, fx=times, fy=times, interpolation=flag)
    assert empty_magnification(image) == 1
    assert empty_magnification(large) == times


def test_flat_and_small_images_are_left_as_they_are():
    for image in (np.full((300, 300), 7), np.eye(16) * 200, np.eye(40) * 9):
        assert empty_magnification(image.astype(np.uint8)) == 1


@pytest.mark.parametrize("scale", [0.25, 1 / 3, 0.5, 2 / 3, 1, 1.5, 2, 3])
def test_an_answer_at_another_size_has_the_same_grains(scale):
    image = etched((256, 320))
    dark = image < 130

    def boundary(part):
        return (part < 0.55).astype(np.float32)

    native = cv2.resize(image, None, fx=1 / scale, fy=1 / scale)
    micrograph = Micrograph(native if scale < 1 else image)
    probability, labels, width = answer_at(
        micrograph, scale, boundary, Closure()
    )
    _, expected, native_width = answer_at(
        Micrograph(image), 1, boundary, Closure()
    )
    if scale <= 1:
        assert width == pytest.approx(native_width / scale, rel=0.15)
    assert probability.shape == labels.shape == micrograph.image.shape
    assert labels.min() == 1 and labels.dtype == np.int32
    assert set(np.unique(labels)) == set(range(1, labels.max() + 1))
    assert label(labels, connectivity=1).max() == labels.max()
    assert labels.max() == pytest.approx(expected.max(), rel=0.15)
    if scale == 1:
        strokes = pen_strokes(labels, 7)
        assert strokes[dark].mean() > 0.9


def test_only_the_rectangle_around_the_specimen_is_looked_at():
    image = etched((200, 240))
    inside = np.zeros(image.shape, bool)
    inside[40:120, 60:200] = True
    micrograph = Micrograph(image, inside=inside)
    assert specimen_window(micrograph) == (slice(40, 120), slice(60, 200))
    seen = []

    def boundary(part):
        seen.append(part.shape)
        return part * 0

    probability, labels, _ = answer_at(micrograph, 1, boundary, Closure())
    assert seen == [(80, 140)]
    assert probability.shape == labels.shape == image.shape

    small = np.zeros(image.shape, bool)
    small[199, 239] = True
    rows, columns = specimen_window(Micrograph(image, inside=small))
    assert rows.stop - rows.start == columns.stop - columns.start == 16


def test_an_enlargement_that_would_take_too_much_is_refused():
    micrograph = Micrograph(np.zeros((2000, 2000), np.uint8))
    with pytest.raises(ToolkitError, match="more than 32,000,000 pixels"):
        answer_at(micrograph, 3, lambda part: part, Closure())

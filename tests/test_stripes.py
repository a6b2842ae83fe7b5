import numpy as np
import pytest

from toolkit.core import ToolkitError
from toolkit.stripes import TASK_MASK, described, recognised, scattered, stripes

RNG = np.random.default_rng(0)


def test_the_mask_of_the_task_is_stored_as_it_is():
    assert TASK_MASK.shape == (64, 64) and TASK_MASK.dtype == bool
    assert TASK_MASK.sum() == 2073


@pytest.mark.parametrize(("width", "period"), [(1, 2), (2, 4), (1, 3), (3, 7)])
@pytest.mark.parametrize("angle", [0, 20, 45, 90, 135, 170])
def test_parallel_lines_hide_their_share(width, period, angle):
    mask = stripes((84, 84), width, period, angle)
    assert mask.mean() == pytest.approx(width / period, abs=0.02)


def test_rows_and_columns_are_what_their_angles_say():
    rows, columns = stripes((6, 8), 1, 2, 0), stripes((6, 8), 1, 2, 90)
    assert rows[0].all() and not rows[1].any() and columns[:, 0].all() and not columns[:, 1].any()
    np.testing.assert_array_equal(stripes((8, 8), 1, 4, 45), np.fliplr(stripes((8, 8), 1, 4, 135, 1)))


def test_scattered_lines_are_whole():
    mask = scattered((40, 30), 0.3, True, RNG)
    assert (mask.all(0) | ~mask.any(0)).all() and mask.all(0).sum() == 9


def test_a_description_draws_its_mask():
    np.testing.assert_array_equal(described("2/4@45", (64, 64), RNG), stripes((64, 64), 2, 4, 45))
    assert described("task", (64, 64), RNG) is TASK_MASK
    assert described("random:0.25", (64, 64), RNG).all(1).sum() == 16


@pytest.mark.parametrize("text", ["", "2/4", "4/2@0", "0/2@0", "2/4@180", "random:0", "random:1", "random:x", "nowhere.png"])
def test_what_describes_no_mask_is_refused(text):
    with pytest.raises(ToolkitError) as error:
        described(text, (64, 64), RNG)
    assert error.value.status == 2


def test_the_mask_of_the_task_fits_no_other_size():
    with pytest.raises(ToolkitError, match="64 x 64"):
        described("task", (64, 65), RNG)


MASKS = {
    "task": TASK_MASK,
    "columns": stripes((64, 64), 1, 2, 90),
    "rows": stripes((64, 64), 2, 4, 0),
    "scattered": scattered((64, 64), 0.3, False, np.random.default_rng(4)),
    "slanted": stripes((64, 64), 2, 5, 30),
    "diagonal": stripes((64, 64), 2, 4, 45),
    "sparse": stripes((64, 64), 3, 7, 100),
}


@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_a_mask_is_recognised_where_it_shows(mask, count, heads):
    images = heads[:count]
    found = recognised(np.where(mask, 0, images).astype(np.float32))
    shows = mask & (images > 0.1).any(0)
    assert found.confidence > 0.9
    assert (found.missing & shows).sum() > 0.99 * shows.sum()
    wrong = found.missing & ~mask & (images > 0.02).any(0)
    assert wrong.sum() < 0.01 * mask.sum()


@pytest.mark.parametrize("count", [1, 12])
def test_nothing_is_missing_of_complete_scans(count, heads):
    found = recognised(heads[:count])
    assert found.kind == "none" and not found.missing.any()


def test_a_black_scan_tells_no_mask():
    with pytest.raises(ToolkitError, match="black"):
        recognised(np.zeros((1, 32, 32), np.float32))


def test_scattered_pixels_of_one_scan_are_not_guessed_at(heads):
    mask = np.random.default_rng(1).random((64, 64)) < 0.4
    with pytest.raises(ToolkitError) as error:
        recognised(np.where(mask, 0, heads[:1]).astype(np.float32))
    assert "--mask" in error.value.remedy


def test_scattered_pixels_of_many_scans_show_by_themselves(heads):
    mask = np.random.default_rng(1).random((64, 64)) < 0.4
    bright = 0.3 + 0.7 * heads
    found = recognised(np.where(mask, 0, bright).astype(np.float32))
    np.testing.assert_array_equal(found.missing, mask)

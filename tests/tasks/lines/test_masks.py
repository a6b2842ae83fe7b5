import numpy as np
import pytest

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.lines.masks import (
    TASK_MASK,
    mask_of_description,
    random_lines,
    stripes,
)

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
    assert (
        rows[0].all()
        and not rows[1].any()
        and columns[:, 0].all()
        and not columns[:, 1].any()
    )
    np.testing.assert_array_equal(
        stripes((8, 8), 1, 4, 45), np.fliplr(stripes((8, 8), 1, 4, 135, 1))
    )


def test_scattered_lines_are_whole():
    mask = random_lines((40, 30), 0.3, True, RNG)
    assert (mask.all(0) | ~mask.any(0)).all() and mask.all(0).sum() == 9


def test_a_description_draws_its_mask():
    np.testing.assert_array_equal(
        mask_of_description("2/4@45", (64, 64), RNG),
        stripes((64, 64), 2, 4, 45),
    )
    assert mask_of_description("task", (64, 64), RNG) is TASK_MASK
    np.testing.assert_array_equal(
        mask_of_description("2/4@0+1", (64, 64), RNG)[:-1],
        stripes((64, 64), 2, 4, 0)[1:],
    )
    assert mask_of_description("random:0.25", (64, 64), RNG).all(1).sum() == 16
    assert (
        mask_of_description("random:0.25@90", (64, 64), RNG).all(0).sum() == 16
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2/4",
        "0.5/2@0",
        "4/2@0",
        "0/2@0",
        "2/4@180",
        "2/4@0+",
        "random:0",
        "random:1@90",
        "random:x",
        "nowhere.png",
    ],
)
def test_what_describes_no_mask_is_refused(text):
    with pytest.raises(ToolkitError) as error:
        mask_of_description(text, (64, 64), RNG)
    assert error.value.status == 2


def test_the_mask_of_the_task_fits_no_other_size():
    with pytest.raises(ToolkitError, match="64 x 64"):
        mask_of_description("task", (64, 65), RNG)

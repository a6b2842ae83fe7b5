import numpy as np
import pytest

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.lines.masks import (
    TASK_MASK,
    mask_of_description,
    random_lines,
    recognise_mask,
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


MASKS = {
    "task": TASK_MASK,
    "three columns": np.isin(np.arange(64), (20, 33, 47))
    & np.ones((64, 1), bool),
    "columns": stripes((64, 64), 1, 2, 90),
    "rows": stripes((64, 64), 2, 4, 0),
    "sparse rows": stripes((64, 64), 1, 4, 0),
    "scattered": random_lines((64, 64), 0.3, False, np.random.default_rng(4)),
    "slanted": stripes((64, 64), 2, 5, 30),
    "diagonal": stripes((64, 64), 2, 4, 45),
    "sparse": stripes((64, 64), 3, 7, 100),
    "wide": stripes((64, 64), 6, 12, 100),
    "wide slanted": stripes((64, 64), 5, 10, 10),
    "thin": stripes((64, 64), 1, 16, 5),
    "thin diagonal": stripes((64, 64), 1, 6, 135),
}


def black_around(images):
    """Scans whose background is exactly zero, as of a stripped skull."""
    return np.where(images > 0.06, images, 0).astype(np.float32)


@pytest.mark.parametrize(
    "ground", [lambda images: images, black_around], ids=["noisy", "black"]
)
@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize("name", MASKS)
def test_a_mask_is_recognised_where_it_shows(name, count, ground, heads):
    if name.startswith("thin") and count == 1 and ground is black_around:
        pytest.skip(
            "a few thin lines are lost among the black hollows of a single scan"
        )
    mask, images = MASKS[name], ground(heads[:count])
    result = recognise_mask(np.where(mask, 0, images).astype(np.float32))
    shows = mask & (images > 0.1).any(0)
    # At the frame, missing rows look like a black rim
    shows[[0, 1, 2, 3, -4, -3, -2, -1]] = False
    assert result.confidence > 0.5
    assert (result.missing & shows).sum() > 0.9 * shows.sum()
    wrong = result.missing & ~mask & (images > 0.1).any(0)
    assert wrong.sum() < 0.01 * mask.sum()


@pytest.mark.parametrize(
    "ground", [lambda images: images, black_around], ids=["noisy", "black"]
)
@pytest.mark.parametrize("count", [1, 12])
def test_nothing_is_missing_of_complete_scans(count, ground, heads):
    result = recognise_mask(ground(heads[:count]))
    assert result.kind == "none" and not result.missing.any()


def test_black_rows_around_a_head_are_not_taken_for_missing_ones():
    image = np.zeros((1, 64, 64), np.float32)
    image[:, 20:44, 12:52] = 0.5
    mask = stripes((64, 64), 1, 4, 0)
    result = recognise_mask(np.where(mask, 0, image))
    assert (result.missing <= mask).all() and (
        result.missing >= mask & (image[0] > 0)
    ).all()


def test_scans_with_another_mask_than_the_others_are_named(heads):
    images = np.where(TASK_MASK, 0, np.maximum(heads, 1e-3))
    images[[3, 7]] = np.where(
        stripes((64, 64), 2, 4, 0), 0, np.maximum(heads[[3, 7]], 1e-3)
    )
    with pytest.raises(ToolkitError, match="3, 7"):
        recognise_mask(images.astype(np.float32))


def test_lines_of_a_large_scan_are_followed_from_end_to_end():
    rows, columns = np.mgrid[:700, :900] / 60
    image = (0.5 + 0.2 * np.sin(rows) + 0.2 * np.cos(columns)).astype(
        np.float32
    )[None]
    mask = stripes((700, 900), 2, 5, 77)
    result = recognise_mask(np.where(mask, 0, image))
    assert (
        result.kind == "parallel lines"
        and (result.missing != mask).mean() < 0.01
    )


def test_a_black_scan_tells_no_mask():
    with pytest.raises(ToolkitError, match="black"):
        recognise_mask(np.zeros((1, 32, 32), np.float32))


def test_scattered_pixels_of_one_scan_are_not_guessed_at(heads):
    mask = np.random.default_rng(1).random((64, 64)) < 0.4
    with pytest.raises(ToolkitError) as error:
        recognise_mask(np.where(mask, 0, heads[:1]).astype(np.float32))
    assert "--mask" in error.value.remedy


def test_scattered_pixels_of_many_scans_show_by_themselves(heads):
    mask = np.random.default_rng(1).random((64, 64)) < 0.4
    bright = 0.3 + 0.7 * heads
    result = recognise_mask(np.where(mask, 0, bright).astype(np.float32))
    assert (
        not (result.missing & ~mask).any()
        and (mask & ~result.missing).mean() < 0.01
    )


@pytest.mark.parametrize("share", [0.04, 0.08])
def test_few_pixels_that_all_scans_lack_are_missing_and_of_one_scan_not_guessed_at(
    share, heads
):
    missing = np.random.default_rng(1).random((64, 64)) < share
    many = np.where(missing, 0, np.maximum(heads, 1e-3)).astype(np.float32)
    result = recognise_mask(many)
    bright = (heads > 0.2).all(0)
    assert (
        result.kind != "none"
        and (result.missing & bright).sum() >= 0.95 * (missing & bright).sum()
    )
    assert not (result.missing & ~missing).any()
    with pytest.raises(ToolkitError, match="not clear which pixels"):
        recognise_mask(many[:1])

"""What is missing of damaged scans is recognised, or refused."""

import numpy as np
import pytest

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.lines.masks import TASK_MASK, random_lines, stripes
from hvd.toolkit.tasks.lines.recognition import recognise_mask

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
    assert wrong.sum() < 0.01 * mask.sum() * count


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


def test_scans_may_have_another_mask_than_the_others(heads):
    rows = stripes((64, 64), 2, 4, 0)
    images = np.where(TASK_MASK, 0, np.maximum(heads, 1e-3))
    images[[3, 7]] = np.where(rows, 0, np.maximum(heads[[3, 7]], 1e-3))
    result = recognise_mask(images.astype(np.float32))
    for k, missing in enumerate(result.missing):
        np.testing.assert_array_equal(
            missing, rows if k in (3, 7) else TASK_MASK
        )
    assert "Scans 3, 7 alone" in result.notes[0]


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

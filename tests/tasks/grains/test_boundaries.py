"""From boundary probabilities to closed grains."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.ndimage import label

from hvd.data.polycrystals import tessellation
from hvd.toolkit.tasks.grains import boundaries
from hvd.toolkit.tasks.grains.boundaries import Closure


@pytest.fixture(scope="module")
def pattern():
    """Grains int32 (300, 400) from 1 and their boundary probability, by a pen of five pixels."""
    labels = tessellation((300, 400), 45, np.random.default_rng(6)).labels
    return labels, boundaries.pen_strokes(labels, 5).astype(np.uint8) * 255


def agreement(labels, result):
    """Share of the pixels whose grain is, for the most part, theirs."""
    table = np.zeros((labels.max() + 1, result.max() + 1))
    np.add.at(table, (labels.ravel(), result.ravel()), 1)
    return table.max(1).sum() / labels.size


def test_drawn_grains_are_found_again(pattern):
    labels, probability = pattern
    result = boundaries.partition(probability, Closure(smallest=0.8))
    large = np.bincount(labels.ravel()) >= 120
    assert abs(int(result.max()) - large.sum()) <= 0.05 * large.sum()
    assert agreement(labels, result) > 0.95


def test_a_partition_covers_everything_and_its_lines_part_its_grains(pattern):
    _, probability = pattern
    result = boundaries.partition(probability, Closure())
    assert result.dtype == np.int32 and result.min() == 1
    assert set(np.unique(result)) == set(range(1, result.max() + 1))
    apart, _ = label(~boundaries.lines(result))
    for part in range(1, apart.max() + 1):
        assert len(np.unique(result[apart == part])) == 1


def test_a_gap_in_a_line_is_closed_where_the_probability_is_low_but_not_nothing():
    probability = np.zeros((80, 80), np.uint8)
    probability[:, 39:42] = 255
    probability[36:44, 39:42] = 120
    assert boundaries.partition(probability, Closure()).max() == 2
    probability[36:44, 39:42] = 0
    assert boundaries.partition(probability, Closure()).max() == 1


def test_grains_merge_across_a_boundary_that_is_weak_all_along():
    probability = np.zeros((60, 90), np.uint8)
    probability[:, 29:32] = 90
    probability[:, 59:62] = 250
    assert (
        boundaries.partition(
            probability, Closure(inside=0.2, weakest=0.05)
        ).max()
        == 3
    )
    assert (
        boundaries.partition(
            probability, Closure(inside=0.2, weakest=0.6)
        ).max()
        == 2
    )


def test_a_strong_boundary_is_not_merged_across_by_way_of_a_third_grain():
    labels = np.ones((60, 60), np.int32)
    labels[:, 30:] = 2
    labels[50:] = 3
    relief = np.zeros((60, 60), np.uint8)
    relief[:50, 28:32] = 250  # between 1 and 2
    relief[49:51] = 20  # below both
    result = boundaries.merge_across_weak_boundaries(labels.copy(), relief, 0.3)
    assert result.max() == 2 and result[0, 0] != result[0, 59]


@pytest.mark.parametrize("weakest", [0.0, 0.3])
def test_no_boundary_is_one_grain_and_boundary_everywhere_is_none(weakest):
    shape = 50, 70
    one = boundaries.partition(
        np.zeros(shape, np.uint8), Closure(weakest=weakest)
    )
    assert (one == 1).all()
    assert (
        not boundaries.lines(one).any()
        and not boundaries.pen_strokes(one, 5).any()
    )
    none = boundaries.partition(
        np.full(shape, 255, np.uint8), Closure(weakest=weakest)
    )
    assert none.dtype == np.int32 and not none.any()
    assert boundaries.boundary_mask(
        np.full(shape, 255, np.uint8), none, 0.5
    ).all()


def test_tiles_leave_no_trace_beyond_a_pixel_on_plateaus(pattern, monkeypatch):
    _, probability = pattern
    complete = boundaries.partition(probability, Closure())
    monkeypatch.setattr(boundaries, "MARGIN", 64)
    monkeypatch.setattr(boundaries, "TILE", 96)
    tiled = boundaries.partition(probability, Closure())
    assert tiled.max() == complete.max()
    # On the plateau under a pen, a line may fall a pixel aside
    assert not (tiled != complete)[~boundaries.pen_strokes(complete, 6)].any()
    assert (tiled != complete).mean() < 0.01


def test_tiles_cover_every_pixel_once():
    seen = np.zeros((500, 333), int)
    for core, wide, inner in boundaries.tiles(seen.shape, 128, 64):
        seen[core] += 1
        np.testing.assert_array_equal(
            np.arange(500)[wide[0]][inner[0]], np.arange(500)[core[0]]
        )
        np.testing.assert_array_equal(
            np.arange(333)[wide[1]][inner[1]], np.arange(333)[core[1]]
        )
    assert (seen == 1).all()


def test_the_mask_holds_the_lines_and_keeps_near_them(pattern):
    _, probability = pattern
    labels = boundaries.partition(probability, Closure())
    speck = probability.copy()
    inside = np.unravel_index(
        cv2.distanceTransform(
            (probability == 0).astype(np.uint8), cv2.DIST_L2, 5
        ).argmax(),
        labels.shape,
    )
    speck[inside] = 255
    mask = boundaries.boundary_mask(speck, labels, 0.5)
    assert mask[boundaries.lines(labels)].all() and not mask[inside]
    assert (mask & (probability > 0)).sum() > 0.95 * (probability > 0).sum()


def test_the_threshold_of_the_mask_rises_with_the_distance_from_a_line():
    labels = np.ones((100, 100), np.int32)
    labels[:, 50:] = 2
    line = np.flatnonzero(boundaries.lines(labels).any(0))[0]
    probability = np.zeros((100, 100), np.uint8)
    probability[:, line - 4 : line + 6] = 255  # a band of 10
    # 0.6: enough up to (0.6 - 0.3) / 0.3 = 1 width from the line
    probability[:, line + 15] = 153
    probability[:, line + 8] = 153
    mask = boundaries.boundary_mask(probability, labels, 0.3)
    assert (
        mask[:, line - 4 : line + 6].all()
        and mask[:, line + 8].all()
        and not mask[:, line + 15].any()
    )


def test_a_drawing_is_closed_to_the_middle_of_the_pen(pattern):
    labels, probability = pattern
    mask = probability > 0
    skeleton = boundaries.skeleton(mask)
    assert boundaries.pen_width(mask, skeleton) == pytest.approx(5, abs=1)
    assert (
        agreement(labels, boundaries.grains_of_drawing(mask, skeleton)) > 0.95
    )


def test_an_empty_drawing_is_one_grain_and_a_full_one_none():
    empty, full = np.zeros((40, 40), bool), np.ones((40, 40), bool)
    assert (
        boundaries.grains_of_drawing(empty, boundaries.skeleton(empty)) == 1
    ).all()
    assert not boundaries.grains_of_drawing(
        full, boundaries.skeleton(full)
    ).any()
    assert boundaries.pen_width(empty, empty) == 0


@pytest.mark.parametrize("pen", [3, 6, 12])
def test_the_width_of_bands_is_that_of_the_pen(pen):
    probability = np.zeros((200, 300), np.uint8)
    for row in (50, 120):
        probability[row : row + pen] = 255
    assert boundaries.band_width(probability) == pytest.approx(pen, abs=1)
    assert boundaries.band_width(np.zeros((40, 40), np.uint8)) == 1


def test_a_pattern_twice_as_large_has_the_same_grains(pattern):
    _, probability = pattern
    large = np.kron(probability, np.ones((2, 2), np.uint8))
    small, twice = (
        boundaries.partition(probability, Closure()),
        boundaries.partition(large, Closure()),
    )
    assert abs(int(small.max()) - int(twice.max())) <= 2
    assert agreement(np.kron(small, np.ones((2, 2), np.int32)), twice) > 0.97


def test_a_faint_boundary_parts_grains_of_different_tones_only():
    probability = np.zeros((60, 120), np.uint8)
    probability[:, 38:42] = 255
    probability[:, 79:81] = 15  # faint
    closure = Closure(blur=0, inside=0.1, smallest=0.5, weakest=0.05)
    with_faint = replace(closure, faint=0.03)
    rng = np.random.default_rng(0)
    image = np.full(probability.shape, 100.0)
    image[:, 40:80] = 110
    image[:, 80:] = 118
    image += rng.normal(0, 3, image.shape)
    alike = image.copy()
    alike[:, 40:] = rng.normal(112, 3, (60, 80))

    assert boundaries.partition(probability, closure, image).max() == 2
    assert boundaries.partition(probability, with_faint).max() == 2
    assert boundaries.partition(probability, with_faint, alike).max() == 2
    parted = boundaries.partition(probability, with_faint, image)
    assert parted.max() == 3
    assert len(np.unique(parted[:, [20, 60, 100]])) == 3

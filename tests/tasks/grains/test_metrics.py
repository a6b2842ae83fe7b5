"""How boundaries are scored."""

import numpy as np
import pytest

from hvd.baselines.trivial import AllBoundary, NoBoundary
from hvd.data.grains import polycrystal_samples
from hvd.toolkit.tasks.grains.boundaries import pen_strokes
from hvd.toolkit.tasks.grains.metrics import (
    METRICS,
    boundary_f1,
    boundary_iou,
    diameter_error,
    grain_count_ratio,
)
from hvd.toolkit.tasks.grains.types import Boundaries, drawing

METRIC = {metric.name: metric for metric in METRICS}


@pytest.fixture(scope="module")
def target(micrograph_sample):
    return micrograph_sample.target


@pytest.mark.parametrize("name", METRIC)
def test_a_perfect_answer_scores_exactly_perfect(name):
    for sample in polycrystal_samples(3, 2, 96):
        assert (
            METRIC[name].score(sample.target, sample.target)
            == METRIC[name].perfect
        )
        by_hand = drawing(sample.target.mask, None)
        assert METRIC[name].score(by_hand, by_hand) == METRIC[name].perfect


def test_boundary_everywhere_scores_the_share_of_boundary(
    micrograph_sample, target
):
    everywhere = AllBoundary().predict(micrograph_sample.inputs)
    assert boundary_iou(target, everywhere) == pytest.approx(target.mask.mean())
    assert (
        boundary_iou(target, NoBoundary().predict(micrograph_sample.inputs))
        == 0
    )


def test_every_metric_is_a_number_between_any_two_of_nothing_everything_and_something(
    micrograph_sample, target
):
    nothing, everything = (
        NoBoundary().predict(micrograph_sample.inputs),
        AllBoundary().predict(micrograph_sample.inputs),
    )
    for wanted in (nothing, everything, target):
        for result in (nothing, everything, target):
            for metric in METRICS:
                assert np.isfinite(metric.score(wanted, result)), metric.name
        assert boundary_iou(wanted, wanted) == boundary_f1(wanted, wanted) == 1


def shifted(target, pixels):
    labels = np.roll(target.labels, pixels, axis=1)
    return Boundaries(np.roll(target.mask, pixels, axis=1), labels)


def test_lines_aside_by_less_than_the_tolerance_are_right():
    rows = (np.arange(120)[:, None] // 40 + 1).repeat(120, 1).astype(np.int32)
    target = Boundaries(pen_strokes(rows, 3), rows, 3.0)
    aside = np.roll(rows, 3, axis=0)
    aside[:3] = 1
    beyond = np.roll(rows, 5, axis=0)
    beyond[:5] = 1
    assert boundary_f1(target, Boundaries(pen_strokes(aside, 3), aside)) == 1
    assert boundary_f1(target, Boundaries(pen_strokes(beyond, 3), beyond)) == 0
    half = np.where(rows == 3, 2, rows)
    assert boundary_f1(
        target, Boundaries(pen_strokes(half, 3), half)
    ) == pytest.approx(2 / 3)


def test_iou_of_half_the_mask_is_a_half():
    mask = np.zeros((40, 40), bool)
    mask[10:20] = True
    half = mask.copy()
    half[15:20] = False
    labels = np.ones((40, 40), np.int32)
    assert (
        boundary_iou(Boundaries(mask, labels), Boundaries(half, labels)) == 0.5
    )


def test_halved_grains_are_an_error_of_their_diameter():
    grid = (
        (np.arange(12)[:, None] // 2 * 6 + np.arange(12)[None] // 2 + 1)
        .repeat(10, 0)
        .repeat(10, 1)
        .astype(np.int32)
    )
    fine = (
        (np.arange(12)[:, None] * 12 + np.arange(12)[None] + 1)
        .repeat(10, 0)
        .repeat(10, 1)
        .astype(np.int32)
    )
    target, result = (
        Boundaries(pen_strokes(labels, 3), labels) for labels in (grid, fine)
    )
    assert diameter_error(target, result) == pytest.approx(0.5)
    assert grain_count_ratio(target, result) == 4


def test_the_tolerance_of_a_drawing_is_half_its_pen_at_least_three():
    rows = (np.arange(200)[:, None] // 50 + 1).repeat(200, 1).astype(np.int32)
    assert drawing(pen_strokes(rows, 3), None).tolerance == 3
    assert drawing(pen_strokes(rows, 12), None).tolerance == pytest.approx(
        6, abs=0.6
    )
    assert drawing(pen_strokes(rows, 12), 5).tolerance == 5

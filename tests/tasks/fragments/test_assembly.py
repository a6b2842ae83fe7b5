"""Photographs from neighbours: with the true neighbours, every layout is the true one."""

import numpy as np
import pytest

from hvd.data.fragments import heaps
from hvd.toolkit.tasks.fragments.assembly import arrangement_of_groups, layout
from hvd.toolkit.tasks.fragments.metrics import METRICS, neighbour_pairs
from hvd.toolkit.tasks.fragments.options import Conditions
from hvd.toolkit.tasks.fragments.types import Arrangement

SCORES = {metric.name: metric.score for metric in METRICS}


def true_neighbours(target, turns, certainty=0.9):
    """Probabilities (4, O, n, n) that name the true neighbours, and noise elsewhere."""
    n = len(target.group)
    result = (
        np.random.default_rng(0)
        .uniform(0, 0.05, (4, turns, n, n))
        .astype(np.float32)
    )
    for i, side, j, turn in neighbour_pairs(target):
        result[side, turn, i, j] = certainty
    return result


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("known", ["sizes", "nothing"])
def test_true_neighbours_give_every_photograph_back(photographs, rotate, known):
    sample = next(
        heaps(
            photographs, Conditions(images=5, rotate=rotate, known=known), 1, 0
        )
    )
    neighbours = true_neighbours(sample.target, 4 if rotate else 1)
    same = (sample.target.group[:, None] == sample.target.group).astype(
        np.float32
    )
    answer = arrangement_of_groups(
        sample.target.group, same, neighbours, sample.inputs
    )
    assert SCORES["perfect_images"](sample.target, answer) == 1
    np.testing.assert_array_equal(answer.confidence, 1)


@pytest.mark.parametrize("rotate", [False, True])
def test_a_photograph_with_missing_fragments_keeps_its_holes(
    photographs, rotate
):
    sample = next(
        heaps(photographs, Conditions(images=1, grid=4, rotate=rotate), 1, 0)
    )
    target = sample.target
    keep = np.flatnonzero(~np.isin(target.row * 4 + target.column, [5, 11]))
    neighbours = true_neighbours(target, 4 if rotate else 1)[
        :, :, keep[:, None], keep
    ]
    group = np.zeros(len(keep), np.int32)
    laid = Arrangement(group, *layout(neighbours, None), group)
    assert neighbour_pairs(laid) == neighbour_pairs(
        Arrangement(
            group,
            target.row[keep],
            target.column[keep],
            target.turn[keep],
            group,
        )
    )


def test_nothing_is_laid_outside_the_grid():
    neighbours = np.random.default_rng(0).random((4, 1, 16, 16), np.float32)
    row, column, _ = layout(neighbours, 4)
    assert sorted(zip(row, column, strict=True)) == [
        (r, c) for r in range(4) for c in range(4)
    ]


def test_a_single_fragment_lies_at_the_origin():
    np.testing.assert_array_equal(
        layout(np.zeros((4, 1, 1, 1), np.float32), 1), [[0], [0], [0]]
    )


def test_fragments_without_any_neighbour_are_laid_side_by_side():
    row, column, _ = layout(np.zeros((4, 1, 6, 6), np.float32), None)
    assert len(set(zip(row, column, strict=True))) == 6

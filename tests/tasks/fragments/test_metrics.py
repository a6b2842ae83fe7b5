"""Metrics of `fragments`: perfect is 1, chance is 0; names of groups do not matter."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvd.data.fragments import heaps
from hvd.toolkit.tasks.fragments.drawing import strangers
from hvd.toolkit.tasks.fragments.metrics import METRICS
from hvd.toolkit.tasks.fragments.options import Conditions
from hvd.toolkit.tasks.fragments.task import TASK
from hvd.toolkit.tasks.fragments.types import Arrangement

SCORES = {metric.name: metric.score for metric in METRICS}


def arrangement(group):
    group = np.asarray(group, np.int32)
    zeros = np.zeros_like(group)
    return Arrangement(
        group,
        np.arange(len(group), dtype=np.int32),
        zeros,
        zeros,
        zeros.astype(float),
    )


@pytest.mark.parametrize("rotate", [False, True])
def test_a_perfect_answer_scores_exactly_one(photographs, rotate):
    target = next(
        heaps(photographs, Conditions(images=4, rotate=rotate), 1, 0)
    ).target
    for metric in TASK.metrics:
        assert metric.score(target, target) == metric.perfect == 1


def test_a_perfect_grouping_scores_exactly_one_whatever_the_sizes():
    rng = np.random.default_rng(0)
    for _ in range(100):
        target = arrangement(
            np.unique(
                rng.integers(0, 9, rng.integers(2, 60)), return_inverse=True
            )[1]
        )
        assert all(
            SCORES[name](target, target) == 1
            for name in ("ari", "nmi", "pair_precision", "pair_recall")
        )


def test_strangers_are_those_from_another_photograph_than_most_of_their_group():
    result = strangers(
        np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 0, 1, 1])
    )
    np.testing.assert_array_equal(
        result, [False, False, False, True, False, True]
    )


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_photograph_turned_as_a_whole_is_still_perfect(photographs, quarters):
    target = next(
        heaps(photographs, Conditions(images=3, rotate=True), 1, 0)
    ).target
    row, column = target.row, target.column
    for _ in range(quarters):  # counter-clockwise
        row, column = 3 - column, row
    turned = replace(
        target, row=row, column=column, turn=(target.turn - quarters) % 4
    )
    assert (
        SCORES["neighbour_accuracy"](target, turned)
        == SCORES["perfect_images"](target, turned)
        == 1
    )


def test_one_exchanged_pair_spoils_its_photographs_and_no_others(photographs):
    target = next(heaps(photographs, Conditions(images=4), 1, 0)).target
    group = target.group.copy()
    i, j = np.flatnonzero(group == 0)[0], np.flatnonzero(group == 1)[0]
    group[i], group[j] = group[j], group[i]
    row, column = target.row.copy(), target.column.copy()
    row[[i, j]], column[[i, j]] = row[[j, i]], column[[j, i]]
    assert (
        SCORES["perfect_images"](
            target, replace(target, group=group, row=row, column=column)
        )
        == 0.5
    )


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30
    )
)
def test_pair_scores_count_pairs(labels):
    truth, result = zip(*labels, strict=True)
    pairs = [(a, b) for a in range(len(labels)) for b in range(a)]
    belong = {p for p in pairs if truth[p[0]] == truth[p[1]]}
    together = {p for p in pairs if result[p[0]] == result[p[1]]}
    target, prediction = arrangement(truth), arrangement(result)
    expected = len(belong & together) / len(together) if together else 1
    assert SCORES["pair_precision"](target, prediction) == pytest.approx(
        expected
    )
    expected = len(belong & together) / len(belong) if belong else 1
    assert SCORES["pair_recall"](target, prediction) == pytest.approx(expected)


def test_the_ari_of_chance_is_zero_and_of_renamed_groups_one():
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(10), 16)
    chance = [
        SCORES["ari"](arrangement(truth), arrangement(rng.permutation(truth)))
        for _ in range(200)
    ]
    assert abs(np.mean(chance)) < 0.005
    assert SCORES["ari"](arrangement(truth), arrangement(9 - truth)) == 1

"""The handcrafted method of `fragments` against the formulae it is taken from."""

import numpy as np
import pytest

from hvd.baselines.fragments import (
    REGULARISATION,
    Gradient,
    closing_loops,
    colour_similarity,
    lab,
    mutual_ratio,
    side_dissimilarity,
    touching_probability,
    walk_probability,
)
from hvd.data.fragments import heaps, samples
from hvd.toolkit.evaluation import evaluate, summary
from hvd.toolkit.tasks.fragments.metrics import neighbour_pairs
from hvd.toolkit.tasks.fragments.options import Conditions
from hvd.toolkit.tasks.fragments.task import TASK


@pytest.fixture(scope="module")
def pixels():
    return lab(
        np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    )


def gallagher(left, right):
    """How badly the gradient across the seam of `left` and `right` fits those inside `left`."""
    gradient = left[:, -1] - left[:, -2]
    mean = gradient.mean(0)
    covariance = np.cov(gradient.T, bias=True) + REGULARISATION * np.eye(3)
    across = right[:, 0] - left[:, -1] - mean
    return np.einsum("pi,ij,pj->", across, np.linalg.inv(covariance), across)


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("side", range(4))
def test_dissimilarity_is_gallaghers_for_every_side_and_turn(
    pixels, side, turn
):
    result = side_dissimilarity(pixels)[side, turn, 1, 3]
    left = np.rot90(pixels[1], side - 1)  # side to the right
    # Touching side to the left
    right = np.rot90(pixels[3], (side + 2 + turn) - 3)
    expected = gallagher(left, right) + gallagher(right[:, ::-1], left[:, ::-1])
    assert result == pytest.approx(expected, rel=1e-3)


def test_the_ratio_is_to_the_geometric_mean_of_both_second_bests_and_symmetric(
    pixels,
):
    ratio = mutual_ratio(side_dissimilarity(pixels))
    side = np.arange(4)
    for a in side:
        for o in side:
            b = (a + 2 + o) % 4
            np.testing.assert_allclose(ratio[a, o], ratio[b, -o % 4].T)
    rows = side_dissimilarity(pixels).transpose(0, 2, 1, 3).reshape(4, 5, -1)
    second = np.sort(rows)[..., 1]
    a, i, j = 2, 0, 4  # upright: side 2 of 0 against side 0 of 4
    assert ratio[a, 0, i, j] == pytest.approx(
        side_dissimilarity(pixels)[a, 0, i, j]
        / np.sqrt(second[2, 0] * second[0, 4])
    )


def test_colour_similarity_is_one_for_the_same_colours_and_zero_for_others():
    fragments = np.zeros((3, 4, 4, 3), np.uint8)
    fragments[2] = 255, 0, 0
    similarity = colour_similarity(lab(fragments), 16, 0.1)
    assert similarity[0, 1] == pytest.approx(1)
    assert similarity[0, 2] < 0.05
    np.testing.assert_allclose(similarity, similarity.T)


def test_a_walk_stays_within_groups_that_nothing_joins():
    affinity = np.kron(np.eye(2), np.ones((3, 3))) - np.eye(6)
    reached = walk_probability(affinity, 64)
    np.testing.assert_allclose(
        reached, np.kron(np.eye(2), np.full((3, 3), 2)), atol=1e-6
    )


@pytest.mark.parametrize("rotate", [False, True])
def test_loops_close_round_every_inner_corner_of_the_photographs_and_nowhere_else(
    photographs, rotate
):
    conditions = Conditions(images=2, grid=3, fragment=20, rotate=rotate)
    target = next(heaps(photographs[:, :60, :60], conditions, 1, 0)).target
    true = np.zeros((4, 4 if rotate else 1, 18, 18))
    for i, side, j, turn in neighbour_pairs(target):
        true[side, turn, i, j] = 1
    support = sum(closing_loops(true))
    # of 12 seams in a 3 x 3 photograph, seen from both sides, 8 end at one inner corner, 4 at two
    assert sorted(support[true > 0].tolist()) == [1] * 32 + [2] * 16
    assert support[true == 0].max() == 0


def test_the_chances_of_a_side_s_partners_and_of_none_add_to_one():
    scores = np.zeros((4, 1, 6, 6))
    result = touching_probability(scores, none=np.log(6))
    np.testing.assert_allclose(result.sum(-1), 0.5)


def test_the_baseline_groups_bundled_photographs():
    records = evaluate(
        TASK,
        {"baseline": Gradient()},
        samples("builtin", Conditions(), 4, seed=11),
    )
    assert (
        summary(records, TASK.metrics)["baseline"]["metrics"]["ari"]["mean"]
        > 0.9
    )

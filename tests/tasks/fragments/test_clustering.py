"""Groups from an affinity."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster
from sklearn.metrics import adjusted_rand_score

from hvd.toolkit.tasks.fragments.clustering import (
    after_exchanges,
    after_moves,
    assignment,
    average_linkage,
    evidence_of,
    evidence_within,
    groups,
    labels_without_gaps,
    spherical_means,
    unit_rows,
)


def blocks(sizes, inside, outside, noise, seed=0):
    """A symmetric affinity with groups of the given sizes, shuffled, and its labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    logits = np.where(
        labels[:, None] == labels[None], inside, outside
    ) + noise * rng.standard_normal((len(labels),) * 2)
    return 1 / (1 + np.exp(-(logits + logits.T) / 2)), labels


@pytest.mark.parametrize(
    "sizes", [[16] * 10, [3, 9, 20, 4], [40], [5, 5], [12] * 30]
)
@pytest.mark.parametrize("known", ["sizes", "count", "nothing"])
def test_clear_groups_are_found_whatever_is_known(sizes, known):
    affinity, labels = blocks(sizes, 3, -4, 2)
    equal = known == "sizes" and len(set(sizes)) == 1
    result = groups(affinity, None if known == "nothing" else len(sizes), equal)
    assert adjusted_rand_score(labels, result) == 1


def test_equal_sizes_are_kept_even_when_the_affinity_says_nothing():
    affinity, _ = blocks([16] * 10, 0, 0, 1)
    assert np.bincount(groups(affinity, 10, True)).tolist() == [16] * 10


def test_a_known_count_is_kept_even_when_the_affinity_says_nothing():
    affinity, _ = blocks([8] * 4, 0, 0, 0)
    assert len(np.unique(groups(affinity, 4, False))) == 4


@pytest.mark.parametrize("improve", [after_moves, after_exchanges])
def test_moves_raise_the_evidence_and_end_where_no_single_one_helps(improve):
    affinity, _ = blocks([6] * 5, 1, -1, 3)
    logits = evidence_of(affinity)
    start = np.repeat(np.arange(5, dtype=np.int32), 6)
    result = improve(logits, start)
    assert evidence_within(logits, result) > evidence_within(logits, start)
    np.testing.assert_array_equal(improve(logits, result), result)
    if improve is after_exchanges:
        assert np.bincount(result).tolist() == [6] * 5
        for i in range(30):
            for j in range(i):
                other = result.copy()
                other[i], other[j] = result[j], result[i]
                assert (
                    evidence_within(logits, other)
                    <= evidence_within(logits, result) + 1e-6
                )


def test_assignment_fills_the_sizes_with_the_largest_total():
    scores = np.array([[3.0, 0], [2, 1.5], [5, 4], [1, 0.2]])
    np.testing.assert_array_equal(
        assignment(scores, np.array([2, 2])), [0, 1, 0, 1]
    )
    np.testing.assert_array_equal(assignment(scores, None), [0, 0, 0, 0])


def test_means_keep_sizes():
    points = unit_rows(np.random.default_rng(0).standard_normal((30, 3)))
    assert np.bincount(
        spherical_means(points, 3, np.array([5, 10, 15]))
    ).tolist() == [5, 10, 15]


def test_labels_are_renumbered_without_gaps_and_split_up_to_the_count():
    np.testing.assert_array_equal(
        labels_without_gaps(np.array([7, 3, 7]), 0), [1, 0, 1]
    )
    assert len(np.unique(labels_without_gaps(np.zeros(5, int), 3))) == 3


def test_average_linkage_merges_what_has_most_evidence():
    affinity, labels = blocks([4, 6], 3, -3, 1)
    assert (
        adjusted_rand_score(
            labels,
            fcluster(average_linkage(evidence_of(affinity)), 2, "maxclust"),
        )
        == 1
    )

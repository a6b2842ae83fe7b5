"""Means, intervals and paired differences."""

import numpy as np
import pytest

from hvd.toolkit.core import Metric
from hvd.toolkit.evaluation import difference, evaluate, interval, summary
from hvd.toolkit.registry import method, task

ARI = Metric("ari", None, "")
POOLED = Metric("accuracy", None, "", pool=lambda total: total[0] / total[1])


def records():
    scores = {"a": [0.9, 0.5, 0.7], "b": [0.8, 0.4, 0.6]}
    return [
        {
            "sample": str(k),
            "method": m,
            "metrics": {"ari": v},
            "milliseconds": 10.0 * (k + 1),
        }
        for m, values in scores.items()
        for k, v in enumerate(values)
    ]


def test_the_summary_gives_mean_interval_median_and_p95():
    result = summary(records(), (ARI,))["a"]
    assert result["metrics"]["ari"]["mean"] == pytest.approx(0.7)
    assert (
        0.5
        <= result["metrics"]["ari"]["low"]
        <= 0.7
        <= result["metrics"]["ari"]["high"]
        <= 0.9
    )
    assert result["milliseconds"] == {"median": 20, "p95": pytest.approx(29)}


def test_a_constant_difference_has_no_width():
    result = difference(records(), ARI, "a", "b")
    assert result == {
        "mean": pytest.approx(0.1),
        "low": pytest.approx(0.1),
        "high": pytest.approx(0.1),
    }


def test_the_interval_is_that_of_the_normal_approximation_when_samples_are_many():
    values = np.random.default_rng(0).normal(3, 2, 2000)
    result = interval(values)
    error = 1.96 * values.std() / 2000**0.5
    assert result["low"] == pytest.approx(values.mean() - error, abs=0.01)
    assert result["high"] == pytest.approx(values.mean() + error, abs=0.01)


def test_evaluation_gives_a_record_for_each_sample_and_method(heap_sample):
    methods = {m: method("fragments", m) for m in ("trivial", "colour")}
    result = list(
        evaluate(task("fragments"), methods, [heap_sample, heap_sample])
    )
    assert [r["method"] for r in result] == ["trivial", "colour"] * 2
    assert all(r["milliseconds"] > 0 for r in result)
    assert [
        r["metrics"]["pair_recall"] for r in result if r["method"] == "trivial"
    ] == [1, 1]


def test_pooled_counts_are_summed_over_samples_before_they_are_a_score():
    counts = {"a": [[9, 10], [1, 100]], "b": [[8, 10], [2, 100]]}
    result = [
        {
            "sample": str(k),
            "method": m,
            "metrics": {"accuracy": v},
            "milliseconds": 1.0,
        }
        for m, values in counts.items()
        for k, v in enumerate(values)
    ]
    score = summary(result, (POOLED,))["a"]["metrics"]["accuracy"]
    assert (
        score["mean"] == pytest.approx(10 / 110)
        and score["low"] == pytest.approx(0.01)
        and score["high"] == pytest.approx(0.9)
    )
    gain = difference(result, POOLED, "a", "b")
    assert (
        gain["mean"] == pytest.approx(0)
        and gain["low"] == pytest.approx(-0.01)
        and gain["high"] == pytest.approx(0.1)
    )


def test_a_method_that_fails_is_reported_and_the_others_go_on(heap_sample):
    class Failing:
        def predict(self, inputs):
            raise MemoryError("too large")

    methods, failures = (
        {"failing": Failing(), "trivial": method("fragments", "trivial")},
        {},
    )
    with pytest.raises(MemoryError):
        list(evaluate(task("fragments"), methods, [heap_sample]))
    result = list(
        evaluate(
            task("fragments"), methods, [heap_sample, heap_sample], failures
        )
    )
    assert [r["method"] for r in result] == ["trivial"] * 2 and failures == {
        "failing": "MemoryError: too large"
    }

"""How answers are scored: one record a sample, then means with intervals."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from toolkit.core import Method, Sample, Task, ToolkitError

RESAMPLES = 2000


def evaluate(task: Task, methods: dict[str, Method], samples: Iterable[Sample]) -> Iterator[dict[str, Any]]:
    """A record for each sample and method: `sample`, `method`, `metrics`, `milliseconds`.

    Methods take turns on every sample, on one thread, so that a busy moment of the machine meets all of them; each runs once
    before it is timed.
    """
    with threadpool_limits(1):
        for k, sample in enumerate(samples):
            for name, method in methods.items():
                if k == 0:
                    method.predict(sample.inputs)
                began = time.perf_counter()
                prediction = method.predict(sample.inputs)
                milliseconds = (time.perf_counter() - began) * 1000
                metrics = {metric.name: float(metric.score(sample.target, prediction)) for metric in task.metrics}
                yield {"sample": sample.id, "method": name, "metrics": metrics, "milliseconds": milliseconds}


def able(methods: dict[str, Method], inputs: Any) -> tuple[dict[str, Method], dict[str, str]]:
    """Of `methods`, those that answer inputs like these, and why others refuse them."""
    found, refusals = {}, {}
    with threadpool_limits(1):
        for name, method in methods.items():
            try:
                method.predict(inputs)
                found[name] = method
            except ToolkitError as error:
                if error.status != 1:
                    raise
                refusals[name] = error.reason
    return found, refusals


def interval(values: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Mean of (n,) values with a 95 % bootstrap interval over them (percentile method, Efron & Tibshirani, 1993)."""
    values = np.asarray(values, np.float64)
    resampled = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(values[resampled].mean(1), [2.5, 97.5])
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}


def summary(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """By method: every metric's mean and interval, and the median and 95th percentile of the milliseconds."""
    by_method = defaultdict(list)
    for record in records:
        by_method[record["method"]].append(record)
    found = {}
    for name, group in by_method.items():
        metrics = {metric: interval([r["metrics"][metric] for r in group]) for metric in group[0]["metrics"]}
        median, p95 = np.percentile([r["milliseconds"] for r in group], [50, 95])
        found[name] = {"metrics": metrics, "milliseconds": {"median": float(median), "p95": float(p95)}}
    return found


def difference(records: list[dict[str, Any]], metric: str, method: str, other: str) -> dict[str, float]:
    """`method` minus `other`, paired by sample, with its interval."""
    scores = {(r["method"], r["sample"]): r["metrics"][metric] for r in records}
    samples = dict.fromkeys(r["sample"] for r in records)
    return interval(np.array([scores[method, s] - scores[other, s] for s in samples]))

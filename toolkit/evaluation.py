"""How answers are scored: one record a sample, then means with intervals."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from toolkit.core import Method, Metric, Sample, Task, ToolkitError

RESAMPLES = 2000


def evaluate(
    task: Task, methods: dict[str, Method], samples: Iterable[Sample], failures: dict[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """A record for each sample and method: `sample`, `method`, `metrics` (numbers, or counts of those with `pool`), `milliseconds`.

    Methods take turns on every sample, on one thread, so that a busy moment of the machine meets all of them; each runs once
    before it is timed. With `failures` given, a method that fails is left out from there on and its reason put there.
    """
    methods = dict(methods)
    with threadpool_limits(1):
        for k, sample in enumerate(samples):
            for name, method in list(methods.items()):
                try:
                    if k == 0:
                        method.predict(sample.inputs)
                    began = time.perf_counter()
                    prediction = method.predict(sample.inputs)
                    milliseconds = (time.perf_counter() - began) * 1000
                    metrics = {metric.name: np.asarray(metric.score(sample.target, prediction)).tolist() for metric in task.metrics}
                except Exception as error:
                    if failures is None:
                        raise
                    failures[name] = f"{type(error).__name__}: {error}"
                    del methods[name]
                    continue
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


def interval(values: np.ndarray, pool: Callable[[np.ndarray], float] | None = None, seed: int = 0) -> dict[str, float]:
    """Mean of (n,) values, or what `pool` makes of the sum of (n, ...) counts, with a 95 % bootstrap interval over them (percentile
    method, Efron & Tibshirani, 1993)."""
    values = np.asarray(values, np.float64)
    chosen = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    if pool is None:
        mean, resampled = values.mean(), values[chosen].mean(1)
    else:
        times = np.stack([np.bincount(row, minlength=len(values)) for row in chosen])
        mean, resampled = pool(values.sum(0)), [pool(total) for total in np.tensordot(times, values, 1)]
    low, high = np.percentile(resampled, [2.5, 97.5])
    return {"mean": float(mean), "low": float(low), "high": float(high)}


def summary(records: Iterable[dict[str, Any]], metrics: tuple[Metric, ...]) -> dict[str, Any]:
    """By method: every metric's mean and interval, and the median and 95th percentile of the milliseconds."""
    by_method = defaultdict(list)
    for record in records:
        by_method[record["method"]].append(record)
    found = {}
    for name, group in by_method.items():
        scores = {metric.name: interval([r["metrics"][metric.name] for r in group], metric.pool) for metric in metrics}
        median, p95 = np.percentile([r["milliseconds"] for r in group], [50, 95])
        found[name] = {"metrics": scores, "milliseconds": {"median": float(median), "p95": float(p95)}}
    return found


def difference(records: list[dict[str, Any]], metric: Metric, method: str, other: str) -> dict[str, float]:
    """`method` minus `other`, paired by sample, with its interval."""
    scores = {(r["method"], r["sample"]): np.array(r["metrics"][metric.name]) for r in records}
    samples = dict.fromkeys(r["sample"] for r in records)
    pool = metric.pool
    if pool is None:
        return interval(np.array([scores[method, s] - scores[other, s] for s in samples]))
    both = np.array([(scores[method, s], scores[other, s]) for s in samples])
    return interval(both, lambda total: pool(total[0]) - pool(total[1]))

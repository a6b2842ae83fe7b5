"""Score methods: one record for each sample and method, then means with intervals."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from hvd.toolkit import registry
from hvd.toolkit.asking import ask, check_answer
from hvd.toolkit.core import (
    Method,
    Metric,
    Sample,
    Task,
    ToolkitError,
    data_errors,
)
from hvd.toolkit.settings import one_thread

RESAMPLES = 2000  # of the bootstrap
# Called as progress(iterable, total=count)
Progress = Callable[..., Iterable[Any]]


def score(
    task_name: str,
    methods: dict[str, Method],
    data: str,
    options: Any,
    count: int,
    seed: int,
    leave_out: bool = False,
    progress: Progress = lambda items, total: items,
) -> dict[str, Any]:
    """Score methods on the samples of a task: what `toolkit evaluate --json` prints.

    Parameters
    ----------
    task_name : name of the task.
    methods : by the names that results show.
    data : "builtin", or the path of a data set.
    options : the conditions under which samples are made.
    count, seed : the number of samples at most, and their seed.
    leave_out : leave methods out that refuse such samples, and say why, instead of failing.
    progress : wraps the records as they come, such as `tqdm.tqdm`.

    Returns
    -------
    A dictionary with `task`, `data`, `samples`, `seed`, `options`, `left_out` (reasons by method),
    and `methods`: for each method the mean, low and high end of every metric, and milliseconds.
    """
    task = registry.task(task_name)
    with data_errors():
        samples = iter(registry.samples(task_name, data, options, count, seed))
        refusals: dict[str, str] = {}
        # Ask with the first sample, then put it back in front of the others.
        if leave_out:
            first = next(samples, None)
            if first is None:
                raise ToolkitError(
                    f"{data} holds no sample.", "Give other --data."
                )
            methods, refusals = split_by_ability(methods, first.inputs)
            samples = chain([first], samples)

        records = list(
            progress(
                evaluate(task, methods, samples), total=count * len(methods)
            )
        )

    return {
        "task": task_name,
        "data": data,
        "samples": len(records) // len(methods),
        "seed": seed,
        "methods": summary(records, task.metrics),
        "options": options.as_dict(),
        "left_out": refusals,
    }


def evaluate(
    task: Task,
    methods: dict[str, Method],
    samples: Iterable[Sample],
    failures: dict[str, str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield a record for each sample and method: `sample`, `method`, `metrics`, `milliseconds`.

    Methods take turns on every sample, on one thread, so that a busy moment of the machine slows
    all of them; each runs once before it is timed. With `failures`, a method that fails is left
    out from then on, and its reason is put there.
    """
    methods = dict(methods)
    with one_thread():
        for k, sample in enumerate(samples):
            for name, method in list(methods.items()):
                try:
                    # The first call loads networks and fills caches: its time
                    # is not counted.
                    yield score_sample(
                        task, name, method, sample, warm_up=k == 0
                    )
                except Exception as error:
                    # A benchmark goes on without the method; an evaluation
                    # stops.
                    if failures is None:
                        raise
                    is_ours = isinstance(error, ToolkitError)
                    failures[name] = (
                        str(error)
                        if is_ours
                        else f"{type(error).__name__}: {error}"
                    )
                    del methods[name]


def score_sample(
    task: Task,
    name: str,
    method: Method,
    sample: Sample,
    warm_up: bool,
) -> dict[str, Any]:
    """The record of one method on one sample.

    Metrics are numbers; those with `pool` are counts.
    """
    if warm_up:
        ask(method, sample.inputs)

    start = time.perf_counter()
    prediction = ask(method, sample.inputs)
    milliseconds = (time.perf_counter() - start) * 1000

    # An answer that does not fit its input must not be scored.
    check_answer(task, method, prediction, sample.inputs)
    metrics = {}
    for metric in task.metrics:
        metrics[metric.name] = np.asarray(
            metric.score(sample.target, prediction)
        ).tolist()

    return {
        "sample": sample.id,
        "method": name,
        "metrics": metrics,
        "milliseconds": milliseconds,
    }


def split_by_ability(
    methods: dict[str, Method], inputs: Any
) -> tuple[dict[str, Method], dict[str, str]]:
    """Split methods into those that accept this input and the reasons the others gave."""
    able = {}
    refusals = {}
    with one_thread():
        for name, method in methods.items():
            try:
                ask(method, inputs)
                able[name] = method
            except ToolkitError as error:
                # Only refusals of this input count: a broken checkpoint must
                # be seen.
                if error.status not in (1, 2):
                    raise
                refusals[name] = error.reason

    if not able:
        remedy = "Name one with --method to see what it says."
        raise ToolkitError("No method can answer these samples.", remedy)

    return able, refusals


def interval(
    values: np.ndarray | list[Any],
    pool: Callable[[np.ndarray], float] | None = None,
    seed: int = 0,
) -> dict[str, float | None]:
    """Mean of some values with a 95 % bootstrap interval (percentile method).

    Source: Efron & Tibshirani, 1993. A single value has no interval.

    Parameters
    ----------
    values : (n,); with `pool` counts (n, ...).
    pool : makes a score of the sum of the counts, in place of the mean.
    seed : of the resampling.

    >>> interval([0.5])
    {'mean': 0.5, 'low': None, 'high': None}
    """
    values = np.asarray(values, np.float64)
    # One sample has a mean, but nothing to resample.
    if len(values) == 1:
        mean = values[0] if pool is None else pool(values[0])
        return {"mean": float(mean), "low": None, "high": None}

    # The seed is fixed, so that equal scores have equal intervals.
    chosen = np.random.default_rng(seed).integers(
        0, len(values), (RESAMPLES, len(values))
    )
    if pool is None:
        mean = values.mean()
        resampled = values[chosen].mean(1)
    else:
        # Metrics such as IoU over all images are no means of scores: pool the
        # counts of the resampled images, then compute the metric.
        times = np.stack(
            [np.bincount(row, minlength=len(values)) for row in chosen]
        )
        mean = pool(values.sum(0))
        resampled = [pool(total) for total in np.tensordot(times, values, 1)]

    low, high = np.percentile(resampled, [2.5, 97.5])
    return {"mean": float(mean), "low": float(low), "high": float(high)}


def summary(
    records: Iterable[dict[str, Any]], metrics: tuple[Metric, ...]
) -> dict[str, Any]:
    """For each method: mean and interval of every metric, and its time in milliseconds.

    The time is the median and the 95th percentile over the records.
    """
    by_method = defaultdict(list)
    for record in records:
        by_method[record["method"]].append(record)

    scores = {}
    for name, group in by_method.items():
        median, p95 = np.percentile(
            [record["milliseconds"] for record in group], [50, 95]
        )
        scores[name] = {
            "metrics": {
                metric.name: mean_of(group, metric) for metric in metrics
            },
            "milliseconds": {"median": float(median), "p95": float(p95)},
        }

    return scores


def mean_of(
    records: list[dict[str, Any]], metric: Metric
) -> dict[str, float | None] | None:
    """Mean and interval of a metric over records.

    None when a record is older than the metric.
    """
    if any(metric.name not in record["metrics"] for record in records):
        return None
    return interval(
        [record["metrics"][metric.name] for record in records], metric.pool
    )


def difference(
    records: list[dict[str, Any]],
    metric: Metric,
    method: str,
    other: str,
) -> dict[str, float]:
    """Score of `method` minus score of `other`, paired by sample, with its interval."""
    # Pairing removes what both methods share: how hard each sample is.
    scores = {}
    for record in records:
        scores[record["method"], record["sample"]] = np.array(
            record["metrics"][metric.name]
        )

    samples = dict.fromkeys(record["sample"] for record in records)
    pool = metric.pool
    if pool is None:
        return interval(
            [
                scores[method, sample] - scores[other, sample]
                for sample in samples
            ]
        )

    # Pooled metrics are subtracted after pooling, not image by image.
    # (samples, methods, counts): both are resampled together, so still paired.
    both = np.array(
        [(scores[method, sample], scores[other, sample]) for sample in samples]
    )
    return interval(both, lambda total: pool(total[0]) - pool(total[1]))

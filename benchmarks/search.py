"""Find the parameters of a method by random search on labelled samples.

`python -m hvd.benchmarks.search TASK METHOD DATA...`
"""

import sys
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from hvd.toolkit import registry
from hvd.toolkit.core import Method

TRIES = 80
SEED = 0
SAMPLES = 12
NEARBY = 0.3  # standard deviation of a small change, of the logarithm


def vary(
    method: Any,
    ranges: dict[str, tuple[float, float]],
    rng: np.random.Generator,
    deviation: float,
) -> Any:
    """The method, a dataclass, with other parameters.

    Without a deviation, all are drawn from their ranges; with one, about a third changes a little.
    """
    for name, (low, high) in ranges.items():
        owner, _, inner = name.rpartition(".")
        now = getattr(getattr(method, owner) if owner else method, inner)
        value = np.exp(rng.uniform(np.log(low), np.log(high)))
        if deviation:
            is_changed = rng.random() < 1 / 3
            value = now
            if is_changed:
                factor = np.exp(rng.normal(0, deviation))
                value = np.clip(now * factor, low, high)

        new: float = float(f"{value:.3g}")
        if isinstance(now, int):
            new = round(float(value))
        if owner:
            part = replace(getattr(method, owner), **{inner: new})
            method = replace(method, **{owner: part})
        else:
            method = replace(method, **{inner: new})

    return method


def search_parameters(task: str, name: str, sources: list[str]) -> Method:
    """The best of TRIES sets of parameters on the samples of some sources, which weigh the same.

    A third of the sets is random, the others are near the best so far.
    """
    space = import_module(registry.METHODS[task][name].split(":")[0]).SEARCH
    metrics = {
        m.name: m.score
        for m in registry.task(task).metrics
        if m.name in space.weights
    }
    options = registry.task(task).options()
    samples = []
    for source in sources:
        originals = registry.samples(task, source, options, SAMPLES, SEED)
        samples.append([space.cut(sample) for sample in originals])

    best = registry.method(task, name)
    highest = -np.inf
    rng = np.random.default_rng(SEED)
    for k in range(TRIES):
        deviation = 0 if k < TRIES // 3 else NEARBY
        candidate = vary(best, space.ranges, rng, deviation) if k else best
        scores = mean_scores(candidate, samples, metrics)
        total = sum(
            space.weights[metric] * np.mean(values)
            for metric, values in scores.items()
        )
        if total > highest:
            best = candidate
            highest = total
            shown = {
                metric: [round(v, 3) for v in values]
                for metric, values in scores.items()
            }
            print(k, f"{total:.4f}", shown, flush=True)

    return best


def mean_scores(
    method: Method,
    samples_by_source: list[list[Any]],
    metrics: dict[str, Any],
) -> dict[str, list[float]]:
    """For each metric its mean over the samples of every source.

    Sources are kept apart, so that a large one weighs no more than a small one.
    """
    means: dict[str, list[float]] = {name: [] for name in metrics}
    for samples in samples_by_source:
        # Answer each sample once, whatever the number of metrics.
        pairs = [
            (sample.target, method.predict(sample.inputs)) for sample in samples
        ]
        for name, score in metrics.items():
            values = [score(target, answer) for target, answer in pairs]
            means[name].append(float(np.mean(values)))
    return means


if __name__ == "__main__":
    if len(sys.argv) < 4 or "--help" in sys.argv:
        sys.exit(__doc__)
    task_name, method_name, *places = sys.argv[1:]
    method = search_parameters(task_name, method_name, places)
    print(vars(method))

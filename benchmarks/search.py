"""Parameters of a method, found by random search on labelled samples: `python -m hvd.benchmarks.search TASK METHOD DATA...`."""

import sys
from dataclasses import fields, replace
from importlib import import_module

import numpy as np

from hvd.toolkit import registry
from hvd.toolkit.core import Method

TRIES = 80
SEED = 0
SAMPLES = 12


def varied(
    method: Method, ranges: dict[str, tuple[float, float]], rng: np.random.Generator, near: float
) -> Method:
    """The method with some parameters drawn anew: all from their whole ranges when `near` is 0, else a third of them, close by."""
    for name, (low, high) in ranges.items():
        owner, _, inner = name.rpartition(".")
        now = getattr(getattr(method, owner) if owner else method, inner)
        drawn = np.exp(rng.uniform(np.log(low), np.log(high)))
        if near:
            drawn = (
                np.clip(now * np.exp(rng.normal(0, near)), low, high)
                if rng.random() < 1 / 3
                else now
            )

        value = round(float(drawn)) if isinstance(now, int) else float(f"{drawn:.3g}")
        method = replace(
            method,
            **(
                {owner: replace(getattr(method, owner), **{inner: value})}
                if owner
                else {inner: value}
            ),
        )

    return method


def found(task: str, name: str, sources: list[str]) -> Method:
    """The best of TRIES parameter sets on the samples of the sources, which count alike: a third drawn at random, the rest near the
    best so far."""
    space = import_module(registry.METHODS[task][name].split(":")[0]).SEARCH
    metrics = {m.name: m.score for m in registry.task(task).metrics if m.name in space.weights}
    options = registry.task(task).options()
    samples = [
        [space.cut(sample) for sample in registry.samples(task, source, options, SAMPLES, SEED)]
        for source in sources
    ]
    best = registry.method(task, name)
    highest = -np.inf
    rng = np.random.default_rng(SEED)

    for k in range(TRIES):
        tried = varied(best, space.ranges, rng, 0 if k < TRIES // 3 else 0.3) if k else best
        answers = [[(s.target, tried.predict(s.inputs)) for s in part] for part in samples]
        scores = {
            m: [np.mean([score(*answer) for answer in part]) for part in answers]
            for m, score in metrics.items()
        }
        total = sum(space.weights[m] * np.mean(values) for m, values in scores.items())
        if total > highest:
            best = tried
            highest = total
            print(
                k,
                f"{total:.4f}",
                {m: [round(float(v), 3) for v in values] for m, values in scores.items()},
                flush=True,
            )

    return best


if __name__ == "__main__":
    if len(sys.argv) < 4 or "--help" in sys.argv:
        sys.exit(__doc__)
    task_name, method_name, *places = sys.argv[1:]
    method = found(task_name, method_name, places)
    print({f.name: getattr(method, f.name) for f in fields(method)})

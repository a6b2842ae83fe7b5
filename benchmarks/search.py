"""Parameters of a method, found by random search on labelled samples: `python -m benchmarks.search TASK METHOD DATA...`."""

import sys
from dataclasses import fields, replace
from importlib import import_module

import numpy as np

from toolkit import registry
from toolkit.core import Method, Sample
from toolkit.tasks.grains import drawing

TRIES, SEED, SAMPLES = 80, 0, 12
SCORES = {  # by task: metrics and their weights
    "grains": {"boundary_iou": 1.0, "boundary_f1": 1.0, "diameter_error": -0.5},
    "lines": {"psnr_missing_db": 1.0},
}
SIDE = 700  # pixels: the middle of a micrograph is enough


def varied(method: Method, ranges: dict[str, tuple[float, float]], rng: np.random.Generator, near: float) -> Method:
    """The method with some parameters drawn anew: all from their whole ranges when `near` is 0, else a third of them, close by."""
    for name, (low, high) in ranges.items():
        owner, _, inner = name.rpartition(".")
        now = getattr(getattr(method, owner) if owner else method, inner)
        drawn = np.exp(rng.uniform(np.log(low), np.log(high)))
        if near:
            drawn = np.clip(now * np.exp(rng.normal(0, near)), low, high) if rng.random() < 1 / 3 else now
        value = round(float(drawn)) if isinstance(now, int) else float(f"{drawn:.3g}")
        method = replace(method, **({owner: replace(getattr(method, owner), **{inner: value})} if owner else {inner: value}))
    return method


def middle(sample: Sample) -> Sample:
    """The middle of a large micrograph with a drawing, at most SIDE pixels a side."""
    if max(sample.inputs.image.shape) <= SIDE:
        return sample
    part = tuple(slice(max(0, (n - SIDE) // 2), max(0, (n - SIDE) // 2) + SIDE) for n in sample.inputs.image.shape)
    inputs = replace(sample.inputs, image=sample.inputs.image[part])
    return replace(sample, inputs=inputs, target=drawing(sample.target.mask[part], sample.target.tolerance))


def found(task: str, name: str, sources: list[str]) -> Method:
    """The best of TRIES parameter sets on the samples of the sources, which count alike: a third drawn at random, the rest near the
    best so far."""
    metrics = {m.name: m.score for m in registry.task(task).metrics if m.name in SCORES[task]}
    draw, options = registry.loaded(registry.SAMPLERS[task]), registry.task(task).options()
    cut = middle if task == "grains" else lambda sample: sample
    samples = [[cut(s) for s in draw(source, options, SAMPLES, SEED)] for source in sources]
    ranges = import_module(registry.METHODS[task][name].split(":")[0]).RANGES
    best, highest, rng = registry.method(task, name), -np.inf, np.random.default_rng(SEED)
    for k in range(TRIES):
        tried = varied(best, ranges, rng, 0 if k < TRIES // 3 else 0.3) if k else best
        answers = [[(s.target, tried.predict(s.inputs)) for s in part] for part in samples]
        scores = {m: [np.mean([score(*answer) for answer in part]) for part in answers] for m, score in metrics.items()}
        total = sum(SCORES[task][m] * np.mean(values) for m, values in scores.items())
        if total > highest:
            best, highest = tried, total
            print(k, f"{total:.4f}", {m: [round(float(v), 3) for v in values] for m, values in scores.items()}, flush=True)
    return best


if __name__ == "__main__":
    task_name, method_name, *places = sys.argv[1:]
    method = found(task_name, method_name, places)
    print({f.name: getattr(method, f.name) for f in fields(method)})

"""What the network of a task costs: operations, time, and beside it torch and 8-bit integers."""

import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np

from hvd.benchmarks.conditions import SEED, fixed_conditions, test_part
from hvd.benchmarks.machine import matrix_rate
from hvd.toolkit import evaluation, registry
from hvd.toolkit.core import Method, Sample
from hvd.toolkit.network import Checkpoint, operations
from hvd.toolkit.settings import one_thread

ROUNDS = 9

# For 8-bit integers: samples from which ranges are taken, and samples on which they are scored.
CALIBRATION = 8
COMPARED = 20

MOST_LOST = 0.005  # share of the headline metric that 8-bit integers may lose
Calls = list[tuple[Checkpoint, dict[str, np.ndarray]]]


def validation_source(data: Path | None, task: str) -> str:
    """Where samples come from that are neither trained nor scored on.

    The validation part, or the built-in samples, which another seed makes others.
    """
    return (
        str(data / test_part(task).replace("test", "val"))
        if data
        else "builtin"
    )


def cost_of_network(task: str, source: str, other: str) -> dict[str, Any]:
    """Parameters, operations and times of the network of a task, for one sample of `source`.

    Times are on one thread, as a share of the processor's rate of multiplying matrices as well.
    When torch and onnx are installed, the time of torch, and time and loss of 8-bit integers, whose
    ranges are taken from samples of `other`.
    """
    method = registry.method(task, "deep")
    sample = next(samples_of(task, source, 1, SEED))
    calls = network_calls(method, sample)
    network, first_inputs = calls[0]
    result: dict[str, Any] = {
        "sample": " x ".join(map(str, next(iter(first_inputs.values())).shape)),
        "parameters": network.card["parameters"],
        "bytes": len(network.data),
        "operations": sum(operations(network, inputs) for _, inputs in calls),
    }

    # Timed in turn, so that a busy moment slows all of them alike.
    runs = {
        "onnxruntime": lambda: [network.run(**inputs) for _, inputs in calls]
    }
    # torch is optional: the table then has no line for it.
    if find_spec("torch") and find_spec("onnx"):
        run_torch = registry.load(registry.TRAINING["run in torch"])(
            network.name
        )
        runs["torch"] = lambda: [run_torch(**inputs) for _, inputs in calls]

        integers, scores = integers_and_scores(
            task, network, method, source, other
        )
        runs["integers"] = lambda: [
            integers.run(**inputs) for _, inputs in calls
        ]
        result["integers"] = {"bytes": len(integers.data), **scores}

    seconds, rate = median_times(runs)
    flops = result["operations"] / seconds["onnxruntime"]
    return result | {
        "milliseconds": {name: 1000 * value for name, value in seconds.items()},
        "matrix_gflops": rate / 1e9,
        "gflops": flops / 1e9,
        "share": flops / rate,
    }


def median_times(
    runs: dict[str, Callable[[], Any]],
) -> tuple[dict[str, float], float]:
    """Median seconds of each run, and median rate of multiplying matrices; all take turns."""
    rates = []
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with one_thread():
        for k in range(ROUNDS + 1):
            rates.append(matrix_rate())
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                if k:  # the first round warms up
                    seconds[name].append(time.perf_counter() - start)

    return {name: median(values) for name, values in seconds.items()}, median(
        rates
    )


def is_worth_shipping(cost: dict[str, Any]) -> bool:
    """Whether 8-bit integers are faster than a network, and lose at most MOST_LOST."""
    if "integers" not in cost:
        return False
    times = cost["milliseconds"]
    integers = cost["integers"]
    lost = integers["loss"]["mean"]
    return times["integers"] < times["onnxruntime"] and lost < MOST_LOST * abs(
        integers["deep"]
    )


def samples_of(
    task: str,
    source: str,
    count: int,
    seed: int,
) -> Iterator[Sample]:
    """Samples under a task's first condition."""
    options = registry.task(task).options(**fixed_conditions(task)[0].options)
    return iter(registry.samples(task, source, options, count, seed))


def network_calls(method: Method, sample: Sample) -> Calls:
    """The networks that a method runs for a sample, with their inputs."""
    calls = []
    run = Checkpoint.run

    def record_and_run(
        network: Checkpoint, *answers: Any, **inputs: np.ndarray
    ) -> list[np.ndarray]:
        calls.append((network, inputs))
        return run(network, *answers, **inputs)

    with patch.object(Checkpoint, "run", record_and_run):
        method.predict(sample.inputs)

    return calls


def integers_and_scores(
    task: str,
    network: Checkpoint,
    method: Method,
    source: str,
    other: str,
) -> tuple[Checkpoint, dict[str, Any]]:
    """The network in 8-bit integers, and its scores beside those of the network as it is."""
    inputs = []
    for sample in samples_of(task, other, CALIBRATION, SEED + 1):
        inputs += [arrays for _, arrays in network_calls(method, sample)]
    data = registry.load(registry.TRAINING["quantise"])(network, inputs)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / network.name
        path.write_bytes(data)
        quantised_method = registry.method(task, "deep", str(path))
        scores = compare_integers(task, source, quantised_method)

    return Checkpoint(data, network.name, task), scores


def compare_integers(
    task_name: str, source: str, other: Method
) -> dict[str, Any]:
    """The headline metric of a network and of its 8-bit integers, and the difference, paired."""
    task = registry.task(task_name)
    metric = task.metrics[0]
    methods = {"deep": registry.method(task_name, "deep"), "integers": other}
    samples = samples_of(task_name, source, COMPARED, SEED)
    records = list(evaluation.evaluate(task, methods, samples))

    scores = evaluation.summary(records, task.metrics)
    means = {
        name: scores[name]["metrics"][metric.name]["mean"] for name in methods
    }
    loss = evaluation.difference(records, metric, "deep", "integers")
    return {"metric": metric.name, **means, "loss": loss}

"""What the network of a task costs: operations, its share of what the processor can do, and torch and 8-bit integers beside it."""

import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from hvd.benchmarks.conditions import SEED, fixed, test_part
from hvd.benchmarks.machine import matrix_rate
from hvd.toolkit import evaluation, registry
from hvd.toolkit.core import Method, Sample
from hvd.toolkit.network import Checkpoint, operations
from hvd.toolkit.settings import one_thread

ROUNDS = 9
# samples that ranges of 8-bit integers are taken from, and those that they are scored on
CALIBRATION = 8
COMPARED = 20
LOST = 0.005  # of the headline metric, that 8-bit integers may lose
Calls = list[tuple[Checkpoint, dict[str, np.ndarray]]]


def quiet_place(data: Path | None, task: str) -> str:
    """Where samples come from that are neither trained nor scored on: those for validation, or generated with another seed."""
    return str(data / test_part(task).replace("test", "val")) if data else "builtin"


def measured(task: str, source: str, other: str) -> dict[str, Any]:
    """Parameters, operations and times of the network of a task for one sample of `source`; its share of the processor's rate of
    multiplying matrices, single float, one thread; and, when torch and onnx are installed, the times of torch and of 8-bit integers
    with what these lose, calibrated on `other`."""
    method = registry.method(task, "deep")
    sample = next(drawn(task, source, 1, SEED))
    calls = heard(method, sample)
    network = calls[0][0]
    runs = {"onnxruntime": lambda: [network.run(**inputs) for _, inputs in calls]}
    found = {
        "sample": " x ".join(map(str, next(iter(calls[0][1].values())).shape)),
        "parameters": network.card["parameters"],
        "bytes": len(network.data),
        "operations": sum(operations(network, inputs) for _, inputs in calls),
    }

    with tempfile.TemporaryDirectory() as folder:
        if find_spec("torch") and find_spec("onnx"):
            eager = registry.load(registry.TRAINING["run in torch"])(network.name)
            runs["torch"] = lambda: [eager(**inputs) for _, inputs in calls]
            integers = quantised(task, network, method, other, Path(folder))
            runs["integers"] = lambda: [integers[0].run(**inputs) for _, inputs in calls]
            found["integers"] = {
                "bytes": len(integers[0].data),
                **compared(task, source, integers[1]),
            }

        rates = []
        seconds = {name: [] for name in runs}
        with one_thread():
            for k in range(ROUNDS + 1):
                rates.append(matrix_rate())
                for name, run in runs.items():
                    began = time.perf_counter()
                    run()
                    if k:
                        seconds[name].append(time.perf_counter() - began)

    times = {name: median(values) for name, values in seconds.items()}
    return found | {
        "milliseconds": {name: 1000 * value for name, value in times.items()},
        "matrix_gflops": median(rates) / 1e9,
        "gflops": found["operations"] / times["onnxruntime"] / 1e9,
        "share": found["operations"] / times["onnxruntime"] / median(rates),
    }


def pays(found: dict[str, Any]) -> bool:
    """Whether a network, as measured, is worth shipping in 8-bit integers: faster, and no worse than by LOST."""
    if "integers" not in found:
        return False
    times = found["milliseconds"]
    its = found["integers"]
    return times["integers"] < times["onnxruntime"] and its["loss"]["mean"] < LOST * abs(
        its["deep"]
    )


def drawn(task: str, source: str, count: int, seed: int):
    """Samples under a task's first condition."""
    options = registry.task(task).options(**fixed(task)[0].options)
    return iter(registry.samples(task, source, options, count, seed))


def heard(method: Method, sample: Sample) -> Calls:
    """The networks that a method asks about a sample, and what it shows them."""
    calls = []
    run = Checkpoint.run

    def listening(network: Checkpoint, **inputs: np.ndarray) -> list[np.ndarray]:
        calls.append((network, inputs))
        return run(network, **inputs)

    Checkpoint.run = listening
    try:
        method.predict(sample.inputs)
    finally:
        Checkpoint.run = run

    return calls


def quantised(
    task: str, network: Checkpoint, method: Method, other: str, folder: Path
) -> tuple[Checkpoint, Method]:
    """The network in 8-bit integers, and the method that asks it."""
    shown = [
        inputs
        for sample in drawn(task, other, CALIBRATION, SEED + 1)
        for _, inputs in heard(method, sample)
    ]
    data = registry.load(registry.TRAINING["quantise"])(network, shown)
    path = folder / network.name
    path.write_bytes(data)

    return Checkpoint(data, network.name, task), registry.method(task, "deep", str(path))


def compared(task: str, source: str, other: Method) -> dict[str, Any]:
    """The headline metric of a task by its network as it is, by that in integers, and their difference, paired by sample."""
    kind = registry.task(task)
    metric = registry.task(task).metrics[0]
    methods = {"deep": registry.method(task, "deep"), "integers": other}
    records = list(evaluation.evaluate(kind, methods, drawn(task, source, COMPARED, SEED)))
    scores = evaluation.summary(records, kind.metrics)
    means = {name: scores[name]["metrics"][metric.name]["mean"] for name in methods}

    return {
        "metric": metric.name,
        **means,
        "loss": evaluation.difference(records, metric, "deep", "integers"),
    }

"""Compare the network of `lines` with one as large as others use, both trained for the same time.

`python -m hvd.benchmarks.peer OURS.onnx PEER.onnx DATA` compares exports of runs of `toolkit train
lines` and `lines-peer`, and writes benchmarks/results/peer.json.
"""

import json
import sys

from hvd.benchmarks.conditions import SEED
from hvd.benchmarks.machine import environment
from hvd.benchmarks.run import RESULTS, round_floats
from hvd.toolkit import evaluation, registry
from hvd.toolkit.network import checkpoint
from hvd.toolkit.outputs import write_bytes

SAMPLES = 112


def main(ours: str, peer: str, data: str) -> None:
    """Score both networks and the baseline, and write the results."""
    task = registry.task("lines")
    files = {"compact": ours, "peer": peer}
    methods = {
        name: registry.method("lines", "deep", path)
        for name, path in files.items()
    }
    methods["baseline"] = registry.method("lines", "baseline")
    # Both answer the same samples with the same masks.
    samples = registry.samples("lines", data, task.options(), SAMPLES, SEED)
    records = list(evaluation.evaluate(task, methods, samples))

    scores = evaluation.summary(records, task.metrics)
    facts = {name: {"scores": scores[name]} for name in scores}
    # What each cost to train belongs beside what it reaches.
    for name, path in files.items():
        network = checkpoint("lines", path)
        training = network.card["training"]
        facts[name] |= {
            "parameters": network.card["parameters"],
            "bytes": len(network.data),
            **{
                key: training[key]
                for key in ("hours", "steps", "best_step", "data")
            },
        }

    machine = environment()
    result = {
        "data": data,
        "samples": len(records) // len(methods),
        "seed": SEED,
        **{
            name: machine[name]
            for name in ("processor", "cores", "load", "commit")
        },
        "methods": facts,
        "gain": evaluation.difference(
            records, task.metrics[0], "compact", "peer"
        ),
    }
    write_bytes(
        RESULTS / "peer.json",
        (json.dumps(round_floats(result), indent=1) + "\n").encode(),
    )
    print(json.dumps(round_floats(scores), indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The network of `lines` beside one as large as peers use, both trained on the same images for about the same time.

`python -m hvd.benchmarks.peer OURS.onnx PEER.onnx DATA`, exported from runs of `toolkit train lines` and `lines-peer`, writes
benchmarks/results/peer.json.
"""

import json
import sys

from hvd.benchmarks.conditions import SEED
from hvd.benchmarks.machine import environment
from hvd.benchmarks.run import RESULTS, rounded
from hvd.toolkit import evaluation, registry
from hvd.toolkit.network import checkpoint
from hvd.toolkit.outputs import write_bytes

SAMPLES = 112


def main(ours: str, peer: str, data: str) -> None:
    task = registry.task("lines")
    files = {"compact": ours, "peer": peer}
    methods = {name: registry.method("lines", "deep", path) for name, path in files.items()}
    methods["baseline"] = registry.method("lines", "baseline")
    drawn = registry.samples("lines", data, task.options(), SAMPLES, SEED)
    records = list(evaluation.evaluate(task, methods, drawn))
    found = {
        name: {"scores": its} for name, its in evaluation.summary(records, task.metrics).items()
    }

    for name, path in files.items():
        network = checkpoint("lines", path)
        training = {
            key: network.card["training"][key] for key in ("hours", "steps", "best_step", "data")
        }
        found[name] |= {
            "parameters": network.card["parameters"],
            "bytes": len(network.data),
            **training,
        }

    told = {name: environment()[name] for name in ("processor", "cores", "load", "commit")}
    gain = evaluation.difference(records, task.metrics[0], "compact", "peer")
    result = {
        "data": data,
        "samples": len(records) // len(methods),
        "seed": SEED,
        **told,
        "methods": found,
        "gain": gain,
    }
    write_bytes(RESULTS / "peer.json", (json.dumps(rounded(result), indent=1) + "\n").encode())
    print(json.dumps(rounded({name: its["scores"] for name, its in found.items()}), indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])

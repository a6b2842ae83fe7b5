"""Export the best weights of a run to a sealed ONNX file with its card, checked against torch."""

import hashlib
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import torch
from safetensors.torch import load_file, save

from hvd.deep.training.loop import BEST
from hvd.deep.training.recipe import Recipe
from hvd.deep.training.run import RUN, read_run, recipe
from hvd.deep.training.state import BEGIN_ANEW, read_tensors
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.network import (
    Checkpoint,
    append_seal,
    import_onnxruntime,
    shipped_checkpoint,
)
from hvd.toolkit.outputs import is_as_written, to_json, write_bytes

import_onnxruntime()  # first, without its telemetry
from onnxruntime.quantization import CalibrationDataReader, quantize_static  # noqa: E402

TOLERANCE = 1e-4


def export_task(task: str, run: Path, out: Path) -> Path:
    """Write `TASK.onnx`, `TASK.safetensors` and the index in `out`; returns the ONNX file.

    Raises ToolkitError unless torch and ONNX agree to 1e-4 on every example.
    """
    chosen = recipe(task)
    weights = run / BEST
    for path in (weights, run / RUN):
        if not path.is_file():
            remedy = "Give --run the folder that `toolkit train` wrote."
            raise ToolkitError(f"There is no {path}.", remedy, status=2)

    # Look at everything before the first file is written.
    index = read_index(out / "index.json")
    check_replaceable(out, task, index)
    record = read_run(run / RUN)
    if record["task"] != task:
        reason = f"{run} holds a run of {record['task']}, not of {task}."
        raise ToolkitError(reason, f"Export {record['task']}.", status=2)

    # The exported graph takes raw pixels and returns probabilities: it holds
    # all preparation.
    network, best = read_best(weights, chosen, record.get("arguments", {}))
    graph = chosen.export.graph(network).eval()
    examples = chosen.export.examples()
    model = onnx_model(chosen, graph, examples[0])

    card = card_of(chosen, network, record, best)
    onnx.helper.set_model_props(model, {"card": to_json(card)})
    onnx.checker.check_model(model)
    data = append_seal(model.SerializeToString())
    # The checkpoint must answer as torch does, or nothing is written.
    check_agreement(
        graph, Checkpoint(data, f"{task}.onnx", chosen.task), examples
    )

    entry = {
        "task": chosen.task,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
    }
    if "classes" in card:
        entry["classes"] = card["classes"]
    index[f"{task}.onnx"] = entry
    # Weights beside the graph: to go on training from them.
    write_bytes(out / f"{task}.safetensors", save(network.state_dict()))
    write_bytes(out / f"{task}.onnx", data)
    write_bytes(
        out / "index.json",
        (json.dumps(index, indent=2, sort_keys=True) + "\n").encode(),
    )
    return out / f"{task}.onnx"


def onnx_model(
    recipe: Recipe, graph: torch.nn.Module, example: dict[str, np.ndarray]
) -> onnx.ModelProto:
    """The ONNX model of a graph, traced with an example."""
    with silence_advice():
        program = torch.onnx.export(
            graph,
            tuple(torch.from_numpy(array) for array in example.values()),
            dynamo=True,
            input_names=list(example),
            output_names=recipe.export.outputs,
            dynamic_shapes=recipe.export.dynamic,
            external_data=False,
            verbose=False,
        )
    return program.model_proto


def card_of(
    recipe: Recipe,
    network: torch.nn.Module,
    record: dict[str, Any],
    best: dict[str, Any],
) -> dict[str, Any]:
    """The card of a network: what it answers, what it was trained on and how, how well it does.

    `record` describes the run, `best` is the validation that its weights won.
    """
    export = recipe.export
    unknown = "a data set of one's own: licence not known here"
    # A card says what the network was trained on, so that users can judge
    # whether it fits their data.
    scores = {
        name: round(best[name], 4)
        for name in ("score", *recipe.reported)
        if name in best
    }
    training = {
        "best_step": best["step"],
        "hours": round(best["seconds"] / 3600, 2),
    }
    return {
        "task": recipe.task,
        **export.card,
        **record.get("arguments", {}),
        "data": export.sources.get(
            next(iter(record["data"].values()), None), unknown
        ),
        "parameters": sum(p.numel() for p in network.parameters()),
        "training": record | training,
        "validation": scores,
        "exported_with": {
            name: version(name) for name in ("torch", "onnx", "onnxscript")
        },
    }


def check_agreement(
    graph: torch.nn.Module,
    checkpoint: Checkpoint,
    examples: list[dict[str, np.ndarray]],
) -> None:
    """Raise ToolkitError with status 3 unless torch and ONNX agree on every example."""
    worst = np.max(
        [difference(graph, checkpoint, example) for example in examples]
    )
    click.echo(
        f"largest difference between torch and ONNX: {worst:.2g}", err=True
    )
    if not worst <= TOLERANCE:  # NaN as well
        reason = f"torch and ONNX differ by {worst:.2g}."
        raise ToolkitError(
            reason, f"The export must agree to {TOLERANCE}.", status=3
        )


def difference(
    graph: torch.nn.Module,
    checkpoint: Checkpoint,
    example: dict[str, np.ndarray],
) -> float:
    """Largest absolute difference of any output; NaN when an output is NaN."""
    with torch.inference_mode():
        expected = graph(
            *(torch.from_numpy(array) for array in example.values())
        )
    outputs = checkpoint.run(**example)

    differences = []
    for tensor, output in zip(expected, outputs, strict=True):
        differences.append(np.abs(tensor.numpy() - output).max())
    return float(np.max(differences))


def read_best(
    path: Path, recipe: Recipe, arguments: dict[str, Any]
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The network of a run with its best weights, and the record of the validation they won.

    Raises ToolkitError with status 5 when the two do not fit each other.
    """
    tensors, metadata = read_tensors(path)
    try:
        network = recipe.network(**arguments)
        network.load_state_dict(tensors)
        best = json.loads(metadata["record"])
        best |= {name: float(best[name]) for name in ("seconds", "score")}
        best["step"] = int(best["step"])
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        message = " ".join(str(error).split())[:200]
        reason = f"{path} holds no weights of the run beside it: {message}."
        raise ToolkitError(reason, BEGIN_ANEW, status=5) from error

    return network, best


def read_index(path: Path) -> dict[str, Any]:
    """The index of a folder of checkpoints, empty when there is none.

    Raises ToolkitError with status 5 when it is damaged.
    """
    if not path.exists():
        return {}
    try:
        index = json.loads(path.read_bytes())
        if not isinstance(index, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError, RecursionError) as error:
        reason = f"{path} cannot be read: {error}."
        raise ToolkitError(
            reason, "Remove it, or give another --out.", status=5
        ) from error

    return index


def check_replaceable(out: Path, task: str, index: dict[str, Any]) -> None:
    """Refuse to overwrite files that no export wrote: ToolkitError with status 4."""
    network = out / f"{task}.onnx"
    weights = out / f"{task}.safetensors"
    entry = index.get(network.name)
    sha256 = entry.get("sha256") if isinstance(entry, dict) else None
    is_ours = sha256 is not None and is_as_written(network, sha256)

    for path in (network, weights):
        if os.path.lexists(path) and not is_ours:
            reason = (
                f"{path} was not written by an export, or was changed since."
            )
            raise ToolkitError(
                reason, "Move it, or give another --out.", status=4
            )


@contextmanager
def silence_advice() -> Iterator[None]:
    """Silence warnings of torch and onnxruntime that do not concern our networks."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


# --- for the benchmark


def torch_runner(name: str) -> Callable[..., None]:
    """A function that runs the shipped network NAME.onnx in torch, on one thread, to be timed."""
    stem = Path(name).stem
    chosen = recipe(stem)
    arguments = (
        shipped_checkpoint(name, chosen.task)
        .card["training"]
        .get("arguments", {})
    )
    network = chosen.network(**arguments)
    weights = files("hvd.checkpoints").joinpath(f"{stem}.safetensors")
    network.load_state_dict(load_file(str(weights)))
    graph = chosen.export.graph(network).eval()
    order = list(chosen.export.examples()[0])

    # On one thread, as onnxruntime is timed.
    def run(**inputs: np.ndarray) -> None:
        torch.set_num_threads(1)
        with torch.inference_mode():
            graph(*(torch.from_numpy(inputs[key].copy()) for key in order))

    return run


class Inputs(CalibrationDataReader):
    """Hands inputs to onnxruntime's calibration, one after the other."""

    def __init__(self, inputs: list[dict[str, np.ndarray]]):
        self.remaining = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.remaining, None)


def quantise(network: Checkpoint, inputs: list[dict[str, np.ndarray]]) -> bytes:
    """A sealed checkpoint whose convolutions and matrix products work on 8-bit integers.

    Static quantisation with a scale for every channel of weights; ranges are taken from `inputs`.
    """
    # Weights are rounded by channel, activations by what the examples show.
    model = onnx.load_from_string(network.data)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "integers.onnx"
        kinds = ["Conv", "MatMul", "Gemm"]
        with silence_advice():
            quantize_static(
                model,
                path,
                Inputs(inputs),
                per_channel=True,
                op_types_to_quantize=kinds,
            )
        quantised_model = onnx.load(path)

    onnx.helper.set_model_props(
        quantised_model, {"card": json.dumps(network.card)}
    )
    return append_seal(quantised_model.SerializeToString())

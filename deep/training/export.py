"""From the best weights of a run to a sealed ONNX file with its card, checked against torch."""

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
from hvd.toolkit.network import Checkpoint, append_seal, import_onnxruntime, shipped_checkpoint
from hvd.toolkit.outputs import is_as_written, to_json, write_bytes

import_onnxruntime()  # first, without its telemetry
from onnxruntime.quantization import CalibrationDataReader, quantize_static  # noqa: E402

TOLERANCE = 1e-4


def export_task(task: str, run: Path, out: Path) -> Path:
    """Write `TASK.onnx`, `TASK.safetensors` and the index in `out`; fail unless torch and ONNX agree to 1e-4 on every example."""
    chosen = recipe(task)
    weights = run / BEST
    for path in (weights, run / RUN):
        if not path.is_file():
            raise ToolkitError(
                f"There is no {path}.",
                "Give --run the folder that `toolkit train` wrote.",
                status=2,
            )

    index = read_index(out / "index.json")
    check_replaceable(out, task, index)
    described = read_run(run / RUN)
    if described["task"] != task:
        raise ToolkitError(
            f"{run} holds a run of {described['task']}, not of {task}.",
            f"Export {described['task']}.",
            status=2,
        )

    arguments = described.get("arguments", {})
    network, best = read_best(weights, chosen, arguments)
    graph = chosen.export.graph(network).eval()
    examples = chosen.export.examples()

    with silence_advice():
        program = torch.onnx.export(
            graph,
            tuple(torch.from_numpy(array) for array in examples[0].values()),
            dynamo=True,
            input_names=list(examples[0]),
            output_names=chosen.export.outputs,
            dynamic_shapes=chosen.export.dynamic,
            external_data=False,
            verbose=False,
        )

    model = program.model_proto
    card = {
        "task": chosen.task,
        **chosen.export.card,
        **arguments,
        "data": chosen.export.sources.get(
            described["data"].get(chosen.files[0]),
            "a data set of one's own: licence not known here",
        ),
        "parameters": sum(p.numel() for p in network.parameters()),
        "training": described
        | {"best_step": best["step"], "hours": round(best["seconds"] / 3600, 2)},
        "validation": {
            name: round(best[name], 4) for name in ("score", *chosen.reported) if name in best
        },
        "exported_with": {name: version(name) for name in ("torch", "onnx", "onnxscript")},
    }
    onnx.helper.set_model_props(model, {"card": to_json(card)})
    onnx.checker.check_model(model)
    data = append_seal(model.SerializeToString())
    worst = np.max(
        [
            difference(graph, Checkpoint(data, f"{task}.onnx", chosen.task), example)
            for example in examples
        ]
    )
    click.echo(f"largest difference between torch and ONNX: {worst:.2g}", err=True)

    if not worst <= TOLERANCE:
        raise ToolkitError(
            f"torch and ONNX differ by {worst:.2g}.",
            f"The export must agree to {TOLERANCE}.",
            status=3,
        )

    entry = {"task": chosen.task, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    index[f"{task}.onnx"] = entry | {name: card[name] for name in ("classes",) if name in card}
    write_bytes(out / f"{task}.safetensors", save(network.state_dict()))
    write_bytes(out / f"{task}.onnx", data)
    write_bytes(out / "index.json", (json.dumps(index, indent=2, sort_keys=True) + "\n").encode())

    return out / f"{task}.onnx"


def read_best(
    path: Path, recipe: Recipe, arguments: dict[str, Any]
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The network of a run with its best weights, and the record of the validation that they won;
    ToolkitError with status 5 when they do not fit each other."""
    tensors, described = read_tensors(path)
    try:
        network = recipe.network(**arguments)
        network.load_state_dict(tensors)
        best = json.loads(described["record"])
        best |= {name: float(best[name]) for name in ("seconds", "score")}
        best["step"] = int(best["step"])
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        message = " ".join(str(error).split())[:200]
        reason = f"{path} holds no weights of the run beside it: {message}."
        raise ToolkitError(reason, BEGIN_ANEW, status=5) from error

    return network, best


def read_index(path: Path) -> dict[str, Any]:
    """The index of a folder of checkpoints; empty when there is none. ToolkitError with status 5
    when it is damaged."""
    if not path.exists():
        return {}
    try:
        index = json.loads(path.read_bytes())
        if not isinstance(index, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError, RecursionError) as error:
        reason = f"{path} cannot be read: {error}."
        raise ToolkitError(reason, "Remove it, or give another --out.", status=5) from error

    return index


def check_replaceable(out: Path, task: str, index: dict[str, Any]) -> None:
    """Refuse to overwrite files that no export wrote: ToolkitError with status 4."""
    network = out / f"{task}.onnx"
    weights = out / f"{task}.safetensors"
    entry = index.get(network.name)
    written = entry.get("sha256") if isinstance(entry, dict) else None
    ours = written is not None and is_as_written(network, written)

    for path in (network, weights):
        if os.path.lexists(path) and not ours:
            reason = f"{path} was not written by an export, or was changed since."
            raise ToolkitError(reason, "Move it, or give another --out.", status=4)


@contextmanager
def silence_advice() -> Iterator[None]:
    """Keep from whoever exports what torch and onnxruntime warn of: packages that no network here needs, steps no graph passes."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


def difference(
    graph: torch.nn.Module, checkpoint: Checkpoint, example: dict[str, np.ndarray]
) -> float:
    """Largest absolute difference of any output; NaN when one is."""
    with torch.inference_mode():
        wanted = graph(*(torch.from_numpy(array) for array in example.values()))
    return float(
        np.max(
            [
                np.abs(w.numpy() - f).max()
                for w, f in zip(wanted, checkpoint.run(**example), strict=True)
            ]
        )
    )


def torch_runner(name: str) -> Callable[..., None]:
    """The network of the shipped checkpoint NAME.onnx in torch as it was trained, on one thread: to
    be timed beside it."""
    stem = Path(name).stem
    chosen = recipe(stem)
    arguments = shipped_checkpoint(name, chosen.task).card["training"].get("arguments", {})
    network = chosen.network(**arguments)
    weights = files("hvd.checkpoints").joinpath(f"{stem}.safetensors")
    network.load_state_dict(load_file(str(weights)))
    graph = chosen.export.graph(network).eval()
    order = list(chosen.export.examples()[0])

    def run(**inputs: np.ndarray) -> None:
        torch.set_num_threads(1)
        with torch.inference_mode():
            graph(*(torch.from_numpy(inputs[key].copy()) for key in order))

    return run


class Shown(CalibrationDataReader):
    """Inputs, one after the other."""

    def __init__(self, inputs: list[dict[str, np.ndarray]]):
        self.left = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)


def quantise(network: Checkpoint, inputs: list[dict[str, np.ndarray]]) -> bytes:
    """A sealed checkpoint whose convolutions and matrix products work on 8-bit integers, their ranges taken from `inputs`: static,
    a scale for every channel of weights."""
    model = onnx.load_from_string(network.data)
    with tempfile.TemporaryDirectory() as folder:
        after = Path(folder) / "integers.onnx"
        with silence_advice():
            quantize_static(
                model,
                after,
                Shown(inputs),
                per_channel=True,
                op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            )

        found = onnx.load(after)

    onnx.helper.set_model_props(found, {"card": json.dumps(network.card)})
    return append_seal(found.SerializeToString())

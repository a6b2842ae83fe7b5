"""A checkpoint, verified and run: the only module that imports onnxruntime.

The last entry of a checkpoint's metadata is the SHA-256 of all bytes before that entry, so a changed byte is found without
another file; shipped checkpoints must match `checkpoints/index.json` as well.
"""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.graph import strange_operators
from hvd.toolkit.images import read_bytes, signature

LARGEST = 256 << 20
LARGE_INPUT = 4 << 20  # bytes: a tile of a micrograph is one, a heap of fragments is none
SEAL = b"\x72\x4a\x0a\x06sha256\x12\x40"  # protobuf: metadata_props (14), key "sha256", a value of 64 characters


def sealed(model: bytes) -> bytes:
    """A serialised ONNX model with its seal appended."""
    return model + SEAL + hashlib.sha256(model).hexdigest().encode()


class Checkpoint:
    """A verified network: `card`, `sha256`, and `run(name=array, ...)` on one thread."""

    def __init__(self, data: bytes, name: str, task: str):
        self.name, self.data, self.sha256 = name, data, hashlib.sha256(data).hexdigest()
        body, seal = data[: -64 - len(SEAL)], data[-64 - len(SEAL) :]
        remedy = "Give an ONNX file that `toolkit export` wrote."
        if len(data) > LARGEST or not seal.startswith(SEAL):
            raise ToolkitError(f"{name} is not a checkpoint of this toolkit.", remedy, status=3)
        if seal[len(SEAL) :] != hashlib.sha256(body).hexdigest().encode():
            raise ToolkitError(
                f"{name} is damaged: its bytes do not match its seal.",
                "Copy or export it again.",
                status=3,
            )
        try:
            strange = strange_operators(body)
        except ValueError as error:
            raise ToolkitError(f"{name} is no network: {error}.", remedy, status=3) from error
        if strange:
            raise ToolkitError(
                f"{name} holds what no network here needs: {', '.join(sorted(strange))}.",
                remedy,
                status=3,
            )
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self.giving_back = onnxruntime.RunOptions()
        self.giving_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        try:
            self.session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
            self.card = json.loads(self.session.get_modelmeta().custom_metadata_map["card"])
        except Exception as error:  # onnxruntime's errors share no base class
            raise ToolkitError(f"{name} cannot be loaded: {error}", remedy, status=3) from error
        if not isinstance(self.card, dict):
            raise ToolkitError(f"{name} tells nothing of itself.", remedy, status=3)
        if self.card.get("task") != task:
            raise ToolkitError(
                f"{name} is a network for {self.card.get('task')}, not {task}.",
                f"Give a checkpoint of {task}.",
                status=3,
            )

    def run(self, **inputs: np.ndarray) -> list[np.ndarray]:
        """The outputs, in the order of the graph, for its inputs by name. Memory that large inputs took is given back.

        ToolkitError with status 3 when the graph has other inputs, with status 1 when it fails on these."""
        large = sum(array.nbytes for array in inputs.values()) > LARGE_INPUT
        try:
            return self.session.run(None, inputs, self.giving_back if large else None)
        except Exception as error:  # onnxruntime's errors share no base class
            fits = {
                i.name for i in self.session.get_inputs()
            } == inputs.keys() and "INVALID_ARGUMENT" not in str(error)
            told = str(error).splitlines()[0][:200]
            if fits:
                raise ToolkitError(
                    f"{self.name} could not answer: {told}", "Give a smaller input, or more memory."
                ) from error
            raise ToolkitError(
                f"{self.name} does not take what {self.card['task']} asks: {told}",
                "Export it again.",
                3,
            ) from error


def operations(network: Checkpoint, inputs: dict[str, np.ndarray]) -> int:
    """Floating-point operations of one run, a multiplication and an addition counted as two: those of convolutions and matrix
    products, from the shapes that the graph's nodes meet when it runs as it is written."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling = True
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "run")
        session = onnxruntime.InferenceSession(
            network.data, options, providers=["CPUExecutionProvider"]
        )
        session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
    total = 0
    for event in events:
        node = event.get("args", {})
        if node.get("op_name") in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
            shapes = [next(iter(shape.values())) for shape in node["input_type_shape"]]
            answer = next(iter(node["output_type_shape"][0].values()))
            if node["op_name"] == "Conv":  # weights: out, in / groups, height, width
                total += 2 * prod(answer) * prod(shapes[1][1:])
            elif node["op_name"] == "ConvTranspose":  # weights: in, out / groups, height, width
                total += 2 * prod(shapes[0]) * prod(shapes[1][1:])
            else:
                total += 2 * prod(answer) * shapes[0][-1]
    return total


def checkpoint(task: str, path: str | None = None, name: str | None = None) -> Checkpoint:
    """The network at `path`, or the shipped one of that file name, TASK.onnx when None.

    Raises ToolkitError with status 3 when it is missing, corrupt or not ours.
    """
    if path is None:
        return shipped(name or f"{task}.onnx", task)
    if not Path(path).is_file():
        raise ToolkitError(f"There is no checkpoint {path}.", "Check the path.", status=3)
    try:
        return read_checkpoint(task, path, signature(Path(path)))
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}."
        raise ToolkitError(reason, "Check its permissions.", status=3) from error


@lru_cache(maxsize=4)
def read_checkpoint(task: str, path: str, signature: tuple) -> Checkpoint:
    """The network at `path`, read again when the file's signature is another."""
    try:
        return Checkpoint(read_bytes(Path(path)), path, task)
    except ToolkitError as error:
        raise ToolkitError(error.reason, error.remedy, status=3) from error


@dataclass(frozen=True)
class NetworkMethod:
    """Base of methods with a network: `checkpoint` is the path of one, None the one shipped."""

    task: ClassVar[str]
    checkpoint: str | None = None

    def network(self, inputs: Any) -> Checkpoint:
        """The network that answers such inputs."""
        return checkpoint(self.task, self.checkpoint)

    def sha256(self, inputs: Any) -> str:
        """SHA-256 of the network that answers such inputs, for the record."""
        return self.network(inputs).sha256


def index() -> dict[str, dict[str, Any]]:
    """What is shipped, by file name: the task, the SHA-256, the size, and the classes that a network knows."""
    file = files("hvd.checkpoints").joinpath("index.json")
    return json.loads(file.read_text()) if file.is_file() else {}


def shipped(name: str, task: str) -> Checkpoint:
    """The shipped network of that file name."""
    folder = files("hvd.checkpoints")
    entry, file = index().get(name), folder.joinpath(name)
    if entry is None or not file.is_file():
        reason = f"No checkpoint for {task} is installed."
        raise ToolkitError(reason, "Install the toolkit again or give --checkpoint.", status=3)
    return read_shipped(name, task, entry["sha256"], signature(Path(str(file))))


@lru_cache(maxsize=4)
def read_shipped(name: str, task: str, sha256: str, signature: tuple) -> Checkpoint:
    """The shipped network of that file name, whose bytes must have the SHA-256 of the index."""
    data = files("hvd.checkpoints").joinpath(name).read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        reason = f"checkpoints/{name} is not the file that was shipped."
        raise ToolkitError(reason, "Install the toolkit again.", status=3)
    return Checkpoint(data, name, task)

"""Verify and run checkpoints: the only module that imports onnxruntime.

The last entry of a checkpoint's metadata is the SHA-256 of all bytes before it, its seal, which
shows any changed byte. Shipped checkpoints must match `checkpoints/index.json` as well.
"""

import hashlib
import json
import math
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, NoReturn

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.graph import strange_operators
from hvd.toolkit.images import read_bytes, signature

Answer = tuple[str, tuple[int, ...]]  # type and shape of an output

LARGEST = 256 << 20  # bytes of a checkpoint
# Bytes: a tile of a micrograph has more, a heap of fragments less.
LARGE_INPUT = 4 << 20

# Protocol buffer: metadata_props (14), key "sha256", a value of 64 characters.
SEAL = b"\x72\x4a\x0a\x06sha256\x12\x40"

# An environment variable that onnxruntime reads when it is imported. Without it, its wheels send
# events to their maker, and leave an identifier of the machine in ~/.cache.
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
TELEMETRY = (
    "onnxruntime was imported before hvd, with its telemetry on: it may send events to its maker. "
    "Set ORT_DISABLE_TELEMETRY=1 before it is imported, or let hvd predict first."
)

IMPORT = threading.Lock()


def import_onnxruntime() -> ModuleType:
    """Import onnxruntime with its telemetry switched off; the environment is restored afterwards.

    Warns when somebody else imported it earlier with telemetry on, which lasts as long as the
    process: its own `disable_telemetry_events` stops neither files nor connections (1.31.1).
    """
    with IMPORT:
        module, is_silent = load_onnxruntime()
        if not is_silent:
            warnings.warn(TELEMETRY, RuntimeWarning, stacklevel=2)
        return module


@cache
def load_onnxruntime() -> tuple[ModuleType, bool]:
    """onnxruntime, imported while telemetry is forbidden, and whether it sends nothing.

    It reads the environment at its first import only: forbidding comes too late when somebody else
    imported it before us.
    """
    before = os.environ.get(NO_TELEMETRY)
    is_silent = before == "1" or "onnxruntime" not in sys.modules
    os.environ[NO_TELEMETRY] = "1"
    try:
        return import_module("onnxruntime"), is_silent
    finally:
        if before is None:
            del os.environ[NO_TELEMETRY]
        else:
            os.environ[NO_TELEMETRY] = before


def append_seal(model: bytes) -> bytes:
    """Append its seal to a serialised ONNX model."""
    return model + SEAL + hashlib.sha256(model).hexdigest().encode()


class Checkpoint:
    """A verified network, which runs on one thread.

    Attributes
    ----------
    card : what it was trained on and how.
    sha256 : of its bytes.
    """

    def __init__(
        self,
        data: bytes,
        name: str,
        task: str,
        is_shipped: bool = False,
    ):
        self.is_shipped = is_shipped
        self.name = name
        self.data = data
        self.sha256 = hashlib.sha256(data).hexdigest()

        check_seal(data, name)
        self.session = load_session(data, name)
        self.card = read_card(self.session, name, task)

    def run(self, *answers: Answer, **inputs: np.ndarray) -> list[np.ndarray]:
        """Run the network; returns its outputs in the order of the graph.

        Memory that large inputs took is given back. Ctrl-C and `end_after` stop it.

        Parameters
        ----------
        answers : type and shape that each output must have; not checked when none is given.
        inputs : of the graph, by name.

        Raises
        ------
        ToolkitError
            With status 3 when the graph has other inputs or outputs; with status 1 when it fails
            on these inputs, or is not done in time.
        """
        is_large = sum(array.nbytes for array in inputs.values()) > LARGE_INPUT
        try:
            outputs = run_interruptibly(self.session, inputs, shrink=is_large)
        except ToolkitError as error:
            raise ToolkitError(
                f"{self.name} {error.reason}", error.remedy
            ) from error
        except Exception as error:  # onnxruntime's errors share no base class
            self.refuse(error, inputs)

        for output, answer in zip(outputs, answers, strict=bool(answers)):
            self.check(output, answer)
        return outputs

    def refuse(
        self, error: Exception, inputs: dict[str, np.ndarray]
    ) -> NoReturn:
        """Turn what onnxruntime raised into a ToolkitError."""
        names = {entry.name for entry in self.session.get_inputs()}
        fits = names == inputs.keys() and "INVALID_ARGUMENT" not in str(error)
        message = str(error).splitlines()[0][:200]
        if fits:
            remedy = "Give a smaller input, or more memory."
            raise ToolkitError(
                f"{self.name} could not answer: {message}", remedy
            ) from error

        reason = f"{self.name} does not take what {self.card['task']} asks: {message}"
        raise ToolkitError(reason, "Export it again.", 3) from error

    def check(self, output: Any, answer: Answer) -> None:
        """Raise ToolkitError unless an output has the right type and shape, and is finite."""
        kind, shape = answer
        if not isinstance(output, np.ndarray) or (
            output.dtype,
            output.shape,
        ) != (kind, shape):
            got = f"{getattr(output, 'dtype', type(output).__name__)} {np.shape(output)}"
            reason = (
                f"{self.name} answers {got}, where {kind} {shape} is needed."
            )
            raise ToolkitError(reason, "Export it again.", 3)

        if output.dtype.kind == "f" and not math.isfinite(
            output.sum(dtype=np.float64)
        ):
            # With a shipped network, blame the input
            status = 1 if self.is_shipped else 3
            reason = f"{self.name} answers NaN or infinite numbers."
            raise ToolkitError(
                reason, "Give another network, or another input.", status
            )


def check_seal(data: bytes, name: str) -> None:
    """Raise ToolkitError with status 3 unless a checkpoint is ours, undamaged and harmless."""
    body = data[: -64 - len(SEAL)]
    seal = data[-64 - len(SEAL) :]
    if len(data) > LARGEST or not seal.startswith(SEAL):
        raise ToolkitError(
            f"{name} is not a checkpoint of this toolkit.",
            FROM_EXPORT,
            status=3,
        )

    # The seal protects against damage, not against malice: hence the next
    # check.
    if seal[len(SEAL) :] != hashlib.sha256(body).hexdigest().encode():
        reason = f"{name} is damaged: its bytes do not match its seal."
        raise ToolkitError(reason, "Copy or export it again.", status=3)

    # Only operators that our networks need may be run.
    try:
        strange = strange_operators(body)
    except ValueError as error:
        raise ToolkitError(
            f"{name} is no network: {error}.", FROM_EXPORT, status=3
        ) from error
    if strange:
        reason = f"{name} holds what no network here needs: {', '.join(sorted(strange))}."
        raise ToolkitError(reason, FROM_EXPORT, status=3)


FROM_EXPORT = "Give an ONNX file that `toolkit export` wrote."


def load_session(data: bytes, name: str) -> Any:
    """The onnxruntime session of a checkpoint, on one thread."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4

    def load() -> Any:
        return onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"]
        )

    # A graph may be built so that optimising it never ends.
    try:
        return in_thread(load, LOADING)
    except TimeoutError as error:
        reason = f"{name} takes more than {LOADING:.0f} seconds to load."
        raise ToolkitError(reason, FROM_EXPORT, status=3) from error
    except Exception as error:  # onnxruntime's errors share no base class
        raise ToolkitError(
            f"{name} cannot be loaded: {error}", FROM_EXPORT, status=3
        ) from error


def read_card(session: Any, name: str, task: str) -> dict[str, Any]:
    """The card in a checkpoint; raises ToolkitError with status 3 when it is for another task."""
    try:
        card = json.loads(session.get_modelmeta().custom_metadata_map["card"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise ToolkitError(
            f"{name} cannot be loaded: {error}", FROM_EXPORT, status=3
        ) from error

    if not isinstance(card, dict):
        raise ToolkitError(
            f"{name} holds no card that describes it.", FROM_EXPORT, status=3
        )
    if card.get("task") != task:
        reason = f"{name} is a network for {card.get('task')}, not {task}."
        raise ToolkitError(reason, f"Give a checkpoint of {task}.", status=3)
    return card


# --- running a network so that it can be stopped

LOADING = 30.0  # seconds that a network may take to load
PATIENCE = 5.0  # seconds to wait for a network that was told to stop
ABANDONED: list[threading.Thread] = []  # threads that did not stop when told
DEADLINE: ContextVar[float] = ContextVar(
    "when the answer must be there", default=math.inf
)


@contextmanager
def end_after(seconds: float) -> Iterator[None]:
    """Stop networks inside that have not answered after so many seconds."""
    token = DEADLINE.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        DEADLINE.reset(token)


def run_interruptibly(
    session: Any, inputs: dict[str, np.ndarray], shrink: bool
) -> list[np.ndarray]:
    """Run a session in another thread, so that this one heeds Ctrl-C and the time limit.

    Returns or raises what `session.run` does; after the time limit a ToolkitError whose reason
    lacks the name of the network. `shrink` gives the memory back.
    """
    options = import_onnxruntime().RunOptions()
    # One huge input would otherwise keep its memory until the process ends.
    if shrink:
        options.add_run_config_entry(
            "memory.enable_memory_arena_shrinkage", "cpu:0"
        )

    def terminate() -> None:
        options.terminate = True

    seconds_left = DEADLINE.get() - time.monotonic()
    try:
        return in_thread(
            lambda: session.run(None, inputs, options), seconds_left, terminate
        )
    except TimeoutError as error:
        remedy = "Give a smaller input, or a longer --time-limit."
        raise ToolkitError(
            "did not answer within the time limit.", remedy
        ) from error


def in_thread(
    work: Callable[[], Any],
    seconds: float,
    terminate: Callable[[], None] = lambda: None,
) -> Any:
    """Call `work()` in a thread of its own, so that this one heeds Ctrl-C.

    Returns or raises what it does. Raises TimeoutError when it takes longer than so many seconds;
    then `terminate()` must make it stop soon.
    """
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    # A daemon thread does not keep the process alive when it never returns.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        return outcome.result(
            timeout=max(0.0, seconds) if math.isfinite(seconds) else None
        )
    finally:
        # Interrupted or too late: ask it to stop, and remember it if it does
        # not.
        if not outcome.done():
            terminate()
            thread.join(PATIENCE)
            if thread.is_alive():
                ABANDONED.append(thread)


def operations(network: Checkpoint, inputs: dict[str, np.ndarray]) -> int:
    """Floating-point operations of one run; a multiplication with its addition counts as two.

    Only convolutions and matrix products are counted, by the shapes that the graph's nodes meet
    when it runs without optimisations.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    # Optimising would merge the operators that are counted.
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    )
    options.enable_profiling = True
    options.log_severity_level = 4

    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "run")
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(
            network.data, options, providers=providers
        )
        session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text())

    total = 0
    for event in events:
        node = event.get("args", {})
        kind = node.get("op_name")
        if kind not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
            continue

        # The profile holds the shape of every input as {type: shape}.
        shapes = [
            next(iter(shape.values())) for shape in node["input_type_shape"]
        ]
        output = next(iter(node["output_type_shape"][0].values()))
        if kind == "Conv":  # weights: out, in / groups, height, width
            total += 2 * math.prod(output) * math.prod(shapes[1][1:])
        elif kind == "ConvTranspose":
            # Weights: in, out / groups, height, width
            total += 2 * math.prod(shapes[0]) * math.prod(shapes[1][1:])
        else:
            total += 2 * math.prod(output) * shapes[0][-1]

    return total


def checkpoint(
    task: str, path: str | None = None, name: str | None = None
) -> Checkpoint:
    """The network at `path`, or else the shipped one of that file name (TASK.onnx by default).

    Raises ToolkitError with status 3 when it is missing, damaged or not ours.
    """
    if path is None:
        return shipped_checkpoint(name or f"{task}.onnx", task)
    if not Path(path).is_file():
        raise ToolkitError(
            f"There is no checkpoint {path}.", "Check the path.", status=3
        )

    try:
        return read_checkpoint(task, path, signature(Path(path)))
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}."
        raise ToolkitError(
            reason, "Check its permissions.", status=3
        ) from error


@lru_cache(maxsize=4)
def read_checkpoint(task: str, path: str, signature: tuple) -> Checkpoint:
    """Read the network at `path`; read again when the signature of the file has changed."""
    try:
        return Checkpoint(read_bytes(Path(path)), path, task)
    except ToolkitError as error:
        raise ToolkitError(error.reason, error.remedy, status=3) from error


@dataclass(frozen=True)
class NetworkMethod:
    """Base of methods with a network.

    Attributes
    ----------
    task : name of the task.
    checkpoint : path of a network; None uses the shipped one.
    """

    task: ClassVar[str]
    checkpoint: str | None = None

    def network(self, inputs: Any) -> Checkpoint:
        """The network that answers such inputs."""
        return checkpoint(self.task, self.checkpoint)

    def sha256(self, inputs: Any) -> str:
        """SHA-256 of the network that answers such inputs, for the record."""
        return self.network(inputs).sha256


def index() -> dict[str, dict[str, Any]]:
    """What is shipped, by file name: task, SHA-256, size, and the classes that a network knows."""
    file = files("hvd.checkpoints").joinpath("index.json")
    return json.loads(file.read_text()) if file.is_file() else {}


def shipped_checkpoint(name: str, task: str) -> Checkpoint:
    """The shipped network of that file name."""
    folder = files("hvd.checkpoints")
    entry = index().get(name)
    file = folder.joinpath(name)
    if entry is None or not file.is_file():
        reason = f"No checkpoint for {task} is installed."
        raise ToolkitError(
            reason, "Install the toolkit again or give --checkpoint.", status=3
        )
    return read_shipped(name, task, entry["sha256"], signature(Path(str(file))))


@lru_cache(maxsize=4)
def read_shipped(
    name: str,
    task: str,
    sha256: str,
    signature: tuple,
) -> Checkpoint:
    """Read the shipped network of that file name; its bytes must have the SHA-256 of the index."""
    data = files("hvd.checkpoints").joinpath(name).read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        reason = f"checkpoints/{name} is not the file that was shipped."
        raise ToolkitError(reason, "Install the toolkit again.", status=3)
    return Checkpoint(data, name, task, is_shipped=True)

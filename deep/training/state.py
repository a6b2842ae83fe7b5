"""Save and load the state of a training, in files that are never unpickled, for `--resume`."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.outputs import default_mode

STATE = "state.safetensors"
EARLIER = "state.pt"  # of an earlier version, a pickle
BEGIN_ANEW = "Remove the folder, or train to another one."


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes
    ----------
    step : optimiser steps done.
    best : the best score of a validation so far; -inf before the first.
    since : validations since then.
    seconds : that the steps took.
    """

    step: int
    best: float
    since: int
    seconds: float


def save_tensors(
    tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]
) -> None:
    """Write tensors to a safetensors file that is complete or absent."""
    temporary = path.with_name(f"{path.name}.tmp")
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, temporary, metadata=metadata)
    os.chmod(temporary, default_mode(0o666))
    os.replace(temporary, path)


def save_state(
    folder: Path,
    network: nn.Module,
    averaged: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Save a network, the average of its weights, its optimiser and the progress."""
    tensors = {}
    for kind, module in (("network", network), ("averaged", averaged)):
        for name, value in module.state_dict().items():
            tensors[f"{kind}.{name}"] = value
    for parameter, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            tensors[f"optimizer.{parameter}.{name}"] = value

    # Copies: the average may still share its tensors with the network.
    tensors = {name: value.clone() for name, value in tensors.items()}
    save_tensors(
        tensors, folder / STATE, {"progress": json.dumps(asdict(progress))}
    )


def load_state(
    folder: Path,
    network: nn.Module,
    averaged: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> Progress | None:
    """Load what `save_state` saved; None when a run had no validation yet.

    Raises ToolkitError with status 5 when the file is damaged, or of another network.
    """
    path = folder / STATE
    if not path.exists():
        if (folder / EARLIER).exists():
            reason = f"{folder / EARLIER} was written by an earlier version, which used pickles."
            raise ToolkitError(reason, BEGIN_ANEW, status=5)
        return None

    # The file may be damaged, or of another recipe: say so instead of training
    # on.
    tensors, metadata = read_tensors(path)
    try:
        progress = Progress(**json.loads(metadata["progress"]))
        network.load_state_dict(part(tensors, "network"))
        averaged.load_state_dict(part(tensors, "averaged"))
        load_optimizer(optimizer, part(tensors, "optimizer"))
    except (KeyError, ValueError, TypeError, RuntimeError, IndexError) as error:
        message = " ".join(str(error).split())[:200]
        reason = f"{path} is not the state of this training: {message}."
        raise ToolkitError(reason, BEGIN_ANEW, status=5) from error

    return progress


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file.

    Raises ToolkitError with status 5 when it is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    except (OSError, SafetensorError, ValueError) as error:
        reason = f"{path} is damaged: {error}."
        raise ToolkitError(reason, BEGIN_ANEW, status=5) from error


def part(tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `kind`, without this prefix."""
    prefix = f"{kind}."
    result = {}
    for name, value in tensors.items():
        if name.startswith(prefix):
            result[name.removeprefix(prefix)] = value
    return result


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Load the state of an optimiser."""
    parameters = [
        p for group in optimizer.param_groups for p in group["params"]
    ]
    states: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        parameter = parameters[int(number)]
        if value.shape == parameter.shape:
            # The same layout in memory as the parameter is faster.
            value = torch.empty_like(parameter).copy_(value)
        states.setdefault(int(number), {})[key] = value

    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})

"""What a task teaches its network, and how that is exported: one record with named fields."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn


@dataclass(frozen=True)
class Export:
    """How a trained network becomes a graph.

    Parameters
    ----------
    graph : `graph(network)` is the module to trace: raw inputs in, probabilities out.
    examples : inputs by name, the first to trace the graph with, all to compare it with torch.
    outputs : names of the graph's outputs.
    dynamic : the axes of inputs that may have any length, as `torch.export` wants them.
    card : what the checkpoint's card says of the recipe, of inputs and outputs.
    sources : what data are, by the SHA-256 of the recipe's first file.
    """

    graph: Callable[[nn.Module], nn.Module]
    examples: Callable[[], list[dict[str, np.ndarray]]]
    outputs: list[str]
    dynamic: dict[str, Any]
    card: dict[str, str]
    sources: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """What a task teaches.

    Parameters
    ----------
    task : the task that the network answers.
    network : makes the network; `arguments(folder)` are what the data say of it.
    files : what `data(folder, part)` reads for the parts "train" and "val".
    batch : `batch(data, step, seed)` depends on its arguments alone, so that a resumed run repeats
        nothing and misses nothing.
    loss : `loss(network, batch)` and numbers to watch.
    validate : scores by name, among them `score`, of which the highest is kept.
    reported : the scores that the checkpoint's card names besides `score`.
    export : how the network is exported.
    last : the layer whose size the data say, which is learned anew when trained weights are of
        other data.
    taught : steps that trained weights have behind them, for a recipe in stages: a run that starts
        from them skips these.
    patience : validations without a better score after which a run ends.
    epoch : steps in which every example of a folder is shown once.
    picture : uint8 (H, W, 3): how a network does on validation data.
    """

    task: str
    network: Callable[..., nn.Module]
    files: tuple[str, ...]
    data: Callable[[Path, str], Any]
    batch: Callable[[Any, int, int], Any]
    loss: Callable[[nn.Module, Any], tuple[Tensor, dict[str, float]]]
    validate: Callable[[nn.Module, Any], dict[str, float]]
    reported: tuple[str, ...]
    export: Export
    steps: int
    learning_rate: float = 1e-3
    arguments: Callable[[Path], dict[str, Any]] = lambda folder: {}
    last: str = ""
    warm_up: int = 200
    taught: int = 0
    weight_decay: float = 0.01
    average: float = 0.999
    validate_every: int = 500
    patience: int | None = None
    epoch: Callable[[Path], int] | None = None
    picture: Callable[[nn.Module, Any], np.ndarray] | None = None

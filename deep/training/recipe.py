"""What a recipe is: how a network is trained and exported, as one record of named fields."""

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
    examples : inputs by name; the first traces the graph, and all compare it with torch.
    outputs : names of the graph's outputs.
    dynamic : the axes of inputs that may have any length, as `torch.export` takes them.
    card : entries of the checkpoint's card about the recipe, inputs and outputs.
    sources : descriptions of data sets, by the SHA-256 of the recipe's first file.
    """

    graph: Callable[[nn.Module], nn.Module]
    examples: Callable[[], list[dict[str, np.ndarray]]]
    outputs: list[str]
    dynamic: dict[str, Any]
    card: dict[str, str]
    sources: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Parameters
    ----------
    task : the task that the network answers.
    network : makes the network.
    files : the files and folders that `data` reads; or `files(folder)`, their names there.
    data : `data(folder, part)` reads the part "train" or "val".
    batch : `batch(data, step, seed)` depends on nothing but its arguments, so that a resumed run
        repeats nothing and misses nothing.
    loss : `loss(network, batch)` returns the loss, and numbers to watch.
    validate : `validate(network, data)` returns scores by name; the weights with the highest
        `score` are kept.
    reported : the scores that the checkpoint's card names besides `score`.
    export : how the network is exported.
    steps : optimiser steps of a run.
    steps_further : of a run that begins from given weights; None for as many.
    learning_rate : the highest; it rises over `warm_up` steps and falls by a cosine.
    arguments : `arguments(folder)` are those of `network` that depend on the data.
    last : the layer whose size depends on the data; it is trained anew when weights from other
        data are given.
    taught : for a recipe in stages: steps that given weights have behind them already.
    weight_decay : of the optimiser.
    average : decay of the running average of the weights.
    validate_every : steps between validations.
    patience : validations without a better score after which a run ends.
    epoch : `epoch(folder)` is the number of steps that show every example once.
    picture : `picture(network, data)` shows how a network does on validation data, uint8 (H, W, 3).
    """

    task: str
    network: Callable[..., nn.Module]
    files: tuple[str, ...] | Callable[[Path], tuple[str, ...]]
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
    steps_further: int | None = None
    warm_up: int = 200
    taught: int = 0
    weight_decay: float = 0.01
    average: float = 0.999
    validate_every: int = 500
    patience: int | None = None
    epoch: Callable[[Path], int] | None = None
    picture: Callable[[nn.Module, Any], np.ndarray] | None = None

    def names(self, folder: Path) -> tuple[str, ...]:
        """The names of the files and folders that are read in a folder of data."""
        return self.files(folder) if callable(self.files) else self.files

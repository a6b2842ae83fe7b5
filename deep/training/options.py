"""Options of `toolkit train` and `toolkit export`; imports no torch."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from hvd.toolkit.options import (
    LARGEST_SEED,
    MOST_STEPS,
    MOST_WORKERS,
    Options,
    option,
)

REQUIRED = dataclasses.MISSING


@dataclass(frozen=True)
class TrainOptions(Options):
    """How a network is trained."""

    data: Path = option(
        REQUIRED, "Folder with the task's training and validation parts."
    )
    out: Path = option(
        REQUIRED, "Folder of the run: weights, history, TensorBoard events."
    )
    steps: int | None = option(
        None,
        "Number of optimiser steps.",
        low=1,
        high=MOST_STEPS,
        shown_default="the recipe's",
    )
    epochs: int | None = option(
        None,
        "How often every image is shown, instead of --steps; only for objects.",
        low=1,
        high=MOST_STEPS,
    )
    seed: int = option(
        0, "Random seed of weights and batches.", low=0, high=LARGEST_SEED
    )
    threads: int = option(
        2,
        "Processor threads; with a graphics processor, processes that make its batches.",
        low=1,
        high=MOST_WORKERS,
    )
    resume: bool = option(False, "Continue from the last validation in --out.")
    weights: Path | None = option(
        None,
        "Weights to start from, such as checkpoints/TASK.safetensors.",
        shown_default="from scratch",
    )


@dataclass(frozen=True)
class ExportOptions(Options):
    """Which run is exported, and where to."""

    run: Path = option(REQUIRED, "Folder that `toolkit train` wrote.")
    out: Path = option(
        Path("checkpoints"), "Folder for TASK.onnx, weights and index."
    )

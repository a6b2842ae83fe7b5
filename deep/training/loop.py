"""The one training loop: AdamW with warm-up and cosine, averaged weights, exact resume.

The weights with the best score on the validation part are kept.
"""

import copy
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hvd.deep.training.recipe import Recipe
from hvd.deep.training.state import (
    BEGIN_ANEW,
    Progress,
    load_state,
    save_state,
    save_tensors,
)
from hvd.toolkit.core import ToolkitError, data_errors
from hvd.toolkit.outputs import to_json, write_bytes

BEST = "best.safetensors"
HISTORY = "history.jsonl"

# Share of the learning rate when a run starts from trained weights: they are to be improved, not
# replaced.
FINE_TUNING = 0.5

FEW = 4  # numbers of a parameter that is a gate, a scale or a small bias
LOG_EVERY = 20  # steps between points of the curves in TensorBoard


def train(
    recipe: Recipe,
    data: Path,
    folder: Path,
    steps: int,
    seed: int,
    threads: int,
    resume: bool,
    weights: Path | None,
    report: Callable[[int, dict[str, float]], None],
) -> Path:
    """Train a network; returns the path of its best weights, `folder/best.safetensors`.

    `history.jsonl`, `curves.png` and TensorBoard events lie beside it. Started by `torchrun`,
    several processes take a batch each and learn from the mean of their gradients; the first of
    them validates and writes.

    Parameters
    ----------
    recipe : what to train, and how.
    data : folder with the training and validation parts.
    folder : of the run.
    steps : optimiser steps.
    seed : of weights and batches.
    threads : of the processor; where a graphics processor learns, processes that make its batches.
    resume : continue from `folder/state.safetensors` when it is there.
    weights : a safetensors file of this network to start from, with smaller steps; a last layer
        for more or fewer classes begins anew.
    report : `report(step, scalars)` is called after every step.
    """
    torch.set_num_threads(threads)
    machine = join_processes()
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with data_errors():
        examples = recipe.data(data, "train")
        validation = recipe.data(data, "val")

    learner = Learner(recipe, data, weights, machine)
    progress = Progress(step=0, best=-math.inf, since=0, seconds=0.0)
    if resume:
        progress = learner.load(folder) or progress
    learner.distribute()

    # Weights may have some steps of a recipe in stages behind them. Processes take turns.
    behind = recipe.taught if weights else 0
    first = (behind + progress.step) * machine.processes + machine.rank
    numbers = range(
        first, (behind + steps) * machine.processes, machine.processes
    )
    workers = threads if machine.device.type == "cuda" else 0
    made = batches(Batches(recipe.batch, examples, seed), numbers, workers)

    highest = recipe.learning_rate * (FINE_TUNING if weights else 1)
    warm_up = min(recipe.warm_up, steps // 5)
    journal = (
        Journal(recipe, folder, progress.step) if machine.rank == 0 else None
    )

    with journal or nullcontext():
        for step in range(progress.step, steps):
            start = time.perf_counter()
            rate = highest * learning_rate_share(step, steps, warm_up)
            scalars = learner.learn(next(made), rate, step)
            seconds = progress.seconds + time.perf_counter() - start
            progress = replace(progress, step=step + 1, seconds=seconds)

            is_due = (
                progress.step % recipe.validate_every == 0
                or progress.step == steps
            )
            if journal:
                journal.log(scalars, progress.step)
                if is_due:
                    progress, scalars = journal.validate(
                        learner, validation, progress, scalars
                    )
                report(progress.step, scalars)

            if is_due:
                progress = replace(
                    progress, since=machine.broadcast(progress.since)
                )
            if recipe.patience and progress.since >= recipe.patience:
                if journal:
                    reason = f"No better score in {progress.since} validations"
                    click.echo(
                        f"{reason}: ended at step {step + 1} of {steps}.",
                        err=True,
                    )
                break

    if machine.processes > 1:
        torch.distributed.destroy_process_group()
    if not (folder / BEST).is_file():
        reason = f"{folder / BEST} is not there, though the training has ended."
        raise ToolkitError(reason, BEGIN_ANEW, status=5)

    return folder / BEST


# --- where this process learns


@dataclass(frozen=True)
class Machine:
    """Where this process learns, and with how many others.

    Attributes
    ----------
    device : a graphics processor when torch sees one.
    half : whether to compute in bfloat16.
    rank, processes : the number of this process, from 0, among those that torchrun started.
    """

    device: torch.device
    half: bool
    rank: int
    processes: int

    def broadcast(self, value: int) -> int:
        """The value that the first process has."""
        if self.processes == 1:
            return value
        shared = torch.tensor(value, device=self.device)
        torch.distributed.broadcast(shared, 0)
        return int(shared)


def join_processes() -> Machine:
    """Find out where to learn, and join the other processes that torchrun started."""
    rank = int(os.environ.get("RANK", 0))
    processes = int(os.environ.get("WORLD_SIZE", 1))

    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        half = torch.cuda.is_bf16_supported()
        backend = "nccl"
    else:
        # On processors without AMX, bfloat16 is slower than float32, at times by hundreds.
        device = torch.device("cpu")
        half = torch.cpu.get_capabilities()["amx_bf16"]
        backend = "gloo"

    if processes > 1:
        torch.distributed.init_process_group(backend)
    return Machine(device, half, rank, processes)


# --- the network and its optimiser


class Learner:
    """A network that learns, with its optimiser and the running average of its weights."""

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        weights: Path | None,
        machine: Machine,
    ):
        self.recipe = recipe
        self.machine = machine

        # Channels last is a fifth faster on processors.
        network = recipe.network(**recipe.arguments(data))
        self.network = network.to(
            machine.device, memory_format=torch.channels_last
        )
        if weights:
            load_weights(self.network, weights, recipe)
        self.model: nn.Module = self.network

        averaging = partial(average, recipe.average)
        self.averaged = torch.optim.swa_utils.AveragedModel(
            self.network, multi_avg_fn=averaging, use_buffers=True
        )

        # Single numbers, such as the weight of a cue, must move far from where
        # they start, so that they learn ten times as fast; shrinking them
        # towards 0 would mean nothing. `learn` sets the rate times `speed`.
        parameters = list(self.network.parameters())
        large = [p for p in parameters if p.numel() > FEW]
        small = [p for p in parameters if p.numel() <= FEW]
        groups = [
            {"params": large, "speed": 1, "weight_decay": recipe.weight_decay},
            {"params": small, "speed": 10, "weight_decay": 0},
        ]
        self.optimizer = torch.optim.AdamW(groups)

    def load(self, folder: Path) -> Progress | None:
        """Go back to the last validation of a run; None when it had none."""
        return load_state(folder, self.network, self.averaged, self.optimizer)

    def save(self, folder: Path, progress: Progress) -> None:
        """Save everything that `load` needs."""
        save_state(
            folder, self.network, self.averaged, self.optimizer, progress
        )

    def distribute(self) -> None:
        """Average gradients with the other processes from now on."""
        if self.machine.processes > 1:
            self.model = nn.parallel.DistributedDataParallel(self.network)

    def learn(
        self,
        batch: list[Any],
        rate: float,
        step: int,
    ) -> dict[str, float]:
        """Take one optimiser step; returns numbers to watch."""
        device = self.machine.device
        # Warm-up and decay: the rate depends on the step alone, so that
        # resuming changes nothing.
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["speed"]

        batch = [
            part.to(device) if isinstance(part, Tensor) else part
            for part in batch
        ]
        half = torch.autocast(
            device.type, dtype=torch.bfloat16, enabled=self.machine.half
        )
        with device, half:
            loss, scalars = self.recipe.loss(self.model, batch)
        self.optimizer.zero_grad()
        loss.backward()

        # Clipping keeps one odd batch from spoiling the weights.
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        # NaN in the weights cannot be undone: stop while the last state is
        # good.
        if not torch.isfinite(norm):
            reason = f"The gradient of step {step} is not finite"
            reason += "; the state of the last validation is kept."
            raise ToolkitError(
                reason, "Lower the recipe's learning rate and resume."
            )
        self.optimizer.step()
        # The average of recent weights generalises better, and is what is
        # exported.
        self.averaged.update_parameters(self.network)

        return {
            "loss": loss.item(),
            **scalars,
            "gradient_norm": norm.item(),
            "learning_rate": rate,
        }


def load_weights(network: nn.Module, path: Path, recipe: Recipe) -> None:
    """Load trained weights into a network; ToolkitError with status 2 when they do not fit."""
    try:
        network.load_state_dict(
            fitting_weights(load_file(path), network, recipe.last)
        )
    except (OSError, RuntimeError, SafetensorError) as error:
        message = " ".join(str(error).split())[:300]
        reason = f"{path} holds no weights of this network: {message}"
        remedy = f"Give the {recipe.task}.safetensors of `toolkit export`."
        raise ToolkitError(reason, remedy, status=2) from error


def fitting_weights(
    weights: dict[str, Tensor], network: nn.Module, last: str
) -> dict[str, Tensor]:
    """Trained weights, with those of the last layer as they are in the network if sizes differ."""
    fresh = {}
    for name, value in network.state_dict().items():
        is_last = last and name.startswith(f"{last}.")
        if is_last and name in weights and weights[name].shape != value.shape:
            fresh[name] = value

    if fresh:
        click.echo(
            f"The weights are of more or fewer classes: {last} begins anew.",
            err=True,
        )
    return weights | fresh


def average(
    highest: float,
    averages: list[Tensor],
    current: list[Tensor],
    count: int,
) -> None:
    """Move averages towards the current values, in place: faster at first, when these change."""
    decay = min(highest, (1 + count) / (10 + count))
    torch.optim.swa_utils.get_ema_multi_avg_fn(decay)(averages, current, count)


def learning_rate_share(step: int, steps: int, warm_up: int) -> float:
    """Share of the highest learning rate: linear warm-up, then half a cosine to a hundredth."""
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


# --- batches


@dataclass(frozen=True)
class Batches:
    """The batches of a recipe, by the number of their step."""

    batch: Callable[[Any, int, int], Any]
    examples: Any
    seed: int

    def __getitem__(self, step: int) -> Any:
        return self.batch(self.examples, step, self.seed)


def batches(source: Batches, steps: range, workers: int) -> Iterator[Any]:
    """Batches of some steps, made ahead by worker processes, or when needed without any.

    Workers are forked, and OpenCV's threads do not survive that: it must compute on one thread.
    """
    loader = DataLoader(
        source, None, sampler=steps, num_workers=workers, collate_fn=list
    )
    return iter(loader)


# --- what a run writes


class Journal:
    """Writes the history of a run, its curves, TensorBoard events, and the best weights."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        step: int,
    ):
        from torch.utils.tensorboard import SummaryWriter

        self.recipe = recipe
        self.folder = folder
        forget_later_steps(folder / HISTORY, step)
        self.events = SummaryWriter(folder / "events", purge_step=step)
        self.history = open(folder / HISTORY, "a")  # noqa: SIM115

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        self.history.close()
        self.events.close()

    def log(self, scalars: dict[str, float], step: int) -> None:
        """Add numbers to the curves of TensorBoard."""
        if step % LOG_EVERY == 0:
            for name, value in scalars.items():
                self.events.add_scalar(f"train/{name}", value, step)

    def validate(
        self,
        learner: Learner,
        validation: Any,
        progress: Progress,
        scalars: dict[str, float],
    ) -> tuple[Progress, dict[str, float]]:
        """Score the averaged weights, keep the best, and save the state.

        Returns the progress, and the record that the history has of this step.
        """
        candidate = copy.deepcopy(learner.averaged.module).cpu()
        scores = self.recipe.validate(candidate, validation)
        step = progress.step
        for name, value in scores.items():
            self.events.add_scalar(f"validation/{name}", value, step)

        record = {
            "step": step,
            "seconds": round(progress.seconds, 1),
            **scalars,
            **scores,
        }
        self.history.write(to_json(record) + "\n")
        self.history.flush()
        draw_curves(self.folder)
        if self.recipe.picture:
            picture = self.recipe.picture(candidate, validation)
            self.events.add_image(
                "validation/samples", picture, step, dataformats="HWC"
            )

        progress = replace(progress, since=progress.since + 1)
        if scores["score"] > progress.best:
            progress = replace(progress, best=scores["score"], since=0)
            # The record lies in the file, so that scores and weights stay together.
            metadata = {"record": to_json(record)}
            save_tensors(candidate.state_dict(), self.folder / BEST, metadata)

        learner.save(self.folder, progress)
        return progress, record


def forget_later_steps(history: Path, step: int) -> None:
    """Remove from a history the steps that will be taken again, and a last line cut short."""
    # A killed run may have written half a line.
    lines = (
        history.read_bytes().splitlines(keepends=True)
        if history.exists()
        else []
    )
    try:
        earlier = [
            line
            for line in lines
            if line.endswith(b"\n") and step_of(line) <= step
        ]
    except (ValueError, TypeError, KeyError) as error:
        reason = f"{history} holds a line that is no record of a run."
        remedy = "Remove that line, or train to another folder."
        raise ToolkitError(reason, remedy, status=5) from error

    if earlier != lines:
        write_bytes(history, b"".join(earlier))


def step_of(line: bytes) -> int:
    """The step of a line in a history; raises unless it holds the numbers that curves need."""
    record = json.loads(line)
    for name in ("loss", "score"):
        if record[name] is not None:  # null stands for NaN
            float(record[name])
    return int(record["step"])


def draw_curves(folder: Path) -> None:
    """Draw `curves.png`: the loss and the validation's score against steps."""
    from matplotlib.figure import Figure

    records = [
        json.loads(line) for line in (folder / HISTORY).read_text().splitlines()
    ]
    steps = [record["step"] for record in records]
    figure = Figure(figsize=(10, 4), layout="constrained")
    titles = ("loss", "training loss"), ("score", "validation score")

    for axes, (name, title) in zip(figure.subplots(1, 2), titles, strict=True):
        # Before the first validation there is no score.
        values = [
            math.nan if record[name] is None else record[name]
            for record in records
        ]
        axes.plot(steps, values, ".-")
        axes.set(xlabel="optimiser steps", title=title)
        axes.grid(alpha=0.3)

    figure.savefig(folder / "curves.png", dpi=100)

"""The one training loop: AdamW, linear warm-up and cosine, an average of the weights, best on validation, exact resume."""

import copy
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from hvd.deep.training.state import BEGIN_ANEW, Progress, load_state, save_state, save_tensors
from hvd.toolkit.core import ToolkitError, data_errors
from hvd.toolkit.outputs import to_json, write_bytes

BEST = "best.safetensors"
FINE_TUNING = 0.5  # share of the learning rate when a run starts from trained weights: they are to be improved, not replaced


@dataclass(frozen=True)
class Batches:
    """Batches of a recipe by their step."""

    batch: Callable[[Any, int, int], Any]
    examples: Any
    seed: int

    def __getitem__(self, step: int) -> Any:
        return self.batch(self.examples, step, self.seed)


def batches(source: Batches, steps: range, workers: int) -> Iterator[Any]:
    """Batches of some steps, made ahead by so many processes, or when they are needed by none.

    Processes are forked, and OpenCV's threads do not survive that: have it compute on one thread.
    """
    loader = DataLoader(source, None, sampler=steps, num_workers=workers, collate_fn=list)
    return iter(loader)


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
    """Train to `folder/best.safetensors` and return its path.

    `history.jsonl`, `curves.png` and TensorBoard events lie beside it. It learns on a graphics
    processor when torch sees one, and as many processes as `threads` feed it with batches. Started
    by `torchrun`, several processes take a batch each and learn from their mean; the first of them
    validates and writes. `report(step, scalars)` is called after every step.

    With `resume` the run goes on from `folder/state.safetensors` when it is there. With `weights`,
    a safetensors file of this network, the run starts from these and takes smaller steps; a last
    layer of more or fewer classes begins anew.
    """
    from torch.utils.tensorboard import SummaryWriter

    torch.set_num_threads(threads)
    rank = int(os.environ.get("RANK", 0))
    processes = int(os.environ.get("WORLD_SIZE", 1))
    graphics = torch.cuda.is_available()
    device = (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        if graphics
        else torch.device("cpu")
    )
    if processes > 1:
        torch.distributed.init_process_group("nccl" if graphics else "gloo")
    # on other processors bfloat16 is slower than float32, at times by hundreds
    half = torch.cuda.is_bf16_supported() if graphics else torch.cpu.get_capabilities()["amx_bf16"]
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with data_errors():
        examples = recipe.data(data, "train")
        validation = recipe.data(data, "val")

    network = recipe.network(**recipe.arguments(data)).to(
        device, memory_format=torch.channels_last
    )  # a fifth faster on processors
    if weights:
        try:
            network.load_state_dict(fitting_weights(load_file(weights), network, recipe.last))
        except (OSError, RuntimeError, SafetensorError) as error:
            reason = (
                f"{weights} holds no weights of this network: {' '.join(str(error).split())[:300]}"
            )
            raise ToolkitError(
                reason, f"Give the {recipe.task}.safetensors of `toolkit export`.", status=2
            ) from error

    highest_rate = recipe.learning_rate * (FINE_TUNING if weights else 1)
    averaged = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=partial(average, recipe.average), use_buffers=True
    )
    matrices = [p for p in network.parameters() if p.numel() > 4]
    scalars = [
        p for p in network.parameters() if p.numel() <= 4
    ]  # gates and scales: alone in what they do, they may move faster
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "speed": 1, "weight_decay": recipe.weight_decay},
            {"params": scalars, "speed": 10, "weight_decay": 0},
        ]
    )
    behind = recipe.taught if weights else 0
    progress = load_state(folder, network, averaged, optimizer) if resume else None
    start = 0
    best = -math.inf
    since = 0
    seconds = 0.0

    if progress:
        start = progress.step
        best = progress.best
        since = progress.since
        seconds = progress.seconds

    if rank == 0:
        forget_later_steps(folder / "history.jsonl", start)
    learner = nn.parallel.DistributedDataParallel(network) if processes > 1 else network
    events = SummaryWriter(folder / "events", purge_step=start) if rank == 0 else None
    shown = range((behind + start) * processes + rank, (behind + steps) * processes, processes)
    made = batches(Batches(recipe.batch, examples, seed), shown, threads if graphics else 0)

    with open(folder / "history.jsonl", "a") as history:
        for step in range(start, steps):
            began = time.perf_counter()
            rate = highest_rate * learning_rate_share(step, steps, min(recipe.warm_up, steps // 5))
            for group in optimizer.param_groups:
                group["lr"] = rate * group["speed"]
            batch = [p.to(device) if isinstance(p, Tensor) else p for p in next(made)]
            with device, torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                loss, scalars_now = recipe.loss(learner, batch)
            optimizer.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            if not torch.isfinite(norm):
                reason = f"The gradient of step {step} is not finite; the state of the last validation is kept."
                raise ToolkitError(reason, "Lower the recipe's learning rate and resume.")
            optimizer.step()
            averaged.update_parameters(network)
            seconds += time.perf_counter() - began
            scalars_now = {
                "loss": loss.item(),
                **scalars_now,
                "gradient_norm": norm.item(),
                "learning_rate": rate,
            }
            if (step + 1) % 20 == 0 and rank == 0:
                for name, value in scalars_now.items():
                    events.add_scalar(f"train/{name}", value, step + 1)
            due = (step + 1) % recipe.validate_every == 0 or step + 1 == steps
            if due and rank == 0:
                candidate = copy.deepcopy(averaged.module).cpu()
                scores = recipe.validate(candidate, validation)
                for name, value in scores.items():
                    events.add_scalar(f"validation/{name}", value, step + 1)
                record = {"step": step + 1, "seconds": round(seconds, 1), **scalars_now, **scores}
                history.write(to_json(record) + "\n")
                history.flush()
                draw_curves(folder)
                if recipe.picture:
                    events.add_image(
                        "validation/samples",
                        recipe.picture(candidate, validation),
                        step + 1,
                        dataformats="HWC",
                    )

                since += 1
                if scores["score"] > best:
                    best = scores["score"]
                    since = 0
                    # the record lies in the file, so that scores and weights cannot part
                    described = {"record": to_json(record)}
                    save_tensors(candidate.state_dict(), folder / BEST, described)

                progress = Progress(step + 1, best, since, seconds)
                save_state(folder, network, averaged, optimizer, progress)
                scalars_now = record

            if rank == 0:
                report(step + 1, scalars_now)
            if due and processes > 1:
                told = torch.tensor(since, device=device)
                torch.distributed.broadcast(told, 0)
                since = int(told)

            if recipe.patience and since >= recipe.patience:
                if rank == 0:
                    click.echo(
                        f"No better score in {since} validations: ended at step {step + 1} of {steps}.",
                        err=True,
                    )

                break

    if rank == 0:
        events.close()
    if processes > 1:
        torch.distributed.destroy_process_group()
    if not (folder / BEST).is_file():
        reason = f"{folder / BEST} is not there, though the training has ended."
        raise ToolkitError(reason, BEGIN_ANEW, status=5)

    return folder / BEST


def forget_later_steps(history: Path, step: int) -> None:
    """Take from a history what came after a step, which is taken again, and a line that was cut short."""
    lines = history.read_bytes().splitlines(keepends=True) if history.exists() else []
    try:
        kept = [line for line in lines if line.endswith(b"\n") and step_of(line) <= step]
    except (ValueError, TypeError, KeyError) as error:
        reason = f"{history} holds a line that is no record of a run."
        raise ToolkitError(
            reason, "Remove that line, or train to another folder.", status=5
        ) from error

    if kept != lines:
        write_bytes(history, b"".join(kept))


def step_of(line: bytes) -> int:
    """The step of a line of a history, which must hold what is drawn of it."""
    record = json.loads(line)
    for name in ("loss", "score"):
        if record[name] is not None:  # null stands for NaN
            float(record[name])
    return int(record["step"])


def fitting_weights(weights: dict[str, Tensor], network: nn.Module, last: str) -> dict[str, Tensor]:
    """Trained weights, but those of the last layer as they are in the network when their sizes differ."""
    own = {
        name: value
        for name, value in network.state_dict().items()
        if last and name.startswith(f"{last}.")
    }
    anew = {
        name: value
        for name, value in own.items()
        if name in weights and weights[name].shape != value.shape
    }
    if anew:
        click.echo(f"The weights are of more or fewer classes: {last} begins anew.", err=True)

    return weights | anew


def average(highest: float, averages: list[Tensor], current: list[Tensor], count: int) -> None:
    """Move averages towards what is current, in place: faster at first, when the network changes fast."""
    torch.optim.swa_utils.get_ema_multi_avg_fn(min(highest, (1 + count) / (10 + count)))(
        averages, current, count
    )


def draw_curves(folder: Path) -> None:
    """`curves.png`: the loss, and the validation's score, against steps."""
    from matplotlib.figure import Figure

    records = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, name, title in zip(
        figure.subplots(1, 2), ("loss", "score"), ("training loss", "validation score"), strict=True
    ):
        axes.plot(
            [record["step"] for record in records],
            [math.nan if record[name] is None else record[name] for record in records],
            ".-",
        )
        axes.set(xlabel="optimiser steps", title=title)
        axes.grid(alpha=0.3)

    figure.savefig(folder / "curves.png", dpi=100)


def learning_rate_share(step: int, steps: int, warm_up: int) -> float:
    """Linear warm-up, then half a cosine to a hundredth."""
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))

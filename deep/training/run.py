"""Train a task by its recipe, with a record of what went into the run."""

import json
import math
import os
import sys
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from hvd.deep.training.loop import HISTORY
from hvd.deep.training.loop import train as run_loop
from hvd.deep.training.options import TrainOptions
from hvd.deep.training.recipe import Recipe
from hvd.deep.training.state import BEGIN_ANEW
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import digest
from hvd.toolkit.outputs import write_bytes
from hvd.toolkit.settings import one_opencv_thread

RECIPES = (
    "fragments",
    "grains",
    "lines",
    "lines-peer",
    "objects",
    "objects-person",
    "objects-scenes",
)
RUN = "run.json"
# Packages whose versions are recorded
RECORDED = (
    "torch",
    "numpy",
    "opencv-python-headless",
)


def recipe(task: str) -> Recipe:
    """The recipe of that name."""
    if task not in RECIPES:
        remedy = f"Choose one of: {', '.join(RECIPES)}."
        raise ToolkitError(
            f"There is no recipe for {task!r}.", remedy, status=2
        )
    return import_module(
        f"hvd.deep.training.recipes.{task.replace('-', '_')}"
    ).RECIPE


def train_task(task: str, options: TrainOptions) -> Path:
    """Train as the options and the recipe say; returns the path of the best weights.

    Raises ToolkitError with status 5 when data are missing, with status 2 when `options.out` holds
    another run, or one that is not to be resumed.
    """
    chosen = recipe(task)
    check_options(task, chosen, options)
    steps = options.steps or chosen.steps
    if options.weights and not options.steps:
        steps = chosen.steps_further or chosen.steps
    if options.epochs:
        chosen, steps = count_epochs(chosen, options)

    now = {
        "task": task,
        "steps": steps,
        "seed": options.seed,
        "arguments": chosen.arguments(options.data),
        "data": {
            name: digest(options.data / name)
            for name in chosen.names(options.data)
        },
        "weights": digest(options.weights) if options.weights else None,
        "versions": {name: version(name) for name in RECORDED},
    }
    record = options.out / RUN
    # Among the processes that torchrun started
    is_first = os.environ.get("RANK", "0") == "0"
    if is_first:
        begin_run(record, now, options)

    hidden = not (is_first and sys.stderr.isatty())
    with click.progressbar(length=steps, file=sys.stderr, hidden=hidden) as bar:

        def report(step: int, scalars: dict[str, float]) -> None:
            bar.update(step - bar.pos)
            if "score" in scalars:
                click.echo(
                    "  ".join(f"{k} {v:.4g}" for k, v in scalars.items()),
                    err=True,
                )

        try:
            with one_opencv_thread():
                return run_loop(
                    chosen,
                    options.data,
                    options.out,
                    steps,
                    options.seed,
                    options.threads,
                    options.resume,
                    options.weights,
                    report,
                )
        except ToolkitError:
            # Refused before it began: leave the folder as free as it was.
            if is_first and not (options.out / HISTORY).exists():
                record.unlink()
            raise


def check_options(task: str, recipe: Recipe, options: TrainOptions) -> None:
    """Raise ToolkitError for missing files, and for options that the recipe does not allow."""
    names = recipe.names(options.data)
    for name in names:
        if not (options.data / name).exists():
            remedy = f"--data needs {', '.join(names)}."
            raise ToolkitError(
                f"There is no {options.data / name}.", remedy, status=5
            )

    if options.weights and not options.weights.is_file():
        remedy = "Give --weights a .safetensors file."
        raise ToolkitError(f"There is no {options.weights}.", remedy, status=2)

    if options.epochs and (options.steps or not recipe.epoch):
        reason = f"{task} cannot be trained by epochs here."
        raise ToolkitError(reason, "Give --steps alone.", status=2)


def count_epochs(recipe: Recipe, options: TrainOptions) -> tuple[Recipe, int]:
    """The number of steps for some epochs, and the recipe with at least one validation in each."""
    # Of torchrun; each takes a batch
    processes = int(os.environ.get("WORLD_SIZE", 1))
    epoch = math.ceil(recipe.epoch(options.data) / processes)
    every = min(recipe.validate_every, epoch)

    patience = recipe.patience
    if patience:  # the same number of steps as before
        patience = math.ceil(patience * recipe.validate_every / every)
    return replace(
        recipe, validate_every=every, patience=patience
    ), options.epochs * epoch


def begin_run(record: Path, now: dict[str, Any], options: TrainOptions) -> None:
    """Record what goes into a run, or check that a resumed run is the same."""
    out = options.out
    if not record.exists():
        if out.exists() and not out.is_dir():
            raise ToolkitError(
                f"{out} is no folder.", "Choose another --out.", status=4
            )
        # Never train into a folder of other files.
        if out.exists() and any(out.iterdir()):
            reason = f"{out} holds files, but no {RUN}: it is not the folder of a run."
            raise ToolkitError(reason, "Choose another --out.", status=4)
        write_bytes(record, (json.dumps(now, indent=2) + "\n").encode())
        return

    if not options.resume:
        remedy = "Give --resume, or another --out."
        raise ToolkitError(f"{out} holds a run already.", remedy, status=2)

    # A resumed run must continue the same training, or its record would lie.
    earlier = read_run(record)
    for name in ("task", "steps", "seed", "data", "weights"):
        if earlier.get(name) != now[name]:
            reason = f"The run in {out} has {name} {earlier.get(name)}, not {now[name]}."
            remedy = "Resume it as it was begun, or give another --out."
            raise ToolkitError(reason, remedy, status=2)


def read_run(path: Path) -> dict[str, Any]:
    """The record of a run; raises ToolkitError with status 5 when it describes none."""
    try:
        record = json.loads(path.read_bytes())
        if not isinstance(record["data"], dict) or not isinstance(
            record["task"], str
        ):
            raise TypeError("task and data are missing")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = (
            f"{path} does not describe a run: {type(error).__name__}: {error}."
        )
        raise ToolkitError(reason, BEGIN_ANEW, status=5) from error

    return record

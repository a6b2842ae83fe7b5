"""Training a task by its recipe, with a record of what went in."""

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

from hvd.deep.training.loop import train as run_loop
from hvd.deep.training.options import TrainOptions
from hvd.deep.training.recipe import Recipe
from hvd.deep.training.state import BEGIN_ANEW
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import digest
from hvd.toolkit.outputs import write_bytes
from hvd.toolkit.settings import one_opencv_thread

RECIPES = {
    name: f"hvd.deep.training.recipes.{name.replace('-', '_')}"
    for name in (
        "fragments",
        "grains",
        "lines",
        "lines-peer",
        "objects",
        "objects-person",
        "objects-scenes",
    )
}
RUN = "run.json"
RECORDED = ("torch", "numpy", "opencv-python-headless")


def recipe(task: str) -> Recipe:
    """The recipe of a task."""
    if task not in RECIPES:
        raise ToolkitError(
            f"There is no recipe for {task!r}.", f"Choose one of: {', '.join(RECIPES)}.", status=2
        )
    return import_module(RECIPES[task]).RECIPE


def train_task(task: str, options: TrainOptions) -> Path:
    """Train as the options and the recipe say; returns the path of the best weights.

    Raises ToolkitError when data are missing (status 5), or when `options.out` holds a run that is
    not to be resumed, or another run than this (status 2).
    """
    chosen = recipe(task)
    check_options(task, chosen, options)
    steps = options.steps or chosen.steps
    if options.epochs:
        chosen, steps = count_epochs(chosen, options)

    described = {
        "task": task,
        "steps": steps,
        "seed": options.seed,
        "arguments": chosen.arguments(options.data),
        "data": {name: digest(options.data / name) for name in chosen.files},
        "weights": digest(options.weights) if options.weights else None,
        "versions": {name: version(name) for name in RECORDED},
    }
    record = options.out / RUN
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    if first:
        begin_run(record, described, options)

    hidden = not (first and sys.stderr.isatty())

    with click.progressbar(length=steps, file=sys.stderr, hidden=hidden) as bar:

        def report(step: int, scalars: dict[str, float]) -> None:
            bar.update(step - bar.pos)
            if "score" in scalars:
                click.echo("  ".join(f"{k} {v:.4g}" for k, v in scalars.items()), err=True)

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
            if first and not (options.out / "history.jsonl").exists():
                record.unlink()  # refused before it began: the folder is as free as it was
            raise


def check_options(task: str, recipe: Recipe, options: TrainOptions) -> None:
    """Raise ToolkitError for files that are missing, and for options that the recipe does not know."""
    for name in recipe.files:
        if not (options.data / name).exists():
            remedy = f"--data needs {', '.join(recipe.files)}."
            raise ToolkitError(f"There is no {options.data / name}.", remedy, status=5)

    if options.weights and not options.weights.is_file():
        remedy = "Give --weights a .safetensors file."
        raise ToolkitError(f"There is no {options.weights}.", remedy, status=2)

    if options.epochs and (options.steps or not recipe.epoch):
        reason = f"{task} cannot be trained by epochs here."
        raise ToolkitError(reason, "Give --steps alone.", status=2)


def count_epochs(recipe: Recipe, options: TrainOptions) -> tuple[Recipe, int]:
    """The recipe with a validation every epoch at least, and the steps of the epochs asked for."""
    processes = int(os.environ.get("WORLD_SIZE", 1))  # of torchrun, which take a batch each
    epoch = math.ceil(recipe.epoch(options.data) / processes)
    often = min(recipe.validate_every, epoch)
    patience = recipe.patience
    if patience:  # as many steps as before
        patience = math.ceil(patience * recipe.validate_every / often)
    return replace(recipe, validate_every=often, patience=patience), options.epochs * epoch


def begin_run(record: Path, described: dict[str, Any], options: TrainOptions) -> None:
    """Write down what goes into a run, or check that a run that is resumed is the same."""
    if not record.exists():
        out = options.out
        if out.exists() and not out.is_dir():
            raise ToolkitError(f"{out} is no folder.", "Choose another --out.", status=4)
        if out.exists() and any(out.iterdir()):
            reason = f"{out} holds files, but no {RUN}: it is not the folder of a run."
            raise ToolkitError(reason, "Choose another --out.", status=4)
        write_bytes(record, (json.dumps(described, indent=2) + "\n").encode())
        return

    if not options.resume:
        remedy = "Give --resume, or another --out."
        raise ToolkitError(f"{options.out} holds a run already.", remedy, status=2)

    earlier = read_run(record)
    for name in ("task", "steps", "seed", "data", "weights"):
        if earlier.get(name) != described[name]:
            before = earlier.get(name)
            now = described[name]
            reason = f"The run in {options.out} has {name} {before}, not {now}."
            raise ToolkitError(
                reason, "Resume it as it was begun, or give another --out.", status=2
            )


def read_run(path: Path) -> dict[str, Any]:
    """What went into a run; ToolkitError with status 5 when the file does not say so."""
    try:
        described = json.loads(path.read_bytes())
        if not isinstance(described["data"], dict) or not isinstance(described["task"], str):
            raise TypeError("task and data are missing")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{path} does not describe a run: {type(error).__name__}: {error}."
        raise ToolkitError(reason, BEGIN_ANEW, status=5) from error

    return described

"""Training a task by its recipe, with a record of what went in."""

import json
import os
import sys
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import click

from deep.training.loop import Recipe
from deep.training.loop import train as run_loop
from toolkit.core import ToolkitError
from toolkit.images import digest
from toolkit.outputs import write_bytes

RECIPES = {
    name: f"deep.training.recipes.{name.replace('-', '_')}"
    for name in ("fragments", "grains", "lines", "lines-peer", "objects", "objects-person", "objects-scenes")
}
RECORDED = ("torch", "numpy", "opencv-python-headless")


def recipe(task: str) -> Recipe:
    """The recipe of a task."""
    if task not in RECIPES:
        raise ToolkitError(f"There is no recipe for {task!r}.", f"Choose one of: {', '.join(RECIPES)}.", status=2)
    return import_module(RECIPES[task]).RECIPE


def train_task(
    task: str,
    data: Path,
    out: Path,
    steps: int | None,
    seed: int,
    threads: int,
    resume: bool,
    weights: Path | None = None,
    epochs: int | None = None,
) -> Path:
    """Train into the folder `out`, from `weights` or from scratch, for `steps` or `epochs` or as the recipe says, and return the
    path of the best weights.

    Raises ToolkitError when data are missing (status 5), or when `out` holds a run that is not to be resumed, or another run than
    this (status 2).
    """
    chosen = recipe(task)
    for name in chosen.files:
        if not (data / name).exists():
            raise ToolkitError(f"There is no {data / name}.", f"--data needs {', '.join(chosen.files)}.", status=5)
    if weights and not weights.is_file():
        raise ToolkitError(f"There is no {weights}.", "Give --weights a .safetensors file.", status=2)
    if epochs and (steps or not chosen.epoch):
        raise ToolkitError(f"{task} cannot be trained by epochs here.", "Give --steps alone.", status=2)
    if epochs:
        epoch = -(-chosen.epoch(data) // int(os.environ.get("WORLD_SIZE", 1)))  # torchrun's processes take a batch each
        often = min(chosen.validate_every, epoch)
        patience = chosen.patience and -(-chosen.patience * chosen.validate_every // often)  # as many steps as before
        steps, chosen = epochs * epoch, replace(chosen, validate_every=often, patience=patience)
    described = {
        "task": task,
        "steps": steps or chosen.steps,
        "seed": seed,
        "arguments": chosen.arguments(data),
        "data": {name: digest(data / name) for name in chosen.files},
        "weights": digest(weights) if weights else None,
        "versions": {name: version(name) for name in RECORDED},
    }
    record, first = out / "run.json", os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    if not first:
        pass
    elif record.exists():
        earlier = json.loads(record.read_text())
        if not resume:
            raise ToolkitError(f"{out} holds a run already.", "Give --resume, or another --out.", status=2)
        for name in ("task", "steps", "seed", "data", "weights"):
            if earlier.get(name) != described[name]:
                reason = f"The run in {out} has {name} {earlier.get(name)}, not {described[name]}."
                raise ToolkitError(reason, "Resume it as it was begun, or give another --out.", status=2)
    else:
        write_bytes(record, (json.dumps(described, indent=2) + "\n").encode())
    with click.progressbar(length=described["steps"], file=sys.stderr, hidden=not (first and sys.stderr.isatty())) as bar:

        def report(step: int, scalars: dict[str, float]) -> None:
            bar.update(step - bar.pos)
            if "score" in scalars:
                click.echo("  ".join(f"{k} {v:.4g}" for k, v in scalars.items()), err=True)

        try:
            return run_loop(chosen, data, out, described["steps"], seed, threads, resume, weights, report)
        except ToolkitError:
            if first and not (out / "history.jsonl").exists():  # refused before it began: `out` is as free as it was
                record.unlink()
            raise

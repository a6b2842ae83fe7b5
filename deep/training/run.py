"""Training a task by its recipe, with a record of what went in."""

import hashlib
import json
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import click

from deep.training.loop import Recipe
from deep.training.loop import train as run_loop
from toolkit.core import ToolkitError

RECIPES = {"fragments": "deep.training.recipes.fragments"}
RECORDED = ("torch", "numpy", "opencv-python-headless")


def recipe(task: str) -> Recipe:
    """The recipe of a task."""
    if task not in RECIPES:
        raise ToolkitError(f"There is no recipe for {task!r}.", f"Choose one of: {', '.join(RECIPES)}.", status=2)
    return import_module(RECIPES[task]).RECIPE


def train_task(task: str, data: Path, out: Path, steps: int | None, seed: int, threads: int, resume: bool) -> Path:
    """Train into the folder `out`, print progress to stderr, and return the path of the best weights."""
    chosen = recipe(task)
    steps = steps or chosen.steps
    out.mkdir(parents=True, exist_ok=True)
    described = {
        "task": task,
        "steps": steps,
        "seed": seed,
        "data": {name: hashlib.sha256((data / name).read_bytes()).hexdigest() for name in chosen.files},
        "versions": {name: version(name) for name in RECORDED},
    }
    (out / "run.json").write_text(json.dumps(described, indent=2) + "\n")
    with click.progressbar(length=steps, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def report(step: int, scalars: dict[str, float]) -> None:
            bar.update(step - bar.pos)
            if "score" in scalars:
                click.echo("  ".join(f"{k} {v:.4g}" for k, v in scalars.items()), err=True)

        return run_loop(chosen, data, out, steps, seed, threads, resume, report)

"""The one table of tasks and methods; modules are imported when they are asked for."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from toolkit.core import Method, Task, ToolkitError

TASKS = {
    "fragments": "toolkit.tasks.fragments:TASK",
    "grains": "toolkit.tasks.grains:TASK",
    "lines": "toolkit.tasks.lines:TASK",
    "objects": "toolkit.tasks.objects:TASK",
}

METHODS = {
    "fragments": {
        "trivial": "baselines.trivial:OneGroup",
        "colour": "baselines.fragments:Colour",
        "hdbscan": "baselines.fragments:Density",
        "baseline": "baselines.fragments:Gradient",
        "loops": "baselines.fragments:Loops",
        "deep": "deep.fragments:Network",
    },
    "grains": {
        "trivial": "baselines.trivial:NoBoundary",
        "everywhere": "baselines.trivial:AllBoundary",
        "baseline": "baselines.grains:Watershed",
        "deep": "deep.grains:Network",
    },
    "lines": {
        "trivial": "baselines.trivial:Zeros",
        "linear": "baselines.lines:Linear",
        "cubic": "baselines.lines:Cubic",
        "navier-stokes": "baselines.lines:NavierStokes",
        "telea": "baselines.lines:Telea",
        "kriging": "baselines.lines:Kriging",
        "lmmse": "baselines.lines:Lmmse",
        "baseline": "baselines.lines:Biharmonic",
        "deep": "deep.lines:Network",
        "flips": "deep.lines:Flipped",
    },
    "objects": {
        "trivial": "baselines.objects:MostFrequent",
        "baseline": "baselines.objects:Texture",
        "deep": "deep.objects:Network",
    },
}

SAMPLERS = {name: f"data.{name}:samples" for name in TASKS}


def loaded(place: str) -> Any:
    """The object at "module:name"."""
    module, name = place.split(":")
    return getattr(import_module(module), name)


def check_task(name: str) -> None:
    """ToolkitError when there is no task of that name."""
    if name not in TASKS:
        raise ToolkitError(f"There is no task {name!r}.", f"Choose one of: {', '.join(TASKS)}.", status=2)


def task(name: str) -> Task:
    """The task of that name."""
    check_task(name)
    return loaded(TASKS[name])


def method(task: str, name: str, checkpoint: str | None = None) -> Method:
    """The method of that name; `checkpoint` replaces the network that a method with a network ships with."""
    check_task(task)
    if name not in METHODS[task]:
        raise ToolkitError(f"{task} has no method {name!r}.", f"Choose one of: {', '.join(METHODS[task])}.", status=2)
    found = loaded(METHODS[task][name])
    return found(checkpoint=checkpoint) if checkpoint is not None and hasattr(found, "checkpoint") else found()


def methods(task: str, names: Iterable[str], checkpoint: str | None = None) -> dict[str, Method]:
    """Methods by name, all of the task's when none is named; a checkpoint that none of them takes is refused."""
    found = {name: method(task, name, checkpoint) for name in tuple(names) or tuple(METHODS[task])}
    if checkpoint is not None and not any(hasattr(one, "checkpoint") for one in found.values()):
        raise ToolkitError(f"No method of {', '.join(found)} has a network.", "Leave --checkpoint out, or add deep.", status=2)
    return found

"""The one table of tasks and methods; modules are imported when they are needed.

A task NAME has a wing `hvd.toolkit.tasks.NAME`, its samples in `hvd.data.NAME`, and the methods
listed here. This is the only place that names modules of other packages as strings.
"""

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import fields
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from hvd.toolkit.core import Method, Task, ToolkitError, is_debugging

METHODS = {
    "fragments": {
        "trivial": "hvd.baselines.trivial:OneGroup",
        "colour": "hvd.baselines.fragments:Colour",
        "hdbscan": "hvd.baselines.fragments:Density",
        "baseline": "hvd.baselines.fragments:Gradient",
        "loops": "hvd.baselines.fragments:Loops",
        "deep": "hvd.deep.fragments:Network",
    },
    "grains": {
        "trivial": "hvd.baselines.trivial:NoBoundary",
        "everywhere": "hvd.baselines.trivial:AllBoundary",
        "baseline": "hvd.baselines.grains:Watershed",
        "deep": "hvd.deep.grains:Network",
    },
    "lines": {
        "trivial": "hvd.baselines.trivial:Zeros",
        "linear": "hvd.baselines.lines:Linear",
        "cubic": "hvd.baselines.lines:Cubic",
        "navier-stokes": "hvd.baselines.lines:NavierStokes",
        "telea": "hvd.baselines.lines:Telea",
        "kriging": "hvd.baselines.lines:Kriging",
        "lmmse": "hvd.baselines.lines:Lmmse",
        "baseline": "hvd.baselines.lines:Biharmonic",
        "deep": "hvd.deep.lines:Network",
        "flips": "hvd.deep.lines:Flipped",
    },
    "objects": {
        "trivial": "hvd.baselines.objects:MostFrequent",
        "baseline": "hvd.baselines.objects:Texture",
        "deep": "hvd.deep.objects:Network",
    },
}
TASKS = tuple(METHODS)
SAMPLERS = {name: f"hvd.data.{name}:samples" for name in TASKS}

# The method of `toolkit measure grains`: what somebody drew is the answer.
DRAWN = "hvd.toolkit.tasks.grains.drawn:Drawn"

# What the benchmark uses of training, when the extra [train] is installed.
TRAINING = {
    "run in torch": "hvd.deep.training.export:torch_runner",
    "quantise": "hvd.deep.training.export:quantise",
}


def load(place: str) -> Any:
    """Import the object at "module:name"."""
    module, name = place.split(":")
    return getattr(import_module(module), name)


def check_task(name: str) -> None:
    """Raise ToolkitError when there is no task of that name."""
    if name not in METHODS:
        remedy = f"Choose one of: {', '.join(METHODS)}."
        raise ToolkitError(f"There is no task {name!r}.", remedy, status=2)


def task(name: str) -> Task:
    """The task of that name."""
    check_task(name)
    return load(f"hvd.toolkit.tasks.{name}.task:TASK")


def task_options(name: str) -> Any:
    """The module with the options of a task, which imports nothing heavy."""
    check_task(name)
    return import_module(f"hvd.toolkit.tasks.{name}.options")


def make_options(kind: type, values: dict[str, Any]) -> Any:
    """Options of a kind from their values; ToolkitError with status 2 for an unknown name."""
    known = [field.name for field in fields(kind)]
    strange = [name for name in values if name not in known]
    if strange:
        reason = f"There is no option {', '.join(strange)}."
        raise ToolkitError(
            reason, f"Choose among: {', '.join(known)}.", status=2
        )
    return kind(**values)


def samples(
    task: str,
    data: str,
    options: Any,
    count: int,
    seed: int,
) -> Iterable[Any]:
    """At most `count` samples of a task, from "builtin" or from a path."""
    check_task(task)
    return load(SAMPLERS[task])(data, options, count, seed)


def method(task: str, name: str, checkpoint: str | None = None) -> Method:
    """The method of that name; `checkpoint` replaces its shipped network.

    A name with a colon is a user's own method: `module:Class`, importable, or `FILE.py:Class`.
    """
    check_task(task)
    if ":" in name:
        kind = own_method(name)
    elif name in METHODS[task]:
        kind = load(METHODS[task][name])
    else:
        remedy = f"Choose one of: {', '.join(METHODS[task])}; or module:Class or FILE.py:Class."
        raise ToolkitError(f"{task} has no method {name!r}.", remedy, status=2)

    # Dataclasses without defaults, or with another constructor, end here.
    try:
        return (
            kind(checkpoint=checkpoint)
            if checkpoint and has_network(kind)
            else kind()
        )
    except TypeError as error:
        remedy = "Give each of its fields a default."
        raise ToolkitError(
            f"{name} cannot be made: {error}.", remedy, status=2
        ) from error


def methods(
    task: str, names: Iterable[str], checkpoint: str | None = None
) -> dict[str, Method]:
    """Methods by name; all of the task's when no name is given.

    Raises ToolkitError with status 2 when there is a checkpoint but no method that takes it.
    """
    check_task(task)
    chosen = {
        name: method(task, name, checkpoint)
        for name in tuple(names) or METHODS[task]
    }
    if checkpoint is not None and not any(
        has_network(type(one)) for one in chosen.values()
    ):
        reason = f"No method of {', '.join(chosen)} has a network."
        raise ToolkitError(
            reason, "Leave --checkpoint out, or add deep.", status=2
        )
    return chosen


def has_network(kind: type) -> bool:
    """Whether methods of a class have a network."""
    from hvd.toolkit.network import NetworkMethod

    return issubclass(kind, NetworkMethod)


def own_method(name: str) -> type:
    """Load the class of a user's own method, at `module:Class` or `FILE.py:Class`."""
    place, _, class_name = name.rpartition(":")
    try:
        module = (
            load_file(Path(place))
            if place.endswith(".py")
            else import_module(place)
        )
    except ToolkitError:
        raise
    # whatever a user's file raises
    except (Exception, SystemExit) as error:
        if is_debugging():
            raise
        reason = f"{place} cannot be loaded: {type(error).__name__}: {error}."
        remedy = "Mend it; `toolkit --debug ...` shows where it fails."
        # The commonest reason: the file is in the current folder.
        if isinstance(error, ModuleNotFoundError):
            remedy = "Give FILE.py:Class for a file; no folder is put on the import path for it."
        raise ToolkitError(reason, remedy, status=2) from error

    kind = getattr(module, class_name, None)
    if not isinstance(kind, type) or not callable(
        getattr(kind, "predict", None)
    ):
        reason = f"{place} has no class {class_name!r} with a method predict(inputs)."
        classes = [
            name
            for name, its in vars(module).items()
            if hasattr(its, "predict")
        ]
        remedy = f"It has: {', '.join(classes)}." if classes else "Write one."
        raise ToolkitError(reason, remedy, status=2)

    return kind


def load_file(path: Path) -> Any:
    """Load a file as a module; its folder is not put on the import path."""
    if not path.is_file():
        raise ToolkitError(
            f"There is no {path}.", "Give FILE.py:Class.", status=2
        )

    # Two files of one name, or a file changed in between, are two modules.
    content = hashlib.sha256(
        str(path.resolve()).encode() + path.read_bytes()
    ).hexdigest()
    name = f"hvd_own_method_{content[:16]}"

    if name not in sys.modules:
        spec = spec_from_file_location(name, path)
        module = module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look for it there
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise

    return sys.modules[name]

"""Ask a method, one of ours or a user's own, and check that its answer fits the input."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hvd.toolkit import registry
from hvd.toolkit.core import Method, Result, Task, ToolkitError, is_debugging
from hvd.toolkit.settings import one_thread


def ask(method: Method, inputs: Any) -> Any:
    """The prediction of a method; errors of a user's own method become a ToolkitError."""
    if is_ours(method):
        return method.predict(inputs)
    try:
        return method.predict(inputs)
    except (ToolkitError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if is_debugging():
            raise
        reason = (
            f"{type(method).__name__} failed: {type(error).__name__}: {error}."
        )
        remedy = "Mend the method; `toolkit --debug ...` shows where it fails."
        raise ToolkitError(reason, remedy) from error


def is_ours(method: Method) -> bool:
    """Whether a method is one of the toolkit's."""
    return type(method).__module__.startswith("hvd.")


def check_answer(
    task: Task,
    method: Method,
    prediction: Any,
    inputs: Any,
) -> Any:
    """The prediction, finished for its inputs; raises ToolkitError when it does not fit them."""
    if not isinstance(prediction, task.prediction):
        returned = type(prediction).__name__
        wanted = task.prediction.__name__
        reason = f"{type(method).__name__} returned {returned}, not {wanted}."
        raise ToolkitError(reason, f"Return {wanted} from predict().")
    return task.finish(prediction, inputs)


def choose_methods(
    task: str, methods: Any, checkpoint: str | None = None
) -> dict[str, Method]:
    """Methods by name, from any of the forms that a Python user may give.

    Parameters
    ----------
    task : name of the task.
    methods : None for all of the task's methods; a name, an object with `predict(inputs)`, a list
        of these, or a dictionary from names to either.
    checkpoint : another network, for the methods given by name that have one.
    """
    if methods is None:
        return registry.methods(task, (), checkpoint)
    # One method, a list and a dictionary all become a dictionary by name.
    if isinstance(methods, str) or hasattr(methods, "predict"):
        methods = [methods]
    if not isinstance(methods, dict | list | tuple) or not methods:
        remedy = "Give a name, an object with predict(inputs), a list of these, or a dictionary."
        raise ToolkitError(f"method is {methods!r}.", remedy, 2)

    if not isinstance(methods, dict):
        methods = {
            one if isinstance(one, str) else type(one).__name__: one
            for one in methods
        }

    names = [one for one in methods.values() if isinstance(one, str)]
    by_name = registry.methods(task, names, checkpoint) if names else {}
    # Only a method that is loaded by its name can be given another network.
    if checkpoint is not None and not names:
        remedy = "Set its checkpoint on the object, or name the method."
        raise ToolkitError(
            "A checkpoint is given to a method that is an object.", remedy, 2
        )

    chosen = {}
    for name, one in methods.items():
        chosen[name] = (
            by_name[one] if isinstance(one, str) else check_method(one)
        )
    return chosen


def check_method(method: Any) -> Method:
    """The method itself; raises ToolkitError when it is none."""
    if isinstance(method, type):
        remedy = f"Give an object: {method.__name__}()."
        raise ToolkitError(
            f"{method.__name__} is a class, not a method.", remedy, 2
        )
    if not callable(getattr(method, "predict", None)):
        remedy = "Give a name, or an object with predict(inputs)."
        raise ToolkitError(f"{method!r} is no method.", remedy, 2)
    return method


def choose_method(
    task: str, method: Any, checkpoint: str | None = None
) -> Method:
    """The one method that a Python user gives; None stands for the task's default."""
    chosen = registry.task(task).method if method is None else method
    (one,) = choose_methods(task, [chosen], checkpoint).values()
    return one


def is_one(task: Task, value: Any) -> bool:
    """Whether a value is one input, rather than a list or an iterator of many."""
    if isinstance(value, np.ndarray | str | Path | task.inputs):
        return True
    if isinstance(value, list | tuple | Iterator):
        return False

    remedy = (
        "Give an array, as np.asarray makes it, a path, or a list of these."
    )
    if hasattr(value, "inputs") and hasattr(value, "target"):
        remedy = "Give what it shows: sample.inputs."
    raise ToolkitError(f"An input is {type(value).__name__}.", remedy, 2)


def inputs_of(task: Task, value: Any, options: Any) -> Any:
    """The inputs for a method, from an array, a path, or inputs that exist already."""
    if isinstance(value, task.inputs):
        if options != task.input_options():
            reason = f"A {task.inputs.__name__} says all that is known of it: no option applies."
            raise ToolkitError(
                reason, "Leave the options out, or give an array.", 2
            )
        return value

    if not is_one(task, value):
        raise ToolkitError(
            "An input is a list in a list.", "Give one list of inputs.", 2
        )
    if isinstance(value, np.ndarray):
        return task.from_array(value, options)

    return task.read(Path(value), options)


def answer(task: Task, method: Method, inputs: Any) -> Result:
    """The answer to one input, computed on one thread, with its measured values and notes."""
    with one_thread():
        prediction = check_answer(task, method, ask(method, inputs), inputs)
        values, notes = task.measure(prediction, inputs)
    return Result(prediction, values, notes, inputs)

"""Questions about images, each answered by a handcrafted method and by a compact network.

The door for Python users:

- `hvd.tasks()` and `hvd.methods(task)` say what there is,
- `hvd.predict(task, input)` answers an array or a file,
- `hvd.samples(task)` gives samples with known answers,
- `hvd.evaluate(task)` scores methods on them.

Options have the names that they have on the command line: `--scale-bar-micrometres 50` is
`scale_bar_micrometres=50`. Importing this module changes nothing in the process, and loads nothing
until a function is called.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    import numpy as np

    from hvd.toolkit.core import Method, Result, Sample
    from hvd.toolkit.tasks.fragments.types import Arrangement
    from hvd.toolkit.tasks.grains.types import Boundaries
    from hvd.toolkit.tasks.lines.types import Filled
    from hvd.toolkit.tasks.objects.types import Labelled

    One = np.ndarray | str | Path
    Methods = str | Method | Iterable[str] | dict[str, Method] | None

__version__ = "0.1.0"
__all__ = ["evaluate", "methods", "predict", "samples", "tasks"]


def tasks() -> tuple[str, ...]:
    """The names of the tasks.

    >>> hvd.tasks()
    ('fragments', 'grains', 'lines', 'objects')
    """
    from hvd.toolkit.registry import TASKS

    return TASKS


def methods(task: str) -> tuple[str, ...]:
    """The names of a task's methods, from the floor to the network.

    Raises
    ------
    ToolkitError
        when there is no such task.

    >>> hvd.methods("grains")
    ('trivial', 'everywhere', 'baseline', 'deep')
    """
    from hvd.toolkit import registry

    registry.check_task(task)
    return tuple(registry.METHODS[task])


# An array or a path is one input; a list, a generator, or any other iterable gives an iterator.
@overload
def predict(
    task: Literal["fragments"], input: "One", method: "str | Method | None" = None, **options: Any
) -> "Result[Arrangement]": ...
@overload
def predict(
    task: Literal["grains"], input: "One", method: "str | Method | None" = None, **options: Any
) -> "Result[Boundaries]": ...
@overload
def predict(
    task: Literal["lines"], input: "One", method: "str | Method | None" = None, **options: Any
) -> "Result[Filled]": ...
@overload
def predict(
    task: Literal["objects"], input: "One", method: "str | Method | None" = None, **options: Any
) -> "Result[Labelled]": ...
@overload
def predict(
    task: str, input: Iterable[Any], method: "str | Method | None" = None, **options: Any
) -> "Iterator[Result[Any]]": ...
@overload
def predict(task: str, input: Any, method: "str | Method | None" = None, **options: Any) -> Any: ...


def predict(task: str, input: Any, method: "str | Method | None" = None, **options: Any) -> Any:
    """Answer one input, or many, and write nothing.

    Parameters
    ----------
    task : one of `hvd.tasks()`.
    input : an array or a path, which is one input; what a method is shown, such as the `inputs` of
        a sample; or a list or generator of these. Arrays are, by task:

        - fragments: uint8 (n, s, s, 3), RGB, a heap of n square fragments, s from 4 to 256;
        - grains: (H, W) of any numbers, or RGB uint8 (H, W, 3), a micrograph;
        - lines: (N, H, W) or (H, W) of real numbers, a stack of scans with NaN or 0 in their
          missing lines;
        - objects: uint8 (H, W, 3), RGB, a picture.
    method : a name of `hvd.methods(task)`, `"module:Class"`, `"FILE.py:Class"`, or an object with
        `predict(inputs)`; None is the task's default, its network.
    options : `checkpoint`, the path of another network, and what can be said about an input:
        `toolkit predict TASK --help` and docs/reference.md list it.

    Returns
    -------
    Result, or an iterator of results in the order of the inputs
        `result.prediction` is the typed answer (`Arrangement`, `Boundaries`, `Filled` or
        `Labelled`), `result.measured` what is measured on it under the names that records use,
        `result.notes` the sentences to heed, `result.inputs` what the method was shown.

    Raises
    ------
    ToolkitError
        with the reason and a remedy, when an input cannot be answered. An iterator can be asked
        for the next result after that.

    Examples
    --------
    >>> picture = np.zeros((64, 64, 3), np.uint8)
    >>> result = hvd.predict("objects", picture, classes="person")
    >>> result.prediction.mask.shape, result.prediction.classes
    ((64, 64), ('background', 'person'))
    >>> result.measured["fractions"]["background"]
    1.0
    """
    from hvd.toolkit import registry
    from hvd.toolkit.core import keyword_errors
    from hvd.toolkit.prediction import answer

    with keyword_errors():
        record = registry.task(task)
        checkpoint = options.pop("checkpoint", None)
        if method is None or isinstance(method, str):
            name = method or record.method
            chosen = registry.methods(task, [name], checkpoint)[name]
        else:
            chosen = method
        settings = registry.make_options(record.input_options, options)

    def answer_one(one: Any) -> "Result[Any]":
        with keyword_errors():
            return answer(record, chosen, inputs_of(record, one, settings))

    if is_one(record, input):
        return answer_one(input)
    return map(answer_one, input)


def is_one(task: Any, input: Any) -> bool:
    """Whether what `predict` was given is a single input."""
    import numpy as np

    return isinstance(input, np.ndarray | str | Path | task.inputs)


def inputs_of(task: Any, input: Any, options: Any) -> Any:
    """What a method is shown of an array, a path, or what it is shown already."""
    import numpy as np

    from hvd.toolkit.core import ToolkitError

    if isinstance(input, task.inputs):
        return input
    if isinstance(input, np.ndarray):
        return task.from_array(input, options)
    if isinstance(input, str | Path):
        return task.read(Path(input), options)
    reason = f"An input is {type(input).__name__}."
    raise ToolkitError(reason, "Give an array, a path, or a list of these.", 2)


def samples(
    task: str, data: str | Path = "builtin", samples: int = 20, seed: int = 7, **options: Any
) -> "Iterator[Sample]":
    """Samples of a task, each a question with its answer.

    Parameters
    ----------
    data : "builtin", which needs nothing, or the path of a data set.
    samples : how many, at most.
    seed : the same seed gives the same samples.
    options : the conditions under which they are made: `toolkit evaluate TASK --help` and
        docs/reference.md list them.

    Returns
    -------
    iterator of Sample
        `sample.inputs` is what a method is shown, `sample.target` the truth.

    Examples
    --------
    >>> sample = next(hvd.samples("fragments", samples=1, images=5, noise=10))
    >>> sample.inputs.fragments.shape
    (80, 16, 16, 3)
    """
    from hvd.toolkit import registry
    from hvd.toolkit.core import data_errors, keyword_errors

    with keyword_errors():
        conditions = registry.make_options(registry.task(task).options, options)

    def drawn() -> "Iterator[Sample]":
        with keyword_errors(), data_errors():
            yield from registry.samples(task, str(data), conditions, samples, seed)

    return drawn()


def evaluate(
    task: str,
    data: str | Path = "builtin",
    method: "Methods" = None,
    samples: int = 20,
    seed: int = 7,
    checkpoint: str | None = None,
    progress: Callable[..., Iterable[Any]] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Score methods on samples with known answers, side by side.

    Parameters
    ----------
    data : "builtin", which needs nothing, or the path of a data set.
    method : a name, several, a method, or methods by name; None: all of the task that can answer
        such samples.
    samples : how many, at most.
    seed : the same seed gives the same samples.
    checkpoint : path of another network, for methods that have one.
    progress : wraps the records as they come and is called as `progress(records, total=count)`,
        such as `tqdm.tqdm`.
    options : the conditions under which samples are made: `toolkit evaluate TASK --help` and
        docs/reference.md list them.

    Returns
    -------
    dict
        what `toolkit evaluate TASK --json` prints: `["methods"][NAME]["metrics"][METRIC]` with
        `mean`, `low` and `high`, the ends of a 95 % interval, None of a single sample;
        `["methods"][NAME]["milliseconds"]` with `median` and `p95`, on one thread;
        `["left_out"]`, the methods that cannot answer such samples, and why.

    Raises
    ------
    ToolkitError
        when the data set is wrong, or a method that was named cannot answer it.

    Examples
    --------
    >>> scores = hvd.evaluate("lines", method=["trivial", "linear"], samples=2)
    >>> {name: round(its["metrics"]["ssim"]["mean"], 1) for name, its in scores["methods"].items()}
    {'trivial': 0.3, 'linear': 0.9}
    """
    from hvd.toolkit import evaluation, registry
    from hvd.toolkit.core import keyword_errors

    with keyword_errors():
        record = registry.task(task)
        chosen = named_methods(task, method, checkpoint)
        conditions = registry.make_options(record.options, options)
        watch = {} if progress is None else {"progress": progress}
        return evaluation.score(
            task, chosen, str(data), conditions, samples, seed, leave_out=method is None, **watch
        )


def named_methods(task: str, method: "Methods", checkpoint: str | None) -> "dict[str, Method]":
    """Methods by name, of all that `evaluate` may be given."""
    from hvd.toolkit import registry

    if isinstance(method, dict):
        return method
    if hasattr(method, "predict"):
        return {type(method).__name__: method}
    names = (method,) if isinstance(method, str) else method or ()
    return registry.methods(task, names, checkpoint)

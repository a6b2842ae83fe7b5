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

from hvd.toolkit.core import (
    Result,
    Sample,
    ToolkitError,
    data_errors,
    keyword_errors,
    name_keywords,
)
from hvd.toolkit.options import EvaluateOptions

if TYPE_CHECKING:
    import numpy as np

    from hvd.toolkit.core import Method
    from hvd.toolkit.tasks.fragments.types import Arrangement
    from hvd.toolkit.tasks.grains.types import Boundaries
    from hvd.toolkit.tasks.lines.types import Filled
    from hvd.toolkit.tasks.objects.types import Labelled

    One = np.ndarray | str | Path

__version__ = "0.1.0"
__all__ = [
    "Result",
    "Sample",
    "ToolkitError",
    "evaluate",
    "methods",
    "predict",
    "samples",
    "tasks",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


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
    task: Literal["fragments"],
    input: "One",
    method: "str | Method | None" = None,
    **options: Any,
) -> "Result[Arrangement]": ...
@overload
def predict(
    task: Literal["grains"],
    input: "One",
    method: "str | Method | None" = None,
    **options: Any,
) -> "Result[Boundaries]": ...
@overload
def predict(
    task: Literal["lines"],
    input: "One",
    method: "str | Method | None" = None,
    **options: Any,
) -> "Result[Filled]": ...
@overload
def predict(
    task: Literal["objects"],
    input: "One",
    method: "str | Method | None" = None,
    **options: Any,
) -> "Result[Labelled]": ...
@overload
def predict(
    task: str,
    input: Iterable[Any],
    method: "str | Method | None" = None,
    **options: Any,
) -> "Iterator[Result[Any]]": ...
@overload
def predict(
    task: str, input: Any, method: "str | Method | None" = None, **options: Any
) -> Any: ...


def predict(
    task: str, input: Any, method: "str | Method | None" = None, **options: Any
) -> Any:
    """Answer one input, or many, and write nothing.

    Parameters
    ----------
    task : one of `hvd.tasks()`.
    input : one input is an array or a path; many are a list or an iterator of them, such as
        `sorted(Path("micrographs").glob("*.tif"))`. What `sample.inputs` holds is an input as well.
        Arrays are, by task:

        - fragments: uint8 (n, s, s, 3), RGB, a heap of n square fragments, s from 4 to 256;
        - grains: a micrograph, (H, W) of any numbers, or RGB uint8 (H, W, 3); values that are
          neither uint8 nor uint16 are stretched, the least to black and the greatest to white;
        - lines: a stack of scans, (N, H, W) or (H, W) of real numbers, with NaN or 0 in their
          missing lines, or a masked array;
        - objects: uint8 (H, W, 3), RGB, a picture.
    method : a name of `hvd.methods(task)`, `"module:Class"`, `"FILE.py:Class"`, or an object with
        `predict(inputs)`; None is the task's default, its network.
    options : what is known of an input. By task, with their defaults:

        - fragments: `images=10`, `known="sizes"` ("count", "nothing"), `rotate=False`;
        - grains: `micrometres_per_pixel=None`, `scale_bar_micrometres=None`, `exclude_bottom=0`;
        - lines: `mask=None` (a bool array (H, W), a file, a description), `axis=None`,
          `uncertainty=False`;
        - objects: `classes=None` (names that the network must know), `size=None`.

        For all: `checkpoint`, the path of another network, and `max_pixels`. The page of
        commands says more of each.

    Returns
    -------
    Result, or an iterator of results in the order of the inputs
        `result.prediction` is the typed answer, by task:

        - fragments: `Arrangement` with `group`, `row`, `column`, `turn`, `confidence`, (n,) each;
        - grains: `Boundaries` with `mask` bool and `labels` int32, (H, W), and `grains`, every
          grain's measures in pixels;
        - lines: `Filled` with `values`, the scans (N, H, W) in the type and scale of the input, and
          `images`, the same from 0 to 1;
        - objects: `Labelled` with `mask` uint8 (H, W), indices into `classes`.

        `result.measured` is what is measured on it, under the names that records use;
        `result.notes` are sentences to keep in mind; `result.inputs` is what the method was shown.

    Raises
    ------
    ToolkitError
        with `reason` and `remedy`, when an input cannot be answered. An iterator goes on with the
        next input after that.

    Examples
    --------
    >>> picture = np.zeros((64, 64, 3), np.uint8)
    >>> result = hvd.predict("objects", picture, classes="person")
    >>> result.prediction.mask.shape, result.prediction.classes
    ((64, 64), ('background', 'person'))
    >>> result.measured["fractions"]["background"]
    1.0
    """
    from hvd.toolkit import asking, registry

    with keyword_errors():
        record = registry.task(task)
        checkpoint = options.pop("checkpoint", None)
        chosen = asking.choose_method(task, method, checkpoint)
        settings = registry.make_options(record.input_options, options)
        single = asking.is_one(record, input)

    def answer_one(one: Any) -> "Result[Any]":
        with keyword_errors():
            result = asking.answer(
                record, chosen, asking.inputs_of(record, one, settings)
            )
            result.notes[:] = [name_keywords(note) for note in result.notes]
            return result

    return answer_one(input) if single else map(answer_one, input)


def samples(
    task: str,
    data: str | Path = EvaluateOptions.data,
    samples: int = EvaluateOptions.samples,
    seed: int = EvaluateOptions.seed,
    **options: Any,
) -> "Iterator[Sample]":
    """Samples of a task: inputs with their known answers.

    Parameters
    ----------
    task : one of `hvd.tasks()`.
    data : "builtin", which needs nothing, or the path of a data set.
    samples : how many, at most.
    seed : the same seed gives the same samples.
    options : the conditions under which they are made, such as `noise=20` for fragments or
        `mask="1/2@90"` for lines; the page of commands lists them under `toolkit evaluate`.

    Returns
    -------
    iterator of Sample
        `sample.inputs` is what a method is shown, `sample.target` the truth.

    Raises
    ------
    ToolkitError
        when an option or the data set is wrong.

    Examples
    --------
    >>> sample = next(hvd.samples("fragments", samples=1, images=5, noise=10))
    >>> sample.inputs.fragments.shape
    (80, 16, 16, 3)
    """
    from hvd.toolkit import registry

    with keyword_errors(), data_errors():
        run = EvaluateOptions(data=str(data), samples=samples, seed=seed)
        conditions = registry.make_options(registry.task(task).options, options)

    def sample_iterator() -> "Iterator[Sample]":
        with keyword_errors(), data_errors():
            yield from registry.samples(
                task, run.data, conditions, run.samples, run.seed
            )

    return sample_iterator()


def evaluate(
    task: str,
    data: str | Path = EvaluateOptions.data,
    method: Any = None,
    samples: int = EvaluateOptions.samples,
    seed: int = EvaluateOptions.seed,
    checkpoint: str | None = EvaluateOptions.checkpoint,
    progress: Callable[..., Iterable[Any]] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Score methods on samples with known answers, side by side.

    Parameters
    ----------
    task : one of `hvd.tasks()`.
    data : "builtin", which needs nothing, or the path of a data set.
    method : a name, an object with `predict(inputs)`, a list of these, or a dictionary of names
        with either, such as `{"mine": Mine(), "deep": "deep"}`; None: all of the task that can
        answer such samples.
    samples : how many, at most.
    seed : the same seed gives the same samples.
    checkpoint : path of another network, for methods that have one.
    progress : wraps the records as they come and is called as `progress(records, total=count)`,
        such as `tqdm.tqdm`.
    options : the conditions under which samples are made, as in `hvd.samples`.

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
        when an option or the data set is wrong, or a method that was named cannot answer it.

    Examples
    --------
    >>> scores = hvd.evaluate("lines", method=["trivial", "linear"], samples=2)
    >>> {name: round(its["metrics"]["ssim"]["mean"], 1) for name, its in scores["methods"].items()}
    {'trivial': 0.3, 'linear': 0.9}
    """
    from hvd.toolkit import asking, evaluation, registry

    with keyword_errors():
        run = EvaluateOptions(
            data=str(data), samples=samples, seed=seed, checkpoint=checkpoint
        )
        record = registry.task(task)
        chosen = asking.choose_methods(task, method, run.checkpoint)
        conditions = registry.make_options(record.options, options)
        watch = {} if progress is None else {"progress": progress}
        return evaluation.score(
            task,
            chosen,
            run.data,
            conditions,
            run.samples,
            run.seed,
            leave_out=method is None,
            **watch,
        )

"""The nouns that everything else is made of: sample, metric, task, method, result, error."""

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

# Environment variable that `toolkit --debug` sets, for its worker processes too.
DEBUG = "TOOLKIT_DEBUG"
FAULT = (
    "This is a fault of the toolkit: run it again as `toolkit --debug ...` "
    "and report what that shows."
)


def is_debugging() -> bool:
    """Whether `toolkit --debug` asks for tracebacks instead of sentences."""
    return DEBUG in os.environ


def printable(text: str) -> str:
    r"""A text for a terminal, its control characters escaped: names of files may hold some, which
    would move the cursor, or look like lines of ours.

    >>> print(printable("a\x1b[2J\nb"))
    a\x1b[2J\nb
    """
    return "".join(c if is_printable(c) else repr(c)[1:-1] for c in text)


def is_printable(character: str) -> bool:
    """Whether a character shows as itself; those that turn the direction of a line do not."""
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


class ToolkitError(Exception):
    """What is wrong, and what to do about it.

    Parameters
    ----------
    reason : what is wrong, and where.
    remedy : what the user can do. Name options as on the command line (`--known`);
        the door for Python users shows them as keywords.
    status : exit status of the command line: 1 an input failed, 2 usage, 3 checkpoint,
        4 output not writable, 5 data set invalid.
    """

    def __init__(
        self,
        reason: str,
        remedy: str,
        status: int = 1,
    ):
        super().__init__(f"{reason} {remedy}")
        self.reason = reason
        self.remedy = remedy
        self.status = status

    def __reduce__(self) -> tuple:
        # Pickled from worker processes
        return type(self), (
            self.reason,
            self.remedy,
            self.status,
        )


def name_keywords(text: str) -> str:
    """Replace the command line's flags in a sentence by Python's keywords.

    Commands in backticks stay as they are.

    >>> name_keywords("Give --scale-bar-micrometres, or leave --size out.")
    'Give scale_bar_micrometres, or leave size out.'
    """
    parts = re.split(r"(`[^`]*`)", text)
    for k in range(0, len(parts), 2):
        parts[k] = re.sub(r"(?<![\w-])--([a-z][a-z-]*)", keyword_of, parts[k])
    return "".join(parts)


def keyword_of(flag: re.Match) -> str:
    """The keyword of a flag."""
    return flag[1].replace("-", "_")


CALLED_BY_COMMAND_LINE = ContextVar("called by the command line", default=False)


@contextmanager
def command_line() -> Iterator[None]:
    """Let errors name flags inside, since it is the command line that calls."""
    token = CALLED_BY_COMMAND_LINE.set(True)
    try:
        yield
    finally:
        CALLED_BY_COMMAND_LINE.reset(token)


@contextmanager
def keyword_errors() -> Iterator[None]:
    """Raise errors with remedies that name keywords, for Python users, instead of flags."""
    try:
        yield
    except ToolkitError as error:
        if CALLED_BY_COMMAND_LINE.get():
            raise
        reason = name_keywords(error.reason)
        remedy = name_keywords(error.remedy)
        raise ToolkitError(reason, remedy, error.status) from error


@contextmanager
def data_errors() -> Iterator[None]:
    """Report whatever is wrong with an input of `--data` as a wrong data set: status 5."""
    try:
        yield
    except OSError as error:
        reason = f"{error.filename} cannot be read: {error.strerror}."
        raise ToolkitError(
            reason, "Check --data and its permissions.", 5
        ) from error
    except ToolkitError as error:
        status = 5 if error.status == 1 else error.status
        raise ToolkitError(error.reason, error.remedy, status) from error


class InputFile(NamedTuple):
    """An input below a path, with the reason for skipping it; "" when it is not skipped."""

    path: Path
    skipped: str = ""


@dataclass(frozen=True)
class Sample:
    """One question with its answer: methods see `inputs`, metrics compare with `target`.

    Inputs validate themselves when created, so methods never see malformed data.
    """

    id: str
    inputs: Any
    target: Any


@dataclass(frozen=True)
class Metric:
    """A number that says how good a prediction is.

    Parameters
    ----------
    name : key in records and in JSON.
    score : `score(target, prediction) -> float`. With `pool`, an array of counts instead, which
        are summed over samples; then `pool(sum) -> float` is the score of all samples together.
    description : one line for the report.
    label, unit : how tables and axes call it; the name when empty.
    better : "higher", "lower" or "closer to 1".
    perfect : the score of a perfect prediction, exactly.
    swept : draw it against the benchmark's sweeps, as the headline metric is.
    """

    name: str
    score: Callable[[Any, Any], Any]
    description: str
    label: str = ""
    unit: str = ""
    better: str = "higher"
    perfect: float = 1.0
    pool: Callable[[Any], float] | None = None
    swept: bool = False

    @property
    def title(self) -> str:
        """The label with its unit, for tables and axes."""
        label = self.label or self.name.replace("_", " ")
        return f"{label}, {self.unit}" if self.unit else label


class Method(Protocol):
    """A frozen dataclass whose fields are its parameters, with one verb."""

    def predict(self, inputs: Any) -> Any: ...


class Floor:
    """Base of methods that do not look at their input: the least that others must beat.

    Pictures leave them out, since nobody would take them for an answer.
    """


Prediction = TypeVar("Prediction")


@dataclass(frozen=True, eq=False)
class Result(Generic[Prediction]):
    """The answer to one input.

    Attributes
    ----------
    prediction : the typed answer, such as `Arrangement` or `Boundaries`.
    measured : what was measured on it, under the names that records use.
    notes : sentences about what is doubtful, for the user to read.
    inputs : what the method was shown, such as `Heap` or `Micrograph`.
    """

    prediction: Prediction
    measured: dict[str, Any]
    notes: list[str]
    inputs: Any


@dataclass(frozen=True)
class SearchSpace:
    """Where `hvd.benchmarks.search` looks for the parameters of a method.

    Parameters
    ----------
    ranges : least and greatest value by parameter, drawn evenly on a logarithmic scale; `a.b` is
        the field b of the parameter a.
    weights : by metric, what it counts in the score that is sought.
    cut : the part of a sample that is enough to judge by.
    """

    ranges: dict[str, tuple[float, float]]
    weights: dict[str, float]
    cut: Callable[[Sample], Sample] = lambda sample: sample


class Column(NamedTuple):
    """A column of the table that `predict` shows on a terminal."""

    title: str
    cell: Callable[[dict[str, Any]], str]  # of the record of an input
    is_text: bool = False


@dataclass(frozen=True)
class Task:
    """A question about images, as a record of functions.

    Parameters
    ----------
    name, question : what it is called and what it asks.
    metrics : the first is the headline.
    input_options : dataclass of what a user can say about an input.
    options : dataclass of how samples are made: the conditions of an evaluation.
    inputs, prediction : classes of what a method is shown and of what it returns.
    read : `read(path, input_options) -> inputs`.
    from_array : `from_array(array, input_options) -> inputs`.
    finish : `finish(prediction, inputs) -> prediction` in the terms of the input, such as its own
        size or type; raises ToolkitError when the prediction does not fit the inputs.
    measure : `measure(prediction, inputs) -> (values, notes)` for the record.
    write : `write(prediction, inputs, values, folder) -> names of the files`.
    draw : `draw(sample, predictions by method) -> one RGB picture of all and the truth`.
    columns : what the table of a run shows of a record.
    look_at : how the name of the file ends that a user opens first.
    builtin : what the built-in samples are.
    method : the default method.
    find_inputs : the inputs below a path, one after the other.
    conclude : `conclude(records, folder, out) -> names of the files` that summarise a whole run;
        `records()` gives its records, as often as it is called. They are written into `folder`,
        and moved to `out` when they are complete.
    run_files : names of all files that `conclude` may write.
    show_seed : seed of a built-in sample on which the network does as well as usual, for pictures.
    size_label : what the time of an answer grows with.
    enlarge : `enlarge(inputs, side) -> inputs` repeated up to a square of `side` pixels, to be
        timed; None where size is counted otherwise.
    """

    name: str
    question: str
    metrics: tuple[Metric, ...]
    input_options: type
    options: type
    inputs: type
    prediction: type
    read: Callable[[Path, Any], Any]
    from_array: Callable[[Any, Any], Any]
    finish: Callable[[Any, Any], Any]
    measure: Callable[[Any, Any], tuple[dict[str, Any], list[str]]]
    write: Callable[[Any, Any, dict[str, Any], Path], list[str]]
    draw: Callable[[Sample, dict[str, Any]], Any]
    columns: tuple[Column, ...]
    look_at: str
    builtin: str
    method: str = "deep"
    find_inputs: Callable[[Path], Iterable[InputFile]] = lambda path: [
        InputFile(path)
    ]
    conclude: Callable[
        [Callable[[], Iterable[dict[str, Any]]], Path, Path], list[str]
    ] = lambda records, folder, out: []
    run_files: tuple[str, ...] = ()
    show_seed: int = 7
    size_label: str = "megapixels"
    enlarge: Callable[[Any, int], Any] | None = None

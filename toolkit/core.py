"""The five nouns: a sample, a metric, a task, a method, and the one error that a user can mend."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

DEBUG = "TOOLKIT_DEBUG"  # set in the environment by `toolkit --debug`, for the processes that it starts too
FAULT = "This is a fault of the toolkit: run it again as `toolkit --debug ...` and report what that shows."


class ToolkitError(Exception):
    """What went wrong, where, and how to mend it. `status` is the exit status of the command line:
    1 an input failed, 2 usage, 3 checkpoint, 4 output not writable, 5 data set invalid."""

    def __init__(self, reason: str, remedy: str, status: int = 1):
        super().__init__(f"{reason} {remedy}")
        self.reason, self.remedy, self.status = reason, remedy, status

    def __reduce__(self) -> tuple:
        return type(self), (self.reason, self.remedy, self.status)  # from one process to another


@contextmanager
def data_errors() -> Iterator[None]:
    """What is wrong with an input of `--data` is wrong with the data set: status 5."""
    try:
        yield
    except OSError as error:
        raise ToolkitError(f"{error.filename} cannot be read: {error.strerror}.", "Check --data and its permissions.", 5) from error
    except ToolkitError as error:
        raise ToolkitError(error.reason, error.remedy, 5 if error.status == 1 else error.status) from error


class Found(NamedTuple):
    """An input that a path names, and why it is passed over if it is."""

    path: Path
    skipped: str = ""


@dataclass(frozen=True)
class Sample:
    """One question with its answer. A method is only ever shown `inputs`, which refuse to be made of what no method can answer, so
    that nothing malformed reaches a method by any way."""

    id: str
    inputs: Any
    target: Any


@dataclass(frozen=True)
class Metric:
    """`score(target, prediction) -> float`; a perfect prediction scores exactly `perfect`.

    With `pool`, `score` gives an array of counts instead, which are summed over samples: `pool(sum) -> float` is the score of all.
    """

    name: str
    score: Callable[[Any, Any], Any]
    description: str
    perfect: float = 1.0
    pool: Callable[[Any], float] | None = None


class Method(Protocol):
    """A frozen dataclass whose fields are its parameters."""

    def predict(self, inputs: Any) -> Any: ...


@dataclass(frozen=True)
class Task:
    """A question about images, as a record of functions.

    The first of `metrics` is the headline. `found_in(path)` gives the inputs that a path names one after the other, `read(path,
    told)` reads one of them. `write(prediction, inputs, folder)` writes an answer's files and returns their names with measured
    values; `conclude(records, folder)` writes what a whole run of predictions says, for which `records()` gives its records, as
    often as it is called. `draw(sample, predictions)` gives one RGB picture of the question, every
    method's answer and the truth. `told` and `options` are records of what is known of an input, and of how samples are made.
    """

    name: str
    question: str
    metrics: tuple[Metric, ...]
    told: type
    options: type
    read: Callable[[Path, Any], Any]
    write: Callable[[Any, Any, Path], dict[str, Any]]
    draw: Callable[[Sample, dict[str, Any]], Any]
    found_in: Callable[[Path], Iterable[Found]] = lambda path: [Found(path)]
    conclude: Callable[[Callable[[], Iterable[dict[str, Any]]], Path], None] = lambda records, folder: None

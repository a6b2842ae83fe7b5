"""Options, each said once: a field of a dataclass carries its type, default, range and help.

From the field come the option of the command line, its check, its line in docs/reference.md and
the keyword in Python. This module imports nothing heavy, so that `--help` answers at once.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd.toolkit.core import ToolkitError

MAX_PIXELS = 100_000_000
# pixels that OpenCV decodes at most, unless its environment says otherwise
DECODED_AT_MOST = 1 << 30


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    shown_default: str = "",
    parse: Callable[[str], Any] | None = None,
    kw_only: bool = False,
) -> Any:
    """A field of an options dataclass.

    Parameters
    ----------
    default : the value without the option; `dataclasses.MISSING` makes it required.
    help : one sentence for the command line and the reference.
    low, high : the least and the greatest value.
    choices : the values that a text may have.
    shown_default : what help shows in the place of the default.
    parse : makes the value of the text that the command line was given.
    """
    details = {
        "help": help,
        "low": low,
        "high": high,
        "choices": choices,
        "shown_default": shown_default,
        "parse": parse,
    }
    return dataclasses.field(default=default, metadata=details, kw_only=kw_only)


def flag(name: str) -> str:
    """The command line's name of a field.

    >>> flag("micrometres_per_pixel")
    '--micrometres-per-pixel'
    """
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class Options:
    """Base of all options: values are checked against their fields when created."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if "help" in field.metadata:
                check_value(field.name, getattr(self, field.name), field.metadata)


def check_value(name: str, value: Any, details: Any) -> None:
    """Raise ToolkitError with status 2 for a value that its field does not allow."""
    if value is None:
        return

    choices = details["choices"]
    if choices and value not in choices:
        remedy = f"Give {flag(name)} as {', '.join(choices[:-1])} or {choices[-1]}."
        raise ToolkitError(f"{name} is {value!r}.", remedy, status=2)

    low, high = details["low"], details["high"]
    if low is None and high is None:
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    too_low = number and low is not None and not value >= low
    too_high = number and high is not None and not value <= high
    if not number or too_low or too_high:
        limits = f"from {low:,}" + (f" to {high:,}" if high is not None else "")
        raise ToolkitError(f"{name} is {value!r}.", f"Give {flag(name)} {limits}.", status=2)


@dataclass(frozen=True)
class ImageOptions(Options):
    """Base of the options of whatever reads images."""

    max_pixels: int = option(
        MAX_PIXELS,
        "Refuse larger images before they are decoded.",
        low=1,
        high=DECODED_AT_MOST,
        kw_only=True,
    )

    def as_dict(self) -> dict[str, Any]:
        """The options by name that results depend on: all but the limit on the size of images."""
        values = dataclasses.asdict(self)
        del values["max_pixels"]
        return values


def two_numbers(text: str, between: str) -> tuple[int, int]:
    """Two positive numbers of a text, or one that stands for both.

    >>> two_numbers("320x240", "x"), two_numbers("256", "x")
    ((320, 240), (256, 256))
    """
    parts = text.split(between)
    right = len(parts) <= 2 and all(part.isdecimal() and 0 < int(part) <= 8192 for part in parts)
    if not right:
        reason = f"{text!r} is not two numbers, 1 to 8192, with {between!r} between them."
        raise ToolkitError(reason, f"Write 1{between}4, say.", 2)
    return int(parts[0]), int(parts[-1])


def shard(text: str) -> tuple[int, int]:
    """I and N of `--shard I/N`."""
    index, count = two_numbers(text, "/")
    if "/" not in text or index > count:
        raise ToolkitError(f"There is no shard {text}.", "Give --shard I/N with I from 1 to N.", 2)
    return index, count


# --- options of the verbs


@dataclass(frozen=True)
class MethodOptions(Options):
    """Which method answers, and with which network."""

    method: str | None = option(
        None,
        "Name of the method, or one of your own: module:Class or FILE.py:Class.",
        shown_default="deep",
    )
    checkpoint: str | None = option(
        None, "Network for methods that have one, instead of the one shipped."
    )


@dataclass(frozen=True)
class PredictOptions(MethodOptions):
    """How a run over inputs goes."""

    out: Path = option(
        dataclasses.MISSING, "Folder for the results, a subfolder for each input.", kw_only=True
    )
    workers: int = option(1, "Processes, each on one thread.", low=1, kw_only=True)
    shard: tuple[int, int] | None = option(
        None,
        "I/N: answer the I-th of N shards of the inputs; then `toolkit merge OUT`.",
        parse=shard,
        kw_only=True,
    )
    resume: bool = option(
        False, "Leave inputs that were answered alike before as they are.", kw_only=True
    )
    json: bool = option(
        False, "A JSON record a line, on a terminal too, instead of a table.", kw_only=True
    )


@dataclass(frozen=True)
class DataOptions(Options):
    """Which samples, and which methods answer them."""

    data: str = option("builtin", "Where samples come from.")
    method: tuple[str, ...] = option(
        (),
        "Name of a method, or one of your own: module:Class or FILE.py:Class; may be repeated.",
        shown_default="all",
    )
    checkpoint: str | None = option(
        None, "Network for methods that have one, instead of the one shipped."
    )
    seed: int = option(7, "Seed of the samples.", low=0)


@dataclass(frozen=True)
class EvaluateOptions(DataOptions):
    """How methods are scored."""

    samples: int = option(20, "Number of samples.", low=1)
    json: bool = option(False, "One JSON object instead of a table.")


@dataclass(frozen=True)
class ShowOptions(DataOptions):
    """What is drawn, and where."""

    method: tuple[str, ...] = option(
        (),
        "Name of a method, or one of your own: module:Class or FILE.py:Class; may be repeated.",
        shown_default="all but floors",
    )
    seed: int | None = option(
        None,
        "Seed of the sample.",
        low=0,
        shown_default="of one that the network answers as well as usual",
    )

    out: Path | None = option(None, "PNG file to write.", shown_default="TASK.png")

"""Define every option once: a field of a dataclass carries its type, default, range and help.

The option of the command line, its check, its line in the documentation and the keyword in Python
are made from it. This module imports nothing heavy, so that `--help` answers at once.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from hvd.toolkit.core import ToolkitError

MAX_PIXELS = 100_000_000
LARGEST_SEED = (1 << 63) - 1
MOST_WORKERS = 256
MOST_STEPS = 1_000_000_000

# Pixels that OpenCV decodes at most, unless its environment says otherwise.
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
    any_type: bool = False,
    kw_only: bool = False,
) -> Any:
    """A field of an options dataclass.

    Parameters
    ----------
    default : the value without the option; `dataclasses.MISSING` makes it required.
    help : one sentence for the command line and the reference.
    low, high : the least and the greatest value.
    choices : the values that a text may have.
    shown_default : what help shows instead of the default.
    parse : turns the text of the command line into the value.
    any_type : Python users may give other types; whoever uses the option checks them.
    kw_only : the field is a keyword of the dataclass only.
    """
    details = {
        "help": help,
        "low": low,
        "high": high,
        "choices": choices,
        "shown_default": shown_default,
        "parse": parse,
        "any_type": any_type,
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
    """Base of all options: values are checked against their fields when it is created."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if Path in (
                hints[field.name],
                *get_args(hints[field.name]),
            ) and isinstance(value, str):
                value = Path(value)
                object.__setattr__(self, field.name, value)
            if not field.metadata["any_type"]:
                check_type(field.name, value, hints[field.name])
            check_value(field.name, value, field.metadata)


def check_type(name: str, value: Any, hint: Any) -> None:
    """Raise ToolkitError with status 2 for a value of the wrong type."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if not any(is_of_type(value, kind) for kind in kinds):
        names = " or ".join(
            TYPE_NAMES.get(kind, "several of them") for kind in kinds
        )
        raise ToolkitError(
            f"{name} is {value!r}.", f"Give {flag(name)} as {names}.", status=2
        )


TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    Path: "a path",
    type(None): "None",
}


def is_of_type(value: Any, kind: Any) -> bool:
    """Whether a value has a type; numbers of NumPy count as numbers."""
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is int:
        return isinstance(value, Integral)
    if kind is float:
        return isinstance(value, Real)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple)

    return isinstance(value, kind)


def check_value(name: str, value: Any, details: Any) -> None:
    """Raise ToolkitError with status 2 for a value that its field does not allow."""
    if value is None:
        return

    choices = details["choices"]
    if choices and value not in choices:
        remedy = (
            f"Give {flag(name)} as {', '.join(choices[:-1])} or {choices[-1]}."
        )
        raise ToolkitError(f"{name} is {value!r}.", remedy, status=2)

    low = details["low"]
    high = details["high"]
    # "not >=" rather than "<", so that NaN is refused too.
    too_low = low is not None and not value >= low
    too_high = high is not None and not value <= high
    if too_low or too_high:
        limits = f"from {low:,}" + (f" to {high:,}" if high is not None else "")
        raise ToolkitError(
            f"{name} is {value!r}.", f"Give {flag(name)} {limits}.", status=2
        )


@dataclass(frozen=True)
class ImageOptions(Options):
    """Base of the options of everything that reads images."""

    max_pixels: int = option(
        MAX_PIXELS,
        "Refuse larger images before they are decoded.",
        low=1,
        high=DECODED_AT_MOST,
        kw_only=True,
    )

    def as_dict(self) -> dict[str, Any]:
        """The options by name, as JSON values.

        Answers do not depend on the limit on the size of images, so it is left out.
        """
        values = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
        }
        del values["max_pixels"]
        return {name: plain_value(value) for name, value in values.items()}


def plain_value(value: Any) -> Any:
    """A value as JSON can hold it; Python users may give arrays and paths."""
    if isinstance(value, Path):
        return str(value)
    is_array = hasattr(value, "shape") and value.shape != ()
    if is_array:
        return f"an array {value.shape}, SHA-256 {hashlib.sha256(value.tobytes()).hexdigest()}"
    return value.item() if hasattr(value, "item") else value


def two_numbers(text: str, between: str) -> tuple[int, int]:
    """Two positive numbers in a text, or one that stands for both.

    >>> two_numbers("320x240", "x"), two_numbers("256", "x")
    ((320, 240), (256, 256))
    """
    parts = text.split(between)
    are_numbers = all(
        part.isdecimal() and 0 < int(part) <= 8192 for part in parts
    )
    if len(parts) > 2 or not are_numbers:
        reason = f"{text!r} is not two numbers, 1 to 8192, with {between!r} between them."
        raise ToolkitError(reason, f"Write 1{between}4, say.", 2)
    return int(parts[0]), int(parts[-1])


def parse_shard(text: str) -> tuple[int, int]:
    """I and N of `--shard I/N`."""
    index, count = two_numbers(text, "/")
    if "/" not in text or index > count:
        raise ToolkitError(
            f"There is no shard {text}.",
            "Give --shard I/N with I from 1 to N.",
            2,
        )
    return index, count


# --- options of the commands


@dataclass(frozen=True)
class CheckpointOptions(Options):
    """Which network answers."""

    checkpoint: str | None = option(
        None,
        "ONNX file of a network to use instead of the shipped one.",
        kw_only=True,
    )

    def __post_init__(self) -> None:
        if isinstance(self.checkpoint, Path):
            object.__setattr__(self, "checkpoint", str(self.checkpoint))
        super().__post_init__()


@dataclass(frozen=True)
class MethodsOptions(Options):
    """Which methods answer."""

    method: tuple[str, ...] = option(
        (),
        "Name of a method, or one of your own: module:Class or FILE.py:Class; may be repeated.",
        shown_default="all",
        kw_only=True,
    )


@dataclass(frozen=True)
class RunOptions(Options):
    """How a run over many inputs goes, whatever is done with each."""

    out: Path = option(
        dataclasses.MISSING,
        "Folder for the results, a subfolder for each input.",
        kw_only=True,
    )
    workers: int = option(
        1,
        "Number of processes, each on one thread.",
        low=1,
        high=MOST_WORKERS,
        kw_only=True,
    )
    resume: bool = option(
        False,
        "Keep answers that an earlier run gave to the same inputs.",
        kw_only=True,
    )
    json: bool = option(
        False,
        "Print JSON records instead of a table, on a terminal too.",
        kw_only=True,
    )


@dataclass(frozen=True)
class PredictOptions(CheckpointOptions, RunOptions):
    """How a run of predictions over many inputs goes."""

    method: str | None = option(
        None,
        "Name of the method, or one of your own: module:Class or FILE.py:Class.",
        shown_default="the network",
        kw_only=True,
    )
    shard: tuple[int, int] | None = option(
        None,
        "I/N: answer only the I-th of N shards of the inputs; then `toolkit merge OUT`.",
        parse=parse_shard,
        kw_only=True,
    )
    time_limit: float = option(
        3600.0,
        "Seconds that the network may take for one input, before it fails.",
        low=0.001,
        high=1e7,
        kw_only=True,
    )


@dataclass(frozen=True)
class SampleOptions(Options):
    """Which samples, and how many."""

    data: str = option("builtin", "Where samples come from.", kw_only=True)
    samples: int = option(
        20, "Number of samples, at most.", low=1, high=1_000_000, kw_only=True
    )
    seed: int = option(
        7,
        "Random seed: the same seed gives the same samples.",
        low=0,
        high=LARGEST_SEED,
        kw_only=True,
    )


@dataclass(frozen=True)
class EvaluateOptions(MethodsOptions, CheckpointOptions, SampleOptions):
    """How methods are scored."""

    json: bool = option(
        False, "Print one JSON object instead of a table.", kw_only=True
    )


@dataclass(frozen=True)
class ShowOptions(MethodsOptions, CheckpointOptions):
    """What is drawn, and where."""

    data: str = option("builtin", "Where the sample comes from.", kw_only=True)
    seed: int | None = option(
        None,
        "Random seed of the sample.",
        low=0,
        high=LARGEST_SEED,
        shown_default="one that shows a typical answer of the network",
        kw_only=True,
    )
    out: Path | None = option(
        None, "PNG file to write.", shown_default="TASK.png", kw_only=True
    )

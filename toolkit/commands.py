"""Make commands of options dataclasses: the only place that knows how click shows an option.

Nothing heavy is imported here, so that `--help` answers at once.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import click

from hvd.toolkit.options import flag

# Unreadable paths are accepted here: each fails alone when it is read.
PATH = click.Path(path_type=Path, readable=False)


def command(
    group: click.Group,
    name: str,
    *kinds: type,
    arguments: tuple[click.Argument, ...] = (),
    help: str | None = None,
) -> Callable[[Callable], Callable]:
    """Decorate a function to make it a command of a group.

    The fields of `kinds` become the options of the command. The function is called with an instance
    of each kind, and with the values of the arguments by name.
    """

    def decorate(function: Callable) -> Callable:
        group.add_command(
            make_command(
                name, function, kinds, arguments, help or function.__doc__
            )
        )
        return function

    return decorate


def make_command(
    name: str,
    function: Callable,
    kinds: tuple[type, ...],
    arguments: tuple[click.Argument, ...] = (),
    help: str | None = None,
    notes: dict[str, str] | None = None,
) -> click.Command:
    """A command whose options are the fields of `kinds`; `notes` replaces the help of some."""

    def call(**values: Any) -> Any:
        by_name = {
            argument.name: values.pop(argument.name) for argument in arguments
        }
        options = []
        for kind in kinds:
            names = [field.name for field in dataclasses.fields(kind)]
            options.append(kind(**{name: values[name] for name in names}))
        return function(*options, **by_name)

    params: list[click.Parameter] = [*arguments]
    for kind in kinds:
        for field in dataclasses.fields(kind):
            params.append(click_option(kind, field, notes or {}))

    return click.Command(name, callback=call, params=params, help=help)


def click_option(
    kind: type, field: dataclasses.Field, notes: dict[str, str]
) -> click.Option:
    """The option of the command line for a field."""
    details = field.metadata
    hint = get_type_hints(kind)[field.name]
    is_required = field.default is dataclasses.MISSING
    is_sequence = get_origin(hint) is tuple and get_args(hint)[1:] == (...,)
    shown_default = details["shown_default"]

    # A task may describe a shared option in its own words.
    help = notes.get(field.name, details["help"])
    if shown_default:
        help += f"  [default: {shown_default}]"
    # click shows the others by itself.
    has_own_default = (
        shown_default
        or is_required
        or field.default in (None, ())
        or hint is bool
    )
    settings: dict[str, Any] = {
        "help": help,
        "required": is_required,
        "multiple": is_sequence and not details["parse"],
        "show_default": not has_own_default,
    }

    if hint is bool:
        return click.Option(
            [flag(field.name), field.name], is_flag=True, **settings
        )
    if not is_required:
        settings["default"] = field.default
    return click.Option(
        [flag(field.name), field.name],
        type=click_type(hint, details),
        **settings,
    )


def click_type(hint: Any, details: Any) -> Any:
    """The click type for the type and the limits of a field."""
    if details["parse"]:
        return Parsed(details["parse"])
    if details["choices"]:
        return click.Choice(details["choices"])

    # An option that may be None, or be repeated, has the type of its values.
    if isinstance(hint, UnionType) or get_origin(hint) is tuple:
        hint = next(
            part for part in get_args(hint) if part not in (type(None), ...)
        )

    low = details["low"]
    high = details["high"]
    has_limits = low is not None or high is not None
    if hint is int and has_limits:
        return click.IntRange(low, high)
    if hint is float and has_limits:
        return click.FloatRange(low, high)

    return PATH if hint is Path else hint


class Parsed(click.ParamType):
    """A text that a function turns into the value of an option."""

    name = "text"

    def __init__(self, parse: Callable[[str], Any]):
        self.parse = parse

    def convert(
        self,
        value: Any,
        param: Any,
        context: Any,
    ) -> Any:
        return self.parse(value) if isinstance(value, str) else value


class TaskGroup(click.Group):
    """A group with a command for each task, made when it is needed."""

    def __init__(self, make: Callable[[str], click.Command], **settings: Any):
        super().__init__(**settings)
        self.make = make

    def list_commands(self, context: click.Context) -> list[str]:
        from hvd.toolkit.registry import METHODS

        return [*METHODS]

    def get_command(
        self, context: click.Context, name: str
    ) -> click.Command | None:
        return self.make(name) if name in self.list_commands(context) else None

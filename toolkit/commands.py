"""From options dataclasses to commands: the only place that knows how click shows an option.

Nothing heavy is imported here, so that `--help` answers at once.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import click

from hvd.toolkit.options import flag

# what may not be read fails alone, when it is read
PATH = click.Path(path_type=Path, readable=False)


def command(
    group: click.Group,
    name: str,
    *kinds: type,
    arguments: tuple[click.Argument, ...] = (),
    help: str | None = None,
) -> Callable[[Callable], Callable]:
    """Make a function a command of a group.

    The options of the command are the fields of `kinds`; the function is called with the values
    of the arguments by name, and an instance of each kind.
    """

    def decorate(function: Callable) -> Callable:
        group.add_command(make_command(name, function, kinds, arguments, help or function.__doc__))
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
        given = {argument.name: values.pop(argument.name) for argument in arguments}
        options = [
            kind(**{f.name: values[f.name] for f in dataclasses.fields(kind)}) for kind in kinds
        ]
        return function(**given) if not options else function(*options, **given)

    fields = [(kind, field) for kind in kinds for field in dataclasses.fields(kind)]
    params = [click_option(kind, field, notes or {}) for kind, field in fields]
    return click.Command(name, callback=call, params=[*arguments, *params], help=help)


def click_option(kind: type, field: dataclasses.Field, notes: dict[str, str]) -> click.Option:
    """The option of the command line that a field makes."""
    details = field.metadata
    hint = get_type_hints(kind)[field.name]
    required = field.default is dataclasses.MISSING
    shown = details["shown_default"]
    several = get_origin(hint) is tuple and get_args(hint)[1:] == (...,) and not details["parse"]

    help = notes.get(field.name, details["help"])
    if shown:
        help += f"  [default: {shown}]"
    settings: dict[str, Any] = {
        "help": help,
        "required": required,
        "multiple": several,
        "show_default": not (shown or required or field.default in (None, ()) or hint is bool),
    }
    if hint is bool:
        return click.Option([flag(field.name), field.name], is_flag=True, **settings)
    if not required:
        settings["default"] = field.default

    return click.Option([flag(field.name), field.name], type=click_type(hint, details), **settings)


def click_type(hint: Any, details: Any) -> Any:
    """The type of click for the type and the limits of a field."""
    if details["parse"]:
        return Parsed(details["parse"])
    if details["choices"]:
        return click.Choice(details["choices"])

    plain = [part for part in get_args(hint) if part not in (type(None), ...)] or [hint]
    if isinstance(hint, UnionType) or get_origin(hint) is tuple:
        hint = plain[0]
    low = details["low"]
    high = details["high"]
    if hint is int and (low, high) != (None, None):
        return click.IntRange(low, high)
    if hint is float and (low, high) != (None, None):
        return click.FloatRange(low, high)

    return PATH if hint is Path else hint


class Parsed(click.ParamType):
    """A text that a function turns into the value of an option."""

    name = "text"

    def __init__(self, parse: Callable[[str], Any]):
        self.parse = parse

    def convert(self, value: Any, param: Any, context: Any) -> Any:
        return self.parse(value) if isinstance(value, str) else value


class TaskGroup(click.Group):
    """Commands by task, made when they are asked for."""

    def __init__(self, make: Callable[[str], click.Command], **settings: Any):
        super().__init__(**settings)
        self.make = make

    def list_commands(self, context: click.Context) -> list[str]:
        from hvd.toolkit.registry import METHODS

        return [*METHODS]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return self.make(name) if name in self.list_commands(context) else None

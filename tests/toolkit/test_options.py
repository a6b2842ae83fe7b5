"""Options are said once: fields of dataclasses, of which commands, checks and keywords are made."""

import ast
import dataclasses
import inspect
from pathlib import Path

import click
import pytest

import hvd
from hvd.benchmarks import options as benchmarks
from hvd.data.preparation import options as preparation
from hvd.deep.training import options as training
from hvd.toolkit import options, registry
from hvd.toolkit.cli import cli
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.options import Options, flag

ROOT = Path(__file__).parents[2]
FOLDERS = ("toolkit", "data", "baselines", "deep", "benchmarks", "hvd")
WINGS = [registry.task_options(task) for task in registry.TASKS]
MODULES = [options, preparation, training, benchmarks, *WINGS]
KINDS = [
    kind
    for module in MODULES
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if issubclass(kind, Options) and kind.__module__ == module.__name__
]


def commands(command=cli, path=()):
    """Every command with its path."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from commands(command.get_command(context, name), (*path, name))


def test_an_option_s_name_stands_once_in_the_source():
    fields = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if any(part.is_symlink() for part in path.parents):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    for name in said(node):
                        fields.setdefault((path, name), []).append(node.name)
                if (
                    isinstance(node, ast.Call)
                    and "option" in ast.unparse(node.func).lower()
                ):
                    first = node.args[0] if node.args else None
                    if isinstance(first, ast.Constant) and str(
                        first.value
                    ).startswith("--"):
                        assert first.value == "--debug", (
                            f"{path} declares {first.value}"
                        )
    for kind in KINDS:
        for field in dataclasses.fields(kind):
            owners = [
                its
                for its in kind.__mro__
                if field.name in vars(its).get("__annotations__", {})
            ]
            places = [
                fields.get((Path(inspect.getfile(its)).resolve(), field.name))
                for its in owners
            ]
            assert all(places), (kind, field.name)
    for (path, name), owners in fields.items():
        assert len(set(owners)) == len(owners), (
            f"{path} says {name} twice in {owners}"
        )


def said(node):
    """The fields of a class that are made by option()."""
    for part in node.body:
        made = part.value if isinstance(part, ast.AnnAssign) else None
        if isinstance(made, ast.Call) and ast.unparse(made.func) == "option":
            yield part.target.id


def test_every_option_of_a_command_is_a_field_with_its_help():
    helps = {
        (flag(field.name), field.metadata["help"])
        for kind in KINDS
        for field in dataclasses.fields(kind)
    }
    names = {name for name, _ in helps}
    replaced = {"--data", "--method"}  # whose help names what a task has
    for path, command in commands():
        for param in command.params:
            if isinstance(param, click.Option) and param.name != "help":
                help = param.help.partition("  [default: ")[0]
                assert param.opts[0] in names, (path, param.opts)
                assert (param.opts[0], help) in helps or param.opts[
                    0
                ] in replaced, (path, help)


@pytest.mark.parametrize("task", hvd.tasks())
def test_the_command_line_and_python_use_the_same_names(task):
    wing = registry.task_options(task)
    for verb, kind in (
        ("predict", wing.InputOptions),
        ("evaluate", wing.Conditions),
    ):
        command = dict(commands())[f"{verb} {task}"]
        names = {param.name for param in command.params}
        assert {field.name for field in dataclasses.fields(kind)} <= names


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (options.EvaluateOptions, {"samples": 0}, "Give --samples from 1"),
        (
            WINGS[0].InputOptions,
            {"known": "x"},
            "Give --known as sizes, count or nothing",
        ),
        (WINGS[0].InputOptions, {"images": 0}, "Give --images from 1 to 2,000"),
        (WINGS[0].InputOptions, {"images": float("nan")}, "--images"),
        (
            WINGS[1].InputOptions,
            {"micrometres_per_pixel": -1.0},
            "--micrometres-per-pixel",
        ),
        (WINGS[3].InputOptions, {"max_pixels": 0}, "--max-pixels"),
    ],
)
def test_values_are_checked_when_options_are_made(kind, values, words):
    with pytest.raises(ToolkitError) as error:
        kind(**values)
    assert words in error.value.remedy and error.value.status == 2


@pytest.mark.parametrize("verb", ["predict", "evaluate", "show"])
def test_the_help_of_a_group_says_what_each_command_does(verb):
    context = click.Context(cli)
    group = cli.get_command(context, verb)
    helps = [
        group.get_command(context, task).get_short_help_str()
        for task in hvd.tasks()
    ]
    assert len(set(helps)) == len(helps) and all(helps)


@pytest.mark.parametrize("task", hvd.tasks())
def test_the_help_of_method_lists_their_names(task):
    for verb in ("predict", "evaluate", "show"):
        command = dict(commands())[f"{verb} {task}"]
        help = next(
            param.help for param in command.params if param.name == "method"
        )
        assert (
            all(name in help for name in hvd.methods(task))
            and "FILE.py:Class" in help
        )

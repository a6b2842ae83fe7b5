"""Every command, option, file, field, column, metric and Python name is in the reference."""

import csv
import html
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

import hvd
from hvd.toolkit import registry
from hvd.toolkit.cli import cli

ROOT = Path(__file__).parents[2]
OUTPUTS = (ROOT / "docs/reference/outputs.md").read_text()
EXAMPLES = ROOT / "docs/examples"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The documentation as HTML; a warning is an error."""
    pytest.importorskip("sphinx", reason="the site needs the extra [docs]")
    folder = tmp_path_factory.mktemp("site")
    call = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", "docs"]
    done = subprocess.run(
        [*call, str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def text_of(path):
    return html.unescape(re.sub(r"<[^>]+>", "", path.read_text()))


def commands(group, path="toolkit"):
    """Every command below a group, by the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


def test_every_command_and_option_is_in_the_reference(site):
    text = text_of(site / "reference/commands.html")
    for path, command in commands(cli):
        assert path in text
        _, _, section = text.partition(f"{path} [OPTIONS]")
        section = section.partition("[OPTIONS]")[0]
        for param in command.params:
            if isinstance(param, click.Option) and not param.hidden:
                assert param.opts[0] in section, (path, param.opts)


def test_every_python_name_is_in_the_reference(site):
    text = text_of(site / "reference/python.html")
    for name in hvd.__all__:
        assert f"hvd.{name}" in text or f"{name}(" in text, name
    for task in registry.TASKS:
        record = registry.task(task)
        for metric in record.metrics:
            assert documented(metric.name), metric.name
        for kind in (record.inputs, record.prediction):
            assert kind.__name__ in text, kind


def section_of(title):
    """The part of the page of outputs below a heading."""
    return OUTPUTS.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def documented(name, task=None):
    """Whether the section of a task, or one about all tasks, explains a name."""
    titles = ["Files of every run", "Fields of every record", f"`{task}`"]
    text = "".join(map(section_of, titles)) if task else OUTPUTS
    return f"`{name}`" in text


def names_in(record):
    """The names of all fields of a record, nested ones too; not those of classes."""
    for name, value in record.items():
        yield name
        if isinstance(value, dict) and name != "fractions":
            yield from names_in(value)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """A folder of results for each task, with every file that `predict` may write."""
    folder = tmp_path_factory.mktemp("answers")
    two = folder / "two"
    for k, path in enumerate(sorted((EXAMPLES / "micrographs").iterdir())):
        (two / f"batch-{k}").mkdir(parents=True)
        (two / f"batch-{k}" / path.name).write_bytes(path.read_bytes())
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    Image.fromarray(noise).save(folder / "no-scale.png")

    calls = {
        "fragments": [EXAMPLES / "heap", "--images", "4"],
        "grains": [two, folder / "no-scale.png", ROOT / "README.md"],
        "lines": [EXAMPLES / "scans.npy", "--uncertainty"],
        "objects": [EXAMPLES / "scene.png", "--classes", "star"],
    }
    for task, arguments in calls.items():
        command = ["predict", task, *map(str, arguments)]
        out = ["--out", str(folder / task), "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "hvd.toolkit", *command, *out],
            capture_output=True,
            text=True,
        )
        assert done.returncode in (0, 1), done.stderr
        (folder / f"{task}.jsonl").write_text(done.stdout)
    return folder


@pytest.mark.parametrize("task", registry.TASKS)
def test_every_field_of_a_record_is_in_the_reference(answers, task):
    lines = (answers / f"{task}.jsonl").read_text().splitlines()
    for line in lines:
        for name in names_in(json.loads(line)):
            assert documented(name, task), name


@pytest.mark.parametrize("task", registry.TASKS)
def test_every_file_is_in_the_reference(answers, task):
    for path in (answers / task).rglob("*"):
        if path.is_file():
            name = re.sub(
                r"^(steel-\d|no-scale|scans)(?=[-_])", "NAME", path.name
            )
            name = re.sub(r"photograph-\d\d", "photograph-00", name)
            assert documented(name, task) or path.name.startswith("."), path


TABLES = (
    "groups.csv",
    "-grains.csv",
    "-chords.csv",
    "specimens.csv",
    "batches.csv",
)


@pytest.mark.parametrize("name", TABLES)
def test_every_column_of_a_table_is_in_the_reference(answers, name):
    (path, *_) = sorted(answers.rglob(f"*{name}"))
    with open(path) as file:
        for column in next(csv.reader(file)):
            assert documented(column) or documented(
                column.replace("px", "um")
            ), column

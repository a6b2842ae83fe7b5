"""Every command in README and tutorials runs, and prints what the page shows.

`python -m tests.docs.test_tutorials` runs them and writes what they print into the pages.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs/tutorials").glob("*.md"))]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ESCAPES = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


def examples(text):
    """The commands of a page, each with the output that the page shows."""
    for block in BLOCK.findall(text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def output_of(command, folder):
    """What a command prints on a terminal; fails unless its exit status is 0."""
    pty = pytest.importorskip("pty", reason="a terminal is needed")
    ours, theirs = pty.openpty()
    environment = os.environ | {
        "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }
    process = subprocess.Popen(
        command,
        shell=True,
        cwd=folder,
        env=environment,
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)

    parts = []
    try:
        while data := os.read(ours, 65536):
            parts.append(data)
    except OSError:
        pass  # how Linux says that the other end was closed
    os.close(ours)

    errors = process.stderr.read().decode()
    assert process.wait() == 0, f"{command}: {errors}"
    text = ESCAPES.sub("", b"".join(parts).decode()).replace("\r\n", "\n")
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def without_numbers(text):
    """The words of a text: numbers differ a little from machine to machine."""
    return re.sub(r"-?\d+(\.\d+)?", "#", text).split()


def folder_with_examples(folder):
    """A folder in which the commands find their inputs."""
    shutil.copytree(ROOT / "docs/examples", Path(folder, "docs/examples"))
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_a_page_print_what_it_shows(page, tmp_path):
    folder = folder_with_examples(tmp_path)
    text = page.read_text()
    if "toolkit train" in text:
        pytest.importorskip("torch", reason="training needs the extra [train]")
    commands = list(examples(text))
    assert commands
    for command, shown in commands:
        printed = output_of(command, folder)
        assert without_numbers(printed) == without_numbers(shown), command

    reference = (ROOT / "docs/reference/outputs.md").read_text()
    for made in ("prepared", "runs/mine"):
        for path in (folder / made).glob("*"):
            assert f"`{path.name}" in reference, path


def rewrite(page):
    """Write what the commands of a page print into the page."""
    text = page.read_text()
    with tempfile.TemporaryDirectory() as folder:
        folder_with_examples(folder)
        for command, shown in examples(text):
            before = f"$ {command}\n{shown}"
            after = f"$ {command}\n{output_of(command, folder)}"
            text = text.replace(before, after)
    page.write_text(text)


if __name__ == "__main__":
    for path in [Path(name) for name in sys.argv[1:]] or PAGES:
        rewrite(path)

"""A method of one's own: the page of the documentation that writes one is run."""

import hashlib
import json
import re
import shlex
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from hvd.toolkit.images import write_png
from hvd.toolkit.tasks.lines.masks import TASK_MASK

PAGE = (Path(__file__).parents[2] / "docs/howto/own-method.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.S)
COMMANDS = [
    line
    for block in re.findall(r"```\n(toolkit.*?)```", PAGE, re.S)
    for line in block.splitlines()
]


@pytest.fixture
def place(tmp_path, heads):
    """A folder with the method of the page, and scans."""
    (tmp_path / "mean.py").write_text(PYTHON[0])
    np.save(
        tmp_path / "scans.npy", np.where(TASK_MASK, 0, heads).astype(np.float32)
    )
    return tmp_path


def toolkit(place, *arguments):
    command = [sys.executable, "-m", "hvd.toolkit", *map(str, arguments)]
    return subprocess.run(command, cwd=place, capture_output=True, text=True)


def test_the_method_has_at_most_fifteen_lines():
    assert len([line for line in PYTHON[0].splitlines() if line.strip()]) <= 15


@pytest.mark.parametrize(
    "command", COMMANDS, ids=lambda command: command.split()[1]
)
def test_the_commands_of_the_page_run(place, command):
    done = toolkit(place, *shlex.split(command)[1:])
    assert done.returncode == 0, done.stderr
    verb = command.split()[1]
    if verb in ("evaluate", "benchmark"):
        assert "mean.py:Mean" in done.stdout
    if verb == "show":
        assert (place / "lines.png").exists()
    if verb == "predict":
        record = json.loads(done.stdout)
        filled = (
            np.load(place / "filled/scans_nogaps.npy")
            if record["status"] != "ok"
            else None
        )
        assert record["method"] == "mean.py:Mean" and filled is None


def test_the_python_of_the_page_runs(place):
    done = subprocess.run(
        [sys.executable, "-c", PYTHON[1]],
        cwd=place,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    scores = dict(line.split() for line in done.stdout.splitlines())
    assert set(scores) == {"mean", "linear"} and 5 < float(scores["mean"]) < 30


def test_workers_load_it_and_it_answers_alike(place):
    for workers in (1, 2):
        out = place / f"out{workers}"
        call = (
            "predict",
            "lines",
            "scans.npy",
            "--method",
            "mean.py:Mean",
            "--out",
            out,
        )
        done = toolkit(place, *call, "--workers", workers)
        assert done.returncode == 0, done.stderr
    one, two = (
        np.load(place / f"out{n}/scans/scans_nogaps.npy") for n in (1, 2)
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", ["mean.py:Mean", "mean:Mean"])
def test_a_method_that_was_changed_answers_anew(place, name):
    call = (
        "predict",
        "lines",
        "scans.npy",
        "--method",
        name,
        "--out",
        "out",
        "--resume",
    )
    assert toolkit(place, *call).returncode == 0
    before = np.load(place / "out/scans/scans_nogaps.npy")
    text = (place / "mean.py").read_text()
    (place / "mean.py").write_text(
        text.replace("mean, inputs.images)", "0.25, inputs.images)")
    )
    assert toolkit(place, *call).returncode == 0
    after = np.load(place / "out/scans/scans_nogaps.npy")
    assert (before != after).any() and (after[:, TASK_MASK] == 0.25).all()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("mean.py:Other", None, "no class 'Other'"),
        ("nowhere.py:Mean", None, "There is no nowhere.py"),
        ("nowhere:Mean", None, "cannot be loaded"),
        ("mean.py:np", None, "no class 'np'"),
        ("mean.py:Mean", "class Mean(:\n", "SyntaxError"),
        ("mean.py:Mean", "import nowhere\n", "nowhere"),
        ("mean.py:Mean", "class Mean:\n    pass\n", "predict"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_a_sentence(
    place, name, text, words
):
    if text:
        (place / "mean.py").write_text(text)
    done = toolkit(
        place, "predict", "lines", "scans.npy", "--method", name, "--out", "out"
    )
    assert (
        done.returncode == 2
        and words in done.stderr
        and not (place / "out").exists()
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return inputs.images", "returned ndarray, not Filled"),
        ("return Filled(inputs.images[:, :3])", "have the shape (12, 3, 64)"),
        ("return 1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_method_that_is_wrong_fails_the_input_and_is_named(
    place, body, words
):
    text = "from hvd.toolkit.tasks.lines import Filled\n"
    text += "class Mean:\n    def predict(self, inputs):\n"
    (place / "mean.py").write_text(f"{text}        {body}\n")
    done = toolkit(
        place,
        "predict",
        "lines",
        "scans.npy",
        "--method",
        "mean.py:Mean",
        "--out",
        "out",
    )
    record = json.loads(done.stdout)
    assert (
        done.returncode == 1
        and record["status"] == "failed"
        and words in record["reason"]
    )
    assert "fault of the toolkit" not in record["remedy"]


NETWORK = """
from dataclasses import dataclass
from hvd.deep.objects import Network
from hvd.toolkit.network import NetworkMethod


@dataclass(frozen=True)
class Mine(Network):
    pass
"""


def test_workers_ask_the_network_that_was_named(tmp_path):
    (tmp_path / "net.py").write_text(NETWORK)
    for k in range(3):
        write_png(
            tmp_path / "in" / f"{k}.png", np.full((16, 16, 3), 40 * k, np.uint8)
        )
    network = files("hvd.checkpoints").joinpath("objects-person.onnx")
    (tmp_path / "mine.onnx").write_bytes(network.read_bytes())
    result = []
    for workers in (1, 2):
        call = (
            "predict",
            "objects",
            "in",
            "--out",
            f"out{workers}",
            "--method",
            "net.py:Mine",
        )
        done = toolkit(
            tmp_path, *call, "--checkpoint", "mine.onnx", "--workers", workers
        )
        assert done.returncode == 0, done.stderr
        result.append(
            {
                json.loads(line)["checkpoint"]
                for line in done.stdout.splitlines()
            }
        )
    assert (
        result[0]
        == result[1]
        == {hashlib.sha256(network.read_bytes()).hexdigest()}
    )


@pytest.mark.parametrize("verb", ["evaluate", "show", "predict"])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise KeyError('boom')", "boom"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("return 5", "int"),
    ],
)
def test_what_a_method_does_wrong_is_not_called_a_fault_of_the_toolkit(
    place, verb, body, words
):
    (place / "mean.py").write_text(
        f"class Mean:\n    def predict(self, inputs):\n        {body}\n"
    )
    where = ("scans.npy", "--out", "out") if verb == "predict" else ()
    samples = ("--samples", "1") if verb == "evaluate" else ()
    done = toolkit(
        place, verb, "lines", *where, *samples, "--method", "mean.py:Mean"
    )
    said = done.stdout + done.stderr
    assert (
        done.returncode != 0
        and words in said
        and "fault of the toolkit" not in said
    )


def test_what_a_method_prints_does_not_mix_with_the_records(place):
    text = (
        (place / "mean.py")
        .read_text()
        .replace("        total =", "        print('hello')\n        total =")
    )
    (place / "mean.py").write_text(text)
    call = (
        "predict",
        "lines",
        "scans.npy",
        "--method",
        "mean.py:Mean",
        "--out",
        "out",
    )
    for more in ((), ("--workers", "2")):
        done = toolkit(place, *call, *more)
        assert (
            json.loads(done.stdout)["status"] == "ok" and "hello" in done.stderr
        )
    done = toolkit(
        place,
        "evaluate",
        "lines",
        "--samples",
        1,
        "--json",
        "--method",
        "mean.py:Mean",
    )
    assert json.loads(done.stdout)["samples"] == 1


def test_a_method_whose_fields_have_no_default_is_refused(place):
    text = "class Mean:\n    def __init__(self, level):\n        pass\n"
    text += "    def predict(self, inputs):\n        pass\n"
    (place / "mean.py").write_text(text)
    done = toolkit(
        place, "evaluate", "lines", "--samples", 1, "--method", "mean.py:Mean"
    )
    assert done.returncode == 2 and "default" in done.stderr

"""What the README promises of files that somebody else made; docs/trust.md tells of each kind of bad input."""

import json
import pickle
import socket
import subprocess
import sys

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from hvd.toolkit import registry
from hvd.toolkit.cli import cli


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments], standalone_mode=False)


@pytest.fixture
def pictures(tmp_path):
    """Ten small pictures."""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for k in range(10):
        cv2.imwrite(str(tmp_path / "in" / f"{k}.png"), rng.integers(0, 256, (16, 20, 3), np.uint8))
    return tmp_path / "in"


def test_predict_and_evaluate_never_open_the_network(pictures, tmp_path, monkeypatch):
    def refused(*arguments, **others):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "__init__", refused)
    monkeypatch.setattr(socket, "create_connection", refused)
    assert run("predict", "objects", pictures, "--out", tmp_path / "out").return_value == 0
    for task in registry.TASKS:
        assert run("evaluate", task, "--samples", 1, "--method", "deep").exception is None


def test_nothing_is_ever_unpickled(pictures, tmp_path, monkeypatch):
    def refused(*arguments, **others):
        raise AssertionError("something was unpickled")

    for task in registry.TASKS:
        assert run("evaluate", task, "--samples", 1).exception is None  # imports all that it needs
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refused)
    for task in registry.TASKS:
        assert run("evaluate", task, "--samples", 1).exception is None
    assert run("predict", "objects", pictures, "--out", tmp_path / "out").return_value == 0


@pytest.mark.parametrize("task", registry.TASKS)
def test_the_same_seed_gives_the_same_numbers(task):
    call = ("evaluate", task, "--samples", 2, "--method", "deep", "--method", "baseline", "--json")
    first, second = (json.loads(run(*call).stdout) for _ in range(2))
    scores = [
        {m: its["metrics"] for m, its in found["methods"].items()} for found in (first, second)
    ]
    assert scores[0] == scores[1]


def test_a_fault_of_ours_fails_one_input_and_its_place_is_shown_when_asked_for(
    pictures, tmp_path, monkeypatch
):
    method = type(registry.method("objects", "trivial"))
    whole = method.predict

    def faulty(self, inputs):
        if inputs.image[0, 0, 0] == first:
            raise IndexError("out of range")
        return whole(self, inputs)

    first = cv2.imread(str(pictures / "3.png"))[0, 0, 2]
    monkeypatch.setattr(method, "predict", faulty)
    monkeypatch.delenv("TOOLKIT_DEBUG", raising=False)
    result = run("predict", "objects", pictures, "--out", tmp_path / "out", "--method", "trivial")
    failed = [r for r in map(json.loads, result.stdout.splitlines()) if r["status"] == "failed"]
    assert (
        result.return_value == 1
        and len(failed) == 1
        and failed[0]["reason"] == "IndexError: out of range."
    )
    assert "--debug" in failed[0]["remedy"]
    monkeypatch.setenv("TOOLKIT_DEBUG", "1")
    assert isinstance(
        run(
            "predict", "objects", pictures, "--out", tmp_path / "again", "--method", "trivial"
        ).exception,
        IndexError,
    )


def peak(*arguments):
    """How many records a command leaves, and its peak memory in megabytes, in a process of its own."""
    script = (
        "import sys; from hvd.toolkit.cli import cli; from hvd.benchmarks.machine import own_peak_megabytes;"
        "cli.main(sys.argv[1:], standalone_mode=False);"
        "print(own_peak_megabytes(), file=sys.stderr)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True
    )
    return len(found.stdout.splitlines()), float(found.stderr.split()[-1])


def test_memory_does_not_grow_with_the_number_of_inputs(tmp_path):
    image = cv2.imencode(".png", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    peaks = []
    for count in (50, 1000):
        folder = tmp_path / str(count)
        folder.mkdir()
        for k in range(count):
            (folder / f"{k:05d}.png").write_bytes(image)
        records, megabytes = peak(
            "predict", "objects", folder, "--out", tmp_path / f"out{count}", "--method", "trivial"
        )
        assert records == count
        peaks.append(megabytes)
    assert peaks[1] < peaks[0] + 16, peaks  # megabytes


def stored(folder, task):
    """An input of some size, and what predicting it may take at most, in megabytes, by the formulas of docs/use.md."""
    rng = np.random.default_rng(0)
    if task == "fragments":
        np.save(folder / "in.npy", rng.integers(0, 256, (400, 16, 16, 3), np.uint8))
        return folder / "in.npy", 250 + 400**2 / 1800
    if task == "lines":
        stack = rng.random((250, 64, 64), np.float32)
        stack[:, ::2] = 0
        np.save(folder / "in.npy", stack)
        return folder / "in.npy", 350 + 50 * stack.size / 1e6
    cv2.imwrite(
        str(folder / "in.png"),
        cv2.resize(rng.integers(0, 256, (128, 128, 3), np.uint8), (1024, 1024)),
    )
    return folder / "in.png", 200 + 400 * 1024**2 / 1e6


@pytest.mark.parametrize("task", registry.TASKS)
def test_memory_follows_its_formula(task, tmp_path):
    place, most = stored(tmp_path, task)
    options = ["--images", "25"] if task == "fragments" else []
    records, megabytes = peak("predict", task, place, "--out", tmp_path / "out", *options)
    assert records == 1 and megabytes < most

"""What the README promises of files that somebody else made."""

import json
import os
import pickle
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from hvd.toolkit import registry
from hvd.toolkit.cli import cli
from tests.hostile.syscalls import can_forbid, forbid_internet


def run(*arguments):
    return CliRunner().invoke(
        cli, [str(a) for a in arguments], standalone_mode=False
    )


@pytest.fixture
def pictures(tmp_path):
    """Ten small pictures."""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for k in range(10):
        cv2.imwrite(
            str(tmp_path / "in" / f"{k}.png"),
            rng.integers(0, 256, (16, 20, 3), np.uint8),
        )
    return tmp_path / "in"


needs_filter = pytest.mark.skipif(
    not can_forbid(), reason="looks at system calls of Linux"
)


def watched(arguments, home, seconds=None):
    """Run Python with a home of its own, dead at its first internet socket; its exit status."""
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "TMPDIR": str(home / "tmp"),
    }
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, *map(str, arguments)]
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=forbid_internet,
        cwd=home,
    )
    _, err = process.communicate(timeout=300)
    return process.returncode, err.decode()


@needs_filter
def test_a_process_that_opens_a_socket_is_killed(tmp_path):
    for family in ("AF_INET", "AF_INET6"):
        script = f"import socket; socket.socket(socket.{family})"
        assert watched(["-c", script], tmp_path)[0] == -signal.SIGSYS
    assert (
        watched(
            ["-c", "import socket; socket.socket(socket.AF_UNIX)"], tmp_path
        )[0]
        == 0
    )


@needs_filter
@pytest.mark.parametrize(
    "call",
    [
        ("predict", "objects", "IN", "--out", "OUT"),
        ("predict", "objects", "IN", "--out", "OUT", "--workers", 2),
        *(
            ("evaluate", task, "--samples", 1, "--method", "deep")
            for task in registry.TASKS
        ),
        ("show", "lines", "--out", "OUT.png"),
        ("models", "verify"),
    ],
    ids=lambda call: " ".join(map(str, call[:2] + call[6:])),
)
def test_no_command_opens_the_network_or_writes_at_home(
    call, pictures, tmp_path
):
    places = {
        "IN": pictures,
        "OUT": tmp_path / "out",
        "OUT.png": tmp_path / "out.png",
    }
    home = tmp_path / "home"
    arguments = [places.get(part, part) for part in call]
    status, err = watched(["-m", "hvd.toolkit", *arguments], home)
    assert status == 0, err
    left = [
        str(path.relative_to(home))
        for path in home.rglob("*")
        if path.is_file()
    ]
    assert not [path for path in left if "matplotlib" not in path], left


# seconds after which onnxruntime would have looked for the collector of its telemetry
LONG = 13


@needs_filter
def test_a_network_that_works_for_long_opens_no_socket(tmp_path):
    script = f"""if True:
        import time
        import numpy as np
        import hvd
        began = time.monotonic()
        while time.monotonic() - began < {LONG}:
            hvd.predict("objects", np.zeros((256, 256, 3), np.uint8))
    """
    assert watched(["-c", script], tmp_path)[0] == 0


def test_importing_hvd_and_predicting_leave_the_environment_alone():
    script = """if True:
        import os, sys
        before = dict(os.environ)
        import hvd
        assert "onnxruntime" not in sys.modules and os.environ == before
        hvd.evaluate("objects", samples=1, method="deep")
        assert "onnxruntime" in sys.modules and "ORT_DISABLE_TELEMETRY" not in os.environ
    """
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@pytest.mark.parametrize(("setting", "warned"), [("", True), ("1", False)])
def test_onnxruntime_imported_first_with_telemetry_is_reported(setting, warned):
    script = f"""if True:
        import os, warnings
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # of this test alone: it sends nothing
        import onnxruntime
        os.environ["ORT_DISABLE_TELEMETRY"] = "{setting}"
        import hvd
        from hvd.toolkit.doctor import telemetry
        with warnings.catch_warnings(record=True) as told:
            assert bool(telemetry().remedy) == {warned}
            hvd.evaluate("objects", samples=1, method="deep")
        assert any("telemetry" in str(one.message) for one in told) == {warned}, told
    """
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_nothing_is_ever_unpickled(pictures, tmp_path, monkeypatch):
    def refused(*arguments, **others):
        raise AssertionError("something was unpickled")

    for task in registry.TASKS:
        # Imports all that it needs
        assert run("evaluate", task, "--samples", 1).exception is None
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refused)
    for task in registry.TASKS:
        assert run("evaluate", task, "--samples", 1).exception is None
    assert (
        run(
            "predict", "objects", pictures, "--out", tmp_path / "out"
        ).return_value
        == 0
    )


@pytest.mark.parametrize("task", registry.TASKS)
def test_the_same_seed_gives_the_same_numbers(task):
    call = (
        "evaluate",
        task,
        "--samples",
        2,
        "--method",
        "deep",
        "--method",
        "baseline",
        "--json",
    )
    first, second = (json.loads(run(*call).stdout) for _ in range(2))
    scores = [
        {m: its["metrics"] for m, its in outcome["methods"].items()}
        for outcome in (first, second)
    ]
    assert scores[0] == scores[1]


def test_a_fault_of_ours_fails_one_input_and_its_place_is_shown_when_asked_for(
    pictures, tmp_path, monkeypatch
):
    method = type(registry.method("objects", "trivial"))
    complete = method.predict

    def faulty(self, inputs):
        if inputs.image[0, 0, 0] == first:
            raise IndexError("out of range")
        return complete(self, inputs)

    first = cv2.imread(str(pictures / "3.png"))[0, 0, 2]
    monkeypatch.setattr(method, "predict", faulty)
    monkeypatch.delenv("TOOLKIT_DEBUG", raising=False)
    result = run(
        "predict",
        "objects",
        pictures,
        "--out",
        tmp_path / "out",
        "--method",
        "trivial",
    )
    failed = [
        r
        for r in map(json.loads, result.stdout.splitlines())
        if r["status"] == "failed"
    ]
    assert (
        result.return_value == 1
        and len(failed) == 1
        and failed[0]["reason"] == "IndexError: out of range."
    )
    assert "--debug" in failed[0]["remedy"]
    monkeypatch.setenv("TOOLKIT_DEBUG", "1")
    assert isinstance(
        run(
            "predict",
            "objects",
            pictures,
            "--out",
            tmp_path / "again",
            "--method",
            "trivial",
        ).exception,
        IndexError,
    )


def peak(*arguments):
    """How many records a command leaves, and the peak memory of its process in megabytes."""
    script = (
        "import sys; from hvd.toolkit.cli import cli;"
        "from hvd.benchmarks.machine import own_peak_megabytes;"
        "cli.main(sys.argv[1:], standalone_mode=False);"
        "print(own_peak_megabytes(), file=sys.stderr)"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    return len(outcome.stdout.splitlines()), float(outcome.stderr.split()[-1])


def test_memory_does_not_grow_with_the_number_of_inputs(tmp_path):
    image = cv2.imencode(".png", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    peaks = []
    for count in (50, 1000):
        folder = tmp_path / str(count)
        folder.mkdir()
        for k in range(count):
            (folder / f"{k:05d}.png").write_bytes(image)
        records, megabytes = peak(
            "predict",
            "objects",
            folder,
            "--out",
            tmp_path / f"out{count}",
            "--method",
            "trivial",
        )
        assert records == count
        peaks.append(megabytes)
    assert peaks[1] < peaks[0] + 16, peaks  # megabytes


def stored(folder, task, corner=False):
    """An input of some size, or at a corner of what is allowed, and what predicting it may take at
    most, in megabytes, by the formulas of docs/howto/many-inputs.md."""
    rng = np.random.default_rng(0)
    if corner and task == "fragments":
        np.save(
            folder / "in.npy", rng.integers(0, 256, (50, 256, 256, 3), np.uint8)
        )
        return folder / "in.npy", 250 + 50**2 / 1800 + 700 * 50 * 256**2 / 1e6
    if corner and task in ("grains", "objects"):
        wide = cv2.resize(
            rng.integers(0, 256, (4, 12_000), np.uint8), (60_000, 32)
        )
        cv2.imwrite(str(folder / "in.png"), wide)
        return folder / "in.png", formula(task, wide.size / 1e6)
    if task == "fragments":
        np.save(
            folder / "in.npy", rng.integers(0, 256, (400, 16, 16, 3), np.uint8)
        )
        return folder / "in.npy", 250 + 400**2 / 1800 + 700 * 400 * 16**2 / 1e6
    if task == "lines":
        stack = rng.random((250, 64, 64), np.float32)
        stack[:, ::2] = 0
        np.save(folder / "in.npy", stack)
        return folder / "in.npy", 350 + 50 * stack.size / 1e6
    cv2.imwrite(
        str(folder / "in.png"),
        cv2.resize(rng.integers(0, 256, (128, 128, 3), np.uint8), (1024, 1024)),
    )
    return folder / "in.png", formula(task, 1024**2 / 1e6)


def formula(task, megapixels):
    """The most megabytes that answering a picture takes."""
    if task == "grains":
        return 350 + 350 * megapixels
    return 200 + 400 * megapixels


@pytest.mark.parametrize("corner", [False, True])
@pytest.mark.parametrize("task", registry.TASKS)
def test_memory_follows_its_formula(task, corner, tmp_path):
    place, most = stored(tmp_path, task, corner)
    options = ["--images", "25"] if task == "fragments" else []
    records, megabytes = peak(
        "predict", task, place, "--out", tmp_path / "out", *options
    )
    assert records == 1 and megabytes < most

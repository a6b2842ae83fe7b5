"""Folders, links, unwritable outputs, interrupted processes, arrays and archives."""

import ctypes
import io
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hvd.toolkit import registry, tables
from hvd.toolkit.images import image_files
from hvd.toolkit.outputs import to_json
from tests.hostile.child import toolkit
from tests.hostile.rows import row
from tests.hostile.test_images import coded, tiff

PREDICT = "predict", "objects", "in", "--out", "out", "--method", "trivial"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).write_bytes(coded(".png"))
    return tmp_path


def statuses(ended):
    return {record["input"]: record["status"] for record in ended.records}


@row(
    "input named `-x.png`",
    "answered after `--`; a folder that holds it needs nothing",
)
def test_leading_dash(place):
    (place / "-x.png").write_bytes(coded(".png"))
    ended = toolkit(
        "predict",
        "objects",
        "--out",
        "out",
        "--method",
        "trivial",
        "--",
        "-x.png",
        cwd=place,
    )
    assert ended.status == 0 and statuses(ended) == {"-x.png": "ok"}


@row(
    "links: a loop, a dangling one, one out of the folder",
    "passed over, each with a record",
)
def test_links(place):
    for name, to in (
        ("loop", "."),
        ("dangling.png", "nowhere"),
        ("out.png", "/etc/passwd"),
    ):
        (place / "in" / name).symlink_to(to)
    ended = toolkit(*PREDICT, cwd=place)
    assert (
        ended.status == 0
        and sum(status == "skipped" for status in statuses(ended).values()) == 3
    )


@row(
    "FIFO or socket in the folder",
    "passed over, with a record; nothing waits for it",
)
def test_fifo(place):
    os.mkfifo(place / "in/pipe.png")
    ended = toolkit(*PREDICT, cwd=place)
    assert ended.status == 0 and statuses(ended)["in/pipe.png"] == "skipped"


@row(
    "40,000 names in a folder",
    "walked, not listed: memory of the walk stays below 8 MB",
)
def test_many_names(tmp_path):
    for k in range(40_000):
        (tmp_path / f"{k:05d}.png").touch()
    tracemalloc.start()
    count = sum(1 for _ in image_files(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A list of the paths would take twice that
    assert count == 40_000 and peak < 8 << 20


@row(
    "two inputs of one stem",
    "answered in folders of their own, with their suffixes",
)
def test_stems(place):
    (place / "in/a.jpg").write_bytes(coded(".jpg"))
    ended = toolkit(*PREDICT, cwd=place)
    assert ended.status == 0 and {
        p.name for p in (place / "out").iterdir()
    } == {
        "a.jpg",
        "a.png",
        "b",
        "manifest.jsonl",
    }
    (place / "in/a.png.jpg").write_bytes(coded(".jpg"))
    (place / "in/a.Jpg").write_bytes(coded(".jpg"))
    assert toolkit(*PREDICT, "--out", "again", cwd=place).status == 0
    outcome = {p.name for p in (place / "again").iterdir()}
    assert outcome == {
        "a.jpg",
        "a.Jpg",
        "a.png",
        "a.png.jpg",
        "b",
        "manifest.jsonl",
    }


@row(
    "output within the input, or the input itself",
    "status 2, nothing is written",
)
def test_output_in_input(place):
    for out in ("in", "in/deeper", "."):
        ended = toolkit(
            "predict",
            "objects",
            "in",
            "--out",
            out,
            "--method",
            "trivial",
            cwd=place,
        )
        assert ended.status == 2 and "--out" in ended.err
    assert {p.name for p in place.rglob("*")} == {"in", "a.png", "b.png"}


@row(
    "disk full",
    "status 4, no half file; `--resume` goes on when there is space",
)
def test_disk_full(place):
    ended = toolkit(*PREDICT, cwd=place, limits=[(resource.RLIMIT_FSIZE, 300)])
    assert ended.status == 4 and "cannot be written" in ended.err
    assert not [p for p in (place / "out").rglob("*") if p.is_file()]
    assert toolkit(*PREDICT, "--resume", cwd=place).status == 0


@row("output that cannot be written", "status 4")
def test_read_only(place):
    for out in ("/proc/out", "in/a.png/out", "/dev/null"):
        assert (
            toolkit(
                "predict",
                "objects",
                "in/b.png",
                "--out",
                out,
                "--method",
                "trivial",
                cwd=place,
            ).status
            == 4
        )


@row(
    "array of objects (a pickle), array whose header claims 3.6 TiB",
    "fails before anything is unpickled or allocated",
)
def test_arrays(place):
    np.save(place / "objects.npy", np.array([{}, []], object))
    np.save(place / "huge.npy", np.zeros((2, 8, 8, 3), np.uint8))
    data = (place / "huge.npy").read_bytes()
    (place / "huge.npy").write_bytes(claimed(data))
    ended = toolkit(
        "predict",
        "fragments",
        "objects.npy",
        "huge.npy",
        "--out",
        "out",
        "--method",
        "trivial",
        cwd=place,
    )
    first, second = ended.records
    assert (
        ended.status == 1
        and "objects.npy" in first["reason"]
        and "should hold" in second["reason"]
    )


def claimed(data):
    """An .npy whose header claims far more than it holds."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file,
        {"descr": "|u1", "fortran_order": False, "shape": (10**10, 8, 8, 3)},
    )
    return file.getvalue() + data[-100:]


@row(
    "archive with `..` or absolute names",
    "read without unpacking: nothing is written outside of --out; a .tar fails",
)
def test_archives(place):
    with zipfile.ZipFile(place / "up.zip", "w") as archive:
        for name in (
            "../../evil.png",
            "/tmp/evil.png",
            "fine.png",
            "C:\\evil.png",
        ):
            archive.writestr(name, coded(".png", np.zeros((8, 8, 3), np.uint8)))
    with tarfile.open(place / "packed.tar", "w") as archive:
        archive.add(place / "in")
    call = ("--out", "out", "--method", "colour", "--images", "1")
    ended = toolkit(
        "predict", "fragments", "up.zip", "packed.tar", *call, cwd=place
    )
    assert [record["status"] for record in ended.records] == ["ok", "failed"]
    assert not (place.parent / "evil.png").exists() and {
        p.name for p in place.iterdir()
    } == {
        "in",
        "out",
        "packed.tar",
        "up.zip",
    }


@row(
    "archive that unpacks to 1,000 times its size, or of 100,000 files and more",
    "fails before it is unpacked",
)
def test_zip_bomb(place):
    with zipfile.ZipFile(
        place / "bomb.zip", "w", zipfile.ZIP_DEFLATED
    ) as archive:
        archive.writestr("a.png", bytes(50 << 20))
    with zipfile.ZipFile(place / "many.zip", "w") as archive:
        for k in range(100_001):
            archive.writestr(f"{k}.png", b"")
    ended = toolkit(
        "predict",
        "fragments",
        "bomb.zip",
        "many.zip",
        "--out",
        "out",
        "--method",
        "trivial",
        cwd=place,
    )
    assert ended.status == 1 and all(
        "packed into" in record["reason"] for record in ended.records
    )


@row("no HOME, no TMPDIR, LANG=C, one processor", "works")
def test_poor_surroundings(place):
    poor = {
        "PATH": os.environ["PATH"],
        "LANG": "C",
        "LC_ALL": "C",
        "TMPDIR": "/nowhere",
    }
    one = {min(os.sched_getaffinity(0))}
    command = [sys.executable, "-m", "hvd.toolkit", *PREDICT]
    (place / "in/\N{SNOWMAN}.png").write_bytes(coded(".png"))
    ended = subprocess.run(
        command,
        cwd=place,
        env=poor,
        capture_output=True,
        preexec_fn=lambda: os.sched_setaffinity(0, one),
    )
    assert ended.returncode == 0 and ended.stdout.count(b'"ok"') == 3, (
        ended.stderr
    )


@row("stdin closed, stdout a pipe that is closed", "ends without a word")
def test_closed_pipe(place):
    process = subprocess.Popen(
        [sys.executable, "-m", "hvd.toolkit", *PREDICT],
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) in (1, -signal.SIGPIPE) and err == ""


# --- names, folders and modes


@row("file name of 255 bytes", "answered, or fails alone")
def test_a_name_of_255_bytes_does_not_end_the_run(place):
    for name in ("x" * 251, "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 83 + "xx"):
        (place / "in" / f"{name}.png").write_bytes(coded(".png"))
    ended = toolkit(*PREDICT, cwd=place)
    assert ended.status in (0, 1) and len(ended.records) == 4
    assert statuses(ended)["in/a.png"] == statuses(ended)["in/b.png"] == "ok"


def without_rights():
    """Have a process of root heed the modes of files, as everybody's does."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@row(
    "folder that may be listed and not entered, file that may not be read",
    "fails alone",
)
@pytest.mark.parametrize(
    "inputs", [("in",), ("in/a.png", "in/b.png", "in/closed")]
)
def test_what_may_not_be_read_fails_alone(place, inputs):
    (place / "in/closed").mkdir()
    (place / "in/closed/c.png").write_bytes(coded(".png"))
    (place / "in/closed").chmod(0o444)
    (place / "in/a.png").chmod(0)
    script = "import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            "-m",
            "hvd.toolkit",
            "predict",
            "objects",
            *inputs,
            "--out",
            "out",
            "--method",
            "trivial",
        ],
        cwd=place,
        capture_output=True,
        preexec_fn=without_rights,
    )
    (place / "in/closed").chmod(0o755)
    records = [json.loads(line) for line in process.stdout.splitlines()]
    outcome = {record["input"]: record["status"] for record in records}
    assert process.returncode == 1, process.stderr
    assert outcome["in/a.png"] == "failed" and outcome["in/b.png"] == "ok"
    assert (place / "out/manifest.jsonl").exists()


@row(
    "input called like a file of a run", "answered in a folder of another name"
)
def test_inputs_called_like_files_of_a_run_are_answered_elsewhere(place):
    names = (
        "manifest.jsonl",
        "run.json",
        ".lock",
        "summary.csv",
        "manifest-1-of-2.jsonl",
    )
    for name in names:
        (place / "in" / f"{name}.png").write_bytes(coded(".png"))
        (place / "in" / name.lstrip(".")).mkdir(exist_ok=True)
        (place / "in" / name.lstrip(".") / "c.png").write_bytes(coded(".png"))
    ended = toolkit(
        "predict",
        "grains",
        "in",
        "--out",
        "out",
        "--method",
        "trivial",
        cwd=place,
    )
    assert (
        ended.status == 0
        and len({tuple(r["outputs"]) for r in ended.records}) == 11
    )
    assert (place / "out/manifest.jsonl").is_file() and (
        place / "out/summary.csv"
    ).is_file()


@row("umask", "files and folders have the mode that it gives, nothing wider")
@pytest.mark.parametrize("mask", [0o077, 0o002, 0o027])
def test_modes_are_those_of_the_umask(place, mask):
    (place / "out").mkdir(mode=0o755)
    call = [sys.executable, "-m", "hvd.toolkit", *PREDICT]
    subprocess.run(call, cwd=place, umask=mask, stdout=subprocess.DEVNULL)
    for path in (place / "out").rglob("*"):
        wanted = (0o777 if path.is_dir() else 0o666) & ~mask
        assert path.stat().st_mode & 0o777 == wanted, path


# --- what is somebody else's


@row(
    "`show` on a picture that it did not draw",
    "status 4, and the picture stays as it is",
)
def test_show_draws_over_nothing_but_its_own(place):
    (place / "lines.png").write_bytes(coded(".png"))
    ended = toolkit(
        "show", "lines", "--mask", "lines.png", "--method", "linear", cwd=place
    )
    assert ended.status == 4 and (place / "lines.png").read_bytes() == coded(
        ".png"
    )
    (place / "link.png").symlink_to("lines.png")
    call = ("show", "lines", "--method", "linear", "--out")
    assert toolkit(*call, "link.png", cwd=place).status == 4
    for _ in range(2):
        assert toolkit(*call, "own.png", cwd=place).status == 0


def test_generated_scenes_replace_nothing(place):
    pytest.importorskip("jinja2", reason="preparing needs the extra [prepare]")
    (place / "set/images").mkdir(parents=True)
    (place / "set/annotations.json").write_text("mine")
    ended = toolkit(
        "prepare", "scenes", "--out", "set", "--images", "2", cwd=place
    )
    assert (
        ended.status == 4
        and (place / "set/annotations.json").read_text() == "mine"
    )


# --- terminals


@row(
    "control characters in a file name", "escaped wherever the name is printed"
)
def test_control_characters_are_escaped(place):
    name = "\x1b]0;pwned\a\x1b[2Jx\nError: all disks on fire\n\u202egnp.png"
    (place / "in" / name).write_bytes(coded(".png")[:100])
    ended = toolkit(*PREDICT, cwd=place)
    assert ended.status == 1 and len(ended.err.splitlines()) == 1
    assert (
        not any(c in ended.err for c in "\x1b\a\u202e")
        and "\\x1b]0;pwned" in ended.err
    )
    assert ended.records[-1]["input"].endswith("png") and all(
        r["input"] for r in ended.records
    )


def test_a_table_escapes_names_and_shows_what_is_no_number():
    table = tables.RunTable(registry.task("objects"), Path("out"))
    record = {
        "input": "a\x1b[2J.png",
        "status": "failed",
        "reason": "r",
        "remedy": "m",
    }
    table.add(record)
    assert "\x1b" not in table.text() and "a\\x1b[2J.png" in table.text()
    scores = {
        "metrics": {
            "iou": {"mean": math.nan, "low": math.nan, "high": math.nan}
        },
        "milliseconds": {"median": 1.0, "p95": 2.0},
    }
    result = {
        "methods": {"baseline": scores},
        "options": {},
        "samples": 2,
        "seed": 7,
        "task": "objects",
        "data": "builtin",
    }
    assert "nan [nan, nan]" in tables.scores_table(result)
    assert json.loads(to_json(result), parse_constant=pytest.fail)


@row("standard error that is closed or absent", "changes nothing")
@pytest.mark.parametrize("closed", ["2>&-", "2>&- <&-", "<&-"])
def test_closed_streams_change_nothing(place, closed):
    call = f"{sys.executable} -m hvd.toolkit {' '.join(PREDICT)} {closed}"
    done = subprocess.run(["sh", "-c", call], cwd=place, stdout=subprocess.PIPE)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2
    (place / "in/bad.png").write_bytes(b"no image")
    done = subprocess.run(["sh", "-c", call], cwd=place, stdout=subprocess.PIPE)
    assert done.returncode == 1 and len(done.stdout.splitlines()) == 3


def test_ctrl_c_while_the_command_is_being_loaded_ends_it_quietly(place):
    script = """if True:
        import builtins, sys
        whole = builtins.__import__
        def interrupted(name, *rest, **others):
            if name == "click":
                raise KeyboardInterrupt
            return whole(name, *rest, **others)
        builtins.__import__ = interrupted
        from hvd.toolkit.__main__ import main
        main()
    """
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert done.returncode == 130 and "Traceback" not in done.stderr


# --- numbers at the edge


@row("number outside of its option's range", "status 2, names the range")
@pytest.mark.parametrize(
    "arguments",
    [
        (
            "predict",
            "grains",
            "in",
            "--out",
            "out",
            "--micrometres-per-pixel",
            "1e-20",
        ),
        (
            "predict",
            "grains",
            "in",
            "--out",
            "out",
            "--micrometres-per-pixel",
            "1e300",
        ),
        (
            "predict",
            "grains",
            "in",
            "--out",
            "out",
            "--scale-bar-micrometres",
            "1e-300",
        ),
        (
            "predict",
            "grains",
            "in",
            "--out",
            "out",
            "--max-pixels",
            "99999999999999999999",
        ),
        ("predict", "grains", "in", "--out", "out", "--workers", "1000000"),
        ("predict", "grains", "in", "--out", "out", "--time-limit", "nan"),
        ("evaluate", "grains", "--seed", "99999999999999999999999"),
        ("evaluate", "grains", "--samples", "99999999999999999999999"),
        (
            "train",
            "objects",
            "--data",
            "in",
            "--out",
            "r",
            "--seed",
            "99999999999999999999999",
        ),
        (
            "train",
            "objects",
            "--data",
            "in",
            "--out",
            "r",
            "--threads",
            "100000",
        ),
    ],
)
def test_numbers_out_of_range_are_refused(place, arguments):
    ended = toolkit(*arguments, cwd=place)
    assert (
        ended.status == 2
        and arguments[-2].strip("-").split("-")[0] in ended.err
    ), ended.err
    assert not (place / "out").exists()


@pytest.mark.parametrize("scale", ["1e-5", "1e6"])
def test_the_ends_of_a_range_are_allowed(place, scale):
    call = ("predict", "grains", "in", "--out", "out", "--method", "trivial")
    ended = toolkit(*call, "--micrometres-per-pixel", scale, cwd=place)
    assert ended.status == 0, ended.err


def test_a_picture_of_a_million_columns_is_answered(place):
    wide = np.zeros((16, 1_000_001), np.uint8)
    (place / "in/wide.tif").write_bytes(tiff(wide))
    ended = toolkit(*PREDICT, cwd=place)
    assert ended.status == 0, ended.err

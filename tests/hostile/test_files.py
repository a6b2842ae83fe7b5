"""Folders, links, outputs that cannot be written, processes that are interrupted, arrays and archives."""

import io
import os
import resource
import signal
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest

from hvd.toolkit.images import image_files
from tests.hostile.child import toolkit
from tests.hostile.rows import row
from tests.hostile.test_images import coded

PREDICT = "predict", "objects", "in", "--out", "out", "--method", "trivial"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).write_bytes(coded(".png"))
    return tmp_path


def statuses(ended):
    return {record["input"]: record["status"] for record in ended.records}


@row("input named `-x.png`", "answered after `--`; a folder that holds it needs nothing")
def test_leading_dash(place):
    (place / "-x.png").write_bytes(coded(".png"))
    ended = toolkit(
        "predict", "objects", "--out", "out", "--method", "trivial", "--", "-x.png", cwd=place
    )
    assert ended.status == 0 and statuses(ended) == {"-x.png": "ok"}


@row("links: a loop, a dangling one, one out of the folder", "passed over, each with a record")
def test_links(place):
    for name, to in (("loop", "."), ("dangling.png", "nowhere"), ("out.png", "/etc/passwd")):
        (place / "in" / name).symlink_to(to)
    ended = toolkit(*PREDICT, cwd=place)
    assert (
        ended.status == 0 and sum(status == "skipped" for status in statuses(ended).values()) == 3
    )


@row("FIFO or socket in the folder", "passed over, with a record; nothing waits for it")
def test_fifo(place):
    os.mkfifo(place / "in/pipe.png")
    ended = toolkit(*PREDICT, cwd=place)
    assert ended.status == 0 and statuses(ended)["in/pipe.png"] == "skipped"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@row("file or folder without permission to read", "fails alone; the others are answered")
def test_permission(place):
    (place / "in/a.png").chmod(0)
    (place / "in/closed").mkdir(mode=0)
    ended = toolkit(*PREDICT, cwd=place)
    found = statuses(ended)
    assert (
        ended.status == 1
        and found["in/a.png"] == found["in/closed"] == "failed"
        and found["in/b.png"] == "ok"
    )


@row("40,000 names in a folder", "walked, not listed: memory of the walk stays below 8 MB")
def test_many_names(tmp_path):
    for k in range(40_000):
        (tmp_path / f"{k:05d}.png").touch()
    tracemalloc.start()
    count = sum(1 for _ in image_files(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 40_000 and peak < 8 << 20  # a list of the paths would take twice that


@row("two inputs of one stem", "answered in folders of their own, with their suffixes")
def test_stems(place):
    (place / "in/a.jpg").write_bytes(coded(".jpg"))
    ended = toolkit(*PREDICT, cwd=place)
    assert ended.status == 0 and {p.name for p in (place / "out").iterdir()} == {
        "a.jpg",
        "a.png",
        "b",
        "manifest.jsonl",
    }
    (place / "in/a.png.jpg").write_bytes(coded(".jpg"))
    (place / "in/a.Jpg").write_bytes(coded(".jpg"))
    assert toolkit(*PREDICT, "--out", "again", cwd=place).status == 0
    found = {p.name for p in (place / "again").iterdir()}
    assert found == {"a.jpg", "a.Jpg", "a.png", "a.png.jpg", "b", "manifest.jsonl"}


@row("output within the input, or the input itself", "status 2, nothing is written")
def test_output_in_input(place):
    for out in ("in", "in/deeper", "."):
        ended = toolkit("predict", "objects", "in", "--out", out, "--method", "trivial", cwd=place)
        assert ended.status == 2 and "--out" in ended.err
    assert {p.name for p in place.rglob("*")} == {"in", "a.png", "b.png"}


@row("disk full", "status 4, no half file; `--resume` goes on when there is space")
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
                "predict", "objects", "in/b.png", "--out", out, "--method", "trivial", cwd=place
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
        ended.status == 1 and "objects.npy" in first["reason"] and "should hold" in second["reason"]
    )


def claimed(data):
    """An .npy whose header claims far more than it holds."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (10**10, 8, 8, 3)}
    )
    return file.getvalue() + data[-100:]


@row(
    "archive with `..` or absolute names",
    "read without unpacking: nothing is written outside of --out; a .tar fails",
)
def test_archives(place):
    with zipfile.ZipFile(place / "up.zip", "w") as archive:
        for name in ("../../evil.png", "/tmp/evil.png", "fine.png", "C:\\evil.png"):
            archive.writestr(name, coded(".png", np.zeros((8, 8, 3), np.uint8)))
    with tarfile.open(place / "packed.tar", "w") as archive:
        archive.add(place / "in")
    call = ("--out", "out", "--method", "colour", "--images", "1")
    ended = toolkit("predict", "fragments", "up.zip", "packed.tar", *call, cwd=place)
    assert [record["status"] for record in ended.records] == ["ok", "failed"]
    assert not (place.parent / "evil.png").exists() and {p.name for p in place.iterdir()} == {
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
    with zipfile.ZipFile(place / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
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
    assert ended.status == 1 and all("packed into" in record["reason"] for record in ended.records)


@row("no HOME, no TMPDIR, LANG=C, one processor", "works")
def test_poor_surroundings(place):
    poor = {"PATH": os.environ["PATH"], "LANG": "C", "LC_ALL": "C", "TMPDIR": "/nowhere"}
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
    assert ended.returncode == 0 and ended.stdout.count(b'"ok"') == 3, ended.stderr


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

"""Runs over many inputs: resumed, in shards, by several processes, beside other runs."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from hvd.toolkit import manifest as manifest_module
from hvd.toolkit import outputs, prediction, registry
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import write_png
from hvd.toolkit.locking import lock_output
from hvd.toolkit.manifest import MOST_HELD, Manifest, read_manifest
from hvd.toolkit.merging import merge_shards
from hvd.toolkit.prediction import circumstances, predict
from hvd.toolkit.tasks.objects.options import InputOptions
from hvd.toolkit.tasks.objects.types import Labelled
from tests.hostile.rows import row

COUNT = 24


def images(folder, count=COUNT):
    """Small pictures in a folder and a subfolder, one of them damaged."""
    rng = np.random.default_rng(0)
    for k in range(count):
        place = folder / ("deeper" if k % 3 == 0 else "")
        place.mkdir(parents=True, exist_ok=True)
        data = cv2.imencode(
            ".png", rng.integers(0, 256, (16, 20, 3), np.uint8)
        )[1].tobytes()
        (place / f"{k:03d}.png").write_bytes(data if k != 5 else data[:60])
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in, with pictures in `in`."""
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "in")
    return tmp_path


def call(folder, *options):
    """The command line of a run in a folder."""
    command = [
        sys.executable,
        "-m",
        "hvd.toolkit",
        "predict",
        "objects",
        "in",
        "--out",
        "out",
        "--method",
        "trivial",
        *options,
    ]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeds,
    )


def heeds():
    """Let Ctrl-C end a process, although a shell starts it in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def answer(place, *rest, **others):
    """The records of a run."""
    method = registry.method("objects", "trivial")
    return list(
        predict(
            registry.task("objects"),
            "trivial",
            method,
            (place / "in",),
            place / "out",
            InputOptions(),
            *rest,
            **others,
        )
    )


def tree(folder):
    """Every file below a folder with its bytes."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file()
    }


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """What an undisturbed run leaves."""
    folder = tmp_path_factory.mktemp("whole")
    images(folder / "in")
    process = call(folder)
    process.communicate()
    assert process.returncode == 1  # one picture is damaged
    return tree(folder / "out")


def test_every_input_gets_one_record_and_the_manifest_holds_them_by_name(
    complete,
):
    records = [
        json.loads(line)
        for line in complete["manifest.jsonl"].decode().splitlines()
    ]
    assert len(records) == COUNT and [r["input"] for r in records] == sorted(
        r["input"] for r in records
    )
    assert [r["input"] for r in records if r["status"] == "failed"] == [
        "in/005.png"
    ]
    assert "deeper/000/mask.png" in complete and "001/mask.png" in complete


@row(
    "killed at any moment",
    "what is there is whole; the same command with `--resume` ends in the same bytes",
)
def test_a_run_killed_again_and_again_ends_in_the_same_bytes(place, complete):
    rng, killed = np.random.default_rng(1), 0
    for _ in range(4):
        process = call(place, "--resume")
        process.stdout.readline()  # the first record
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed
    process = call(place, "--resume")
    out, err = process.communicate()
    assert (
        process.returncode == 1
        and len(out.splitlines()) == COUNT
        and "Traceback" not in err
    )
    assert tree(place / "out") == complete


def test_an_input_answered_before_is_left_as_it_is_unless_something_differs(
    place,
):
    answer(place)
    written = (place / "out/001/mask.png").stat().st_mtime_ns
    answer(place, resume=True)
    assert (place / "out/001/mask.png").stat().st_mtime_ns == written
    (place / "in/001.png").write_bytes((place / "in/002.png").read_bytes())
    (place / "out/002/mask.png").unlink()
    answer(place, resume=True)
    assert (place / "out/001/mask.png").stat().st_mtime_ns != written and (
        place / "out/002/mask.png"
    ).is_file()


@row("run in three shares, put together", "the bytes of one run")
def test_shares_put_together_are_one_run(place, complete):
    for share in ("1/3", "3/3", "2/3"):
        process = call(place, "--shard", share)
        process.communicate()
    merge = [sys.executable, "-m", "hvd.toolkit", "merge", place / "out"]
    status = subprocess.run(
        merge, cwd=place / "in", capture_output=True
    ).returncode
    assert status == 0 and tree(place / "out") == complete


def test_shares_that_lack_one_are_not_put_together(place):
    answer(place, shard=(1, 2))
    with pytest.raises(ToolkitError, match="manifest-2-of-2"):
        merge_shards(place / "out")
    with pytest.raises(ToolkitError, match="no shards"):
        merge_shards(place / "in")


def test_shards_of_different_runs_are_not_put_together(place):
    answer(place, shard=(1, 2))
    task = registry.task("objects")
    other = registry.method("objects", "baseline")
    paths = (place / "in",)
    list(
        predict(
            task,
            "baseline",
            other,
            paths,
            place / "out",
            InputOptions(),
            shard=(2, 2),
        )
    )
    with pytest.raises(ToolkitError, match="different runs") as error:
        merge_shards(place / "out")
    assert (
        error.value.status == 5 and not (place / "out/manifest.jsonl").exists()
    )


def test_several_processes_leave_the_bytes_of_one(place, complete):
    process = call(place, "--workers", "2")
    process.communicate()
    assert tree(place / "out") == complete


@dataclass(frozen=True)
class Deadly:
    """A method that ends its process when it sees a picture whose first pixel is black."""

    def predict(self, inputs):
        if not inputs.image[0, 0].any():
            os.kill(os.getpid(), signal.SIGKILL)
        return Labelled(
            np.zeros(inputs.image.shape[:2], np.uint8), ("background", "thing")
        )


@row(
    "input that kills the process which answers it",
    "fails alone, with `--workers`; the others are answered",
)
def test_an_input_that_kills_its_process_fails_alone(place):
    image = cv2.imread(str(place / "in/002.png"))
    image[0, 0] = 0
    cv2.imwrite(str(place / "in/002.png"), image)
    records = list(
        predict(
            registry.task("objects"),
            "deadly",
            Deadly(),
            (place / "in",),
            place / "out",
            InputOptions(),
            workers=2,
        )
    )
    assert len(records) == COUNT
    failed = {
        r["input"].rpartition("/")[2]: r["reason"]
        for r in records
        if r["status"] == "failed"
    }
    assert (
        set(failed) == {"002.png", "005.png"} and "killed" in failed["002.png"]
    )


@row(
    "two runs on one output",
    "the second stops with status 4 and names the first",
)
def test_a_second_run_on_one_output_stops_with_status_4(place):
    with lock_output(place / "out", None):
        process = call(place)
        _, err = process.communicate()
        assert process.returncode == 4 and f"{os.getpid()} on " in err
        with pytest.raises(ToolkitError), lock_output(place / "out", (1, 2)):
            pass
    with (
        lock_output(place / "out", (1, 2)),
        lock_output(place / "out", (2, 2)),
        pytest.raises(ToolkitError),
        lock_output(place / "out", None),
    ):
        pass
    assert answer(place)


def test_links_pipes_and_other_files_are_passed_over_and_reported(place):
    (place / "in/link.png").symlink_to(place / "in/001.png")
    (place / "in/loop").symlink_to(place / "in")
    os.mkfifo(place / "in/pipe.png")
    (place / "in/notes.txt").write_text("mine")
    (place / "in/.hidden.png").write_text("")
    skipped = {
        r["input"].rpartition("/")[2]: r["reason"]
        for r in answer(place)
        if r["status"] == "skipped"
    }
    assert set(skipped) == {"link.png", "loop", "pipe.png", "notes.txt"}
    assert (
        "link" in skipped["loop"]
        and "plain" in skipped["pipe.png"]
        and ".png" in skipped["notes.txt"]
    )


def test_a_file_and_a_folder_of_the_same_name_get_results_of_their_own(place):
    (place / "in/deeper.png").write_bytes((place / "in/001.png").read_bytes())
    answer(place)
    assert (place / "out/deeper.png/mask.png").is_file() and (
        place / "out/deeper/000/mask.png"
    ).is_file()


@row(
    "file that changes while it is read",
    "fails: predict it again when it is complete",
)
def test_a_picture_that_changes_while_it_is_read_fails(place, monkeypatch):
    method = registry.method("objects", "trivial")
    complete = type(method).predict

    def slow(self, inputs):
        (place / "in/001.png").write_bytes(
            (place / "in/001.png").read_bytes() + b" "
        )
        return complete(self, inputs)

    monkeypatch.setattr(type(method), "predict", slow)
    (record,) = predict(
        registry.task("objects"),
        "trivial",
        method,
        (place / "in/001.png",),
        place / "out",
        InputOptions(),
    )
    assert record["status"] == "failed" and "changed" in record["reason"]


def test_names_of_any_kind_are_reported_as_json_and_found_again(place):
    names = [
        "-rf.png",
        "=1+1.png",
        "<img src=x>.png",
        "new\nline.png",
        "\N{SNOWMAN}.png",
        os.fsdecode(b"gef\xfcge.png"),
    ]
    for name in names:
        (place / "in" / name).write_bytes((place / "in/001.png").read_bytes())
    assert sum(r["status"] == "ok" for r in answer(place)) == COUNT - 1 + len(
        names
    )
    reported = {
        r["input"].rpartition("/")[2]
        for r in read_manifest(place / "out/manifest.jsonl")
    }
    assert set(names) <= reported


def test_records_beyond_what_is_held_in_memory_come_out_in_order(tmp_path):
    manifest = Manifest(tmp_path)
    order = np.random.default_rng(0).permutation(2 * MOST_HELD + 7)
    for k in order.tolist():
        manifest.add(
            {
                "task": "objects",
                "input": f"{k:06d}",
                "status": "ok",
                "outputs": [],
            }
        )
    manifest.finish(tmp_path / "all.jsonl")
    assert [r["input"] for r in read_manifest(tmp_path / "all.jsonl")] == [
        f"{k:06d}" for k in range(len(order))
    ]


@row("Ctrl-C", "status 130, and how to go on")
def test_an_interrupted_run_tells_how_to_go_on(place):
    images(place / "in", 300)
    process = call(place)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (
        process.returncode == 130
        and "--resume" in err
        and "Traceback" not in err
    )


def test_processes_end_with_the_one_that_started_them(place):
    images(place / "in", 300)
    process = call(place, "--workers", "2")
    process.stdout.readline()
    children = (
        Path(f"/proc/{process.pid}/task/{process.pid}/children")
        .read_text()
        .split()
    )
    assert children
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 20
    while any(running(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running(process):
    """Whether a process goes on: it is there, and no zombie."""
    try:
        return (
            Path(f"/proc/{process}/stat")
            .read_text()
            .rpartition(")")[2]
            .split()[0]
            != "Z"
        )
    except OSError:
        return False


def test_a_file_and_a_folder_of_one_name_within_two_inputs_are_answered_apart(
    place,
):
    (place / "other").mkdir()
    (place / "other/000.png").write_bytes((place / "in/001.png").read_bytes())
    method = registry.method("objects", "trivial")
    expected = place / "in/deeper", place / "other/000.png"
    records = list(
        predict(
            registry.task("objects"),
            "trivial",
            method,
            expected,
            place / "out",
            InputOptions(),
        )
    )
    places = [
        Path(output).parent
        for record in records
        for output in record["outputs"][:1]
    ]
    assert len(set(places)) == len(places) == len(records)


def test_another_mask_at_the_same_path_is_another_circumstance(tmp_path):
    method, mask = registry.method("lines", "linear"), tmp_path / "mask.npy"
    keys = []
    for value in (0, 1):
        np.save(mask, np.full((8, 8), value, np.uint8))
        keys.append(
            circumstances(
                "lines",
                "linear",
                method,
                registry.task("lines").input_options(mask=str(mask)),
            )
        )
    assert keys[0] != keys[1]


def test_a_text_too_long_to_name_a_file_is_none():
    method, kind = (
        registry.method("objects", "trivial"),
        registry.task("objects").input_options,
    )
    names = [
        ",".join(f"class number {k}" for k in range(80, last))
        for last in (160, 161)
    ]
    keys = [
        circumstances("objects", "trivial", method, kind(classes=text))
        for text in names
    ]
    assert keys[0] != keys[1]


def test_an_input_that_cannot_be_read_fails_alone(place, monkeypatch):
    task, method = (
        registry.task("fragments"),
        registry.method("fragments", "trivial"),
    )
    for name in ("first", "second"):
        (place / name).mkdir()
        for k in range(4):
            cv2.imwrite(
                str(place / name / f"{k}.png"),
                np.full((16, 16, 3), k, np.uint8),
            )
    complete = Path.iterdir

    def refused(path):
        if path.name == "first":
            raise PermissionError(13, "Permission denied", str(path))
        return complete(path)

    monkeypatch.setattr(Path, "iterdir", refused)
    expected = place / "first", place / "second"
    records = list(
        predict(
            task,
            "trivial",
            method,
            expected,
            place / "out",
            task.input_options(known="nothing"),
        )
    )
    assert [record["status"] for record in records] == [
        "failed",
        "ok",
    ] and "Permission denied" in records[0]["reason"]


def test_a_manifest_that_no_run_left_is_not_replaced(place):
    (place / "out").mkdir()
    (place / "out/manifest.jsonl").write_text("mine\n")
    with pytest.raises(
        ToolkitError, match="not the manifest of a run"
    ) as refusal:
        answer(place)
    assert refusal.value.status == 4
    assert (place / "out/manifest.jsonl").read_text() == "mine\n"


@pytest.fixture
def micrographs(tmp_path, monkeypatch, micrograph_sample):
    """Two batches of micrographs, `a` and `b`, of one each."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        write_png(tmp_path / name / "m.png", micrograph_sample.inputs.image)
    return tmp_path


def grains(place, *folders):
    method = registry.method("grains", "baseline")
    options = registry.task_options("grains").InputOptions()
    inputs = tuple(place / folder for folder in folders)
    task = registry.task("grains")
    return list(
        predict(task, "baseline", method, inputs, place / "out", options)
    )


def test_a_file_of_one_s_own_in_the_place_of_a_run_s_is_kept(micrographs):
    grains(micrographs, "a")
    (micrographs / "out/batches.csv").write_text("mine")
    with pytest.raises(ToolkitError, match=r"batches\.csv") as refusal:
        grains(micrographs, "a")
    assert refusal.value.status == 4
    assert (micrographs / "out/batches.csv").read_text() == "mine"


def test_a_summary_that_was_edited_is_kept(micrographs):
    grains(micrographs, "a")
    with open(micrographs / "out/summary.csv", "a") as file:
        file.write("my remark\n")
    with pytest.raises(ToolkitError, match=r"summary\.csv"):
        grains(micrographs, "a")
    assert "my remark" in (micrographs / "out/summary.csv").read_text()


def test_what_a_run_wrote_is_replaced_and_taken_away(micrographs):
    grains(micrographs, "a", "b")
    names = {path.name for path in (micrographs / "out").iterdir()}
    assert names >= {"summary.csv", "batches.csv", "batches.png", "run.json"}
    grains(micrographs, "a")
    names = {path.name for path in (micrographs / "out").iterdir()}
    assert "summary.csv" in names and not names & {"batches.csv", "batches.png"}
    assert set(
        json.loads((micrographs / "out/run.json").read_text())["files"]
    ) == {"report.html", "specimens.csv", "summary.csv"}


def test_files_that_a_task_does_not_write_are_no_reason_to_refuse(place):
    (place / "out").mkdir()
    for name in ("summary.csv", "batches.csv", "run.json"):
        (place / "out" / name).write_text("mine")
    assert len(answer(place)) == COUNT
    assert all(
        (place / "out" / n).read_text() == "mine"
        for n in ("summary.csv", "run.json")
    )


def test_a_run_json_of_somebody_else_is_kept(micrographs):
    (micrographs / "out").mkdir()
    (micrographs / "out/run.json").write_text('{"task": "grains"}')
    with pytest.raises(ToolkitError, match=r"run\.json"):
        grains(micrographs, "a")
    assert (micrographs / "out/run.json").read_text() == '{"task": "grains"}'


def test_a_run_that_was_stopped_while_it_wrote_can_be_run_again(
    micrographs, monkeypatch
):
    grains(micrographs, "a")
    complete = outputs.write_bytes

    def stopped(path, data, work=None):
        if path.name == "summary.csv":
            raise KeyboardInterrupt
        complete(path, data, work)

    monkeypatch.setattr(outputs, "write_bytes", stopped)
    with pytest.raises(KeyboardInterrupt):
        grains(micrographs, "a", "b")
    monkeypatch.setattr(outputs, "write_bytes", complete)
    grains(micrographs, "a", "b")
    assert (micrographs / "out/batches.csv").exists()


def test_runs_of_two_tasks_share_a_folder(micrographs):
    grains(micrographs, "a")
    task, method = (
        registry.task("objects"),
        registry.method("objects", "trivial"),
    )
    inputs, out = (micrographs / "b",), micrographs / "out"
    list(predict(task, "trivial", method, inputs, out, InputOptions()))
    assert (
        not (out / "summary.csv").exists() and not (out / "run.json").exists()
    )
    grains(micrographs, "a")


def test_records_of_an_earlier_format_are_answered_again(place, monkeypatch):
    monkeypatch.setattr(prediction, "FORMAT", 1)
    answer(place)
    monkeypatch.undo()
    records = answer(place, resume=True)
    assert all(
        "notes" in record for record in records if record["status"] == "ok"
    )
    keys = {record["run"] for record in records if record["status"] == "ok"}
    assert keys == {
        circumstances(
            "objects",
            "trivial",
            registry.method("objects", "trivial"),
            InputOptions(),
        )
    }


# --- every input once


def test_shards_of_different_inputs_are_not_put_together(place):
    answer(place, shard=(1, 2))
    (place / "in/001.png").rename(place / "in/new.png")
    answer(place, shard=(2, 2))
    with pytest.raises(ToolkitError, match="different inputs") as error:
        merge_shards(place / "out")
    assert (
        error.value.status == 5 and not (place / "out/manifest.jsonl").exists()
    )


def test_shards_are_not_put_in_the_place_of_somebodys_manifest(place):
    answer(place, shard=(1, 2))
    answer(place, shard=(2, 2))
    (place / "out/manifest.jsonl").write_text("mine")
    with pytest.raises(
        ToolkitError, match="not the manifest of a run"
    ) as error:
        merge_shards(place / "out")
    assert (
        error.value.status == 4
        and (place / "out/manifest.jsonl").read_text() == "mine"
    )


@pytest.mark.parametrize(
    "name", ["1-of-0", "1-of-20000000", "2-of-1", "x-of-y"]
)
def test_a_file_that_only_looks_like_a_shard_is_refused(place, name):
    (place / "out").mkdir()
    (place / f"out/manifest-{name}.jsonl").write_text("")
    with pytest.raises(ToolkitError) as error:
        merge_shards(place / "out")
    assert error.value.status == 5


def test_a_shard_whose_record_was_changed_is_refused(place):
    answer(place, shard=(1, 2))
    answer(place, shard=(2, 2))
    path = place / "out/manifest-2-of-2.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(ToolkitError, match="records of") as error:
        merge_shards(place / "out")
    assert error.value.status == 5


def predict_paths(place, *paths, **others):
    """The records of a run over some paths."""
    method, task = (
        registry.method("objects", "trivial"),
        registry.task("objects"),
    )
    return list(
        predict(
            task,
            "trivial",
            method,
            paths,
            place / "out",
            InputOptions(),
            **others,
        )
    )


def test_a_record_names_the_path_that_was_given(place):
    for folder in ("A", "B"):
        (place / folder).mkdir()
        (place / folder / "x.png").write_bytes(
            (place / "in/001.png").read_bytes()
        )
    predict_paths(place, Path("A/x.png"))
    written = (place / "out/x/mask.png").stat().st_mtime_ns
    (record,) = predict_paths(place, Path("B/x.png"), resume=True)
    assert record["input"] == "B/x.png"
    assert (place / "out/x/mask.png").stat().st_mtime_ns == written
    assert (
        json.loads((place / "out/x/record.json").read_text())["input"]
        == "B/x.png"
    )


@row(
    "two inputs that are one file, or lie in one another",
    "status 2, nothing is written",
)
@pytest.mark.parametrize("second", ["in/001.png", "link.png", "hard.png"])
def test_an_input_given_twice_is_refused(place, second):
    (place / "link.png").symlink_to("in/001.png")
    os.link(place / "in/001.png", place / "hard.png")
    first = "in" if second == "in/001.png" else "in/001.png"
    with pytest.raises(ToolkitError, match="are one") as error:
        predict_paths(place, Path(first), Path(second))
    assert error.value.status == 2 and not (place / "out").exists()


@row(
    "output that was changed by hand",
    "`--resume` answers its input again, or refuses to",
)
def test_an_output_that_was_changed_is_not_taken_as_done(place):
    answer(place)
    mask = place / "out/001/mask.png"
    complete = mask.read_bytes()
    mask.write_bytes(complete[:-1])
    with pytest.raises(
        ToolkitError, match="no earlier result accounts for"
    ) as error:
        answer(place, resume=True)
    assert error.value.status == 4 and mask.read_bytes() == complete[:-1]
    mask.unlink()
    answer(place, resume=True)
    assert mask.read_bytes() == complete


@row(
    "input that fails now and was answered before",
    "no old answer is left beside the failure",
)
def test_an_input_that_fails_now_leaves_no_old_answer(place):
    answer(place)
    assert (place / "out/001").is_dir()
    (place / "in/001.png").write_bytes((place / "in/001.png").read_bytes()[:60])
    for resume in (False, True):
        records = answer(place, resume=resume)
        assert sum(record["status"] == "failed" for record in records) == 2
        assert not (place / "out/001").exists()


def test_what_somebody_put_into_a_folder_of_results_stays(place):
    answer(place)
    (place / "out/001/notes.txt").write_text("mine")
    (place / "in/001.png").write_bytes((place / "in/001.png").read_bytes()[:60])
    answer(place)
    assert {p.name for p in (place / "out/001").iterdir()} == {"notes.txt"}


def scan(seed):
    """A scan as a PNG, every second line missing."""
    values = cv2.GaussianBlur(
        np.random.default_rng(seed).random((64, 64)).astype(np.float32),
        (0, 0),
        3,
    )
    values = (values / values.max() * 200 + 40).astype(np.uint8)
    values[::2] = 0
    return cv2.imencode(".png", values)[1].tobytes()


def fill(path, *options):
    """The record of an input of `lines`."""
    task, method = registry.task("lines"), registry.method("lines", "linear")
    out = path.with_name("out")
    (record,) = predict(
        task, "linear", method, (path,), out, task.input_options(*options)
    )
    return record


@row("folder or mask of which a file changes while it is read", "fails")
@pytest.mark.parametrize("changed", ["stack/1.png", "mask.npy"])
def test_a_change_inside_a_folder_and_of_a_mask_is_noticed(
    tmp_path, monkeypatch, changed
):
    (tmp_path / "stack").mkdir()
    for k in range(3):
        (tmp_path / f"stack/{k}.png").write_bytes(scan(k))
    mask = np.zeros((64, 64), np.uint8)
    mask[::2] = 1
    np.save(tmp_path / "mask.npy", mask)
    assert (
        fill(tmp_path / "stack", str(tmp_path / "mask.npy"))["status"] == "ok"
    )

    task = registry.task("lines")
    read = task.read

    def read_and_change(path, options):
        inputs = read(path, options)
        with open(tmp_path / changed, "r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))
        return inputs

    monkeypatch.setattr(
        registry,
        "task",
        lambda name: dataclasses.replace(task, read=read_and_change),
    )
    record = fill(tmp_path / "stack", str(tmp_path / "mask.npy"))
    assert (
        record["status"] == "failed"
        and "changed while it was read" in record["reason"]
    )


def test_many_parts_of_a_manifest_are_joined_few_at_a_time(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(manifest_module, "MOST_HELD", 3)
    monkeypatch.setattr(manifest_module, "MOST_PARTS", 4)
    manifest = Manifest(tmp_path)
    order = np.random.default_rng(0).permutation(500)
    for k in order.tolist():
        manifest.add(
            {
                "task": "objects",
                "input": f"{k:06d}",
                "status": "ok",
                "outputs": [],
            }
        )
        assert len(manifest.parts) < 4
    manifest.finish(tmp_path / "all.jsonl")
    result = [
        record["input"] for record in read_manifest(tmp_path / "all.jsonl")
    ]
    assert result == [f"{k:06d}" for k in range(500)]
    assert {
        path.name for path in tmp_path.iterdir() if path.stat().st_size
    } >= {"all.jsonl"}


# --- locks, and what is unfinished


@row(
    "lock that is a link, or somebody else's",
    "status 4, and it is left as it is",
)
@pytest.mark.parametrize("kind", ["link", "text", "empty"])
def test_a_lock_that_is_not_ours_is_left_alone(place, kind):
    (place / "out").mkdir()
    (place / "victim.txt").write_text("mine")
    if kind == "link":
        (place / "out/.lock").symlink_to("../victim.txt")
    else:
        (place / "out/.lock").write_text("mine" if kind == "text" else "")
    with pytest.raises(ToolkitError) as error:
        answer(place)
    assert error.value.status == 4
    assert (place / "victim.txt").read_text() == "mine" and os.path.lexists(
        place / "out/.lock"
    )


def test_the_lock_of_a_killed_run_is_taken_over(place):
    (place / "out").mkdir()
    (place / "out/.lock").write_text(".toolkit 2279 on vm")
    assert len(answer(place)) == COUNT and not (place / "out/.lock").exists()


def test_folders_that_only_look_unfinished_are_left_alone(place):
    for name in (".unfinished-novel", ".unfinished-1-of-2"):
        (place / "out" / name).mkdir(parents=True)
        (place / "out" / name / "chapter").write_text("mine")
    with pytest.raises(ToolkitError, match="was not left by a run"):
        answer(place)
    (place / "out/.unfinished-1-of-2").rename(place / "novel")
    answer(place)
    assert (place / "out/.unfinished-novel/chapter").read_text() == "mine"


def test_ctrl_c_ends_processes_that_would_go_on(place):
    """A method that never ends, in processes of their own."""
    (place / "sleeper.py").write_text(
        "import time\nfrom dataclasses import dataclass\n"
        "@dataclass(frozen=True)\nclass Sleeper:\n"
        "    def predict(self, inputs):\n        time.sleep(1000)\n"
    )
    process = call(place, "--workers", "2", "--method", "sleeper.py:Sleeper")
    time.sleep(6)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Interrupted" in err


# --- links, names and others' files


def test_nothing_is_written_through_a_link_in_the_output(place):
    (place / "elsewhere").mkdir()
    (place / "out").mkdir()
    (place / "out/deeper").symlink_to("../elsewhere")
    with pytest.raises(ToolkitError, match="is a link") as error:
        answer(place)
    assert error.value.status == 4 and not any((place / "elsewhere").iterdir())


def test_a_folder_within_the_output_is_no_input(place):
    folder = images(place / "out/z/a/z/a", 2)
    with pytest.raises(ToolkitError, match="would meet the input") as error:
        predict_paths(place, place / "out/z/a")
    assert error.value.status == 2 and {p.name for p in folder.iterdir()} == {
        "001.png",
        "deeper",
    }


def test_a_shard_does_not_replace_somebodys_manifest(place):
    (place / "out").mkdir()
    (place / "out/manifest-1-of-2.jsonl").write_text("mine")
    with pytest.raises(
        ToolkitError, match="not the manifest of a run"
    ) as error:
        answer(place, shard=(1, 2))
    assert error.value.status == 4
    assert (place / "out/manifest-1-of-2.jsonl").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["manifest.jsonl", "001/record.json", "run.json"]
)
def test_a_pipe_in_the_place_of_our_files_is_not_waited_for(place, name):
    (place / "out" / name).parent.mkdir(parents=True)
    os.mkfifo(place / "out" / name)
    process = call(place)
    process.communicate(timeout=60)
    assert process.returncode in (1, 4)


@pytest.mark.parametrize("name", ["..png", "...png"])
def test_an_input_called_like_a_folder_above_is_answered(place, name):
    (place / name).write_bytes((place / "in/001.png").read_bytes())
    records = predict_paths(place, Path("in/002.png"), Path(name))
    assert [record["status"] for record in records] == ["ok", "ok"]
    assert (place / "out" / name / "mask.png").is_file()


def test_an_answer_that_moves_leaves_nothing_in_its_old_place(place):
    answer(place)
    (place / "in/001.jpg").write_bytes(b"no image")
    answer(place)
    assert (place / "out/001.png/mask.png").is_file() and not (
        place / "out/001"
    ).exists()


def test_a_record_that_is_there_twice_in_a_shard_is_refused(place):
    answer(place, shard=(1, 2))
    answer(place, shard=(2, 2))
    path = place / "out/manifest-2-of-2.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:-1], lines[1]]))
    with pytest.raises(ToolkitError, match="two records of") as error:
        merge_shards(place / "out")
    assert (
        error.value.status == 5 and not (place / "out/manifest.jsonl").exists()
    )


def test_shards_over_other_pictures_or_with_another_limit_are_not_put_together(
    place,
):
    answer(place, shard=(1, 2))
    complete = (place / "in/001.png").read_bytes()
    (place / "in/001.png").write_bytes(complete + b"behind its end")
    answer(place, shard=(2, 2))
    with pytest.raises(ToolkitError, match="different inputs"):
        merge_shards(place / "out")
    (place / "in/001.png").write_bytes(complete)
    task, method = (
        registry.task("objects"),
        registry.method("objects", "trivial"),
    )
    options = InputOptions(max_pixels=10)
    paths = (place / "in",)
    list(
        predict(
            task, "trivial", method, paths, place / "out", options, shard=(2, 2)
        )
    )
    with pytest.raises(ToolkitError, match="different runs"):
        merge_shards(place / "out")


def test_a_file_that_comes_while_its_folder_is_replaced_stays(tmp_path):
    (tmp_path / "out").mkdir()
    with (
        pytest.raises(ToolkitError, match="no earlier result"),
        outputs.whole_folder(tmp_path / "out", {}) as folder,
    ):
        (folder / "new").write_text("ours")
        (tmp_path / "out/notes.txt").write_text("mine")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"notes.txt"}

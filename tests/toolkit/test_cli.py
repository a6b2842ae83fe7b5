"""The command line's contract: output, records and exit statuses."""

import csv
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import hvd
from hvd.toolkit import cli
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import read_image, write_png


@pytest.fixture
def run(monkeypatch, capsys):
    """Run `toolkit ARGS...`; return exit status, stdout, stderr."""

    def invoked(*arguments):
        monkeypatch.setattr("sys.argv", ["toolkit", *map(str, arguments)])
        monkeypatch.delenv("TOOLKIT_DEBUG", raising=False)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return stop.value.code, captured.out, captured.err

    return invoked


@pytest.fixture
def folder(tmp_path, heap_sample):
    """The heap of five photographs as a folder of images."""
    for k, fragment in enumerate(heap_sample.inputs.fragments):
        write_png(tmp_path / "heap" / f"{k:03d}.png", fragment)
    return tmp_path / "heap"


def test_predict_writes_groups_photographs_and_a_record(
    run, folder, tmp_path, heap_sample
):
    status, out, _ = run(
        "predict", "fragments", folder, "--out", tmp_path / "out", "--images", 5
    )
    assert status == 0
    record = json.loads(out)
    # Told, but not kept: the same run leaves the same bytes
    assert record.pop("seconds") > 0
    assert (
        json.loads((tmp_path / "out" / "heap" / "record.json").read_text())
        == record
    )
    assert (
        json.loads((tmp_path / "out" / "manifest.jsonl").read_text()) == record
    )
    assert (
        record["status"] == "ok"
        and record["fragments"] == 80
        and record["photographs"] == 5
    )
    assert len(record["checkpoint"]) == 64
    assert {Path(p).name for p in record["outputs"]} == {
        "groups.csv",
        "groups.png",
        *(f"photograph-{k:02d}.png" for k in range(5)),
    }
    assert all(Path(p).is_file() for p in record["outputs"])
    with open(tmp_path / "out" / "heap" / "groups.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "fragment",
        "group",
        "row",
        "column",
        "turn",
        "confidence",
    ]
    place = next(r for r in rows if r["fragment"] == "007.png")
    image = read_image(
        tmp_path / "out" / "heap" / f"photograph-{int(place['group']):02d}.png"
    )
    row, column = int(place["row"]) * 16, int(place["column"]) * 16
    np.testing.assert_array_equal(
        image[row : row + 16, column : column + 16],
        heap_sample.inputs.fragments[7],
    )


def test_a_folder_a_zip_and_an_array_get_the_same_answer(
    run, folder, tmp_path, heap_sample
):
    np.save(tmp_path / "array.npy", heap_sample.inputs.fragments)
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    inputs = (folder, tmp_path / "array.npy", tmp_path / "packed.zip")
    status, _, _ = run(
        "predict",
        "fragments",
        *inputs,
        "--out",
        tmp_path / "out",
        "--images",
        5,
        "--method",
        "baseline",
    )
    assert status == 0
    tables = [
        (tmp_path / "out" / name / "groups.csv").read_text().splitlines()
        for name in ("heap", "array", "packed")
    ]
    assert tables[0] == tables[2]
    assert [row.split(",")[1:] for row in tables[0]] == [
        row.split(",")[1:] for row in tables[1]
    ]


def test_notes_put_into_results_are_not_lost_when_predicting_again(
    run, folder, tmp_path
):
    call = (
        "predict",
        "fragments",
        folder,
        "--out",
        tmp_path / "out",
        "--images",
        5,
        "--method",
        "baseline",
    )
    assert run(*call)[0] == 0
    (tmp_path / "out" / "heap" / "notes.txt").write_text("my own")
    status, _, err = run(*call)
    assert status == 4 and "heap" in err
    assert (tmp_path / "out" / "heap" / "notes.txt").read_text() == "my own"


def test_names_that_are_not_utf_8_are_written_readably(run, folder, tmp_path):
    for path in list(folder.iterdir()):
        path.rename(folder / f"st\udcfcck {path.name}")
    status, *_ = run(
        "predict",
        "fragments",
        folder,
        "--out",
        tmp_path / "out",
        "--images",
        5,
        "--method",
        "colour",
    )
    assert status == 0
    assert (
        "st\\udcfcck 000.png"
        in (tmp_path / "out" / "heap" / "groups.csv").read_text()
    )


def test_show_never_writes_over_data_or_what_is_no_picture(
    run, folder, tmp_path
):
    before = (folder / "000.png").read_bytes()
    (tmp_path / "notes.txt").write_text("my own")
    for out in (folder / "000.png", tmp_path / "notes.txt"):
        status, _, err = run(
            "show", "fragments", "--data", folder, "--images", 2, "--out", out
        )
        assert status == 2 and "--out" in err
    assert (folder / "000.png").read_bytes() == before and (
        tmp_path / "notes.txt"
    ).read_text() == "my own"


@pytest.mark.parametrize("out", [".", "heap", "heap/in"])
def test_results_that_would_meet_an_input_are_refused_and_nothing_is_lost(
    run, folder, tmp_path, monkeypatch, out
):
    monkeypatch.chdir(tmp_path)
    before = sorted(p.name for p in folder.iterdir())
    status, _, err = run(
        "predict", "fragments", "heap", "--out", out, "--images", 5
    )
    assert status == 2 and "--out" in err
    assert sorted(p.name for p in folder.iterdir()) == before


def test_a_folder_of_somebody_else_s_in_the_place_of_results_is_left_alone(
    run, folder, tmp_path
):
    (tmp_path / "out" / "heap").mkdir(parents=True)
    (tmp_path / "out" / "heap" / "thesis.txt").write_text("years")
    status, _, err = run(
        "predict", "fragments", folder, "--out", tmp_path / "out", "--images", 5
    )
    assert status == 4 and "heap" in err
    assert (tmp_path / "out" / "heap" / "thesis.txt").read_text() == "years"


def test_predicting_again_replaces_the_results_as_a_whole(
    run, folder, tmp_path
):
    for images in (5, 4):
        status, _, _ = run(
            "predict",
            "fragments",
            folder,
            "--out",
            tmp_path / "out",
            "--images",
            images,
        )
        assert status == 0
    assert (
        sum(
            p.name.startswith("photograph")
            for p in (tmp_path / "out" / "heap").iterdir()
        )
        == 4
    )


def broken_inputs(folder):
    """By name: an input that cannot be answered."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (16, 16, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", rng.integers(0, 256, (64, 64, 3), np.uint8))[
        1
    ].tobytes()
    for name in ("empty", "one", "sizes", "text", "cut"):
        (folder / name).mkdir(parents=True)
        if name != "empty":
            write_png(folder / name / "a.png", image)
    write_png(folder / "sizes" / "b.png", image[:8, :8])
    (folder / "text" / "b.png").write_text("not an image")
    (folder / "cut" / "b.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    np.save(folder / "floats.npy", np.zeros((16, 8, 8, 3)))
    np.save(folder / "objects.npy", np.array([{}, []], object))
    (folder / "short.npy").write_bytes(
        (folder / "floats.npy").read_bytes()[:200]
    )
    (folder / "garbled.npy").write_bytes(
        (folder / "floats.npy").read_bytes().replace(b"descr", b"de(cr")
    )
    np.savez(folder / "several", a=image)
    (folder / "several.npz").rename(folder / "several.npy")
    (folder / "bad.zip").write_bytes(b"PK\x03\x04 nothing")
    with zipfile.ZipFile(
        folder / "flipped.zip", "w", zipfile.ZIP_DEFLATED
    ) as archive:
        archive.writestr("a.bmp", cv2.imencode(".bmp", image)[1].tobytes())
    data = bytearray((folder / "flipped.zip").read_bytes())
    data[60:70] = b"\xff" * 10
    (folder / "flipped.zip").write_bytes(data)
    (folder / "stray").mkdir()
    write_png(folder / "stray" / "a.png", image)
    write_png(folder / "nested" / "heap" / "a.png", image)
    (folder / "stray" / "b.gif").write_bytes(b"GIF89a")
    (folder / "notes.txt").write_text("hello")
    return sorted(folder.iterdir())


def test_every_broken_input_gets_a_record_with_reason_and_remedy_and_the_rest_is_done(
    run, folder, tmp_path
):
    inputs = broken_inputs(tmp_path / "broken")
    inputs.append(tmp_path / "nowhere")
    status, out, err = run(
        "predict",
        "fragments",
        *inputs,
        folder,
        "--out",
        tmp_path / "out",
        "--images",
        5,
    )
    assert all(f"Error: {path}: " in err for path in inputs)
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert [r["input"] for r in records] == [str(p) for p in (*inputs, folder)]
    assert [r["status"] for r in records] == ["failed"] * len(inputs) + ["ok"]
    assert all(r["reason"] and r["remedy"] for r in records[:-1])
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "heap",
        "manifest.jsonl",
    }


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("evaluate", "fragments", "--images", "0"), 2, "--images"),
        (("evaluate", "fragments", "--samples", "0"), 2, "--samples"),
        (("evaluate", "fragments", "--method", "magic"), 2, "baseline"),
        (("evaluate", "nothing"), 2, "nothing"),
        (("evaluate", "fragments", "--data", "nowhere"), 5, "nowhere"),
        (("predict", "fragments", "nowhere", "--out", "out"), 2, "nowhere"),
        (("predict", "fragments", ".", "--out", "out"), 2, "meet"),
        (
            ("show", "fragments", "--checkpoint", "nowhere.onnx"),
            3,
            "nowhere.onnx",
        ),
        (
            (
                "predict",
                "fragments",
                "nowhere",
                "--out",
                "out",
                "--method",
                "colour",
                "--checkpoint",
                "some.onnx",
            ),
            2,
            "--checkpoint",
        ),
        (
            (
                "evaluate",
                "fragments",
                "--checkpoint",
                "/proc/self/mem",
                "--method",
                "deep",
            ),
            3,
            "/proc/self/mem",
        ),
        (("benchmark", "--data", "nowhere"), 5, "nowhere"),
        (("benchmark", "magic"), 2, "magic"),
        (("train", "magic", "--data", ".", "--out", "out"), 2, "magic"),
        (
            ("train", "fragments", "--data", "nowhere", "--out", "out"),
            5,
            "train.zip",
        ),
        (("export", "fragments", "--run", "nowhere"), 2, "nowhere"),
    ],
)
def test_a_wrong_call_gets_a_sentence_and_its_status(
    run, tmp_path, monkeypatch, arguments, status, words
):
    monkeypatch.chdir(tmp_path)
    if arguments[0] in ("train", "export"):
        pytest.importorskip("torch", reason="training needs the extra [train]")
    code, out, err = run(*arguments)
    assert code == status and words in err and out == ""
    assert list(tmp_path.iterdir()) == []


def test_scenes_are_generated_prepared_evaluated_and_answered(run, tmp_path):
    pytest.importorskip(
        "pycocotools", reason="preparing needs the extra [prepare]"
    )
    scenes, out = tmp_path / "scenes", tmp_path / "prepared"
    assert run("prepare", "scenes", "--images", 12, "--out", scenes)[0] == 0
    call = (
        "prepare",
        "objects",
        "--annotations",
        scenes / "annotations.json",
        "--images",
        scenes / "images",
        "--out",
        out,
    )
    code, printed, _ = run(*call, "--size", 128, "--priority", "order")
    assert (
        code == 0
        and str(out / "report.html") in printed
        and "dropped 0" in printed
    )
    assert {path.name for path in out.iterdir()} >= {
        "train",
        "val",
        "test",
        "manifest.jsonl",
        "report.html",
        "report.json",
    }
    code, _, err = run(*call)
    assert code == 4 and "there already" in err
    code, printed, _ = run(
        "evaluate", "objects", "--data", out / "train", "--samples", 3, "--json"
    )
    outcome = json.loads(printed)["methods"]
    assert (
        code == 0
        and set(outcome) == {"trivial", "baseline", "deep"}
        and "pooled_iou" in outcome["deep"]["metrics"]
    )
    assert (
        run(
            "show",
            "objects",
            "--data",
            out / "train",
            "--out",
            tmp_path / "shown.png",
        )[0]
        == 0
    )
    classes = ",".join(
        json.loads((out / "classes.json").read_text())["classes"]
    )
    code, printed, _ = run(
        "predict",
        "objects",
        scenes / "images",
        "--out",
        tmp_path / "answers",
        "--classes",
        classes,
    )
    records = [json.loads(line) for line in printed.splitlines()]
    assert (
        code == 0
        and len(records) == 12
        and all(len(record["checkpoint"]) == 64 for record in records)
    )
    assert sum(records[0]["fractions"].values()) == pytest.approx(1, abs=0.001)
    mask = cv2.imread(
        str(tmp_path / "answers/00003/mask.png"), cv2.IMREAD_UNCHANGED
    )
    assert (tmp_path / "answers/00003/overlay.png").exists() and mask.shape[
        :2
    ] == (128, 128)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--size", "0"), "not two numbers"),
        (("--size", "axb"), "not two numbers"),
        (("--shard", "3/2"), "no shard"),
        (("--shard", "0/2"), "not two numbers"),
    ],
)
def test_a_preparation_that_makes_no_sense_is_refused(
    run, tmp_path, arguments, words
):
    pytest.importorskip(
        "pycocotools", reason="preparing needs the extra [prepare]"
    )
    code, _, err = run(
        "prepare",
        "objects",
        "--annotations",
        "a",
        "--images",
        "b",
        "--out",
        tmp_path / "out",
        *arguments,
    )
    assert code == 2 and words in err and not (tmp_path / "out").exists()


def test_methods_that_cannot_answer_are_left_out_and_named(run, tmp_path):
    scans = np.random.default_rng(0).random((2, 40, 48), np.float32)
    np.save(tmp_path / "scans.npy", scans)
    call = ("lines", "--data", tmp_path / "scans.npy", "--mask", "2/4@45")
    code, out, err = run("evaluate", *call, "--samples", 1, "--json")
    assert (
        code == 0
        and "lmmse" not in json.loads(out)["methods"]
        and "Left out: lmmse." in err
        and "64 x 64" in err
    )
    code, out, err = run("show", *call, "--out", tmp_path / "shown.png")
    assert (
        code == 0
        and (tmp_path / "shown.png").exists()
        and "Left out: lmmse." in err
    )
    code, out, err = run("evaluate", *call, "--method", "lmmse")
    assert code == 5 and out == "" and "64 x 64" in err


def test_a_damaged_checkpoint_stops_predict_with_status_3(
    run, folder, tmp_path
):
    (tmp_path / "bad.onnx").write_bytes(b"text")
    code, out, err = run(
        "predict",
        "fragments",
        folder,
        "--out",
        tmp_path / "out",
        "--checkpoint",
        tmp_path / "bad.onnx",
    )
    assert code == 3 and out == "" and "bad.onnx" in err


def test_an_output_that_cannot_be_written_stops_with_status_4(
    run, folder, tmp_path
):
    (tmp_path / "file").write_text("in the way")
    code, _, err = run(
        "predict",
        "fragments",
        folder,
        "--out",
        tmp_path / "file",
        "--images",
        5,
    )
    assert code == 4 and "cannot be written" in err


def test_evaluate_json_has_the_contract_s_shape(run):
    code, out, _ = run(
        "evaluate",
        "fragments",
        "--samples",
        2,
        "--images",
        3,
        "--method",
        "trivial",
        "--method",
        "baseline",
        "--json",
    )
    result = json.loads(out)
    assert code == 0
    assert list(result) == [
        "task",
        "data",
        "samples",
        "seed",
        "methods",
        "options",
        "left_out",
    ]
    assert result["options"]["images"] == 3
    assert list(result["methods"]) == ["trivial", "baseline"]
    for method in result["methods"].values():
        assert list(method) == ["metrics", "milliseconds"]
        assert list(method["metrics"]) == [
            "ari",
            "nmi",
            "pair_precision",
            "pair_recall",
            "neighbour_accuracy",
            "perfect_images",
        ]
        assert all(
            list(m) == ["mean", "low", "high"]
            for m in method["metrics"].values()
        )


def test_evaluate_prints_a_table(run):
    code, out, _ = run(
        "evaluate",
        "fragments",
        "--samples",
        1,
        "--images",
        2,
        "--method",
        "trivial",
    )
    assert (
        code == 0
        and out.splitlines()[0].startswith("method")
        and "trivial" in out
    )


def test_show_draws_one_picture(run, tmp_path):
    code, out, _ = run(
        "show", "fragments", "--images", 3, "--out", tmp_path / "some.png"
    )
    assert code == 0 and out.strip() == str(tmp_path / "some.png")
    assert read_image(tmp_path / "some.png").std() > 10


def commands(group=cli.cli, path=()):
    for name, command in group.commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


def test_every_command_and_option_has_help_and_every_verb_is_in_the_readme():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    for path, command in commands():
        assert command.help, path
        assert all(
            p.help for p in command.params if p.param_type_name == "option"
        ), path
        assert f"toolkit {path[0]}" in readme, path


def test_max_pixels_is_a_value_of_each_call(tmp_path):
    write_png(tmp_path / "p.png", np.zeros((40, 40, 3), np.uint8))
    call = [
        "predict",
        "objects",
        str(tmp_path / "p.png"),
        "--method",
        "trivial",
    ]
    runner = CliRunner()
    for k, (limit, status) in enumerate(
        (((), 0), (("--max-pixels", "100"), 1), ((), 0))
    ):
        out = ["--out", str(tmp_path / f"out{k}")]
        result = runner.invoke(
            cli.cli, [*call, *out, *limit], standalone_mode=False
        )
        assert result.return_value == status
        assert ("has more than 100 pixels" in result.stdout) == bool(status)
    with pytest.raises(ToolkitError, match="more than 100 pixels"):
        hvd.predict("objects", tmp_path / "p.png", "trivial", max_pixels=100)


def test_a_terminal_gets_a_table_and_a_closing_sentence(tmp_path, monkeypatch):
    for name in ("b", "a"):
        write_png(
            tmp_path / "in" / f"{name}.png", np.zeros((40, 40, 3), np.uint8)
        )
    (tmp_path / "in/c.png").write_text("no image")
    call = ["predict", "objects", str(tmp_path / "in"), "--method", "trivial"]
    monkeypatch.setattr(cli, "on_terminal", lambda: True)
    shown = (
        CliRunner()
        .invoke(cli.cli, [*call, "--out", str(tmp_path / "out")])
        .stdout
    )
    lines = shown.splitlines()
    assert [line.split()[0].rpartition("/")[2] for line in lines[1:4]] == [
        "a.png",
        "b.png",
        "c.png",
    ]
    assert (
        "Answered 2 of 3" in lines[-1]
        and "c.png" in lines[-1]
        and "Open first" in lines[-1]
    )
    as_json = CliRunner().invoke(
        cli.cli, [*call, "--out", str(tmp_path / "out"), "--json"]
    )
    assert len([json.loads(line) for line in as_json.stdout.splitlines()]) == 3


def test_a_card_is_named_with_or_without_its_ending():
    cards = [
        CliRunner().invoke(cli.cli, ["models", "card", n]).stdout
        for n in ("grains", "grains.onnx")
    ]
    assert cards[0] == cards[1] and json.loads(cards[0])["task"] == "grains"

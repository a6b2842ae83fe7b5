"""What `predict grains` writes, as its user would run it."""

import csv
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from click import UsageError
from click.testing import CliRunner
from roifile import ImagejRoi

from hvd.data.polycrystals import tessellation
from hvd.toolkit.cli import cli
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains.boundaries import pen_strokes
from hvd.toolkit.tasks.grains.charts import ticks
from hvd.toolkit.tasks.grains.files import measure, write
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph

KINDS = (
    "boundaries.png",
    "labels.tif",
    "overlay.png",
    "grains.csv",
    "chords.csv",
    "distribution.png",
    "rois.zip",
)


def etched(diameter, seed):
    """A clean micrograph uint8 (240, 240) with dark lines between grains of about that diameter."""
    labels = tessellation(
        (240, 240), diameter, np.random.default_rng(seed)
    ).labels
    image = np.where(pen_strokes(labels, 4), 40, 200) + np.random.default_rng(
        seed
    ).normal(0, 4, labels.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two batches of two micrographs, TIFF of 0.5 micrometres a pixel, and one broken file."""
    place = tmp_path_factory.mktemp("batches")
    for batch in ("before", "after"):
        (place / batch).mkdir()
        for k in range(2):
            scale = {"resolution": (2, 2), "metadata": {"unit": "um"}}
            tifffile.imwrite(
                place / batch / f"m{k}.tif",
                etched(40 if batch == "before" else 55, k),
                imagej=True,
                **scale,
            )
    (place / "after" / "broken.png").write_text("no image")
    (place / "after" / "notes.txt").write_text("not an input")
    return place


@pytest.fixture(scope="module")
def done(folders, tmp_path_factory):
    """The run over both batches: its result and its folder."""
    out = tmp_path_factory.mktemp("out") / "results"
    arguments = [
        "predict",
        "grains",
        str(folders / "before"),
        str(folders / "after"),
        "--method",
        "baseline",
        "--out",
        str(out),
    ]
    return CliRunner().invoke(cli, arguments, standalone_mode=False), out


def test_every_micrograph_gets_its_files_and_one_record(done):
    result, out = done
    records = [json.loads(line) for line in result.stdout.splitlines()]
    statuses = {
        Path(r["input"]).name: r["status"]
        for r in records
        if "after" in r["input"]
    }
    assert statuses == {
        "m0.tif": "ok",
        "m1.tif": "ok",
        "broken.png": "failed",
        "notes.txt": "skipped",
    }
    assert len(records) == 6 and result.return_value == 1
    for batch in ("before", "after"):
        for name in ("m0", "m1"):
            assert {p.name for p in (out / batch / name).iterdir()} == {
                "record.json",
                *(f"{name}-{kind}" for kind in KINDS),
            }
    ok = next(r for r in records if r["status"] == "ok")
    assert (
        ok["micrometres_per_pixel"] == pytest.approx(0.5)
        and ok["scale_source"] == "ImageJ tags"
        and ok["unit"] == "micrometre"
    )


def test_the_tables_agree_with_the_label_map(done):
    _, out = done
    labels = tifffile.imread(out / "before" / "m0" / "m0-labels.tif")
    assert labels.dtype == np.int32 and labels.shape == (240, 240)
    with tifffile.TiffFile(out / "before" / "m0" / "m0-labels.tif") as file:
        above, below = file.pages[0].tags["XResolution"].value
        assert 1e4 * below / above == pytest.approx(0.5)
    rows = list(
        csv.DictReader(
            io.StringIO((out / "before" / "m0" / "m0-grains.csv").read_text())
        )
    )
    assert len(rows) == labels.max()
    assert sum(float(row["area_um2"]) for row in rows) == pytest.approx(
        labels.size * 0.25, rel=1e-4
    )
    mask = cv2.imread(
        str(out / "before" / "m0" / "m0-boundaries.png"), cv2.IMREAD_UNCHANGED
    )
    assert set(np.unique(mask)) <= {0, 255} and mask.shape == labels.shape


def test_outlines_for_imagej_enclose_their_grains_exactly(done):
    _, out = done
    labels = tifffile.imread(out / "before" / "m1" / "m1-labels.tif")
    with zipfile.ZipFile(out / "before" / "m1" / "m1-rois.zip") as archive:
        assert len(archive.namelist()) == labels.max()
        for number, name in enumerate(archive.namelist(), 1):
            x, y = (
                ImagejRoi.frombytes(archive.read(name))
                .coordinates()
                .T.astype(float)
            )
            area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
            inside = np.zeros(
                (2 * labels.shape[0] + 2, 2 * labels.shape[1] + 2), np.uint8
            )
            grain = (labels == number).astype(np.uint8)
            outside = cv2.floodFill(
                cv2.copyMakeBorder(
                    1 - grain, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1
                ),
                None,
                (0, 0),
                2,
            )[1]
            # Holes are inside an outline
            assert area == (outside[1:-1, 1:-1] != 2).sum(), inside.shape


def test_the_run_is_summed_up_and_its_batches_compared(done):
    _, out = done
    rows = list(csv.DictReader(io.StringIO((out / "summary.csv").read_text())))
    assert len(rows) == 5
    assert (
        sum(row["status"] == "failed" and row["reason"] != "" for row in rows)
        == 1
    )
    assert all(
        float(row["diameter_number_weighted_d50"]) > 0
        for row in rows
        if row["status"] == "ok"
    )
    (pair,) = csv.DictReader(io.StringIO((out / "batches.csv").read_text()))
    assert {pair["batch"], pair["other"]} == {"before", "after"}
    assert 0 <= float(pair["p_value"]) <= 1
    assert cv2.imread(str(out / "batches.png")).shape == (700, 1200, 3)


def test_names_of_batches_are_no_formulas(folders, tmp_path):
    shutil.copytree(folders / "before", tmp_path / "G/=HYPERLINK(1)")
    shutil.copytree(folders / "after", tmp_path / "G/+cmd")
    call = ["predict", "grains", str(tmp_path / "G"), "--method", "baseline"]
    CliRunner().invoke(
        cli, [*call, "--out", str(tmp_path / "out")], standalone_mode=False
    )
    (pair,) = csv.DictReader(
        io.StringIO((tmp_path / "out/batches.csv").read_text())
    )
    assert {pair["batch"], pair["other"]} == {"'=HYPERLINK(1)", "'+cmd"}


def test_batches_whose_tables_lie_elsewhere_are_not_merged_until_they_are_found(
    folders, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments = [
        "predict",
        "grains",
        str(folders / "before"),
        str(folders / "after"),
        "--method",
        "baseline",
        "--out",
        "out",
    ]
    for share in ("1/2", "2/2"):
        CliRunner().invoke(
            cli, [*arguments, "--shard", share], standalone_mode=False
        )
    monkeypatch.chdir(folders)
    refused = (
        CliRunner()
        .invoke(cli, ["merge", str(tmp_path / "out")], standalone_mode=False)
        .exception
    )
    assert (
        refused.status == 2
        and "Merge in the folder" in refused.remedy
        and not (tmp_path / "out/summary.csv").exists()
    )
    monkeypatch.chdir(tmp_path)
    assert (
        CliRunner()
        .invoke(cli, ["merge", "out"], standalone_mode=False)
        .exception
        is None
    )
    assert (tmp_path / "out/batches.png").exists() and not list(
        (tmp_path / "out").glob("manifest-*")
    )


def test_without_a_scale_lengths_are_in_pixels_and_say_so(tmp_path):
    cv2.imwrite(str(tmp_path / "plain.png"), etched(40, 3))
    arguments = [
        "predict",
        "grains",
        str(tmp_path / "plain.png"),
        "--method",
        "baseline",
        "--out",
        str(tmp_path / "out"),
    ]
    record = json.loads(
        CliRunner().invoke(cli, arguments, standalone_mode=False).stdout
    )
    assert (
        record["unit"] == "pixel"
        and record["astm_g"] is None
        and "pixels" in record["scale_source"]
    )
    assert (
        "diameter_px"
        in (tmp_path / "out" / "plain" / "plain-grains.csv").read_text()
    )


def test_the_data_bar_is_left_out_and_its_scale_bar_read(tmp_path):
    image = etched(40, 3)
    image[210:] = 0
    image[224:227, 100:150] = 255
    cv2.imwrite(str(tmp_path / "sem.png"), image)
    arguments = [
        "predict",
        "grains",
        str(tmp_path / "sem.png"),
        "--method",
        "baseline",
        "--out",
        str(tmp_path / "out"),
    ]
    arguments += ["--scale-bar-micrometres", "100", "--exclude-bottom", "30"]
    record = json.loads(
        CliRunner().invoke(cli, arguments, standalone_mode=False).stdout
    )
    assert (
        record["micrometres_per_pixel"] == 2
        and "50 pixels" in record["scale_source"]
    )
    assert tifffile.imread(
        tmp_path / "out" / "sem" / "sem-labels.tif"
    ).shape == (210, 240)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--micrometres-per-pixel", "0"],
        ["--micrometres-per-pixel", "nan"],
        ["--scale-bar-micrometres", "-5"],
        ["--exclude-bottom", "-1"],
        ["--micrometres-per-pixel", "1", "--scale-bar-micrometres", "5"],
    ],
)
def test_a_scale_that_is_none_is_refused(tmp_path, folders, wrong):
    arguments = [
        "predict",
        "grains",
        str(folders / "before"),
        "--method",
        "baseline",
        "--out",
        str(tmp_path / "out"),
        *wrong,
    ]
    with pytest.raises((ToolkitError, UsageError)) as error:
        CliRunner().invoke(
            cli, arguments, standalone_mode=False, catch_exceptions=False
        )
    status = getattr(error.value, "status", None) or error.value.exit_code
    assert status == 2 and not (tmp_path / "out").exists()


def test_a_folder_without_images_is_no_input(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ToolkitError, match="no input") as error:
        arguments = [
            "predict",
            "grains",
            str(tmp_path / "empty"),
            "--out",
            str(tmp_path / "out"),
        ]
        CliRunner().invoke(
            cli, arguments, standalone_mode=False, catch_exceptions=False
        )
    assert error.value.status == 2


@pytest.mark.parametrize("number", [0, 1])
def test_no_grain_and_one_grain_are_written_too(tmp_path, number):
    shape = 40, 60
    answer = Boundaries(np.zeros(shape, bool), np.full(shape, number, np.int32))
    micrograph = Micrograph(np.full(shape, 90, np.uint8))
    values, _ = measure(answer, micrograph)
    assert values["grains"] == number
    write(answer, micrograph, values, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {
        f"micrograph-{kind}" for kind in KINDS
    }


def test_two_micrographs_of_one_stem_and_names_that_are_no_utf_8_get_results_of_their_own(
    tmp_path,
):
    (tmp_path / "in").mkdir()
    for name in (b"a.tif", b"a.png", b"gef\xfcge.png"):
        cv2.imwrite(str(tmp_path / "image.png"), etched(40, 1))
        (tmp_path / "image.png").rename(tmp_path / "in" / os.fsdecode(name))
    arguments = [
        "predict",
        "grains",
        str(tmp_path / "in"),
        "--method",
        "baseline",
        "--out",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert result.return_value == 0
    assert {os.fsencode(p.name) for p in (tmp_path / "out").iterdir()} == {
        b"a.tif",
        b"a.png",
        b"gef\xfcge",
        b"report.html",
        b"specimens.csv",
        b"summary.csv",
        b"manifest.jsonl",
        b"run.json",
    }


def test_axes_have_round_numbers_even_when_narrow():
    assert ticks(1, 100) == [1, 2, 5, 10, 20, 50, 100]
    for low, high in ((21, 49), (30, 30.5), (99, 101), (0.021, 0.023)):
        outcome = ticks(low, high)
        assert 2 <= len(outcome) <= 13 and all(
            low * 0.99 <= t <= high * 1.01 for t in outcome
        )

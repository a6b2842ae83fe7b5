"""Which image is whose, by names in annotations and on disk, and its name in the data set."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="preparing needs the extra [prepare]")

from tests.data.preparation.test_run import (
    SQUARE,
    coco,
    masks,
    photograph,
    reasons,
    run,
)


def test_names_that_differ_in_folder_or_suffix_alone_stay_apart(tmp_path):
    for k, name in enumerate(["a/x.png", "b/x.png", "x.jpg"]):
        photograph(tmp_path / "images" / name, seed=k)
    images = [("a/x.png", 64, 48), ("b/x.png", 64, 48), ("x.jpg", 64, 48)]
    report = run(
        coco(tmp_path, images, [(k, [SQUARE], {}) for k in range(3)]),
        tmp_path / "out",
    )
    assert (
        report["images"]["written"] == 3 and len(masks(tmp_path / "out")) == 3
    )
    sources = {
        json.loads(line)["source"]
        for line in (tmp_path / "out/manifest.jsonl").read_text().splitlines()
    }
    assert sources == {"a/x.png", "b/x.png", "x.jpg"}


def test_an_image_that_is_named_exactly_is_not_given_to_another(tmp_path):
    photograph(tmp_path / "images/val/1.png")
    options = coco(
        tmp_path,
        [("train/1.png", 64, 48), ("val/1.png", 64, 48)],
        [(0, [SQUARE], {}), (1, [SQUARE], {"category_id": 2})],
    )
    report = run(options, tmp_path / "out")
    (mask,) = masks(tmp_path / "out").values()
    assert (
        set(np.unique(mask)) == {0, 2} and report["instances"]["dropped"] == 1
    )
    assert [
        one["image"] for one in report["problems"] if one["action"] == "skipped"
    ] == ["train/1.png"]


def test_no_two_images_get_one_name(tmp_path):
    names = ["a/b_c.png", "x/b_c.png", "a_b/c.png", "x/c.png"]
    for k, name in enumerate(names):
        photograph(tmp_path / "images" / name, seed=k)
    run(
        coco(
            tmp_path,
            [(name, 64, 48) for name in names],
            [(k, [SQUARE], {}) for k in range(4)],
        ),
        tmp_path / "out",
    )
    assert len(masks(tmp_path / "out")) == 4


def test_a_name_that_is_no_utf_8_does_not_stop_the_report(tmp_path):
    photograph(tmp_path / "images/a.png")
    try:
        (tmp_path / "images" / "caf\udce9.png").write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    report = run(
        coco(tmp_path, [("a.png", 64, 48)], [(0, [SQUARE], {})]),
        tmp_path / "out",
    )
    assert report["images"]["written"] == 1


def test_names_that_are_no_utf_8_and_long_ones_are_prepared(tmp_path):
    photograph(tmp_path / "images/a.png")
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / "images/a.png").rename(tmp_path / f"images/{name}.png")
    photograph(tmp_path / f"images/{'l' * 150}/{'q' * 120}.png", seed=1)
    photograph(tmp_path / f"images/{'m' * 150}/{'q' * 120}.png", seed=2)
    names = [
        f"{name}.png",
        f"{'l' * 150}/{'q' * 120}.png",
        f"{'m' * 150}/{'q' * 120}.png",
    ]
    report = run(
        coco(
            tmp_path,
            [(n, 64, 48) for n in names],
            [(k, [SQUARE], {}) for k in range(3)],
        ),
        tmp_path / "out",
    )
    assert report["images"]["written"] == 3


def test_what_a_second_file_tells_of_an_image_is_reported_of_that_file(
    tmp_path,
):
    photograph(tmp_path / "images/a.png")
    coco(tmp_path, [("a.png", 64, 48)], [(0, [[1, 1, 5, 1]], {"id": 77})])
    (tmp_path / "a.json").rename(tmp_path / "b.json")
    options = coco(tmp_path, [("a.png", 64, 48)], [(0, [SQUARE], {})])
    (tmp_path / "told").mkdir()
    for name in "ab":
        (tmp_path / f"{name}.json").rename(tmp_path / f"told/{name}.json")
    report = run(
        replace(options, annotations=tmp_path / "told"), tmp_path / "out"
    )
    assert {
        one["file"] for one in report["problems"] if one["instance"] == "77"
    } == {"b.json"}


def test_a_name_that_ends_in_a_number_is_not_cut(tmp_path):
    photograph(tmp_path / "images/scan.png")
    photograph(tmp_path / "images/b.png", seed=1)
    options = coco(
        tmp_path,
        [("scan.2", 64, 48), ("b", 64, 48)],
        [(0, [SQUARE], {}), (1, [SQUARE], {})],
    )
    report = run(options, tmp_path / "out")
    assert (
        "there is no such image" in reasons(report, "skipped")
        and report["images"]["written"] == 1
    )

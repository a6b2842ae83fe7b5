"""Annotations, heaps, micrographs and scans that mean trouble."""

import json
import struct

import cv2
import numpy as np
import pytest

from tests.hostile.child import toolkit
from tests.hostile.rows import row
from tests.hostile.test_images import PICTURE, coded, exif_turned

SQUARE = [4, 4, 20, 4, 20, 20, 4, 20]


@pytest.fixture
def place(tmp_path):
    (tmp_path / "images").mkdir()
    for k in range(3):
        (tmp_path / "images" / f"{k}.png").write_bytes(
            coded(".png", np.roll(PICTURE, 7 * k, 1))
        )
    return tmp_path


def coco(**changes):
    """A data set of three pictures with an object each."""
    result = {
        "images": [
            {"id": k, "file_name": f"{k}.png", "width": 64, "height": 40}
            for k in range(3)
        ],
        "annotations": [
            {
                "id": k,
                "image_id": k,
                "category_id": 1,
                "segmentation": [SQUARE],
                "iscrowd": 0,
            }
            for k in range(3)
        ],
        "categories": [{"id": 1, "name": "thing"}],
    }
    return result | changes


def prepared(place, text):
    """Prepare from annotations; returns how it ended, and the report when there is one."""
    pytest.importorskip("shapely", reason="preparing needs the extra [prepare]")
    (place / "a.json").write_text(
        text if isinstance(text, str) else json.dumps(text)
    )
    ended = toolkit(
        "prepare",
        "objects",
        "--annotations",
        "a.json",
        "--images",
        "images",
        "--out",
        "set",
        "--workers",
        "1",
        cwd=place,
    )
    report = place / "set/report.json"
    return ended, json.loads(report.read_text()) if report.exists() else None


def reasons(report):
    return " | ".join(problem["reason"] for problem in report["problems"])


@row(
    "COCO `file_name` of `../../x`, `/etc/passwd`, `C:\\x`, a URL",
    "refused, listed; the other images are prepared",
)
def test_file_names(place):
    document = coco()
    names = ["../../etc/x.png", "/etc/passwd", "C:\\x.png", "http://x/y.png"]
    document["images"] += [
        {"id": 10 + k, "file_name": name, "width": 64, "height": 40}
        for k, name in enumerate(names)
    ]
    ended, report = prepared(place, document)
    assert ended.status == 0 and "leaves the folder" in reasons(report)
    assert not any("passwd" in str(path) for path in (place / "set").rglob("*"))


@row(
    "COCO with doubled ids, images that are not there, unknown categories",
    "listed with file, id and reason",
)
def test_relations(place):
    document = coco()
    document["annotations"] += [
        document["annotations"][0],
        {**document["annotations"][1], "id": 7, "category_id": 99},
    ]
    document["annotations"].append(
        {**document["annotations"][1], "id": 8, "image_id": 77}
    )
    ended, report = prepared(place, document)
    assert ended.status == 0 and len(report["problems"]) >= 3


@row(
    "polygon of 2 points, odd length, NaN, outside, crossing itself; runs of another size",
    "dropped, clipped or mended, and listed",
)
def test_polygons(place):
    document = coco()
    shapes = [
        [1, 1, 5, 5],
        [1, 1, 5, 5, 9],
        [1, 1, "x", 5, 9, 9],
        [100, 100, 120, 100, 120, 120],
        [4, 4, 20, 20, 20, 4, 4, 20],
    ]
    segmentations = [[shape] for shape in shapes] + [
        {"size": [10, 10], "counts": [100]},
        {"size": [40, 64], "counts": "~" * 50},
    ]
    first = document["annotations"][0]
    document["annotations"] += [
        {**first, "id": 20 + k, "segmentation": s}
        for k, s in enumerate(segmentations)
    ]
    ended, report = prepared(place, document)
    assert ended.status == 0 and len(report["problems"]) >= len(segmentations)
    counts = report["instances"]
    assert counts["annotated"] == counts["kept"] + counts["dropped"]


@row(
    "annotated size that is not the file's; EXIF orientation",
    "skipped or turned, and listed",
)
def test_sizes(place):
    document = coco()
    document["images"][0] |= {"width": 500, "height": 300}
    (place / "images/1.png").unlink()
    (place / "images/1.jpg").write_bytes(exif_turned())
    document["images"][1] |= {"file_name": "1.jpg", "width": 40, "height": 64}
    ended, report = prepared(place, document)
    assert (
        ended.status == 0
        and "500 x 300" in reasons(report)
        and "EXIF orientation 6" in reasons(report)
    )


@row(
    "JSON with a key named twice, 100,000 brackets, no JSON at all",
    "status 5 in a sentence",
)
def test_json(place):
    for text in (
        '{"images": [], "images": []}',
        "[" * 100_000,
        '{"images":',
        "\0\0",
    ):
        ended, _ = prepared(place, text)
        assert ended.status == 5 and "Error: " in ended.err


@row(
    "JSON with NaN, 1e999, a byte order mark",
    "read; what is no number is dropped and listed",
)
def test_numbers(place):
    text = json.dumps(coco()).replace("[4, 4, 20,", "[NaN, 1e999, 20,", 1)
    ended, report = prepared(place, "\ufeff" + text)
    assert ended.status == 0 and report["instances"]["dropped"] == 1


@row(
    "the same picture twice, or nearly",
    "both in the same part: none is in training and in test (tests/data/preparation/test_run.py)",
)
def test_twins(place):
    document = coco()
    for k in range(3):
        (place / "images" / f"{k}.png").write_bytes(
            coded(
                ".png",
                np.clip(PICTURE.astype(int) + k, 0, 255).astype(np.uint8),
            )
        )
    ended, report = prepared(place, document)
    assert ended.status == 0 and sorted(report["images"]["parts"].values()) == [
        0,
        0,
        3,
    ]


@row(
    "masks that hold 0 and 255 where 0 and 1 were meant",
    "status 5, names a mask; never scored, never trained on",
)
def test_masks_of_255(place):
    (place / "masks").mkdir()
    (place / "classes.json").write_text(
        json.dumps({"classes": ["background", "thing"]})
    )
    for k in range(3):
        (place / "masks" / f"{k}.png").write_bytes(
            coded(
                ".png", np.where(PICTURE[..., 0] > 100, 255, 0).astype(np.uint8)
            )
        )
    ended = toolkit(
        "evaluate", "objects", "--data", ".", "--method", "trivial", cwd=place
    )
    assert (
        ended.status == 5
        and "masks/0.png" in ended.err
        and "0 and 255" in ended.err
    )


@row("heap of 0 or 1 fragments", "fails: 2 to 2,000 are asked for")
@pytest.mark.parametrize("count", [0, 1])
def test_small_heaps(tmp_path, count):
    np.save(tmp_path / "heap.npy", np.zeros((count, 16, 16, 3), np.uint8))
    ended = toolkit(
        "predict",
        "fragments",
        "heap.npy",
        "--out",
        "out",
        "--known",
        "nothing",
        cwd=tmp_path,
    )
    assert (
        ended.status == 1
        and f"has {count} fragment" in ended.records[0]["reason"]
    )


@row(
    "fragments that are all black, or all alike",
    "answered: every method groups them somehow",
)
@pytest.mark.parametrize("method", ["baseline", "hdbscan", "loops", "deep"])
def test_equal_fragments(tmp_path, method):
    np.save(tmp_path / "black.npy", np.zeros((12, 16, 16, 3), np.uint8))
    np.save(
        tmp_path / "alike.npy",
        np.repeat(np.arange(768, dtype=np.uint8).reshape(1, 16, 16, 3), 12, 0),
    )
    call = (
        "predict",
        "fragments",
        "black.npy",
        "alike.npy",
        "--out",
        "out",
        "--known",
        "nothing",
        "--method",
        method,
    )
    assert toolkit(*call, cwd=tmp_path).status == 0


@row(
    "micrograph without a grain, with one grain, all boundary",
    "answered: a table without NaN",
)
@pytest.mark.parametrize("method", ["baseline", "deep"])
def test_empty_micrographs(tmp_path, method):
    flat = np.full((80, 90), 128, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (80, 90), np.uint8)
    for name, image in (("flat", flat), ("noise", noise), ("black", flat * 0)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    call = (
        "predict",
        "grains",
        "flat.png",
        "noise.png",
        "black.png",
        "--out",
        "out",
        "--method",
        method,
    )
    ended = toolkit(*call, cwd=tmp_path)
    assert (
        ended.status == 0
        and "nan" not in (tmp_path / "out/summary.csv").read_text().lower()
    )


@row("scale of 0, below 0, NaN, or no number", "status 2")
@pytest.mark.parametrize("scale", ["0", "-1", "nan", "inf", "wide"])
def test_scales(tmp_path, scale):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((80, 90), 128, np.uint8))
    call = (
        "predict",
        "grains",
        "a.png",
        "--out",
        "out",
        "--micrometres-per-pixel",
        scale,
        "--method",
        "baseline",
    )
    assert toolkit(*call, cwd=tmp_path).status == 2


@row(
    "scans of which nothing, or everything, is missing; complex, constant, of odd width",
    "as they came; fails; fails; answered; answered",
)
def test_scans(tmp_path):
    rng = np.random.default_rng(0)
    mask = np.zeros((33, 31), bool)
    mask[1::3] = True
    scans = {
        "whole": (rng.uniform(0.1, 1, (2, 33, 31)).astype(np.float32), "ok"),
        "gone": (np.full((2, 33, 31), np.nan, np.float32), "failed"),
        "complex": (rng.normal(size=(2, 33, 31)) + 1j, "failed"),
        "constant": (
            np.where(mask, np.nan, np.full((2, 33, 31), 0.5)).astype(
                np.float32
            ),
            "ok",
        ),
        "odd": (
            np.where(mask, np.nan, rng.uniform(0.1, 1, (2, 33, 31))).astype(
                np.float32
            ),
            "ok",
        ),
    }
    for name, (values, _) in scans.items():
        np.save(tmp_path / f"{name}.npy", values)
    ended = toolkit(
        "predict",
        "lines",
        *(f"{name}.npy" for name in scans),
        "--out",
        "out",
        cwd=tmp_path,
    )
    assert [record["status"] for record in ended.records] == [
        status for _, status in scans.values()
    ]
    assert (
        np.load(tmp_path / "out/whole/whole_nogaps.npy").tobytes()
        == scans["whole"][0].tobytes()
    )


@row("TIFF whose directory is a loop", "fails; nothing hangs")
def test_looping_tiff(tmp_path):
    entry = struct.pack("<HHIHHI", 1, 256, 4, 1, 0, 8)[:14]
    (tmp_path / "loop.tif").write_bytes(
        b"II*\0" + struct.pack("<I", 8) + entry + struct.pack("<I", 8)
    )
    ended = toolkit(
        "predict",
        "grains",
        "loop.tif",
        "--out",
        "out",
        "--method",
        "baseline",
        cwd=tmp_path,
    )
    assert ended.status == 1 and ended.records[0]["status"] == "failed"

"""One image of a data set: what it and each of its instances become, and what is told of it."""

import io
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from hvd.data.preparation import images as prepared_images
from hvd.data.preparation import rasters
from hvd.data.preparation.images import Place
from hvd.data.preparation.instances import Instance
from tests.data.preparation.test_run import (
    SQUARE,
    coco,
    masks,
    photograph,
    reasons,
    run,
)


@pytest.mark.parametrize(
    ("size", "orientation", "upright"),
    [
        ((64, 48), 6, False),
        ((48, 64), 6, True),
        ((64, 48), 3, False),
        ((64, 48), 2, False),
    ],
)
def test_exif_orientation_is_applied_when_the_annotations_mean_the_turned_image(
    size, orientation, upright, tmp_path
):
    photograph(tmp_path / "images/a.jpg", exif=orientation)
    options = replace(
        coco(
            tmp_path, [("a.jpg", *size)], [(0, [[0, 0, 8, 0, 8, 8, 0, 8]], {})]
        ),
        size=size,
    )
    report = run(options, tmp_path / "out")
    assert f"{'' if upright else 'not '}applied" in reasons(report, "noted")[0]
    image = cv2.imread(str(next((tmp_path / "out").glob("*/images/a.jpg"))))
    wanted = cv2.imread(
        str(tmp_path / "images/a.jpg"),
        cv2.IMREAD_COLOR | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION),
    )
    assert (
        image.shape == wanted.shape
        and np.abs(image.astype(int) - wanted).mean() < 4
    )


@pytest.mark.parametrize(
    ("fit", "ignored", "place"),
    [
        ("letterbox", 64 * 8, (28, 20)),
        ("crop", 0, (32, 26)),
        ("stretch", 0, (32, 20)),
    ],
)
def test_every_image_comes_to_the_size_that_was_asked(
    fit, ignored, place, tmp_path
):
    photograph(tmp_path / "images/a.png", 128, 96)
    options = replace(
        coco(
            tmp_path,
            [("a.png", 128, 96)],
            [(0, [[20, 30, 60, 30, 60, 70, 20, 70]], {})],
        ),
        size=(64, 56),
        fit=fit,
    )
    run(options, tmp_path / "out")
    (mask,) = masks(tmp_path / "out").values()
    assert (
        mask.shape == (56, 64)
        and (mask == 255).sum() == ignored
        and mask[place] == 1
    )
    image = cv2.imread(str(next((tmp_path / "out").glob("*/images/a.jpg"))))
    assert image.shape == (56, 64, 3)


def test_an_object_smaller_than_a_pixel_keeps_one(tmp_path):
    photograph(tmp_path / "images/a.png", 640, 480)
    annotations = [
        (0, [[100, 100, 103, 100, 103, 103, 100, 103]], {}),
        (0, [[300, 300, 400, 300, 400, 400, 300, 400]], {"category_id": 2}),
    ]
    report = run(
        coco(tmp_path, [("a.png", 640, 480)], annotations), tmp_path / "out"
    )
    (mask,) = masks(tmp_path / "out").values()
    assert (
        (mask == 1).sum() == 1
        and mask[10, 10] == 1
        and (mask == 2).sum() == 100
    )
    assert reasons(report, "noted") == ["so small that it is kept as one pixel"]


def test_an_object_under_another_is_reported(tmp_path):
    photograph(tmp_path / "images/a.png")
    options = coco(
        tmp_path,
        [("a.png", 64, 48)],
        [
            (0, [SQUARE], {}),
            (0, [[0, 0, 60, 0, 60, 40, 0, 40]], {"category_id": 2}),
        ],
    )
    report = run(replace(options, priority="order"), tmp_path / "out")
    assert reasons(report, "noted") == ["it lies entirely under others"]


def test_small_instances_beside_a_large_one_of_their_class_are_not_lost(
    tmp_path,
):
    photograph(tmp_path / "images/a.png", 640, 480)
    small = [
        [x, 98, x + 3, 98, x + 3, 101, x, 101] for x in range(105, 300, 20)
    ]
    annotations = [
        (0, [[100, 100, 400, 100, 400, 400, 100, 400]], {}),
        *((0, [one], {}) for one in small),
    ]
    run(
        replace(
            coco(tmp_path, [("a.png", 640, 480)], annotations), mode="instances"
        ),
        tmp_path / "out",
    )
    numbers = cv2.imread(
        str(next((tmp_path / "out").glob("*/instances/a.png"))), -1
    )
    assert set(np.unique(numbers)) == set(range(12))


def test_of_small_instances_in_one_pixel_one_is_kept_and_the_others_reported(
    tmp_path,
):
    photograph(tmp_path / "images/a.png", 640, 480)
    tiny = [[[x, 101, x + 2, 101, x + 2, 103, x, 103]] for x in (101, 104, 107)]
    options = coco(
        tmp_path,
        [("a.png", 640, 480)],
        [(0, one, {"category_id": 1 + k % 2}) for k, one in enumerate(tiny)],
    )
    report = run(options, tmp_path / "out")
    noted = Counter(reasons(report, "noted"))
    assert (
        noted["so small that it is kept as one pixel"] == 1
        and noted.total() == 2
    )
    (mask,) = masks(tmp_path / "out").values()
    assert (mask > 0).sum() == noted["so small that it is kept as one pixel"]


def test_a_thin_line_in_a_large_box_is_seen(tmp_path):
    photograph(tmp_path / "images/a.png", 640, 480)
    line = [
        [k for x in range(0, 401, 4) for k in (x, x)]
        + [k for x in range(400, -1, -4) for k in (x + 1, x)]
    ]
    report = run(
        coco(tmp_path, [("a.png", 640, 480)], [(0, line, {})]), tmp_path / "out"
    )
    (mask,) = masks(tmp_path / "out").values()
    assert (mask == 1).any() and report["instances"]["kept"] == 1


def test_what_is_cut_away_is_dropped(tmp_path):
    photograph(tmp_path / "images/a.png", 640, 64)
    annotations = [
        (0, [[2, 10, 20, 10, 20, 30, 2, 30]], {}),
        (0, [[310, 10, 330, 10, 330, 30, 310, 30]], {"category_id": 2}),
    ]
    options = replace(
        coco(tmp_path, [("a.png", 640, 64)], annotations),
        size=(64, 64),
        fit="crop",
    )
    report = run(options, tmp_path / "out")
    (mask,) = masks(tmp_path / "out").values()
    assert set(np.unique(mask)) == {0, 2} and mask[20, 32] == 2
    assert report["instances"]["kept"] == report["instances"]["dropped"] == 1


@pytest.mark.parametrize(
    "counts", [None, True, 5, 1e300, {}, "x", [1e300], [10**28]]
)
def test_runs_of_any_kind_are_dropped_not_fatal(counts, tmp_path):
    photograph(tmp_path / "images/a.png")
    options = coco(
        tmp_path,
        [("a.png", 64, 48)],
        [(0, [SQUARE], {}), (0, {"counts": counts, "size": [48, 64]}, {})],
    )
    report = run(options, tmp_path / "out")
    assert report["instances"]["kept"] == report["instances"]["dropped"] == 1


def test_grey_images_and_16_bits_become_rgb(tmp_path):
    image = photograph(tmp_path / "images/a.png")[..., 0]
    cv2.imwrite(str(tmp_path / "images/b.png"), image)
    cv2.imwrite(str(tmp_path / "images/c.png"), image.astype(np.uint16) * 257)
    packed = io.BytesIO()
    Image.fromarray(image).convert("P").save(packed, "png")
    (tmp_path / "images/d.png").write_bytes(packed.getvalue())
    names = ["a.png", "b.png", "c.png", "d.png"]
    report = run(
        coco(
            tmp_path,
            [(name, 64, 48) for name in names],
            [(k, [SQUARE], {}) for k in range(4)],
        ),
        tmp_path / "out",
    )
    assert report["images"]["written"] == 4
    for name in "bcd":
        result = cv2.imread(
            str(next((tmp_path / "out").glob(f"*/images/{name}.jpg")))
        )
        assert np.abs(result.astype(int) - image[..., None]).mean() < 6


def test_an_object_of_one_pixel_is_not_taken_by_a_smaller_one(tmp_path):
    photograph(tmp_path / "images/a.png", 640, 480)
    dog, car = (
        [100, 100, 110, 100, 110, 110, 100, 110],
        [103, 103, 106, 103, 106, 106, 103, 106],
    )
    out = tmp_path / "out"
    report = run(
        coco(
            tmp_path,
            [("a.png", 640, 480)],
            [(0, [dog], {}), (0, [car], {"category_id": 2})],
        ),
        out,
    )
    (mask,) = masks(out).values()
    assert mask[10, 10] == 1 and not (mask == 2).any()
    assert any(
        "others take all of its pixels" in reason
        for reason in reasons(report, "noted")
    )


def test_a_crowd_under_others_is_reported(tmp_path):
    photograph(tmp_path / "images/a.png")
    report = run(
        coco(
            tmp_path,
            [("a.png", 64, 48)],
            [(0, [SQUARE], {"iscrowd": 1}), (0, [SQUARE], {})],
        ),
        tmp_path / "out",
    )
    assert "a crowd that lies entirely under others" in reasons(report, "noted")


def test_damaged_exif_data_do_not_cost_the_picture(tmp_path):
    photograph(tmp_path / "images/a.jpg")
    data = (tmp_path / "images/a.jpg").read_bytes()
    block = b"Exif\0\0garbage"
    (tmp_path / "images/a.jpg").write_bytes(
        data[:2]
        + b"\xff\xe1"
        + (len(block) + 2).to_bytes(2, "big")
        + block
        + data[2:]
    )
    report = run(
        coco(tmp_path, [("a.jpg", 64, 48)], [(0, [SQUARE], {})]),
        tmp_path / "out",
    )
    assert report["instances"]["kept"] == 1


def test_maps_of_instances_and_of_classes_tell_the_same(tmp_path):
    photograph(tmp_path / "images/a.png", 640, 480)
    left, right = (
        [100, 100, 104, 100, 104, 108, 100, 108],
        [106, 100, 110, 100, 110, 108, 106, 108],
    )
    options = coco(
        tmp_path, [("a.png", 640, 480)], [(0, [left], {}), (0, [right], {})]
    )
    run(replace(options, mode="instances"), tmp_path / "out")
    (mask,) = masks(tmp_path / "out").values()
    instances = cv2.imread(
        str(next((tmp_path / "out").glob("*/instances/a.png"))),
        cv2.IMREAD_UNCHANGED,
    )
    assert ((instances > 0) == (mask == 1)).all() and instances.any()


def test_wide_pictures_in_a_letterbox_are_no_near_duplicates(tmp_path):
    names = [f"{k}.png" for k in range(12)]
    for k, name in enumerate(names):
        photograph(tmp_path / "images" / name, 400, 40, seed=k)
    report = run(
        coco(
            tmp_path,
            [(n, 400, 40) for n in names],
            [(k, [SQUARE], {}) for k in range(12)],
        ),
        tmp_path / "out",
    )
    assert report["near_duplicates"] == []


def test_an_object_whose_only_pixel_another_lacks_keeps_it(tmp_path):
    photograph(tmp_path / "images/a.png", 320, 320)
    dog, car = [6, 0, 16, 0, 16, 10, 6, 10], [12, 4, 14, 4, 14, 6, 12, 6]
    options = coco(
        tmp_path,
        [("a.png", 320, 320)],
        [(0, [dog], {}), (0, [car], {"category_id": 2})],
    )
    report = run(replace(options, size=(32, 32)), tmp_path / "out")
    (mask,) = masks(tmp_path / "out").values()
    assert (mask == 1).any()
    assert (
        mask == 2
    ).any() or "so small that others take all of its pixels" in reasons(
        report, "noted"
    )


def test_what_a_cut_leaves_a_strip_of_is_kept(tmp_path):
    photograph(tmp_path / "images/a.png", 1000, 500)
    options = coco(
        tmp_path,
        [("a.png", 1000, 500)],
        [(0, [[0, 0, 253, 0, 253, 500, 0, 500]], {})],
    )
    report = run(
        replace(options, size=(500, 500), fit="crop"), tmp_path / "out"
    )
    (mask,) = masks(tmp_path / "out").values()
    assert (mask == 1).sum() == 1500 and report["instances"]["kept"] == 1


def test_a_tiff_to_be_shown_turned_is_skipped(tmp_path):
    photograph(tmp_path / "images/b.png")
    meta = Image.Exif()
    meta[0x0112] = 3
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(
        tmp_path / "images/a.tif", exif=meta
    )
    options = coco(
        tmp_path,
        [("a.tif", 64, 48), ("b.png", 64, 48)],
        [(0, [SQUARE], {}), (1, [SQUARE], {})],
    )
    report = run(options, tmp_path / "out")
    assert reasons(report, "skipped") == [
        "it is a TIFF that is to be shown turned"
    ]


def test_a_floating_point_tiff_is_not_called_damaged(tmp_path):
    photograph(tmp_path / "images/b.png")
    Image.fromarray(np.random.default_rng(0).random((48, 64), np.float32)).save(
        tmp_path / "images/a.tif"
    )
    images = [("a.tif", 64, 48), ("b.png", 64, 48)]
    report = run(
        coco(tmp_path, images, [(k, [SQUARE], {}) for k in range(2)]),
        tmp_path / "out",
    )
    assert reasons(report, "skipped") == [
        "it holds colours as float32: pictures have 8 or 16 bits."
    ]


@pytest.mark.parametrize(
    ("place", "some"),
    [
        (Place(across=0.4, down=0.4, x_offset=0.0, y_offset=3.2), True),
        (Place(across=1.6, down=1.7, x_offset=-7.0, y_offset=-5.0), True),
        (Place(across=0.03, down=0.06, x_offset=0.0, y_offset=0.0), False),
    ],
)
def test_a_clearly_visible_instance_shows_in_several_pixels(place, some):
    rng = np.random.default_rng(3)
    numbers = np.kron(
        rng.integers(0, 12, (6, 8)), np.ones((24, 24), int)
    ).astype(np.uint8)
    mask = rng.integers(0, 4, (64, 80)).astype(np.uint8)
    values = (np.arange(12) % 4).tolist()

    is_visible = prepared_images.is_clearly_visible(
        numbers, mask, values, place
    )
    assert len(is_visible) == len(values) and is_visible.any() == some
    for number in np.flatnonzero(is_visible) + 1:
        one = rasters.Painted(Instance("1", "dog"), 0, 0, numbers == number)
        rows, columns = prepared_images.pixels_in_mask(
            one, one.pixels, mask.shape, place
        )
        pixels = set(zip(rows, columns, strict=True))
        shown = sum(mask[pixel] == values[number - 1] for pixel in pixels)
        assert shown >= prepared_images.SMALL

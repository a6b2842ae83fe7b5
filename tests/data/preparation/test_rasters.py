"""Instances as pixels."""

import numpy as np
import pytest
import shapely

coco_masks = pytest.importorskip(
    "pycocotools.mask", reason="preparing needs the extra [prepare]"
)

from hvd.data.preparation import rasters  # noqa: E402
from hvd.data.preparation.instances import Instance, Runs  # noqa: E402
from hvd.toolkit.tasks.objects.types import IGNORE  # noqa: E402

SHAPE = 48, 64


def outlined(*outlines, **changes):
    return Instance(
        "1",
        "dog",
        tuple(np.array(one, np.float64) for one in outlines),
        **changes,
    )


def complete(instance, boxes=False, shape=SHAPE):
    """The pixels of an instance in its image, and its remarks as (action, reason)."""
    result, remarks = rasters.paint_instance(instance, shape, boxes)
    mask = np.zeros(shape, bool)
    if result:
        mask[result.where] = result.pixels
    return mask, [(remark.action, remark.reason) for remark in remarks]


@pytest.mark.parametrize("seed", range(30))
def test_outlines_are_drawn_as_pycocotools_draws_them(seed):
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 12)))
    points = np.stack(
        [
            32 + rng.uniform(5, 30) * np.cos(angle),
            24 + rng.uniform(5, 22) * np.sin(angle),
        ],
        1,
    ).round(2)
    if not shapely.Polygon(points).is_valid:
        return
    flat = points.ravel().tolist()
    wanted = coco_masks.decode(coco_masks.frPyObjects([flat], *SHAPE))[..., 0]
    result, remarks = complete(outlined(flat))
    np.testing.assert_array_equal(result, wanted)
    assert not remarks


def test_parts_are_joined_and_overlaps_of_parts_are_no_holes():
    result, _ = complete(
        outlined(
            [10, 10, 30, 10, 30, 30, 10, 30], [20, 20, 40, 20, 40, 40, 20, 40]
        )
    )
    assert (
        result[15, 15]
        and result[25, 25]
        and result[35, 35]
        and not result[35, 15]
    )


def test_a_bow_tie_keeps_both_halves_and_is_reported():
    result, remarks = complete(outlined([10, 10, 50, 40, 50, 10, 10, 40]))
    assert result[24, 14] and result[24, 46] and not result[12, 30]
    assert remarks == [("repaired", "self-intersection: area 0.0 -> 600.0")]


def test_an_outline_that_leaves_the_image_is_clipped_and_reported():
    result, remarks = complete(outlined([-20, -20, 20, -20, 20, 20, -20, 20]))
    assert result.sum() == 400 and result[:20, :20].all()
    assert remarks == [("clipped", "it leaves the image: area 1600.0 -> 400.0")]
    far = 1e8
    result, remarks = complete(
        outlined([-far, -far, far, -far, far, far, -far, far])
    )
    assert result.all() and remarks[0][0] == "clipped"


@pytest.mark.parametrize(
    ("outline", "reason"),
    [
        ([1, 1, 20, 1, 20], "an odd number of coordinates"),
        ([1, 1, 20, 20], "2 points, fewer than 3"),
        ([], "0 points, fewer than 3"),
        ([1, 1, 20, 1, np.nan, 20], "coordinates that are no numbers"),
        ([1, 1, 20, 1, np.inf, 20], "coordinates that are no numbers"),
    ],
)
def test_an_outline_that_cannot_be_drawn_is_left_out_and_others_of_the_instance_are_kept(
    outline, reason
):
    result, remarks = complete(outlined(outline))
    assert not result.any() and remarks == [
        ("noted", f"{reason}: left out"),
        ("dropped", "no outline of it can be used"),
    ]
    result, remarks = complete(
        outlined(outline, [10, 10, 30, 10, 30, 30, 10, 30])
    )
    assert result.sum() == 400 and remarks == [
        ("noted", f"outline 0: {reason}: left out")
    ]


@pytest.mark.parametrize(
    "outline",
    [
        [100, 100, 120, 100, 120, 120, 100, 120],
        [10, 10, 20, 10, 30, 10],
        [5, 5, 5, 5, 5, 5],
        [-9, 5, -3, 5, -3, 9],
    ],
)
def test_what_covers_no_pixel_is_dropped(outline):
    result, remarks = complete(outlined(outline))
    assert not result.any() and remarks[-1] == (
        "dropped",
        "it covers no pixel of the image",
    )


def test_a_box_alone_is_drawn_only_when_asked():
    box = Instance("1", "dog", box=(10, 5, 20, 30))
    result, remarks = complete(box)
    assert not result.any() and "box alone" in remarks[0][1]
    result, remarks = complete(box, boxes=True)
    assert result[5:35, 10:30].all() and result.sum() == 600 and not remarks


@pytest.mark.parametrize("seed", range(20))
def test_runs_are_what_pycocotools_decodes_compressed_or_not(seed):
    rng = np.random.default_rng(seed)
    mask = np.asfortranarray(rng.random(SHAPE) < rng.uniform(0.02, 0.98))
    if seed % 2:
        mask = np.asfortranarray(
            np.kron(rng.random((6, 8)) < 0.5, np.ones((8, 8), bool))
        )
    packed = coco_masks.encode(mask.astype(np.uint8))
    np.testing.assert_array_equal(
        complete(Instance("1", "dog", runs=Runs(packed["counts"], SHAPE)))[0],
        mask,
    )
    np.testing.assert_array_equal(
        complete(
            Instance("1", "dog", runs=Runs(packed["counts"].decode(), SHAPE))
        )[0],
        mask,
    )
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(edges, prepend=0, append=flat.size)
    counts = [0, *counts] if flat[0] else counts
    np.testing.assert_array_equal(
        complete(
            Instance("1", "dog", runs=Runs(tuple(map(float, counts)), SHAPE))
        )[0],
        mask,
    )


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (Runs((10.0, 20.0), SHAPE), "30 pixels"),
        (Runs((3072.0,), (64, 48)), "48 x 64 pixels, the image has 64 x 48"),
        (Runs((-5.0, 3077.0), SHAPE), "no lengths"),
        (Runs((np.nan,), SHAPE), "no lengths"),
        (Runs((), SHAPE), "no lengths"),
        (Runs("\x01\xff", SHAPE), "damaged"),
        (Runs("ooooooooooooo", SHAPE), "damaged"),
        (Runs("", SHAPE), "damaged"),
        (Runs((3072.0,), SHAPE), "cover no pixel"),
    ],
)
def test_runs_that_are_wrong_are_dropped(runs, words):
    result, remarks = complete(Instance("1", "dog", runs=runs))
    assert (
        not result.any()
        and remarks[0][0] == "dropped"
        and words in remarks[0][1]
    )


def test_runs_of_a_part_lie_where_it_says_and_are_cut_at_the_frame():
    result, _ = complete(
        Instance(
            "1",
            "dog",
            runs=Runs((2.0, 4.0), (2, 3), corner=(5, 62), by_columns=False),
        )
    )
    assert (
        result.sum() == 2
        and not result[5, 62]
        and result[6, 62]
        and result[6, 63]
    )


def painted(rectangle, category, **changes):
    left, top, right, bottom = rectangle
    return rasters.paint_instance(
        Instance(
            "1",
            category,
            (
                np.array(
                    [left, top, right, top, right, bottom, left, bottom], float
                ),
            ),
            **changes,
        ),
        SHAPE,
        False,
    )[0]


@pytest.mark.parametrize(
    ("priority", "winner"), [("area", 1), ("order", 2), ("classes", 2)]
)
def test_where_instances_overlap_the_stated_priority_decides(priority, winner):
    small, large = (
        painted((10, 10, 20, 20), "dog", rank=0),
        painted((0, 0, 40, 40), "car", rank=1),
    )
    for order in ((small, large), (large, small)):
        mask, _, _ = rasters.label_map(
            order, SHAPE, {"dog": 1, "car": 2}, priority
        )
        assert (
            mask[15, 15] == winner and mask[30, 30] == 2 and mask[45, 60] == 0
        )


def test_crowds_are_ignored_but_where_something_else_lies():
    crowd, dog = (
        painted((0, 0, 40, 40), "dog", crowd=True),
        painted((10, 10, 20, 20), "dog"),
    )
    mask, numbers, _ = rasters.label_map(
        (dog, crowd), SHAPE, {"dog": 1}, "area"
    )
    assert (
        mask[30, 30] == IGNORE
        and mask[15, 15] == 1
        and numbers[30, 30] == 0
        and numbers[15, 15] == 1
    )


def test_a_vote_gives_each_pixel_what_covers_most_of_it():
    labels = np.zeros((8, 8), np.uint8)
    labels[:, :3] = 5
    labels[0, :] = IGNORE
    np.testing.assert_array_equal(
        rasters.resize_labels(labels, (2, 2)), [[5, 0], [5, 0]]
    )
    np.testing.assert_array_equal(rasters.resize_labels(labels, (8, 8)), labels)
    np.testing.assert_array_equal(
        rasters.resize_labels(np.full((9, 5), 7, np.uint8), (3, 4)),
        np.full((4, 3), 7),
    )


@pytest.mark.parametrize("size", [(31, 17), (100, 90), (64, 20), (3, 100)])
@pytest.mark.parametrize("kind", [np.uint8, np.int32])
def test_a_vote_agrees_with_counting_pixels(size, kind, monkeypatch):
    monkeypatch.setattr(rasters, "MOST_VOTES", 5_000)
    rng = np.random.default_rng(1)
    labels = np.kron(rng.integers(0, 4, (6, 8)), np.ones((8, 8), int)).astype(
        kind
    )
    result = rasters.resize_labels(labels, size)
    # Every pixel of the answer covers H x W of these
    fine = np.repeat(np.repeat(labels, size[1], 0), size[0], 1)
    shares = [
        (fine == k).reshape(size[1], SHAPE[0], size[0], SHAPE[1]).mean((1, 3))
        for k in range(4)
    ]
    rarest_first = np.argsort(np.bincount(labels.ravel()), kind="stable")
    np.testing.assert_array_equal(
        result, rarest_first[np.argmax(np.round(shares, 9)[rarest_first], 0)]
    )


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize("side", [1, 8])
def test_pixels_are_counted_by_value(kind, side):
    labels = np.kron(
        np.random.default_rng(2).integers(0, 9, (6, 8)),
        np.ones((side, side), int),
    ).astype(kind)
    np.testing.assert_array_equal(
        rasters.pixels_of_values(labels), np.bincount(labels.ravel())
    )


@pytest.mark.parametrize("count", [0, 255, 256, 300])
def test_any_number_of_instances_is_reported_apart(count):
    pixels = [(k % 60, k // 60) for k in range(count)]
    instances = [
        painted((x, y, x + 1, y + 1), "dog", rank=k)
        for k, (x, y) in enumerate(pixels)
    ]
    mask, numbers, order = rasters.label_map(
        instances, SHAPE, {"dog": 1}, "order"
    )
    assert len(order) == count and [
        int(numbers[y, x]) for x, y in pixels
    ] == list(range(1, count + 1))
    assert mask.sum() == count and np.count_nonzero(numbers) == count

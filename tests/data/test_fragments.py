"""Heaps: what is cut can be put together again, and nothing of the answer leaks."""

import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from hvd.data.fragments import augment, heap, heaps, samples
from hvd.data.photographs import BUNDLED, builtin
from hvd.data.photographs import photographs as photographs_at
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import write_png
from hvd.toolkit.tasks.fragments.drawing import photograph
from hvd.toolkit.tasks.fragments.options import Conditions


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize(("grid", "fragment"), [(4, 16), (8, 8), (2, 32)])
def test_laying_the_target_out_gives_the_photographs_back(
    photographs, grid, fragment, rotate
):
    sample = heap(
        photographs,
        Conditions(images=6, grid=grid, fragment=fragment, rotate=rotate),
        np.random.default_rng(0),
    )
    for k, original in enumerate(photographs):
        np.testing.assert_array_equal(
            photograph(sample.inputs, sample.target, k), original
        )


def test_a_sample_depends_on_seed_and_number_alone(photographs):
    conditions = Conditions(images=4, noise=5, rotate=True)
    first = list(heaps(photographs, conditions, 3, seed=1))
    again = list(heaps(photographs, conditions, 2, seed=1))
    for a, b in zip(first, again, strict=False):
        np.testing.assert_array_equal(a.inputs.fragments, b.inputs.fragments)
    other = next(heaps(photographs, conditions, 1, seed=2))
    assert not np.array_equal(first[0].inputs.fragments, other.inputs.fragments)


def test_wear_takes_pixels_from_every_side(photographs):
    complete = heap(
        photographs[:2], Conditions(images=2), np.random.default_rng(0)
    )
    worn = heap(
        photographs[:2], Conditions(images=2, worn=2), np.random.default_rng(0)
    )
    np.testing.assert_array_equal(
        worn.inputs.fragments, complete.inputs.fragments[:, 2:-2, 2:-2]
    )


def test_noise_has_the_standard_deviation_asked_for():
    grey = np.full((2, 64, 64, 3), 128, np.uint8)
    noisy = heap(
        grey, Conditions(images=2, noise=20), np.random.default_rng(0)
    ).inputs.fragments
    assert noisy.std() == pytest.approx(20, abs=0.3)
    assert noisy.mean() == pytest.approx(128, abs=0.6)


def test_the_order_of_a_heap_says_nothing_of_its_groups(photographs):
    result = [
        adjusted_rand_score(s.target.group, np.arange(96) // 16)
        for s in heaps(photographs, Conditions(images=6), 100, 0)
    ]
    assert abs(np.mean(result)) < 0.01


def test_a_method_is_reported_what_known_says(photographs):
    reported = {
        k: next(heaps(photographs, Conditions(images=3, known=k), 1, 0)).inputs
        for k in ("sizes", "count", "nothing")
    }
    assert {k: (h.images, h.equal) for k, h in reported.items()} == {
        "sizes": (3, True),
        "count": (3, False),
        "nothing": (None, False),
    }


def test_the_augmentation_of_a_photograph_keeps_its_shape_and_changes_it(
    photographs,
):
    changed = augment(photographs[0], np.random.default_rng(0))
    assert changed.shape == (64, 64, 3) and changed.dtype == np.uint8
    assert not np.array_equal(changed, photographs[0])


def test_builtin_heaps_take_ten_different_bundled_photographs():
    crops = builtin(64)
    assert crops.shape == (10, 12, 64, 64, 3) and len(BUNDLED) == 10
    source = {crop.tobytes(): k for k in range(10) for crop in crops[k]}
    for sample in samples("builtin", Conditions(), 3, 0):
        assert {
            source[photograph(sample.inputs, sample.target, k).tobytes()]
            for k in range(10)
        } == set(range(10))


def test_builtin_has_no_eleventh_photograph():
    with pytest.raises(ToolkitError, match="10 photographs") as error:
        next(samples("builtin", Conditions(images=11), 1, 0))
    assert error.value.status == 2


def test_folder_zip_and_array_give_the_same_photographs(photographs, tmp_path):
    folder = tmp_path / "folder"
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        for k, image in enumerate(photographs):
            write_png(folder / f"{k}.png", image)
            archive.write(folder / f"{k}.png", f"in/{k}.png")
    np.save(tmp_path / "some.npy", photographs)
    for place in (folder, tmp_path / "some.zip", tmp_path / "some.npy"):
        np.testing.assert_array_equal(
            photographs_at(str(place), 64), photographs
        )


def test_the_centre_square_is_averaged_over_areas(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (128, 200, 3), np.uint8)
    write_png(tmp_path / "wide.png", image)
    expected = cv2.resize(
        image[:, 36:164], (64, 64), interpolation=cv2.INTER_AREA
    )
    np.testing.assert_array_equal(
        photographs_at(str(tmp_path), 64)[0], expected
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": 0},
        {"grid": 0},
        {"fragment": 3},
        {"noise": -1.0},
        {"worn": 7},
        {"images": 500},
        {"grid": 5, "fragment": 256},
        {"known": "all"},
        {"images": 1, "grid": 1},
    ],
    ids=str,
)
def test_conditions_that_make_no_heap_are_refused(wrong):
    with pytest.raises(ToolkitError) as error:
        replace(Conditions(), **wrong)
    assert error.value.status == 2


def test_more_images_than_photographs_are_refused(photographs):
    with pytest.raises(ToolkitError, match="6 photographs"):
        next(heaps(photographs, Conditions(images=7), 1, 0))


@pytest.mark.parametrize("missing", [0.1, 0.5, 0.9])
def test_a_share_of_all_fragments_is_left_out_but_two_of_each_photograph_stay(
    photographs, missing
):
    complete = heap(
        photographs,
        Conditions(images=6, known="count"),
        np.random.default_rng(1),
    )
    result = heap(
        photographs,
        Conditions(images=6, known="count", missing=missing),
        np.random.default_rng(1),
    )
    assert (
        len(result.inputs.fragments)
        == len(result.target.group)
        == max(12, 96 - round(96 * missing))
    )
    assert np.bincount(result.target.group, minlength=6).min() >= 2
    kept = {fragment.tobytes() for fragment in complete.inputs.fragments}
    assert all(
        fragment.tobytes() in kept for fragment in result.inputs.fragments
    )


def test_photographs_with_missing_fragments_are_not_told_as_equal():
    with pytest.raises(ToolkitError, match="known as count"):
        Conditions(missing=0.1)

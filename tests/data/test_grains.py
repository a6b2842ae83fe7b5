"""Generated micrographs, and folders of labelled ones."""

import cv2
import numpy as np
import pytest
from scipy.ndimage import label

from hvd.data.grains import (
    change_image,
    polycrystal_samples,
    samples,
)
from hvd.data.polycrystals import photograph, polycrystal, tessellation
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains.boundaries import lines
from hvd.toolkit.tasks.grains.options import Conditions


def test_a_sample_depends_on_its_seed_and_number_alone():
    first, again = (
        list(polycrystal_samples(3, 5, 96)),
        list(polycrystal_samples(2, 5, 96)),
    )
    for a, b in zip(first, again, strict=False):
        np.testing.assert_array_equal(a.inputs.image, b.inputs.image)
        np.testing.assert_array_equal(a.target.labels, b.target.labels)
    assert not np.array_equal(
        first[0].inputs.image, next(polycrystal_samples(1, 6, 96)).inputs.image
    )


def test_every_grain_is_one_piece_and_the_drawing_follows_the_boundaries():
    for sample in polycrystal_samples(6, 0, 128):
        labels = sample.target.labels
        assert labels.min() == 1 and sample.inputs.image.dtype == np.uint8
        for k in range(1, labels.max() + 1):
            assert label(labels == k)[1] == 1
        assert sample.target.mask[lines(labels)].all()


def test_grains_have_about_the_diameter_asked_for():
    rng = np.random.default_rng(0)
    counts = [tessellation((300, 300), 30, rng).labels.max() for _ in range(8)]
    # Grains cut by the frame count too
    assert np.mean(counts) == pytest.approx(90000 / (0.785 * 30**2), rel=0.5)


def test_etched_lines_are_where_the_boundaries_are():
    darker = []
    for k in range(12):
        image, labels, _ = polycrystal((160, 160), np.random.default_rng(k))
        on = lines(labels)
        if on.any():
            darker.append(abs(image[on].mean() - image[~on].mean()))
    assert np.median(darker) > 0.1


def test_light_changes_without_strength_change_nothing_but_clipping():
    image = (
        np.random.default_rng(0).uniform(0.1, 0.9, (64, 64)).astype(np.float32)
    )
    np.testing.assert_allclose(
        photograph(image, np.random.default_rng(3), 0.0), image, atol=0.05
    )


@pytest.fixture
def folder(tmp_path):
    """Two labelled micrographs."""
    for part in ("images", "boundaries"):
        (tmp_path / part).mkdir()
    for k, sample in enumerate(polycrystal_samples(2, 1, 96)):
        cv2.imwrite(str(tmp_path / "images" / f"m{k}.tif"), sample.inputs.image)
        cv2.imwrite(
            str(tmp_path / "boundaries" / f"m{k}.png"),
            sample.target.mask.astype(np.uint8) * 255,
        )
    return tmp_path


def test_a_labelled_folder_gives_its_micrographs_in_order(folder):
    result = list(samples(str(folder), Conditions(), 10, 0))
    assert [s.id for s in result] == ["m0", "m1"]
    assert (
        result[0].target.mask.shape == result[0].inputs.image.shape == (96, 96)
    )
    assert result[0].target.tolerance >= 3
    assert (
        next(
            samples(str(folder), Conditions(tolerance=7), 1, 0)
        ).target.tolerance
        == 7
    )


def test_what_is_missing_in_a_labelled_folder_is_named(folder):
    (folder / "boundaries" / "m1.png").rename(
        folder / "boundaries" / "other.png"
    )
    with pytest.raises(ToolkitError, match=r"m1\.png") as error:
        list(samples(str(folder), Conditions(), 10, 0))
    assert error.value.status == 5
    with pytest.raises(ToolkitError, match="no folder"):
        list(samples(str(folder / "images"), Conditions(), 10, 0))


def test_a_picture_is_no_ground_truth(folder):
    image = next(polycrystal_samples(1, 1, 96)).inputs.image
    cv2.imwrite(str(folder / "boundaries" / "m0.png"), image)
    with pytest.raises(ToolkitError, match="looks like a picture"):
        list(samples(str(folder), Conditions(), 10, 0))


def test_label_images_and_inverted_drawings(folder):
    (first, second) = list(polycrystal_samples(2, 1, 96))
    (folder / "labels").mkdir()
    (folder / "boundaries" / "m1.png").unlink()
    labels = second.target.labels.astype(np.uint16)
    cv2.imwrite(str(folder / "labels" / "m1.png"), labels)
    drawn, labelled = samples(str(folder), Conditions(), 10, 0)
    assert drawn.target.mask.any()
    np.testing.assert_array_equal(labelled.target.labels, labels)
    assert labelled.target.lines.any()

    inverted = 255 - first.target.mask.astype(np.uint8) * 255
    cv2.imwrite(str(folder / "boundaries" / "m0.png"), inverted)
    with pytest.raises(ToolkitError, match="Invert it") as error:
        list(samples(str(folder), Conditions(), 10, 0))
    assert error.value.status == 5
    cv2.imwrite(str(folder / "labels" / "m0.png"), labels)
    with pytest.raises(ToolkitError, match="two ground truths"):
        list(samples(str(folder), Conditions(), 10, 0))


def test_the_seed_chooses_a_single_sample_of_a_folder(folder):
    ids = [
        next(samples(str(folder), Conditions(), 1, seed)).id
        for seed in range(4)
    ]
    assert ids == ["m0", "m1", "m0", "m1"]


def test_a_drawing_of_another_size_is_refused(folder):
    cv2.imwrite(
        str(folder / "boundaries" / "m0.png"), np.zeros((96, 95), np.uint8)
    )
    with pytest.raises(ToolkitError, match="differ in size"):
        list(samples(str(folder), Conditions(), 10, 0))


def test_conditions_change_light_as_they_say():
    image = (
        np.random.default_rng(0).integers(40, 120, (64, 80)).astype(np.uint8)
    )
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(change_image(image, Conditions(), rng), image)
    np.testing.assert_allclose(
        change_image(image, Conditions(brightness=2), rng), 2.0 * image, atol=1
    )
    assert change_image(
        image, Conditions(contrast=0.5), rng
    ).std() == pytest.approx(image.std() / 2, rel=0.05)
    np.testing.assert_allclose(
        change_image(image, Conditions(gamma=2), rng) / 255,
        (image / 255) ** 2,
        atol=0.003,
    )
    ramp = change_image(image, Conditions(gradient=0.5), rng)
    assert ramp[:, -1].mean() / ramp[:, 0].mean() == pytest.approx(3, rel=0.2)
    assert change_image(image, Conditions(blur=2), rng).std() < image.std() / 2
    noisy = change_image(image, Conditions(noise=10), rng).astype(float) - image
    assert noisy.std() == pytest.approx(10, rel=0.05)
    wide = change_image(
        image.astype(np.uint16) * 257, Conditions(brightness=0.5), rng
    )
    assert wide.dtype == np.uint16 and wide.mean() == pytest.approx(
        image.mean() * 257 / 2, rel=0.01
    )

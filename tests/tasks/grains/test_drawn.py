"""Drawn and corrected grains are read, and measured like predicted ones."""

import json

import cv2
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from hvd.data.polycrystals import tessellation
from hvd.toolkit.cli import cli
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains.boundaries import pen_strokes
from hvd.toolkit.tasks.grains.drawn import (
    boundary_drawing,
    label_image,
    labels_of_drawing,
    labels_of_rois,
    read_drawn,
)
from hvd.toolkit.tasks.grains.files import rois
from hvd.toolkit.tasks.grains.options import DrawnOptions
from tests.tasks.grains.test_surroundings import etched

SHAPE = 200, 240


@pytest.fixture(scope="module")
def labels():
    return tessellation(SHAPE, 45, np.random.default_rng(5)).labels


def same_grains(one, other):
    """Whether two label images part the picture alike, whatever the numbers."""
    pairs = len(np.unique(np.stack([one.ravel(), other.ravel()]), axis=1).T)
    return pairs == len(np.unique(one)) == len(np.unique(other))


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32, np.int64])
def test_label_images_of_every_type_are_read(labels, kind):
    result = labels_of_drawing(labels.astype(kind) * 3, "it")
    assert same_grains(result, labels)


def test_lines_of_zero_belong_to_no_grain_and_areas_of_zero_are_outside(labels):
    drawn = np.where(pen_strokes(labels, 3), 0, labels)
    drawn[:60, :80] = 0
    result = label_image(drawn, "it")
    assert not result[:50, :70].any() and result[70:, 90:].all()
    middle = ~pen_strokes(labels, 6)
    middle[:70, :90] = False
    assert same_grains(result[middle], labels[middle])


@pytest.mark.parametrize("top", [1, 255, 65535])
def test_drawn_boundaries_are_read_whatever_their_value(labels, top):
    mask = pen_strokes(labels, 5)
    values = mask.astype(np.uint16) * top
    np.testing.assert_array_equal(boundary_drawing(values, "it"), mask)
    drawn = labels_of_drawing(values, "it")
    inside = ~pen_strokes(labels, 9)
    assert len(np.unique(drawn[inside])) >= 0.9 * len(np.unique(labels[inside]))


def test_antialiased_drawings_are_boundaries(labels):
    mask = pen_strokes(labels, 5).astype(np.uint8) * 255
    blurred = cv2.GaussianBlur(mask, (0, 0), 0.5)
    assert boundary_drawing(blurred, "it") is not None


def test_what_is_neither_is_refused(labels):
    with pytest.raises(ToolkitError, match="dark lines on a bright ground"):
        labels_of_drawing(255 - 255 * pen_strokes(labels, 5).astype(int), "it")
    with pytest.raises(ToolkitError, match="looks like a picture"):
        labels_of_drawing(etched(SHAPE), "it")
    noise = np.random.default_rng(0).integers(0, 9, SHAPE)
    with pytest.raises(ToolkitError, match="looks like a picture"):
        labels_of_drawing(noise, "it")
    with pytest.raises(ToolkitError, match="no whole numbers"):
        labels_of_drawing(labels + 0.5, "it")


def test_outlines_go_to_imagej_and_back(labels, tmp_path):
    with_island = labels.copy()
    with_island[100:112, 90:104] = labels.max() + 1
    with_island[104:107, 95:98] = labels.max() + 2
    path = tmp_path / "grains.zip"
    path.write_bytes(rois(with_island))
    result = labels_of_rois(path, with_island.astype(np.uint8))
    assert result.shape == SHAPE and same_grains(result, with_island)
    assert labels_of_rois(path, None).shape == SHAPE

    path.write_bytes(b"no archive")
    with pytest.raises(ToolkitError, match="readable"):
        labels_of_rois(path, None)


def run(*arguments):
    result = CliRunner().invoke(
        cli, list(map(str, arguments)), standalone_mode=False
    )
    return [json.loads(line) for line in result.stdout.splitlines()], result


def test_corrected_labels_are_measured_like_the_answer_they_come_from(tmp_path):
    cv2.imwrite(str(tmp_path / "m.png"), etched())
    scale = ("--micrometres-per-pixel", "0.5")
    (predicted,), _ = run(
        "predict", "grains", tmp_path / "m.png", "--method", "baseline",
        "--out", tmp_path / "a", *scale,
    )  # fmt: skip
    files = tmp_path / "a/m"
    for name in ("m-labels.tif", "m-rois.zip"):
        (measured,), _ = run(
            "measure", "grains", files / name, "--out", tmp_path / name[:3],
            "--micrographs", tmp_path / "m.png", *scale,
        )  # fmt: skip
        assert measured["method"] == "drawn"
        for field in ("grains", "whole_grains", "diameter", "mean_intercept"):
            assert measured[field] == predicted[field]
    tables = [
        (tmp_path / place).read_text()
        for place in ("a/m/m-grains.csv", "m-l/m-labels/m-labels-grains.csv")
    ]
    assert tables[0] == tables[1]


def test_a_scale_in_the_labels_is_read_and_pictures_are_no_drawings(tmp_path):
    labels = tessellation(SHAPE, 45, np.random.default_rng(5)).labels
    tifffile.imwrite(
        tmp_path / "l.tif", labels, resolution=(20000, 20000),
        resolutionunit="CENTIMETER",
    )  # fmt: skip
    cv2.imwrite(str(tmp_path / "p.png"), etched())
    records, result = run(
        "measure", "grains", tmp_path / "l.tif", tmp_path / "p.png",
        "--out", tmp_path / "out",
    )  # fmt: skip
    good, bad = records
    assert good["micrometres_per_pixel"] == pytest.approx(0.5)
    assert bad["status"] == "failed" and "picture" in bad["reason"]
    assert result.return_value == 1


def test_lines_one_pixel_wide_between_grains_are_read(labels):
    is_line = np.zeros(labels.shape, bool)
    is_line[:-1] |= labels[1:] != labels[:-1]
    is_line[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    read = labels_of_drawing(np.where(is_line, 0, labels), "it")
    assert read.all() and same_grains(read[~is_line], labels[~is_line])


def test_pieces_of_one_number_are_grains_of_their_own(labels, tmp_path):
    # Saved as 8 bits, so that numbers come again.
    path = tmp_path / "labels.tif"
    tifffile.imwrite(path, (labels % 20 + 1).astype(np.uint8))
    micrograph = read_drawn(path, DrawnOptions())
    assert micrograph.drawn.labels.max() >= 0.95 * labels.max()
    assert "shared a number" in " ".join(micrograph.notes)


def test_a_specimen_on_a_large_ground_is_no_drawing(labels, tmp_path):
    large = np.zeros((500, 600), np.int32)
    large[100:300, 100:340] = labels
    path = tmp_path / "labels.tif"
    tifffile.imwrite(path, large)
    micrograph = read_drawn(path, DrawnOptions())
    assert micrograph.drawn.labels.max() == labels.max()
    assert "outside the specimen" in " ".join(micrograph.notes)


def test_hand_drawn_outlines_with_gaps_leave_no_outside(labels, tmp_path):
    path = tmp_path / "grains.zip"
    path.write_bytes(rois(np.where(pen_strokes(labels, 2), 0, labels)))
    read = labels_of_rois(path, np.zeros(labels.shape, np.uint8))
    assert read.all()


def test_the_scale_and_the_size_come_from_the_micrograph(labels, tmp_path):
    # A micrograph whose data bar was cut off before its boundaries were drawn.
    path = tmp_path / "a-labels.tif"
    tifffile.imwrite(path, labels)
    below = tmp_path / "a.tif"
    with_bar = np.vstack([etched(labels.shape), np.zeros((30, 240), np.uint8)])
    tifffile.imwrite(
        below,
        with_bar,
        resolution=(20_000, 20_000),
        resolutionunit="CENTIMETER",
    )
    micrograph = read_drawn(path, DrawnOptions(micrographs=below))
    assert micrograph.scale.micrometres_per_pixel == 0.5
    assert micrograph.image.shape == labels.shape
    tifffile.imwrite(below, with_bar[:100])
    with pytest.raises(ToolkitError, match="differ in size"):
        read_drawn(path, DrawnOptions(micrographs=below))

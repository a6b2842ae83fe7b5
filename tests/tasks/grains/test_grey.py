"""One grey plane of micrographs of any type, range and colour."""

import colorsys

import cv2
import numpy as np
import pytest

from hvd.data.polycrystals import tessellation
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import decode_picture
from hvd.toolkit.tasks.grains.boundaries import probability_by_tiles
from hvd.toolkit.tasks.grains.grey import EDGE_NOTE, brightness, grey_plane
from tests.tasks.grains.test_surroundings import etched

SIDE = 160


@pytest.fixture(scope="module")
def section():
    return tessellation((SIDE, SIDE), 30, np.random.default_rng(1))


@pytest.fixture(scope="module")
def scene(section):
    """A micrograph uint8 with dark lines and noise, 90 to 170."""
    rng = np.random.default_rng(2)
    image = 160 - 60 * np.exp(-((section.distance / 1.5) ** 2))
    return np.rint(image + rng.normal(0, 2, image.shape)).astype(np.uint8)


def seen(values):
    """What a method is shown of an image, float32 (H, W)."""
    plane, _, _ = grey_plane(values, "it")
    tiles = []

    def keep(part):
        tiles.append(part)
        return np.zeros_like(part)

    probability_by_tiles(plane, keep)
    (tile,) = tiles
    return tile


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.astype(np.uint16),
        lambda image: image.astype(np.uint16) * 16,
        lambda image: image.astype(np.float32) / 255,
        lambda image: image.astype(np.float64) * 1e-9 - 3,
        lambda image: image.astype(np.int16) - 1000,
        lambda image: image.astype(np.int32) * 100_000,
        lambda image: image.astype(np.uint32) << 20,
        lambda image: image.astype(np.float32).astype(np.float16),
        lambda image: image.astype(np.uint64) << 40,
        lambda image: np.stack([image] * 3, axis=-1),
        lambda image: np.stack([image.astype(np.uint16) * 9] * 3, axis=-1),
        lambda image: np.stack([image / 255] * 3, axis=-1),
    ],
)
def test_the_same_scene_looks_the_same_in_every_type(scene, change):
    np.testing.assert_allclose(seen(change(scene)), seen(scene), atol=0.06)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("share", [0.0005, 0.005])
def test_outliers_do_not_take_the_range(scene, kind, share):
    rng = np.random.default_rng(3)
    values = scene.astype(kind)
    is_dead = rng.random(scene.shape) < share
    values[is_dead] = 60_000
    if kind != np.uint16:
        values[rng.random(scene.shape) < share] = -1e6
    good = values == scene
    looked = seen(values)[good]
    # Grey from line to grain is seen over a good part of the range.
    assert np.ptp(np.percentile(looked, (5, 95))) > 0.1
    assert np.corrcoef(looked, scene[good])[0, 1] > 0.99


def test_what_is_not_finite_is_no_specimen(scene):
    values = scene.astype(np.float32)
    values[:20, :30] = np.nan
    values[50, 50] = np.inf
    plane, finite, _ = grey_plane(values, "it")
    np.testing.assert_array_equal(finite, np.isfinite(values))
    assert plane.dtype == np.uint16
    with pytest.raises(ToolkitError, match="nothing but NaN"):
        grey_plane(values * np.nan, "it")


@pytest.mark.parametrize(
    "values",
    [np.zeros((9, 9, 2)), np.zeros(9), np.zeros((9, 9), complex)],
)
def test_other_shapes_and_types_are_refused(values):
    with pytest.raises(ToolkitError, match=r"it is"):
        grey_plane(values, "it")


def coloured(section, colour_of):
    """Grains in colours, with a camera's noise, uint8 (H, W, 3)."""
    colours = np.array([colour_of(k) for k in range(section.count)]) * 255
    noise = np.random.default_rng(5).normal(0, 3, (SIDE, SIDE, 3))
    return np.clip(colours[section.labels] + noise, 0, 255).astype(np.uint8)


def hue_of_one_brightness(k):
    rgb = np.array(colorsys.hsv_to_rgb(k * 0.381966 % 1, 1, 1))
    return rgb * 0.3 / (rgb @ np.array([0.299, 0.587, 0.114]))


def test_grains_of_one_brightness_are_told_by_their_colours(section):
    image = coloured(section, hue_of_one_brightness)
    plane, _, notes = grey_plane(image, "it")
    assert notes == [EDGE_NOTE]
    at_boundary = section.distance < 1
    far = section.distance > 4
    assert plane[at_boundary].mean() + 80 < plane[far].mean()
    # Margins are looked for where the picture is bright or dark.
    assert np.ptp(brightness(image, plane)[far]) < 60


@pytest.mark.parametrize("cast", [(1, 1, 1), (1, 0.8, 0.6), (0.6, 0.9, 1)])
def test_a_colour_cast_hides_nothing(scene, cast):
    noise = np.random.default_rng(6).normal(0, 4, (SIDE, SIDE, 3))
    image = np.clip(scene[..., None] * np.array(cast) + noise, 0, 255)
    assert not grey_plane(image.astype(np.uint8), "it")[2]


def test_transparency_and_orientation_are_read(tmp_path, scene):
    colours = cv2.cvtColor(scene, cv2.COLOR_GRAY2BGRA)
    colours[:40, :, 3] = 0
    colours[..., 0] = 7  # blue
    _, data = cv2.imencode(".png", colours)
    values, opaque = decode_picture(data.tobytes(), "it")
    assert (values[..., 2] == 7).all() and values.shape == (SIDE, SIDE, 3)
    assert not opaque[:40].any() and opaque[40:].all()
    _, data = cv2.imencode(".bmp", scene)
    assert decode_picture(data.tobytes(), "it")[1] is None


@pytest.mark.parametrize("channel", [0, 2])
def test_a_picture_of_one_colour_is_as_good_as_grey(channel):
    grey = etched((300, 320))
    colours = np.zeros((*grey.shape, 3), np.uint8)
    colours[..., channel] = grey
    plane, _, _ = grey_plane(colours, "it")
    plane = plane.astype(float)
    assert np.corrcoef(plane.ravel(), grey.ravel())[0, 1] > 0.99


def test_coloured_annotations_and_fringes_do_not_hide_brightness():
    grey = etched((300, 320))
    colours = np.repeat(grey[..., None], 3, axis=2)
    marked = colours.copy()
    for k in range(10):
        cv2.circle(marked, (30 + 25 * k, 40), 9, (0, 200, 0), 2)
    fringed = colours.copy()
    fringed[..., 0] = np.roll(grey, 2, axis=1)
    fringed[..., 2] = np.roll(grey, -2, axis=1)
    for picture in (marked, fringed):
        plane, _, notes = grey_plane(picture, "it")
        assert not notes
        assert plane.dtype == np.uint8


def test_hot_pixels_do_not_darken_the_picture():
    grey = etched((256, 256))
    hot = grey.astype(np.uint16)
    hot.reshape(-1)[::997] = 65535
    seen = []

    def boundary(part):
        seen.append(part)
        return 0 * part

    for image in (grey, hot):
        probability_by_tiles(image, boundary)
    ordinary = hot < 65535
    np.testing.assert_allclose(seen[0][ordinary], seen[1][ordinary], atol=0.06)
    assert seen[1].max() <= 1.25

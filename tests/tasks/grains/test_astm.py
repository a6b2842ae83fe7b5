"""Grain-size numbers: values of the standard, and patterns of known density."""

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree
from skimage.measure import label

from hvd.data.polycrystals import tessellation
from hvd.toolkit.tasks.grains import astm, sizes
from hvd.toolkit.tasks.grains.summary import summary
from tests.tasks.grains.test_sizes import voronoi


@pytest.mark.parametrize(
    ("g", "intercept_mm", "density"),
    [
        (0, 0.3200, 7.75),
        (5, 0.0566, 248.0),
        (8, 0.0200, 1984.0),
        (10, 0.0100, 7936.0),
    ],
)
def test_grain_size_numbers_are_those_of_the_standards_table(
    g, intercept_mm, density
):
    assert astm.g_from_intercept(intercept_mm) == pytest.approx(g, abs=0.01)
    assert astm.g_from_density(density) == pytest.approx(g, abs=0.01)


@pytest.mark.parametrize("g", [-1, 0, 3.5, 8, 14])
def test_grain_size_numbers_come_back_from_the_sizes_that_they_stand_for(g):
    assert astm.g_from_intercept(
        10 ** (-(g + 3.288) / 6.643856)
    ) == pytest.approx(g, abs=1e-9)
    assert astm.g_from_density(10 ** ((g + 2.954) / 3.321928)) == pytest.approx(
        g, abs=1e-9
    )


def test_grain_size_numbers_rise_by_one_when_grains_double_in_number():
    assert astm.g_from_density(500) - astm.g_from_density(250) == pytest.approx(
        1, abs=1e-5
    )
    assert astm.g_from_intercept(0.01) - astm.g_from_intercept(
        0.02
    ) == pytest.approx(2, abs=1e-5)
    assert (np.diff(astm.g_from_density(np.geomspace(1, 1e5, 50))) > 0).all()
    assert (np.diff(astm.g_from_intercept(np.geomspace(1e-3, 1, 50))) < 0).all()


def test_a_voronoi_pattern_of_known_density_gives_the_known_number():
    side, count = 1500, 900
    pattern = voronoi(count, side)
    density = count / side**2
    result, low, high = astm.density(pattern)
    assert result == pytest.approx(density, rel=0.05)
    assert low < density < high
    mean, low, high = astm.mean_intercept(pattern)
    # Of a Poisson-Voronoi tessellation (Meijering, 1953)
    assert mean == pytest.approx(np.pi / 4 / np.sqrt(density), rel=0.05)
    assert low < mean < high
    values = summary(pattern, sizes.grain_measures(pattern), 2.0)
    assert values["astm_g"]["planimetric"]["mean"] == pytest.approx(
        astm.g_from_density(density * 1e6 / 4), abs=0.1
    )


def test_the_planimetric_count_takes_halves_at_edges_and_quarters_at_corners():
    grid = (
        (np.arange(4)[:, None] * 4 + np.arange(4)[None] + 1)
        .repeat(10, 0)
        .repeat(10, 1)
        .astype(np.int32)
    )
    assert astm.planimetric_count(grid) == 4 + 8 / 2 + 4 / 4
    assert astm.planimetric_count(np.ones((5, 5), np.int32)) == 1


def test_a_line_crosses_as_many_grains_as_boundaries_when_its_ends_count_half():
    stripes = (np.arange(100)[None] // 10 + 1).repeat(100, 0).astype(np.int32)
    lengths, counts = astm.intercepts(stripes).T
    assert counts[0] == 9 * astm.LINES and lengths[0] == 99 * astm.LINES
    assert counts[1] == 0


def test_the_shape_of_the_frame_does_not_favour_a_direction():
    rows, columns = np.mgrid[:600, :600]
    bricks = (rows // 10 * 30 + columns // 20).astype(np.int32)
    bricks = (
        np.unique(bricks, return_inverse=True)[1]
        .reshape(600, 600)
        .astype(np.int32)
        + 1
    )
    complete = astm.line_density(bricks)
    for part in (bricks[:200], bricks[:, :200]):
        assert astm.line_density(part) == pytest.approx(complete, rel=0.05)


@pytest.mark.parametrize("count", [150, 600])
def test_intervals_hold_the_truth_about_as_often_as_they_say(count):
    held = []
    for seed in range(30):
        side = 400
        pattern = voronoi(count, side, seed)
        true = count / side**2
        for (_, low, high), truth in (
            (astm.density(pattern), true),
            (astm.mean_intercept(pattern), np.pi / 4 / true**0.5),
        ):
            held.append(low <= truth <= high)
    assert np.mean(held) > 0.85


def test_lengths_scale_and_pixels_say_so():
    labels = voronoi(120, 700)
    grains = sizes.grain_measures(labels)
    pixels, microns = (
        summary(labels, grains, None),
        summary(labels, grains, 0.5),
    )
    assert (pixels["unit"], microns["unit"]) == ("pixel", "micrometre")
    assert pixels["astm_g"] is None
    assert microns["diameter"]["number_weighted"]["d50"] == pytest.approx(
        pixels["diameter"]["number_weighted"]["d50"] / 2, rel=1e-5
    )
    assert microns["mean_intercept"]["mean"] == pytest.approx(
        pixels["mean_intercept"]["mean"] / 2, rel=1e-5
    )
    assert microns["grains_per_mm2"]["mean"] == pytest.approx(
        pixels["grains_per_px2"]["mean"] * 4e6, rel=1e-5
    )
    low, mean, high = (
        microns["astm_g"]["intercept"][k] for k in ("low", "mean", "high")
    )
    assert low < mean < high


@pytest.mark.parametrize("number", [0, 1])
def test_no_grain_and_one_grain_have_defined_answers(number):
    labels = np.full((40, 60), number, np.int32)
    result = summary(labels, sizes.grain_measures(labels), 0.5)
    assert result["grains"] == number and result["whole_grains"] == 0
    assert result["mean_intercept"] is None
    assert result["astm_g"] is None and result["diameter"] is None


def stretched_voronoi(ratio, degrees, side=500, diameter=20.0, seed=0):
    """A Voronoi pattern that is `ratio` times as long along a direction as across."""
    rng = np.random.default_rng(seed)
    angle = np.radians(degrees)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    linear = turn @ np.diag([ratio**-0.5, ratio**0.5]) @ turn.T
    rows, columns = np.mgrid[:side, :side]
    place = np.stack([columns.ravel(), -rows.ravel()], -1) @ linear.T
    low, high = place.min(0) - 2 * diameter, place.max(0) + 2 * diameter
    count = int(np.prod(high - low) / (np.pi / 4 * diameter**2))
    nearest = cKDTree(rng.uniform(low, high, (count, 2))).query(place)[1]
    numbers = np.unique(nearest, return_inverse=True)[1] + 1
    return numbers.reshape(side, side).astype(np.int32)


@pytest.mark.parametrize("degrees", [0, 30, 70, -20])
def test_the_anisotropy_index_is_that_of_the_stretch(degrees):
    pattern = stretched_voronoi(3, degrees)
    depth = astm.depths(pattern)
    along = astm.intercept_along(pattern, depth, degrees)
    across = astm.intercept_along(pattern, depth, degrees + 90)
    assert along / across == pytest.approx(3, rel=0.06)
    axis = astm.long_axis(sizes.grain_measures(pattern))
    assert axis == pytest.approx(degrees, abs=3)


@pytest.mark.parametrize("radius", [6, 12, 30])
def test_holes_in_the_specimen_do_not_change_the_density(radius):
    pattern = voronoi(300, 700)
    complete, *_ = astm.density(pattern)
    holes = np.zeros(pattern.shape, np.uint8)
    rng = np.random.default_rng(1)
    for _ in range(12):
        centre = tuple(map(int, rng.integers(60, 640, 2)))
        cv2.circle(holes, centre, radius, 1, -1)
    cut = label(np.where(holes, 0, pattern), connectivity=1).astype(np.int32)
    assert astm.density(cut)[0] == pytest.approx(complete, rel=0.03)


def test_a_hole_within_a_grain_leaves_it_one_grain():
    pattern = np.repeat([[1, 2]], 40, axis=0).repeat(40, axis=1)
    pattern = pattern.astype(np.int32)
    before = astm.planimetric_count(np.pad(pattern, 1))
    pattern[10:20, 10:20] = 0
    assert astm.planimetric_count(np.pad(pattern, 1)) == before


@pytest.mark.parametrize("diameter", [8, 12])
def test_circles_that_graze_boundaries_cross_no_more_of_them(diameter):
    patterns = [
        tessellation((500, 600), diameter, np.random.default_rng(seed)).labels
        for seed in range(4)
    ]
    lengths, counts = sum(astm.intercepts(labels) for labels in patterns).T
    straight = lengths[:2].sum() / counts[:2].sum()
    assert lengths[4] / counts[4] == pytest.approx(straight, rel=0.05)

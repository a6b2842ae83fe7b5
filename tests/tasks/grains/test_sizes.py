"""Grain sizes: laws of geometry, an independent implementation, and values of the standard."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import cKDTree
from skimage.measure import perimeter_crofton, regionprops

from hvd.toolkit.tasks.grains import sizes


def voronoi(count, side, seed=0):
    """A Voronoi pattern of `count` seeds to side x side pixels, cut out of a larger one."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.5 * side, 1.5 * side, (4 * count, 2))
    grid = np.stack(np.mgrid[:side, :side], -1).reshape(-1, 2)
    nearest = cKDTree(points).query(grid)[1]
    return (
        (np.unique(nearest, return_inverse=True)[1] + 1)
        .reshape(side, side)
        .astype(np.int32)
    )


@pytest.fixture(scope="module")
def labels():
    return voronoi(120, 700)


def test_measures_agree_with_scikit_image(labels):
    result = sizes.grain_measures(labels)
    for k, region in enumerate(regionprops(labels)):
        assert result.area[k] == region.area
        assert (result.row[k], result.column[k]) == pytest.approx(
            region.centroid
        )
        assert result.diameter[k] == pytest.approx(
            region.equivalent_diameter_area
        )
        assert result.perimeter[k] == pytest.approx(
            perimeter_crofton(np.pad(region.image, 1), directions=4), rel=1e-6
        )
        # Scikit-image takes pixels as points, we as squares: a twelfth more in
        # every moment
        if region.area > 200:
            assert result.aspect_ratio[k] == pytest.approx(
                region.axis_major_length / region.axis_minor_length, rel=0.01
            )
            # scikit-image measures from the rows' axis
            turned = np.degrees(region.orientation) - 90
            assert abs((result.orientation[k] - turned + 90) % 180 - 90) < 1e-6


def test_measures_do_not_depend_on_the_strips_they_are_taken_in(
    labels, monkeypatch
):
    complete = sizes.grain_measures(labels)
    monkeypatch.setattr(sizes, "STRIP", 37 * 700)
    for part, other in zip(
        vars(complete).values(),
        vars(sizes.grain_measures(labels)).values(),
        strict=True,
    ):
        np.testing.assert_allclose(part, other)


def test_a_disc_has_the_diameter_and_perimeter_of_its_circle():
    rows, columns = np.mgrid[:201, :201] - 100
    disc = sizes.grain_measures(
        (1 + (np.hypot(rows, columns) <= 80)).astype(np.int32)
    )
    assert disc.diameter[1] == pytest.approx(160, rel=0.005)
    # Four directions only
    assert disc.perimeter[1] == pytest.approx(160 * np.pi, rel=0.06)
    assert disc.aspect_ratio[1] == pytest.approx(1)
    assert disc.touches_frame.tolist() == [True, False]


def test_orientation_is_that_of_the_long_axis_counter_clockwise_from_horizontal():
    rows, columns = np.mgrid[:200, :200] - 100
    for degrees in (0, 30, 90, -60):
        angle = np.radians(degrees)
        # Rows point down
        along = columns * np.cos(angle) - rows * np.sin(angle)
        across = columns * np.sin(angle) + rows * np.cos(angle)
        result = sizes.grain_measures(
            (1 + ((along / 60) ** 2 + (across / 20) ** 2 <= 1)).astype(np.int32)
        )
        assert result.orientation[1] == pytest.approx(degrees, abs=0.5)
        assert result.aspect_ratio[1] == pytest.approx(3, rel=0.02)


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
    assert sizes.g_from_intercept(intercept_mm) == pytest.approx(g, abs=0.01)
    assert sizes.g_from_density(density) == pytest.approx(g, abs=0.01)


@pytest.mark.parametrize("g", [-1, 0, 3.5, 8, 14])
def test_grain_size_numbers_come_back_from_the_sizes_that_they_stand_for(g):
    assert sizes.g_from_intercept(
        10 ** (-(g + 3.288) / 6.643856)
    ) == pytest.approx(g, abs=1e-9)
    assert sizes.g_from_density(
        10 ** ((g + 2.954) / 3.321928)
    ) == pytest.approx(g, abs=1e-9)


def test_grain_size_numbers_rise_by_one_when_grains_double_in_number():
    assert sizes.g_from_density(500) - sizes.g_from_density(
        250
    ) == pytest.approx(1, abs=1e-5)
    assert sizes.g_from_intercept(0.01) - sizes.g_from_intercept(
        0.02
    ) == pytest.approx(2, abs=1e-5)
    assert (np.diff(sizes.g_from_density(np.geomspace(1, 1e5, 50))) > 0).all()
    assert (
        np.diff(sizes.g_from_intercept(np.geomspace(1e-3, 1, 50))) < 0
    ).all()


def test_a_voronoi_pattern_of_known_density_gives_the_known_number():
    side, count = 1500, 900
    pattern = voronoi(count, side)
    density = count / side**2
    result, low, high = sizes.density(pattern)
    assert result == pytest.approx(density, rel=0.05)
    assert low < density < high
    mean, low, high = sizes.mean_intercept(pattern)
    # Of a Poisson-Voronoi tessellation (Meijering, 1953)
    assert mean == pytest.approx(np.pi / 4 / np.sqrt(density), rel=0.05)
    assert low < mean < high
    summary = sizes.summary(pattern, sizes.grain_measures(pattern), 2.0)
    assert summary["astm_g"]["planimetric"]["mean"] == pytest.approx(
        sizes.g_from_density(density * 1e6 / 4), abs=0.1
    )


def test_the_planimetric_count_takes_halves_at_edges_and_quarters_at_corners():
    grid = (
        (np.arange(4)[:, None] * 4 + np.arange(4)[None] + 1)
        .repeat(10, 0)
        .repeat(10, 1)
        .astype(np.int32)
    )
    assert sizes.planimetric_count(grid) == 4 + 8 / 2 + 4 / 4
    assert sizes.planimetric_count(np.ones((5, 5), np.int32)) == 1


def test_a_line_crosses_as_many_grains_as_boundaries_when_its_ends_count_half():
    stripes = (np.arange(100)[None] // 10 + 1).repeat(100, 0).astype(np.int32)
    lengths, counts = sizes.intercepts(stripes).T
    assert counts[0] == 9 * sizes.LINES and lengths[0] == 99 * sizes.LINES
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
    complete = sizes.line_density(bricks)
    for part in (bricks[:200], bricks[:, :200]):
        assert sizes.line_density(part) == pytest.approx(complete, rel=0.05)


@pytest.mark.parametrize("count", [150, 600])
def test_intervals_hold_the_truth_about_as_often_as_they_say(count):
    held = []
    for seed in range(30):
        side = 400
        pattern = voronoi(count, side, seed)
        true = count / side**2
        for (_, low, high), truth in (
            (sizes.density(pattern), true),
            (sizes.mean_intercept(pattern), np.pi / 4 / true**0.5),
        ):
            held.append(low <= truth <= high)
    assert np.mean(held) > 0.85


def test_an_upright_grain_lies_at_90_degrees():
    labels = np.ones((60, 60), np.int32)
    labels[10:50, 25:35] = 2
    assert sizes.grain_measures(labels).orientation[1] == 90


def test_weights_count_as_copies_would():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1, 5, 2])
    copies = np.repeat(values, weights)
    shares = (0.1, 0.5, 0.9)
    by_weight = sizes.percentiles(values, weights.astype(float), shares)
    by_copies = sizes.percentiles(copies, np.ones(8), shares)
    np.testing.assert_allclose(by_weight, by_copies, atol=0.5)
    assert sizes.percentiles(copies, np.ones(8), (0.5,))[0] == 1
    tenfold = sizes.percentiles(
        np.repeat(values, 10), np.repeat(weights / 10, 10), shares
    )
    np.testing.assert_allclose(
        sizes.percentiles(
            np.repeat(values, 10), np.repeat(weights * 7.0, 10), shares
        ),
        tenfold,
    )


def test_a_log_normal_distribution_is_found_again():
    diameters = np.random.default_rng(0).lognormal(
        np.log(20), np.log(1.5), 5000
    )
    result = sizes.distribution(diameters, diameters**2)
    assert result["log_normal"]["median"] == pytest.approx(20, rel=0.02)
    assert result["log_normal"]["geometric_deviation"] == pytest.approx(
        1.5, rel=0.02
    )
    assert result["log_normal"]["ks_distance"] < 0.03
    # Of a log-normal weighted by d^2
    assert result["area_weighted"]["d50"] == pytest.approx(
        20 * np.exp(2 * np.log(1.5) ** 2), rel=0.03
    )


@pytest.mark.parametrize("count", [2, 5, 300])
def test_the_distance_from_a_normal_distribution_is_that_of_scipy(count):
    values = np.random.default_rng(count).exponential(size=count)
    expected = stats.kstest(
        values, "norm", (values.mean(), values.std())
    ).statistic
    assert sizes.normal_distance(values) == pytest.approx(expected)


def test_lengths_scale_and_pixels_say_so(labels):
    grains = sizes.grain_measures(labels)
    pixels, microns = (
        sizes.summary(labels, grains, None),
        sizes.summary(labels, grains, 0.5),
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
    result = sizes.summary(labels, sizes.grain_measures(labels), 0.5)
    assert result["grains"] == number and result["whole_grains"] == 0
    assert result["mean_intercept"] is None
    if number:
        assert (
            result["astm_g"]["planimetric"]["low"] is None
            and result["astm_g"]["planimetric"]["high"] is None
        )
        assert result["diameter"]["number_weighted"]["d50"] == pytest.approx(
            0.5 * np.sqrt(4 * 2400 / np.pi), rel=1e-5
        )

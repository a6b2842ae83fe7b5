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


def test_the_diameter_of_spheres_is_found_from_their_sections():
    rng = np.random.default_rng(4)
    from_the_middle = rng.uniform(0, 1, 4000)
    sections = 80 * np.sqrt(1 - from_the_middle**2)
    estimate = sizes.saltykov(sections)
    assert estimate["mean"] == pytest.approx(80, rel=0.05)
    assert estimate["median"] == pytest.approx(80, rel=0.05)
    # A section shows them smaller.
    assert estimate["mean"] > sections.mean()
    # Sections all alike cannot be those of spheres.
    assert sizes.saltykov(np.full(200, 15.75))["negative_share"] > 0.2

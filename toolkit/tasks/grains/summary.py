"""The sizes of a micrograph's grains, as its record states them, with notes about what is doubtful.

Sizes are in micrometres, or in pixels without a scale. A value that cannot be determined is None.
"""

from typing import Any

import numpy as np

from hvd.toolkit.tasks.grains import astm, sizes
from hvd.toolkit.tasks.grains.sizes import Grains, interval, significant

# Fields of a record that are None when no grain lies entirely on the specimen, or when the answer
# is too doubtful.
SIZES = (
    "diameter",
    "elongation",
    "largest_grain",
    "duplex",
    "mean_intercept",
    "intercepts",
    "intercept_by_direction",
    "astm_g",
)
UNITS = {"micrometre": "um", "pixel": "px"}
DENSITIES = {"micrometre": "grains_per_mm2", "pixel": "grains_per_px2"}

ELONGATED = 1.5  # anisotropy index from which grains are not equiaxed

# The two grain-size numbers agree exactly for one shape of grains only. Equiaxed grains of other
# shapes make up to 0.35 between them.
APART = 0.5

MUCH_LARGER = 2.0  # area of a cut grain, in areas of the largest whole one, that is worth a note

# Saltykov's method takes grains for spheres. From this share of negative numbers on, they are none.
MOST_NEGATIVE = 0.2

DUPLEX = {
    "bimodal": "The grains are of two sizes (bimodal",
    "wide range": "Grain sizes span a wide range (duplex",
    "isolated coarse grains": "Single grains are much coarser than the others (duplex",
}

NO_GRAIN = (
    "No grain lies entirely inside the picture, so no size is given. If there are grains, take a "
    "picture at lower magnification, or with clearer boundaries."
)


def summary(
    labels: np.ndarray,
    grains: Grains,
    micrometres_per_pixel: float | None,
    three_dimensional: bool = False,
) -> dict[str, Any]:
    """The sizes that engineers ask for, of labels int32 (H, W) and what was measured of each grain.

    `three_dimensional` adds an estimate of diameters in space.
    """
    unit = micrometres_per_pixel or 1.0
    is_counted = ~grains.touches_frame
    result: dict[str, Any] = {
        "unit": "micrometre" if micrometres_per_pixel else "pixel",
        "grains": len(is_counted),
        "whole_grains": int(is_counted.sum()),
    }
    # Grains that the frame cuts are too small, and their number is that of the frame's making.
    if not is_counted.any():
        return without_sizes(result)

    diameters = grains.diameter[is_counted] * unit
    areas = grains.area[is_counted] * unit**2
    result["diameter"] = sizes.distribution(diameters, areas)
    result["elongation"] = significant(
        np.median(grains.aspect_ratio[is_counted])
    )
    result["largest_grain"] = largest_grain(
        areas, grains.area[~is_counted] * unit**2, micrometres_per_pixel
    )
    result["duplex"] = astm.duplex(grains.area)
    if three_dimensional:
        result["diameter_in_space"] = sizes.saltykov(diameters)

    intercept = astm.mean_intercept(labels)
    result["mean_intercept"] = (
        interval(*(x * unit for x in intercept)) if intercept else None
    )
    result["intercepts"] = int(astm.intercepts(labels)[:, 1].sum())
    result["intercept_by_direction"] = by_direction(labels, grains, unit)

    count = astm.density(labels)
    if micrometres_per_pixel:
        result["grains_per_mm2"] = interval(*(x * 1e6 / unit**2 for x in count))
        result["astm_g"] = astm_numbers(
            intercept, count, result["intercept_by_direction"], unit
        )
    else:
        result["grains_per_px2"] = interval(*count)
        result["astm_g"] = None
    return result


def without_sizes(values: dict[str, Any]) -> dict[str, Any]:
    """A record in which every size is None."""
    names = [*SIZES, DENSITIES[values["unit"]]]
    if "diameter_in_space" in values:
        names.append("diameter_in_space")
    return values | dict.fromkeys(names)


def largest_grain(
    areas: np.ndarray,
    cut_areas: np.ndarray,
    micrometres_per_pixel: float | None,
) -> dict[str, float | None]:
    """Area of the largest whole grain, and its number after ASTM E930 where a scale is known.

    `cut_area` is that of the largest grain that is cut, as much of it as shows.
    """
    area = float(areas.max())
    number = astm.ala_number(area / 1e6) if micrometres_per_pixel else None
    return {
        "area": significant(area),
        "cut_area": significant(cut_areas.max()) if len(cut_areas) else None,
        "ala_g": significant(number) if number is not None else None,
    }


def by_direction(
    labels: np.ndarray,
    grains: Grains,
    unit: float,
) -> dict[str, float | None]:
    """Mean intercepts by direction, and along and across the long axis of the grains.

    Returns
    -------
    `horizontal`, `vertical`, `falling` and `rising`; `axis` is the direction of the long axis in
    degrees counter-clockwise from horizontal; `along` and `across` it; `geometric_mean` of these
    two; `anisotropy_index`, their ratio, 1 for equiaxed grains.
    """
    result = {}
    for name, (length, count) in zip(
        astm.PATTERNS, astm.intercepts(labels), strict=True
    ):
        if name != "circles":
            result[name] = significant(length / count * unit) if count else None

    axis = astm.long_axis(grains)
    depth = astm.depths(labels)
    along = astm.intercept_along(labels, depth, axis)
    across = astm.intercept_along(labels, depth, axis + 90)
    result["axis"] = significant(axis)
    result["along"] = significant(along * unit) if along else None
    result["across"] = significant(across * unit) if across else None
    if along and across:
        result["geometric_mean"] = significant(unit * np.sqrt(along * across))
        result["anisotropy_index"] = significant(along / across)
    else:
        result["geometric_mean"] = result["anisotropy_index"] = None
    return result


def astm_numbers(
    intercept: tuple[float, float, float] | None,
    count: tuple[float, float, float],
    directions: dict[str, float | None],
    micrometres_per_pixel: float,
) -> dict[str, dict[str, float | None]]:
    """ASTM grain-size numbers by counting grains and, where boundaries were crossed, by intercepts.

    `intercept` and `count` are a mean with the ends of its interval, in pixels. `directional` is
    the number of the geometric mean of the intercepts along and across the grains.
    """
    by_count = []
    for value in count:
        per_mm2 = value * 1e6 / micrometres_per_pixel**2
        by_count.append(
            astm.g_from_density(per_mm2) if 0 < value < np.inf else None
        )
    result = {"planimetric": interval(*by_count)}

    if intercept:
        # G falls as the intercept grows: the ends of the interval change places.
        numbers = []
        for value in intercept:
            millimetres = value * micrometres_per_pixel / 1000
            numbers.append(
                astm.g_from_intercept(millimetres)
                if 0 < millimetres < np.inf
                else None
            )
        mean, low, high = numbers
        result["intercept"] = interval(mean, high, low)

    if directions["geometric_mean"]:
        number = astm.g_from_intercept(directions["geometric_mean"] / 1000)
        result["directional"] = {"mean": significant(number)}
    return result


def notes_on_sizes(values: dict[str, Any]) -> list[str]:
    """What a laboratory should know about the sizes in a record."""
    if not values["whole_grains"]:
        return [NO_GRAIN]

    notes = []
    if (number := values["whole_grains"]) < astm.ENOUGH_GRAINS:
        subject = "1 grain lies" if number == 1 else f"{number} grains lie"
        notes.append(
            f"Only {subject} entirely inside the picture: ASTM E112 asks for "
            f"{astm.ENOUGH_GRAINS} or more in a field, or for more fields."
        )
    largest = values["largest_grain"]
    if (largest["cut_area"] or 0) > MUCH_LARGER * largest["area"]:
        notes.append(
            f"A grain that is cut is {largest['cut_area'] / largest['area']:.2g} times as large as "
            "the largest whole one: the largest grain is not among those that were measured."
        )
    space = values.get("diameter_in_space")
    if space and space["negative_share"] > MOST_NEGATIVE:
        notes.append(
            "The diameters in space are doubtful: so few grains, or grains that are no spheres, "
            f"make {space['negative_share']:.0%} of their number negative."
        )

    index = values["intercept_by_direction"]["anisotropy_index"]
    if index and index >= ELONGATED:
        notes.append(
            f"The grains are elongated: {index:.2g} times as long along "
            f"{round(values['intercept_by_direction']['axis'])} degrees as across. Report "
            "intercepts by direction, as in intercept_by_direction."
        )
    if (numbers := values["astm_g"]) and do_disagree(numbers):
        notes.append(
            f"The two ASTM numbers disagree: {numbers['planimetric']['mean']:.2f} by counting, "
            f"{numbers['intercept']['mean']:.2f} by intercepts. Elongated grains, or grains of "
            "very different sizes, are the usual reasons."
        )
    if (kind := values["duplex"]["kind"]) in DUPLEX:
        notes.append(
            f"{DUPLEX[kind]}, after ASTM E1181). A mean does not describe them."
        )
    return notes


def do_disagree(numbers: dict[str, dict[str, float | None]]) -> bool:
    """Whether the two grain-size numbers are far apart, and their intervals do not meet."""
    if "intercept" not in numbers:
        return False
    one = numbers["planimetric"]
    other = numbers["intercept"]
    if one["mean"] is None or other["mean"] is None:
        return False
    if abs(one["mean"] - other["mean"]) < APART:
        return False
    ends = one["low"], one["high"], other["low"], other["high"]
    if any(end is None for end in ends):
        return False
    return one["high"] < other["low"] or other["high"] < one["low"]

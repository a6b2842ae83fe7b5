"""Pool the fields of a specimen after ASTM E112: one row for each folder of micrographs."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hvd.toolkit.outputs import cell
from hvd.toolkit.tasks.grains import astm, sizes
from hvd.toolkit.tasks.grains.sizes import significant
from hvd.toolkit.tasks.grains.summary import DENSITIES, UNITS

MOST_RELATIVE_ACCURACY = 10.0  # per cent, that ASTM E112 finds good enough

Record = dict[str, Any]


@dataclass(frozen=True)
class Specimen:
    """The fields of a specimen, all in one unit, and their grains.

    Attributes
    ----------
    fields : their records.
    areas : of all grains (n,), in square micrometres or pixels.
    is_whole : bool (n,), False for grains that something cuts.
    without_scale : how many fields were left out, since others have a scale.
    """

    fields: list[Record]
    areas: np.ndarray
    is_whole: np.ndarray
    without_scale: int = 0

    @property
    def unit(self) -> str:
        return self.fields[0]["unit"]

    @property
    def diameters(self) -> np.ndarray:
        """Of the whole grains, in rising order."""
        return np.sort(np.sqrt(4 * self.areas[self.is_whole] / np.pi))


def specimen_table(specimens: dict[str, Specimen]) -> str:
    """The pooled result of every specimen, by name, as CSV."""
    rows = [
        {"specimen": name, **pooled_result(specimen)}
        for name, specimen in specimens.items()
    ]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: cell(value) for name, value in row.items()})
    return text.getvalue()


def pooled_result(specimen: Specimen) -> Record:
    """What ASTM E112 reports of a specimen."""
    fields = specimen.fields
    length = UNITS[specimen.unit]
    density = DENSITIES[specimen.unit]
    has_scale = length == "um"
    measured = [record for record in fields if record["diameter"]]
    row: Record = {
        "fields": len(measured),
        "fields_without_sizes": len(fields) - len(measured),
        "fields_without_scale": specimen.without_scale,
        "whole_grains": int(specimen.is_whole.sum()),
        "least_reliability": least(record["reliability"] for record in fields),
    }
    if not measured:
        return row | {"note": "no field has a whole grain"}

    intercepts = np.array(
        [
            record["mean_intercept"]["mean"]
            for record in measured
            if record["mean_intercept"]
        ]
    )
    row |= with_prefix(f"mean_intercept_{length}", astm.pooled(intercepts))
    counts = np.array([record[density]["mean"] for record in measured])
    row |= with_prefix(density, astm.pooled(counts))
    if has_scale:
        row["g_intercept"] = (
            significant(astm.g_from_intercept(intercepts.mean() / 1000))
            if len(intercepts)
            else None
        )
        row["g_planimetric"] = (
            significant(astm.g_from_density(counts.mean()))
            if counts.mean() > 0
            else None
        )

    row |= grain_results(specimen, length, has_scale)
    accuracies = [
        row[f"{name}_relative_accuracy_percent"] or 0.0
        for name in (f"mean_intercept_{length}", density)
    ]
    accuracy = max(accuracies)
    row["note"] = "; ".join(notes(measured, accuracy))
    return row


def grain_results(
    specimen: Specimen,
    length: str,
    has_scale: bool,
) -> Record:
    """What is pooled from single grains: diameters, the largest, whether there are two sizes."""
    areas = specimen.areas[specimen.is_whole]
    diameters = specimen.diameters
    d10, d50, d90 = sizes.percentiles(
        diameters, np.ones(len(areas)), (0.1, 0.5, 0.9)
    )
    row = {
        f"mean_diameter_{length}": significant(diameters.mean()),
        f"d10_{length}": significant(d10),
        f"d50_{length}": significant(d50),
        f"d90_{length}": significant(d90),
        f"largest_area_{length}2": significant(areas.max()),
    }
    if has_scale:
        row["ala_g"] = significant(astm.ala_number(areas.max() / 1e6))
        row["g_mean_area"] = significant(
            astm.g_from_density(1e6 / areas.mean())
        )
    duplex = astm.duplex(specimen.areas)
    return row | {
        "duplex": duplex["kind"],
        "coarse_share": duplex["coarse_share"],
    }


def with_prefix(name: str, values: dict[str, float | None]) -> Record:
    """A pooled value as columns: the mean under its name, the others behind it."""
    row = {name: values["mean"]}
    for key in ("s", "ci95", "relative_accuracy"):
        unit = "_percent" if key == "relative_accuracy" else ""
        row[f"{name}_{key}{unit}"] = values[key]
    return row


def notes(fields: list[Record], accuracy: float | None) -> list[str]:
    """What a laboratory should know of a pooled result with that relative accuracy, in per cent."""
    result = []
    if accuracy and accuracy > MOST_RELATIVE_ACCURACY:
        result.append(
            f"relative accuracy above {MOST_RELATIVE_ACCURACY:.0f} %: measure more fields"
        )
    if len(fields) < 2:
        result.append("one field: no confidence interval of the specimen")
    few = sum(record["whole_grains"] < astm.ENOUGH_GRAINS for record in fields)
    if few:
        result.append(
            f"{few} of {len(fields)} fields have fewer than {astm.ENOUGH_GRAINS} whole grains"
        )
    return result


def least(values: Iterable[float | None]) -> float | None:
    """The least of the values that are known; None when none is."""
    return min((value for value in values if value is not None), default=None)

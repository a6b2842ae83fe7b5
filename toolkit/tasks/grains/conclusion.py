"""Summarise a run of `predict grains`: tables of micrographs and specimens, batches, and a page."""

import csv
import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import write_png
from hvd.toolkit.outputs import cell, write_bytes
from hvd.toolkit.tasks.grains.batches import (
    batch_chart,
    batch_table,
    pairwise_tests,
)
from hvd.toolkit.tasks.grains.page import run_page
from hvd.toolkit.tasks.grains.specimens import Specimen, specimen_table
from hvd.toolkit.tasks.grains.summary import UNITS

# Fields of a record that the table of micrographs leaves out.
INTERNAL = "outputs", "outputs_sha256", "task", "run"

# Columns of NAME-grains.csv.
AREA = 3
TOUCHES_FRAME = 8

RUN_FILES = (
    "report.html",
    "summary.csv",
    "specimens.csv",
    "batches.csv",
    "batches.png",
)

Record = dict[str, Any]
Records = Callable[[], Iterable[Record]]


def conclude(
    records: Records,
    folder: Path,
    out: Path,
) -> list[str]:
    """Write the summary of a run into `folder`, for `out`; returns the names of the files.

    `report.html` shows all micrographs, `summary.csv` has a row for each, and `specimens.csv` one
    for each folder. When micrographs come from several folders, `batches.png` and `batches.csv`
    compare these.
    """
    files = {"summary.csv": summary_table(records)}
    specimens = specimens_of(records)
    if specimens:
        files["specimens.csv"] = specimen_table(specimens)

    # Micrometres and pixels cannot be compared: where there are both, pixels are left out.
    units = {specimen.unit for specimen in specimens.values()}
    unit = "micrometre" if "micrometre" in units else "pixel"
    batches = {
        name: specimen.diameters
        for name, specimen in specimens.items()
        if specimen.unit == unit
    }
    has_batches = len(batches) > 1
    tests = pairwise_tests(batches)
    if has_batches:
        files["batches.csv"] = batch_table(batches, tests, UNITS[unit])

    for name, text in files.items():
        write_bytes(folder / name, text.encode(errors="backslashreplace"))
    if has_batches:
        left_out = sum(
            specimen.without_scale
            if specimen.unit == unit
            else len(specimen.fields)
            for specimen in specimens.values()
        )
        picture = batch_chart(batches, tests, left_out, UNITS[unit])
        write_png(folder / "batches.png", picture)

    page = run_page(records, out, list(files), has_batches)
    write_bytes(folder / "report.html", page.encode(errors="xmlcharrefreplace"))
    written = {*files, "report.html"}
    if has_batches:
        written.add("batches.png")
    return [name for name in RUN_FILES if name in written]


# --- one row for each micrograph


def flat_record(value: Any, name: str = "") -> dict[str, Any]:
    """A nested record as one row: names joined by underscores, None left out."""
    if isinstance(value, list):
        value = " ".join(value) or None
    if not isinstance(value, dict):
        return {} if value is None else {name: value}

    row = {}
    for key, inner in value.items():
        row |= flat_record(inner, f"{name}_{key}" if name else key)
    return row


def summary_table(records: Records) -> str:
    """The records of all micrographs that were not skipped, as CSV."""

    def rows() -> Iterator[dict[str, Any]]:
        for record in records():
            if record["status"] != "skipped":
                yield flat_record(
                    {k: v for k, v in record.items() if k not in INTERNAL}
                )

    # Records differ in their fields, so one pass collects the columns and another writes.
    columns = list(dict.fromkeys(itertools.chain.from_iterable(rows())))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows():
        writer.writerow({name: cell(value) for name, value in row.items()})

    return text.getvalue()


# --- the specimens: folders of micrographs


def specimens_of(records: Records) -> dict[str, Specimen]:
    """The specimen in each folder of inputs, with its grains as the tables of the run have them.

    When some micrographs of a folder have a scale and others have none, those without are left out.
    Raises ToolkitError with status 2 when a table is not where its record says.
    """
    folders: dict[Path, list[Record]] = {}
    for record in records():
        if record["status"] == "ok":
            folder = Path(record["input"]).absolute().parent
            folders.setdefault(folder, []).append(record)

    # Folders are named shortly where that is clear.
    names_differ = len({folder.name for folder in folders}) == len(folders)
    specimens = {}
    for folder, fields in folders.items():
        scaled = [record for record in fields if record["unit"] == "micrometre"]
        kept = scaled or fields
        grains = [np.zeros((0, 2))]
        grains += [
            areas_of_grains(record) for record in kept if record["diameter"]
        ]
        areas, is_cut = np.concatenate(grains).T
        specimens[folder.name if names_differ else str(folder)] = Specimen(
            kept, areas, is_cut == 0, len(fields) - len(kept)
        )
    return specimens


def areas_of_grains(record: Record) -> np.ndarray:
    """Area and whether the grain is cut (n, 2), from a record's table."""
    path = next(
        output for output in record["outputs"] if output.endswith("-grains.csv")
    )
    if not Path(path).exists():
        remedy = "Merge in the folder that the shards were predicted from."
        raise ToolkitError(f"There is no {path} here.", remedy, status=2)

    grains = read_table(path)
    if not grains.size:
        return np.zeros((0, 2))
    return grains[:, [AREA, TOUCHES_FRAME]]


def read_table(path: str) -> np.ndarray:
    """The numbers of a table of grains (n, columns); (0, 0) when it has nothing but a header."""
    lines = Path(path).read_text().splitlines()[1:]
    return (
        np.genfromtxt(lines, delimiter=",", ndmin=2)
        if lines
        else np.zeros((0, 0))
    )

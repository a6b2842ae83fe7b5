"""What `predict grains` leaves for each micrograph, and for the whole run."""

import csv
import io
import itertools
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi
from scipy.ndimage import find_objects

from toolkit import grain_size, pictures
from toolkit.boundaries import lines
from toolkit.core import ToolkitError
from toolkit.images import write_png
from toolkit.outputs import cell, write_bytes

MOST_SHOWN = 25_000_000  # pixels of an overlay; larger micrographs are shown smaller
MOST_BATCHES = 8
LEAST_WIDTH = 480  # pixels of an overlay: room for its key
INTERNAL = "outputs", "task", "run"  # of a record, what a table of micrographs leaves out


def write(prediction: Any, micrograph: Any, folder: Path) -> dict[str, Any]:
    """The files of one micrograph in `folder`; returns what the record says of them."""
    name, scale, labels = micrograph.name, micrograph.scale.micrometres_per_pixel, prediction.labels
    grains = grain_size.measured(labels)
    found = grain_size.summary(labels, grains, scale)
    unit = "um" if scale else "px"
    write_png(folder / f"{name}-boundaries.png", prediction.mask.astype(np.uint8) * 255)
    pixels_per_cm = 1e4 / scale if scale else None
    tifffile.imwrite(
        folder / f"{name}-labels.tif",
        labels,
        compression="zlib",
        resolution=(pixels_per_cm, pixels_per_cm) if scale else None,
        resolutionunit="CENTIMETER" if scale else None,
        metadata=None,
    )
    write_png(folder / f"{name}-overlay.png", overlay(micrograph.image, labels, grains.diameter * (scale or 1), unit))
    write_bytes(folder / f"{name}-grains.csv", table(grains, scale or 1, unit).encode())
    write_png(folder / f"{name}-distribution.png", distribution(name, grains, found, micrograph.scale, unit))
    write_bytes(folder / f"{name}-rois.zip", rois(labels))
    kinds = "boundaries.png", "labels.tif", "overlay.png", "grains.csv", "distribution.png", "rois.zip"
    height, width = labels.shape
    told = {"width": width, "height": height, "micrometres_per_pixel": scale, "scale_source": micrograph.scale.source}
    return {"outputs": [f"{name}-{kind}" for kind in kinds], **told, **found}


def table(grains: grain_size.Grains, scale: float, unit: str) -> str:
    """One grain a row as CSV, lengths in the unit, places in pixels."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    lengths = f"area_{unit}2", f"diameter_{unit}", f"perimeter_{unit}"
    rows.writerow(["grain", "row_px", "column_px", *lengths, "aspect_ratio", "orientation_degrees", "touches_frame"])
    for k in range(len(grains.area)):
        lengths = grains.area[k] * scale**2, grains.diameter[k] * scale, grains.perimeter[k] * scale
        shape = f"{grains.aspect_ratio[k]:.3f}", f"{grains.orientation[k]:.1f}", int(grains.touches_frame[k])
        rows.writerow([k + 1, f"{grains.row[k]:.1f}", f"{grains.column[k]:.1f}", *(f"{x:.6g}" for x in lengths), *shape])
    return text.getvalue()


def rois(labels: np.ndarray) -> bytes:
    """An ImageJ ROI set: the outer outline of every grain along the corners of its pixels, named by its number."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (rows, columns) in enumerate(find_objects(labels), 1):
            inside = (labels[rows, columns] == number).astype(np.uint8)
            twice = cv2.copyMakeBorder(np.kron(inside, np.ones((2, 2), np.uint8)), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
            outlines, _ = cv2.findContours(twice, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            outline = max(outlines, key=cv2.contourArea)[:, 0] // 2  # at twice the size, pixel 2k + 1 or 2k + 2 of a corner k
            roi = ImagejRoi.frompoints(outline + np.array([columns.start, rows.start]), name=f"grain-{number:05d}")
            roi.roitype, roi.options = ROI_TYPE.POLYGON, roi.options & ~ROI_OPTIONS.SUB_PIXEL_RESOLUTION
            archive.writestr(zipfile.ZipInfo(f"{roi.name}.roi"), roi.tobytes())
    return packed.getvalue()


def overlay(image: np.ndarray, labels: np.ndarray, diameters: np.ndarray, unit: str) -> np.ndarray:
    """The micrograph with its boundaries in red and grains tinted by diameter, a key below: uint8 (H, W, 3)."""
    every = int(np.ceil(np.sqrt(labels.size / MOST_SHOWN)))
    image, labels = image[::every, ::every], labels[::every, ::every]
    shown = pictures.grey(image)
    if len(diameters) > 1 and diameters.min() < diameters.max():
        low, high = np.log(diameters.min()), np.log(diameters.max())
        share = np.concatenate([[0], (np.log(diameters) - low) / (high - low)])
        tints = pictures.tint(share)
        shown = cv2.addWeighted(shown, 0.6, np.take(tints, labels, axis=0), 0.4, 0)
        shown = cv2.copyMakeBorder(shown, 0, 0, 0, max(0, LEAST_WIDTH - shown.shape[1]), cv2.BORDER_CONSTANT, value=(255, 255, 255))
        key = pictures.key(shown.shape[1], f"{diameters.min():.3g} {unit}", f"{diameters.max():.3g} {unit}", "equivalent diameter")
    else:
        key = np.zeros((0, shown.shape[1], 3), np.uint8)
    shown[:, : labels.shape[1]][lines(labels)] = pictures.RED
    return np.vstack([shown, key])


def distribution(name: str, grains: grain_size.Grains, found: dict[str, Any], scale: Any, unit: str) -> np.ndarray:
    """Histogram and cumulative share of the equivalent diameters, by number and by area: uint8 (H, W, 3)."""
    if not found["diameter"]:
        return pictures.chart([], [], f"{name}: no grain", "")
    kept = ~grains.touches_frame if found["whole_grains"] else np.ones(len(grains.area), bool)
    each = scale.micrometres_per_pixel or 1
    diameters, areas = grains.diameter[kept] * each, grains.area[kept]
    edges = np.geomspace(diameters.min() * 0.98, diameters.max() * 1.02, int(np.clip(2 * len(diameters) ** (1 / 3), 6, 40)) + 1)
    bars, curves = [], []
    for title, weights in (("by number", np.ones(len(areas))), ("by area", areas)):
        d50 = found["diameter"]["number_weighted" if title == "by number" else "area_weighted"]["d50"]
        bars.append((title, edges, np.histogram(diameters, edges, weights=weights)[0] / weights.sum()))
        order = np.argsort(diameters)
        curves.append((f"{title}, D50 {d50:.3g} {unit}", diameters[order], np.cumsum(weights[order]) / weights.sum()))
    which = "whole grains" if found["whole_grains"] else "grains, all cut by the frame"
    g = found["astm_g"]["planimetric"] if found["astm_g"] else None
    number = f", ASTM G {g['mean']:.1f}" if g else ""
    each = f"{each:.4g} um a pixel ({scale.source})" if scale.micrometres_per_pixel else "no scale: lengths in pixels"
    return pictures.chart(bars, curves, f"{name}: {len(areas)} {which}{number}; {each}", f"equivalent diameter, {unit}")


# --- the run


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """A nested record as one row: names joined by underscores."""
    if not isinstance(value, dict):
        return {} if value is None else {name: value}
    found = {}
    for key, inner in value.items():
        found |= flat(inner, f"{name}_{key}" if name else key)
    return found


def conclude(records: Callable[[], Iterable[dict[str, Any]]], folder: Path) -> None:
    """Write `summary.csv`, a row for each micrograph, and `batches.png` and `batches.csv` when they come from several folders."""

    def rows() -> Iterator[dict[str, Any]]:
        for record in records():
            if record["status"] != "skipped":
                yield flat({k: v for k, v in record.items() if k not in INTERNAL})

    batches, left_out, in_pixels = diameters_by_batch(records)
    columns = list(dict.fromkeys(itertools.chain.from_iterable(rows())))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in row.items()} for row in rows())
    write_bytes(folder / "summary.csv", text.getvalue().encode(errors="backslashreplace"))
    if len(batches) < 2:
        for name in ("batches.csv", "batches.png"):  # of an earlier run
            (folder / name).unlink(missing_ok=True)
        return
    write_bytes(folder / "batches.csv", compared(batches).encode(errors="backslashreplace"))
    curves = []
    for name, values in itertools.islice(batches.items(), MOST_BATCHES):
        curves.append(
            (f"{name}: {len(values)} grains, D50 {np.median(values):.3g}", values, np.arange(1, len(values) + 1) / len(values))
        )
    pairs = list(itertools.combinations(itertools.islice(batches, MOST_BATCHES), 2))
    p, first, second = min((two_samples(batches[a], batches[b])[1], a, b) for a, b in pairs)
    title = f"{first} and {second}: two-sample Kolmogorov-Smirnov p = {p:.2g}, if grains are independent"
    title += f"; the least of {len(pairs)} pairs" if len(pairs) > 1 else ""
    title += f"; first {MOST_BATCHES} of {len(batches)}" if len(batches) > MOST_BATCHES else ""
    title += f"; {left_out} micrographs without a scale left out" if left_out else ""
    label = "px: alike only at one magnification" if in_pixels else "um"
    write_png(folder / "batches.png", pictures.chart([], curves, title, f"equivalent diameter, {label}"))


def diameters_by_batch(records: Callable[[], Iterable[dict[str, Any]]]) -> tuple[dict[str, np.ndarray], int, bool]:
    """Sorted diameters of the whole grains of each folder of inputs, from the tables written, the number of micrographs left out
    because they have no scale where others have one, and whether none has. Nothing of fewer than two folders.

    Raises ToolkitError with status 2 when a table is not where its record says.
    """
    units = Counter(record["unit"] for record in records() if record["status"] == "ok")
    unit = "micrometre" if units["micrometre"] else "pixel"

    def scaled() -> Iterator[dict[str, Any]]:
        return (record for record in records() if record["status"] == "ok" and record["unit"] == unit)

    folders = {str(Path(record["input"]).absolute().parent) for record in scaled()}
    if len(folders) < 2:
        return {}, 0, unit == "pixel"
    by_name = len({Path(folder).name for folder in folders}) == len(folders)
    found = {}
    for record in scaled():
        path = next(output for output in record["outputs"] if output.endswith("-grains.csv"))
        if not Path(path).exists():
            raise ToolkitError(f"There is no {path} here.", "Merge in the folder that the shares were predicted from.", status=2)
        grains = np.genfromtxt(path, delimiter=",", skip_header=1, ndmin=2)
        folder = Path(record["input"]).absolute().parent
        if grains.size:
            found.setdefault(folder.name if by_name else str(folder), []).append(grains[grains[:, 8] == 0, 4])
    whole = {name: np.sort(np.concatenate(parts)) for name, parts in found.items() if sum(map(len, parts))}
    return whole, units.total() - units[unit], unit == "pixel"


def compared(batches: dict[str, np.ndarray]) -> str:
    """Every two batches by the two-sample Kolmogorov-Smirnov test, as CSV. The test takes grains as independent."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["batch", "other", "grains", "other_grains", "median", "other_median", "ks_distance", "p_value"])
    for (a, x), (b, y) in itertools.combinations(batches.items(), 2):
        distance, p = two_samples(x, y)
        medians = f"{np.median(x):.6g}", f"{np.median(y):.6g}"
        rows.writerow([a, b, len(x), len(y), *medians, f"{distance:.4f}", f"{p:.4g}"])
    return text.getvalue()


def two_samples(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Distance and p value of the two-sample Kolmogorov-Smirnov test."""
    from scipy.stats import ks_2samp  # takes half a second to import, which a single micrograph need not wait for

    return tuple(ks_2samp(x, y))

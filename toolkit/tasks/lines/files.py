"""Scans in files, read with what is missing of them and written with the gaps filled.

Whatever a file holds, its measured values come back to the last bit: only missing ones are
replaced, in the file's own type.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hvd.toolkit.core import Column, ToolkitError
from hvd.toolkit.images import read_array, write_png
from hvd.toolkit.options import MAX_PIXELS
from hvd.toolkit.tasks.lines.drawing import contact_sheet
from hvd.toolkit.tasks.lines.formats import CAUTION, Stored, Writer, levels, stack_of, stored
from hvd.toolkit.tasks.lines.masks import UNDESCRIBED, Recognised, described, recognised
from hvd.toolkit.tasks.lines.options import InputOptions
from hvd.toolkit.tasks.lines.types import MOST_PIXELS, SMALLEST, Filled, Origin, Scans, check_fits

EXACT = 1 << 53  # beyond which whole numbers are not exact in floating point
DARK = 0.1  # of floating point values: when none is greater they are of another scale than 0 to 1
NOTHING = "No missing line was found: the values are written as they came."
Mask = str | Path | np.ndarray
FEW = 0.01  # NaN as rare may be pixels that are lost besides those of lines

COLUMNS = (
    Column("scans", lambda record: str(record["scans"])),
    Column("missing", lambda record: f"{record['missing_share']:.1%}"),
    Column("mask", lambda record: record["mask"], is_text=True),
    Column("mask confidence", lambda record: f"{record['mask_confidence']:.2f}"),
)


def read(path: Path, options: InputOptions) -> Scans:
    """The scans in an .npy file, a folder of images, a NIfTI volume or a DICOM file, with what is
    missing of them."""
    images, missing, origin = read_scans(path, options.mask, options.axis, options.max_pixels)
    return Scans(images, missing, options.uncertainty, origin)


def from_array(array: np.ndarray, options: InputOptions) -> Scans:
    """The scans in an array (N, H, W) or (H, W), with what is missing of them."""
    if isinstance(array, np.ma.MaskedArray):
        array = array.astype(np.result_type(array.dtype, np.float32)).filled(np.nan)
    found = stack_of(np.asarray(array))
    images, missing, origin = scans_of(found, Path("the array"), options.mask, options.axis)
    return Scans(images, missing, options.uncertainty, origin)


def read_scans(
    path: Path, mask: Mask | None, axis: int | None, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, np.ndarray, Origin]:
    """The scans in a file or folder, as scans_of gives them."""
    return scans_of(stored(path, max_pixels), path, mask, axis, max_pixels)


def scans_of(
    found: Stored, path: Path, mask: Mask | None, axis: int | None, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, np.ndarray, Origin]:
    """Scans float32 (N, H, W) in [0, 1], what is missing of them, and their origin.

    Missing are values that are NaN, and those of the mask, a file or a description; without either, or with a few NaN, those that
    `masks.recognised` tells. Floating point values within 0 to 1 stay as they are, unless none is greater than DARK; all others
    are scaled so that the least measured value, or 0 when that is less, becomes 0 and the greatest 1. Slices of a volume lie along
    an axis, or along the one axis whose slices share a mask.
    """
    if found.values.size > MOST_PIXELS:
        reason = f"{path} holds {found.values.size:,} pixels."
        raise ToolkitError(reason, "Split it: 200 million pixels are the most.")

    if not found.volume:
        if axis is not None:
            raise ToolkitError(f"{path} is no volume.", "Leave --axis out.")
        return prepared(found, path, mask, max_pixels)

    if axis is None:
        return told_apart(found, path, mask, max_pixels)
    return prepared(sliced(found, axis), path, mask, max_pixels)


@dataclass(frozen=True)
class SliceWriter:
    """Writes slices along an axis as the volume that they are of."""

    writer: Writer
    axis: int

    def save(self, values: np.ndarray, folder: Path) -> list[str]:
        return self.writer.save(np.moveaxis(values, 0, self.axis), folder)

    def save_deviation(self, values: np.ndarray, folder: Path) -> list[str]:
        return self.writer.save_deviation(np.moveaxis(values, 0, self.axis), folder)


def sliced(volume: Stored, axis: int) -> Stored:
    """A volume as the stack of its slices along an axis."""
    values = np.ascontiguousarray(np.moveaxis(volume.values, axis, 0))
    return replace(volume, values=values, writer=SliceWriter(volume.writer, axis))


def prepared(
    found: Stored, name: Path, mask: Mask | None, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, np.ndarray, Origin]:
    """As read_scans, of a stack that was read already."""
    values = found.values
    zero = found.zero
    if values.dtype.kind not in "uif":
        raise ToolkitError(
            f"{name} holds {values.dtype} values.",
            "Save real numbers: the magnitude of a complex scan, say.",
        )

    if values.ndim != 3 or values.size == 0:
        raise ToolkitError(
            f"{name} has the shape {values.shape}.", "Give (N, H, W), (N, 1, H, W) or (H, W)."
        )

    if values.dtype.kind in "ui" and (int(values.max()) > EXACT or int(values.min()) < -EXACT):
        raise ToolkitError(f"{name} holds whole numbers beyond 2^53.", "Save them scaled down.")
    nan = np.isnan(values)
    if np.isinf(values).any():
        raise ToolkitError(
            f"{name} holds infinite values.", "Replace them by NaN where pixels are missing."
        )

    if mask is not None:
        kind = "an array" if isinstance(mask, np.ndarray) else str(mask)
        drawn = asked_mask(mask, values.shape[1:], max_pixels=max_pixels)
        told = Recognised(drawn, f"given: {kind}", 1.0)
        missing = nan | told.missing
    elif nan.mean() > FEW:
        told = Recognised(nan.any(0), "NaN", 1.0)
        missing = nan
    else:
        told = None
        missing = nan

    if missing.all():
        raise ToolkitError(
            f"All pixels of {name} are missing.",
            "Give scans with some measured pixels; in a mask, 1 = missing.",
        )

    low, span = grey_range(values[~missing], zero)
    images = np.where(missing, 0, np.clip((values.astype(np.float64) - low) / span, 0, 1)).astype(
        np.float32
    )

    if told is None:
        nothing = nan | (values == zero)
        try:
            told = recognised(np.where(nothing, 0, np.maximum(images, 1e-6)).astype(np.float32))
            missing = nan | (told.missing & nothing)
        except ToolkitError:
            if not nan.any():
                raise

        if nan.any() and (missing == nan).all():
            told = Recognised(nan.any(0), "NaN", 1.0)
        images = np.where(missing, 0, images)

    return images, missing, Origin(values, low, span, told, found.writer)


def told_apart(
    volume: Stored, path: Path, mask: Mask | None, max_pixels: int
) -> tuple[np.ndarray, np.ndarray, Origin]:
    """The answer for the axis along which slices share a mask; ToolkitError when several do that differ, or none does."""
    found = {}
    refused = []
    for axis in (k for k in range(3) if min(np.delete(volume.values.shape, k)) >= SMALLEST):
        try:
            part = prepared(sliced(volume, axis), path, mask, max_pixels)
        except ToolkitError as error:
            if error.status == 2:  # of the mask, along whatever axis
                raise
            refused.append(error)
            continue

        lost = part[2].values[part[1]]
        fits = mask is None or ((lost == volume.zero) | np.isnan(lost)).all()
        if fits and not part[1].all((1, 2)).any():
            found[axis] = part

    lines = {
        axis: part
        for axis, part in found.items()
        if part[1].any() and part[2].mask.kind != UNDESCRIBED
    } or {axis: part for axis, part in found.items() if part[1].any()}
    if not lines and len({error.reason for error in refused}) == 1 and not found:
        raise refused[0]

    if not lines and refused:
        reason = refused[-1].reason
        remedy = refused[-1].remedy
        raise ToolkitError(
            reason, f"Say along which axis slices lie: --axis 0, 1 or 2. {remedy}"
        ) from refused[-1]

    lines = lines or found
    wholes = [np.moveaxis(part[1], 0, axis) for axis, part in lines.items()]
    if not wholes or any((whole != wholes[0]).any() for whole in wholes):
        raise ToolkitError(
            f"Along which axis the slices of {path} lie cannot be told.", "Give --axis 0, 1 or 2."
        )

    return min(lines.values(), key=lambda part: len(part[0]))


def grey_range(measured: np.ndarray, zero: float = 0) -> tuple[float, float]:
    """What counts as 0, and how far above it 1 lies: 0 and 1 for floating point values within them, unless all are darker than
    DARK; else the least value, or that of nothing when it is less, and the greatest."""
    low = float(min(zero, measured.min()))
    high = float(measured.max())
    if measured.dtype.kind == "f" and low >= 0 and DARK <= high <= 1:
        return 0.0, 1.0
    return low, high - low or 1.0


def asked_mask(
    mask: Mask,
    shape: tuple[int, int],
    rng: np.random.Generator | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """The mask bool (H, W) in an array, in a file of that name, or as described by
    `hvd.toolkit.tasks.lines.masks`."""
    if isinstance(mask, np.ndarray):
        return binary_mask(np.squeeze(mask), "mask", shape)
    if Path(mask).is_file():
        return read_mask(Path(mask), shape, max_pixels)
    return described(str(mask), shape, rng)


def read_mask(path: Path, shape: tuple[int, int], max_pixels: int) -> np.ndarray:
    """The mask bool (H, W) in an .npy file or an image."""
    try:
        array = np.squeeze(
            read_array(path) if path.suffix.lower() == ".npy" else levels(path, max_pixels)
        )
    except ToolkitError as error:
        raise ToolkitError(error.reason, error.remedy, status=2) from error
    return binary_mask(array, f"mask {path}", shape)


def binary_mask(array: np.ndarray, name: str, shape: tuple[int, int]) -> np.ndarray:
    """A mask of 0 and 1, 0 and 255, or 0 and 65535 as bool (H, W); greater = missing."""
    if array.shape != shape:
        reason = f"The {name} has the shape {array.shape}, scans {shape}."
        raise ToolkitError(reason, "Give a mask of the scans' size.")

    kinds = np.unique(array)
    pairs = ({0, one} for one in (1, 255, 65535))
    if array.dtype.kind not in "buif" or not any(set(kinds.tolist()) <= pair for pair in pairs):
        shown = ", ".join(str(kind) for kind in kinds[:5].tolist())
        reason = f"The {name} is not binary: it holds {shown} ..."
        raise ToolkitError(reason, "Save 1 where pixels are missing, else 0.", 2)

    return array > 0


def restored(origin: Origin, images: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """The file's values with the missing ones replaced, rounded into its type."""
    filled = images[missing].astype(np.float64) * origin.span + origin.low
    if origin.values.dtype.kind != "f":
        limits = np.iinfo(origin.values.dtype)
        filled = np.clip(np.rint(filled), limits.min, limits.max)
    values = origin.values.copy()
    values[missing] = filled.astype(values.dtype)
    return values


# --- what predict leaves


def finish(filled: Filled, scans: Scans) -> Filled:
    """The scans with their gaps filled in the type and scale of the input, once they fit it."""
    check_fits(filled, scans)
    if scans.origin is None:
        return filled
    return replace(filled, values=restored(scans.origin, filled.images, scans.missing))


def measure(filled: Filled, scans: Scans) -> tuple[dict[str, Any], list[str]]:
    """How many scans there are, what is missing of them, and how that was recognised."""
    values = {
        "scans": len(scans.missing),
        "missing_share": round(float(scans.missing.mean()), 4),
    }
    if scans.origin is not None:
        values["mask"] = scans.origin.mask.kind
        values["mask_confidence"] = round(scans.origin.mask.confidence, 4)

    return values, [CAUTION if scans.missing.any() else NOTHING]


def write(filled: Filled, scans: Scans, values: dict[str, Any], folder: Path) -> list[str]:
    """The filled scans in the format they came in, a contact sheet, and a map of uncertainty when
    there is one; returns the names of the files."""
    origin = scans.origin
    outputs = origin.writer.save(filled.values, folder)
    if scans.uncertainty:
        deviation = (filled.uncertainty * origin.span).astype(np.float32)
        outputs += origin.writer.save_deviation(deviation, folder)

    rows = {"as it came": scans.images, "filled": filled.images}
    if filled.uncertainty is not None:
        most = float(filled.uncertainty.max())
        title = f"uncertainty, white = {most * origin.span:.3g}"
        rows[title] = filled.uncertainty / max(most, 1e-6)

    write_png(folder / "contact-sheet.png", contact_sheet(rows))
    return [*outputs, "contact-sheet.png"]

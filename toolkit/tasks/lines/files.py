"""Read scans and what is missing of them, and write them with the gaps filled.

Measured values come back to the last bit, whatever the file holds: only missing ones are replaced,
in the file's own type.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hvd.toolkit.core import Column, ToolkitError
from hvd.toolkit.images import read_array, write_png
from hvd.toolkit.options import MAX_PIXELS
from hvd.toolkit.tasks.lines.drawing import contact_sheet
from hvd.toolkit.tasks.lines.formats import (
    CAUTION,
    FileContent,
    Writer,
    content_of_array,
    read_content,
    read_levels,
    read_nifti,
)
from hvd.toolkit.tasks.lines.masks import mask_of_description
from hvd.toolkit.tasks.lines.options import InputOptions
from hvd.toolkit.tasks.lines.recognition import (
    UNDESCRIBED,
    MaskFinding,
    recognise_mask,
)
from hvd.toolkit.tasks.lines.types import (
    MOST_PIXELS,
    SMALLEST,
    Filled,
    Origin,
    Scans,
    check_fits,
)

EXACT = 1 << 53  # larger whole numbers are not exact in floating point
DARK = 0.1  # floating point values that are all smaller than this are not on a scale of 0 to 1
SURE = 0.95  # share of pixels that a mask must explain, or belie, to be called right or wrong
NOTHING = "No missing line was found: the values are written as they came."

Mask = str | Path | np.ndarray

COLUMNS = (
    Column("scans", lambda record: str(record["scans"])),
    Column("missing", lambda record: f"{record['missing_share']:.1%}"),
    Column("mask", lambda record: record["mask"], is_text=True),
    Column(
        "mask confidence", lambda record: f"{record['mask_confidence']:.2f}"
    ),
)


def read(path: Path, options: InputOptions) -> Scans:
    """The scans in an .npy file, a folder of images, a NIfTI volume or a DICOM file."""
    content = read_content(path, options.max_pixels)
    images, missing, origin = scans_of(content, path, options)
    return Scans(images, missing, options.uncertainty, origin)


def from_array(array: np.ndarray, options: InputOptions) -> Scans:
    """The scans in an array (N, H, W) or (H, W); masked values are missing."""
    if isinstance(array, np.ma.MaskedArray):
        kind = np.result_type(array.dtype, np.float32)
        array = np.ma.filled(array.astype(kind), np.nan)

    content = content_of_array(np.asarray(array))
    images, missing, origin = scans_of(content, Path("the array"), options)
    return Scans(images, missing, options.uncertainty, origin)


def scans_of(
    content: FileContent, path: Path, options: InputOptions
) -> tuple[np.ndarray, np.ndarray, Origin]:
    """Turn the content of a file into scans, and find what is missing.

    That is what the mask says; without a mask, what `recognition.recognise_mask` finds. NaN that
    is not missing stays NaN, and methods see 0 there.

    Floating point values within 0 to 1 stay as they are, unless none exceeds DARK. All others are
    scaled: the least measured value, or 0 when that is less, becomes 0 and the greatest 1.

    Parameters
    ----------
    content : of the file.
    path : of the file, for messages.
    options : the mask, the axis along which slices lie, and what is filled.

    Returns
    -------
    Scans float32 (N, H, W) in [0, 1], what is missing of them bool (N, H, W), and their origin.
    """
    if content.values.size > MOST_PIXELS:
        reason = f"{path} holds {content.values.size:,} pixels."
        raise ToolkitError(reason, "Split it: 200 million pixels are the most.")

    if options.axis is not None:
        if content.values.ndim != 3:
            raise ToolkitError(f"{path} is no volume.", "Leave --axis out.")
        return scans_from_stack(
            slices_along(content, options.axis), path, options, options.axis
        )
    if content.volume:
        return scans_of_volume(content, path, options)
    return scans_from_stack(content, path, options)


@dataclass(frozen=True)
class SliceWriter:
    """Writes slices along an axis as the volume that they were cut from."""

    writer: Writer
    axis: int

    def save(self, values: np.ndarray, folder: Path) -> list[str]:
        return self.writer.save(np.moveaxis(values, 0, self.axis), folder)

    def save_deviation(self, values: np.ndarray, folder: Path) -> list[str]:
        return self.writer.save_deviation(
            np.moveaxis(values, 0, self.axis), folder
        )


def slices_along(volume: FileContent, axis: int) -> FileContent:
    """A volume as a stack of slices along an axis."""
    values = np.ascontiguousarray(np.moveaxis(volume.values, axis, 0))
    return replace(
        volume, values=values, writer=SliceWriter(volume.writer, axis)
    )


def scans_from_stack(
    content: FileContent,
    name: Path,
    options: InputOptions,
    axis: int = 0,
) -> tuple[np.ndarray, np.ndarray, Origin]:
    """As `scans_of`, for a stack of scans (N, H, W) that were cut along an axis of a volume."""
    values = content.values
    check_values(values, name)
    if options.mask is not None:
        finding = mask_of_user(options, values, axis, content.zero)
    elif options.mask_polarity != "missing":
        reason = (
            "--mask-polarity says what 1 means in a mask, and there is none."
        )
        raise ToolkitError(reason, "Give --mask FILE too.", 2)
    else:
        finding = recognise_mask(values, content.zero)
    missing = finding.missing
    nan = np.isnan(values)
    if options.fill_outside:
        missing = missing | nan | (values == content.zero)

    is_measured = ~missing & ~nan
    if not is_measured.any():
        remedy = "Give scans with some measured pixels; in a mask, 1 = missing."
        raise ToolkitError(f"All pixels of {name} are missing.", remedy)

    # Networks see values from 0 to 1; `Origin` keeps what is needed to go
    # back.
    low, span = grey_range(values[is_measured], content.zero)
    scaled = np.clip((values.astype(np.float64) - low) / span, 0, 1)
    images = np.where(is_measured, scaled, 0).astype(np.float32)
    finding = replace(finding, missing=missing)
    return images, missing, Origin(values, low, span, finding, content.writer)


def check_values(values: np.ndarray, name: Path) -> None:
    """Raise ToolkitError unless values are finite or NaN, and a stack (N, H, W)."""
    if values.dtype.kind not in "uif":
        remedy = "Save real numbers: the magnitude of a complex scan, say."
        raise ToolkitError(f"{name} holds {values.dtype} values.", remedy)

    if values.ndim != 3 or values.size == 0:
        reason = f"{name} has the shape {values.shape}."
        raise ToolkitError(reason, "Give (N, H, W), (N, 1, H, W) or (H, W).")

    # Such numbers would not survive the conversion to float64.
    if values.dtype.kind in "ui" and (
        int(values.max()) > EXACT or int(values.min()) < -EXACT
    ):
        raise ToolkitError(
            f"{name} holds whole numbers beyond 2^53.", "Save them scaled down."
        )

    if np.isinf(values).any():
        remedy = "Replace them by NaN where pixels are missing."
        raise ToolkitError(f"{name} holds infinite values.", remedy)


def mask_of_user(
    options: InputOptions,
    values: np.ndarray,
    axis: int,
    zero: float,
) -> MaskFinding:
    """The mask that the user named, for scans (N, H, W) that were cut along an axis of a volume.

    Raises ToolkitError for a mask that belies the scans.
    """
    mask = options.mask
    kind = "an array" if isinstance(mask, np.ndarray) else str(mask)
    missing = mask_from_option(
        mask, values.shape, max_pixels=options.max_pixels, axis=axis
    )
    if options.mask_polarity == "measured":
        missing = ~missing
    missing = np.broadcast_to(missing, values.shape)
    check_mask(missing, values, zero)
    return MaskFinding(missing, f"given: {kind}", 1.0)


def check_mask(
    missing: np.ndarray,
    values: np.ndarray,
    zero: float,
) -> None:
    """Raise ToolkitError when a mask (N, H, W) marks nothing, or the wrong pixels of the scans.

    That shows where all else is empty: what it calls measured holds one value alone, and what it
    calls missing holds many; or it marks the empty pixels only when it is transposed.
    """
    if not missing.any():
        reason = "The mask marks no pixel as missing."
        raise ToolkitError(
            reason, "Give a mask with 1 where pixels are missing.", 2
        )
    if missing.all():
        return

    least = np.nanmin(values) if not np.isnan(values).all() else np.nan
    empty = np.isnan(values) | (values == zero) | (values == least)
    if empty[missing].mean() >= SURE:
        return
    if empty[~missing].mean() >= SURE > empty[missing].mean():
        reason = (
            "What the mask calls measured holds nothing, and what it calls missing holds values: "
            "it seems to be upside down."
        )
        remedy = "Give --mask-polarity measured when 1 means measured."
        raise ToolkitError(reason, remedy, 2)
    if missing.shape[1] == missing.shape[2]:
        turned = missing.transpose(0, 2, 1)
        others = turned & ~missing
        if (
            others.any()
            and empty[turned].mean() >= SURE
            and empty[missing & ~turned].mean() < 0.5
        ):
            reason = (
                "The mask marks the empty pixels only when it is transposed."
            )
            raise ToolkitError(
                reason, "Transpose it: rows are its first axis.", 2
            )


def scans_of_volume(
    volume: FileContent,
    path: Path,
    options: InputOptions,
) -> tuple[np.ndarray, np.ndarray, Origin]:
    """As `scans_of`, along the axis whose slices share a mask.

    Raises ToolkitError when slices along several axes have masks that differ, or none has one.
    """
    answers = {}
    refusals = []
    for axis in range(3):
        if min(np.delete(volume.values.shape, axis)) < SMALLEST:
            continue
        try:
            answer = scans_from_stack(
                slices_along(volume, axis), path, options, axis
            )
        except ToolkitError as error:
            if error.status == 2:  # about the mask, whatever the axis
                raise
            refusals.append(error)
            continue

        _, missing, origin = answer
        lost = origin.values[missing]
        is_plausible = (
            options.mask is None
            or ((lost == volume.zero) | np.isnan(lost)).all()
        )
        if is_plausible and not missing.all((1, 2)).any():
            answers[axis] = answer

    with_gaps = {
        axis: answer for axis, answer in answers.items() if answer[1].any()
    }
    with_lines = {}
    for axis, answer in with_gaps.items():
        if answer[2].mask.kind != UNDESCRIBED:
            with_lines[axis] = answer
    shared = {
        axis: answer
        for axis, answer in with_lines.items()
        if answer[2].mask.is_shared
    }
    likeliest = shared or with_lines or with_gaps

    if not likeliest and refusals:
        refuse_volume(refusals, answers)
    likeliest = likeliest or answers

    # Several axes may do, as long as the same pixels of the volume are missing.
    masks = [
        np.moveaxis(missing, 0, axis)
        for axis, (_, missing, _) in likeliest.items()
    ]
    if not masks or any((other != masks[0]).any() for other in masks):
        reason = f"It is not clear along which axis the slices of {path} lie."
        raise ToolkitError(reason, "Give --axis 0, 1 or 2.")

    return min(likeliest.values(), key=lambda answer: len(answer[0]))


def refuse_volume(refusals: list[ToolkitError], answers: dict) -> None:
    """Raise the error of the axes that could not be read, when no other shows a gap."""
    reasons = {error.reason for error in refusals}
    if len(reasons) == 1 and not answers:
        raise refusals[0]
    last = refusals[-1]
    remedy = f"Say along which axis slices lie: --axis 0, 1 or 2. {last.remedy}"
    raise ToolkitError(last.reason, remedy) from last


def grey_range(measured: np.ndarray, zero: float = 0) -> tuple[float, float]:
    """Which value counts as 0, and how far above it 1 lies.

    0 and 1 for floating point values within 0 to 1, unless all are below DARK. For all others the
    least measured value, or `zero` when that is less, and the range up to the greatest.
    """
    low = float(min(zero, measured.min()))
    high = float(measured.max())
    if measured.dtype.kind == "f" and low >= 0 and DARK <= high <= 1:
        return 0.0, 1.0
    return low, high - low or 1.0


def mask_from_option(
    mask: Mask,
    shape: tuple[int, ...],
    rng: np.random.Generator | None = None,
    max_pixels: int = MAX_PIXELS,
    axis: int = 0,
) -> np.ndarray:
    """The mask bool (H, W), or (N, H, W), of an array, a file or a description.

    `masks.mask_of_description` tells how to describe one. A mask of a volume is cut along its axis.
    """
    if isinstance(mask, np.ndarray):
        return binary_mask(mask, "mask", shape, axis)
    if Path(mask).is_file():
        return read_mask(Path(mask), shape, max_pixels, axis)
    return mask_of_description(str(mask), (shape[-2], shape[-1]), rng)


def read_mask(
    path: Path,
    shape: tuple[int, ...],
    max_pixels: int,
    axis: int,
) -> np.ndarray:
    """The mask bool (H, W) or (N, H, W) in an .npy file, a NIfTI volume or an image."""
    name = path.name.lower()
    try:
        if name.endswith(".npy"):
            array = read_array(path)
        elif name.endswith((".nii", ".nii.gz")):
            array = read_nifti(path).values
        else:
            array = read_levels(path, max_pixels)
    except ToolkitError as error:
        raise ToolkitError(error.reason, error.remedy, status=2) from error
    return binary_mask(array, f"mask {path}", shape, axis)


def binary_mask(
    array: np.ndarray,
    name: str,
    shape: tuple[int, ...],
    axis: int = 0,
) -> np.ndarray:
    """A mask of 0 and 1, 0 and 255, or 0 and 65535 as bool; the greater value = missing.

    `shape` is that of scans, (H, W) or (N, H, W); the mask has the one or the other.
    """
    shape_of_file = array.shape
    if array.ndim == 3 and len(shape) == 3:
        array = np.moveaxis(array, axis, 0)
    if array.shape != shape:
        array = np.squeeze(array)
    if array.shape not in (shape, shape[-2:]):
        reason = f"The {name} has the shape {shape_of_file}, scans {shape}."
        raise ToolkitError(reason, "Give a mask of the scans' size.")

    values = set(np.unique(array).tolist())
    is_binary = any(values <= {0, one} for one in (1, 255, 65535))
    if array.dtype.kind not in "buif" or not is_binary:
        shown = ", ".join(str(value) for value in sorted(values)[:5])
        reason = f"The {name} is not binary: it holds {shown} ..."
        raise ToolkitError(
            reason, "Save 1 where pixels are missing, else 0.", 2
        )

    return array > 0


def values_with_gaps_filled(
    origin: Origin, images: np.ndarray, missing: np.ndarray
) -> np.ndarray:
    """The values of the file with the missing ones replaced, rounded into its type."""
    filled = images[missing].astype(np.float64) * origin.span + origin.low
    if origin.values.dtype.kind != "f":
        limits = np.iinfo(origin.values.dtype)
        filled = np.clip(np.rint(filled), limits.min, limits.max)
    values = origin.values.copy()
    values[missing] = filled.astype(values.dtype)
    return values


# --- what `predict` writes


def finish(filled: Filled, scans: Scans) -> Filled:
    """Check that an answer fits the scans, and put it into the type and scale of the input."""
    check_fits(filled, scans)
    if scans.origin is None:
        return filled
    return replace(
        filled,
        values=values_with_gaps_filled(
            scans.origin, filled.images, scans.missing
        ),
    )


def measure(filled: Filled, scans: Scans) -> tuple[dict[str, Any], list[str]]:
    """Values for the record: how many scans, what they miss, and how that was determined."""
    values: dict[str, Any] = {
        "scans": len(scans.missing),
        "missing_share": round(float(scans.missing.mean()), 4),
    }
    if scans.origin is not None:
        values["mask"] = scans.origin.mask.kind
        values["mask_confidence"] = round(scans.origin.mask.confidence, 4)

    notes = [CAUTION if scans.missing.any() else NOTHING]
    if scans.origin is not None:
        notes += scans.origin.mask.notes
    return values, notes


def write(
    filled: Filled,
    scans: Scans,
    values: dict[str, Any],
    folder: Path,
) -> list[str]:
    """Write the filled scans in the format they came in, and a contact sheet; returns the names.

    With `--uncertainty` also a map of the uncertainty.
    """
    origin = scans.origin
    outputs = origin.writer.save(filled.values, folder)
    if scans.uncertainty:
        deviation = (filled.uncertainty * origin.span).astype(np.float32)
        outputs += origin.writer.save_deviation(deviation, folder)

    came = (origin.values.astype(np.float64) - origin.low) / origin.span
    rows: dict[str, np.ndarray] = {
        "as it came": np.nan_to_num(came),
        "missing: white": scans.missing.astype(np.float32),
        "filled": filled.images,
    }
    if filled.uncertainty is not None:
        most = float(filled.uncertainty.max())
        title = f"uncertainty, white = {most * origin.span:.3g}"
        rows[title] = filled.uncertainty / max(most, 1e-6)

    write_png(folder / "contact-sheet.png", contact_sheet(rows))
    return [*outputs, "contact-sheet.png"]

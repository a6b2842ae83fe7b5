"""Files of scans, read with what is missing of them and written with the gaps filled: .npy, images, NIfTI, DICOM.

Whatever the file holds, its measured values come back to the last bit: only missing ones are replaced, in the file's own type.
"""

import gzip
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

from toolkit import pictures
from toolkit.core import ToolkitError
from toolkit.images import LARGEST_FILE, SUFFIXES, decoded, read_array, read_bytes, read_grey, write_png
from toolkit.outputs import write_bytes
from toolkit.stripes import UNDESCRIBED, Recognised, recognised

SMALLEST = 8  # pixels along a side of a scan
EXACT = 1 << 53  # beyond which whole numbers are not exact in floating point
CAUTION = "Filled pixels are estimates: not for diagnosis."
NOTHING = "No missing line was found: the values are written as they came."
SHOWN, SIDE = 10, 160  # scans on a contact sheet, and their pixels


@dataclass(frozen=True)
class Origin:
    """Where scans came from: `values` (N, H, W) as the file holds them, of which `low` is 0 and `low + span` is 1; how their mask
    was told; and `save`, which writes values like these into a folder and returns the names of the files."""

    name: str
    values: np.ndarray
    low: float
    span: float
    mask: Recognised
    save: Callable[[np.ndarray, Path], list[str]]


def read_scans(path: Path, mask: Path | None, axis: int | None) -> tuple[np.ndarray, np.ndarray, Origin]:
    """Scans float32 (N, H, W) in [0, 1], what is missing of them, and their origin.

    Missing are values that are NaN, and those of the mask; without either, those that `stripes.recognised` tells. Floating point
    values within 0 to 1 stay as they are; all others are scaled so that the least measured value, or 0 when that is less, becomes 0
    and the greatest 1.
    """
    name = path.name.removesuffix(".gz").rsplit(".", 1)[0] if not path.is_dir() else path.name
    suffix = "".join(Path(path.name.lower()).suffixes[-2:]) if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
    if path.is_dir():
        values, save = image_folder(path)
    elif suffix == ".npy":
        values, save = array_file(path, name)
    elif suffix in (".nii", ".nii.gz"):
        return nifti(path, name, suffix, mask, axis)
    elif suffix in (".dcm", ".dicom", ".ima"):
        values, save = dicom(path, name)
    elif suffix in SUFFIXES:
        values, save = levels(path)[None], lambda filled, folder: saved_images(filled, [path.name], folder)
    else:
        kinds = f".npy, .nii, .nii.gz, .dcm, {', '.join(SUFFIXES)}, or a folder of images"
        raise ToolkitError(f"{path} is of no kind that can be read.", f"Give {kinds}.")
    if axis is not None:
        raise ToolkitError(f"{path} is no volume.", "Leave --axis out.")
    return prepared(values, name, mask, save)


def prepared(
    values: np.ndarray, name: str, mask: Path | None, save: Callable[[np.ndarray, Path], list[str]], zero: float = 0
) -> tuple[np.ndarray, np.ndarray, Origin]:
    """As read_scans, of values (N, H, W) that were read already, among which `zero` stands for nothing."""
    if values.dtype.kind not in "uif":
        raise ToolkitError(f"{name} holds {values.dtype} values.", "Save real numbers: the magnitude of a complex scan, say.")
    if values.ndim != 3 or values.size == 0:
        raise ToolkitError(f"{name} has the shape {values.shape}.", "Give (N, H, W), (N, 1, H, W) or (H, W).")
    if values.dtype.kind in "ui" and (int(values.max()) > EXACT or int(values.min()) < -EXACT):
        raise ToolkitError(f"{name} holds whole numbers beyond 2^53.", "Save them scaled down.")
    nan = np.isnan(values)
    if np.isinf(values).any():
        raise ToolkitError(f"{name} holds infinite values.", "Replace them by NaN where pixels are missing.")
    if mask is not None:
        told = Recognised(read_mask(mask, values.shape[1:]), f"given: {mask}", 1.0)
        missing = nan | told.missing
    elif nan.any():
        told, missing = Recognised(nan.any(0), "NaN", 1.0), nan
    else:
        told, missing = None, nan
    if missing.all():
        raise ToolkitError(f"All pixels of {name} are missing.", "Give scans with some measured pixels; in a mask, 1 = missing.")
    low, span = grey_range(values[~missing], zero)
    images = np.where(missing, 0, np.clip((values.astype(np.float64) - low) / span, 0, 1)).astype(np.float32)
    if told is None:
        told = recognised(np.where(values == zero, 0, np.maximum(images, 1e-6)).astype(np.float32))
        missing = told.missing & (values == zero)
        images = np.where(missing, 0, images)
    return images, missing, Origin(name, values, low, span, told, save)


def grey_range(measured: np.ndarray, zero: float = 0) -> tuple[float, float]:
    """What counts as 0, and how far above it 1 lies: 0 and 1 for floating point values within them; else the least value, or that
    of nothing when it is less, and the greatest."""
    low, high = float(min(zero, measured.min())), float(measured.max())
    if measured.dtype.kind == "f" and low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high - low or 1.0


def read_mask(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """A mask bool (H, W) of that shape: an .npy of 0 and 1, or an image of 0 and 1 or 0 and 255; greater = missing."""
    try:
        array = np.squeeze(read_array(path) if path.suffix.lower() == ".npy" else read_grey(path))
    except ToolkitError as error:
        raise ToolkitError(error.reason, error.remedy, status=2) from error
    if array.shape != shape:
        raise ToolkitError(f"The mask {path} has the shape {array.shape}, scans {shape}.", "Give a mask of the scans' size.", 2)
    kinds = np.unique(array)
    if array.dtype.kind not in "buif" or not (set(kinds.tolist()) <= {0, 1} or set(kinds.tolist()) <= {0, 255}):
        shown = ", ".join(str(k) for k in kinds[:5].tolist())
        raise ToolkitError(f"The mask {path} is not binary: it holds {shown} ...", "Save 1 where pixels are missing, else 0.", 2)
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


# --- kinds of files


def array_file(path: Path, name: str) -> tuple[np.ndarray, Callable]:
    """The scans of an .npy file."""
    array = read_array(path)
    layout = array.shape
    stack = array[None] if array.ndim == 2 else array[:, 0] if array.ndim == 4 and array.shape[1] == 1 else array

    def save(values: np.ndarray, folder: Path) -> list[str]:
        packed = io.BytesIO()
        np.save(packed, values.reshape(layout))
        write_bytes(folder / f"{name}_nogaps.npy", packed.getvalue())
        return [f"{name}_nogaps.npy"]

    return stack, save


def image_folder(path: Path) -> tuple[np.ndarray, Callable]:
    """The images of a folder as one stack, in the order of their names."""
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file())
    if not files:
        raise ToolkitError(f"{path} holds no image.", f"Put images there; they end in {', '.join(SUFFIXES)}.")
    images = [levels(file) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape or image.dtype != images[0].dtype:
            reason = f"{file} is {image.dtype} {image.shape}, {files[0].name} {images[0].dtype} {images[0].shape}."
            raise ToolkitError(reason, "Scans of one folder share a mask: give those of another size as folders of their own.")
    return np.stack(images), lambda values, folder: saved_images(values, [file.name for file in files], folder)


def levels(path: Path) -> np.ndarray:
    """Grey values (H, W) of an image file, of whatever type it holds."""
    data = read_bytes(path)
    image = decoded(data, str(path), cv2.IMREAD_UNCHANGED)
    if image.ndim == 3 and (image[..., :3] == image[..., :1]).all():
        image = image[..., 0]
    if image.ndim != 2:
        raise ToolkitError(f"{path} is in colour.", "Give grey scans.")
    if data[:4] in (b"II*\0", b"MM\0*") and len(tifffile.TiffFile(io.BytesIO(data)).pages) > 1:
        raise ToolkitError(f"{path} holds several pages.", "Save them as files of a folder, or as .npy.")
    return image


def saved_images(values: np.ndarray, names: list[str], folder: Path) -> list[str]:
    """Scans as TIFF when they came so, which keeps any type, else as PNG, which keeps 8 and 16 bits."""
    suffixes = [".tif" if Path(name).suffix.lower().startswith(".tif") else ".png" for name in names]
    written = [f"{Path(name).stem}_nogaps{suffix}" for name, suffix in zip(names, suffixes, strict=True)]
    if len(set(written)) < len(written):
        written = [f"{name}_nogaps{suffix}" for name, suffix in zip(names, suffixes, strict=True)]
    for name, suffix, image in zip(written, suffixes, values, strict=True):
        packed = io.BytesIO()
        if suffix == ".tif":
            tifffile.imwrite(packed, image, compression="zlib")
        else:
            packed.write(cv2.imencode(suffix, image)[1].tobytes())
        write_bytes(folder / name, packed.getvalue())
    return written


def extra(module: str, path: Path) -> Any:
    """A library of the extra [mri]."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ToolkitError(f"{path} needs {module}.", "Install the extra: pip install '.[mri]'.", status=2) from error


def nifti(path: Path, name: str, suffix: str, mask: Path | None, axis: int | None) -> tuple[np.ndarray, np.ndarray, Origin]:
    """The slices of a NIfTI volume along an axis, or along the one axis whose slices share a mask."""
    nibabel = extra("nibabel", path)
    data = read_bytes(path)
    try:
        raw = unzipped(data, path) if suffix.endswith(".gz") else data
        image = nibabel.Nifti1Image.from_bytes(raw)
        volume, start = np.asarray(image.dataobj.get_unscaled()), image.dataobj.offset
    except ToolkitError:
        raise
    except Exception as error:  # nibabel's errors share no base class
        raise ToolkitError(f"{path} is no NIfTI-1 volume: {error}.", "Copy or convert the file again.") from error
    spatial = volume[..., 0] if volume.ndim == 4 and volume.shape[-1] == 1 else volume
    if spatial.ndim != 3:
        raise ToolkitError(f"{path} has the shape {volume.shape}.", "Give a single volume.")
    slope, inter = image.dataobj.slope, image.dataobj.inter
    zero = float(np.rint(-inter / slope)) if volume.dtype.kind in "ui" else -inter / slope

    def answer(chosen: int) -> tuple[np.ndarray, np.ndarray, Origin]:
        def save(values: np.ndarray, folder: Path) -> list[str]:
            filled = np.moveaxis(values, 0, chosen).reshape(volume.shape).astype(volume.dtype).tobytes(order="F")
            body = raw[:start] + filled + raw[start + len(filled) :]  # header, extensions and all else as they were
            write_bytes(folder / f"{name}_nogaps{suffix}", gzip.compress(body, mtime=0) if suffix.endswith(".gz") else body)
            return [f"{name}_nogaps{suffix}"]

        return prepared(np.ascontiguousarray(np.moveaxis(spatial, chosen, 0)), name, mask, save, zero)

    if axis is not None:
        return answer(axis)
    return told_apart([k for k in range(3) if min(np.delete(spatial.shape, k)) >= SMALLEST], answer, mask, zero, path)


def told_apart(
    axes: list[int], answer: Callable[[int], tuple[np.ndarray, np.ndarray, Origin]], mask: Path | None, zero: float, path: Path
) -> tuple[np.ndarray, np.ndarray, Origin]:
    """The answer for the axis along which slices share a mask; ToolkitError when several do that differ, or none does."""
    found, refused = {}, None
    for axis in axes:
        try:
            part = answer(axis)
        except ToolkitError as error:
            refused = error
            continue
        lost = part[2].values[part[1]]
        fits = mask is None or ((lost == zero) | np.isnan(lost)).all()
        if fits and not part[1].all((1, 2)).any():
            found[axis] = part
    lines = {axis: part for axis, part in found.items() if part[1].any() and part[2].mask.kind != UNDESCRIBED} or {
        axis: part for axis, part in found.items() if part[1].any()
    }
    if not lines and refused:
        raise ToolkitError(refused.reason, f"Say along which axis slices lie: --axis 0, 1 or 2. {refused.remedy}") from refused
    lines = lines or found
    wholes = [np.moveaxis(part[1], 0, axis) for axis, part in lines.items()]
    if not wholes or any((whole != wholes[0]).any() for whole in wholes):
        raise ToolkitError(f"Along which axis the slices of {path} lie cannot be told.", "Give --axis 0, 1 or 2.")
    return min(lines.values(), key=lambda part: len(part[0]))


def unzipped(data: bytes, path: Path) -> bytes:
    """What a .gz file holds, up to the largest file that is read."""
    stream = zlib.decompressobj(31)
    raw = stream.decompress(data, LARGEST_FILE)
    if stream.unconsumed_tail:
        raise ToolkitError(f"{path} unpacks to more than 1 GiB.", "Split the volume.")
    return raw


def dicom(path: Path, name: str) -> tuple[np.ndarray, Callable]:
    """The slice, or the frames, of a DICOM file; it is written as a derived image with an identifier of its own."""
    pydicom = extra("pydicom", path)
    try:
        scan = pydicom.dcmread(io.BytesIO(read_bytes(path)))
        pixels = scan.pixel_array
    except Exception as error:  # pydicom's errors share no base class
        raise ToolkitError(f"{path} is no DICOM image that can be read: {error}.", "Export it uncompressed.") from error
    kind = str(scan.get("PhotometricInterpretation", "of no known kind"))
    if not kind.startswith("MONOCHROME") or pixels.dtype.name not in ("uint8", "int8", "uint16", "int16"):
        raise ToolkitError(f"{path} is {kind}, {pixels.dtype}.", "Give a grey scan of 8 or 16 bits.")

    def save(values: np.ndarray, folder: Path) -> list[str]:
        packed = io.BytesIO()
        try:
            copy = pydicom.dcmread(io.BytesIO(read_bytes(path)))
            whole, kind = values.reshape(pixels.shape), scan.PhotometricInterpretation
            copy.set_pixel_data(whole, kind, scan.BitsStored, generate_instance_uid=True)
            copy.ImageType = ["DERIVED", "SECONDARY"]
            copy.DerivationDescription = CAUTION
            copy.save_as(packed, enforce_file_format=True)
        except Exception as error:  # pydicom's errors share no base class
            raise ToolkitError(f"{path} cannot be written again: {error}.", "Export it as little endian, uncompressed.") from error
        write_bytes(folder / f"{name}_nogaps.dcm", packed.getvalue())
        return [f"{name}_nogaps.dcm"]

    return pixels[None] if pixels.ndim == 2 else pixels, save


# --- what predict leaves


def write(prediction: Any, scans: Any, folder: Path) -> dict[str, Any]:
    """The filled scans in the format they came in, a contact sheet, a map of uncertainty when there is one; returns what the record
    says."""
    origin, missing = scans.origin, scans.missing
    outputs = origin.save(restored(origin, prediction.images, missing), folder)
    if scans.uncertainty:
        if prediction.uncertainty is None:
            raise ToolkitError("This method knows no uncertainty.", "Use --method deep, or leave --uncertainty out.")
        packed = io.BytesIO()
        np.save(packed, (prediction.uncertainty * origin.span).astype(np.float32))
        write_bytes(folder / f"{origin.name}_uncertainty.npy", packed.getvalue())
        outputs.append(f"{origin.name}_uncertainty.npy")
    rows = {"as it came": scans.images, "filled": prediction.images}
    if prediction.uncertainty is not None:
        most = float(prediction.uncertainty.max())
        rows[f"uncertainty, white = {most * origin.span:.3g}"] = prediction.uncertainty / max(most, 1e-6)
    write_png(folder / "contact-sheet.png", contact_sheet(rows))
    told = {
        "scans": len(missing),
        "missing_share": round(float(missing.mean()), 4),
        "mask": origin.mask.kind,
        "mask_confidence": round(origin.mask.confidence, 4),
    }
    note = CAUTION if missing.any() else NOTHING
    return {"outputs": [*outputs, "contact-sheet.png"], **told, "note": note}


def contact_sheet(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Rows of scans (N, H, W) from 0, black, to 1, white, by their titles, at most ten of each; uint8 RGB."""
    parts = []
    for title, images in rows.items():
        shown = images[np.unique(np.linspace(0, len(images) - 1, SHOWN).astype(int))]
        strip = [cv2.resize(image, fit(image.shape, SIDE), interpolation=cv2.INTER_NEAREST) for image in shown]
        parts.append((title, pictures.gallery([pictures.grey_levels(image) for image in strip], len(strip))))
    height, width = parts[0][1].shape[:2]
    return pictures.panels(parts, CAUTION, columns=1, cell=(height, max(width, 520)))


def fit(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height of an image enlarged by a whole number, or shrunk, to about that many pixels along its longer side."""
    scale = side / max(shape)
    scale = max(1, round(scale)) if scale > 1 else scale
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))

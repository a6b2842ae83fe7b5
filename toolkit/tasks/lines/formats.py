"""File formats that hold scans: .npy, images and folders of images, NIfTI volumes, DICOM.

Each is read together with a writer, which writes other values in the same format.
"""

import gzip
import hashlib
import io
import math
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import tifffile

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.decoding import FRAMES, Kind, damage_error, read_jpeg, segments
from hvd.toolkit.images import (
    LARGEST_FILE,
    SUFFIXES,
    decode,
    read_array,
    read_bytes,
)
from hvd.toolkit.options import MAX_PIXELS
from hvd.toolkit.outputs import write_bytes
from hvd.toolkit.tiff import is_as_stored, is_tiff

CAUTION = "Filled pixels are estimates: not for diagnosis."
DICOM = ".dcm", ".dicom", ".ima"  # suffixes


class Writer(Protocol):
    """Writes scans in the format of the file they came from; can be sent to another process."""

    def save(self, values: np.ndarray, folder: Path) -> list[str]:
        """Write values in the file's own format into a folder; returns the names of the files."""
        ...

    def save_deviation(self, values: np.ndarray, folder: Path) -> list[str]:
        """Write a map of deviations, float32 of the same shape; returns the names of the files."""
        ...


@dataclass(frozen=True)
class FileContent:
    """What a file holds.

    Attributes
    ----------
    values : (N, H, W), or the three axes of a volume.
    writer : writes such values in the file's own format.
    zero : the value that stands for nothing.
    volume : whether it is a volume, which can be cut into slices along three axes.
    """

    values: np.ndarray
    writer: Writer
    zero: float = 0
    volume: bool = False


def read_content(path: Path, max_pixels: int = MAX_PIXELS) -> FileContent:
    """The content of a folder of images, or of a file, whose suffix tells its format."""
    name = path.name.lower()
    if path.is_dir():
        return read_image_folder(path, max_pixels)
    if name.endswith(".npy"):
        return read_npy(path)
    if name.endswith((".nii", ".nii.gz")):
        return read_nifti(path)
    # A folder or a known suffix decides; only files without one are opened to
    # look.
    if name.endswith(tuple(SUFFIXES)):
        return read_images([path], max_pixels)
    if name.endswith(DICOM) or is_dicom(path):
        return read_dicom(path)

    kinds = f".npy, .nii, .nii.gz, .dcm, {', '.join(SUFFIXES)}, or a folder of images"
    raise ToolkitError(
        f"{path} is of no kind that can be read.", f"Give {kinds}."
    )


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM.

    Scanners leave the suffix out, or end names in a number.
    """
    return read_bytes(path)[128:132] == b"DICM"


# --- arrays


@dataclass(frozen=True)
class ArrayWriter:
    """Writes scans as .npy, in the shape of the array they came in."""

    shape: tuple[int, ...]
    name: str

    def save(self, values: np.ndarray, folder: Path) -> list[str]:
        return save_array(
            values.reshape(self.shape), folder / f"{self.name}_nogaps.npy"
        )

    def save_deviation(self, values: np.ndarray, folder: Path) -> list[str]:
        return save_array(
            values.reshape(self.shape), folder / f"{self.name}_uncertainty.npy"
        )


def save_array(values: np.ndarray, path: Path) -> list[str]:
    """Write an .npy file; returns its name."""
    packed = io.BytesIO()
    np.save(packed, values)
    write_bytes(path, packed.getvalue())
    return [path.name]


def content_of_array(array: np.ndarray, name: str = "scans") -> FileContent:
    """The scans of an array (N, H, W), (N, 1, H, W) or (H, W)."""
    stack = array
    if array.ndim == 2:
        stack = array[None]
    elif array.ndim == 4 and array.shape[1] == 1:
        stack = array[:, 0]
    return FileContent(stack, ArrayWriter(array.shape, name))


def read_npy(path: Path) -> FileContent:
    """The scans of an .npy file."""
    return content_of_array(read_array(path), path.name[: -len(".npy")])


# --- images


@dataclass(frozen=True)
class ImageWriter:
    """Writes scans as images, named after those they came in."""

    files: tuple[Path, ...]

    def save(self, values: np.ndarray, folder: Path) -> list[str]:
        return save_images(values, self.files, folder, "nogaps")

    def save_deviation(self, values: np.ndarray, folder: Path) -> list[str]:
        return save_images(values, self.files, folder, "uncertainty")


def read_image_folder(path: Path, max_pixels: int = MAX_PIXELS) -> FileContent:
    """The images of a folder as one stack, in the order of their names."""
    files = []
    for file in sorted(path.iterdir()):
        is_image = file.suffix.lower() in SUFFIXES and not file.name.startswith(
            "."
        )
        if is_image and file.is_file():
            files.append(file)

    if not files:
        remedy = f"Put images there; they end in {', '.join(SUFFIXES)}."
        raise ToolkitError(f"{path} holds no image.", remedy)

    return read_images(files, max_pixels)


def read_images(files: list[Path], max_pixels: int = MAX_PIXELS) -> FileContent:
    """Image files of one size and type as one stack."""
    images = [read_levels(file, max_pixels) for file in files]
    first = images[0]
    for file, image in zip(files, images, strict=True):
        if image.shape != first.shape or image.dtype != first.dtype:
            others = f"{files[0].name} {first.dtype} {first.shape}"
            reason = f"{file} is {image.dtype} {image.shape}, {others}."
            remedy = "Scans of one folder share a mask: "
            remedy += "give those of another size as folders of their own."
            raise ToolkitError(reason, remedy)

    return FileContent(np.stack(images), ImageWriter(tuple(files)))


def read_levels(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Grey values (H, W) of an image file, in the type that it holds."""
    data = read_bytes(path)
    image = decode(data, str(path), Kind.STORED, max_pixels, upright=False)

    # Three equal channels are grey.
    if image.ndim == 3 and (image[..., :3] == image[..., :1]).all():
        image = image[..., 0]
    if image.ndim != 2:
        raise ToolkitError(f"{path} is in colour.", "Give grey scans.")

    if is_tiff(data) and not is_as_stored(data):
        reason = f"{path} is a TIFF to be shown inverted or turned."
        raise ToolkitError(reason, "Save it upright, with 0 for black.")

    return image


def save_images(
    values: np.ndarray,
    files: Sequence[Path],
    folder: Path,
    ending: str,
) -> list[str]:
    """Write scans as images named after `files`; returns the names.

    TIFF, which keeps any type, for scans that came as TIFF or are in floating point; for all
    others PNG, which keeps 8 and 16 bits.
    """
    is_float = values.dtype.kind == "f"
    suffixes = []
    for file in files:
        is_tif = is_float or file.suffix.lower().startswith(".tif")
        suffixes.append(".tif" if is_tif else ".png")

    # Files that differ in nothing but their suffix keep it in the name.
    stems = [file.stem for file in files]
    pairs = list(zip(stems, suffixes, strict=True))
    if len(set(pairs)) < len(pairs):
        stems = [file.name for file in files]

    names = []
    for stem, suffix, image in zip(stems, suffixes, values, strict=True):
        name = f"{stem}_{ending}{suffix}"
        buffer = io.BytesIO()
        if suffix == ".tif":
            tifffile.imwrite(buffer, image, compression="zlib")
        else:
            buffer.write(cv2.imencode(suffix, image)[1].tobytes())
        write_bytes(folder / name, buffer.getvalue())
        names.append(name)

    return names


def import_extra(module: str, path: Path) -> Any:
    """Import a library of the extra [mri]; raises ToolkitError when it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ToolkitError(
            f"{path} needs {module}.",
            "Install the extra: pip install '.[mri]'.",
        ) from error


# --- NIfTI

NIFTI_HEADER = 540  # bytes of the longer of its two kinds
BEHIND = 1 << 20  # bytes that may follow the values


@dataclass(frozen=True)
class NiftiWriter:
    """Writes a volume into a copy of the file that it came in.

    Attributes
    ----------
    raw, start : the file's bytes, unzipped, and where its values begin.
    shape, dtype : of the values, in Fortran order.
    header, affine, kind : what nibabel read, and its class of image.
    slope : of the header's scaling.
    name, suffix : of the file.
    """

    raw: bytes
    start: int
    shape: tuple[int, ...]
    dtype: np.dtype
    header: Any
    affine: np.ndarray
    kind: type
    slope: float
    name: str
    suffix: str

    def save(self, values: np.ndarray, folder: Path) -> list[str]:
        filled = (
            values.reshape(self.shape).astype(self.dtype).tobytes(order="F")
        )
        # Header, extensions and all else as they were
        rest = self.raw[self.start + len(filled) :]
        body = self.raw[: self.start] + filled + rest
        return self.write(body, folder / f"{self.name}_nogaps{self.suffix}")

    def save_deviation(self, values: np.ndarray, folder: Path) -> list[str]:
        header = self.header.copy()
        header.set_data_dtype(np.float32)
        header.set_slope_inter(1, 0)
        header["cal_min"] = header["cal_max"] = 0
        scaled = self.kind(
            values * np.float32(abs(self.slope)), self.affine, header
        )
        return self.write(
            scaled.to_bytes(), folder / f"{self.name}_uncertainty{self.suffix}"
        )

    def write(self, body: bytes, path: Path) -> list[str]:
        """Write the bytes of a volume, zipped if the file was; returns the name."""
        packed = (
            gzip.compress(body, mtime=0)
            if self.suffix.endswith(".gz")
            else body
        )
        write_bytes(path, packed)
        return [path.name]


def read_nifti(path: Path) -> FileContent:
    """A NIfTI volume, its values before the header's scaling."""
    nibabel = import_extra("nibabel", path)
    is_zipped = path.name.lower().endswith(".gz")
    suffix = ".nii.gz" if is_zipped else ".nii"
    data = read_bytes(path)

    try:
        raw = unzip_volume(data, path, nibabel) if is_zipped else data
        kind = (
            nibabel.Nifti2Image if b"n+2" in raw[4:8] else nibabel.Nifti1Image
        )
        image = kind.from_bytes(raw)
        expected = value_bytes(image.header)
        if expected > len(raw):
            reason = f"{path} should hold {expected:,} bytes of values and holds {len(raw):,}."
            raise ToolkitError(reason, "Copy the file again.")
        volume = np.asarray(image.dataobj.get_unscaled())
        start = image.dataobj.offset
    except ToolkitError:
        raise
    except Exception as error:  # nibabel's errors share no base class
        reason = f"{path} is no NIfTI volume: {error}."
        raise ToolkitError(reason, "Copy or convert the file again.") from error

    spatial = (
        volume[..., 0] if volume.ndim == 4 and volume.shape[-1] == 1 else volume
    )
    if spatial.ndim != 3:
        raise ToolkitError(
            f"{path} has the shape {volume.shape}.", "Give a single volume."
        )

    # The stored value that the header's scaling turns into 0.
    slope = image.dataobj.slope
    zero = -image.dataobj.inter / slope
    if volume.dtype.kind in "ui":
        zero = float(np.rint(zero))

    writer = NiftiWriter(
        raw=raw,
        start=start,
        shape=volume.shape,
        dtype=volume.dtype,
        header=image.header,
        affine=image.affine,
        kind=kind,
        slope=slope,
        name=path.name[: -len(suffix)],
        suffix=suffix,
    )
    return FileContent(spatial, writer, zero, volume=True)


def value_bytes(header: Any) -> int:
    """How many bytes of values a NIfTI header announces."""
    return math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize


def unzip_volume(data: bytes, path: Path, nibabel: Any) -> bytes:
    """The content of a .nii.gz file; refuses one that is far more than its header says."""
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        start = file.read(NIFTI_HEADER)
        is_second = b"n+2" in start[4:8]
        kind = nibabel.Nifti2Header if is_second else nibabel.Nifti1Header
        header = kind(start[: kind.sizeof_hdr], check=False)

        # A small archive may unpack to terabytes: read only what the header
        # promises.
        values = value_bytes(header)
        most = int(header["vox_offset"]) + values + BEHIND
        if not 0 <= most <= LARGEST_FILE:
            raise ToolkitError(
                f"{path} unpacks to more than 1 GiB.", "Split the volume."
            )
        raw = start + file.read(most - len(start) + 1)

    if len(raw) > most:
        reason = f"{path} unpacks to more than the {values:,} bytes of values in its header."
        raise ToolkitError(reason, "Save the volume again.")

    return raw


# --- DICOM


@dataclass(frozen=True)
class DicomWriter:
    """Writes a scan into a copy of the file that it came in.

    A copy with other pixels is a derived image, with an identifier of its own.

    Attributes
    ----------
    path, data : of the file.
    pixels : as pydicom decodes them.
    photometric, bits : how pixels are to be read.
    name : of the file, without its suffix.
    """

    path: Path
    data: bytes
    pixels: np.ndarray
    photometric: str
    bits: int
    name: str

    def save(self, values: np.ndarray, folder: Path) -> list[str]:
        file = f"{self.name}_nogaps.dcm"
        changed = (values.reshape(self.pixels.shape) != self.pixels).any()
        write_bytes(
            folder / file, self.derived_image(values) if changed else self.data
        )
        return [file]

    def save_deviation(self, values: np.ndarray, folder: Path) -> list[str]:
        return save_array(values, folder / f"{self.name}_uncertainty.npy")

    def derived_image(self, values: np.ndarray) -> bytes:
        """The bytes of a copy with other values."""
        pydicom = import_extra("pydicom", self.path)
        buffer = io.BytesIO()
        try:
            copy = pydicom.dcmread(io.BytesIO(self.data))
            frames = values.reshape(self.pixels.shape)
            copy.set_pixel_data(
                frames, self.photometric, self.bits, generate_instance_uid=False
            )

            # The same scan, filled alike, is the same image: its identifier comes from the content.
            content = [
                hashlib.sha256(part).hexdigest()
                for part in (self.data, values.tobytes())
            ]
            identifier = pydicom.uid.generate_uid(entropy_srcs=content)
            copy.SOPInstanceUID = identifier
            copy.file_meta.MediaStorageSOPInstanceUID = identifier
            copy.ImageType = ["DERIVED", "SECONDARY"]
            copy.DerivationDescription = CAUTION
            copy.save_as(buffer, enforce_file_format=True)
        except Exception as error:  # pydicom's errors share no base class
            reason = f"{self.path} cannot be written again: {error}."
            raise ToolkitError(
                reason, "Export it as little endian, uncompressed."
            ) from error

        return buffer.getvalue()


def read_dicom(path: Path) -> FileContent:
    """The slice, or the frames, in a DICOM file."""
    pydicom = import_extra("pydicom", path)
    data = read_bytes(path)
    try:
        with warnings.catch_warnings(action="ignore"):
            check_deflated(pydicom, data, path)
            scan = pydicom.dcmread(io.BytesIO(data))
            check_frames(pydicom, scan, path)
            pixels = scan.pixel_array
    except ToolkitError:
        raise
    except Exception as error:  # pydicom's errors share no base class
        reason = f"{path} is no DICOM image that can be read: {error}."
        raise ToolkitError(reason, "Export it uncompressed.") from error

    # A palette or a colour image has no single intensity to fill.
    kind = str(scan.get("PhotometricInterpretation", "of no known kind"))
    known = pixels.dtype.name in ("uint8", "int8", "uint16", "int16")
    if not kind.startswith("MONOCHROME") or not known:
        reason = f"{path} is {kind}, {pixels.dtype}."
        raise ToolkitError(reason, "Give a grey scan of 8 or 16 bits.")

    name = path.stem if path.name.lower().endswith(DICOM) else path.name
    frames = pixels[None] if pixels.ndim == 2 else pixels
    return FileContent(
        frames, DicomWriter(path, data, pixels, kind, scan.BitsStored, name)
    )


def pixel_bytes(scan: Any, path: Path) -> int:
    """How many bytes of pixels a DICOM header announces; raises ToolkitError for too many."""
    frames = int(scan.get("NumberOfFrames") or 1)
    rows = int(scan.Rows)
    columns = int(scan.Columns)
    each = int(scan.get("SamplesPerPixel") or 1) * -(
        -int(scan.BitsAllocated) // 8
    )
    total = frames * rows * columns * each
    if not 0 < total <= LARGEST_FILE:
        raise ToolkitError(
            f"{path} names {total:,} bytes of pixels.",
            "Split it: 1 GiB at most.",
        )

    return total


def check_deflated(pydicom: Any, data: bytes, path: Path) -> None:
    """Raise ToolkitError for a deflated file that holds far more than its header announces."""
    meta = pydicom.filereader.read_file_meta_info(path)
    if (
        meta.get("TransferSyntaxUID")
        != pydicom.uid.DeflatedExplicitVRLittleEndian
    ):
        return

    # The content follows the preamble, the prefix, the length of the meta group, and that group.
    start = 132 + 12 + int(meta.FileMetaInformationGroupLength)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    first = inflate.decompress(data[start:], BEHIND)
    header = pydicom.dcmread(
        io.BytesIO(first), force=True, stop_before_pixels=True
    )
    most = pixel_bytes(header, path) + BEHIND

    # Piece by piece, so that a bomb never lies in memory.
    total = len(first)
    while total <= most and inflate.unconsumed_tail and not inflate.eof:
        total += len(inflate.decompress(inflate.unconsumed_tail, BEHIND))
    if total > most:
        reason = f"{path} unpacks to far more than the pixels in its header."
        raise ToolkitError(reason, "Export it uncompressed.")


def check_frames(pydicom: Any, scan: Any, path: Path) -> None:
    """Raise ToolkitError unless each compressed frame is as large as the header says."""
    pixel_bytes(scan, path)
    syntax = scan.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return
    if syntax == pydicom.uid.RLELossless:
        return  # no bomb: two bytes stand for 128 at most

    # A compressed frame may unpack to far more than the header promises.
    count = int(scan.get("NumberOfFrames") or 1)
    expected = int(scan.Rows), int(scan.Columns)
    for frame in pydicom.encaps.generate_frames(
        scan.PixelData, number_of_frames=count
    ):
        shape = frame_shape(frame)
        if shape != expected:
            reason = f"{path} holds a frame of {shape}, where its header says {expected}."
            raise ToolkitError(reason, "Export it uncompressed.")
        check_frame(frame, str(path))


def check_frame(frame: bytes, name: str) -> None:
    """Raise ToolkitError for a compressed frame that is cut short or that libjpeg warns about."""
    content = frame.rstrip(b"\0")  # frames have an even length
    if content[-2:] != JPEG_END:
        raise damage_error(name, "the end of a frame is missing")

    # Other decoders cannot be asked for warnings.
    is_baseline = any(marker in BASELINE for marker, _ in segments(content))
    if JPEG_2000 not in frame and is_baseline:
        read_jpeg(content, name, Kind.GREY)


JPEG_END = b"\xff\xd9"
# Markers of frames that libjpeg decodes, of 8 bits
BASELINE = {
    0xC0,
    0xC1,
    0xC2,
}
JPEG_2000 = b"\xff\x4f\xff\x51"  # how a codestream begins: its start, and the marker of its size
JPEG_LS = 0xF7  # marker


def frame_shape(frame: bytes) -> tuple[int, int] | None:
    """Height and width that a compressed frame announces; None when it announces none."""
    place = frame.find(JPEG_2000)
    if place >= 0:
        right, bottom, left, top = struct.unpack_from(">IIII", frame, place + 8)
        return bottom - top, right - left

    for marker, content in segments(frame):
        if marker in FRAMES or marker == JPEG_LS:
            height, width = struct.unpack_from(">HH", content, 1)
            return height, width

    return None

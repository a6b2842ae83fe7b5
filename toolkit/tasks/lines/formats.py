"""Kinds of files that hold scans: .npy, images and folders of them, NIfTI volumes, DICOM; each read with what writes its like."""

import gzip
import hashlib
import io
import math
import struct
import warnings
import zlib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import tifffile

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.decoding import FRAMES, Kind, damaged, read_jpeg, segments
from hvd.toolkit.images import LARGEST_FILE, SUFFIXES, decoded, read_array, read_bytes
from hvd.toolkit.options import MAX_PIXELS
from hvd.toolkit.outputs import write_bytes
from hvd.toolkit.tiff import is_as_stored, is_tiff

CAUTION = "Filled pixels are estimates: not for diagnosis."
DICOM = ".dcm", ".dicom", ".ima"  # suffixes


class Writer(Protocol):
    """Writes scans as the file holds them that they came from; can be sent to another process."""

    def save(self, values: np.ndarray, folder: Path) -> list[str]:
        """Write values in the file's own format into a folder; returns the names of the files."""
        ...

    def save_deviation(self, values: np.ndarray, folder: Path) -> list[str]:
        """The same of a map of deviations, float32 of the same shape."""
        ...


@dataclass(frozen=True)
class Stored:
    """What a file holds: `values` (N, H, W), or the three axes of a volume, among which `zero`
    stands for nothing; and what writes such values in the file's own format."""

    values: np.ndarray
    writer: Writer
    zero: float = 0
    volume: bool = False


def stored(path: Path, max_pixels: int = MAX_PIXELS) -> Stored:
    """What lies at a path: a folder of images, or a file, whose suffix tells its kind."""
    name = path.name.lower()
    if path.is_dir():
        return image_folder(path, max_pixels)
    if name.endswith(".npy"):
        return array_file(path)
    if name.endswith((".nii", ".nii.gz")):
        return nifti(path)
    if name.endswith(tuple(SUFFIXES)):
        return images([path], max_pixels)
    if name.endswith(DICOM) or is_dicom(path):
        return dicom(path)
    kinds = f".npy, .nii, .nii.gz, .dcm, {', '.join(SUFFIXES)}, or a folder of images"
    raise ToolkitError(f"{path} is of no kind that can be read.", f"Give {kinds}.")


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM: scanners leave out the suffix, or end names in a number."""
    return read_bytes(path)[128:132] == b"DICM"


# --- arrays


@dataclass(frozen=True)
class ArrayWriter:
    """Writes scans as .npy, in the shape of the array that they came in."""

    shape: tuple[int, ...]
    name: str

    def save(self, values: np.ndarray, folder: Path) -> list[str]:
        return save_array(values.reshape(self.shape), folder / f"{self.name}_nogaps.npy")

    def save_deviation(self, values: np.ndarray, folder: Path) -> list[str]:
        return save_array(values.reshape(self.shape), folder / f"{self.name}_uncertainty.npy")


def save_array(values: np.ndarray, path: Path) -> list[str]:
    """Write an .npy file; returns its name."""
    packed = io.BytesIO()
    np.save(packed, values)
    write_bytes(path, packed.getvalue())
    return [path.name]


def stack_of(array: np.ndarray, name: str = "scans") -> Stored:
    """The scans of an array (N, H, W), (N, 1, H, W) or (H, W)."""
    stack = array
    if array.ndim == 2:
        stack = array[None]
    elif array.ndim == 4 and array.shape[1] == 1:
        stack = array[:, 0]
    return Stored(stack, ArrayWriter(array.shape, name))


def array_file(path: Path) -> Stored:
    """The scans of an .npy file."""
    return stack_of(read_array(path), path.name[: -len(".npy")])


# --- images


@dataclass(frozen=True)
class ImageWriter:
    """Writes scans as images, named as those that they came in."""

    files: tuple[Path, ...]

    def save(self, values: np.ndarray, folder: Path) -> list[str]:
        return saved_images(values, self.files, folder, "nogaps")

    def save_deviation(self, values: np.ndarray, folder: Path) -> list[str]:
        return saved_images(values, self.files, folder, "uncertainty")


def image_folder(path: Path, max_pixels: int = MAX_PIXELS) -> Stored:
    """The images of a folder as one stack, in the order of their names."""
    files = [
        p
        for p in path.iterdir()
        if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    ]
    files.sort()

    if not files:
        raise ToolkitError(
            f"{path} holds no image.", f"Put images there; they end in {', '.join(SUFFIXES)}."
        )

    return images(files, max_pixels)


def images(files: list[Path], max_pixels: int = MAX_PIXELS) -> Stored:
    """Image files as one stack."""
    read = [levels(file, max_pixels) for file in files]
    for file, image in zip(files, read, strict=True):
        if image.shape != read[0].shape or image.dtype != read[0].dtype:
            reason = f"{file} is {image.dtype} {image.shape}, {files[0].name} {read[0].dtype} {read[0].shape}."
            raise ToolkitError(
                reason,
                "Scans of one folder share a mask: give those of another size as folders of their own.",
            )

    return Stored(np.stack(read), ImageWriter(tuple(files)))


def levels(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Grey values (H, W) of an image file, of whatever type it holds."""
    data = read_bytes(path)
    image = decoded(data, str(path), Kind.STORED, max_pixels, upright=False)
    if image.ndim == 3 and (image[..., :3] == image[..., :1]).all():
        image = image[..., 0]
    if image.ndim != 2:
        raise ToolkitError(f"{path} is in colour.", "Give grey scans.")

    if is_tiff(data) and not is_as_stored(data):
        reason = f"{path} is a TIFF to be shown inverted or turned."
        raise ToolkitError(reason, "Save it upright, with 0 for black.")

    return image


def saved_images(values: np.ndarray, files: list[Path], folder: Path, ending: str) -> list[str]:
    """Scans as TIFF, which keeps any type, when they came so or are in floating point; else as PNG, which keeps 8 and 16 bits."""
    floating = values.dtype.kind == "f"
    suffixes = [
        ".tif" if floating or file.suffix.lower().startswith(".tif") else ".png" for file in files
    ]
    written = [
        f"{file.stem}_{ending}{suffix}" for file, suffix in zip(files, suffixes, strict=True)
    ]

    if len(set(written)) < len(written):
        written = [
            f"{file.name}_{ending}{suffix}" for file, suffix in zip(files, suffixes, strict=True)
        ]

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
        raise ToolkitError(
            f"{path} needs {module}.", "Install the extra: pip install '.[mri]'."
        ) from error


# --- NIfTI

NIFTI_HEADER = 540  # bytes of the longer of its two kinds
BEHIND = 1 << 20  # bytes that may lie behind the values


@dataclass(frozen=True)
class NiftiWriter:
    """Writes a volume into a copy of the file that it came in.

    Attributes
    ----------
    raw, start : the file's bytes, unpacked, and where its values begin.
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
        filled = values.reshape(self.shape).astype(self.dtype).tobytes(order="F")
        rest = self.raw[self.start + len(filled) :]  # header, extensions and all else as they were
        body = self.raw[: self.start] + filled + rest
        return self.write(body, folder / f"{self.name}_nogaps{self.suffix}")

    def save_deviation(self, values: np.ndarray, folder: Path) -> list[str]:
        header = self.header.copy()
        header.set_data_dtype(np.float32)
        header.set_slope_inter(1, 0)
        header["cal_min"] = header["cal_max"] = 0
        scaled = self.kind(values * np.float32(abs(self.slope)), self.affine, header)
        return self.write(scaled.to_bytes(), folder / f"{self.name}_uncertainty{self.suffix}")

    def write(self, body: bytes, path: Path) -> list[str]:
        """Write the bytes of a volume, packed as the file was; returns the name."""
        packed = gzip.compress(body, mtime=0) if self.suffix.endswith(".gz") else body
        write_bytes(path, packed)
        return [path.name]


def nifti(path: Path) -> Stored:
    """A NIfTI volume, its values before the header's scaling."""
    nibabel = extra("nibabel", path)
    zipped = path.name.lower().endswith(".gz")
    suffix = ".nii.gz" if zipped else ".nii"
    name = path.name[: -len(suffix)]
    data = read_bytes(path)

    try:
        raw = unzipped_volume(data, path, nibabel) if zipped else data
        version = nibabel.Nifti2Image if b"n+2" in raw[4:8] else nibabel.Nifti1Image
        image = version.from_bytes(raw)
        told = math.prod(image.header.get_data_shape()) * image.header.get_data_dtype().itemsize
        if told > len(raw):
            raise ToolkitError(
                f"{path} should hold {told:,} bytes of values and holds {len(raw):,}.",
                "Copy the file again.",
            )

        volume = np.asarray(image.dataobj.get_unscaled())
        start = image.dataobj.offset
    except ToolkitError:
        raise
    except Exception as error:  # nibabel's errors share no base class
        raise ToolkitError(
            f"{path} is no NIfTI volume: {error}.", "Copy or convert the file again."
        ) from error

    spatial = volume[..., 0] if volume.ndim == 4 and volume.shape[-1] == 1 else volume
    if spatial.ndim != 3:
        raise ToolkitError(f"{path} has the shape {volume.shape}.", "Give a single volume.")
    slope = image.dataobj.slope
    inter = image.dataobj.inter
    writer = NiftiWriter(
        raw=raw,
        start=start,
        shape=volume.shape,
        dtype=volume.dtype,
        header=image.header,
        affine=image.affine,
        kind=version,
        slope=slope,
        name=name,
        suffix=suffix,
    )
    zero = float(np.rint(-inter / slope)) if volume.dtype.kind in "ui" else -inter / slope

    return Stored(spatial, writer, zero, volume=True)


def unzipped_volume(data: bytes, path: Path, nibabel: Any) -> bytes:
    """What a .nii.gz file holds, as long as it is not far more than its header says."""
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        start = file.read(NIFTI_HEADER)
        second = b"n+2" in start[4:8]
        kind = nibabel.Nifti2Header if second else nibabel.Nifti1Header
        header = kind(start[: kind.sizeof_hdr], check=False)
        values = math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
        most = int(header["vox_offset"]) + values + BEHIND
        if not 0 <= most <= LARGEST_FILE:
            raise ToolkitError(f"{path} unpacks to more than 1 GiB.", "Split the volume.")
        raw = start + file.read(most - len(start) + 1)

    if len(raw) > most:
        reason = (
            f"{path} unpacks to more than the {values:,} bytes of values that its header names."
        )
        raise ToolkitError(reason, "Save the volume again.")

    return raw


# --- DICOM


@dataclass(frozen=True)
class DicomWriter:
    """Writes a scan into a copy of the file that it came in; what is changed of it is a derived image
    with an identifier of its own."""

    path: Path
    data: bytes
    pixels: np.ndarray
    photometric: str
    bits: int
    name: str

    def save(self, values: np.ndarray, folder: Path) -> list[str]:
        file = f"{self.name}_nogaps.dcm"
        changed = (values.reshape(self.pixels.shape) != self.pixels).any()
        write_bytes(folder / file, self.derived(values) if changed else self.data)
        return [file]

    def save_deviation(self, values: np.ndarray, folder: Path) -> list[str]:
        return save_array(values, folder / f"{self.name}_uncertainty.npy")

    def derived(self, values: np.ndarray) -> bytes:
        """The bytes of a copy with other values."""
        pydicom = extra("pydicom", self.path)
        packed = io.BytesIO()
        try:
            copy = pydicom.dcmread(io.BytesIO(self.data))
            frames = values.reshape(self.pixels.shape)
            copy.set_pixel_data(frames, self.photometric, self.bits, generate_instance_uid=False)
            # of the same scan, filled alike, it is the same image
            content = [hashlib.sha256(part).hexdigest() for part in (self.data, values.tobytes())]
            identifier = pydicom.uid.generate_uid(entropy_srcs=content)
            copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = identifier
            copy.ImageType = ["DERIVED", "SECONDARY"]
            copy.DerivationDescription = CAUTION
            copy.save_as(packed, enforce_file_format=True)
        except Exception as error:  # pydicom's errors share no base class
            reason = f"{self.path} cannot be written again: {error}."
            raise ToolkitError(reason, "Export it as little endian, uncompressed.") from error

        return packed.getvalue()


def dicom(path: Path) -> Stored:
    """The slice, or the frames, of a DICOM file."""
    pydicom = extra("pydicom", path)
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

    kind = str(scan.get("PhotometricInterpretation", "of no known kind"))
    known = pixels.dtype.name in ("uint8", "int8", "uint16", "int16")
    if not kind.startswith("MONOCHROME") or not known:
        reason = f"{path} is {kind}, {pixels.dtype}."
        raise ToolkitError(reason, "Give a grey scan of 8 or 16 bits.")

    name = path.stem if path.name.lower().endswith(DICOM) else path.name
    frames = pixels[None] if pixels.ndim == 2 else pixels
    return Stored(frames, DicomWriter(path, data, pixels, kind, scan.BitsStored, name))


def pixel_bytes(scan: Any, path: Path) -> int:
    """The bytes of all pixels that a DICOM header names; ToolkitError when they are too many."""
    frames = int(scan.get("NumberOfFrames") or 1)
    rows = int(scan.Rows)
    columns = int(scan.Columns)
    each = int(scan.get("SamplesPerPixel") or 1) * -(-int(scan.BitsAllocated) // 8)
    total = frames * rows * columns * each
    if not 0 < total <= LARGEST_FILE:
        raise ToolkitError(f"{path} names {total:,} bytes of pixels.", "Split it: 1 GiB at most.")

    return total


def check_deflated(pydicom: Any, data: bytes, path: Path) -> None:
    """Raise ToolkitError for a deflated file that holds far more than its header names."""
    meta = pydicom.filereader.read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") != pydicom.uid.DeflatedExplicitVRLittleEndian:
        return
    # the preamble, the prefix, the length of the group and the group
    start = 132 + 12 + int(meta.FileMetaInformationGroupLength)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    first = inflate.decompress(data[start:], BEHIND)
    header = pydicom.dcmread(io.BytesIO(first), force=True, stop_before_pixels=True)
    most = pixel_bytes(header, path) + BEHIND
    total = len(first)
    while total <= most and inflate.unconsumed_tail and not inflate.eof:
        total += len(inflate.decompress(inflate.unconsumed_tail, BEHIND))
    if total > most:
        reason = f"{path} unpacks to far more than the pixels that its header names."
        raise ToolkitError(reason, "Export it uncompressed.")


def check_frames(pydicom: Any, scan: Any, path: Path) -> None:
    """Raise ToolkitError unless each compressed frame is as large as the header says."""
    pixel_bytes(scan, path)
    if not scan.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    if scan.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless:
        return  # a code of two bytes stands for 128 at most
    count = int(scan.get("NumberOfFrames") or 1)
    wanted = int(scan.Rows), int(scan.Columns)

    for frame in pydicom.encaps.generate_frames(scan.PixelData, number_of_frames=count):
        shape = frame_shape(frame)
        if shape != wanted:
            reason = f"{path} holds a frame of {shape}, where its header says {wanted}."
            raise ToolkitError(reason, "Export it uncompressed.")
        check_frame(frame, str(path))


def check_frame(frame: bytes, name: str) -> None:
    """Raise ToolkitError for a compressed frame that is cut short, or on which its decoder has a
    warning, as far as one of these can be asked."""
    content = frame.rstrip(b"\0")  # frames have an even length
    if content[-2:] != JPEG_END:
        raise damaged(name, "the end of a frame is missing")
    if JPEG_2000 not in frame and any(marker in BASELINE for marker, _ in segments(content)):
        read_jpeg(content, name, Kind.GREY)


JPEG_END = b"\xff\xd9"
BASELINE = {0xC0, 0xC1, 0xC2}  # markers of frames that libjpeg decodes, of 8 bits
JPEG_2000 = b"\xff\x4f\xff\x51"  # how a codestream begins: its start, and the marker of its size
JPEG_LS = 0xF7  # marker


def frame_shape(frame: bytes) -> tuple[int, int] | None:
    """Height and width of a compressed frame, as it says; None when it does not."""
    place = frame.find(JPEG_2000)
    if place >= 0:
        right, bottom, left, top = struct.unpack_from(">IIII", frame, place + 8)
        return bottom - top, right - left

    for marker, content in segments(frame):
        if marker in FRAMES or marker == JPEG_LS:
            height, width = struct.unpack_from(">HH", content, 1)
            return height, width

    return None

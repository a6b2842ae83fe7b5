"""Bytes to arrays and arrays to files. Images are uint8 RGB (H, W, 3)."""

import hashlib
import io
import math
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from toolkit.core import Found, ToolkitError
from toolkit.outputs import write_bytes

cv2.setNumThreads(1)  # images are small: threads cost more than they save, and timings stay comparable
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"MM\x00*", b"BM")
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
Image.MAX_IMAGE_PIXELS = None  # of Pillow's own: the limit is LARGEST_IMAGE
LARGEST_FILE = 1 << 30
LARGEST_IMAGE = int(os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"])  # pixels; `--max-pixels` sets it for a command
MOST_ENTRIES, LARGEST_ARCHIVE, LARGEST_RATIO = 100_000, 4 << 30, 1000  # of a .zip: files, bytes unpacked, and these of those packed
PASSED_OVER = {"__macosx", "thumbs.db", "desktop.ini"}  # left in folders by operating systems


def read_bytes(path: Path) -> bytes:
    """The whole file, or a ToolkitError that says why not."""
    try:
        if not (path.is_file() or path.is_dir()) and path.exists():
            raise ToolkitError(f"{path} is no plain file.", "Give a file, or leave it out.")
        if path.stat().st_size > LARGEST_FILE:
            raise ToolkitError(f"{path} is larger than 1 GiB.", "Split it into smaller files.")
        return path.read_bytes()
    except OSError as error:
        raise ToolkitError(f"{path} cannot be read: {error.strerror}.", "Check the path and its permissions.") from error


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of the files in a folder and its subfolders."""
    if path.is_file():
        return hashlib.sha256(read_bytes(path)).hexdigest()
    whole = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(os.fsencode(file.relative_to(path)) + f"\0{digest(file)}\n".encode())
    return whole.hexdigest()


def decoded(data: bytes, name: str, flags: int = cv2.IMREAD_COLOR_RGB) -> np.ndarray:
    """Pixels of a JPEG, PNG, TIFF, BMP or WebP file, by its first bytes, whatever its name.

    EXIF orientation is applied, grey, palette and CMYK become RGB, 16 bits are scaled to 8, transparency is dropped. Files
    of several pages or frames are refused, and so are those with more pixels than LARGEST_IMAGE, before they are decoded.
    """
    if not data:
        raise ToolkitError(f"{name} is empty.", "Copy the file again.")
    if not (data.startswith(MAGIC) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")):
        raise ToolkitError(
            f"{name} is not an image: it begins with {data[:8]!r}.", "Give JPEG, PNG, TIFF, BMP or WebP files, or leave it out."
        )
    checked_header(data, name)
    try:
        with quiet():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ToolkitError(f"{name} cannot be decoded: {error.err}.", "Copy the file again, or leave it out.") from error
    if image is None:
        raise ToolkitError(
            f"{name} is damaged or cut short, or holds floating-point colours.", "Copy it again, or save it with 8 or 16 bits."
        )
    return image


@contextmanager
def quiet() -> Iterator[None]:
    """Keep C libraries from writing what they think of a file straight to standard error: our own errors tell it."""
    try:
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # standard error is closed
        yield
        return
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def checked_header(data: bytes, name: str) -> Image.Image | None:
    """What an image file tells of itself, its pixels not decoded, None when that cannot be read. ToolkitError when it is too large,
    or of several pages or frames; what its header hides, the decoder finds."""
    try:
        with warnings.catch_warnings(action="ignore"):
            header = Image.open(io.BytesIO(data), formats=FORMATS)
            frames = 1 if header.format == "MPO" else getattr(header, "n_frames", 1)  # a camera's JPEG and its previews
            size = header.size
    except Exception:  # Pillow's errors share no base class
        return None
    if size[0] * size[1] > LARGEST_IMAGE:
        raise ToolkitError(f"{name} has more than {LARGEST_IMAGE:,} pixels.", "Make it smaller, or allow more by --max-pixels.")
    if frames > 1:
        raise ToolkitError(f"{name} holds {frames} pages or frames.", "Save each as a file of its own.")
    return header


def decoded_grey(data: bytes, name: str) -> np.ndarray:
    """Grey values uint8 or uint16 (H, W) of an image file; any other numbers are spread over uint16, least to greatest."""
    image = decoded(data, name, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    if image.dtype in (np.uint8, np.uint16):
        return image
    if not np.isfinite(image).all():
        raise ToolkitError(f"{name} holds values that are no numbers.", "Replace NaN and infinite values.")
    image = image.astype(np.float64)
    spread = image.max() - image.min()
    return np.rint((image - image.min()) * (65535 / spread if spread else 0)).astype(np.uint16)


def read_grey(path: Path) -> np.ndarray:
    """Grey values uint8 or uint16 (H, W) of an image file."""
    return decoded_grey(read_bytes(path), str(path))


def read_image(path: Path) -> np.ndarray:
    """uint8 RGB (H, W, 3) of an image file."""
    return decoded(read_bytes(path), str(path))


def folder_images(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Name and pixels of every image in a folder, not its subfolders, in the order of their names; hidden files are passed over,
    others refused."""
    try:
        found = sorted(path for path in folder.iterdir() if not path.is_dir())
    except OSError as error:
        raise ToolkitError(f"{folder} cannot be read: {error.strerror}.", "Check the path and its permissions.") from error
    for path in found:
        if wanted(path.name, str(path)):
            yield path.name, read_image(path)


def image_files(path: Path) -> Iterator[Found]:
    """The images that a path names: itself, or the files in a folder and its subfolders, in any order; hidden ones are passed over
    without a word, with one what is no image by its name, no plain file, or a link."""
    if not path.is_dir():
        yield Found(path)
        return
    folders = [path]
    while folders:
        folder, below = folders.pop(), []
        try:
            entries = os.scandir(folder)
        except OSError:
            yield Found(folder)  # reading it tells why it cannot be
            continue
        with entries:
            for entry in entries:
                found = Path(entry.path)
                if entry.name.startswith(".") or entry.name.lower() in PASSED_OVER:
                    continue
                if entry.is_symlink():
                    yield Found(found, "It is a link, which is not followed.")
                elif entry.is_dir():
                    below.append(found)
                elif not entry.is_file():
                    yield Found(found, "It is no plain file.")
                elif found.suffix.lower() not in SUFFIXES:
                    yield Found(found, f"It is no image by its name: those end in {', '.join(SUFFIXES)}.")
                else:
                    yield Found(found)
        folders += sorted(below, reverse=True)


def zipped_images(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """As folder_images, of a .zip with its folders; nothing is unpacked to disk."""
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path))) as archive:
            check_archive(archive.infolist(), path)
            for entry in sorted(archive.infolist(), key=lambda e: e.filename):
                if entry.is_dir() or not wanted(entry.filename, f"{path}:{entry.filename}"):
                    continue
                yield entry.filename, decoded(archive.read(entry), f"{path}:{entry.filename}")
    except ToolkitError:
        raise
    except Exception as error:  # a garbled archive fails in a dozen ways
        raise ToolkitError(f"{path} is not a readable .zip: {error}.", "Pack it again, without a password.") from error


def check_archive(entries: list[zipfile.ZipInfo], path: Path) -> None:
    """ToolkitError when an archive holds too many files, or unpacks to far more than it should."""
    unpacked, packed = (sum(getattr(entry, name) for entry in entries) for name in ("file_size", "compress_size"))
    too_much = unpacked > LARGEST_ARCHIVE or unpacked > LARGEST_RATIO * packed + (1 << 20)
    if len(entries) > MOST_ENTRIES or too_much or any(entry.file_size > LARGEST_FILE for entry in entries):
        reason = f"{path} holds {len(entries):,} files, {unpacked:,} bytes that are packed into {packed:,}."
        raise ToolkitError(reason, f"Give at most {MOST_ENTRIES:,} files and {LARGEST_ARCHIVE >> 30} GiB, images as they are.")


def wanted(name: str, place: str) -> bool:
    """Whether a file is an image by its name; ToolkitError when it is neither that nor hidden."""
    parts = Path(name).parts
    if PASSED_OVER.intersection(part.lower() for part in parts) or any(part.startswith(".") for part in parts):
        return False
    if Path(name).suffix.lower() not in SUFFIXES:
        raise ToolkitError(f"{place} is not an image that can be read.", f"Take it out; images end in {', '.join(SUFFIXES)}.")
    return True


def read_array(path: Path) -> np.ndarray:
    """The array of an .npy file, never unpickled."""
    data = read_bytes(path)
    remedy = "Save an array of numbers with np.save."
    if not data.startswith(b"\x93NUMPY"):
        raise ToolkitError(f"{path} is no .npy file.", remedy)
    try:
        file = io.BytesIO(data)
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
        told, there = math.prod(shape) * dtype.itemsize, len(data) - file.tell()
        if told > there and not dtype.hasobject:
            raise ToolkitError(f"{path} should hold {told:,} bytes of numbers and holds {there:,}.", "Copy the file again.")
        return np.load(io.BytesIO(data), allow_pickle=False)
    except ToolkitError:
        raise
    except Exception as error:  # a garbled header fails in a dozen ways
        raise ToolkitError(f"{path} is no .npy of numbers: {error}.", remedy) from error


def write_png(path: Path, image: np.ndarray) -> None:
    """uint8 (H, W, 3) RGB or (H, W) to a PNG file, whole or not at all."""
    image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    write_bytes(path, cv2.imencode(".png", image)[1].tobytes())


def write_indexed_png(path: Path, indices: np.ndarray, palette: np.ndarray) -> None:
    """Indices uint8 (H, W) to a PNG that shows each in its colour of `palette`, uint8 (256, 3), and is read back as indices."""
    image, packed = Image.fromarray(indices), io.BytesIO()
    image.putpalette(palette.tobytes())
    image.save(packed, "png")
    write_bytes(path, packed.getvalue())


def square(image: np.ndarray, size: int) -> np.ndarray:
    """The centre square of an image at (size, size, 3): averaged over areas when it shrinks, cubic when it grows."""
    height, width = image.shape[:2]
    side = min(height, width)
    row, column = (height - side) // 2, (width - side) // 2
    image = image[row : row + side, column : column + side]
    if side == size:
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)

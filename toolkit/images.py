"""Bytes to arrays and arrays to files. Images are uint8 RGB (H, W, 3)."""

import hashlib
import io
import math
import os
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from hvd.toolkit.core import InputFile, ToolkitError
from hvd.toolkit.decoding import (
    BMP,
    JPEG,
    PNG,
    Kind,
    apply_orientation,
    damage_error,
    is_webp,
    jpeg_bits,
    orientation,
    pillow_header,
    read_bitmap,
    read_jpeg,
    read_png,
    read_webp,
)
from hvd.toolkit.options import MAX_PIXELS
from hvd.toolkit.outputs import write_bytes
from hvd.toolkit.tiff import is_tiff, read_tiff, tiff_header

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
LARGEST_FILE = 1 << 30
SETTLED = 2.0  # seconds after which the time of a change tells one change from the next
# of a .zip: files, bytes unpacked, and these of those packed
MOST_ENTRIES = 100_000
LARGEST_ARCHIVE = 4 << 30
LARGEST_RATIO = 1000
ENTRY_START = 4 << 20  # bytes of an entry that are unpacked to see what it is
MOST_BYTES = 8  # a pixel: four channels of 16 bits
TIFF_RATIO = 100
PACKED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # others unpack to any size at once
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
        raise ToolkitError(
            f"{path} cannot be read: {error.strerror}.", "Check the path and its permissions."
        ) from error


def signature(path: Path) -> tuple:
    """What changes when a file, or any file in a folder and its subfolders, is replaced or edited.

    Caches of what was read from a path are keyed by it, so that nothing stale can answer. A file
    that changed within the last seconds may change again without its time telling: its signature
    is never the same twice.
    """
    states = file_states(path)
    latest = max(max(state[-2:]) for state in states)
    is_fresh = time.time_ns() - latest < SETTLED * 1e9
    return *states, time.monotonic_ns() if is_fresh else None


def state_of(file: Path, top: Path) -> os.stat_result:
    """The state of a file, or of a link below `top` that leads nowhere, as editors leave them."""
    try:
        return file.stat()
    except FileNotFoundError:
        if file == top:
            raise
        return file.lstat()


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of the files in a folder and its subfolders."""
    if path.is_file():
        return hashlib.sha256(read_bytes(path)).hexdigest()
    whole = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(os.fsencode(file.relative_to(path)) + f"\0{digest(file)}\n".encode())
    return whole.hexdigest()


@dataclass(frozen=True)
class Snapshot:
    """A file, or a folder with all files in it, as it was when it was looked at.

    Attributes
    ----------
    path : of the file or folder.
    states : name, size, times, and place on the disk of each file.
    sha256 : of the content; see `digest`.
    is_fresh : whether a file changed so lately that its time may not tell of another change.
    """

    path: Path
    states: tuple
    sha256: str
    is_fresh: bool

    def is_unchanged(self) -> bool:
        """Whether it is still as it was."""
        if file_states(self.path) != self.states:
            return False
        return not self.is_fresh or digest(self.path) == self.sha256


def snapshot(path: Path) -> Snapshot:
    """A file or folder as it is now; ToolkitError when it cannot be read."""
    try:
        states = file_states(path)
        latest = max((max(state[-2:]) for state in states), default=0)
        is_fresh = time.time_ns() - latest < SETTLED * 1e9
        return Snapshot(path, states, digest(path), is_fresh)
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}."
        raise ToolkitError(reason, "Check the path and its permissions.") from error


def file_states(path: Path) -> tuple:
    """The state of a file, or of each file in a folder and its subfolders."""
    files = [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]
    states = [(str(file), state_of(file, path)) for file in files]
    return tuple((name, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, s in states)


class Header(NamedTuple):
    """What an image file says of itself: its size as it is stored, in pixels, and how it is to be
    turned, as EXIF numbers it; None when what says so is damaged."""

    width: int
    height: int
    orientation: int | None


def read_header(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Header:
    """The header of a JPEG, PNG, TIFF, BMP or WebP file, its pixels not decoded.

    Raises ToolkitError for files that are no image, of several pages or frames, or of more than
    `max_pixels`.
    """
    if not data:
        raise ToolkitError(f"{name} is empty.", "Copy the file again.")
    if is_tiff(data):
        return Header(*tiff_header(data, name, max_pixels))

    if not data.startswith(tuple(READERS)) or (data.startswith(RIFF) and not is_webp(data)):
        raise ToolkitError(
            f"{name} is not an image: it begins with {data[:8]!r}.",
            "Give JPEG, PNG, TIFF, BMP or WebP files, or leave it out.",
        )

    header = pillow_header(data, name, max_pixels)
    if header is None and data.startswith(JPEG) and jpeg_bits(data) not in (8, None):
        reason = f"{name} is a JPEG of {jpeg_bits(data)} bits a channel, which is not read."
        raise ToolkitError(reason, "Save it as PNG or TIFF.")

    if header is None:  # its size would only show when its pixels are in memory
        raise damage_error(name)
    return Header(*header.size, orientation(header))


def decode(
    data: bytes,
    name: str,
    kind: Kind = Kind.COLOUR,
    max_pixels: int = MAX_PIXELS,
    shrink: int = 1,
    upright: bool = True,
) -> np.ndarray:
    """Pixels of a JPEG, PNG, TIFF, BMP or WebP file, by its first bytes, whatever its name.

    Grey, palette and CMYK become RGB, 16 bits are scaled to 8, transparency is dropped. Files are
    refused that are damaged, or that `read_header` refuses.

    Parameters
    ----------
    kind : what is wanted of the file.
    shrink : 1, 2 or 4: the side of the square of pixels that becomes one.
    upright : turn it as its EXIF orientation says.
    """
    if is_tiff(data):
        return read_tiff(data, name, kind, max_pixels, shrink, upright)

    header = read_header(data, name, max_pixels)
    if data.startswith(JPEG):
        image = read_jpeg(data, name, kind, shrink)
        return apply_orientation(image, header.orientation) if upright else image

    reader = next(read for begins, read in READERS.items() if data.startswith(begins))
    return reader(data, name, kind, shrink, upright)


RIFF = b"RIFF"
READERS = {JPEG: read_jpeg, PNG: read_png, BMP: read_bitmap, RIFF: read_webp}


def decode_grey(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Grey values uint8 or uint16 (H, W) of an image file."""
    return grey_levels(decode(data, name, Kind.GREY, max_pixels), name)


def grey_levels(image: np.ndarray, name: str) -> np.ndarray:
    """An image (H, W) as uint8 or uint16: other numbers are spread over uint16, least to greatest."""
    if image.dtype in (np.uint8, np.uint16):
        return image
    if not np.isfinite(image).all():
        remedy = "Replace NaN and infinite values."
        raise ToolkitError(f"{name} holds values that are no numbers.", remedy)

    image = image.astype(np.float64)
    spread = image.max() - image.min()
    return np.rint((image - image.min()) * (65535 / spread if spread else 0)).astype(np.uint16)


def read_grey(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Grey values uint8 or uint16 (H, W) of an image file."""
    return decode_grey(read_bytes(path), str(path), max_pixels)


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """uint8 RGB (H, W, 3) of an image file."""
    return decode(read_bytes(path), str(path), max_pixels=max_pixels)


def folder_images(folder: Path, max_pixels: int = MAX_PIXELS) -> Iterator[tuple[str, np.ndarray]]:
    """Name and pixels of every image in a folder, not its subfolders, in the order of their names; hidden files are passed over,
    others refused."""
    try:
        found = sorted(path for path in folder.iterdir() if not path.is_dir())
    except OSError as error:
        raise ToolkitError(
            f"{folder} cannot be read: {error.strerror}.", "Check the path and its permissions."
        ) from error

    for path in found:
        if is_image_name(path.name, str(path)):
            yield path.name, read_image(path, max_pixels)


def image_files(path: Path) -> Iterator[InputFile]:
    """The images that a path names: itself, or the files in a folder and its subfolders, in any order; hidden ones are passed over
    without a word, with one what is no image by its name, no plain file, or a link."""
    if not path.is_dir():
        yield InputFile(path)
        return

    folders = [path]
    while folders:
        folder = folders.pop()
        below = []
        try:
            entries = os.scandir(folder)
        except OSError:
            yield InputFile(folder)  # reading it tells why it cannot be
            continue

        with entries:
            for entry in entries:
                found = Path(entry.path)
                if entry.name.startswith(".") or entry.name.lower() in PASSED_OVER:
                    continue
                if entry.is_symlink():
                    yield InputFile(found, "It is a link, which is not followed.")
                elif entry.is_dir():
                    below.append(found)
                elif not entry.is_file():
                    yield InputFile(found, "It is no plain file.")
                elif found.suffix.lower() not in SUFFIXES:
                    yield InputFile(
                        found, f"It is no image by its name: those end in {', '.join(SUFFIXES)}."
                    )
                else:
                    yield InputFile(found)

        folders += sorted(below, reverse=True)


def images_in_zip(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[tuple[str, np.ndarray]]:
    """As folder_images, of a .zip with its folders; nothing is unpacked to disk."""
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path))) as archive:
            check_archive(archive.infolist(), path)
            for entry in sorted(archive.infolist(), key=lambda e: e.filename):
                place = f"{path}:{entry.filename}"
                if entry.is_dir() or not is_image_name(entry.filename, place):
                    continue
                check_entry(archive, entry, place, max_pixels)
                yield entry.filename, decode(archive.read(entry), place, max_pixels=max_pixels)
    except ToolkitError:
        raise
    except Exception as error:  # a garbled archive fails in a dozen ways
        raise ToolkitError(
            f"{path} is not a readable .zip: {error}.", "Pack it again, without a password."
        ) from error


def check_archive(entries: list[zipfile.ZipInfo], path: Path) -> None:
    """ToolkitError when an archive holds too many files, one twice, or unpacks to far too much."""
    unpacked, packed = (
        sum(getattr(entry, name) for entry in entries) for name in ("file_size", "compress_size")
    )
    too_much = unpacked > LARGEST_ARCHIVE or unpacked > LARGEST_RATIO * packed + (1 << 20)

    if (
        len(entries) > MOST_ENTRIES
        or too_much
        or any(entry.file_size > LARGEST_FILE for entry in entries)
    ):
        reason = f"{path} holds {len(entries):,} files, {unpacked:,} bytes that are packed into {packed:,}."
        raise ToolkitError(
            reason,
            f"Give at most {MOST_ENTRIES:,} files and {LARGEST_ARCHIVE >> 30} GiB, images as they are.",
        )

    if any(entry.compress_type not in PACKED for entry in entries):
        reason = f"{path} is not a readable .zip: it is packed by another method than Deflate."
        raise ToolkitError(reason, "Pack it anew, by Deflate.")

    name, count = Counter(e.filename for e in entries).most_common(1)[0] if entries else ("", 0)
    if count > 1:
        reason = f"{path} holds {name} {count} times."
        raise ToolkitError(reason, "Pack each file once.")


def check_entry(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: str, max_pixels: int
) -> None:
    """ToolkitError when an image in an archive unpacks to more than its pixels can need.

    What lies behind the end of an image packs to next to nothing, and would fill the memory.
    """
    if entry.file_size <= ENTRY_START:
        return
    with archive.open(entry) as file:
        start = file.read(ENTRY_START)

    if is_tiff(start):  # its header may lie at its end
        most = TIFF_RATIO * entry.compress_size
    else:
        header = read_header(start, place, max_pixels)
        most = MOST_BYTES * header.width * header.height + ENTRY_START

    if entry.file_size > most:
        reason = f"{place} unpacks to {entry.file_size:,} bytes, far more than its pixels need."
        raise ToolkitError(reason, "Save the image again, and pack it anew.")


def is_image_name(name: str, place: str) -> bool:
    """Whether a file is an image by its name; ToolkitError when it is neither that nor hidden."""
    parts = [part for part in Path(name).parts if part != ".."]
    if PASSED_OVER.intersection(part.lower() for part in parts) or any(
        part.startswith(".") for part in parts
    ):
        return False

    if Path(name).suffix.lower() not in SUFFIXES:
        raise ToolkitError(
            f"{place} is not an image that can be read.",
            f"Take it out; images end in {', '.join(SUFFIXES)}.",
        )

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
        header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = header(file)
        told = math.prod(shape) * dtype.itemsize
        there = len(data) - file.tell()
        if told > there and not dtype.hasobject:
            raise ToolkitError(
                f"{path} should hold {told:,} bytes of numbers and holds {there:,}.",
                "Copy the file again.",
            )

        return np.load(io.BytesIO(data), allow_pickle=False)
    except ToolkitError:
        raise
    except Exception as error:  # a garbled header fails in a dozen ways
        raise ToolkitError(f"{path} is no .npy of numbers: {error}.", remedy) from error


def write_png(path: Path, image: np.ndarray) -> None:
    """uint8 (H, W, 3) RGB or (H, W) to a PNG file, whole or not at all."""
    write_bytes(path, png_bytes(image))


def png_bytes(image: np.ndarray) -> bytes:
    """The bytes of a PNG of uint8 (H, W, 3) RGB, or uint8 or uint16 (H, W)."""
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, packed = cv2.imencode(".png", stored)
    if done:
        return packed.tobytes()
    file = io.BytesIO()  # OpenCV writes no side of a million pixels
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


def write_indexed_png(path: Path, indices: np.ndarray, palette: np.ndarray) -> None:
    """Indices uint8 (H, W) to a PNG that shows each in its colour of `palette`, uint8 (256, 3), and is read back as indices."""
    image = Image.fromarray(indices)
    packed = io.BytesIO()
    image.putpalette(palette.tobytes())
    image.save(packed, "png")
    write_bytes(path, packed.getvalue())


def square(image: np.ndarray, size: int) -> np.ndarray:
    """The centre square of an image at (size, size, 3): averaged over areas when it shrinks, cubic when it grows."""
    height, width = image.shape[:2]
    side = min(height, width)
    row = (height - side) // 2
    column = (width - side) // 2
    image = image[row : row + side, column : column + side]
    if side == size:
        return image

    return cv2.resize(
        image, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    )

"""Read and write image files and arrays. Images are RGB uint8 (H, W, 3)."""

import hashlib
import io
import math
import os
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
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
from hvd.toolkit.outputs import RECORD, write_bytes
from hvd.toolkit.tiff import (
    is_tiff,
    read_tiff,
    read_tiff_picture,
    tiff_header,
)

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
LARGEST_FILE = 1 << 30

# Seconds. Within this time, a second change of a file may leave the same time of change.
SETTLED = 2.0

# Limits of a .zip: files in it, bytes they unpack to, and unpacked bytes per packed byte.
MOST_ENTRIES = 100_000
LARGEST_ARCHIVE = 4 << 30
LARGEST_RATIO = 1000

# Limits of one image in a .zip.
ENTRY_START = 4 << 20  # bytes that are unpacked to see what it is
MOST_BYTES = 8  # in a pixel: four channels of 16 bits
TIFF_RATIO = 100

# Others unpack to any size at once
ZIP_METHODS = {
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
}
# Left in folders by operating systems
PASSED_OVER = {
    "__macosx",
    "thumbs.db",
    "desktop.ini",
}


def read_bytes(path: Path) -> bytes:
    """The content of a file; raises ToolkitError when it cannot be read or is too large."""
    try:
        if not (path.is_file() or path.is_dir()) and path.exists():
            raise ToolkitError(
                f"{path} is no plain file.", "Give a file, or leave it out."
            )
        if path.stat().st_size > LARGEST_FILE:
            raise ToolkitError(
                f"{path} is larger than 1 GiB.", "Split it into smaller files."
            )
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> ToolkitError:
    """The error for an input that the system refuses to hand out."""
    reason = f"{path} cannot be read: {error.strerror}."
    return ToolkitError(reason, "Check the path and its permissions.")


def signature(path: Path) -> tuple:
    """Changes whenever a file, or any file in a folder and its subfolders, is replaced or edited.

    Caches of what was read from a path use it as a key, so that they never return anything stale.
    A file that changed within the last seconds may change again without a trace in its time of
    change: its signature is never the same twice.
    """
    states = file_states(path)
    latest = max(max(state[-2:]) for state in states)
    is_fresh = time.time_ns() - latest < SETTLED * 1e9
    return *states, time.monotonic_ns() if is_fresh else None


def state_of(file: Path, top: Path) -> os.stat_result:
    """The state of a file.

    Editors leave links that lead nowhere: below `top`, the state of the link itself.
    """
    try:
        return file.stat()
    except FileNotFoundError:
        if file == top:
            raise
        return file.lstat()


def digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of the names and contents of all files below it."""
    if path.is_file():
        return hashlib.sha256(read_bytes(path)).hexdigest()

    total = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        name = os.fsencode(file.relative_to(path))
        total.update(name + f"\0{digest(file)}\n".encode())
    return total.hexdigest()


@dataclass(frozen=True)
class Snapshot:
    """The state of a file, or of a folder with all files in it, at one moment.

    Attributes
    ----------
    path : of the file or folder.
    states : name, size, times, and place on the disk of each file.
    sha256 : of the content; see `digest`.
    is_fresh : whether a file changed so recently that its time may not show another change.
    """

    path: Path
    states: tuple
    sha256: str
    is_fresh: bool

    def is_unchanged(self) -> bool:
        """Whether the file or folder is still the same."""
        if file_states(self.path) != self.states:
            return False
        return not self.is_fresh or digest(self.path) == self.sha256


def snapshot(path: Path) -> Snapshot:
    """The present state of a file or folder; raises ToolkitError when it cannot be read."""
    try:
        states = file_states(path)
        latest = max((max(state[-2:]) for state in states), default=0)
        is_fresh = time.time_ns() - latest < SETTLED * 1e9
        return Snapshot(path, states, digest(path), is_fresh)
    except OSError as error:
        raise unreadable(path, error) from error


def file_states(path: Path) -> tuple:
    """The state of a file, or of a folder and every file below it."""
    files = [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]
    states = [(str(file), state_of(file, path)) for file in files]
    return tuple(
        (name, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
        for name, s in states
    )


class Header(NamedTuple):
    """The header of an image file.

    Attributes
    ----------
    width, height : in pixels, as the image is stored.
    orientation : as EXIF numbers it; None when the EXIF data are damaged.
    """

    width: int
    height: int
    orientation: int | None


def read_header(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Header:
    """The header of a JPEG, PNG, TIFF, BMP or WebP file, its pixels not decoded.

    Raises ToolkitError for files that are no image, that have several pages or frames, or more
    than `max_pixels` pixels.
    """
    if not data:
        raise ToolkitError(f"{name} is empty.", "Copy the file again.")
    if is_tiff(data):
        return Header(*tiff_header(data, name, max_pixels))

    if not data.startswith(tuple(READERS)) or (
        data.startswith(RIFF) and not is_webp(data)
    ):
        remedy = "Give JPEG, PNG, TIFF, BMP or WebP files, or leave it out."
        raise ToolkitError(
            f"{name} is not an image: it begins with {data[:8]!r}.", remedy
        )

    header = pillow_header(data, name, max_pixels)
    if header is None:
        bits = jpeg_bits(data) if data.startswith(JPEG) else None
        if bits not in (8, None):
            reason = (
                f"{name} is a JPEG of {bits} bits a channel, which is not read."
            )
            raise ToolkitError(reason, "Save it as PNG or TIFF.")

        # Without a header, its size would only show once all pixels are in memory.
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
    """Decode a JPEG, PNG, TIFF, BMP or WebP file, recognised by its first bytes.

    Grey, palette and CMYK become RGB, 16 bits are scaled to 8, transparency is dropped. Raises
    ToolkitError for files that are damaged, or that `read_header` refuses.

    Parameters
    ----------
    data : the content of the file.
    name : of the file, for messages.
    kind : colour, grey, or the values as they are stored.
    max_pixels : refuse larger images before they are decoded.
    shrink : 1, 2 or 4: squares of this side are averaged into one pixel.
    upright : apply the EXIF orientation.
    """
    if is_tiff(data):
        return read_tiff(data, name, kind, max_pixels, shrink, upright)

    header = read_header(data, name, max_pixels)
    if data.startswith(JPEG):
        image = read_jpeg(data, name, kind, shrink)
        return (
            apply_orientation(image, header.orientation) if upright else image
        )

    start = next(start for start in READERS if data.startswith(start))
    return READERS[start](data, name, kind, shrink, upright)


RIFF = b"RIFF"
READERS: dict[bytes, Callable[..., np.ndarray]] = {
    JPEG: read_jpeg,
    PNG: read_png,
    BMP: read_bitmap,
    RIFF: read_webp,
}


def decode_picture(
    data: bytes, name: str, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, np.ndarray | None]:
    """All that an image file shows, upright: its values, and where it is not transparent.

    Raises ToolkitError for files that `decode` refuses.

    Returns
    -------
    Grey (H, W) or RGB (H, W, 3) in the type that is stored; and bool (H, W), True where the image
    is not fully transparent, or None for a file without transparency.
    """
    if is_tiff(data):
        return read_tiff_picture(data, name, max_pixels)

    image = decode(data, name, Kind.STORED, max_pixels, upright=False)
    image = apply_orientation(
        image, read_header(data, name, max_pixels).orientation
    )
    # JPEG comes as RGB, the formats that OpenCV decodes as BGR.
    if image.ndim == 2 or data.startswith(JPEG):
        return image, None
    values = np.ascontiguousarray(image[..., 2::-1])
    # The fourth channel of bitmaps is padding.
    if image.shape[2] < 4 or data.startswith(BMP):
        return values, None
    return values, image[..., 3] > 0


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """RGB uint8 (H, W, 3) of an image file."""
    return decode(read_bytes(path), str(path), max_pixels=max_pixels)


def folder_images(
    folder: Path, max_pixels: int = MAX_PIXELS
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and pixels of every image in a folder, in the order of their names.

    Subfolders and hidden files are passed over; any other file that is no image is refused.
    """
    try:
        files = sorted(path for path in folder.iterdir() if not path.is_dir())
    except OSError as error:
        raise unreadable(folder, error) from error

    for path in files:
        if is_image_name(path.name, str(path)):
            yield path.name, read_image(path, max_pixels)


def image_files(path: Path) -> Iterator[InputFile]:
    """Find the images below a path: the path itself, or all files in a folder and its subfolders.

    They come in any order. Hidden files are left out, and subfolders with the results of an earlier
    run; links, files that are no image by their name, and anything but plain files come with the
    reason for skipping them.
    """
    if not path.is_dir():
        yield InputFile(path)
        return

    # A list of folders rather than recursion: memory stays small however many
    # files there are, and links are never followed in circles.
    folders = [path]
    while folders:
        folder = folders.pop()
        subfolders = []
        if folder != path and os.path.isfile(folder / RECORD):
            continue
        try:
            entries = os.scandir(folder)
        except OSError:
            yield InputFile(folder)  # reading it will tell the reason
            continue

        with entries:
            for entry in entries:
                if (
                    entry.name.startswith(".")
                    or entry.name.lower() in PASSED_OVER
                ):
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    subfolders.append(Path(entry.path))
                else:
                    yield InputFile(Path(entry.path), reason_to_skip(entry))

        folders += sorted(subfolders, reverse=True)


def reason_to_skip(entry: os.DirEntry) -> str:
    """Why a file in a folder is not taken for an image; empty when it is taken."""
    if entry.is_symlink():
        return "It is a link, which is not followed."
    if not entry.is_file():
        return "It is no plain file."
    if Path(entry.name).suffix.lower() not in SUFFIXES:
        return (
            f"It is no image by its name: those end in {', '.join(SUFFIXES)}."
        )
    return ""


def images_in_zip(
    path: Path, max_pixels: int = MAX_PIXELS
) -> Iterator[tuple[str, np.ndarray]]:
    """As `folder_images`, for a .zip and the folders in it; nothing is unpacked to disk."""
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path))) as archive:
            check_archive(archive.infolist(), path)
            for entry in sorted(archive.infolist(), key=lambda e: e.filename):
                place = f"{path}:{entry.filename}"
                if entry.is_dir() or not is_image_name(entry.filename, place):
                    continue
                check_entry(archive, entry, place, max_pixels)
                yield (
                    entry.filename,
                    decode(archive.read(entry), place, max_pixels=max_pixels),
                )
    except ToolkitError:
        raise
    except Exception as error:  # a garbled archive fails in a dozen ways
        reason = f"{path} is not a readable .zip: {error}."
        raise ToolkitError(
            reason, "Pack it again, without a password."
        ) from error


def zip_contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file in a .zip, in the order of their names."""
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path))) as archive:
            check_archive(archive.infolist(), path)
            for entry in sorted(archive.infolist(), key=lambda e: e.filename):
                if not entry.is_dir():
                    yield entry.filename, archive.read(entry)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        reason = f"{path} is not a readable .zip: {error}."
        raise ToolkitError(
            reason, "Pack it again, without a password."
        ) from error


def check_archive(entries: list[zipfile.ZipInfo], path: Path) -> None:
    """Refuse an archive that has too many files, or one twice, or unpacks to too much."""
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    # Small archives that unpack to terabytes are refused before unpacking.
    is_bomb = (
        unpacked > LARGEST_ARCHIVE
        or unpacked > LARGEST_RATIO * packed + (1 << 20)
    )
    has_huge_file = any(entry.file_size > LARGEST_FILE for entry in entries)

    if len(entries) > MOST_ENTRIES or is_bomb or has_huge_file:
        content = f"{unpacked:,} bytes that are packed into {packed:,}"
        limits = f"{MOST_ENTRIES:,} files and {LARGEST_ARCHIVE >> 30} GiB"
        raise ToolkitError(
            f"{path} holds {len(entries):,} files, {content}.",
            f"Give at most {limits}, images as they are.",
        )

    if any(entry.compress_type not in ZIP_METHODS for entry in entries):
        reason = f"{path} is not a readable .zip: it is packed by another method than Deflate."
        raise ToolkitError(reason, "Pack it anew, by Deflate.")

    # Which of the two would be read depends on the reader.
    for name, count in Counter(entry.filename for entry in entries).most_common(
        1
    ):
        if count > 1:
            raise ToolkitError(
                f"{path} holds {name} {count} times.", "Pack each file once."
            )


def check_entry(
    archive: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    place: str,
    max_pixels: int,
) -> None:
    """Raise ToolkitError when an image in an archive unpacks to more than its pixels can need.

    Zeros after the end of an image pack to next to nothing, and would fill the memory.
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
    """Whether a file is an image by its name, rather than hidden; ToolkitError for any other."""
    parts = [part for part in Path(name).parts if part != ".."]
    if any(
        part.startswith(".") or part.lower() in PASSED_OVER for part in parts
    ):
        return False

    if Path(name).suffix.lower() not in SUFFIXES:
        remedy = f"Take it out; images end in {', '.join(SUFFIXES)}."
        raise ToolkitError(f"{place} is not an image that can be read.", remedy)

    return True


def read_array(path: Path) -> np.ndarray:
    """The array in an .npy file; objects are refused, never unpickled."""
    data = read_bytes(path)
    remedy = "Save an array of numbers with np.save."
    if not data.startswith(b"\x93NUMPY"):
        raise ToolkitError(f"{path} is no .npy file.", remedy)

    try:
        check_array_size(data, path)
        return np.load(io.BytesIO(data), allow_pickle=False)
    except ToolkitError:
        raise
    except Exception as error:  # a garbled header fails in a dozen ways
        raise ToolkitError(
            f"{path} is no .npy of numbers: {error}.", remedy
        ) from error


def check_array_size(data: bytes, path: Path) -> None:
    """Raise ToolkitError when an .npy file holds fewer numbers than its header announces."""
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)

    expected = math.prod(shape) * dtype.itemsize
    present = len(data) - file.tell()
    if expected > present and not dtype.hasobject:
        reason = f"{path} should hold {expected:,} bytes of numbers and holds {present:,}."
        raise ToolkitError(reason, "Copy the file again.")


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an image, RGB uint8 (H, W, 3) or grey (H, W), to a PNG file."""
    write_bytes(path, png_bytes(image))


def png_bytes(image: np.ndarray) -> bytes:
    """The bytes of a PNG of an image, RGB uint8 (H, W, 3), or uint8 or uint16 (H, W)."""
    stored = (
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    )
    is_done, encoded = cv2.imencode(".png", stored)
    if is_done:
        return encoded.tobytes()

    # OpenCV refuses sides of a million pixels.
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def write_indexed_png(
    path: Path, indices: np.ndarray, palette: np.ndarray
) -> None:
    """Write indices uint8 (H, W) to a PNG that shows each in its colour of `palette`.

    The palette is uint8 (256, 3). Reading the file gives the indices back.
    """
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "png")
    write_bytes(path, buffer.getvalue())


def square(image: np.ndarray, size: int) -> np.ndarray:
    """The centre square of a photograph (H, W, 3), resized to (size, size, 3).

    So photographs of any shape can be stacked; stretching would distort them. Averages over areas
    when it shrinks, which avoids aliasing; cubic when it grows.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top = (height - side) // 2
    left = (width - side) // 2
    image = image[top : top + side, left : left + side]
    if side == size:
        return image

    method = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return cv2.resize(image, (size, size), interpolation=method)

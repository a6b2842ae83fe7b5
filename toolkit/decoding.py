"""Decode image files strictly: damaged files are refused.

Most decoders return a picture whose missing parts are grey or black, and at best print a warning.
Here every warning is an error, so that no pixel is made up:

- JPEG by libjpeg-turbo in strict mode; every scan must be present,
- PNG by libpng; the checksum of every chunk must be right,
- TIFF by tifffile and imagecodecs (see tiff.py); every strip or tile must be present and complete,
- BMP and WebP by OpenCV; the file must be as long as it says.

The size that a file announces is checked before anything is decoded.
"""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from enum import Enum

import cv2
import numpy as np
import simplejpeg
from PIL import ExifTags, Image

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.settings import any_size, quiet

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
BMP = b"BM"
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")  # whose headers Pillow reads
# OpenCV's flags for shrinking an image while it is decoded
REDUCED = {
    2: 16,
    4: 32,
}
REMEDY = "Copy it again, or save it anew as PNG or TIFF."


class Kind(Enum):
    """What to return of an image file, with OpenCV's flag for it."""

    COLOUR = cv2.IMREAD_COLOR_RGB  # uint8 (H, W, 3)
    # (H, W), in the type that is stored
    GREY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
    STORED = cv2.IMREAD_UNCHANGED  # (H, W) or (H, W, channels), as stored


def damage_error(name: str, why: str = "") -> ToolkitError:
    """The error for a file that cannot be decoded to its last pixel."""
    return ToolkitError(
        f"{name} is damaged or cut short{f': {why}' if why else ''}.", REMEDY
    )


def is_webp(data: bytes) -> bool:
    """Whether a file begins like a WebP."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def pillow_header(
    data: bytes, name: str, max_pixels: int
) -> Image.Image | None:
    """The header of an image file, its pixels not decoded; None when Pillow cannot read it.

    Raises ToolkitError when the image is too large, or has several frames.
    """
    try:
        with warnings.catch_warnings(action="ignore"), any_size():
            header = Image.open(io.BytesIO(data), formats=FORMATS)
            # In MPO, a camera's JPEG, the further frames are previews.
            frames = (
                1 if header.format == "MPO" else getattr(header, "n_frames", 1)
            )
    except Exception:  # Pillow's errors share no base class
        return None

    check_size(header.size[0] * header.size[1], name, max_pixels)
    if frames > 1:
        remedy = "Save each as a file of its own."
        raise ToolkitError(f"{name} holds {frames} pages or frames.", remedy)

    return header


def check_size(pixels: int, name: str, max_pixels: int) -> None:
    """Raise ToolkitError for an image with more pixels than allowed."""
    if pixels > max_pixels:
        remedy = "Make it smaller, or allow more by --max-pixels."
        raise ToolkitError(
            f"{name} has more than {max_pixels:,} pixels.", remedy
        )


def decode_with_opencv(
    data: bytes,
    name: str,
    kind: Kind,
    shrink: int = 1,
    upright: bool = True,
) -> np.ndarray:
    """Pixels of an image in a format that OpenCV decodes strictly."""
    flags = kind.value
    if shrink > 1:
        flags |= REDUCED[shrink]
    if not upright:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION

    try:
        with quiet():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise damage_error(name, error.err) from error

    if image is None:
        raise damage_error(name)
    return image


# --- JPEG


def read_jpeg(
    data: bytes,
    name: str,
    kind: Kind,
    shrink: int = 1,
) -> np.ndarray:
    """Pixels of a JPEG as they are stored; its orientation is not applied.

    With `shrink` 2, 4 or 8, squares of that side are averaged while they are decoded.
    """
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        least = {}
        # simplejpeg shrinks as far as the picture stays at least this large
        if shrink > 1:
            least = {
                "min_height": -(-height // shrink),
                "min_width": -(-width // shrink),
            }

        # Printers' JPEGs hold CMYK, which simplejpeg does not turn into RGB.
        if space == "CMYK":
            colour = rgb_of_cmyk(simplejpeg.decode_jpeg(data, "CMYK", **least))
            image = grey_of_rgb(colour) if kind is Kind.GREY else colour
        elif kind is Kind.GREY or space == "Gray":
            image = simplejpeg.decode_jpeg(data, "GRAY", **least)[..., 0]
            image = cv2.merge([image] * 3) if kind is Kind.COLOUR else image
        else:
            image = simplejpeg.decode_jpeg(data, "RGB", **least)
    except ValueError as error:
        raise damage_error(name, str(error)) from error

    # libjpeg fills what is missing with grey and only warns, so look
    # ourselves.
    try:
        check_scans(data, name)
    except (
        ValueError,
        IndexError,
        KeyError,
    ) as error:
        # A segment is cut short
        raise damage_error(name, "its scans cannot be followed") from error

    return image


def rgb_of_cmyk(ink: np.ndarray) -> np.ndarray:
    """RGB uint8 of CMYK, which JPEG stores inverted."""
    black = ink[..., 3:].astype(np.int32)
    light = black - ((255 - ink[..., :3].astype(np.int32)) * black >> 8)
    return light.astype(np.uint8)


def grey_of_rgb(image: np.ndarray) -> np.ndarray:
    """Luma of RGB (H, W, 3), ITU-R BT.601, of the same type."""
    weights = np.array([4899, 9617, 1868])  # of 2^14
    return ((image @ weights + 8192) >> 14).astype(image.dtype)


FRAMES = {
    0xC0,
    0xC1,
    0xC2,
    0xC3,
    0xC5,
    0xC6,
    0xC7,
    0xC9,
    0xCA,
    0xCB,
    0xCD,
    0xCE,
    0xCF,
}
PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
SCAN = 0xDA
END = 0xD9

# Within a scan, a marker that is neither a stuffed byte nor a restart.
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def jpeg_bits(data: bytes) -> int | None:
    """Bits in a channel of a JPEG, as its frame says; None without a frame."""
    frames = (content for marker, content in segments(data) if marker in FRAMES)
    return next((content[0] for content in frames if content), None)


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of each segment of a JPEG (ITU-T T.81).

    The end marker comes with empty content; a file that is cut short yields none. Coded pixels
    between segments are passed over.
    """
    place = 2  # behind the start marker
    while match := NEXT_MARKER.search(data, place):
        marker = data[match.start() + 1]
        if marker == END:
            yield marker, b""
            return

        start = match.end()
        length = int.from_bytes(data[start : start + 2], "big")
        yield marker, data[start + 2 : start + length]
        place = start + length


def check_scans(data: bytes, name: str) -> None:
    """Raise ToolkitError unless every coefficient of every component is in some scan, complete.

    A progressive JPEG that ends after some of its scans decodes without a warning, but blurred.
    """
    is_progressive = False
    is_ended = False
    # By component: how many bits of each coefficient are missing
    left: dict[int, np.ndarray] = {}

    for marker, content in segments(data):
        if marker in FRAMES:
            is_progressive = marker in PROGRESSIVE
            # Of baseline JPEGs every scan completes its components;
            # progressive ones send the bits of each coefficient in several
            # scans.
            left = {
                content[6 + 3 * k]: np.full(64, 99) for k in range(content[5])
            }

        elif marker == SCAN:
            count = content[0]
            first, last, bits = content[1 + 2 * count : 4 + 2 * count]
            for k in range(count):
                missing = left[content[1 + 2 * k]]
                if is_progressive:
                    missing[first : last + 1] = bits & 15
                else:
                    missing[:] = 0

        elif marker == END:
            is_ended = True

    if not is_ended or any(missing.any() for missing in left.values()):
        raise damage_error(name, "some of its scans are missing")


EXIF_TURNS = {
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.flip(image, -1),
    4: lambda image: cv2.flip(image, 0),
    5: lambda image: cv2.transpose(image),
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.flip(cv2.transpose(image), -1),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def orientation(header: Image.Image) -> int | None:
    """The orientation in an image's EXIF data: 1 without any, None when it is damaged."""
    if "exif" not in header.info:
        return 1
    try:
        return int(header.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # garbled EXIF fails in a dozen ways
        return None


def apply_orientation(image: np.ndarray, orientation: int | None) -> np.ndarray:
    """Turn or mirror an image as its EXIF orientation says."""
    return (
        EXIF_TURNS[orientation](image) if orientation in EXIF_TURNS else image
    )


# --- PNG, BMP, WebP


def read_png(
    data: bytes,
    name: str,
    kind: Kind,
    shrink: int,
    upright: bool,
) -> np.ndarray:
    """Pixels of a PNG."""
    check_chunks(data, name)
    return decode_with_opencv(data, name, kind, shrink, upright)


def check_chunks(data: bytes, name: str) -> None:
    """Raise ToolkitError unless a PNG has all its chunks, each with the right checksum.

    libpng checks the chunks that hold the pixels.
    """
    place = len(PNG)
    while place + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        end = place + 12 + length
        if kind == b"IEND":
            return

        # libpng checks these itself only in part: a damaged palette may pass.
        if kind != b"IDAT":
            checksum = data[end - 4 : end]
            if (
                zlib.crc32(data[place + 4 : end - 4]).to_bytes(4, "big")
                != checksum
            ):
                raise damage_error(name, f"the checksum of {kind!r} is wrong")
        place = end

    raise damage_error(name, "its end is missing")


def read_bitmap(
    data: bytes,
    name: str,
    kind: Kind,
    shrink: int,
    upright: bool,
) -> np.ndarray:
    """Pixels of a BMP.

    BMP has no checksum and many dialects: unless it is the plainest one, OpenCV and Pillow must
    agree on the pixels.
    """
    # Unusual bitmaps are read differently by different decoders: accept one
    # only where two of them agree.
    if not is_plain_bitmap(data):
        try:
            with any_size():
                theirs = np.asarray(
                    Image.open(io.BytesIO(data), formats=("BMP",)).convert(
                        "RGB"
                    )
                )
        except Exception as error:  # Pillow's errors share no base class
            raise damage_error(name, str(error)) from error

        ours = decode_with_opencv(data, name, Kind.COLOUR)
        # 5 bits may be spread over 8 in several ways
        most = 8 if data[28:30] == b"\x10\0" else 0
        if theirs.shape != ours.shape or cv2.absdiff(theirs, ours).max() > most:
            raise damage_error(name, "decoders disagree on it")

    return decode_with_opencv(data, name, kind, shrink, upright)


def is_plain_bitmap(data: bytes) -> bool:
    """Whether a BMP has a header of 54 bytes and 24 bits a pixel, all of which are there."""
    if len(data) < 54:
        return False
    offset, size, width, height, planes, bits, packing = struct.unpack_from(
        "<10xIIiiHHI", data
    )
    length = abs(height) * (-(-3 * width // 4) * 4)
    is_plain = (offset, size, planes, bits, packing) == (54, 40, 1, 24, 0)
    return is_plain and len(data) >= offset + length


def read_webp(
    data: bytes,
    name: str,
    kind: Kind,
    shrink: int,
    upright: bool,
) -> np.ndarray:
    """Pixels of a WebP, which must be as long as it says."""
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise damage_error(name)
    return decode_with_opencv(data, name, kind, shrink, upright)

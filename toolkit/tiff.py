"""Read TIFF files strictly: every strip or tile must be present and decode to its last byte.

tifffile and imagecodecs raise an error where libtiff prints a warning and returns black pixels.
"""

import io
import logging
import math
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import simplejpeg
import tifffile
from PIL import Image
from tifffile import COMPRESSION, PHOTOMETRIC

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.decoding import (
    Kind,
    apply_orientation,
    check_scans,
    check_size,
    damage_error,
    grey_of_rgb,
)
from hvd.toolkit.settings import Setting, Undo, any_size

MAGIC = b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"  # the last two: BigTIFF
MOST_PAGES = 64  # a pyramid with its thumbnails has fewer
LARGEST_PADDING = 1024  # rows below the image in its last strip
MOST_SAMPLES = 5  # numbers in a pixel: CMYK and transparency
# Pixels; the tiles of a smaller image may reach beyond it
LARGEST_TILE = 1 << 24
ALPHA = 1, 2  # ExtraSamples: transparency, multiplied into the colours or not
REDUCED = 1  # bit of NewSubfileType: a smaller copy of another page

# Compressions that tifffile decodes to a fixed number of bytes.
PLAIN = {
    COMPRESSION.NONE,
    COMPRESSION.LZW,
    COMPRESSION.ADOBE_DEFLATE,
    COMPRESSION.DEFLATE,
    COMPRESSION.PACKBITS,
    COMPRESSION.LZMA,
    COMPRESSION.ZSTD,
    COMPRESSION.ZSTD_DEPRECATED,
}

ROWS_PER_STRIP = 278
SUBSAMPLING_TAG = 530
SUBSAMPLING = {1, 2, 4}  # of YCbCr

# RowsPerStrip: some writers say "all rows" with the largest number.
ALL_ROWS = (1 << 32) - 1
MOST_ROWS = 1 << 31

# Allowed values of FillOrder, Orientation, PlanarConfiguration and Predictor.
ALLOWED = {266: (1, 2), 274: range(1, 9), 284: (1, 2), 317: (1, 2, 3)}

# Tags that hold a single number.
ONE_NUMBER = {254, 256, 257, 259, 262, 266, 274, 277, 278, 284, 317, 322, 323}

# Tags on which the pixels depend.
DECISIVE = {
    *range(254, 260),
    262,
    266,
    273,
    274,
    *range(277, 280),
    284,
    292,
    293,
    317,
    320,
}
DECISIVE |= {
    *range(322, 326),
    330,
    338,
    339,
    347,
    *range(512, 522),
    529,
    530,
    531,
    532,
}

# Tags from here on are private to vendors, who may garble them. A page in which any other tag
# cannot be read is damaged.
PRIVATE = 1000


def is_tiff(data: bytes) -> bool:
    """Whether a file begins like a TIFF."""
    return data.startswith(MAGIC)


def silence_tifffile() -> Undo:
    """Keep tifffile from logging: our own errors say what is wrong with a file."""
    logger = logging.getLogger("tifffile")
    before = logger.disabled
    logger.disabled = True

    def undo() -> None:
        logger.disabled = before

    return undo


quiet_tifffile = Setting(silence_tifffile)


@contextmanager
def open_page(data: bytes, name: str) -> Iterator[tifffile.TiffPage]:
    """The page of a TIFF; turns whatever is raised inside into a ToolkitError."""
    with quiet_tifffile():
        try:
            with tifffile.TiffFile(io.BytesIO(data), _multifile=False) as file:
                yield only_page(file, name)
        except (ToolkitError, MemoryError):
            raise
        except Exception as error:
            # Tifffile, imagecodecs: their errors share no base class
            raise damage_error(
                name, f"{type(error).__name__}: {error}"[:200]
            ) from error


def tiff_header(
    data: bytes, name: str, max_pixels: int
) -> tuple[int, int, int]:
    """Width, height and orientation of a TIFF.

    Raises ToolkitError when it is too large, or of a kind that we do not read.
    """
    with open_page(data, name) as page:
        check_page(page, data, name, max_pixels)
        return page.imagewidth, page.imagelength, orientation_of(page)


def orientation_of(page: tifffile.TiffPage) -> int:
    """The orientation of a page, as EXIF numbers it."""
    tag = page.tags.get("Orientation")
    return tag.value if tag else 1


def is_as_stored(data: bytes) -> bool:
    """Whether a TIFF is shown as it is stored: upright, and 0 is black."""
    with open_page(data, "the image") as page:
        return (
            page.photometric != PHOTOMETRIC.MINISWHITE
            and orientation_of(page) == 1
        )


def read_tiff(
    data: bytes,
    name: str,
    kind: Kind,
    max_pixels: int,
    shrink: int,
    upright: bool,
) -> np.ndarray:
    """Pixels of a TIFF; see `hvd.toolkit.images.decode`."""
    with open_page(data, name) as page:
        check_page(page, data, name, max_pixels)
        check_parts(page, data, name)
        image = colours_of(pixels_of(page), page, name, kind)
        orientation = orientation_of(page)

    if shrink > 1:
        shape = tuple(-(-side // shrink) for side in image.shape[1::-1])
        image = cv2.resize(image, shape, interpolation=cv2.INTER_LINEAR_EXACT)

    return apply_orientation(image, orientation) if upright else image


def read_tiff_picture(
    data: bytes, name: str, max_pixels: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Values and opacity of a TIFF; see `hvd.toolkit.images.decode_picture`."""
    with open_page(data, name) as page:
        check_page(page, data, name, max_pixels)
        check_parts(page, data, name)
        channels = planes_together(pixels_of(page), page)
        opaque = opacity_of(channels, page)
        count = channels.shape[-1] - len(page.extrasamples)
        if not is_grey(page):
            values = rgb_of_page(channels, page, name)
        elif count >= 3:  # detectors of a microscope, one a channel
            values = channels[..., :3]
        else:
            values = grey_of_page(channels[..., 0], page, name, Kind.STORED)
        orientation = orientation_of(page)

    if opaque is not None:
        opaque = apply_orientation(opaque.astype(np.uint8), orientation) > 0
    return apply_orientation(np.ascontiguousarray(values), orientation), opaque


def opacity_of(
    channels: np.ndarray, page: tifffile.TiffPage
) -> np.ndarray | None:
    """True (H, W) where a page's channels (H, W, channels) are not transparent; None without."""
    for k, kind in enumerate(page.extrasamples):
        if kind in ALPHA:
            place = channels.shape[-1] - len(page.extrasamples) + k
            return channels[..., place] > 0
    return None


def pixels_of(page: tifffile.TiffPage) -> np.ndarray:
    """The numbers of a page, (planes, 1, H, W, channels).

    Some writers pad the last strip with rows below the image, which tifffile does not expect. Then
    the image is read with these rows, and cut.
    """
    height = page.imagelength
    rows = page.tags.valueof(ROWS_PER_STRIP, 1)
    try:
        return page.asarray(maxworkers=1, squeeze=False)
    except Exception:
        padded = -(-height // max(1, rows)) * rows
        if (
            page.is_tiled
            or padded == height
            or padded > 2 * height + LARGEST_PADDING
        ):
            raise

    # tifffile caches these, computed for the true height.
    for name in ("decode", "hash", "chunked", "chunks"):
        page.__dict__.pop(name, None)
    page.imagelength = padded
    page.rowsperstrip = rows
    page.shaped = (*page.shaped[:2], padded, *page.shaped[3:])

    try:
        return page.asarray(maxworkers=1, squeeze=False)[:, :, :height]
    finally:
        page.imagelength = height


def only_page(file: tifffile.TiffFile, name: str) -> tifffile.TiffPage:
    """The one page that is no reduced copy of another; raises ToolkitError for several.

    Looks at no more pages than it needs: their chain may be long, or circular.
    """
    # Microscopes add thumbnails and macro pictures; those marked as reduced
    # copies are not meant. Two full pages are a question for the user.
    pages = []
    for number in range(MOST_PAGES):
        page = page_at(file, number)
        if page is None:
            break
        if number == 0 or not page.subfiletype & REDUCED:
            pages.append(page)
        if number > 0 and len(pages) > 1 and pages[0].subfiletype & REDUCED:
            del pages[0]  # a thumbnail that comes before its image
        if len(pages) > 1:
            break
    else:
        pages.append(None)  # too many to look at

    if len(pages) > 1:
        remedy = "Save each as a file of its own."
        raise ToolkitError(f"{name} holds several pages or frames.", remedy)

    if not pages:
        raise damage_error(name, "it holds no page")
    return pages[0]


def page_at(file: tifffile.TiffFile, number: int) -> tifffile.TiffPage | None:
    """A page of a TIFF; None when the file has fewer."""
    try:
        page = file.pages[number]
    except IndexError:
        return None
    return page if isinstance(page, tifffile.TiffPage) else page.aspage()


def check_page(
    page: tifffile.TiffPage,
    data: bytes,
    name: str,
    max_pixels: int,
) -> None:
    """Raise ToolkitError for a page that is too large, damaged, or of an unsupported kind."""
    check_size(page.imagewidth * page.imagelength, name, max_pixels)
    unread = raw_tags(data, page, name) - {tag.code for tag in page.tags}
    if any(code < PRIVATE for code in unread):
        raise damage_error(name, f"its tags {sorted(unread)} cannot be read")
    if "PhotometricInterpretation" not in page.tags or not are_tags_plausible(
        page
    ):
        raise damage_error(name, "its tags contradict each other")

    samples = page.samplesperpixel
    depth = page.imagedepth
    if depth != 1 or not 1 <= samples <= MOST_SAMPLES or page.dtype is None:
        bits = page.bitspersample
        reason = f"{name} has {samples} channels of {bits} bits, {depth} deep."
        raise ToolkitError(reason, "Save it as grey or RGB, with 8 or 16 bits.")

    # Tiles that reach far beyond the image would fill the memory.
    if page.is_tiled:
        area = page.tilewidth * page.tilelength * math.prod(page.chunked)
        if (
            area
            > LARGEST_TILE + 4 * page.imagewidth * page.imagelength * samples
        ):
            raise damage_error(
                name, f"its tiles are {page.tilewidth} x {page.tilelength}"
            )


def are_tags_plausible(page: tifffile.TiffPage) -> bool:
    """Whether the tags on which pixels depend hold allowed values."""
    value = page.tags.valueof
    if any(tag.count != 1 for tag in page.tags if tag.code in ONE_NUMBER):
        return False
    if any(value(code, 1) not in allowed for code, allowed in ALLOWED.items()):
        return False

    rows = value(ROWS_PER_STRIP, 1)
    if rows > MOST_ROWS and rows != ALL_ROWS:
        return False
    return set(value(SUBSAMPLING_TAG, (1, 1))) <= SUBSAMPLING


def raw_tags(data: bytes, page: tifffile.TiffPage, name: str) -> set[int]:
    """The codes of a page's tags as the file lists them; tifffile skips garbled ones.

    Raises ToolkitError when a tag on which pixels depend is listed twice.
    """
    tiff = page.parent.tiff
    count = struct.unpack_from(tiff.tagnoformat, data, page.offset)[0]
    start = page.offset + tiff.tagnosize
    places = range(start, start + count * tiff.tagsize, tiff.tagsize)
    codes = [
        struct.unpack_from(f"{tiff.byteorder}H", data, place)[0]
        for place in places
    ]

    if len(set(codes) & DECISIVE) < sum(code in DECISIVE for code in codes):
        raise damage_error(name, "a tag is there twice")
    return set(codes)


def check_parts(page: tifffile.TiffPage, data: bytes, name: str) -> None:
    """Raise ToolkitError unless every strip or tile lies in the file, and holds what it should."""
    places = page.dataoffsets
    sizes = page.databytecounts
    expected = math.prod(page.chunked)
    # Decoders fill missing strips with zeros and report success.
    if not len(places) == len(sizes) == expected:
        raise damage_error(
            name, f"it has {len(places)} strips or tiles of {expected}"
        )

    for place, size in zip(places, sizes, strict=True):
        if not (place > 0 and size > 0 and place + size <= len(data)):
            raise damage_error(name, "a strip or tile is missing")

    if page.compression in PLAIN:
        return

    # Without a check of this compression, damage would go unseen.
    check = CODED.get(page.compression)
    if check is None:
        names = {kind.value: kind.name for kind in COMPRESSION}
        method = names.get(page.compression, page.compression)
        remedy = "Save it uncompressed, or with LZW or Deflate."
        raise ToolkitError(
            f"{name} is compressed as {method}, which is not read.", remedy
        )

    for place, size in zip(places, sizes, strict=True):
        check(data[place : place + size], page, name)


def check_part(
    shape: tuple[int, ...],
    dtype: Any,
    page: tifffile.TiffPage,
    name: str,
) -> None:
    """Refuse a strip or tile that is larger than the page says, or of other channels or type.

    Pictures inside a TIFF (JPEG, PNG, WebP) have headers of their own. The last strip may be lower.
    """
    is_interleaved = page.planarconfig == 1
    height, width = page.chunks[:2] if is_interleaved else page.chunks[-2:]
    expected = page.samplesperpixel if is_interleaved else 1
    channels = shape[2] if len(shape) > 2 else 1

    if shape[0] > height or shape[1] > width:
        raise damage_error(name, f"a strip or tile is {shape[1]} x {shape[0]}")
    if channels != expected or dtype != page.dtype:
        reason = f"a strip or tile holds {channels} channels of {dtype}"
        raise damage_error(name, reason)


def check_jpeg(part: bytes, page: tifffile.TiffPage, name: str) -> None:
    """Raise ToolkitError unless a JPEG in a TIFF fits, and decodes without a warning."""
    tables = page.jpegtables or b""
    jpeg = tables[:-2] + part[2:] if tables else part
    height, width, space, _ = simplejpeg.decode_jpeg_header(jpeg)
    channels = {"Gray": 1, "CMYK": 4, "YCCK": 4}.get(space, 3)
    check_part((height, width, channels), np.uint8, page, name)
    simplejpeg.decode_jpeg(jpeg, "GRAY" if channels < 4 else "CMYK")
    check_scans(jpeg, name)


def check_picture(part: bytes, page: tifffile.TiffPage, name: str) -> None:
    """Raise ToolkitError unless a picture of another format in a TIFF fits."""
    # Its header first, so that nothing huge is decoded.
    width, height = PICTURE_SIZES[page.compression](part)
    check_part((height, width, page.samplesperpixel), page.dtype, page, name)

    decode = tifffile.TIFF.DECOMPRESSORS[page.compression]
    pixels = decode(part)
    check_part(pixels.shape, pixels.dtype, page, name)


def pillow_size(part: bytes) -> tuple[int, int]:
    """Width and height of a PNG, WebP or JPEG 2000."""
    with any_size():
        return Image.open(io.BytesIO(part), formats=PICTURES).size


def jpegxl_size(part: bytes) -> tuple[int, int]:
    """Width and height of a JPEG XL (ISO/IEC 18181-1, size header)."""
    start = 0
    if part[:2] != JPEGXL_START:  # in a container, as one or several boxes
        box = min(place for place in map(part.find, JPEGXL_BOXES) if place > 0)
        start = box + (8 if part[box : box + 4] == JPEGXL_BOXES[1] else 4)
    bits = int.from_bytes(part[start + 2 : start + 14], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def side() -> int:
        if is_small:
            return 8 * (take(5) + 1)
        return 1 + take((9, 13, 18, 30)[take(2)])

    is_small = take(1)
    height = side()
    ratio = take(3)
    if not ratio:
        return side(), height
    over, under = JPEGXL_RATIOS[ratio - 1]
    return height * over // under, height


def jpegxr_size(part: bytes) -> tuple[int, int]:
    """Width and height of a JPEG XR (ITU-T T.832, annex A: tags as in a TIFF)."""
    place = struct.unpack_from("<I", part, 4)[0]
    count = struct.unpack_from("<H", part, place)[0]
    values = {}
    for k in range(count):
        entry = struct.unpack_from("<HHII", part, place + 2 + 12 * k)
        values[entry[0]] = entry[3]
    return values[0xBC80], values[0xBC81]


def lerc_size(part: bytes) -> tuple[int, int]:
    """Width and height of a LERC blob, version 2 on; a checksum came with version 3."""
    version = struct.unpack_from("<i", part, 6)[0]
    if part[:6] != b"Lerc2 " or version < 3:
        raise ValueError(f"LERC begins with {part[:6]!r}")
    height, width = struct.unpack_from("<ii", part, 14)
    return width, height


JPEGXL_START = b"\xff\x0a"
JPEGXL_BOXES = b"jxlc", b"jxlp"
JPEGXL_RATIOS = (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1)

PICTURES = ("PNG", "WEBP", "JPEG2000")
PICTURE_SIZES: dict[int, Callable[[bytes], tuple[int, int]]] = {
    COMPRESSION.WEBP: pillow_size,
    COMPRESSION.WEBP_DEPRECATED: pillow_size,
    COMPRESSION.PNG: pillow_size,
    COMPRESSION.JPEG2000: pillow_size,
    COMPRESSION.JPEG_2000_LOSSY: pillow_size,
    COMPRESSION.APERIO_JP2000_RGB: pillow_size,
    COMPRESSION.JPEGXL: jpegxl_size,
    COMPRESSION.JPEGXL_DNG: jpegxl_size,
    COMPRESSION.JPEGXR: jpegxr_size,
    COMPRESSION.JPEGXR_NDPI: jpegxr_size,
    COMPRESSION.LERC: lerc_size,
}
CODED: dict[int, Callable[[bytes, tifffile.TiffPage, str], None]] = {
    COMPRESSION.JPEG: check_jpeg,
    **dict.fromkeys(PICTURE_SIZES, check_picture),
}


# --- from the numbers of a page to colours


def colours_of(
    pixels: np.ndarray,
    page: tifffile.TiffPage,
    name: str,
    kind: Kind,
) -> np.ndarray:
    """Grey values or colours of a page, by its photometric interpretation."""
    image = planes_together(pixels, page)
    if is_grey(page):
        return grey_of_page(image[..., 0], page, name, kind)

    colour = rgb_of_page(image, page, name)
    if kind is Kind.COLOUR:
        return eight_bits(colour, name)
    if kind is Kind.GREY:
        check_depth(colour, name)
        return grey_of_rgb(colour)
    return colour


def planes_together(pixels: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
    """The channels of a page (H, W, channels), which may lie in planes of their own."""
    image = pixels.reshape(
        -1, page.imagelength, page.imagewidth, pixels.shape[-1]
    )
    return image[0] if len(image) == 1 else np.moveaxis(image[..., 0], 0, -1)


def is_grey(page: tifffile.TiffPage) -> bool:
    """Whether a page stores brightness rather than colours."""
    return page.photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)


def grey_of_page(
    levels: np.ndarray,
    page: tifffile.TiffPage,
    name: str,
    kind: Kind,
) -> np.ndarray:
    """Levels (H, W) of a grey page; three equal channels when colour is asked for."""
    levels = spread_bits(levels, page.bitspersample)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        levels = invert_levels(levels)
    if kind is not Kind.COLOUR:
        return levels

    if levels.dtype == np.uint16:
        levels = levels << (16 - page.bitspersample)
    return cv2.merge([eight_bits(levels, name)] * 3)


def rgb_of_page(
    image: np.ndarray, page: tifffile.TiffPage, name: str
) -> np.ndarray:
    """RGB (H, W, 3) of a page in colour."""
    photometric = page.photometric
    channels = image.shape[-1]

    if photometric == PHOTOMETRIC.PALETTE:
        # Of 16 bits, but some old programs wrote 8.
        colours = page.colormap
        if colours.max() > 255:
            colours = colours >> 8
        return colours.astype(np.uint8).T[image[..., 0]]

    if photometric in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR) and channels >= 3:
        # Decoders of JPEG and the like return RGB already.
        if photometric == PHOTOMETRIC.YCBCR and page.compression not in CODED:
            raise ToolkitError(f"{name} is stored as YCbCr.", "Save it as RGB.")
        return np.ascontiguousarray(image[..., :3])

    if (
        photometric == PHOTOMETRIC.SEPARATED
        and channels >= 4
        and image.dtype == np.uint8
    ):
        light = 255 - image.astype(np.int32)
        return (light[..., :3] * light[..., 3:4] // 255).astype(np.uint8)

    kind = getattr(photometric, "name", photometric)
    raise ToolkitError(
        f"{name} holds colours of the kind {kind}.", "Save it as RGB."
    )


def spread_bits(levels: np.ndarray, bits: int) -> np.ndarray:
    """Spread grey levels of fewer than 8 bits over 8."""
    if levels.dtype == bool:
        return levels.astype(np.uint8) * 255
    if levels.dtype == np.uint8 and bits < 8:
        return levels * np.uint8(255 // (2**bits - 1))
    return levels


def invert_levels(levels: np.ndarray) -> np.ndarray:
    """Grey levels of a page that stores white as 0, with 0 for black.

    Of signed whole numbers and floating-point numbers, the greatest is not known to be white: they
    change their sign.
    """
    if levels.dtype.kind == "u":
        return np.iinfo(levels.dtype).max - levels
    return -1 - levels if levels.dtype.kind == "i" else -levels


def eight_bits(image: np.ndarray, name: str) -> np.ndarray:
    """Channels of 8 or 16 bits as uint8."""
    check_depth(image, name)
    if image.dtype == np.uint8:
        return image
    if image.ndim == 2:
        return (image >> 8).astype(np.uint8)
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def check_depth(image: np.ndarray, name: str) -> None:
    """Raise ToolkitError unless channels are whole numbers of 8 or 16 bits."""
    if image.dtype not in (np.uint8, np.uint16):
        reason = f"{name} holds colours as {image.dtype}: pictures have 8 or 16 bits."
        raise ToolkitError(reason, "Save it with 8 or 16 bits.")

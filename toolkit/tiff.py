"""Pixels of a TIFF, each of its strips or tiles present and decoded to its last byte.

tifffile and imagecodecs raise where libtiff writes a line to standard error and hands out black.
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
MOST_PAGES = 64  # of a pyramid with its thumbnails
LARGEST_PADDING = 1024  # rows below the image in its last strip
MOST_SAMPLES = 5  # a pixel: CMYK and transparency
LARGEST_TILE = 1 << 24  # pixels; the tiles of a smaller image may reach beyond it
REDUCED = 1  # bit of NewSubfileType: a smaller copy of another page

PLAIN = {
    COMPRESSION.NONE,
    COMPRESSION.LZW,
    COMPRESSION.ADOBE_DEFLATE,
    COMPRESSION.DEFLATE,
    COMPRESSION.PACKBITS,
    COMPRESSION.LZMA,
    COMPRESSION.ZSTD,
}
SUBSAMPLING = {1, 2, 4}  # of YCbCr
# a strip of all rows, as some write it, or no more rows than any image has
ALL_ROWS = (1 << 32) - 1
MOST_ROWS = 1 << 31
# FillOrder, Orientation, PlanarConfiguration, Predictor
ALLOWED = {266: (1, 2), 274: range(1, 9), 284: (1, 2), 317: (1, 2, 3)}
# tags that hold a single number
ONE_NUMBER = {254, 256, 257, 259, 262, 266, 274, 277, 278, 284, 317, 322, 323}
# tags on which pixels depend
DECISIVE = {*range(254, 260), 262, 266, 273, 274, *range(277, 280), 284, 292, 293, 317, 320}
DECISIVE |= {*range(322, 326), 330, 338, 339, 347, *range(512, 522), 529, 530, 531, 532}
# of vendors, who write what they like: a page in which another tag cannot be read is damaged
PRIVATE = 1000


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as TIFF does."""
    return data.startswith(MAGIC)


def silence_tifffile() -> Undo:
    """Keep tifffile from logging what it thinks of a file: our own errors say it."""
    logger = logging.getLogger("tifffile")
    before = logger.disabled
    logger.disabled = True

    def undo() -> None:
        logger.disabled = before

    return undo


quiet_tifffile = Setting(silence_tifffile)


@contextmanager
def open_page(data: bytes, name: str) -> Iterator[tifffile.TiffPage]:
    """The page of a TIFF; whatever is raised inside becomes a ToolkitError."""
    with quiet_tifffile():
        try:
            with tifffile.TiffFile(io.BytesIO(data), _multifile=False) as file:
                yield only_page(file, name)
        except (ToolkitError, MemoryError):
            raise
        except Exception as error:  # tifffile, imagecodecs: their errors share no base class
            raise damage_error(name, f"{type(error).__name__}: {error}"[:200]) from error


def tiff_header(data: bytes, name: str, max_pixels: int) -> tuple[int, int, int]:
    """Width, height and orientation of a TIFF; ToolkitError when it is too large, or not read."""
    with open_page(data, name) as page:
        check_page(page, data, name, max_pixels)
        return page.imagewidth, page.imagelength, orientation_of(page)


def orientation_of(page: tifffile.TiffPage) -> int:
    """How a page is to be turned, as EXIF numbers it."""
    tag = page.tags.get("Orientation")
    return tag.value if tag else 1


def is_as_stored(data: bytes) -> bool:
    """Whether a TIFF is to be shown as it is stored: upright, and 0 is black."""
    with open_page(data, "it") as page:
        return page.photometric != PHOTOMETRIC.MINISWHITE and orientation_of(page) == 1


def read_tiff(
    data: bytes, name: str, kind: Kind, max_pixels: int, shrink: int, upright: bool
) -> np.ndarray:
    """Pixels of a TIFF; see `hvd.toolkit.images.decoded`."""
    with open_page(data, name) as page:
        check_page(page, data, name, max_pixels)
        check_parts(page, data, name)
        stored = pixels_of(page)
        image = colours_of(stored, page, name, kind)
        turn = orientation_of(page)

    if shrink > 1:
        shape = tuple(-(-side // shrink) for side in image.shape[1::-1])
        image = cv2.resize(image, shape, interpolation=cv2.INTER_LINEAR_EXACT)

    return apply_orientation(image, turn) if upright else image


def pixels_of(page: tifffile.TiffPage) -> np.ndarray:
    """The numbers of a page, (planes, 1, H, W, channels).

    Some writers fill the last strip up with rows that lie below the image, where tifffile expects
    none: the image is then read with these rows, and cut.
    """
    # RowsPerStrip
    height = page.imagelength
    rows = page.tags.valueof(278, 1)
    try:
        return page.asarray(maxworkers=1, squeeze=False)
    except Exception:
        whole = -(-height // max(1, rows)) * rows
        if page.is_tiled or whole == height or whole > 2 * height + LARGEST_PADDING:
            raise

    for name in ("decode", "hash", "chunked", "chunks"):  # made for the height, and kept
        page.__dict__.pop(name, None)
    page.imagelength = whole
    page.rowsperstrip = rows
    page.shaped = (*page.shaped[:2], whole, *page.shaped[3:])

    try:
        return page.asarray(maxworkers=1, squeeze=False)[:, :, :height]
    finally:
        page.imagelength = height


def only_page(file: tifffile.TiffFile, name: str) -> tifffile.TiffPage:
    """The page that is no reduced copy of another; ToolkitError when there are several.

    Pages are looked at one after the other, and no more than needed: their chain may be long, or
    go in a circle.
    """
    whole = []
    for number in range(MOST_PAGES):
        page = page_at(file, number)
        if page is None:
            break
        if number == 0 or not page.subfiletype & REDUCED:
            whole.append(page)
        if number > 0 and len(whole) > 1 and whole[0].subfiletype & REDUCED:
            del whole[0]  # a thumbnail that comes before its image
        if len(whole) > 1:
            break
    else:
        whole.append(None)

    if len(whole) > 1:
        remedy = "Save each as a file of its own."
        raise ToolkitError(f"{name} holds several pages or frames.", remedy)

    if not whole:
        raise damage_error(name, "it holds no page")
    return whole[0]


def page_at(file: tifffile.TiffFile, number: int) -> tifffile.TiffPage | None:
    """A page of a TIFF; None when it has fewer."""
    try:
        page = file.pages[number]
    except IndexError:
        return None
    return page if isinstance(page, tifffile.TiffPage) else page.aspage()


def check_page(page: tifffile.TiffPage, data: bytes, name: str, max_pixels: int) -> None:
    """Raise ToolkitError for a page that is too large, or of a kind that is not read."""
    check_size(page.imagewidth * page.imagelength, name, max_pixels)
    unread = raw_tags(data, page, name) - {tag.code for tag in page.tags}
    if any(code < PRIVATE for code in unread):
        raise damage_error(name, f"its tags {sorted(unread)} cannot be read")
    if "PhotometricInterpretation" not in page.tags or not are_tags_plausible(page):
        raise damage_error(name, "its tags contradict each other")

    samples = page.samplesperpixel
    depth = page.imagedepth

    if depth != 1 or not 1 <= samples <= MOST_SAMPLES or page.dtype is None:
        bits = page.bitspersample
        reason = f"{name} has {samples} channels of {bits} bits, {depth} deep."
        raise ToolkitError(reason, "Save it as grey or RGB, with 8 or 16 bits.")

    if page.is_tiled:
        area = page.tilewidth * page.tilelength * math.prod(page.chunked)
        if area > LARGEST_TILE + 4 * page.imagewidth * page.imagelength * samples:
            raise damage_error(name, f"its tiles are {page.tilewidth} x {page.tilelength}")


def are_tags_plausible(page: tifffile.TiffPage) -> bool:
    """Whether the tags on which pixels depend hold what they may."""
    value = page.tags.valueof
    single = all(tag.count == 1 for tag in page.tags if tag.code in ONE_NUMBER)
    known = all(value(code, 1) in allowed for code, allowed in ALLOWED.items())
    rows = value(278, 1)
    right = rows <= MOST_ROWS or rows == ALL_ROWS
    return single and known and right and set(value(530, (1, 1))) <= SUBSAMPLING


def raw_tags(data: bytes, page: tifffile.TiffPage, name: str) -> set[int]:
    """The codes of a page's tags as the file lists them, of which tifffile passes over the
    garbled ones; ToolkitError when one is listed twice."""
    tiff = page.parent.tiff
    count = struct.unpack_from(tiff.tagnoformat, data, page.offset)[0]
    start = page.offset + tiff.tagnosize
    order = tiff.byteorder
    places = range(start, start + count * tiff.tagsize, tiff.tagsize)
    codes = [struct.unpack_from(f"{order}H", data, place)[0] for place in places]
    if len(set(codes) & DECISIVE) < sum(code in DECISIVE for code in codes):
        raise damage_error(name, "a tag is there twice")

    return set(codes)


def check_parts(page: tifffile.TiffPage, data: bytes, name: str) -> None:
    """Raise ToolkitError unless every strip or tile lies in the file, and says what it should."""
    places = page.dataoffsets
    sizes = page.databytecounts
    if not len(places) == len(sizes) == math.prod(page.chunked):
        raise damage_error(
            name, f"it has {len(places)} strips or tiles of {math.prod(page.chunked)}"
        )
    inside = all(
        place > 0 and size > 0 and place + size <= len(data)
        for place, size in zip(places, sizes, strict=True)
    )
    if not inside:
        raise damage_error(name, "a strip or tile is missing")

    if page.compression in PLAIN:
        return
    read = CODED.get(page.compression)

    if read is None:
        known = page.compression in {one.value for one in COMPRESSION}
        called = COMPRESSION(page.compression).name if known else page.compression
        remedy = "Save it uncompressed, or with LZW or Deflate."
        raise ToolkitError(f"{name} is compressed as {called}, which is not read.", remedy)

    for place, size in zip(places, sizes, strict=True):
        read(data[place : place + size], page, name)


def check_part(shape: tuple[int, ...], dtype: Any, page: tifffile.TiffPage, name: str) -> None:
    """Raise ToolkitError for a picture in a strip or tile that is not what the page says it is."""
    height, width = page.chunks[:2] if page.planarconfig == 1 else page.chunks[1:3]
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    if shape[0] > height or shape[1] > width:
        raise damage_error(name, f"a strip or tile is {shape[1]} x {shape[0]}")
    if (*shape, 1)[2] != samples or dtype != page.dtype:
        raise damage_error(name, f"a strip or tile holds {(*shape, 1)[2]} channels of {dtype}")


def check_jpeg(part: bytes, page: tifffile.TiffPage, name: str) -> None:
    """Raise ToolkitError unless a JPEG in a TIFF fits, and decodes without a warning."""
    tables = page.jpegtables or b""
    whole = tables[:-2] + part[2:] if tables else part
    height, width, space, _ = simplejpeg.decode_jpeg_header(whole)
    channels = {"Gray": 1, "CMYK": 4, "YCCK": 4}.get(space, 3)
    check_part((height, width, channels), np.uint8, page, name)
    simplejpeg.decode_jpeg(whole, "GRAY" if channels < 4 else "CMYK")
    check_scans(whole, name)


def check_picture(part: bytes, page: tifffile.TiffPage, name: str) -> None:
    """Raise ToolkitError unless a picture in a TIFF that Pillow knows fits, by its header first."""
    with any_size():
        width, height = Image.open(io.BytesIO(part), formats=PICTURES).size
    check_part((height, width, page.samplesperpixel), page.dtype, page, name)
    decode = tifffile.TIFF.DECOMPRESSORS[page.compression]
    pixels = decode(part)
    check_part(pixels.shape, pixels.dtype, page, name)


PICTURES = ("PNG", "WEBP", "JPEG2000")
CODED: dict[int, Callable[[bytes, tifffile.TiffPage, str], None]] = {
    COMPRESSION.JPEG: check_jpeg,
    COMPRESSION.WEBP: check_picture,
    COMPRESSION.PNG: check_picture,
    COMPRESSION.JPEG2000: check_picture,
    COMPRESSION.JPEG_2000_LOSSY: check_picture,
    COMPRESSION.APERIO_JP2000_RGB: check_picture,
}


# --- what the numbers of a page stand for


def colours_of(image: np.ndarray, page: tifffile.TiffPage, name: str, kind: Kind) -> np.ndarray:
    """Pixels of a page, as its photometric interpretation says."""
    image = image.reshape(-1, page.imagelength, page.imagewidth, image.shape[-1])
    # channels may lie in planes of their own
    image = image[0] if len(image) == 1 else np.moveaxis(image[..., 0], 0, -1)

    light = page.photometric
    if light in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE):
        levels = spread_bits(image[..., 0], page.bitspersample)
        if light == PHOTOMETRIC.MINISWHITE:
            levels = invert_levels(levels, name)
        if kind is not Kind.COLOUR:
            return levels
        if levels.dtype == np.uint16:
            levels = levels << (16 - page.bitspersample)
        return cv2.merge([eight_bits(levels, name)] * 3)

    if light == PHOTOMETRIC.PALETTE:
        colour = (page.colormap >> 8).astype(np.uint8).T[image[..., 0]]
    elif light in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR) and image.shape[-1] >= 3:
        coded = page.compression in CODED
        if light == PHOTOMETRIC.YCBCR and not coded:
            raise ToolkitError(f"{name} is stored as YCbCr.", "Save it as RGB.")
        colour = np.ascontiguousarray(image[..., :3])
    elif light == PHOTOMETRIC.SEPARATED and image.shape[-1] >= 4 and image.dtype == np.uint8:
        ink = 255 - image.astype(np.int32)
        colour = (ink[..., :3] * ink[..., 3:4] // 255).astype(np.uint8)
    else:
        called = getattr(light, "name", light)
        raise ToolkitError(f"{name} holds colours of the kind {called}.", "Save it as RGB.")

    if kind is Kind.COLOUR:
        return eight_bits(colour, name)
    if kind is Kind.GREY:
        check_depth(colour, name)
        return grey_of_rgb(colour)

    return colour


def spread_bits(levels: np.ndarray, bits: int) -> np.ndarray:
    """Grey levels of fewer than 8 bits, spread over 8."""
    if levels.dtype == bool:
        return levels.astype(np.uint8) * 255
    if levels.dtype == np.uint8 and bits < 8:
        return levels * np.uint8(255 // (2**bits - 1))
    return levels


def invert_levels(levels: np.ndarray, name: str) -> np.ndarray:
    """Grey levels of a page that stores white as 0."""
    if levels.dtype.kind != "u":
        raise ToolkitError(f"{name} is to be shown inverted.", "Save it with 0 for black.")
    return np.iinfo(levels.dtype).max - levels


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

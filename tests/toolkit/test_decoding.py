"""Sound files are read as other decoders read them; damaged ones are refused."""

import io
import struct
import zlib

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.decoding import Kind
from hvd.toolkit.images import decode, read_header
from hvd.toolkit.tasks.grains.scale import file_tags

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 40, 56
COLOUR = cv2.GaussianBlur(
    RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8), (0, 0), 2
)
GREY = COLOUR[..., 0].copy()
GREY16 = RNG.integers(0, 65536, (HEIGHT, WIDTH), np.uint16)
COLOUR16 = RNG.integers(0, 65536, (HEIGHT, WIDTH, 3), np.uint16)
ALPHA = RNG.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)


def tiff(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def tag(code, value):
    """An extra tag of one number."""
    return {"extratags": [(code, 3, 1, value, True)]}


# those that OpenCV reads right as well
AS_OPENCV = {
    "grey": tiff(GREY),
    "grey, 16 bits": tiff(GREY16),
    "big endian": tiff(GREY16, byteorder=">"),
    "colour": tiff(COLOUR, photometric="rgb"),
    "colour, 16 bits": tiff(COLOUR16, photometric="rgb"),
    "planes": tiff(
        np.moveaxis(COLOUR, 2, 0).copy(),
        photometric="rgb",
        planarconfig="separate",
    ),
    "white is zero": tiff(GREY, photometric="miniswhite"),
    "one bit": tiff(GREY > 127),
    "palette": tiff(
        GREY,
        photometric="palette",
        colormap=RNG.integers(0, 65536, (3, 256), np.uint16),
    ),
    "CMYK": tiff(ALPHA, photometric="separated"),
    "JPEG inside": tiff(COLOUR, photometric="ycbcr", compression="jpeg"),
    "turned": tiff(COLOUR, photometric="rgb", **tag(274, 6)),
    "upside down": tiff(GREY, **tag(274, 3)),
    "mirrored and turned": tiff(GREY16, **tag(274, 5)),
}


@pytest.mark.parametrize("name", AS_OPENCV)
@pytest.mark.parametrize("kind", [Kind.COLOUR, Kind.GREY])
def test_sound_tiffs_are_read_as_opencv_reads_them(name, kind):
    data = AS_OPENCV[name]
    theirs = cv2.imdecode(np.frombuffer(data, np.uint8), kind.value)
    np.testing.assert_array_equal(decode(data, name, kind), theirs)


@pytest.mark.parametrize(
    "compression", ["zlib", "lzw", "packbits", "zstd", "lzma"]
)
@pytest.mark.parametrize(
    "options", [{"rowsperstrip": 8}, {"tile": (16, 16)}, {"predictor": True}]
)
def test_compressed_tiffs_hold_the_pixels_that_were_written(
    compression, options
):
    if compression == "packbits" and "predictor" in options:
        return
    result = decode(
        tiff(COLOUR, photometric="rgb", compression=compression, **options),
        "it",
    )
    np.testing.assert_array_equal(result, COLOUR)


def test_a_bigtiff_and_one_of_small_tiles_are_read():
    np.testing.assert_array_equal(
        decode(tiff(GREY, bigtiff=True), "it", Kind.GREY), GREY
    )
    data = tiff(GREY16, tile=(16, 16), compression="zlib")
    np.testing.assert_array_equal(decode(data, "it", Kind.GREY), GREY16)


def test_16_bits_that_store_white_as_zero_are_inverted():
    result = decode(tiff(GREY16, photometric="miniswhite"), "it", Kind.GREY)
    np.testing.assert_array_equal(result, 65535 - GREY16)


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha", "unspecified"])
def test_the_transparency_of_a_tiff_is_dropped(kind):
    data = tiff(ALPHA, photometric="rgb", extrasamples=[kind])
    np.testing.assert_array_equal(decode(data, "it"), ALPHA[..., :3])


def pages(*kinds):
    """A TIFF of several pages, each reduced or not."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for k, reduced in enumerate(kinds):
            shape = np.s_[::4, ::4] if reduced else np.s_[:, :]
            writer.write(
                GREY[shape] + k, subfiletype=int(reduced), metadata=None
            )
    return file.getvalue()


@pytest.mark.parametrize(
    ("kinds", "complete"), [((False, True, True), 0), ((True, False), 1)]
)
def test_reduced_copies_of_an_image_are_passed_over(kinds, complete):
    np.testing.assert_array_equal(
        decode(pages(*kinds), "it", Kind.GREY), GREY + complete
    )


@pytest.mark.parametrize(
    "kinds", [(False, False), (False, True, False), (True, False, False)]
)
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.int16])
def test_several_pages_are_refused_whatever_their_type(kinds, kind):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for reduced in kinds:
            writer.write(
                GREY.astype(kind), subfiletype=int(reduced), metadata=None
            )
    with pytest.raises(ToolkitError, match="several pages"):
        decode(file.getvalue(), "it", Kind.GREY)


def without_block(data, page):
    """A TIFF with zeros in the place of the second half of its first strip."""
    place, size = page.dataoffsets[0], page.databytecounts[0]
    middle, end = place + size // 2, place + size
    return data[:middle] + bytes(end - middle) + data[end:]


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd", "jpeg"])
@pytest.mark.parametrize("kind", list(Kind))
def test_a_tiff_that_lost_a_block_is_refused(compression, kind):
    data = tiff(
        COLOUR,
        photometric="ycbcr" if compression == "jpeg" else "rgb",
        compression=compression,
    )
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    with pytest.raises(ToolkitError, match="damaged"):
        decode(without_block(data, page), "it", kind)


def changed_tag(data, code, value):
    """A TIFF whose tag of one number holds another."""
    entry = tifffile.TiffFile(io.BytesIO(data)).pages[0].tags[code]
    form = "<H" if entry.dtype == 3 else "<I"
    data = bytearray(data)
    struct.pack_into(form, data, entry.offset + 8, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("code", "value", "words"),
    [
        (259, 34661, "JBIG"),
        (259, 65535, "65535"),
        (284, 7, "contradict"),
        (277, 60000, "damaged|channels"),
        (278, 3_000_000_000, "damaged"),
        (257, 50, "damaged"),
        (256, 100_000, "damaged|pixels"),
    ],
)
def test_a_tiff_whose_tags_are_changed_is_refused(code, value, words):
    data = tiff(GREY, compression="zlib", rowsperstrip=8)
    data = (
        tiff(COLOUR, photometric="rgb", compression="zlib")
        if code == 284
        else data
    )
    with pytest.raises(ToolkitError, match=words):
        decode(changed_tag(data, code, value), "it", Kind.GREY)


def test_a_strip_that_is_missing_is_not_made_up():
    data = bytearray(tiff(GREY, compression="zlib", rowsperstrip=8))
    counts = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0].tags[279]
    struct.pack_into(
        "<I" if counts.dtype == 4 else "<H", data, counts.valueoffset, 0
    )
    with pytest.raises(ToolkitError, match="missing"):
        decode(bytes(data), "it", Kind.GREY)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kind", list(Kind))
def test_half_a_jpeg_with_an_end_behind_it_is_refused(progressive, kind):
    data = jpeg(progressive)
    for share in (0.4, 0.6, 0.9):
        with pytest.raises(ToolkitError, match="damaged"):
            decode(data[: int(len(data) * share)] + b"\xff\xd9", "it", kind)


def jpeg(progressive=False, image=COLOUR, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(
        file, "JPEG", progressive=progressive, **options
    )
    return file.getvalue()


def test_a_progressive_jpeg_that_ends_after_some_of_its_scans_is_refused():
    data = jpeg(progressive=True)
    scans = [k for k in range(len(data)) if data[k : k + 2] == b"\xff\xda"]
    assert len(scans) > 3
    for place in scans[1:]:
        with pytest.raises(ToolkitError, match="scans are missing"):
            decode(data[:place] + b"\xff\xd9", "it")
    assert decode(data, "it").shape == COLOUR.shape


@pytest.mark.parametrize("image", [COLOUR, GREY], ids=["colour", "grey"])
@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 2}, {"progressive": True}]
)
def test_jpegs_are_read_as_opencv_reads_them(image, options):
    data = jpeg(image=image, **options)
    for kind in Kind:
        theirs = cv2.imdecode(np.frombuffer(data, np.uint8), kind.value)
        if kind is Kind.STORED and theirs.ndim == 3:
            theirs = theirs[..., ::-1]
        np.testing.assert_array_equal(decode(data, "it", kind), theirs)


def test_a_jpeg_of_inks_is_read_as_opencv_reads_it():
    file = io.BytesIO()
    Image.fromarray(ALPHA, "CMYK").save(file, "JPEG")
    data = file.getvalue()
    theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(decode(data, "it"), theirs)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpegs_are_turned_as_opencv_turns_them(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    data = jpeg(exif=exif)
    theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(decode(data, "it"), theirs)
    assert read_header(data, "it").orientation == orientation
    assert decode(data, "it", upright=False).shape == COLOUR.shape


@pytest.mark.parametrize("shrink", [2, 4])
def test_what_is_shrunk_while_it_is_read_has_the_size_of_its_part(shrink):
    for data in (
        jpeg(),
        cv2.imencode(".png", COLOUR)[1].tobytes(),
        tiff(COLOUR),
    ):
        result = decode(data, "it", shrink=shrink)
        assert result.shape == (HEIGHT // shrink, WIDTH // shrink, 3)


def png(rows, **changes):
    """A PNG of rows with their filters."""

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", checksum)
        )

    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)
    packed = changes.get("packed", zlib.compress(rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", packed)
        + chunk(b"IEND", b"")
    )


ROWS = b"".join(b"\0" + row.tobytes() for row in GREY)


def test_a_png_with_half_its_pixels_and_the_right_checksums_is_refused():
    np.testing.assert_array_equal(decode(png(ROWS), "it", Kind.GREY), GREY)
    for changes in (
        {"packed": zlib.compress(ROWS[: len(ROWS) // 2])},
        {"packed": zlib.compress(ROWS)[:-4]},
        {"packed": zlib.compress(ROWS)[: len(ROWS) // 3]},
        {"packed": zlib.compress(b"\x09" + ROWS[1:])},
    ):
        with pytest.raises(ToolkitError, match="damaged"):
            decode(png(ROWS, **changes), "it", Kind.GREY)


def test_any_changed_byte_of_a_png_is_found():
    data = cv2.imencode(".png", COLOUR)[1].tobytes()
    for place in range(8, len(data) - 4, 7):
        changed = bytearray(data)
        changed[place] ^= 64
        with pytest.raises(ToolkitError):
            decode(bytes(changed), "it")


def test_a_bitmap_and_a_webp_that_are_cut_short_are_refused():
    for suffix in (".bmp", ".webp"):
        data = cv2.imencode(suffix, COLOUR)[1].tobytes()
        assert decode(data, "it").shape == COLOUR.shape
        with pytest.raises(ToolkitError, match="damaged"):
            decode(data[: len(data) * 9 // 10], "it")


def test_a_bitmap_of_another_dialect_is_read_when_two_decoders_agree():
    for image in (Image.fromarray(GREY), Image.fromarray(COLOUR).quantize(16)):
        file = io.BytesIO()
        image.save(file, "BMP")
        np.testing.assert_array_equal(
            decode(file.getvalue(), "it"), np.asarray(image.convert("RGB"))
        )


@pytest.mark.parametrize(
    "resolution", [(12345, 0), (-12345 % (1 << 32), 1), (1, 1 << 30)]
)
def test_a_resolution_that_can_be_none_is_no_scale(resolution):
    data = tiff(GREY, resolution=(12345, 12345), resolutionunit="CENTIMETER")
    assert file_tags(data).scale.micrometres_per_pixel
    changed = data.replace(
        struct.pack("<II", 12345, 1), struct.pack("<II", *resolution)
    )
    assert (
        changed != data
        and file_tags(changed).scale.micrometres_per_pixel is None
    )


def with_strip(page, strip):
    """A TIFF of one strip whose content is another."""
    entry = tifffile.TiffFile(io.BytesIO(page)).pages[0].tags
    data = bytearray(page) + strip
    for code, value in ((273, len(page)), (279, len(strip))):
        struct.pack_into(
            "<H" if entry[code].dtype == 3 else "<I",
            data,
            entry[code].offset + 8,
            value,
        )
    return bytes(data)


def coded_page(array, compression):
    """A TIFF of one strip with that compression."""
    return tiff(array, compression=compression, rowsperstrip=HEIGHT)


def scan_of(data, number):
    """A progressive JPEG that ends after some of its scans."""
    places = [k for k in range(len(data)) if data[k : k + 2] == b"\xff\xda"]
    return data[: places[number]] + b"\xff\xd9"


STRIPS = {
    "PNG of three channels": ("png", GREY, imagecodecs.png_encode(COLOUR)),
    "PNG of 16 bits": ("png", GREY, imagecodecs.png_encode(GREY16)),
    "PNG of 8 bits": ("png", GREY16, imagecodecs.png_encode(GREY)),
    "JPEG 2000 of 16 bits": (
        "jpeg2000",
        GREY,
        imagecodecs.jpeg2k_encode(GREY16),
    ),
    "JPEG of three channels": ("jpeg", GREY, jpeg()),
    "JPEG of one channel": ("jpeg", COLOUR, jpeg(image=GREY)),
    "JPEG of some scans": ("jpeg", COLOUR, scan_of(jpeg(progressive=True), 2)),
    "JPEG that is larger": ("jpeg", GREY, jpeg(image=np.tile(GREY, (4, 4)))),
}


@pytest.mark.parametrize("name", STRIPS)
def test_a_strip_that_is_not_what_its_page_says_is_refused(name):
    compression, array, strip = STRIPS[name]
    page = coded_page(array, compression)
    assert decode(page, "it", Kind.STORED).shape == array.shape
    with pytest.raises(ToolkitError, match="damaged"):
        decode(with_strip(page, strip), "it", Kind.STORED)


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff\xc0", b"\xff\xd8\xff\xc0\0\2", b"\xff\xd8\xff\xda"]
)
def test_a_jpeg_that_ends_in_a_marker_is_refused(data):
    with pytest.raises(ToolkitError, match="damaged"):
        decode(data, "it")


def test_the_shortest_bitmap_is_read():
    head = struct.pack("<IHHI", 30, 0, 0, 26) + struct.pack(
        "<IHHHH", 12, 1, 1, 1, 24
    )
    data = b"BM" + head + bytes((10, 20, 30, 0))
    np.testing.assert_array_equal(decode(data, "it"), [[[30, 20, 10]]])


def test_12_bits_of_16_are_as_bright_as_8():
    data = tiff(
        (GREY.astype(np.uint16) << 4),
        photometric="minisblack",
        bitspersample=12,
    )
    np.testing.assert_array_equal(decode(data, "it")[..., 0], GREY)


@pytest.mark.parametrize("compression", ["zlib", "packbits", "zstd", "lzw"])
@pytest.mark.parametrize("rows", [16, 64])
def test_a_last_strip_that_is_filled_up_is_read(compression, rows):
    """Some writers store as many rows in the last strip as in the others."""
    below = -(-HEIGHT // rows) * rows
    complete = np.concatenate(
        [GREY, np.zeros((below - HEIGHT, WIDTH), np.uint8)]
    )
    data = tiff(complete, compression=compression, rowsperstrip=rows)
    np.testing.assert_array_equal(
        decode(changed_tag(data, 257, HEIGHT), "it", Kind.GREY), GREY
    )


def test_floating_point_colours_are_refused_for_what_they_are():
    for kind in (np.float16, np.float32, np.float64):
        with pytest.raises(ToolkitError, match="pictures have 8 or 16 bits"):
            decode(tiff(GREY.astype(kind)), "it")


@pytest.mark.parametrize(
    "masks", [(0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F)]
)
def test_bitmaps_of_16_bits_are_read(masks):
    pixels = np.arange(16 * 16, dtype=np.uint16) * 257
    head = struct.pack("<IiiHHIIiiII", 40, 16, 16, 1, 16, 3, 512, 0, 0, 0, 0)
    head += struct.pack("<III", *masks)
    start = 14 + len(head)
    data = (
        b"BM"
        + struct.pack("<IHHI", start + 512, 0, 0, start)
        + head
        + pixels.tobytes()
    )
    theirs = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.abs(decode(data, "it").astype(int) - theirs).max() <= 8

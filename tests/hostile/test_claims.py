"""Small files that claim to hold, or unpack to, far more than they do: refused at once."""

import base64
import gzip
import io
import json
import re
import struct
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import images_in_zip
from hvd.toolkit.tasks.lines.formats import read_content
from tests.hostile.fuzz import slice_of_a_scan
from tests.hostile.rows import row
from tests.hostile.test_images import coded, png_header, tiff

GREY = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
MEGABYTES = 60  # that reading one of these may take
SECONDS = 3.0  # of processor time, with the time it takes to import what reads


def many_tags(count, size):
    """A TIFF of 16 x 16 whose tags all point to the same bytes."""
    start = 8 + 2 + 12 * (9 + count) + 4
    entries = [
        (256, 3, 1, 16),
        (257, 3, 1, 16),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, start),
        (277, 3, 1, 1),
        (278, 3, 1, 16),
        (279, 4, 1, 256),
        *((40000 + k, 1, size, start) for k in range(count)),
    ]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    header = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return header + directory + bytes(4) + bytes(size)


def chain_of_pages(count):
    """A TIFF with a directory that is followed by many others."""
    data = bytearray(tiff(GREY))
    count_of_tags = struct.unpack_from("<H", data, 8)[0]
    link = 8 + 2 + 12 * count_of_tags
    struct.pack_into("<I", data, link, len(data))
    page = struct.pack("<HHHIIHHII", 2, 256, 3, 1, 16, 257, 3, 1, 16)
    for k in range(count):
        last = k == count - 1
        data += page + struct.pack(
            "<I", 0 if last else len(data) + len(page) + 4
        )
    return bytes(data)


def large_tile(compression):
    """A TIFF of 16 x 16 whose one tile says that it is 60,000 pixels a side."""
    data = bytearray(tiff(GREY, tile=(16, 16), compression=compression))
    import tifffile

    tags = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0].tags
    for code in (322, 323):
        struct.pack_into(
            "<H" if tags[code].dtype == 3 else "<I",
            data,
            tags[code].offset + 8,
            60_000,
        )
    return bytes(data)


def coded_tile(compression):
    """A TIFF of 16 x 16 whose one tile is a picture of 6,000 x 6,000."""
    import imagecodecs

    large = np.zeros((6000, 6000), np.uint8)
    packed = {
        "png": imagecodecs.png_encode,
        "jpeg2000": imagecodecs.jpeg2k_encode,
    }[compression](large)
    small = tiff(GREY, tile=(16, 16), compression=compression)
    import tifffile

    page = tifffile.TiffFile(io.BytesIO(small)).pages[0]
    data = bytearray(small) + packed
    for code, value in ((324, len(small)), (325, len(packed))):
        tag = page.tags[code]
        struct.pack_into(
            "<H" if tag.dtype == 3 else "<I", data, tag.offset + 8, value
        )
    return bytes(data)


def zipped(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(2):
            archive.writestr(f"{k}.png", content)
        archive.writestr("noise.png", np.random.default_rng(0).bytes(300_000))
    return file.getvalue()


def deflated_scan(megabytes):
    """A deflated DICOM slice of 24 x 32 with so many zeros behind its pixels."""
    import pydicom

    scan = pydicom.dcmread(io.BytesIO(slice_of_a_scan()))
    scan.file_meta.TransferSyntaxUID = (
        pydicom.uid.DeflatedExplicitVRLittleEndian
    )
    scan.add_new(0x7FE10010, "OB", bytes(megabytes << 20))
    file = io.BytesIO()
    scan.save_as(file, enforce_file_format=True)
    return file.getvalue()


def jpeg_2000_scan():
    """A DICOM slice of 24 x 32 by its header, of 6,000 x 6,000 by its JPEG 2000."""
    import imagecodecs
    import pydicom

    packed = imagecodecs.jpeg2k_encode(
        np.zeros((6000, 6000), np.uint16), codecformat="J2K"
    )
    scan = pydicom.dcmread(io.BytesIO(slice_of_a_scan()))
    scan.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    scan.PixelData = pydicom.encaps.encapsulate([packed])
    scan["PixelData"].VR = "OB"
    file = io.BytesIO()
    scan.save_as(file, enforce_file_format=True)
    return file.getvalue()


def volume(behind):
    import nibabel

    complete = nibabel.Nifti1Image(
        np.ones((64, 64, 4), np.int16), np.eye(4)
    ).to_bytes()
    return gzip.compress(complete + bytes(behind))


def many_tiles():
    """A TIFF of 4,800 x 8 whose 300 tiles, of 16 x 2^20, all lie in one place."""
    block = bytes(16)
    start = 8 + 2 + 12 * 10 + 4
    entries = [
        (256, 3, 1, 4800),
        (257, 3, 1, 8),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (277, 3, 1, 1),
        (322, 3, 1, 16),
        (323, 4, 1, 1 << 20),
        (324, 4, 300, start),
        (325, 4, 300, start + 1200),
    ]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    lists = struct.pack("<300I", *[start + 2400] * 300) + struct.pack(
        "<300I", *[16] * 300
    )
    return (
        b"II*\0"
        + struct.pack("<IH", 8, 10)
        + directory
        + bytes(4)
        + lists
        + block
    )


def packed_otherwise():
    """A zip whose entries are packed by another method, and unpack to 300 MB."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.png", coded(".png") + bytes(300 << 20))
    return file.getvalue()


CLAIMS = {
    "TIFF of many tiles": ("t.tif", many_tiles, "tiles are"),
    "zip of another method": (
        "z.zip",
        packed_otherwise,
        "|".join(("Deflate", "packed into")),
    ),
    "TIFF of many tags": ("t.tif", lambda: many_tags(4000, 100_000), ""),
    "TIFF of many pages": (
        "t.tif",
        lambda: chain_of_pages(40_000),
        "several pages",
    ),
    "TIFF of a large tile": ("t.tif", lambda: large_tile("zlib"), "tiles are"),
    "TIFF of a large PNG": ("t.tif", lambda: coded_tile("png"), "6000 x 6000"),
    "TIFF of a large JPEG 2000": (
        "t.tif",
        lambda: coded_tile("jpeg2000"),
        "6000 x 6000",
    ),
    "PNG of many pixels": (
        "p.png",
        lambda: png_header(60_000, 60_000),
        "pixels",
    ),
    "zip of zeros behind images": (
        "z.zip",
        lambda: zipped(coded(".png") + bytes(100 << 20)),
        "far more than its pixels",
    ),
    "volume with zeros behind": (
        "v.nii.gz",
        lambda: volume(300 << 20),
        "in its header",
    ),
    "deflated scan": (
        "d.dcm",
        lambda: deflated_scan(200),
        "far more than the pixels",
    ),
    "scan of a large JPEG 2000": (
        "j.dcm",
        jpeg_2000_scan,
        "where its header says",
    ),
}
NEEDS = {"v.nii.gz": "nibabel", "d.dcm": "pydicom", "j.dcm": "pydicom"}

SCRIPT = """
import resource, sys
from pathlib import Path
from hvd.benchmarks.machine import own_peak_megabytes
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import images_in_zip
from hvd.toolkit.options import MAX_PIXELS
from hvd.toolkit.tasks.grains.reading import read_plane
from hvd.toolkit.tasks.lines.files import read as read_scans
from hvd.toolkit.tasks.lines.options import InputOptions
try:
    import nibabel, pydicom
except ImportError:
    pass
path = Path(sys.argv[1])
read = {
    ".tif": lambda path: read_plane(path, MAX_PIXELS),
    ".png": lambda path: read_plane(path, MAX_PIXELS),
    ".zip": lambda path: list(images_in_zip(path)),
}.get(path.suffix, lambda path: read_scans(path, InputOptions()))
before = own_peak_megabytes()
try:
    read(path)
    print("answered")
except ToolkitError as error:
    print(error.reason)
used = resource.getrusage(resource.RUSAGE_SELF)
print(own_peak_megabytes() - before, used.ru_utime + used.ru_stime)
"""


@row(
    "file that claims or unpacks to far more than it holds: "
    "TIFF tags, pages and tiles, zip, .nii.gz, DICOM",
    "refused by its header, within a second and little memory",
)
@pytest.mark.parametrize("name", CLAIMS)
def test_what_a_file_claims_is_not_unpacked(name, tmp_path):
    file, make, words = CLAIMS[name]
    if file in NEEDS:
        pytest.importorskip(NEEDS[file])
    (tmp_path / file).write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / file],
        capture_output=True,
        text=True,
        timeout=60,
    )
    said, numbers = done.stdout.splitlines()
    megabytes, seconds = map(float, numbers.split())
    assert re.search(words, said) if words else said == "answered", (
        said,
        done.stderr,
    )
    assert megabytes < MEGABYTES and seconds < SECONDS, (megabytes, seconds)


@row("archive with one name twice", "fails: names it")
def test_an_archive_with_one_name_twice_is_refused(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "z.zip", "w") as archive,
        pytest.warns(UserWarning),
    ):
        for _ in range(2):
            archive.writestr("a.png", coded(".png"))
    with pytest.raises(ToolkitError, match=r"a\.png 2 times"):
        list(images_in_zip(tmp_path / "z.zip"))


# --- annotations


def prepared(place, name, text):
    """The images of annotations, and how long they took to read."""
    pytest.importorskip("shapely", reason="preparing needs the extra [prepare]")
    from hvd.data.preparation.annotations import read

    (place / name).write_text(text)
    began = time.process_time()
    result = read(place / name)
    return result, time.process_time() - began


def test_polygons_of_a_corner_with_a_high_number_are_read_at_once(tmp_path):
    polygon = "<polygon><x1>1</x1><y1>1</y1><x999999>9</x999999><y999999>9</y999999></polygon>"
    entries = f"<object><name>thing</name>{polygon}</object>" * 100
    text = f"<annotation><filename>a.png</filename>{entries}</annotation>"
    result, seconds = prepared(tmp_path, "a.xml", text)
    outlines = [one.outlines[0] for one in result.images[0].instances]
    assert len(outlines) == 100 and all(
        np.isnan(outline).any() for outline in outlines
    )
    assert max(map(len, outlines)) <= 4 and seconds < SECONDS


def labelme(mask, **changes):
    """LabelMe of a picture of 20 x 16 with a mask."""
    shape = {
        "label": "thing",
        "shape_type": "mask",
        "points": [[1, 1], [9, 9]],
        "mask": base64.b64encode(mask).decode(),
    }
    size = {"imageWidth": 20, "imageHeight": 16}
    return json.dumps(
        {"shapes": [shape], "imagePath": "a.png", **size, **changes}
    )


def test_a_mask_larger_than_its_picture_is_not_unpacked(tmp_path):
    large = coded(".png", np.full((4000, 4000), 255, np.uint8))
    result, seconds = prepared(tmp_path, "a.json", labelme(large))
    (one,) = result.images[0].instances
    assert one.runs.counts == () and seconds < SECONDS
    small = coded(".png", np.full((9, 9), 255, np.uint8))
    result, _ = prepared(tmp_path, "a.json", labelme(small))
    assert result.images[0].instances[0].runs.shape == (9, 9)


@pytest.mark.parametrize("identity", ["9" * 5000, 10**250, "x" * 300])
def test_an_id_of_many_digits_is_left_out_and_the_others_are_read(
    tmp_path, identity
):
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 16}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 2,
                "segmentation": [[1, 1, 9, 1, 9, 9]],
            }
        ],
        "categories": [
            {"id": identity, "name": "long"},
            {"id": 2, "name": "thing"},
        ],
    }
    result, _ = prepared(tmp_path, "a.json", json.dumps(document))
    assert len(result.images[0].instances) == 1
    assert any(
        "without id or name" in problem.reason for problem in result.problems
    )


def test_a_sound_deflated_scan_of_many_zeros_is_read(tmp_path):
    pydicom = pytest.importorskip("pydicom")

    scan = pydicom.dcmread(io.BytesIO(slice_of_a_scan()))
    scan.file_meta.TransferSyntaxUID = (
        pydicom.uid.DeflatedExplicitVRLittleEndian
    )
    scan.set_pixel_data(np.zeros((2000, 2000), np.uint16), "MONOCHROME2", 16)
    scan.save_as(tmp_path / "zeros.dcm", enforce_file_format=True)
    assert read_content(tmp_path / "zeros.dcm").values.shape == (1, 2000, 2000)


def test_a_frame_of_a_scan_that_is_cut_short_is_refused(tmp_path):
    pydicom = pytest.importorskip("pydicom")

    file = io.BytesIO()
    picture = np.kron(
        np.random.default_rng(0).integers(0, 256, (8, 8)), np.ones((8, 8))
    )
    Image.fromarray(picture.astype(np.uint8)).save(file, "JPEG", quality=95)
    complete = file.getvalue()
    for frame, right in (
        (complete, True),
        (complete[: len(complete) // 2] + complete[-2:], False),
    ):
        scan = pydicom.dcmread(io.BytesIO(slice_of_a_scan()))
        scan.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
        scan.Rows = scan.Columns = 64
        scan.BitsAllocated = scan.BitsStored = 8
        scan.HighBit = 7
        scan.PixelData = pydicom.encaps.encapsulate([frame])
        scan["PixelData"].VR = "OB"
        scan.save_as(tmp_path / "slice.dcm", enforce_file_format=True)
        if right:
            assert read_content(tmp_path / "slice.dcm").values.shape == (
                1,
                64,
                64,
            )
        else:
            with pytest.raises(ToolkitError, match="damaged"):
                read_content(tmp_path / "slice.dcm")


def test_outlines_that_cross_themselves_again_and_again_are_left_out(tmp_path):
    rasters = pytest.importorskip("hvd.data.preparation.rasters")
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 1500, endpoint=False)
    circle = np.stack([10 + 8 * np.cos(angles), 8 + 7 * np.sin(angles)], 1)
    assert rasters.crossings(circle) == 0
    began = time.process_time()
    assert (
        rasters.crossings(rng.uniform(1, 15, (1500, 2)))
        > rasters.MOST_CROSSINGS
    )
    assert time.process_time() - began < SECONDS


def test_a_category_with_a_long_name_is_left_out(tmp_path):
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 16}],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": 1} for k in range(1500)
        ],
        "categories": [{"id": 1, "name": "x" * 200_000}],
    }
    document["annotations"][0]["segmentation"] = [[1, 1, 9, 1, 9, 9]]
    result, seconds = prepared(tmp_path, "a.json", json.dumps(document))
    assert not result.categories and seconds < SECONDS


def test_lengths_of_runs_beyond_any_number_are_dropped():
    rasters = pytest.importorskip("hvd.data.preparation.rasters")
    from hvd.data.preparation.instances import Runs

    for counts, shape in (
        ((1e308, 1e308), (16, 20)),
        ((0, 320), (16_000, 20_000)),
    ):
        with pytest.raises(ValueError):
            rasters.mask_of_runs(Runs(counts, shape, (0, 0)), (16, 20))

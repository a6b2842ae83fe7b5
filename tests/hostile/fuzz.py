"""Readers of every format under changed bytes: `python -m tests.hostile.fuzz FORMAT COUNT`.

Each try changes up to four bytes of a sound file at random, seeded. Whatever the reader does but
answer or raise ToolkitError is a failure, and so are pixels that an independent decoder refuses or
reads otherwise, and more memory or time than allowed. `make fuzz` tries 1,000 a format.
"""

import io
import json
import resource
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.decoding import Kind
from hvd.toolkit.images import decode, images_in_zip, read_array
from hvd.toolkit.network import Checkpoint, append_seal
from hvd.toolkit.tasks.lines.files import read as read_scans
from hvd.toolkit.tasks.lines.options import InputOptions
from hvd.toolkit.tasks.objects.dataset import class_names
from tests.hostile.test_images import PICTURE, coded, tiff

SEED = 0
GREY = np.random.default_rng(1).integers(0, 256, (24, 32), np.uint8)
GREY16 = GREY.astype(np.uint16) * 257 + np.arange(32, dtype=np.uint16)
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 40}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "segmentation": [[1, 1, 9, 1, 9, 9]],
            "iscrowd": 0,
        }
    ],
    "categories": [{"id": 1, "name": "thing"}],
}
VOC = """<annotation><filename>a.png</filename><size><width>64</width><height>40</height></size>
<object><name>thing</name>
<polygon><x1>1</x1><y1>1</y1><x2>9</x2><y2>1</y2><x3>9</x3><y3>9</y3></polygon></object></annotation>"""


def packed():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.png", "b.png"):
            archive.writestr(name, coded(".png"))
    return file.getvalue()


def array():
    file = io.BytesIO()
    np.save(file, np.zeros((3, 8, 8, 3), np.uint8))
    return file.getvalue()


def volume():
    import nibabel

    return nibabel.Nifti1Image(
        np.where(
            np.arange(20)[:, None, None] % 2, 0, GREY[:20, :20, None] + 1.0
        )
        * np.ones(3),
        np.eye(4),
    ).to_bytes()


def shipped():
    return files("hvd.checkpoints").joinpath("objects-scenes.onnx").read_bytes()


def annotations(path):
    from hvd.data.preparation.annotations import read

    return read(path)


def network(path):
    data = path.read_bytes()
    Checkpoint(append_seal(data), "some.onnx", "objects")


def slice_of_a_scan():
    import pydicom

    scan = pydicom.Dataset()
    scan.file_meta = pydicom.dataset.FileMetaDataset()
    scan.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    scan.SOPClassUID = scan.file_meta.MediaStorageSOPClassUID = (
        pydicom.uid.MRImageStorage
    )
    scan.SOPInstanceUID = scan.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    lines = np.where(np.arange(24)[:, None] % 2, 0, GREY.astype(np.uint16) + 1)
    scan.set_pixel_data(lines.astype(np.uint16), "MONOCHROME2", 16)
    file = io.BytesIO()
    scan.save_as(file, enforce_file_format=True)
    return file.getvalue()


def damaged_scans():
    file = io.BytesIO()
    np.save(
        file,
        np.where(np.arange(24)[:, None] % 2, np.nan, GREY / 255).astype(
            np.float32
        )[None],
    )
    return file.getvalue()


def image(kind):
    """Reads the pixels of an image."""
    return lambda path: decode(path.read_bytes(), path.name, kind)


def by_pillow(data):
    """Pixels as Pillow reads them, which has decoders of its own for most formats."""
    picture = Image.open(io.BytesIO(data))
    picture.load()
    if picture.mode in ("L", "1", "I;16", "I;16B"):
        return np.asarray(
            picture if picture.mode != "1" else picture.convert("L")
        )
    return np.asarray(picture.convert("RGB"))


def saved(kind, **options):
    """The picture in a format that Pillow writes."""
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, kind, **options)
    return file.getvalue()


def strips(compression, **options):
    """The picture as a TIFF of several strips."""
    return tiff(
        PICTURE,
        photometric="rgb",
        compression=compression,
        rowsperstrip=8,
        **options,
    )


@dataclass(frozen=True)
class Format:
    """A format under trial.

    Attributes
    ----------
    suffix, make : of a sound file: its suffix, and what makes its bytes.
    read : our reader, of a path.
    reference : an independent decoder, of bytes, whose pixels ours must equal.
    tolerance : by how much they may differ, of 255; formats that lose something.
    """

    suffix: str
    make: Callable[[], bytes]
    read: Callable[[Path], Any]
    reference: Callable[[bytes], np.ndarray] | None = None
    tolerance: int = 0


COLOUR, GREYS = image(Kind.COLOUR), image(Kind.GREY)
FORMATS = {
    "png": Format(
        ".png", partial(saved, "PNG"), COLOUR, imagecodecs.spng_decode
    ),
    "jpeg": Format(".jpg", partial(saved, "JPEG"), COLOUR, by_pillow, 2),
    "jpeg-progressive": Format(
        ".jpg", partial(saved, "JPEG", progressive=True), COLOUR, by_pillow, 2
    ),
    "bmp": Format(".bmp", partial(saved, "BMP"), COLOUR, by_pillow),
    "webp": Format(".webp", partial(saved, "WEBP"), COLOUR, by_pillow, 2),
    "webp-lossless": Format(
        ".webp", partial(saved, "WEBP", lossless=True), COLOUR, by_pillow
    ),
    "tiff": Format(".tif", partial(strips, None), COLOUR, by_pillow),
    "tiff-deflate": Format(
        ".tif", partial(strips, "zlib", predictor=True), COLOUR, by_pillow
    ),
    "tiff-lzw": Format(
        ".tif",
        partial(saved, "TIFF", compression="tiff_lzw"),
        COLOUR,
        by_pillow,
    ),
    "tiff-packbits": Format(
        ".tif", partial(tiff, GREY, compression="packbits"), GREYS, by_pillow
    ),
    "tiff-16": Format(
        ".tif", partial(tiff, GREY16, compression="zlib"), GREYS, by_pillow
    ),
    "tiff-jpeg": Format(
        ".tif",
        partial(tiff, PICTURE, photometric="ycbcr", compression="jpeg"),
        COLOUR,
        by_pillow,
        2,
    ),
    "tiff-tiles": Format(
        ".tif",
        partial(tiff, PICTURE, photometric="rgb", tile=(16, 16)),
        COLOUR,
        by_pillow,
    ),
    "npy": Format(".npy", array, read_array),
    "zip": Format(".zip", packed, lambda path: list(images_in_zip(path))),
    "onnx": Format(".onnx", shipped, network),
    "classes": Format(
        ".json",
        lambda: json.dumps(
            {"classes": ["background", "thing"], "ignore": 255}
        ).encode(),
        class_names,
    ),
    "coco": Format(".json", lambda: json.dumps(COCO).encode(), annotations),
    "voc": Format(".xml", VOC.encode, annotations),
    "scans": Format(
        ".npy", damaged_scans, lambda path: read_scans(path, InputOptions())
    ),
    "nifti": Format(
        ".nii", volume, lambda path: read_scans(path, InputOptions())
    ),
    "dicom": Format(
        ".dcm", slice_of_a_scan, lambda path: read_scans(path, InputOptions())
    ),
}


def fuzzed(name, count):
    """Try `count` changed files; returns how many were read all the same."""
    form = FORMATS[name]
    complete, rng, answered = (
        form.make(),
        np.random.default_rng([SEED, *name.encode()]),
        0,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"some{form.suffix}")
        for k in range(count):
            data = bytearray(complete)
            for place in rng.integers(0, len(data), rng.integers(1, 5)):
                data[place] ^= int(rng.integers(1, 256))
            path.write_bytes(data)
            try:
                result = form.read(path)
            except ToolkitError:
                continue
            except Exception as error:
                raise AssertionError(f"{name}, try {k}: {error!r}") from error
            answered += 1
            if form.reference:
                compare(result, bytes(data), form, f"{name}, try {k}")
    return answered


def compare(result, data, form, place):
    """Fail unless an independent decoder reads the same pixels."""
    try:
        theirs = form.reference(data)
    except Exception as error:
        raise AssertionError(
            f"{place}: answered, and refused by another: {error}"
        ) from error
    assert result.shape == theirs.shape, (
        f"{place}: {result.shape}, {theirs.shape}"
    )
    most = np.abs(result.astype(int) - theirs).max()
    assert most <= form.tolerance, f"{place}: pixels differ by {most}"


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(print(*FORMATS))
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    warnings.simplefilter("ignore")
    print(fuzzed(sys.argv[1], int(sys.argv[2])))

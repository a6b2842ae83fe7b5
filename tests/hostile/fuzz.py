"""Readers of every format under changed bytes: `python -m tests.hostile.fuzz FORMAT COUNT`.

Each try changes up to four bytes of a sound file at random, seeded; whatever the reader does but answer or raise ToolkitError is a
failure, and so is more memory or time than allowed. `make fuzz` tries 1,000 a format.
"""

import io
import json
import resource
import sys
import tempfile
import warnings
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import decoded, decoded_grey, read_array, zipped_images
from hvd.toolkit.network import Checkpoint, sealed
from hvd.toolkit.tasks.lines.files import read_scans
from hvd.toolkit.tasks.objects.dataset import class_names
from tests.hostile.test_images import coded, tiff

SEED = 0
GREY = np.random.default_rng(1).integers(0, 256, (24, 32), np.uint8)
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
VOC = """<annotation><filename>a.png</filename><size><width>64</width><height>40</height></size><object><name>thing</name>
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
        np.where(np.arange(20)[:, None, None] % 2, 0, GREY[:20, :20, None] + 1.0) * np.ones(3),
        np.eye(4),
    ).to_bytes()


def shipped():
    return files("hvd.checkpoints").joinpath("objects-scenes.onnx").read_bytes()


def annotations(path):
    from hvd.data.preparation.annotations import read

    return read(path)


def network(path):
    data = path.read_bytes()
    Checkpoint(sealed(data), "some.onnx", "objects")


def damaged_scans():
    file = io.BytesIO()
    np.save(file, np.where(np.arange(24)[:, None] % 2, np.nan, GREY / 255).astype(np.float32)[None])
    return file.getvalue()


FORMATS = {  # by name: a sound file's suffix and bytes, and its reader, of a path or, with bytes, of those
    "png": (".png", lambda: coded(".png"), lambda path: decoded(path.read_bytes(), path.name)),
    "jpeg": (".jpg", lambda: coded(".jpg"), lambda path: decoded(path.read_bytes(), path.name)),
    "bmp": (".bmp", lambda: coded(".bmp"), lambda path: decoded(path.read_bytes(), path.name)),
    "webp": (".webp", lambda: coded(".webp"), lambda path: decoded(path.read_bytes(), path.name)),
    "tiff": (
        ".tif",
        lambda: tiff(GREY, compression="zlib"),
        lambda path: decoded_grey(path.read_bytes(), path.name),
    ),
    "npy": (".npy", array, read_array),
    "zip": (".zip", packed, lambda path: list(zipped_images(path))),
    "onnx": (".onnx", shipped, network),
    "classes": (
        ".json",
        lambda: json.dumps({"classes": ["background", "thing"], "ignore": 255}).encode(),
        class_names,
    ),
    "coco": (".json", lambda: json.dumps(COCO).encode(), annotations),
    "voc": (".xml", VOC.encode, annotations),
    "scans": (".npy", damaged_scans, lambda path: read_scans(path, None, None)),
    "nifti": (".nii", volume, lambda path: read_scans(path, None, None)),
}


def fuzzed(name, count):
    """Try `count` changed files; returns how many were read all the same."""
    suffix, make, read = FORMATS[name]
    whole, rng, answered = make(), np.random.default_rng([SEED, sorted(FORMATS).index(name)]), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"some{suffix}")
        for k in range(count):
            data = bytearray(whole)
            for place in rng.integers(0, len(data), rng.integers(1, 5)):
                data[place] ^= int(rng.integers(1, 256))
            path.write_bytes(data)
            try:
                read(path)
                answered += 1
            except ToolkitError:
                continue
            except Exception as error:
                raise AssertionError(f"{name}, try {k}: {error!r}") from error
    return answered


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    warnings.simplefilter("ignore")
    print(fuzzed(sys.argv[1], int(sys.argv[2])))

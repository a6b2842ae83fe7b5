"""Photographs from a folder, a .zip, an .npy, or those that scikit-image and scikit-learn bundle."""

from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from toolkit.core import ToolkitError
from toolkit.images import SUFFIXES, decoded, read_image, square
from toolkit.tasks.fragments import read_array, zipped_images

BUNDLED = (
    ("skimage.data", "astronaut.png"),
    ("skimage.data", "chelsea.png"),
    ("skimage.data", "coffee.png"),
    ("skimage.data", "hubble_deep_field.jpg"),
    ("skimage.data", "ihc.png"),
    ("skimage.data", "motorcycle_left.png"),
    ("skimage.data", "retina.jpg"),
    ("skimage.data", "rocket.jpg"),
    ("sklearn.datasets.images", "china.jpg"),
    ("sklearn.datasets.images", "flower.jpg"),
)
CROPS = 12  # of each bundled photograph
REMEDY = "Give a folder or .zip of photographs, an .npy of uint8 (N, H, W, 3), or builtin."


@lru_cache(maxsize=2)
def builtin(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Crops uint8 (120, size, size, 3) of the ten bundled photographs, half to all of their shorter side, area-averaged; and
    the index (120,) of the photograph that each was cropped from."""
    rng = np.random.default_rng(seed)
    crops, sources = [], []
    for source, (package, name) in enumerate(BUNDLED):
        image = decoded(files(package).joinpath(name).read_bytes(), name)
        for _ in range(CROPS):
            side = int(rng.uniform(0.5, 1) * min(image.shape[:2]))
            row, column = (int(rng.integers(0, length - side + 1)) for length in image.shape[:2])
            crops.append(square(image[row : row + side, column : column + side], size))
            sources.append(source)
    return np.stack(crops), np.array(sources)


def photographs(path: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre squares uint8 (N, size, size, 3), area-averaged, in the order of their names, and what each was cropped from (N,).

    `path` names a folder (searched with its subfolders), a .zip, an .npy, or is "builtin". Files that are no image are refused.
    """
    if path == "builtin":
        return builtin(size)
    place = Path(path)
    if place.is_dir():
        found = [square(read_image(p), size) for p in sorted(place.rglob("*")) if p.suffix.lower() in SUFFIXES]
    elif place.suffix.lower() == ".zip":
        found = [square(image, size) for _, image in zipped_images(place)]
    elif place.suffix.lower() == ".npy":
        array = read_array(place)
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
            raise ToolkitError(f"{path} holds {array.dtype} {array.shape}.", "Save photographs as uint8 (N, H, W, 3).", status=5)
        found = [square(image, size) for image in array]
    else:
        raise ToolkitError(f"There are no photographs at {path}.", REMEDY, status=5)
    if not found:
        raise ToolkitError(f"{path} holds no image.", REMEDY, status=5)
    return np.stack(found), np.arange(len(found))

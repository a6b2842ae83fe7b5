"""Photographs from a folder, a .zip, an .npy, or those that scikit-image and scikit-learn bundle."""

from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from toolkit.core import ToolkitError
from toolkit.images import decoded, folder_images, read_array, square, zipped_images

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
def builtin(size: int) -> np.ndarray:
    """Crops uint8 (10, 12, size, size, 3): twelve of each bundled photograph, half to all of its shorter side, area-averaged."""
    rng = np.random.default_rng(0)
    crops = []
    for package, name in BUNDLED:
        image = decoded(files(package).joinpath(name).read_bytes(), name)
        for _ in range(CROPS):
            side = int(rng.uniform(0.5, 1) * min(image.shape[:2]))
            row, column = (int(rng.integers(0, length - side + 1)) for length in image.shape[:2])
            crops.append(square(image[row : row + side, column : column + side], size))
    return np.stack(crops).reshape(len(BUNDLED), CROPS, size, size, 3)


@lru_cache(maxsize=2)
def photographs(path: str, size: int) -> np.ndarray:
    """Centre squares uint8 (N, size, size, 3) of the photographs in a folder and its subfolders, a .zip, or an .npy of uint8
    (N, H, W, 3), in the order of their names; area-averaged, or enlarged when smaller."""
    place = Path(path)
    if place.is_dir():
        below = sorted(p for p in place.rglob("*") if p.is_dir())
        folders = [place, *(p for p in below if not any(name.startswith(".") for name in p.relative_to(place).parts))]
        found = [square(image, size) for folder in folders for _, image in folder_images(folder)]
    elif place.suffix.lower() == ".zip":
        found = [square(image, size) for _, image in zipped_images(place)]
    elif place.suffix.lower() == ".npy":
        array = read_array(place)
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3 or 0 in array.shape:
            raise ToolkitError(f"{path} holds {array.dtype} {array.shape}.", "Save photographs as uint8 (N, H, W, 3).", status=5)
        found = [square(image, size) for image in array]
    else:
        raise ToolkitError(f"There are no photographs at {path}.", REMEDY, status=5)
    if not found:
        raise ToolkitError(f"{path} holds no image.", REMEDY, status=5)
    return np.stack(found)

"""Read photographs from a folder, a .zip or an .npy, or those bundled with other libraries."""

from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import (
    decode,
    folder_images,
    images_in_zip,
    read_array,
    signature,
    square,
)
from hvd.toolkit.options import MAX_PIXELS

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
    """Crops of the photographs that scikit-image and scikit-learn bundle.

    Returns uint8 (10, 12, size, size, 3): twelve crops of each, half to all of its shorter side,
    averaged over areas.
    """
    rng = np.random.default_rng(0)
    crops = []
    for package, name in BUNDLED:
        image = decode(files(package).joinpath(name).read_bytes(), name)
        height, width = image.shape[:2]
        for _ in range(CROPS):
            side = int(rng.uniform(0.5, 1) * min(height, width))
            row = int(rng.integers(0, height - side + 1))
            column = int(rng.integers(0, width - side + 1))
            crops.append(
                square(image[row : row + side, column : column + side], size)
            )

    return np.stack(crops).reshape(len(BUNDLED), CROPS, size, size, 3)


def photographs(
    path: str, size: int, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Centre squares uint8 (N, size, size, 3) of the photographs at a path, in the order of names.

    The path is a folder, with its subfolders, a .zip, or an .npy of uint8 (N, H, W, 3).
    Photographs are shrunk by averaging areas, and smaller ones enlarged.
    """
    if not Path(path).exists():
        raise ToolkitError(
            f"There are no photographs at {path}.", REMEDY, status=5
        )
    return read_photographs(path, size, max_pixels, signature(Path(path)))


@lru_cache(maxsize=2)
def read_photographs(
    path: str,
    size: int,
    max_pixels: int,
    signature: tuple,
) -> np.ndarray:
    """Read the photographs at a path; read again when its signature has changed."""
    squares = [
        square(image, size) for image in images_at(Path(path), max_pixels)
    ]
    if not squares:
        raise ToolkitError(f"{path} holds no image.", REMEDY, status=5)
    return np.stack(squares)


def images_at(path: Path, max_pixels: int) -> Iterator[np.ndarray]:
    """Yield the photographs at a path, one after the other."""
    if path.is_dir():
        for folder in subfolders(path):
            for _, image in folder_images(folder, max_pixels):
                yield image
    elif path.suffix.lower() == ".zip":
        for _, image in images_in_zip(path, max_pixels):
            yield image
    elif path.suffix.lower() == ".npy":
        yield from photograph_array(path)
    else:
        raise ToolkitError(
            f"There are no photographs at {path}.", REMEDY, status=5
        )


def subfolders(folder: Path) -> list[Path]:
    """A folder and those below it that are not hidden, in the order of their names."""
    result = [folder]
    for path in sorted(path for path in folder.rglob("*") if path.is_dir()):
        if not any(
            part.startswith(".") for part in path.relative_to(folder).parts
        ):
            result.append(path)
    return result


def photograph_array(path: Path) -> np.ndarray:
    """The photographs in an .npy file, uint8 (N, H, W, 3)."""
    array = read_array(path)
    if (
        array.dtype != np.uint8
        or array.ndim != 4
        or array.shape[3] != 3
        or 0 in array.shape
    ):
        reason = f"{path} holds {array.dtype} {array.shape}."
        raise ToolkitError(
            reason, "Save photographs as uint8 (N, H, W, 3).", status=5
        )
    return array

"""Bytes to arrays and arrays to files. Images are uint8 RGB (H, W, 3)."""

from pathlib import Path

import cv2
import numpy as np

from toolkit.core import ToolkitError
from toolkit.outputs import write_bytes

cv2.setNumThreads(1)  # images are small: threads cost more than they save, and timings stay comparable
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"MM\x00*", b"BM")
LARGEST_FILE = 1 << 30


def read_bytes(path: Path) -> bytes:
    """The whole file, or a ToolkitError that says why not."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ToolkitError(f"{path} is larger than 1 GiB.", "Split it into smaller files.")
        return path.read_bytes()
    except OSError as error:
        raise ToolkitError(f"{path} cannot be read: {error.strerror}.", "Check the path and its permissions.") from error


def decoded(data: bytes, name: str) -> np.ndarray:
    """Pixels of a JPEG, PNG, TIFF, BMP or WebP file, by its first bytes, whatever its name.

    EXIF orientation is applied, grey becomes RGB, 16 bits are scaled to 8, transparency is dropped.
    """
    if not data:
        raise ToolkitError(f"{name} is empty.", "Copy the file again.")
    if not (data.startswith(MAGIC) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")):
        raise ToolkitError(
            f"{name} is not an image: it begins with {data[:8]!r}.", "Give JPEG, PNG, TIFF, BMP or WebP files, or leave it out."
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ToolkitError(f"{name} cannot be decoded: {error.err}.", "At most 100 megapixels are read.") from error
    if image is None:
        raise ToolkitError(f"{name} is damaged or cut short.", "Copy the file again, or leave it out.")
    return image


def read_image(path: Path) -> np.ndarray:
    """uint8 RGB (H, W, 3) of an image file."""
    return decoded(read_bytes(path), str(path))


def write_png(path: Path, image: np.ndarray) -> None:
    """uint8 (H, W, 3) RGB or (H, W) to a PNG file, whole or not at all."""
    image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    write_bytes(path, cv2.imencode(".png", image)[1].tobytes())


def square(image: np.ndarray, size: int) -> np.ndarray:
    """The centre square of an image, averaged over areas to (size, size, 3)."""
    height, width = image.shape[:2]
    side = min(height, width)
    row, column = (height - side) // 2, (width - side) // 2
    image = image[row : row + side, column : column + side]
    if side == size:
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)

"""Write the pictures of `toolkit show`, marked so that it overwrites no others."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.outputs import write_bytes

# A text entry in the PNG file, by which we know it again.
KEY = "Software"
OURS = "toolkit show"


def check_drawing(path: Path) -> None:
    """Refuse to overwrite pictures that we did not draw: ToolkitError with status 4."""
    if not (path.exists() or path.is_symlink()):
        return
    try:
        with Image.open(path, formats=("PNG",)) as image:
            ours = image.info.get(KEY) == OURS and not path.is_symlink()
    except Exception:  # whatever Pillow raises, it is no picture of ours
        ours = False

    if not ours:
        reason = f"{path} was not drawn by `toolkit show`."
        raise ToolkitError(reason, "Move it, or give another --out.", status=4)


def write_drawing(path: Path, image: np.ndarray) -> None:
    """Write an image, RGB uint8 (H, W, 3), to a PNG file that says who drew it."""
    text = PngInfo()
    text.add_text(KEY, OURS)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png", pnginfo=text)
    write_bytes(path, buffer.getvalue())

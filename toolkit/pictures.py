"""Pictures for people: galleries and labelled panels. Images are uint8 RGB (H, W, 3)."""

import cv2
import numpy as np

PAPER = 255
INK = 40
RED = (214, 39, 40)
GAP = 6
FONT = cv2.FONT_HERSHEY_SIMPLEX
CELL = 330, 700  # height and width of a panel: holds ten photographs of 64 pixels twice as large


def gallery(images: list[np.ndarray], columns: int = 5) -> np.ndarray:
    """Images of any sizes in rows, each in a cell of the common largest size."""
    height, width = (max(image.shape[k] for image in images) + GAP for k in (0, 1))
    rows = -(-len(images) // columns)
    canvas = np.full((rows * height - GAP, columns * width - GAP, 3), PAPER, np.uint8)
    for k, image in enumerate(images):
        row, column = divmod(k, columns)
        canvas[row * height :, column * width :][: image.shape[0], : image.shape[1]] = image
    return canvas


def panels(
    parts: list[tuple[str, np.ndarray]],
    caption: str,
    columns: int = 3,
    cell: tuple[int, int] = CELL,
) -> np.ndarray:
    """Titled pictures on one sheet, each enlarged or shrunk to its cell (height, width), with a caption below."""
    columns = 2 if len(parts) == 4 and columns == 3 else min(columns, len(parts))
    rows = -(-len(parts) // columns)
    head = 36
    margin = 24
    height = cell[0] + head + margin
    width = cell[1] + margin
    lines = wrapped(caption, columns * width - margin)
    foot = head * len(lines) + margin
    sheet = np.full((rows * height + foot, columns * width + margin, 3), PAPER, np.uint8)

    for k, (title, image) in enumerate(parts):
        top = k // columns * height + margin
        left = k % columns * width + margin
        put_text(sheet, title, (left, top + 22))
        image = fitted(image, cell)
        sheet[top + head :, left:][: image.shape[0], : image.shape[1]] = image

    for k, line in enumerate(reversed(lines)):
        put_text(sheet, line, (margin, sheet.shape[0] - margin - head * k))
    return sheet


def wrapped(text: str, width: int, size: float = 0.7) -> list[str]:
    """The lines of a text, each at most `width` pixels long unless a word alone is longer."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and cv2.getTextSize(longer, FONT, size, 1)[0][0] > width:
            lines.append(word)
        else:
            lines[-1] = longer

    return lines


def fitted(image: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    """An image enlarged by a whole number, or shrunk, to fit a cell (height, width)."""
    scale = min(cell[0] / image.shape[0], cell[1] / image.shape[1])
    if scale >= 1:
        return np.repeat(np.repeat(image, int(scale), 0), int(scale), 1)
    size = max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def put_text(image: np.ndarray, text: str, place: tuple[int, int], size: float = 0.7) -> None:
    """Text with its baseline starting at (x, y), in place."""
    text = text.encode(errors="backslashreplace").decode()  # OpenCV crashes on what is no UTF-8
    cv2.putText(image, text, place, FONT, size, (INK, INK, INK), 1, cv2.LINE_AA)

"""Draw pictures for people: galleries and labelled panels. Images are uint8 RGB (H, W, 3)."""

import cv2
import numpy as np

PAPER = 255
INK = 40
RED = (214, 39, 40)
FONT = cv2.FONT_HERSHEY_SIMPLEX

# Pixels.
GAP = 6  # between the images of a gallery
TITLE = 36  # height of a panel's title, and of a line of the caption
MARGIN = 24  # around panels
# Height and width of a panel: holds ten photographs of 64 pixels twice as
# large
CELL = (
    330,
    700,
)


def gallery(images: list[np.ndarray], columns: int = 5) -> np.ndarray:
    """Images of any sizes in rows, each in a cell of the largest height and width."""
    height = max(image.shape[0] for image in images) + GAP
    width = max(image.shape[1] for image in images) + GAP
    rows = -(-len(images) // columns)
    canvas = np.full(
        (rows * height - GAP, columns * width - GAP, 3), PAPER, np.uint8
    )

    for k, image in enumerate(images):
        row, column = divmod(k, columns)
        paste(canvas, image, row * height, column * width)
    return canvas


def panels(
    parts: list[tuple[str, np.ndarray]],
    caption: str,
    columns: int = 3,
    cell: tuple[int, int] = CELL,
) -> np.ndarray:
    """Titled pictures on one sheet with a caption below.

    Parameters
    ----------
    parts : title and picture of each panel.
    caption : text below all panels, wrapped to their width.
    columns : panels beside each other; four panels of three columns are drawn in two.
    cell : height and width that each picture is enlarged or shrunk to.
    """
    # Four pictures look better as 2 x 2 than as 3 + 1.
    columns = (
        2 if len(parts) == 4 and columns == 3 else min(columns, len(parts))
    )
    rows = -(-len(parts) // columns)
    height = cell[0] + TITLE + MARGIN
    width = cell[1] + MARGIN

    lines = wrap_text(caption, columns * width - MARGIN)
    foot = TITLE * len(lines) + MARGIN
    sheet = np.full(
        (rows * height + foot, columns * width + MARGIN, 3), PAPER, np.uint8
    )

    # Lay the pictures from left to right, row by row.
    for k, (title, image) in enumerate(parts):
        top = k // columns * height + MARGIN
        left = k % columns * width + MARGIN
        put_text(sheet, title, (left, top + 22))
        paste(sheet, fit_to_cell(image, cell), top + TITLE, left)

    for k, line in enumerate(reversed(lines)):
        baseline = sheet.shape[0] - MARGIN - TITLE * k
        put_text(sheet, line, (MARGIN, baseline))
    return sheet


def paste(
    canvas: np.ndarray,
    image: np.ndarray,
    top: int,
    left: int,
) -> None:
    """Copy an image into a canvas, in place."""
    height, width = image.shape[:2]
    canvas[top : top + height, left : left + width] = image


def wrap_text(text: str, width: int, size: float = 0.7) -> list[str]:
    """Break a text into lines of at most `width` pixels; a longer word has a line of its own."""
    lines = [""]
    for word in drawable(text).split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        text_width = cv2.getTextSize(longer, FONT, size, 1)[0][0]
        if lines[-1] and text_width > width:
            lines.append(word)
        else:
            lines[-1] = longer

    return lines


def fit_to_cell(image: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    """Enlarge an image by a whole number, or shrink it, to fit a cell (height, width)."""
    height, width = image.shape[:2]
    scale = min(cell[0] / height, cell[1] / width)
    if scale >= 1:
        times = int(scale)
        return image.repeat(times, axis=0).repeat(times, axis=1)

    size = max(1, int(width * scale)), max(1, int(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def put_text(
    image: np.ndarray,
    text: str,
    place: tuple[int, int],
    size: float = 0.7,
) -> None:
    """Write text into an image, in place; its baseline starts at (x, y)."""
    cv2.putText(
        image,
        drawable(text),
        place,
        FONT,
        size,
        (INK, INK, INK),
        1,
        cv2.LINE_AA,
    )


def drawable(text: str) -> str:
    """A text that OpenCV can draw: it crashes on invalid UTF-8, which names of files may hold."""
    return text.encode(errors="backslashreplace").decode()

"""Pictures for people: mosaics of fragments, galleries, labelled panels. Images are uint8 RGB (H, W, 3)."""

import cv2
import numpy as np

PAPER, INK, RED = 255, 40, (214, 39, 40)
GAP = 6
CELL = 330, 700  # height and width of a panel: holds ten photographs of 64 pixels twice as large


def mosaic(fragments: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Fragments (n, s, s, 3) in reading order with paper between them; twice as wide as high unless `columns` says."""
    count, size = fragments.shape[:2]
    columns = columns or int(np.ceil((2 * count) ** 0.5))
    rows, gap = -(-count // columns), max(1, size // 8)
    canvas = np.full((rows * columns, size + gap, size + gap, 3), PAPER, np.uint8)
    canvas[:count, :size, :size] = fragments
    canvas = canvas.reshape(rows, columns, size + gap, size + gap, 3).swapaxes(1, 2)
    return canvas.reshape(rows * (size + gap), columns * (size + gap), 3)[:-gap, :-gap]


def sorted_fragments(fragments: np.ndarray, group: np.ndarray) -> np.ndarray:
    """A row of fragments for each group, in the order of the groups."""
    widest = np.bincount(group).max()
    size = fragments.shape[1]
    filled = []
    for k in range(group.max() + 1):
        members = fragments[group == k]
        filled += [members, np.full((widest - len(members), size, size, 3), PAPER, np.uint8)]
    return mosaic(np.concatenate(filled), int(widest))


def framed(fragments: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """A copy in which the marked fragments (n,) have a red frame."""
    width = max(1, fragments.shape[1] // 10)
    copy = fragments.copy()
    for edge in (np.s_[:, :width], np.s_[:, -width:], np.s_[:, :, :width], np.s_[:, :, -width:]):
        part = copy[edge]
        part[marked] = RED
    return copy


def gallery(images: list[np.ndarray], columns: int = 5) -> np.ndarray:
    """Images of any sizes in rows, each in a cell of the common largest size."""
    height, width = (max(image.shape[k] for image in images) + GAP for k in (0, 1))
    rows = -(-len(images) // columns)
    canvas = np.full((rows * height - GAP, columns * width - GAP, 3), PAPER, np.uint8)
    for k, image in enumerate(images):
        row, column = divmod(k, columns)
        canvas[row * height :, column * width :][: image.shape[0], : image.shape[1]] = image
    return canvas


def panels(parts: list[tuple[str, np.ndarray]], caption: str, columns: int = 3) -> np.ndarray:
    """Titled pictures on one sheet, each enlarged or shrunk to its cell, with a caption below."""
    rows, columns = -(-len(parts) // columns), min(columns, len(parts))
    head, margin = 36, 24
    height, width = CELL[0] + head + margin, CELL[1] + margin
    sheet = np.full((rows * height + head + margin, columns * width + margin, 3), PAPER, np.uint8)
    for k, (title, image) in enumerate(parts):
        top, left = k // columns * height + margin, k % columns * width + margin
        put_text(sheet, title, (left, top + 22))
        image = fitted(image)
        sheet[top + head :, left:][: image.shape[0], : image.shape[1]] = image
    put_text(sheet, caption, (margin, sheet.shape[0] - margin))
    return sheet


def fitted(image: np.ndarray) -> np.ndarray:
    """An image enlarged by a whole number, or shrunk, to fit a cell."""
    scale = min(CELL[0] / image.shape[0], CELL[1] / image.shape[1])
    if scale >= 1:
        return np.repeat(np.repeat(image, int(scale), 0), int(scale), 1)
    size = max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def put_text(image: np.ndarray, text: str, place: tuple[int, int]) -> None:
    """Text with its baseline starting at (x, y), in place."""
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (INK, INK, INK), 1, cv2.LINE_AA)

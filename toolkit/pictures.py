"""Pictures for people: mosaics of fragments, galleries, labelled panels. Images are uint8 RGB (H, W, 3)."""

import cv2
import numpy as np

PAPER, INK, RED = 255, 40, (214, 39, 40)
GAP = 6
MOST_PIXELS = 100_000_000  # of a picture of all fragments
FONT = cv2.FONT_HERSHEY_SIMPLEX
COLOURS = (31, 90, 180), (214, 110, 20), (40, 140, 60), (150, 60, 160), (120, 80, 40), (0, 150, 160), (200, 40, 90), (110, 110, 110)
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
    """A row of fragments for each group, in the order of the groups; smaller than they are where that would be a huge picture."""
    widest, rows = int(np.bincount(group).max()), int(group.max()) + 1
    every = int(np.ceil(fragments.shape[1] * np.sqrt(rows * widest / MOST_PIXELS)))
    fragments = fragments[:, ::every, ::every]
    size = fragments.shape[1]
    filled = []
    for k in range(rows):
        members = fragments[group == k]
        filled += [members, np.full((widest - len(members), size, size, 3), PAPER, np.uint8)]
    return mosaic(np.concatenate(filled), widest)


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


def panels(parts: list[tuple[str, np.ndarray]], caption: str, columns: int = 3, cell: tuple[int, int] = CELL) -> np.ndarray:
    """Titled pictures on one sheet, each enlarged or shrunk to its cell (height, width), with a caption below."""
    rows, columns = -(-len(parts) // columns), min(columns, len(parts))
    head, margin = 36, 24
    height, width = cell[0] + head + margin, cell[1] + margin
    sheet = np.full((rows * height + head + margin, columns * width + margin, 3), PAPER, np.uint8)
    for k, (title, image) in enumerate(parts):
        top, left = k // columns * height + margin, k % columns * width + margin
        put_text(sheet, title, (left, top + 22))
        image = fitted(image, cell)
        sheet[top + head :, left:][: image.shape[0], : image.shape[1]] = image
    put_text(sheet, caption, (margin, sheet.shape[0] - margin))
    return sheet


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


def palette() -> np.ndarray:
    """A colour for every class, uint8 (256, 3): hues that lie far apart for neighbours; white for 255, which is none."""
    index = np.arange(256)
    shades = np.stack([index * 0.618034 % 1 * 180, 200 - 50 * (index // 3 % 3), 235 - 60 * (index // 2 % 2)], 1)
    colours = cv2.cvtColor(shades.astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]
    colours[255] = PAPER
    return colours


def overlaid(image: np.ndarray, mask: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """A picture half covered by the colours of its classes (H, W), each outlined; bare where it is background or unknown."""
    bare = [k for k, name in enumerate(classes) if name == "background"]
    covered = ~np.isin(mask, [*bare, 255])
    edge = covered & (cv2.dilate(mask, np.ones((3, 3), np.uint8)) != cv2.erode(mask, np.ones((3, 3), np.uint8)))
    colours, shown = palette()[mask], image.copy()
    for where, share in ((covered & ~edge, 0.5), (edge, 0.9)):
        cv2.copyTo(cv2.addWeighted(image, 1 - share, colours, share, 0), where.astype(np.uint8), shown)
    return shown


def with_legend(sheet: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """A sheet with the colour and the name of every class below it."""
    spots, x, y, line = [], 24, 12, 30
    for k, name in enumerate(classes):
        if name != "background":
            wide = 56 + cv2.getTextSize(name, FONT, 0.6, 1)[0][0]
            x, y = (24, y + line) if x + wide > sheet.shape[1] else (x, y)
            spots.append((k, name, x, y))
            x += wide
    strip = np.full((y + line + 6, sheet.shape[1], 3), PAPER, np.uint8)
    for k, name, x, y in spots:
        strip[y : y + 18, x : x + 26] = palette()[k]
        put_text(strip, name, (x + 34, y + 15), 0.6)
    return np.vstack([sheet, strip])


def grey(image: np.ndarray) -> np.ndarray:
    """A grey image (H, W) of any range as uint8 (H, W, 3), its darkest and brightest two hundredths cut off."""
    low, high = np.percentile(image[:: max(1, len(image) // 500)], [0.5, 99.5])
    shown = np.clip((image.astype(np.float32) - low) * (255 / max(high - low, 1)), 0, 255).astype(np.uint8)
    return cv2.cvtColor(shown, cv2.COLOR_GRAY2RGB)


def grey_levels(shares: np.ndarray) -> np.ndarray:
    """Shares (H, W) from 0, black, to 1, white, as uint8 (H, W, 3)."""
    return cv2.cvtColor(np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8), cv2.COLOR_GRAY2RGB)


def tint(share: np.ndarray) -> np.ndarray:
    """Colours uint8 (n, 3) from dark blue over green to yellow for shares (n,) from 0 to 1."""
    levels = np.rint(255 * np.asarray(share)).astype(np.uint8)[:, None]
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)[:, 0]


def key(width: int, low: str, high: str, title: str) -> np.ndarray:
    """A strip that explains `tint`: its colours between the two values they stand for."""
    scale = max(0.5, width / 1600)
    height = int(40 * scale)
    strip = np.full((height, width, 3), PAPER, np.uint8)
    left, right, middle = width // 3, width * 2 // 3, int(height * 0.68)
    strip[height // 4 : height * 3 // 4, left:right] = tint(np.linspace(0, 1, right - left))
    for text, x in ((f"{title}: {low}", None), (high, right + int(10 * scale))):
        across = cv2.getTextSize(text, FONT, 0.7 * scale, 1)[0][0]
        put_text(strip, text, (left - across - int(10 * scale) if x is None else x, middle), 0.7 * scale)
    return strip


def chart(bars: list[tuple], curves: list[tuple], title: str, label: str) -> np.ndarray:
    """Shares against a logarithmic axis, uint8 (700, 1200, 3): `bars` (name, edges, shares) and
    `curves` (name, ascending values, shares)."""
    sheet = np.full((700, 1200, 3), PAPER, np.uint8)
    left, right, top, bottom = 90, 1170, 70, 620
    put_text(sheet, title, (left, 40), 0.7 * min(1, 95 / max(1, len(title))))
    values = [values for _, values, _ in (*bars, *curves)]
    if not values:
        return sheet
    low, high = (np.log(f([f(v) for v in values])) for f in (min, max))
    low, high = (low, high) if high > low else (low - 0.1, high + 0.1)

    def across(x: np.ndarray) -> np.ndarray:
        return np.rint(left + (np.log(x) - low) / (high - low) * (right - left)).astype(int)

    for share in (0, 0.25, 0.5, 0.75, 1):
        y = int(bottom - share * (bottom - top))
        cv2.line(sheet, (left, y), (right, y), (225, 225, 225), 1)
        put_text(sheet, f"{share:.0%}", (left - 62, y + 6), 0.5)
    for tick in ticks(np.exp(low), np.exp(high)):
        x = int(across(tick))
        cv2.line(sheet, (x, bottom), (x, bottom + 6), (INK,) * 3, 1)
        put_text(sheet, f"{tick:g}", (x - 4 * len(f"{tick:g}"), bottom + 26), 0.5)
    put_text(sheet, label, ((left + right) // 2 - 5 * len(label), bottom + 60), 0.6)
    for k, (_, edges, heights) in enumerate(bars):
        x = across(edges)
        tall = np.rint(heights * (bottom - top)).astype(int)
        middle = (x[1:] + x[:-1]) // 2
        for start, end, height in zip(*((x[:-1] + 1, middle) if k == 0 else (middle, x[1:] - 1)), tall, strict=True):
            pale = tuple(int(255 - 0.45 * (255 - c)) for c in COLOURS[k])
            cv2.rectangle(sheet, (int(start), bottom - int(height)), (int(end), bottom), pale, -1)
    for k, (_, x, shares) in enumerate(curves):
        points = np.stack([across(x), np.rint(bottom - shares * (bottom - top)).astype(int)], 1).astype(np.int32)
        cv2.polylines(sheet, [points], False, COLOURS[k], 2, cv2.LINE_AA)
    for k, (name, *_) in enumerate(curves or bars):
        cv2.line(sheet, (left + 20, top + 22 + 28 * k), (left + 60, top + 22 + 28 * k), COLOURS[k], 3)
        put_text(sheet, name, (left + 70, top + 28 + 28 * k), 0.6)
    cv2.rectangle(sheet, (left, top), (right, bottom), (INK,) * 3, 1)
    return sheet


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between two positive ones, two at least: 1, 2 and 5 of every power of ten, or closer ones."""
    powers = [10.0**p for p in range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)]
    for steps in ((1, 2, 5), range(1, 10), np.arange(1, 10, 0.1)):
        found = [float(f"{step * power:.3g}") for power in powers for step in steps if low <= step * power <= high]
        if len(found) > 2:
            return found[:: -(-len(found) // 12)]
    return [float(f"{low:.3g}"), float(f"{high:.3g}")]

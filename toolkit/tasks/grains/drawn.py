"""Read boundaries and grains that somebody drew or corrected: masks, label images, ImageJ ROIs."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from roifile import ROI_TYPE, ImagejRoi
from skimage.draw import polygon
from skimage.measure import label
from skimage.segmentation import expand_labels

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import (
    SUFFIXES,
    decode_picture,
    read_bytes,
    zip_contents,
)
from hvd.toolkit.options import MAX_PIXELS
from hvd.toolkit.tasks.grains import boundaries
from hvd.toolkit.tasks.grains.options import DrawnOptions
from hvd.toolkit.tasks.grains.reading import (
    mask_of,
    read_plane,
    scale_by_options,
    smallest_in_pixels,
    tags_unless_given,
)
from hvd.toolkit.tasks.grains.scale import FileTags, contradiction, no_row
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph

# A drawing may be antialiased: so many pixels must have its two values all the same, within
# NEARLY of the range between them.
LEAST_PURE = 0.75
NEARLY = 0.1

# The value of boundaries in a drawing of two values; other numbers are those of a grain.
DRAWN_VALUES = 1, 255, 65535

# A label image: most neighbouring pixels of grains are alike, and each label is in one piece, or in
# few, unless these are large.
LEAST_ALIKE = 0.6
MOST_PIECES = 3  # for each label
LARGE_PIECE = 25  # pixels on average
CRUMB = 4  # pixels, up to which a further piece of a label is no grain

# Pixels of label 0 in a label image: lines up to this width lie between grains, larger areas are
# no specimen. Where lines meet they are wider, but not over so many pixels.
WIDEST_LINE = 16
LEAST_OUTSIDE = 600

AREAS = (
    ROI_TYPE.POLYGON,
    ROI_TYPE.RECT,
    ROI_TYPE.OVAL,
    ROI_TYPE.FREEHAND,
    ROI_TYPE.TRACED,
)

REMEDY = "Give boundaries as 255 on 0, or a label image: a whole number for every grain."


@dataclass(frozen=True)
class Drawn:
    """The method of `toolkit measure grains`: the grains are those that were drawn."""

    def predict(self, inputs: Micrograph) -> Boundaries:
        return inputs.drawn


def read_drawn(path: Path, options: DrawnOptions) -> Micrograph:
    """Drawn boundaries or grains as a micrograph that is answered already."""
    data = read_bytes(path)
    file = micrograph_below(options.micrographs, path)
    below = None if file is None else read_plane(file, options.max_pixels)
    tags = FileTags()
    notes = []
    if path.suffix.lower() == ".zip":
        labels = labels_of_rois(path, below, options.max_pixels)
    else:
        values, _ = decode_picture(data, str(path), options.max_pixels)
        labels = labels_of_drawing(values, str(path))
        tags = tags_unless_given(data, path, options)
    labels, shared = in_single_pieces(labels)
    if shared:
        notes.append(
            f"Pieces that shared a number with another one count as grains of their own: {shared}."
        )

    if below is not None:
        below = above_data_bar(below, labels.shape, path)
        if not tags.scale.micrometres_per_pixel:
            tags = tags_unless_given(read_bytes(file), path, options)
    scale = scale_by_options(tags, path, options)

    image = np.full(labels.shape, 160, np.uint8) if below is None else below
    inside = labels > 0
    mask = mask_of(options.mask, path, labels.shape, options.max_pixels)
    if mask is not None:
        inside = inside & mask
    elif not inside.all():
        share = 1 - float(inside.mean())
        notes.append(
            f"Pixels of 0, {share:.1%} of the picture, are taken to lie outside the specimen."
        )
    # Methods answer everywhere; what is outside is cut off again by `inside`.
    covered = boundaries.nearest_grains(labels)
    return Micrograph(
        image=image,
        scale=scale,
        name=path.stem,
        inside=None if inside.all() else inside,
        smallest=smallest_in_pixels(options, scale),
        merge_twins=options.twins == "ignore",
        three_dimensional=options.three_dimensional,
        notes=(
            *notes,
            *contradiction(scale, tags.scale),
            *no_row(scale, options.scales),
        ),
        drawn=Boundaries(boundaries.lines(labels), covered),
    )


def micrograph_below(micrographs: Path | None, path: Path) -> Path | None:
    """The micrograph that was drawn on: the file itself, or the one of that name in a folder.

    `NAME-labels.tif`, as `predict` writes it, belongs to the micrograph NAME.
    """
    if micrographs is None:
        return None
    if not micrographs.is_dir():
        return micrographs
    for suffix in ("", "-labels", "-boundaries", "-rois"):
        stem = path.stem.removesuffix(suffix)
        for file in sorted(micrographs.iterdir()):
            if file.stem == stem and file.suffix.lower() in SUFFIXES:
                return file
    reason = f"{micrographs} holds no micrograph for {path.name}."
    raise ToolkitError(reason, "Put it there under the same name.")


def above_data_bar(
    below: np.ndarray,
    shape: tuple[int, int],
    path: Path,
) -> np.ndarray:
    """The micrograph (H, W) at the shape of what was drawn on it.

    A data bar may have been cut off from the drawing. Raises ToolkitError for any other size.
    """
    rows, columns = shape
    if below.shape[1] != columns or len(below) < rows:
        reason = f"{path} and its micrograph differ in size."
        raise ToolkitError(reason, "Give the micrograph that was drawn on.")
    return below[:rows]


# --- masks and label images


def labels_of_drawing(values: np.ndarray, name: str) -> np.ndarray:
    """Grains int32 (H, W), 0 outside the specimen, of drawn boundaries or of a label image.

    Raises ToolkitError for a picture that is neither.
    """
    if (mask := boundary_drawing(values, name)) is not None:
        return boundaries.grains_of_drawing(mask, boundaries.skeleton(mask))
    return label_image(values, name)


def boundary_drawing(values: np.ndarray, name: str) -> np.ndarray | None:
    """Drawn boundaries, bool (H, W); None for a picture of more than two tones.

    Raises ToolkitError when lines are dark on a bright ground, since that may be a mask of grains.
    """
    if values.ndim == 3:
        if np.ptp(values, axis=2).any():
            return None
        values = values[..., 0]
    is_bytes = values.dtype.itemsize == 1
    values = values.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if low < 0 or not np.isfinite(high):
        return None
    if low == high:
        return np.zeros(values.shape, bool)

    margin = NEARLY * (high - low)
    is_pure = (values <= low + margin) | (values >= high - margin)
    if len(np.unique(values)) > 2:
        # Whole numbers of more than 8 bits are those of grains.
        if not is_bytes or is_pure.mean() < LEAST_PURE or high < 200:
            return None
    elif low != 0 or high not in DRAWN_VALUES:  # one or two grains
        return None

    mask = values > (low + high) / 2
    if are_lines(~mask) and not are_lines(mask):
        reason = f"{name} shows dark lines on a bright ground."
        raise ToolkitError(
            reason, "Invert it: boundaries are 255, all else is 0."
        )
    return mask


def are_lines(mask: np.ndarray) -> bool:
    """Whether a mask bool (H, W) is thin, compared with what it leaves free."""
    thick = [
        cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5)
        for part in (mask, ~mask)
    ]
    depths = [
        float(np.percentile(d[d > 0], 95)) if d.any() else 0 for d in thick
    ]
    return depths[0] <= depths[1]


def label_image(values: np.ndarray, name: str) -> np.ndarray:
    """Grains int32 (H, W) of a label image, 0 outside the specimen.

    Lines of 0 between grains go to the nearest grain; larger areas of 0 stay outside. Raises
    ToolkitError for what looks like a picture.
    """
    if values.ndim == 3:  # colours as labels
        values = values.astype(np.int64) @ np.array([1 << 32, 1 << 16, 1])
    is_whole = values.dtype.kind in "bui" or bool(
        np.isfinite(values).all() and (values == np.rint(values)).all()
    )
    if not is_whole or values.min() < 0:
        reason = f"{name} holds no whole numbers from 0."
        raise ToolkitError(reason, REMEDY)

    numbers, flat = np.unique(values, return_inverse=True)
    labels = (flat.reshape(values.shape) + 1).astype(np.int32)
    if numbers[0] == 0:
        labels -= 1
    if not labels.any():
        return labels

    pieces = int(label(labels, connectivity=1).max())
    has_small_pieces = (labels > 0).sum() < LARGE_PIECE * pieces
    is_scattered = pieces > MOST_PIECES * len(numbers) + 10 and has_small_pieces
    if share_alike(labels) < LEAST_ALIKE or is_scattered:
        reason = f"{name} is neither drawn boundaries nor a label image: it looks like a picture."
        raise ToolkitError(reason, REMEDY)
    return without_gaps(labels)


def share_alike(labels: np.ndarray) -> float:
    """Share of neighbouring pixels in grains that belong to one: down or across, the lesser."""
    shares = []
    for one, other in (
        (labels[1:], labels[:-1]),
        (labels[:, 1:], labels[:, :-1]),
    ):
        both = (one > 0) & (other > 0)
        if both.any():
            shares.append(float((one == other)[both].mean()))
    return min(shares, default=0.0)


def without_gaps(labels: np.ndarray) -> np.ndarray:
    """Labels int32 (H, W) whose lines of 0 went to the nearest grain; larger areas of 0 stay."""
    if labels.all():
        return labels
    empty = (labels == 0).astype(np.uint8)
    disc = cv2.getStructuringElement(
        cv2.MORPH_ELLIPSE, (WIDEST_LINE + 1, WIDEST_LINE + 1)
    )
    wide = cv2.morphologyEx(empty, cv2.MORPH_OPEN, disc)
    _, places, stats, _ = cv2.connectedComponentsWithStats(wide, connectivity=4)
    is_outside = stats[:, cv2.CC_STAT_AREA] >= LEAST_OUTSIDE
    is_outside[0] = False
    grown = expand_labels(labels, WIDEST_LINE)
    return np.where(is_outside[places], 0, grown).astype(np.int32)


def in_single_pieces(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Labels int32 (H, W) of which each is one 4-connected piece, and how many pieces are new.

    Pieces of a few pixels beside a larger one go to the nearest grain.
    """
    pieces = label(labels, connectivity=1)
    number = int(labels.max())
    if int(pieces.max()) == len(np.unique(labels[labels > 0])):
        return labels, 0

    areas = np.bincount(pieces.ravel())
    of_label = np.zeros(len(areas), np.int64)
    of_label[pieces.ravel()] = labels.ravel()
    largest = np.zeros(number + 1, np.int64)
    np.maximum.at(largest, of_label, areas)
    is_crumb = (areas <= CRUMB) & (areas < largest[of_label])
    is_crumb[0] = False
    kept = np.where(is_crumb[pieces], 0, pieces).astype(np.int32)
    whole = np.where(labels > 0, boundaries.nearest_grains(kept), 0)
    result = boundaries.renumber_present(whole.astype(np.int32))
    return result, int(result.max()) - len(np.unique(labels[labels > 0]))


# --- ImageJ ROIs


def labels_of_rois(
    path: Path,
    below: np.ndarray | None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Grains int32 (H, W) of an ImageJ ROI set: areas; smaller ones lie on larger ones.

    The size is that of the micrograph `below`, else that which the outlines reach. Gaps between
    outlines go to the nearest grain. Raises ToolkitError for a set without an area, and for
    outlines that reach beyond the micrograph or `max_pixels`.
    """
    outlines = []
    for name, content in zip_contents(path):
        if not name.lower().endswith(".roi"):
            continue
        try:
            roi = ImagejRoi.frombytes(content)
            if roi.roitype in AREAS:
                outlines.append(list(roi.coordinates(multi=True)))
        except Exception as error:  # damaged ROIs fail in a dozen ways
            reason = f"{path}: {name} cannot be read as an ROI."
            raise ToolkitError(reason, "Save the set again.") from error
    if not outlines:
        raise ToolkitError(
            f"{path} holds no ROI with an area.",
            "Save areas by ImageJ's ROI manager.",
        )

    shape = reach_of(outlines)
    if below is not None:
        if shape[0] > below.shape[0] + 1 or shape[1] > below.shape[1] + 1:
            reason = f"{path} reaches beyond its micrograph."
            raise ToolkitError(reason, "Give the micrograph that was drawn on.")
        shape = below.shape
    if shape[0] * shape[1] > max_pixels:
        reason = f"{path} reaches over {shape[1]} x {shape[0]} pixels."
        remedy = "Check its outlines, or raise --max-pixels."
        raise ToolkitError(reason, remedy)
    areas = [
        sum(cv2.contourArea(np.float32(part)) for part in parts)
        for parts in outlines
    ]
    labels = np.zeros(shape, np.int32)
    for number, k in enumerate(np.argsort(areas)[::-1], 1):
        paint(labels, outlines[k], number)
    labels = boundaries.renumber_present(labels)
    return without_gaps(labels) if labels.any() else labels


def reach_of(outlines: list[list[np.ndarray]]) -> tuple[int, int]:
    """Rows and columns that hold all outlines."""
    points = np.concatenate([part for parts in outlines for part in parts])
    columns, rows = np.ceil(points.max(axis=0)).astype(int)
    return int(rows), int(columns)


def paint(
    labels: np.ndarray,
    parts: list[np.ndarray],
    number: int,
) -> None:
    """Give pixels whose middle lies within an outline its number; its further parts are holes."""
    points = np.concatenate(parts)
    start = np.maximum(np.floor(points.min(axis=0)).astype(int) - 1, 0)
    stop = np.ceil(points.max(axis=0)).astype(int) + 1
    window = labels[start[1] : stop[1], start[0] : stop[0]]
    inside = np.zeros(window.shape, bool)
    for part in parts:
        # The middle of the first pixel is at 0.5 in ImageJ.
        columns, rows = np.float64(part).T - 0.5 - start[:, None]
        inside[polygon(rows, columns, window.shape)] ^= True
    window[inside] = number

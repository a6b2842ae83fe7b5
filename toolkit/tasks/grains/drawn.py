"""Read boundaries and grains that somebody drew or corrected: masks, label images, ImageJ ROIs."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from roifile import ROI_TYPE, ImagejRoi
from skimage.draw import polygon
from skimage.segmentation import expand_labels

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import (
    SUFFIXES,
    decode_picture,
    read_bytes,
    zip_contents,
)
from hvd.toolkit.tasks.grains import boundaries
from hvd.toolkit.tasks.grains.options import DrawnOptions
from hvd.toolkit.tasks.grains.reading import read_plane, smallest_in_pixels
from hvd.toolkit.tasks.grains.scale import (
    Scale,
    contradiction,
    file_tags,
    scale_in_table,
)
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph

# A drawing may be antialiased: so many pixels must have its two values all the same, within
# NEARLY of the range between them.
LEAST_PURE = 0.75
NEARLY = 0.1

# A label image: most neighbouring pixels are alike, and each label is in one piece, or in few.
LEAST_ALIKE = 0.6
MOST_PIECES = 3  # for each label

# Pixels of label 0 in a label image: lines up to this width lie between grains, larger areas are
# no specimen.
WIDEST_LINE = 16

REMEDY = "Give boundaries as 255 on 0, or a label image: a whole number for every grain."


@dataclass(frozen=True)
class Drawn:
    """The method of `toolkit measure grains`: the grains are those that were drawn."""

    def predict(self, inputs: Micrograph) -> Boundaries:
        return inputs.drawn


def read_drawn(path: Path, options: DrawnOptions) -> Micrograph:
    """Drawn boundaries or grains as a micrograph that is answered already."""
    data = read_bytes(path)
    below = micrograph_below(options.micrographs, path, options.max_pixels)
    if path.suffix.lower() == ".zip":
        labels = labels_of_rois(path, below)
        tags_scale = Scale()
    else:
        values, _ = decode_picture(data, str(path), options.max_pixels)
        labels = labels_of_drawing(values, str(path))
        tags_scale = file_tags(data).scale

    if below is not None and below.shape != labels.shape:
        reason = f"{path} and its micrograph differ in size."
        raise ToolkitError(reason, "Give the micrograph that was drawn on.")
    scale = tags_scale
    if options.micrometres_per_pixel:
        scale = Scale(options.micrometres_per_pixel, "given")
    elif options.scales is not None:
        scale = scale_in_table(options.scales, path) or tags_scale

    image = np.full(labels.shape, 160, np.uint8) if below is None else below
    inside = labels > 0
    # Methods answer everywhere; what is outside is cut off again by `inside`.
    covered = labels if inside.all() else expand_labels(labels, labels.size)
    return Micrograph(
        image=image,
        scale=scale,
        name=path.stem,
        inside=None if inside.all() else inside,
        smallest=smallest_in_pixels(options, scale),
        merge_twins=options.twins == "ignore",
        three_dimensional=options.three_dimensional,
        notes=tuple(contradiction(scale, tags_scale)),
        drawn=Boundaries(boundaries.lines(labels), covered.astype(np.int32)),
    )


def micrograph_below(
    micrographs: Path | None,
    path: Path,
    max_pixels: int,
) -> np.ndarray | None:
    """The micrograph that was drawn on: the file itself, or the one of that name in a folder.

    `NAME-labels.tif`, as `predict` writes it, belongs to the micrograph NAME.
    """
    if micrographs is None:
        return None
    if not micrographs.is_dir():
        return read_plane(micrographs, max_pixels)
    for suffix in ("", "-labels", "-boundaries", "-rois"):
        stem = path.stem.removesuffix(suffix)
        for file in sorted(micrographs.iterdir()):
            if file.stem == stem and file.suffix.lower() in SUFFIXES:
                return read_plane(file, max_pixels)
    reason = f"{micrographs} holds no micrograph for {path.name}."
    raise ToolkitError(reason, "Put it there under the same name.")


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
    values = values.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if low < 0 or not np.isfinite(high):
        return None
    if low == high:
        return np.zeros(values.shape, bool)

    margin = NEARLY * (high - low)
    is_pure = (values <= low + margin) | (values >= high - margin)
    few_values = len(np.unique(values)) <= 2
    if not few_values and (is_pure.mean() < LEAST_PURE or high < 200):
        return None
    if few_values and low != 0:  # two grains, numbered from 1
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

    Lines of 0 between grains go to the nearest grain; larger areas of 0 stay outside.
    """
    if values.ndim == 3:  # colours as labels
        values = values.astype(np.int64) @ np.array([1 << 32, 1 << 16, 1])
    is_whole = values.dtype.kind in "bui" or bool(
        np.isfinite(values).all() and (values == np.rint(values)).all()
    )
    if not is_whole or values.min() < 0:
        reason = f"{name} holds no whole numbers from 0."
        raise ToolkitError(reason, REMEDY)

    alike = [
        float((values[1:] == values[:-1]).mean()),
        float((values[:, 1:] == values[:, :-1]).mean()),
    ]
    numbers, flat = np.unique(values, return_inverse=True)
    flat = flat.reshape(values.shape)
    pieces = number_of_pieces(flat)
    if min(alike) < LEAST_ALIKE or pieces > MOST_PIECES * len(numbers) + 10:
        reason = f"{name} is neither drawn boundaries nor a label image: it looks like a picture."
        raise ToolkitError(reason, REMEDY)

    labels = (flat + 1).astype(np.int32)
    if numbers[0] == 0:
        labels -= 1
    if not (labels == 0).any() or not labels.any():
        return labels

    empty = (labels == 0).astype(np.uint8)
    disc = cv2.getStructuringElement(
        cv2.MORPH_ELLIPSE, (WIDEST_LINE + 1, WIDEST_LINE + 1)
    )
    outside = cv2.morphologyEx(empty, cv2.MORPH_OPEN, disc) > 0
    grown = expand_labels(labels, WIDEST_LINE)
    return np.where(outside, 0, grown).astype(np.int32)


def number_of_pieces(labels: np.ndarray) -> int:
    """How many 4-connected areas of one value an image (H, W) has."""
    from skimage.measure import label

    return int(label(labels + 1, connectivity=1).max())


# --- ImageJ ROIs


def labels_of_rois(path: Path, below: np.ndarray | None) -> np.ndarray:
    """Grains int32 (H, W) of an ImageJ ROI set: areas; smaller ones lie on larger ones.

    The size is that of the micrograph `below`, else that which the outlines reach. Raises
    ToolkitError for a set without an area.
    """
    outlines = []
    for name, content in zip_contents(path):
        if not name.lower().endswith(".roi"):
            continue
        try:
            roi = ImagejRoi.frombytes(content)
            if roi.roitype in (ROI_TYPE.LINE, ROI_TYPE.POINT, ROI_TYPE.ANGLE):
                continue
            outlines.append(roi.coordinates(multi=True))
        except Exception as error:  # damaged ROIs fail in a dozen ways
            reason = f"{path}: {name} cannot be read as an ROI."
            raise ToolkitError(reason, "Save the set again.") from error
    if not outlines:
        raise ToolkitError(
            f"{path} holds no ROI with an area.",
            "Save areas by ImageJ's ROI manager.",
        )

    shape = below.shape if below is not None else reach_of(outlines)
    areas = [
        sum(cv2.contourArea(np.float32(part)) for part in parts)
        for parts in outlines
    ]
    labels = np.zeros(shape, np.int32)
    for number, k in enumerate(np.argsort(areas)[::-1], 1):
        labels[inside_of(outlines[k], shape)] = number
    return boundaries.renumber(labels, present_numbers(labels))


def reach_of(outlines: list[list[np.ndarray]]) -> tuple[int, int]:
    """Rows and columns that hold all outlines."""
    points = np.concatenate([part for parts in outlines for part in parts])
    columns, rows = np.ceil(points.max(axis=0)).astype(int)
    return int(rows), int(columns)


def inside_of(parts: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Pixels bool (H, W) whose middle lies within an outline; its further parts are holes."""
    inside = np.zeros(shape, bool)
    for part in parts:
        # The middle of the first pixel is at 0.5 in ImageJ.
        columns, rows = np.float64(part).T - 0.5
        inside[polygon(rows, columns, shape)] ^= True
    return inside


def present_numbers(labels: np.ndarray) -> np.ndarray:
    """New numbers, in a row from 1, of the labels that have pixels; 0 stays."""
    present = np.zeros(int(labels.max()) + 1, np.int32)
    present[np.unique(labels)] = 1
    present[0] = 0
    return np.cumsum(present, dtype=np.int32) * present

"""Read micrographs: one grey plane, its scale, and where the specimen is."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import SUFFIXES, decode_picture, read_bytes
from hvd.toolkit.tasks.grains.grey import brightness, grey_plane
from hvd.toolkit.tasks.grains.options import (
    DrawnOptions,
    InputOptions,
    MeasureOptions,
)
from hvd.toolkit.tasks.grains.scale import (
    FileTags,
    Scale,
    contradiction,
    file_tags,
    no_row,
    scale_in_table,
)
from hvd.toolkit.tasks.grains.scalebar import ScaleBar, scale_bar
from hvd.toolkit.tasks.grains.surroundings import Surroundings, surroundings
from hvd.toolkit.tasks.grains.types import Micrograph


def read(path: Path, options: InputOptions | DrawnOptions) -> Micrograph:
    """The micrograph in an image file, without its data bar and surroundings, and its scale.

    The scale comes from the options, else from the file's tags. With `DrawnOptions` the file is a
    drawing of its grains.
    """
    if isinstance(options, DrawnOptions):
        from hvd.toolkit.tasks.grains.drawn import read_drawn

        return read_drawn(path, options)

    data = read_bytes(path)
    values, opaque = decode_picture(data, str(path), options.max_pixels)
    tags = tags_unless_given(data, path, options)
    return micrograph_of(values, opaque, tags, path, options)


def tags_unless_given(
    data: bytes,
    path: Path,
    options: MeasureOptions,
) -> FileTags:
    """What the microscope wrote into a file.

    Raises ToolkitError for a scale that cannot be used, such as that of pixels that are not square,
    unless the user gives another one.
    """
    try:
        return file_tags(data)
    except ToolkitError:
        is_given = scale_by_options(FileTags(), path, options).source != "none"
        if is_given or getattr(options, "scale_bar_micrometres", None):
            return FileTags()
        raise


def scale_by_options(
    tags: FileTags,
    path: Path,
    options: MeasureOptions,
) -> Scale:
    """The scale that the user gives, by itself or in a table; else that of the file's tags."""
    if options.micrometres_per_pixel:
        return Scale(options.micrometres_per_pixel, "given")
    if options.scales is not None:
        return scale_in_table(options.scales, path) or tags.scale
    return tags.scale


def read_plane(path: Path, max_pixels: int) -> np.ndarray:
    """The grey plane uint8 or uint16 (H, W) of an image file, all of it."""
    values, _ = decode_picture(read_bytes(path), str(path), max_pixels)
    return grey_plane(values, str(path))[0]


def from_array(array: np.ndarray, options: InputOptions) -> Micrograph:
    """The micrograph in an array: grey (H, W), RGB (H, W, 3), or RGB with opacity (H, W, 4)."""
    array = np.asarray(array)
    opaque = None
    if array.ndim == 3 and array.shape[2] == 4:
        opaque = array[..., 3] > 0
        array = array[..., :3]
    return micrograph_of(array, opaque, FileTags(), Path("micrograph"), options)


def micrograph_of(
    values: np.ndarray,
    opaque: np.ndarray | None,
    tags: FileTags,
    path: Path,
    options: InputOptions,
) -> Micrograph:
    """The micrograph that an image shows.

    Parameters
    ----------
    values : (H, W) or (H, W, 3), of any type.
    opaque : bool (H, W), False where the image is transparent; None where it is nowhere.
    tags : what the microscope wrote into the file.
    path : of the file, for messages and for the table of scales.
    options : what the user says of it.
    """
    plane, finite, notes = grey_plane(values, str(path))
    mask = mask_of(options.mask, path, plane.shape, options.max_pixels)

    # Rows that the user or the file says are no picture; else those that look so.
    rows = options.exclude_bottom
    if rows is None:
        rows = tags.bar_rows
    kept = kept_rows(plane, rows, path)
    around = Surroundings()
    if mask is None:
        has_bar = None if options.exclude_bottom is None else False
        around = surroundings(brightness(values, plane)[kept], has_bar)
        notes = [*notes, *around.notes]
    bar_rows = rows + around.bar_rows
    kept = kept_rows(plane, bar_rows, path)

    scale, bar = scale_of(values, tags, path, options, bar_rows)
    notes += contradiction(scale, tags.scale)
    notes += no_row(scale, options.scales)

    # Everything that is no specimen.
    outside = np.zeros(plane[kept].shape, bool)
    if around.outside is not None:
        outside |= around.outside
    if bar:
        outside[bar.box] = True
        rows, columns = (part.stop - part.start for part in bar.box)
        notes.append(
            f"The scale bar and what is written near it, {columns} x {rows} pixels, were left out."
        )
    for inside in (opaque, finite, mask):
        if inside is not None:
            outside |= ~inside[kept]

    image = plane[kept]
    if outside.any() and not outside.all():
        image = filled(image, outside)
    return Micrograph(
        image=image,
        scale=scale,
        name=path.stem,
        inside=~outside if outside.any() else None,
        size=options.size,
        smallest=smallest_in_pixels(options, scale),
        merge_twins=options.twins == "ignore",
        three_dimensional=options.three_dimensional,
        notes=tuple(notes),
    )


def kept_rows(
    plane: np.ndarray,
    excluded: int,
    path: Path,
) -> slice:
    """The rows above those that are excluded; raises ToolkitError when none is left."""
    rows = len(plane) - excluded
    if rows <= 0:
        reason = f"{path.stem} has {len(plane)} rows: --exclude-bottom {excluded} leaves none."
        raise ToolkitError(reason, "Give fewer rows.")
    return slice(0, rows)


def scale_of(
    values: np.ndarray,
    tags: FileTags,
    path: Path,
    options: InputOptions,
    bar_rows: int,
) -> tuple[Scale, ScaleBar | None]:
    """The scale by the options, else by the file's tags; and the scale bar if that tells it."""
    if not options.scale_bar_micrometres:
        return scale_by_options(tags, path, options), None

    # The bar usually stands in the data bar, else in the picture.
    above = len(values) - bar_rows
    try:
        if not bar_rows:
            above = 0
        bar = scale_bar(values[above:])
    except ToolkitError:
        if not above:
            raise
        above = 0
        bar = scale_bar(values)

    place = f"row {above + bar.row}, column {bar.column}"
    source = f"scale bar of {bar.length} pixels at {place}"
    scale = Scale(options.scale_bar_micrometres / bar.length, source)
    return scale, bar if not above else None


def smallest_in_pixels(options: MeasureOptions, scale: Scale) -> float:
    """The least diameter of a grain in pixels; 0 when all count."""
    if options.smallest is None:
        return 0.0
    length, unit = options.smallest
    if unit == "px":
        return length
    if not scale.micrometres_per_pixel:
        reason = "--smallest is in micrometres, but the scale is not known."
        raise ToolkitError(
            reason, "Give a scale, or --smallest in pixels, as 5px."
        )
    return length / scale.micrometres_per_pixel


def filled(image: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """An image (H, W) whose pixels outside have the value of the nearest one inside."""
    _, nearest = cv2.distanceTransformWithLabels(
        outside.astype(np.uint8),
        cv2.DIST_L2,
        5,
        labelType=cv2.DIST_LABEL_PIXEL,
    )
    values = np.zeros(int(nearest.max()) + 1, image.dtype)
    values[nearest[~outside]] = image[~outside]
    return values[nearest]


# --- masks


def mask_of(
    mask: Any,
    path: Path,
    shape: tuple[int, int],
    max_pixels: int,
) -> np.ndarray | None:
    """What the user says is measured, bool (H, W); None without a mask.

    Raises ToolkitError for a mask of another size, or with other values than 0 and one more.
    """
    if mask is None:
        return None
    opaque = None
    if isinstance(mask, np.ndarray):
        values = mask
        name = "the mask"
    else:
        file = mask_file(Path(mask), path)
        name = str(file)
        values, opaque = decode_picture(read_bytes(file), name, max_pixels)

    if values.ndim == 3:
        values = values.max(axis=2)
    if values.shape != shape:
        reason = (
            f"{name} is {values.shape[1]} x {values.shape[0]} pixels, "
            f"the micrograph {shape[1]} x {shape[0]}."
        )
        raise ToolkitError(reason, "Draw the mask at the micrograph's size.")
    tones = np.unique(values)
    if len(tones) > 2 or (len(tones) == 2 and tones[0] != 0):
        reason = f"{name} has other values than 0 and one more."
        remedy = "Save what is measured as 255 and all else as 0, without JPEG."
        raise ToolkitError(reason, remedy)
    # Some programs draw masks as transparency.
    return values > 0 if opaque is None else (values > 0) & opaque


def mask_file(mask: Path, path: Path) -> Path:
    """The file with the mask of a micrograph: the mask itself, or the one of that name in it."""
    if not mask.is_dir():
        return mask
    candidates = [
        file
        for file in sorted(mask.iterdir())
        if file.stem == path.stem and file.suffix.lower() in SUFFIXES
    ]
    if len(candidates) != 1:
        number = "no mask" if not candidates else "several masks"
        raise ToolkitError(
            f"{mask} holds {number} for {path.name}.",
            f"Put one there, such as {path.stem}.png.",
        )
    return candidates[0]

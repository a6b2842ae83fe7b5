"""Micrographs: generated polycrystals with exact boundaries, and folders with drawn boundaries."""

from collections.abc import Iterator
from dataclasses import replace
from glob import escape
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from hvd.data.polycrystals import photograph, polycrystal
from hvd.toolkit.core import Sample, ToolkitError, data_errors
from hvd.toolkit.images import (
    SUFFIXES,
    decode_picture,
    is_image_name,
    read_bytes,
)
from hvd.toolkit.options import MAX_PIXELS
from hvd.toolkit.tasks.grains.boundaries import pen_strokes
from hvd.toolkit.tasks.grains.drawn import boundary_drawing, label_image
from hvd.toolkit.tasks.grains.options import Conditions
from hvd.toolkit.tasks.grains.reading import read_plane
from hvd.toolkit.tasks.grains.types import (
    LEAST_TOLERANCE,
    Boundaries,
    Micrograph,
    drawing,
)

SIDE = 384  # pixels along a side of a built-in micrograph


def polycrystal_samples(
    count: int,
    seed: int,
    side: int = SIDE,
    tolerance: float | None = None,
) -> Iterator[Sample]:
    """Yield samples of generated polycrystals (side, side); sample k depends on (seed, k) alone."""
    for k in range(count):
        rng = np.random.default_rng([seed, k])
        image, labels, pen_width = polycrystal((side, side), rng)
        # Milder light and lens than in training, as in a usual micrograph.
        image = np.rint(photograph(image, rng, 0.6) * 255).astype(np.uint8)

        # Lines within half the width of the drawn boundary agree with it.
        distance = tolerance
        if distance is None:
            distance = max(LEAST_TOLERANCE, pen_width / 2)
        target = Boundaries(pen_strokes(labels, pen_width), labels, distance)
        yield Sample(f"{seed}-{k}", Micrograph(image), target)


def folder_samples(
    folder: Path,
    tolerance: float | None = None,
    max_pixels: int = MAX_PIXELS,
    first: int = 0,
) -> Iterator[Sample]:
    """Yield samples from `images/NAME.*`, in the order of their names, with their ground truth.

    That is drawn boundaries, 255 on 0, in `boundaries/NAME.*`, or a label image in
    `labels/NAME.*`. The number `first` comes first, and those before it last. Raises ToolkitError
    with status 5 for an incomplete folder, and for a ground truth that is neither.
    """
    truths = [
        folder / part
        for part in ("boundaries", "labels")
        if (folder / part).is_dir()
    ]
    if not (folder / "images").is_dir() or not truths:
        missing = "images" if truths else "boundaries"
        remedy = (
            "Give a folder with images/NAME.* and boundaries/NAME.* or "
            "labels/NAME.*, or builtin."
        )
        raise ToolkitError(
            f"There is no folder {folder / missing}.", remedy, status=5
        )

    # Hidden files and tables beside the images are passed over.
    paths = []
    for path in sorted((folder / "images").iterdir()):
        if path.is_file() and is_image_name(path.name, str(path)):
            paths.append(path)
    if not paths:
        reason = f"{folder / 'images'} holds no image."
        raise ToolkitError(reason, "Put micrographs there.", status=5)

    first %= len(paths)
    for path in paths[first:] + paths[:first]:
        truth = truth_file(truths, path)
        image = read_plane(path, max_pixels)
        with data_errors():
            target = read_truth(truth, tolerance, max_pixels)
        if image.shape != target.labels.shape:
            reason = f"{path} and {truth} differ in size."
            raise ToolkitError(
                reason, "Draw the boundaries at the image's size.", status=5
            )
        yield Sample(path.stem, Micrograph(image, name=path.stem), target)


def truth_file(folders: list[Path], path: Path) -> Path:
    """The ground truth of an image: the file of its name in the folders."""
    candidates = []
    for folder in folders:
        for file in sorted(folder.glob(f"{escape(path.stem)}.*")):
            if file.suffix.lower() in SUFFIXES and file.stem == path.stem:
                candidates.append(file)
    if len(candidates) == 1:
        return candidates[0]

    wanted = folders[0] / f"{path.stem}.png"
    if candidates:
        names = " and ".join(map(str, candidates))
        reason = f"{path} has two ground truths: {names}."
        raise ToolkitError(reason, "Take one of them out.", status=5)
    raise ToolkitError(
        f"There is no {wanted} for {path}.",
        "Draw its boundaries, or take the image out.",
        status=5,
    )


def read_truth(
    path: Path,
    tolerance: float | None,
    max_pixels: int,
) -> Boundaries:
    """The ground truth in a file: drawn boundaries, or a label image.

    Raises ToolkitError for a picture that is neither.
    """
    values, _ = decode_picture(read_bytes(path), str(path), max_pixels)
    mask = boundary_drawing(values, str(path))
    if mask is not None:
        return drawing(mask, tolerance)
    labels = label_image(values, str(path))
    strokes = pen_strokes(labels, LEAST_TOLERANCE)
    return Boundaries(strokes, labels, tolerance or LEAST_TOLERANCE)


def change_image(
    image: np.ndarray,
    conditions: Conditions,
    rng: np.random.Generator,
) -> np.ndarray:
    """Show an image uint8 or uint16 (H, W) under the light, lens and noise of the conditions."""
    top = np.iinfo(image.dtype).max
    # The order is that of a microscope: specimen, light, lens, then the
    # camera's noise.
    grey = image.astype(np.float32) / top
    grey = np.clip(
        grey.mean() + (grey - grey.mean()) * conditions.contrast, 0, 1
    )
    grey = np.clip(grey * conditions.brightness, 0, 1) ** conditions.gamma

    left = 1 - conditions.gradient
    right = 1 + conditions.gradient
    light = np.linspace(left, right, image.shape[1], dtype=np.float32)
    grey = np.clip(grey * light, 0, 1)

    if conditions.blur:
        grey = cv2.GaussianBlur(grey, (0, 0), conditions.blur)
    if conditions.noise:
        grey = grey + conditions.noise / 255 * rng.standard_normal(
            image.shape, np.float32
        )

    return np.rint(np.clip(grey, 0, 1) * top).astype(image.dtype)


def samples(
    data: str,
    conditions: Conditions,
    count: int,
    seed: int,
) -> Iterator[Sample]:
    """At most `count` samples: generated for "builtin", else of a folder in the order of names.

    The noise of sample k depends on (seed, k) alone. A single sample of a folder is the one of
    number `seed`, round and round.
    """
    if data == "builtin":
        originals = polycrystal_samples(
            count, seed, tolerance=conditions.tolerance
        )
    else:
        files = folder_samples(
            Path(data),
            conditions.tolerance,
            conditions.max_pixels,
            first=seed if count == 1 else 0,
        )
        originals = islice(files, count)

    for k, sample in enumerate(originals):
        rng = np.random.default_rng([seed, k])
        image = change_image(sample.inputs.image, conditions, rng)
        yield replace(sample, inputs=replace(sample.inputs, image=image))

"""Scans with missing lines: data sets of generated heads, stacks of complete scans, and the corruption that samples are made by."""

import multiprocessing
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from hvd.data.heads import generated
from hvd.toolkit.core import Sample, ToolkitError
from hvd.toolkit.images import write_png
from hvd.toolkit.options import MAX_PIXELS
from hvd.toolkit.outputs import whole_folder
from hvd.toolkit.processes import start_worker
from hvd.toolkit.tasks.lines.drawing import SHOWN, contact_sheet
from hvd.toolkit.tasks.lines.files import grey_range, mask_from_option
from hvd.toolkit.tasks.lines.formats import read_image_folder, read_npy
from hvd.toolkit.tasks.lines.masks import TASK_MASK, recognise_mask
from hvd.toolkit.tasks.lines.options import Conditions
from hvd.toolkit.tasks.lines.types import Scans, Truth

VALIDATION = 100  # heads beside those for training


def prepare_heads(out: Path, count: int, seed: int, workers: int) -> Iterator[int]:
    """A folder for training: `train.npy` and `val.npy` of heads uint8 (n, 64, 64), `missing.npy`, and a picture of ten, complete
    and damaged. Yields as heads are made, and writes once all are. ToolkitError with status 4 when `out` holds anything."""
    names = ("train.npy", "val.npy", "missing.npy", "contact-sheet.png")
    with (
        whole_folder(out, {}) as unfinished,
        multiprocessing.get_context("spawn").Pool(workers, start_worker) as pool,
    ):
        heads = []
        for image in pool.imap(partial(generated, seed), range(count + VALIDATION), chunksize=50):
            heads.append(image)
            if len(heads) <= count:
                yield len(heads)

        stack = np.stack(heads)
        for name, array in zip(
            names, (stack[:count], stack[count:], TASK_MASK.astype(np.uint8)), strict=False
        ):
            np.save(unfinished / name, array)

        shown = stack[:SHOWN].astype(np.float32) / 255
        damaged = np.where(TASK_MASK, 0, shown)
        write_png(unfinished / names[-1], contact_sheet({"complete": shown, "damaged": damaged}))


def complete(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The scans of an .npy file, a folder of images, or one with val.npy, as they are stored, (N, H, W)."""
    if not path.exists():
        raise ToolkitError(
            f"There is no {path}.",
            "Give an .npy file or a folder of complete scans, or builtin.",
            status=5,
        )

    path = path / "val.npy" if (path / "val.npy").is_file() else path  # of `toolkit prepare lines`
    stack = (read_image_folder(path, max_pixels) if path.is_dir() else read_npy(path)).values
    if stack.ndim != 3 or stack.dtype.kind not in "uif" or len(stack) == 0:
        raise ToolkitError(
            f"{path} holds {stack.dtype} {stack.shape}.",
            "Give (N, H, W) of uint8, uint16 or float.",
            status=5,
        )

    if np.isinf(stack).any():
        raise ToolkitError(f"{path} holds infinite values.", "Replace them by NaN.", status=5)
    return stack


def samples(data: str, conditions: Conditions, count: int, seed: int) -> Iterator[Sample]:
    """At most `count` scans, in random order, with lines hidden: of a file, or generated when `data` is "builtin".

    Of a stack that has missing lines already, as NaN or as zeros that `masks.recognised` tells, further lines are hidden, and
    only these have a truth. Values are scaled as `predict` scales them, by the whole stack.
    """
    if data == "builtin":
        images = np.stack([generated(seed, k) for k in range(count)]) / np.float32(255)
        unknown = None
    else:
        stack = complete(Path(data), conditions.max_pixels)
        lost = missing_already(stack)
        if lost.all():
            raise ToolkitError(f"{data} holds no measured pixel.", "Give complete scans.", status=5)
        low, span = grey_range(stack[~lost])
        chosen = np.random.default_rng(seed).permutation(len(stack))[:count]
        images = ((stack[chosen].astype(np.float64) - low) / span).astype(np.float32)
        unknown = lost[chosen]

    for k, image in enumerate(images):
        rng = np.random.default_rng([seed, k])
        mask = mask_from_option(conditions.mask, image.shape, rng, conditions.max_pixels)
        lost = np.zeros(image.shape, bool) if unknown is None else unknown[k]
        image = np.where(lost, 0, image)[None]
        hidden = mask & ~lost
        if not hidden.any():
            raise ToolkitError(
                f"The mask {conditions.mask} hides no measured pixel.",
                "Give another --mask: 1/8@90, say.",
                2,
            )

        inputs = Scans(np.where(mask, 0, image).astype(np.float32), (mask | lost)[None])
        yield Sample(
            f"{seed}-{k}" if unknown is None else str(chosen[k]),
            inputs,
            Truth(image, hidden[None], lost[None]),
        )


def missing_already(stack: np.ndarray) -> np.ndarray:
    """Which pixels of a stack (N, H, W) that should be complete were never measured."""
    if np.isnan(stack).any():
        return np.isnan(stack)
    try:
        low, span = grey_range(stack)
        found = recognise_mask(
            np.where(stack == 0, 0, np.maximum((stack - low) / span, 1e-6)).astype(np.float32)
        )
    except ToolkitError:  # zeros here and there, on no lines
        return np.zeros(stack.shape, bool)

    return np.broadcast_to(found.missing, stack.shape)

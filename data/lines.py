"""Make scans with missing lines from generated heads, or from stacks of complete scans."""

import multiprocessing
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from hvd.data.heads import sample_head
from hvd.toolkit.core import Sample, ToolkitError
from hvd.toolkit.images import write_png
from hvd.toolkit.options import MAX_PIXELS
from hvd.toolkit.outputs import whole_folder
from hvd.toolkit.processes import start_worker
from hvd.toolkit.tasks.lines.drawing import SHOWN, contact_sheet
from hvd.toolkit.tasks.lines.files import grey_range, mask_from_option
from hvd.toolkit.tasks.lines.formats import read_image_folder, read_npy
from hvd.toolkit.tasks.lines.masks import TASK_MASK
from hvd.toolkit.tasks.lines.options import Conditions
from hvd.toolkit.tasks.lines.recognition import recognise_mask
from hvd.toolkit.tasks.lines.types import Scans, Truth

VALIDATION = 100  # heads for validation, besides those for training


def prepare_heads(
    out: Path,
    count: int,
    seed: int,
    workers: int,
) -> Iterator[int]:
    """Write a folder of generated heads to train on.

    It holds `train.npy` and `val.npy` uint8 (n, 64, 64), `missing.npy`, and a picture of ten heads,
    complete and damaged. Yields the number of heads made so far; the folder appears once all are.
    Raises ToolkitError with status 4 when `out` holds anything.
    """
    total = count + VALIDATION
    context = multiprocessing.get_context("spawn")
    with (
        whole_folder(out, {}) as unfinished,
        context.Pool(workers, start_worker) as pool,
    ):
        heads = []
        # Each head depends on (seed, number) alone, whatever the workers do.
        for image in pool.imap(
            partial(sample_head, seed), range(total), chunksize=50
        ):
            heads.append(image)
            if len(heads) <= count:
                yield len(heads)

        stack = np.stack(heads)
        np.save(unfinished / "train.npy", stack[:count])
        np.save(unfinished / "val.npy", stack[count:])
        np.save(unfinished / "missing.npy", TASK_MASK.astype(np.uint8))

        # Look at the sheet before training for hours.
        shown = stack[:SHOWN].astype(np.float32) / 255
        damaged = np.where(TASK_MASK, 0, shown)
        sheet = contact_sheet({"complete": shown, "damaged": damaged})
        write_png(unfinished / "contact-sheet.png", sheet)


def read_complete_scans(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The scans (N, H, W), as they are stored, of an .npy file, a folder of images or with val.npy.

    Raises ToolkitError with status 5 when they cannot be read.
    """
    if not path.exists():
        remedy = "Give an .npy file or a folder of complete scans, or builtin."
        raise ToolkitError(f"There is no {path}.", remedy, status=5)

    # a folder that `toolkit prepare lines` wrote
    if (path / "val.npy").is_file():
        path = path / "val.npy"
    content = (
        read_image_folder(path, max_pixels) if path.is_dir() else read_npy(path)
    )
    stack = content.values

    if stack.ndim != 3 or stack.dtype.kind not in "uif" or len(stack) == 0:
        reason = f"{path} holds {stack.dtype} {stack.shape}."
        raise ToolkitError(
            reason, "Give (N, H, W) of uint8, uint16 or float.", status=5
        )
    if np.isinf(stack).any():
        raise ToolkitError(
            f"{path} holds infinite values.", "Replace them by NaN.", status=5
        )
    return stack


def samples(
    data: str,
    conditions: Conditions,
    count: int,
    seed: int,
) -> Iterator[Sample]:
    """At most `count` scans with lines hidden: generated for "builtin", else of a file.

    Scans of a file come in random order, scaled by the entire stack as `predict` scales them. Where
    a stack has missing lines already, further lines are hidden, and only these are scored.
    """
    if data == "builtin":
        images = np.stack(
            [sample_head(seed, k) for k in range(count)]
        ) / np.float32(255)
        unknown = np.zeros(images.shape, bool)
        names = [f"{seed}-{k}" for k in range(count)]
    else:
        stack = read_complete_scans(Path(data), conditions.max_pixels)
        is_missing = missing_pixels(stack)
        if is_missing.all():
            raise ToolkitError(
                f"{data} holds no measured pixel.",
                "Give complete scans.",
                status=5,
            )
        # Scale by the entire file, not by each scan, as `predict` does.
        low, span = grey_range(stack[~is_missing])
        chosen = np.random.default_rng(seed).permutation(len(stack))[:count]
        images = ((stack[chosen].astype(np.float64) - low) / span).astype(
            np.float32
        )
        unknown = is_missing[chosen]
        names = [str(k) for k in chosen]

    for k, image in enumerate(images):
        rng = np.random.default_rng([seed, k])
        mask = mask_from_option(
            conditions.mask, image.shape, rng, conditions.max_pixels
        )
        # Pixels that the file itself lacks have no truth to be scored against.
        hidden = mask & ~unknown[k]
        if not hidden.any():
            reason = f"The mask {conditions.mask} hides no measured pixel."
            raise ToolkitError(
                reason, "Give another --mask, such as 1/8@90 or 1/8@90+2.", 2
            )

        true = np.where(unknown[k], 0, image)[None]
        shown = np.where(mask, 0, true).astype(np.float32)
        inputs = Scans(shown, (mask | unknown[k])[None])
        yield Sample(
            names[k], inputs, Truth(true, hidden[None], unknown[k][None])
        )


def missing_pixels(stack: np.ndarray) -> np.ndarray:
    """Which pixels of a stack (N, H, W) that should be complete were never measured."""
    try:
        finding = recognise_mask(stack)
    except ToolkitError:  # zeros here and there, but not on lines
        return np.isnan(stack)
    return finding.missing | np.isnan(stack)

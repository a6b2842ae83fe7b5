"""Draw heaps and the photographs that methods put together."""

import numpy as np
from sklearn.metrics.cluster import contingency_matrix

from hvd.toolkit import pictures
from hvd.toolkit.core import Sample
from hvd.toolkit.tasks.fragments.metrics import ari, perfect_images
from hvd.toolkit.tasks.fragments.types import Arrangement, Heap

MOST_PIXELS = 100_000_000  # of a picture of all fragments


def photograph(heap: Heap, arrangement: Arrangement, group: int) -> np.ndarray:
    """One group put together, uint8 (rows * s, columns * s, 3); empty places are white."""
    size = heap.fragments.shape[1]
    members = np.flatnonzero(arrangement.group == group)
    rows = arrangement.row[members].max() + 1
    columns = arrangement.column[members].max() + 1
    canvas = np.full((rows, size, columns, size, 3), 255, np.uint8)

    for i in members:
        upright = np.rot90(heap.fragments[i], -arrangement.turn[i])
        canvas[arrangement.row[i], :, arrangement.column[i]] = upright

    return canvas.reshape(rows * size, columns * size, 3)


def draw(sample: Sample, predictions: dict[str, Arrangement]) -> np.ndarray:
    """The heap, every method's photographs, and the truth: RGB uint8 (H, W, 3).

    A fragment that does not belong to the photograph of its group has a red frame.
    """
    heap = sample.inputs
    target = sample.target
    panels = [("heap", mosaic(heap.fragments))]

    for name, prediction in [*predictions.items(), ("truth", target)]:
        title = name
        if prediction is not target:
            perfect = perfect_images(target, prediction) * (
                target.group.max() + 1
            )
            score = f"ARI {ari(target, prediction):.3f}, {perfect:.0f} without a fault"
            title = f"{name}   {score}"

        # Groups stand in the order of the photographs that most of their fragments are from.
        marked = with_red_frames(
            heap.fragments, strangers(target.group, prediction.group)
        )
        true_group = contingency_matrix(target.group, prediction.group).argmax(
            0
        )
        images = []
        for group in np.argsort(true_group, kind="stable"):
            images.append(
                photograph(Heap(marked, heap.turned), prediction, group)
            )
        panels.append((title, pictures.gallery(images)))

    caption = "red frame: the fragment comes from another photograph than most of its group"
    return pictures.panels(panels, caption)


def strangers(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """True (n,) where a fragment comes from another photograph than most of its group."""
    return (
        contingency_matrix(target, prediction).argmax(0)[prediction] != target
    )


def mosaic(fragments: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Fragments (n, s, s, 3) in reading order with gaps between them.

    Without `columns`, the mosaic is about twice as wide as high.
    """
    count, size = fragments.shape[:2]
    columns = columns or int(np.ceil((2 * count) ** 0.5))
    rows = -(-count // columns)
    gap = max(1, size // 8)
    canvas = np.full(
        (rows * columns, size + gap, size + gap, 3), pictures.PAPER, np.uint8
    )
    canvas[:count, :size, :size] = fragments
    canvas = canvas.reshape(rows, columns, size + gap, size + gap, 3).swapaxes(
        1, 2
    )

    return canvas.reshape(rows * (size + gap), columns * (size + gap), 3)[
        :-gap, :-gap
    ]


def rows_by_group(fragments: np.ndarray, group: np.ndarray) -> np.ndarray:
    """A row of fragments for each group, in the order of the groups.

    Fragments are thinned out where the picture would have more than MOST_PIXELS.
    """
    widest = int(np.bincount(group).max())
    rows = int(group.max()) + 1
    # Large heaps are shown at a lower resolution, so that the picture can be
    # opened.
    every = int(
        np.ceil(fragments.shape[1] * np.sqrt(rows * widest / MOST_PIXELS))
    )
    fragments = fragments[:, ::every, ::every]

    size = fragments.shape[1]
    cells = []
    for k in range(rows):
        # Rows of unequal length are filled with paper.
        members = fragments[group == k]
        empty = np.full(
            (widest - len(members), size, size, 3), pictures.PAPER, np.uint8
        )
        cells += [members, empty]

    return mosaic(np.concatenate(cells), widest)


def with_red_frames(fragments: np.ndarray, framed: np.ndarray) -> np.ndarray:
    """A copy of the fragments in which those that are True in `framed` (n,) have a red frame."""
    width = max(1, fragments.shape[1] // 10)
    copy = fragments.copy()
    for edge in (
        np.s_[:, :width],
        np.s_[:, -width:],
        np.s_[:, :, :width],
        np.s_[:, :, -width:],
    ):
        part = copy[edge]  # a view
        part[framed] = pictures.RED
    return copy

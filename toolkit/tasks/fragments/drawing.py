"""Pictures of heaps and of the photographs that methods put together."""

import numpy as np
from sklearn.metrics.cluster import contingency_matrix

from hvd.toolkit import pictures
from hvd.toolkit.core import Sample
from hvd.toolkit.tasks.fragments.metrics import ari, perfect_images
from hvd.toolkit.tasks.fragments.types import Arrangement, Heap

MOST_PIXELS = 100_000_000  # of a picture of all fragments


def photograph(heap: Heap, arrangement: Arrangement, group: int) -> np.ndarray:
    """One group laid out, uint8 (rows * s, columns * s, 3); places without a fragment are white."""
    size = heap.fragments.shape[1]
    members = np.flatnonzero(arrangement.group == group)
    rows = arrangement.row[members].max() + 1
    columns = arrangement.column[members].max() + 1
    canvas = np.full((rows, size, columns, size, 3), 255, np.uint8)

    for i in members:
        canvas[arrangement.row[i], :, arrangement.column[i]] = np.rot90(
            heap.fragments[i], -arrangement.turn[i]
        )

    return canvas.reshape(rows * size, columns * size, 3)


def draw(sample: Sample, predictions: dict[str, Arrangement]) -> np.ndarray:
    """The heap, every method's photographs with strange fragments framed in red, and the truth: uint8 (H, W, 3)."""
    heap = sample.inputs
    target = sample.target
    panels = [("heap", mosaic(heap.fragments))]
    for name, prediction in [*predictions.items(), ("truth", target)]:
        marked = framed(heap.fragments, strangers(target.group, prediction.group))
        shown = Heap(marked, heap.turned)
        stands_for = contingency_matrix(target.group, prediction.group).argmax(0)
        images = [
            photograph(shown, prediction, group) for group in np.argsort(stands_for, kind="stable")
        ]
        perfect = perfect_images(target, prediction) * (target.group.max() + 1)
        score = f"   ARI {ari(target, prediction):.3f}, {perfect:.0f} without a fault"
        score = "" if prediction is target else score
        panels.append((name + score, pictures.gallery(images)))

    return pictures.panels(
        panels, "red frame: the fragment comes from another photograph than most of its group"
    )


def strangers(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """True (n,) where a fragment comes from another photograph than most of its group."""
    return contingency_matrix(target, prediction).argmax(0)[prediction] != target


def mosaic(fragments: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Fragments (n, s, s, 3) in reading order with paper between them; twice as wide as high unless `columns` says."""
    count, size = fragments.shape[:2]
    columns = columns or int(np.ceil((2 * count) ** 0.5))
    rows = -(-count // columns)
    gap = max(1, size // 8)
    canvas = np.full((rows * columns, size + gap, size + gap, 3), pictures.PAPER, np.uint8)
    canvas[:count, :size, :size] = fragments
    canvas = canvas.reshape(rows, columns, size + gap, size + gap, 3).swapaxes(1, 2)

    return canvas.reshape(rows * (size + gap), columns * (size + gap), 3)[:-gap, :-gap]


def sorted_fragments(fragments: np.ndarray, group: np.ndarray) -> np.ndarray:
    """A row of fragments for each group, in the order of the groups; smaller than they are where that would be a huge picture."""
    widest = int(np.bincount(group).max())
    rows = int(group.max()) + 1
    every = int(np.ceil(fragments.shape[1] * np.sqrt(rows * widest / MOST_PIXELS)))
    fragments = fragments[:, ::every, ::every]
    size = fragments.shape[1]
    filled = []

    for k in range(rows):
        members = fragments[group == k]
        filled += [
            members,
            np.full((widest - len(members), size, size, 3), pictures.PAPER, np.uint8),
        ]

    return mosaic(np.concatenate(filled), widest)


def framed(fragments: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """A copy in which the marked fragments (n,) have a red frame."""
    width = max(1, fragments.shape[1] // 10)
    copy = fragments.copy()
    for edge in (np.s_[:, :width], np.s_[:, -width:], np.s_[:, :, :width], np.s_[:, :, -width:]):
        part = copy[edge]
        part[marked] = pictures.RED
    return copy

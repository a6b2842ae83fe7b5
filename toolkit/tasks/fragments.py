"""`fragments`: which fragments were cut from the same photograph, and how do they fit together?

Conventions: fragments are uint8 (n, s, s, 3), RGB. Sides are numbered clockwise from 0 = top. `turn` counts the
counter-clockwise quarter turns that a fragment was given after it was cut, so `np.rot90(fragment, -turn)` sets it upright.
Groups, rows, columns and turns are int32 from 0. A heap is told turned when its fragments may have been turned; photographs of
such a heap are scored up to a turn of the whole, as nothing in it says which way is up.
"""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix, pair_confusion_matrix

from toolkit import pictures
from toolkit.core import Metric, Sample, Task, ToolkitError
from toolkit.images import folder_images, read_array, write_png, zipped_images
from toolkit.outputs import cell, write_bytes

SMALLEST, LARGEST = 4, 256  # pixels across a fragment
WIDEST = 1024  # pixels across a photograph
MOST = 2000  # fragments in a heap: memory grows with their square
STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))  # (row, column) across side 0, 1, 2, 3


@dataclass(frozen=True)
class Told:
    """What is known of a heap: `known` is sizes (the number of photographs, and that each gave the same number of fragments), count
    (the number of photographs) or nothing; `rotate` says that fragments may be turned."""

    images: int = 10
    known: str = "sizes"
    rotate: bool = False

    def __post_init__(self) -> None:
        self.limit(images=(1, MOST))
        if self.known not in ("sizes", "count", "nothing"):
            raise ToolkitError(f"known is {self.known!r}.", "Give --known sizes, count or nothing.", status=2)

    def limit(self, **limits: tuple[float, float]) -> None:
        """Raise ToolkitError with status 2 for a field outside its limits."""
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ToolkitError(f"{name} is {value}.", f"Give --{name} from {low} to {high}.", status=2)

    def heap(self, fragments: np.ndarray, names: tuple[str, ...] = ()) -> "Heap":
        """The heap as a method is shown it."""
        return Heap(fragments, self.rotate, None if self.known == "nothing" else self.images, self.known == "sizes", names)


@dataclass(frozen=True)
class Conditions(Told):
    """How heaps are made: `noise` is a standard deviation in 255ths, `worn` counts the pixels lost on every side, `missing` is the
    share of fragments left out, `augment` changes whole photographs before they are cut."""

    grid: int = 4
    fragment: int = 16
    noise: float = 0.0
    worn: int = 0
    missing: float = 0.0
    augment: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.limit(grid=(1, 64), fragment=(SMALLEST, LARGEST), noise=(0, 255), worn=(0, LARGEST), missing=(0, 0.9))
        if self.missing and self.known == "sizes":
            raise ToolkitError(
                "Photographs with missing fragments are of unequal sizes.", "Give --known count or nothing.", status=2
            )
        if self.fragment - 2 * self.worn < SMALLEST:
            raise ToolkitError(
                f"Fragments of {self.fragment} pixels, worn by {self.worn}, are narrower than {SMALLEST}.",
                "Give a larger --fragment or a smaller --worn.",
                status=2,
            )
        if self.grid * self.fragment > WIDEST:
            raise ToolkitError(
                f"{self.grid} fragments of {self.fragment} pixels are wider than {WIDEST}.",
                "Give a smaller --grid or --fragment.",
                status=2,
            )
        if not 2 <= self.images * self.grid**2 <= MOST:
            raise ToolkitError(
                f"{self.images} images of {self.grid} x {self.grid} make {self.images * self.grid**2} fragments.",
                f"Choose --images and --grid so that a heap has 2 to {MOST}.",
                status=2,
            )


@dataclass(frozen=True)
class Heap:
    """Inputs: fragments uint8 (n, s, s, 3), kept as a read-only view; whether they may be turned; the number of photographs, None
    when unknown; whether each photograph gave the same number of fragments; and the fragments' file names, when they have some.

    Raises ToolkitError unless methods can answer the heap.
    """

    fragments: np.ndarray
    turned: bool = False
    images: int | None = None
    equal: bool = False
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        fragments = self.fragments
        if not isinstance(fragments, np.ndarray) or fragments.dtype != np.uint8:
            found = getattr(fragments, "dtype", type(fragments).__name__)
            raise ToolkitError(f"Fragments are {found}, not uint8.", "Give colours from 0 to 255 as uint8.")
        if fragments.ndim != 4 or fragments.shape[3] != 3:
            raise ToolkitError(f"Fragments have the shape {fragments.shape}.", "Give colour fragments: (n, s, s, 3).")
        if fragments.shape[1] != fragments.shape[2]:
            raise ToolkitError(f"Fragments are {fragments.shape[2]} x {fragments.shape[1]} pixels.", "Give square fragments.")
        count, size = fragments.shape[:2]
        if not 2 <= count <= MOST:
            raise ToolkitError(f"The heap has {count} fragment{'s' * (count != 1)}.", f"Give 2 to {MOST}.")
        if not SMALLEST <= size <= LARGEST:
            raise ToolkitError(f"Fragments are {size} pixels wide.", f"Give {SMALLEST} to {LARGEST}.")
        if self.images is not None and not 1 <= self.images <= count:
            raise ToolkitError(f"{self.images} photographs cannot have given {count} fragments.", "Check --images.")
        if self.equal and (self.images is None or count % self.images):
            raise ToolkitError(
                f"{count} fragments are not the same number from each of {self.images} photographs.",
                "Check --images, or give --known count (or nothing).",
            )
        view = fragments.view()
        view.flags.writeable = False
        object.__setattr__(self, "fragments", view)


@dataclass(frozen=True)
class Arrangement:
    """Target and prediction, five arrays (n,): group, row and column in its photograph, quarter turns, and confidence in [0, 1],
    the mean probability that the fragment belongs with the others of its group, 0 for a fragment alone."""

    group: np.ndarray
    row: np.ndarray
    column: np.ndarray
    turn: np.ndarray
    confidence: np.ndarray = field(repr=False)


def grid_of(heap: Heap) -> int | None:
    """Fragments along a side of each photograph, when what is known tells."""
    if not heap.equal:
        return None
    side = round((len(heap.fragments) / heap.images) ** 0.5)
    return side if side * side * heap.images == len(heap.fragments) else None


# --- metrics


def pair_precision(target: Arrangement, prediction: Arrangement) -> float:
    """Share of the pairs put together that belong together; 1 when none was put together."""
    (_, false_positive), (_, true_positive) = pair_confusion_matrix(target.group, prediction.group)
    together = true_positive + false_positive
    return float(true_positive / together) if together else 1.0


def pair_recall(target: Arrangement, prediction: Arrangement) -> float:
    """Share of the pairs that belong together that were put together; 1 when there are none."""
    _, (false_negative, true_positive) = pair_confusion_matrix(target.group, prediction.group)
    belonging = true_positive + false_negative
    return float(true_positive / belonging) if belonging else 1.0


def touching(arrangement: Arrangement) -> set[tuple[int, int, int, int]]:
    """(i, side of i, j, turn of i less that of j) for every two fragments that lie side by side."""
    place = {(g, r, c): i for i, (g, r, c) in enumerate(zip(arrangement.group, arrangement.row, arrangement.column, strict=True))}
    found = set()
    for (group, row, column), i in place.items():
        for side, (down, right) in enumerate(STEPS):
            j = place.get((group, row + down, column + right))
            if j is not None:
                turn = arrangement.turn
                found.add((i, int(side - turn[i]) % 4, j, int(turn[i] - turn[j]) % 4))
    return found


def neighbour_accuracy(target: Arrangement, prediction: Arrangement) -> float:
    """Share of the pairs that lie side by side in the photographs that were laid the same way (Gallagher, CVPR 2012)."""
    truth = touching(target)
    return len(truth & touching(prediction)) / len(truth) if truth else 1.0


def perfect_images(target: Arrangement, prediction: Arrangement) -> float:
    """Share of the photographs whose fragments were grouped and laid without a fault, up to a turn of the whole."""
    truth, found = touching(target), touching(prediction)
    perfect = 0
    for group in np.unique(target.group):
        members = np.flatnonzero(target.group == group)
        wanted = {t for t in truth if target.group[t[0]] == group}
        inside = set(members.tolist())
        laid = {t for t in found if t[0] in inside}
        together = len(np.unique(prediction.group[members])) == 1
        alone = (prediction.group == prediction.group[members[0]]).sum() == len(members)
        perfect += together and alone and wanted == laid
    return perfect / len(np.unique(target.group))


def nmi(target: Arrangement, prediction: Arrangement) -> float:
    """Normalised mutual information, arithmetic mean."""
    return min(1.0, normalized_mutual_info_score(target.group, prediction.group))  # rounding may leave a little more


METRICS = (
    Metric("ari", lambda t, p: adjusted_rand_score(t.group, p.group), "adjusted Rand index (Hubert & Arabie, 1985); 0 = chance"),
    Metric("nmi", nmi, "normalised mutual information; 1 = the same groups"),
    Metric("pair_precision", pair_precision, "of the pairs put together, the share that belongs together"),
    Metric("pair_recall", pair_recall, "of the pairs that belong together, the share put together"),
    Metric("neighbour_accuracy", neighbour_accuracy, "of the true neighbours, the share laid side by side"),
    Metric("perfect_images", perfect_images, "share of photographs put together without a fault"),
)


# --- read and write


def read(path: Path, told: Told) -> Heap:
    """The heap in a folder of images, a .zip of images, or an .npy of uint8 (n, s, s, 3), fragments in the order of their names."""
    if path.suffix.lower() == ".npy":
        return told.heap(read_array(path))
    if path.is_dir():
        for folder in (p for p in sorted(path.iterdir()) if p.is_dir() and not p.name.startswith(".")):
            raise ToolkitError(f"{folder} is a folder in a heap.", "Give each heap as one folder of images.")
        found = folder_images(path)
    elif path.suffix.lower() == ".zip":
        found = zipped_images(path)
    else:
        raise ToolkitError(f"{path} is no heap of fragments.", "Give a folder or .zip of images, or an .npy of uint8 (n, s, s, 3).")
    names, fragments = [], []
    for name, image in found:
        if fragments and image.shape != fragments[0].shape:
            raise ToolkitError(f"Fragments of {path} differ in size: {names[0]} and {name}.", "Give fragments of one size.")
        if max(image.shape) > LARGEST or len(fragments) == MOST:
            what = f"{name} is {image.shape[1]} x {image.shape[0]} pixels" if max(image.shape) > LARGEST else "there are more"
            raise ToolkitError(f"{path} is no heap: {what}.", f"Give at most {MOST} fragments, {LARGEST} pixels wide.")
        names.append(name)
        fragments.append(image)
    if not fragments:
        raise ToolkitError(f"{path} holds no image.", "Give a folder or .zip with at least 2 fragments as images.")
    return told.heap(np.stack(fragments), tuple(names))


def photograph(heap: Heap, arrangement: Arrangement, group: int) -> np.ndarray:
    """One group laid out, uint8 (rows * s, columns * s, 3); places without a fragment are white."""
    size = heap.fragments.shape[1]
    members = np.flatnonzero(arrangement.group == group)
    rows, columns = arrangement.row[members].max() + 1, arrangement.column[members].max() + 1
    canvas = np.full((rows, size, columns, size, 3), 255, np.uint8)
    for i in members:
        canvas[arrangement.row[i], :, arrangement.column[i]] = np.rot90(heap.fragments[i], -arrangement.turn[i])
    return canvas.reshape(rows * size, columns * size, 3)


def write(arrangement: Arrangement, heap: Heap, folder: Path) -> dict[str, Any]:
    """groups.csv, groups.png and photograph-NN.png in `folder`; returns what the record says of them."""
    count = int(arrangement.group.max()) + 1
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    fragments = heap.names or range(len(heap.fragments))
    rows.writerow(["fragment", "group", "row", "column", "turn", "confidence"])
    columns = (arrangement.group, arrangement.row, arrangement.column, arrangement.turn, arrangement.confidence)
    for fragment, *values, confidence in zip(fragments, *(c.tolist() for c in columns), strict=True):
        rows.writerow([cell(fragment), *values, f"{confidence:.3f}"])
    write_bytes(folder / "groups.csv", table.getvalue().encode(errors="backslashreplace"))
    write_png(folder / "groups.png", pictures.sorted_fragments(heap.fragments, arrangement.group))
    names = ["groups.csv", "groups.png"]
    for group in range(count):
        names.append(f"photograph-{group:02d}.png")
        write_png(folder / names[-1], photograph(heap, arrangement, group))
    return {
        "outputs": names,
        "told": {"images": heap.images, "equal": heap.equal, "turned": heap.turned},
        "fragments": len(heap.fragments),
        "photographs": count,
        "confidence": round(float(arrangement.confidence.mean()), 3),
    }


def draw(sample: Sample, predictions: dict[str, Arrangement]) -> np.ndarray:
    """The heap, every method's photographs with strange fragments framed in red, and the truth: uint8 (H, W, 3)."""
    heap, target = sample.inputs, sample.target
    panels = [("heap", pictures.mosaic(heap.fragments))]
    for name, prediction in [*predictions.items(), ("truth", target)]:
        framed = pictures.framed(heap.fragments, strangers(target.group, prediction.group))
        shown = Heap(framed, heap.turned)
        stands_for = contingency_matrix(target.group, prediction.group).argmax(0)
        images = [photograph(shown, prediction, group) for group in np.argsort(stands_for, kind="stable")]
        perfect = perfect_images(target, prediction) * (target.group.max() + 1)
        score = f"   ARI {adjusted_rand_score(target.group, prediction.group):.3f}, {perfect:.0f} without a fault"
        score = "" if prediction is target else score
        panels.append((name + score, pictures.gallery(images)))
    return pictures.panels(panels, "red frame: the fragment comes from another photograph than most of its group")


def strangers(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """True (n,) where a fragment comes from another photograph than most of its group."""
    return contingency_matrix(target, prediction).argmax(0)[prediction] != target


TASK = Task(
    name="fragments",
    question="which fragments were cut from the same photograph, and how do they fit together?",
    metrics=METRICS,
    told=Told,
    options=Conditions,
    read=read,
    write=write,
    draw=draw,
)

"""`objects` by network: the probability of every class, then the likeliest one at each pixel."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.network import Checkpoint, NetworkMethod, checkpoint, index
from hvd.toolkit.tasks.objects.types import (
    MOST_CLASSES,
    Labelled,
    Picture,
    are_class_names,
    choose_network,
)
from hvd.toolkit.tiles import overlapping_parts, ramp

LARGEST = 1024  # pixels along a side of the part that the network sees at once
OVERLAP = 256  # pixels over which one part blends into the next


@dataclass(frozen=True)
class Network(NetworkMethod):
    """U-Net; see `deep/training/models/objects.py`.

    Of the shipped networks, the one that knows the wanted classes answers.
    """

    task: ClassVar[str] = "objects"

    def network(self, inputs: Picture) -> Checkpoint:
        """The network that answers a picture.

        Raises ToolkitError with status 3 when the user's own does not know the wanted classes.
        """
        name = None
        if self.checkpoint is None:
            name = choose_network(inputs, shipped_classes(), "objects.onnx")
        network = checkpoint("objects", self.checkpoint, name)

        classes = classes_of(network)
        is_same = inputs.classes in (None, classes)
        if not is_same or not set(inputs.wanted or ()) <= set(classes):
            wanted = ", ".join(inputs.classes or inputs.wanted or ())
            reason = f"{network.name} knows the classes {', '.join(classes)}, not {wanted}."
            raise ToolkitError(
                reason, "Give a checkpoint that was trained on these.", status=3
            )

        return network

    def predict(self, inputs: Picture) -> Labelled:
        network = self.network(inputs)
        classes = tuple(network.card["classes"])
        return Labelled(
            likeliest_classes(network, inputs.image, len(classes)), classes
        )


def classes_of(network: Checkpoint) -> tuple[str, ...]:
    """The classes in a network's card; raises ToolkitError with status 3 when they are none."""
    names = network.card.get("classes")
    if not are_class_names(names):
        reason = f"{network.name} does not name 2 to {MOST_CLASSES} classes that differ."
        raise ToolkitError(
            reason, "Give a network of `toolkit export`.", status=3
        )
    return tuple(names)


def shipped_classes() -> dict[str, tuple[str, ...]]:
    """The classes of the shipped networks by their file names."""
    classes = {}
    for name, entry in index().items():
        if entry["task"] == "objects":
            classes[name] = tuple(entry.get("classes", ()))
    return classes


def likeliest_classes(
    network: Checkpoint, image: np.ndarray, classes: int
) -> np.ndarray:
    """The likeliest class uint8 (H, W) at each pixel of a picture, computed part by part.

    Parts go column by column; where two overlap, one blends into the next. Of a column only the
    overlap with the next one is kept, so that memory hardly grows with the picture.
    """
    mask = np.empty(image.shape[:2], np.uint8)
    rows = overlapping_parts(image.shape[0], LARGEST, OVERLAP)
    columns = overlapping_parts(image.shape[1], LARGEST, OVERLAP)
    right_margins: list[np.ndarray] = []  # of the parts in the column before

    # Parts overlap; where they do, blend from one to the other, because
    # networks are unsure at borders.
    for k, (left, right) in enumerate(columns):
        end = columns[k + 1][0] if k + 1 < len(columns) else right
        next_margins = []
        above = None

        for j, (top, bottom) in enumerate(rows):
            part = np.ascontiguousarray(image[None, top:bottom, left:right])
            shape = 1, classes, bottom - top, right - left
            (answer,) = network.run(("float32", shape), image=part)
            probability = answer[0]

            if right_margins:
                before = right_margins[j]
                blend(before, probability[:, :, : before.shape[2]], axis=2)
            next_margins.append(probability[:, :, end - left :].copy())

            # What overlaps with the next part waits for it.
            probability = probability[:, :, : end - left]
            if above is not None:
                blend(above, probability[:, : above.shape[1]], axis=1)
            stop = rows[j + 1][0] if j + 1 < len(rows) else bottom
            mask[top:stop, left:end] = probability[:, : stop - top].argmax(0)
            above = probability[:, stop - top :].copy()

        right_margins = next_margins

    return mask


def blend(before: np.ndarray, now: np.ndarray, axis: int) -> None:
    """Blend one part into the next along an axis; changes `now`, which begins with `before`."""
    share = ramp(now.shape[axis])
    share = share[:, None] if axis == 1 else share
    now[...] = before * (1 - share) + now * share

"""`objects` by network: the probability of every class, and the likeliest one at each pixel."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.network import Checkpoint, NetworkMethod, checkpoint, index
from hvd.toolkit.tasks.objects.types import Labelled, Picture, choose_network
from hvd.toolkit.tiles import overlapping_parts, ramp

LARGEST = 1024  # pixels along a side of what is shown to the network at once
MOST_CLASSES = 254  # of a mask of 8 bits, in which 255 is none of them
OVERLAP = 256  # pixels over which one part gives way to the next


@dataclass(frozen=True)
class Network(NetworkMethod):
    """U-Net; see `deep/training/models/objects.py`. Of those shipped the one that knows the classes asked for."""

    task: ClassVar[str] = "objects"

    def network(self, inputs: Picture) -> Checkpoint:
        """The network that answers a picture: the one given, or the shipped one that knows its
        classes."""
        name = None
        if self.checkpoint is None:
            name = choose_network(inputs, shipped_classes(), "objects.onnx")
        network = checkpoint("objects", self.checkpoint, name)

        classes = classes_of(network)

        if inputs.classes not in (None, classes) or not set(inputs.wanted or ()) <= set(classes):
            asked = ", ".join(inputs.classes or inputs.wanted or ())
            reason = f"{network.name} knows the classes {', '.join(classes)}, not {asked}."
            raise ToolkitError(reason, "Give a checkpoint that was trained on these.", status=3)

        return network

    def predict(self, inputs: Picture) -> Labelled:
        network = self.network(inputs)
        classes = tuple(network.card["classes"])
        return Labelled(likeliest(network, inputs.image, len(classes)), classes)


def classes_of(network: Checkpoint) -> tuple[str, ...]:
    """The classes that a network's card names; ToolkitError with status 3 when it does not."""
    names = network.card.get("classes")
    right = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
    if not right or len(set(names)) < len(names) or not 2 <= len(names) <= MOST_CLASSES:
        reason = f"{network.name} does not name 2 to {MOST_CLASSES} classes that differ."
        raise ToolkitError(reason, "Give a network of `toolkit export`.", status=3)
    return tuple(names)


def shipped_classes() -> dict[str, tuple[str, ...]]:
    """The classes of the shipped networks by their file names."""
    entries = {name: its for name, its in index().items() if its["task"] == "objects"}
    return {name: tuple(its.get("classes", ())) for name, its in entries.items()}


def likeliest(network: Checkpoint, image: np.ndarray, classes: int) -> np.ndarray:
    """The likeliest class uint8 (H, W) at each pixel, part by part, column after column of parts.

    Where parts overlap, one gives way to the next. Of a column only what overlaps with the next one
    is kept, so that memory does not grow with the picture but for that.
    """
    mask = np.empty(image.shape[:2], np.uint8)
    rows = overlapping_parts(image.shape[0], LARGEST, OVERLAP)
    columns = overlapping_parts(image.shape[1], LARGEST, OVERLAP)
    beside: list[np.ndarray] = []  # of each part of the column before: its right margin

    for k, (left, right) in enumerate(columns):
        end = columns[k + 1][0] if k + 1 < len(columns) else right
        kept = []
        above = None
        for j, (top, bottom) in enumerate(rows):
            part = np.ascontiguousarray(image[None, top:bottom, left:right])
            shape = 1, classes, bottom - top, right - left
            (answer,) = network.run(("float32", shape), image=part)
            now = answer[0]
            if beside:
                blend(beside[j], now[:, :, : beside[j].shape[2]], axis=2)
            kept.append(now[:, :, end - left :].copy())

            now = now[:, :, : end - left]
            if above is not None:
                blend(above, now[:, : above.shape[1]], axis=1)
            stop = rows[j + 1][0] if j + 1 < len(rows) else bottom
            mask[top:stop, left:end] = now[:, : stop - top].argmax(0)
            above = now[:, stop - top :].copy()

        beside = kept

    return mask


def blend(before: np.ndarray, now: np.ndarray, axis: int) -> None:
    """Let one part give way to the next along an axis, in place."""
    share = ramp(now.shape[axis])
    share = share[:, None] if axis == 1 else share
    now[...] = before * (1 - share) + now * share

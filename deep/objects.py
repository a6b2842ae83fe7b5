"""`objects` by network: the probability of every class, and the likeliest one at each pixel."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.network import Checkpoint, NetworkMethod, checkpoint, index
from hvd.toolkit.tasks.objects.types import Labelled, Picture, choose_network
from hvd.toolkit.tiles import overlapping, ramp

LARGEST = 1024  # pixels along a side of what is shown to the network at once
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

        classes = tuple(network.card.get("classes") or ())
        if not classes:
            remedy = "Give a network of `toolkit export`."
            raise ToolkitError(f"{network.name} does not name its classes.", remedy, status=3)
        if inputs.classes not in (None, classes) or not set(inputs.wanted or ()) <= set(classes):
            asked = ", ".join(inputs.classes or inputs.wanted or ())
            reason = f"{network.name} knows the classes {', '.join(classes)}, not {asked}."
            raise ToolkitError(reason, "Give a checkpoint that was trained on these.", status=3)
        return network

    def predict(self, inputs: Picture) -> Labelled:
        network, image = self.network(inputs), inputs.image
        bands = overlapping(image.shape[0], LARGEST, OVERLAP)
        mask, before = np.empty(image.shape[:2], np.uint8), None
        for k, (top, bottom) in enumerate(bands):
            now = across(network, image[top:bottom])
            if before is not None:
                shared = before.shape[1]
                share = ramp(shared)[:, None]
                now[:, :shared] = before * (1 - share) + now[:, :shared] * share
            end = bands[k + 1][0] if k + 1 < len(bands) else bottom
            mask[top:end] = now[:, : end - top].argmax(0)
            before = now[:, end - top :].copy()
        return Labelled(mask, tuple(network.card["classes"]))


def shipped_classes() -> dict[str, tuple[str, ...]]:
    """The classes of the shipped networks by their file names."""
    entries = {name: its for name, its in index().items() if its["task"] == "objects"}
    return {name: tuple(its.get("classes", ())) for name, its in entries.items()}


def across(network: Checkpoint, band: np.ndarray) -> np.ndarray:
    """Probabilities float32 (classes, H, W) of a band of a picture, part by part from left to right."""
    found, done = None, 0
    for left, right in overlapping(band.shape[1], LARGEST, OVERLAP):
        now = network.run(image=np.ascontiguousarray(band[None, :, left:right]))[0][0]
        if found is None:
            found = np.empty((len(now), *band.shape[:2]), np.float32)
        shared = done - left
        if shared > 0:
            share = ramp(shared)
            now[:, :, :shared] = found[:, :, left:done] * (1 - share) + now[:, :, :shared] * share
        found[:, :, left:right], done = now, right
    return found

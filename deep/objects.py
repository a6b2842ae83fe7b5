"""`objects` by network: the probability of every class, and the likeliest one at each pixel."""

from dataclasses import dataclass

import numpy as np

from toolkit.core import ToolkitError
from toolkit.network import Checkpoint, checkpoint
from toolkit.tasks.objects import Labelled, Picture

LARGEST = 1024  # pixels along a side of what is shown to the network at once
OVERLAP = 256  # pixels over which one part gives way to the next


@dataclass(frozen=True)
class Network:
    """U-Net; see `deep/training/models/objects.py`. Of those shipped the one that knows the classes asked for."""

    checkpoint: str | None = None

    def sha256(self, inputs: Picture) -> str:
        """Of the checkpoint, for the record of a run."""
        return self.network(inputs).sha256

    def network(self, inputs: Picture) -> Checkpoint:
        """The network that answers a picture."""
        found = checkpoint("objects", self.checkpoint, None if self.checkpoint else inputs.classes)
        classes = tuple(found.card.get("classes") or ())
        if not classes:
            raise ToolkitError(f"{found.name} does not tell its classes.", "Give a network of `toolkit export`.", status=3)
        if inputs.classes not in (None, classes):
            reason = f"{found.name} knows the classes {', '.join(classes)}, not {', '.join(inputs.classes)}."
            raise ToolkitError(reason, "Give a checkpoint that was trained on these.", status=3)
        return found

    def predict(self, inputs: Picture) -> Labelled:
        network, image = self.network(inputs), inputs.image
        bands = parts(image.shape[0])
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


def parts(length: int) -> list[tuple[int, int]]:
    """Where the parts of a side begin and end: one when it is not too long, else parts that overlap."""
    if length <= LARGEST:
        return [(0, length)]
    starts = [*range(0, length - LARGEST, LARGEST - OVERLAP), length - LARGEST]
    return [(start, start + LARGEST) for start in starts]


def ramp(length: int) -> np.ndarray:
    """Shares float32 (length,) of the later of two parts: from 0 to 1."""
    return ((np.arange(length, dtype=np.float32) + 0.5) / max(1, length)).astype(np.float32)


def across(network: Checkpoint, band: np.ndarray) -> np.ndarray:
    """Probabilities float32 (classes, H, W) of a band of a picture, part by part from left to right."""
    found, done = None, 0
    for left, right in parts(band.shape[1]):
        now = network.run(image=np.ascontiguousarray(band[None, :, left:right]))[0][0]
        if found is None:
            found = np.empty((len(now), *band.shape[:2]), np.float32)
        shared = done - left
        if shared > 0:
            share = ramp(shared)
            now[:, :, :shared] = found[:, :, left:done] * (1 - share) + now[:, :, :shared] * share
        found[:, :, left:right], done = now, right
    return found

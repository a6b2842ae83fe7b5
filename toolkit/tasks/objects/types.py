"""What methods for `objects` receive, and what they return."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.objects.options import SMALLEST

# In masks: a pixel that belongs to no class, or of which none is known
IGNORE = 255
BACKGROUND = "background"
MOST_CLASSES = IGNORE  # indices 0 to 254


def are_class_names(names: Any) -> bool:
    """Whether a value is a list of 2 to MOST_CLASSES names that differ."""
    are_texts = isinstance(names, list) and all(
        isinstance(name, str) and name for name in names
    )
    return (
        are_texts
        and len(set(names)) == len(names)
        and 2 <= len(names) <= MOST_CLASSES
    )


def check_rgb(image: np.ndarray) -> None:
    """Raise ToolkitError unless an image is uint8 (H, W, 3)."""
    is_array = isinstance(image, np.ndarray)
    if (
        not is_array
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
    ):
        kind = (
            f"{image.dtype} {image.shape}" if is_array else type(image).__name__
        )
        raise ToolkitError(
            f"The picture is {kind}.", "Give uint8 (H, W, 3), RGB."
        )


@dataclass(frozen=True)
class Picture:
    """Inputs for `objects`, checked when created: one picture, at least 8 x 8 pixels.

    Attributes
    ----------
    image : uint8 RGB (H, W, 3), kept as a read-only view.
    classes : the classes of the answer, in this order; None: those that the method knows.
    original : the picture before it was resized; the answer is written at its size. None when
        the picture was not resized.
    wanted : classes that the answer must know; None: any.
    """

    image: np.ndarray
    classes: tuple[str, ...] | None = None
    original: np.ndarray | None = None
    wanted: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        image = self.image
        check_rgb(image)
        if min(image.shape[:2]) < SMALLEST:
            reason = f"The picture is {image.shape[1]} x {image.shape[0]}."
            raise ToolkitError(
                reason, f"Give {SMALLEST} pixels a side or more."
            )

        view = image.view()
        view.flags.writeable = False
        object.__setattr__(self, "image", view)


@dataclass(frozen=True)
class Labelled:
    """The class of every pixel: what methods return, and the ground truth.

    Attributes
    ----------
    mask : uint8 (H, W), indices into `classes`. A ground truth has 255 where the class is unknown;
        a prediction has none.
    classes : their names.
    """

    mask: np.ndarray
    classes: tuple[str, ...]


def check_fits(answer: Labelled, picture: Picture) -> None:
    """Raise ToolkitError unless every pixel of the picture has one of the answer's classes."""
    shape = picture.image.shape[:2]
    mask = answer.mask
    if (
        not isinstance(mask, np.ndarray)
        or mask.dtype != np.uint8
        or mask.shape != shape
    ):
        kind = (
            f"{mask.dtype} {mask.shape}"
            if isinstance(mask, np.ndarray)
            else type(mask).__name__
        )
        raise ToolkitError(
            f"The answer's mask is {kind}.", f"Return uint8 {shape}."
        )

    if picture.classes not in (None, answer.classes):
        reason = f"The answer has the classes {', '.join(answer.classes)}."
        raise ToolkitError(reason, f"Return {', '.join(picture.classes)}.")

    # A class that the user asked for would be missing without a word.
    absent = set(picture.wanted or ()) - set(answer.classes)
    if absent:
        reason = (
            f"The answer does not know the classes {', '.join(sorted(absent))}."
        )
        raise ToolkitError(
            reason, "Choose other --classes, or another method.", 2
        )

    if mask.max() >= len(answer.classes):
        reason = f"The answer's mask holds {mask.max()}, of {len(answer.classes)} classes."
        raise ToolkitError(reason, "Return indices of the classes, from 0.")


def choose_network(
    picture: Picture, known: Mapping[str, tuple[str, ...]], default: str
) -> str:
    """Choose the network, or forest, that answers a picture.

    A picture that names its classes needs a network with exactly these; one that wants some
    classes, a network that knows them and the fewest others.

    Parameters
    ----------
    picture : the picture.
    known : the classes of every network, by its name.
    default : the network for pictures that ask for nothing.

    Raises
    ------
    ToolkitError
        With status 2 when no network knows the classes.
    """
    if picture.classes is not None:
        fitting = [
            name
            for name, classes in known.items()
            if classes == picture.classes
        ]
    elif picture.wanted is not None:
        wanted = set(picture.wanted)
        fitting = [
            name for name, classes in known.items() if wanted <= set(classes)
        ]
        # The network with the fewest classes beside the wanted ones confuses
        # least.
        fitting.sort(key=lambda name: len(known[name]))
    else:
        fitting = [default]

    if fitting:
        return fitting[0]

    # Nothing fits: list what the shipped networks do know.
    asked = ", ".join(picture.classes or picture.wanted or ())
    lists = "; ".join(
        ", ".join(classes) for classes in dict.fromkeys(known.values())
    )
    remedy = f"Choose among their classes: {lists}; or train a network of your own and give it "
    remedy += "by --checkpoint."
    raise ToolkitError(
        f"No shipped network knows all of the classes {asked}.", remedy, 2
    )

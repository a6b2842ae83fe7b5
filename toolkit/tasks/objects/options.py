"""What can be said about pictures, and how samples are made of them."""

from dataclasses import dataclass

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.options import ImageOptions, option

SMALLEST = 8  # pixels along a side
LARGEST = 8192  # pixels along a side that pictures are brought to

PREDICT = "Name the class of every pixel."
INPUT = "Each INPUT is a picture, or a folder of them."
SAMPLES = "Samples are pictures with the class of every pixel."
DATA = "Folder with images/, masks/ and classes.json, or builtin: generated scenes."


@dataclass(frozen=True)
class InputOptions(ImageOptions):
    """What is known of pictures."""

    classes: str | None = option(
        None,
        "Classes, separated by commas: the network that knows all of them answers, with all that it knows.",
        shown_default="street scenes",
        any_type=True,  # in Python a sequence of names as well
    )
    size: int | None = option(
        None,
        "Longer side, in pixels, that pictures are answered at.",
        low=SMALLEST,
        high=LARGEST,
        shown_default="their own",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        names = self.class_names
        if names is not None and not all(isinstance(name, str) and name for name in names):
            reason = f"classes is {self.classes!r}."
            raise ToolkitError(reason, "Give --classes as names separated by commas.", status=2)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes to find; None when none is named."""
        if self.classes is None:
            return None
        if isinstance(self.classes, str):
            return tuple(name.strip() for name in self.classes.split(","))
        return tuple(self.classes)


@dataclass(frozen=True)
class Conditions(ImageOptions):
    """How samples are made of pictures."""

    size: int | None = option(
        None,
        "Longer side of pictures, in pixels.",
        low=SMALLEST,
        high=LARGEST,
        shown_default="as they are",
    )

"""What can be said about pictures, and how samples are made of them."""

from dataclasses import dataclass

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
        "Classes to find, separated by commas: the network that knows them answers.",
        shown_default="street scenes",
    )
    size: int | None = option(
        None,
        "Longer side, in pixels, that pictures are answered at.",
        low=SMALLEST,
        high=LARGEST,
        shown_default="their own",
    )

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes to find; None when none is named."""
        if not self.classes:
            return None
        return tuple(name.strip() for name in self.classes.split(","))


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

"""Options of `objects`: what is known of pictures, and how samples are made."""

from dataclasses import dataclass

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.options import ImageOptions, option

# Pixels along a side: of any picture, and of one that `--size` asks for.
SMALLEST = 8
LARGEST = 8192

PREDICT = "Name the class of every pixel."
INPUT = "Each INPUT is a picture, or a folder of them."
SAMPLES = "Samples are pictures with the class of every pixel."
DATA = "Folder with images/, masks/ and classes.json, or builtin: generated scenes."


@dataclass(frozen=True)
class InputOptions(ImageOptions):
    """What is known of pictures."""

    classes: str | None = option(
        None,
        "Classes, separated by commas: a network that knows all of them answers.",
        shown_default="street scenes",
        any_type=True,  # in Python a sequence of names as well
    )
    size: int | None = option(
        None,
        "Resize pictures to this many pixels along the longer side before they are answered.",
        low=SMALLEST,
        high=LARGEST,
        shown_default="their own size",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        names = self.class_names
        if names is not None and not all(
            isinstance(name, str) and name for name in names
        ):
            reason = f"classes is {self.classes!r}."
            raise ToolkitError(
                reason, "Give --classes as names separated by commas.", status=2
            )

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
    """How sample pictures are made."""

    size: int | None = option(
        None,
        "Resize pictures to this many pixels along the longer side.",
        low=SMALLEST,
        high=LARGEST,
        shown_default="as they are",
    )

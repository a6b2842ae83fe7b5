"""The task `objects`."""

from dataclasses import replace

from hvd.toolkit.core import Task
from hvd.toolkit.images import image_files
from hvd.toolkit.tasks.objects.drawing import draw
from hvd.toolkit.tasks.objects.files import (
    COLUMNS,
    finish,
    from_array,
    measure,
    read,
    write,
)
from hvd.toolkit.tasks.objects.metrics import METRICS
from hvd.toolkit.tasks.objects.options import Conditions, InputOptions
from hvd.toolkit.tasks.objects.types import Labelled, Picture
from hvd.toolkit.tiles import repeat_to_square


def enlarge(picture: Picture, side: int) -> Picture:
    """Repeat a picture up to a square, for timing."""
    return replace(picture, image=repeat_to_square(picture.image, side, 0))


TASK = Task(
    name="objects",
    question="which class does every pixel belong to?",
    metrics=METRICS,
    input_options=InputOptions,
    options=Conditions,
    inputs=Picture,
    prediction=Labelled,
    read=read,
    from_array=from_array,
    finish=finish,
    measure=measure,
    write=write,
    draw=draw,
    columns=COLUMNS,
    look_at="overlay.png",
    builtin="generated scenes, of the kind that the network was trained on",
    show_seed=5,
    find_inputs=image_files,
    enlarge=enlarge,
)

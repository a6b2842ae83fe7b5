"""The task `grains`."""

from dataclasses import replace

from hvd.toolkit.core import Task
from hvd.toolkit.images import image_files
from hvd.toolkit.tasks.grains.conclusion import RUN_FILES, conclude
from hvd.toolkit.tasks.grains.drawing import draw
from hvd.toolkit.tasks.grains.files import COLUMNS, measure, write
from hvd.toolkit.tasks.grains.finishing import finish
from hvd.toolkit.tasks.grains.metrics import METRICS
from hvd.toolkit.tasks.grains.options import Conditions, InputOptions
from hvd.toolkit.tasks.grains.reading import from_array, read
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph
from hvd.toolkit.tiles import repeat_to_square


def enlarge(micrograph: Micrograph, side: int) -> Micrograph:
    """Repeat a micrograph up to a square, for timing."""
    return replace(
        micrograph, image=repeat_to_square(micrograph.image, side, 0)
    )


TASK = Task(
    name="grains",
    question="where are the grain boundaries in this micrograph, and how large are the grains?",
    metrics=METRICS,
    input_options=InputOptions,
    options=Conditions,
    inputs=Micrograph,
    prediction=Boundaries,
    read=read,
    from_array=from_array,
    finish=finish,
    measure=measure,
    write=write,
    draw=draw,
    columns=COLUMNS,
    look_at="overlay.png",
    builtin="generated polycrystals, of the kind that the network was trained on",
    show_seed=0,
    find_inputs=image_files,
    conclude=conclude,
    run_files=RUN_FILES,
    enlarge=enlarge,
)

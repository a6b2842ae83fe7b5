"""The task `lines`."""

from dataclasses import replace

from hvd.toolkit.core import Task
from hvd.toolkit.tasks.lines.drawing import draw
from hvd.toolkit.tasks.lines.files import (
    COLUMNS,
    finish,
    from_array,
    measure,
    read,
    write,
)
from hvd.toolkit.tasks.lines.metrics import METRICS
from hvd.toolkit.tasks.lines.options import Conditions, InputOptions
from hvd.toolkit.tasks.lines.types import Filled, Scans
from hvd.toolkit.tiles import repeat_to_square


def enlarge(scans: Scans, side: int) -> Scans:
    """Repeat scans up to a square, for timing."""
    images, missing = (
        repeat_to_square(part, side, 1)
        for part in (scans.images, scans.missing)
    )
    return replace(scans, images=images, missing=missing)


TASK = Task(
    name="lines",
    question="what stood in the missing lines of this scan?",
    metrics=METRICS,
    input_options=InputOptions,
    options=Conditions,
    inputs=Scans,
    prediction=Filled,
    read=read,
    from_array=from_array,
    finish=finish,
    measure=measure,
    write=write,
    draw=draw,
    columns=COLUMNS,
    look_at="contact-sheet.png",
    builtin="generated heads, of the kind that the network was trained on besides real ones",
    show_seed=2,
    enlarge=enlarge,
)

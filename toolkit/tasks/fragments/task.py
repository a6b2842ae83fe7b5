"""The task `fragments`."""

from hvd.toolkit.core import Task
from hvd.toolkit.tasks.fragments.drawing import draw
from hvd.toolkit.tasks.fragments.files import COLUMNS, measure, read, write
from hvd.toolkit.tasks.fragments.metrics import METRICS
from hvd.toolkit.tasks.fragments.options import Conditions, InputOptions
from hvd.toolkit.tasks.fragments.types import (
    Arrangement,
    Heap,
    check_fits,
    heap_of,
)


def finish(arrangement: Arrangement, heap: Heap) -> Arrangement:
    """Check that the arrangement fits the heap."""
    check_fits(arrangement, heap)
    return arrangement


TASK = Task(
    name="fragments",
    question="which fragments were cut from the same photograph, and how do they fit together?",
    metrics=METRICS,
    input_options=InputOptions,
    options=Conditions,
    inputs=Heap,
    prediction=Arrangement,
    read=read,
    from_array=heap_of,
    finish=finish,
    measure=measure,
    write=write,
    draw=draw,
    columns=COLUMNS,
    look_at="groups.png",
    builtin="the photographs that scikit-image and scikit-learn bundle",
    size_label="fragments in a heap",
)

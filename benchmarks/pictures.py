"""Draw samples of a task for the page: those its network answers worst, and a middling one."""

from pathlib import Path
from typing import Any

import cv2

from hvd.benchmarks.conditions import Condition
from hvd.toolkit import registry
from hvd.toolkit.core import Method
from hvd.toolkit.outputs import write_bytes

SHOWN = "baseline", "deep"
QUALITY = 85  # of JPEG


def draw_examples(
    folder: Path,
    methods: dict[str, Method],
    task: str,
    condition: Condition,
    records: list[dict],
) -> list[dict[str, Any]]:
    """Draw the two samples that `deep` answers worst, and the middling one, into `folder`.

    Returns the file and the scores of each.
    """
    metric = registry.task(task).metrics[0].name
    scores = {(r["sample"], r["method"]): r["metrics"][metric] for r in records}
    answered = [sample for sample, method in scores if method == "deep"]
    ranked = sorted(answered, key=lambda sample: scores[sample, "deep"])
    if not ranked:
        return []

    # Showing only good answers would mislead: the two worst, and one in the
    # middle.
    chosen = (*ranked[:2], ranked[len(ranked) // 2])
    files = {sample: f"{task}-{k}.jpg" for k, sample in enumerate(chosen, 1)}
    examples = {}
    for sample in condition.samples(task, "builtin", False):
        if sample.id not in files:
            continue

        names = [name for name in SHOWN if (sample.id, name) in scores]
        answers = {name: methods[name].predict(sample.inputs) for name in names}
        sheet = registry.task(task).draw(sample, answers)
        settings = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        jpeg = cv2.imencode(".jpg", sheet[..., ::-1], settings)[1]
        write_bytes(folder / files[sample.id], jpeg.tobytes())

        examples[sample.id] = {
            "file": files[sample.id],
            "sample": sample.id,
            "metric": metric,
            "scores": {name: scores[sample.id, name] for name in names},
        }

    return [examples[sample] for sample in files]

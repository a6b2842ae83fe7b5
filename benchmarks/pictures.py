"""Pictures of a task for the page: the samples that its network answers worst, and a middling one."""

from pathlib import Path
from typing import Any

import cv2

from hvd.benchmarks.conditions import Condition
from hvd.toolkit import registry
from hvd.toolkit.core import Method
from hvd.toolkit.outputs import write_bytes

SHOWN = "baseline", "deep"
QUALITY = 85  # of JPEG


def written(
    folder: Path, methods: dict[str, Method], task: str, condition: Condition, records: list[dict]
) -> list[dict[str, Any]]:
    """Draw the two samples of a condition that `deep` answers worst, and the middling one, into `folder`; returns for each the file
    and the scores."""
    metric = registry.task(task).metrics[0].name
    scores = {(r["sample"], r["method"]): r["metrics"][metric] for r in records}
    ranked = sorted(
        (r["sample"] for r in records if r["method"] == "deep"), key=lambda s: scores[s, "deep"]
    )
    wanted = (
        {s: f"{task}-{k + 1}.jpg" for k, s in enumerate((*ranked[:2], ranked[len(ranked) // 2]))}
        if ranked
        else {}
    )
    found = {}

    for sample in condition.samples(task, "builtin", False) if wanted else ():
        if sample.id in wanted:
            answers = {
                m: methods[m].predict(sample.inputs) for m in SHOWN if (sample.id, m) in scores
            }
            sheet = registry.task(task).draw(sample, answers)
            coded = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
            write_bytes(folder / wanted[sample.id], coded.tobytes())
            its = {m: scores[sample.id, m] for m in answers}
            found[sample.id] = {
                "file": wanted[sample.id],
                "sample": sample.id,
                "metric": metric,
                "scores": its,
            }

    return [found[s] for s in wanted]

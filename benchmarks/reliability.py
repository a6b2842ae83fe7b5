"""Fit how the traces of an answer to a micrograph tell its reliability, and say how well they do.

`python -m hvd.benchmarks.reliability METHOD [STEEL [LOW_CONTRAST]]` answers generated micrographs,
those of the folders STEEL (with parts train, val and test) and LOW_CONTRAST, and calls an answer
wrong when its median diameter is off by more than a quarter. It fits a logistic model on the
generated ones, train, val, and every other micrograph of LOW_CONTRAST; it prints the weights, which
stand with the method, and how many wrong and right answers of the other ones fall below the
threshold. Where the method can enlarge, fine micrographs are answered at every size.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression

from hvd.data.grains import folder_samples
from hvd.data.polycrystals import photograph, polycrystal
from hvd.toolkit import registry
from hvd.toolkit.core import Method, Sample
from hvd.toolkit.settings import one_thread
from hvd.toolkit.tasks.grains.metrics import median_diameter
from hvd.toolkit.tasks.grains.reliability import (
    LEAST,
    Parts,
    features,
    parts_of,
)
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph

GENERATED = 200
SIDE = 384
STRENGTH = 0.6  # of light, lens and noise: as in built-in micrographs
FINEST, COARSEST = 4.0, 150.0  # diameters in pixels
WRONG = 0.25  # relative error of the median diameter
TRIED_UP_TO = 24.0  # pixels of diameter, up to which methods enlarge
SCALES = 1, 2, 3, 4  # that they try

Case = tuple[str, Parts, bool]


def generated_samples() -> Iterator[Sample]:
    """Yield generated micrographs from too fine to coarse, and under any light."""
    for k in range(GENERATED):
        rng = np.random.default_rng([3_000_017, k])
        diameter = float(np.exp(rng.uniform(np.log(FINEST), np.log(COARSEST))))
        times = 4 if diameter < 12 else 1
        image, labels, _ = polycrystal(
            (SIDE * times, SIDE * times), rng, diameter * times, detail=times
        )
        image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        image = np.rint(photograph(image, rng, STRENGTH) * 255)
        labels = labels[times // 2 :: times, times // 2 :: times]
        _, numbers = np.unique(labels, return_inverse=True)
        labels = (numbers.reshape(SIDE, SIDE) + 1).astype(np.int32)
        micrograph = Micrograph(image.astype(np.uint8))
        yield Sample(str(k), micrograph, Boundaries(labels > 0, labels))


def case_of(
    name: str,
    answer: Boundaries,
    sample: Sample,
) -> Case | None:
    """The traces of an answer, and whether it is wrong; None for an answer without a line."""
    parts = parts_of(answer)
    true = median_diameter(sample.target.labels)
    predicted = median_diameter(answer.labels)
    if parts is None or true is None or predicted is None:
        return None
    return name, parts, abs(predicted / true - 1) > WRONG


def answers(method: Method, sample: Sample) -> Iterator[Boundaries]:
    """Yield the answer to a sample; for fine grains at every size that the method tries."""
    diameter = median_diameter(sample.target.labels)
    is_coarse = diameter is None or diameter > TRIED_UP_TO
    answer = getattr(method, "answer", None)
    if is_coarse or answer is None:
        yield method.predict(sample.inputs)
        return
    for scale in SCALES:
        yield answer(sample.inputs, scale)


def cases(
    name: str,
    method: Method,
    samples: Iterable[Sample],
) -> list[Case]:
    """The cases of all samples."""
    found = []
    with one_thread():
        for sample in samples:
            for answer in answers(method, sample):
                case = case_of(name, answer, sample)
                if case is not None:
                    found.append(case)
    return found


def tally(
    title: str,
    model: LogisticRegression,
    chosen: list[Case],
) -> str:
    """How many wrong and right answers the model flags."""
    if not chosen:
        return f"{title}: none"
    table = np.array([features(parts) for _, parts, _ in chosen])
    wrong = np.array([is_wrong for *_, is_wrong in chosen])
    is_flagged = model.predict_proba(table)[:, 1] < LEAST
    return (
        f"{title}: flagged {is_flagged[wrong].sum()} of {wrong.sum()} wrong answers, "
        f"{is_flagged[~wrong].sum()} of {(~wrong).sum()} right ones"
    )


def main(method_name: str, *folders: str) -> None:
    """Fit the model and print it."""
    method = registry.method("grains", method_name)
    fitted = cases("generated", method, generated_samples())
    held_out: list[Case] = []
    if folders:
        steel = Path(folders[0])
        for part in ("train", "val"):
            fitted += cases("steel", method, folder_samples(steel / part))
        held_out += cases("steel", method, folder_samples(steel / "test"))
    if len(folders) > 1:
        crops = list(folder_samples(Path(folders[1])))
        fitted += cases("crops", method, crops[::2])
        held_out += cases("crops", method, crops[1::2])

    table = np.array([features(parts) for _, parts, _ in fitted])
    is_right = np.array([not is_wrong for *_, is_wrong in fitted])
    model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=5000)
    model.fit(table, is_right)

    weights = [float(model.intercept_[0]), *model.coef_[0].tolist()]
    print("weights", [round(weight, 3) for weight in weights])
    for name in dict.fromkeys(name for name, *_ in fitted):
        print(
            tally(f"fitted, {name}", model, [c for c in fitted if c[0] == name])
        )
    for name in dict.fromkeys(name for name, *_ in held_out):
        chosen = [case for case in held_out if case[0] == name]
        print(tally(f"held out, {name}", model, chosen))


if __name__ == "__main__":
    if len(sys.argv) < 2 or "--help" in sys.argv:
        sys.exit(__doc__)
    main(*sys.argv[1:])

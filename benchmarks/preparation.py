"""Images prepared a second, beside the loop that people write around pycocotools.

`python -m benchmarks.preparation ANNOTATIONS IMAGES [ROUNDS]`: COCO JSON and its images, 256 x 256; the two take turns, medians of
rounds, to benchmarks/results/preparation.json. The loop draws every annotation on a full canvas, lets the highest category win, and
writes PNG by OpenCV.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from pycocotools.coco import COCO

from benchmarks.machine import environment
from benchmarks.run import RESULTS, rounded
from data.preparation import Options, prepared
from toolkit.outputs import write_bytes

SIDE = 256


def loop(coco: COCO, images: Path, out: Path) -> int:
    """The usual loop; returns how many images it wrote."""
    for k in coco.getImgIds():
        info = coco.loadImgs(k)[0]
        image = cv2.imread(str(images / info["file_name"]))
        mask = np.zeros(image.shape[:2], np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=k)):
            mask = np.maximum(mask, coco.annToMask(annotation) * annotation["category_id"])
        cv2.imwrite(str(out / f"{k}.png"), cv2.resize(image, (SIDE, SIDE)))
        cv2.imwrite(str(out / f"{k}_mask.png"), cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST))
    return len(coco.getImgIds())


def main(annotations: Path, images: Path, rounds: int = 5) -> None:
    coco, rates = COCO(annotations), {"usual loop": [], "prepare, 1 process": [], "prepare, 2 processes": []}
    for _ in range(rounds):
        for name, found in rates.items():
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                if name == "usual loop":
                    count = loop(coco, images, Path(folder))
                else:
                    workers = int(name.split()[1])
                    count = list(prepared(Options(annotations, images), Path(folder) / "out", workers, None, False))[-1][1]
                found.append(count / (time.perf_counter() - began))
    usual = median(rates["usual loop"])
    ways = {name: {"images_per_second": median(found), "times": median(found) / usual} for name, found in rates.items()}
    told = {name: environment()[name] for name in ("processor", "cores", "load", "commit")}
    found = {"images": count, "instances": len(coco.anns), "rounds": rounds, **told, "ways": ways}
    write_bytes(RESULTS / "preparation.json", (json.dumps(rounded(found), indent=1) + "\n").encode())
    for name, its in ways.items():
        print(f"{name}: {its['images_per_second']:.0f} images a second, {its['times']:.2f} times the usual loop")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))

"""Images prepared a second, beside the loop that people write around pycocotools.

`python -m hvd.benchmarks.preparation ANNOTATIONS IMAGES [COUNT]`: COCO JSON and its images, repeated under other names up to COUNT,
since processes take their time to start; 256 x 256; prepared by one process and by one a core; the ways take turns, medians of
rounds, to benchmarks/results/preparation.json. The loop draws every annotation on a full canvas, lets the highest category win,
and writes PNG by OpenCV.
"""

import itertools
import json
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from pycocotools.coco import COCO

from hvd.benchmarks.machine import environment
from hvd.benchmarks.run import RESULTS, rounded
from hvd.data.preparation.options import PrepareOptions
from hvd.data.preparation.run import prepare_data_set
from hvd.toolkit.outputs import write_bytes

SIDE = 256
ROUNDS = 3


def loop(coco: COCO, images: Path, out: Path) -> int:
    """The usual loop; returns how many images it wrote."""
    for k in coco.getImgIds():
        info = coco.loadImgs(k)[0]
        image = cv2.imread(str(images / info["file_name"]))
        mask = np.zeros(image.shape[:2], np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=k)):
            mask = np.maximum(mask, coco.annToMask(annotation) * annotation["category_id"])
        cv2.imwrite(str(out / f"{k}.png"), cv2.resize(image, (SIDE, SIDE)))
        cv2.imwrite(
            str(out / f"{k}_mask.png"),
            cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST),
        )

    return len(coco.getImgIds())


def repeated(annotations: Path, images: Path, count: int, out: Path) -> tuple[Path, Path]:
    """COCO JSON and a folder in `out` of `count` images: those given, again and again, by links of other names."""
    given = json.loads(annotations.read_text())
    of_image = defaultdict(list)
    for annotation in given["annotations"]:
        of_image[annotation["image_id"]].append(annotation)
    found = {"images": [], "annotations": [], "categories": given["categories"]}
    (out / "images").mkdir()

    for k, image in enumerate(itertools.islice(itertools.cycle(given["images"]), count)):
        name = f"{k:06d}{Path(image['file_name']).suffix}"
        (out / "images" / name).symlink_to((images / image["file_name"]).resolve())
        found["images"].append(image | {"id": k, "file_name": name})
        for annotation in of_image[image["id"]]:
            found["annotations"].append(
                annotation | {"id": len(found["annotations"]), "image_id": k}
            )

    (out / "annotations.json").write_text(json.dumps(found))
    return out / "annotations.json", out / "images"


def main(annotations: Path, images: Path, distinct: int) -> None:
    told = {name: environment()[name] for name in ("processor", "cores", "load", "commit")}
    coco = COCO(annotations)
    rates = {"usual loop": [], "prepare, 1 process": []}
    if told["cores"] > 1:
        rates[f"prepare, {told['cores']} processes"] = []

    for _ in range(ROUNDS):
        for name, found in rates.items():
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                if name == "usual loop":
                    count = loop(coco, images, Path(folder))
                else:
                    workers = int(name.split()[1])
                    count = list(
                        prepare_data_set(
                            PrepareOptions(annotations, images),
                            Path(folder) / "out",
                            workers,
                            None,
                            False,
                        )
                    )[-1][1]

                found.append(count / (time.perf_counter() - began))

    usual = median(rates["usual loop"])
    ways = {
        name: {"images_per_second": median(found), "times": median(found) / usual}
        for name, found in rates.items()
    }
    found = {
        "images": count,
        "instances": len(coco.anns),
        "distinct": distinct,
        "rounds": ROUNDS,
        **told,
        "ways": ways,
    }
    write_bytes(
        RESULTS / "preparation.json", (json.dumps(rounded(found), indent=1) + "\n").encode()
    )

    for name, its in ways.items():
        print(
            f"{name}: {its['images_per_second']:.0f} images a second, {its['times']:.2f} times the usual loop"
        )


if __name__ == "__main__":
    file, folder = map(Path, sys.argv[1:3])
    distinct = len(json.loads(file.read_text())["images"])
    with tempfile.TemporaryDirectory() as place:
        wanted = int(sys.argv[3]) if len(sys.argv) > 3 else distinct
        main(*repeated(file, folder, wanted, Path(place)), distinct)

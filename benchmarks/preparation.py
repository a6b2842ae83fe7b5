"""Compare the speed of preparing a data set with the loop that people write around pycocotools.

`python -m hvd.benchmarks.preparation ANNOTATIONS IMAGES [COUNT]` takes COCO JSON and its images,
repeated under other names up to COUNT, since processes take time to start. It prepares them at
256 x 256 with one process and with one for each core. The ways take turns; medians go to
benchmarks/results/preparation.json. The loop draws every annotation on a full canvas, lets the
highest category win, and writes PNG with OpenCV.
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
from hvd.benchmarks.run import RESULTS, round_floats
from hvd.data.preparation.options import PrepareOptions
from hvd.data.preparation.run import prepare_data_set
from hvd.toolkit.outputs import write_bytes

SIDE = 256
ROUNDS = 3
LOOP = "usual loop"


def run_loop(coco: COCO, images: Path, out: Path) -> int:
    """Run the usual loop; returns how many images it wrote."""
    for k in coco.getImgIds():
        info = coco.loadImgs(k)[0]
        image = cv2.imread(str(images / info["file_name"]))
        mask = np.zeros(image.shape[:2], np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=k)):
            mask = np.maximum(
                mask, coco.annToMask(annotation) * annotation["category_id"]
            )

        mask = cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(out / f"{k}.png"), cv2.resize(image, (SIDE, SIDE)))
        cv2.imwrite(str(out / f"{k}_mask.png"), mask)

    return len(coco.getImgIds())


def run_prepare(
    annotations: Path,
    images: Path,
    out: Path,
    workers: int,
) -> int:
    """Run our preparation; returns how many images there were."""
    options = PrepareOptions(annotations=annotations, images=images)
    steps = list(prepare_data_set(options, out, workers, None, False))
    _, total = steps[-1]
    return total


def repeat_images(
    annotations: Path,
    images: Path,
    count: int,
    out: Path,
) -> tuple[Path, Path]:
    """Make a data set of `count` images in `out`: the same images again and again, as links."""
    document = json.loads(annotations.read_text())
    of_image = defaultdict(list)
    for annotation in document["annotations"]:
        of_image[annotation["image_id"]].append(annotation)

    new_images = []
    new_annotations = []
    (out / "images").mkdir()
    for k, image in enumerate(
        itertools.islice(itertools.cycle(document["images"]), count)
    ):
        name = f"{k:06d}{Path(image['file_name']).suffix}"
        (out / "images" / name).symlink_to(
            (images / image["file_name"]).resolve()
        )
        new_images.append(image | {"id": k, "file_name": name})
        for annotation in of_image[image["id"]]:
            ids = {"id": len(new_annotations), "image_id": k}
            new_annotations.append(annotation | ids)

    repeated_document = {
        "images": new_images,
        "annotations": new_annotations,
        "categories": document["categories"],
    }
    (out / "annotations.json").write_text(json.dumps(repeated_document))
    return out / "annotations.json", out / "images"


def main(annotations: Path, images: Path, distinct: int) -> None:
    """Time all ways, and write and print the results."""
    machine = environment()
    cores = machine["cores"]
    coco = COCO(annotations)
    workers = {LOOP: 0, "prepare, 1 process": 1}
    if cores > 1:
        workers[f"prepare, {cores} processes"] = cores

    rates = {name: [] for name in workers}
    for _ in range(ROUNDS):
        for name, processes in workers.items():
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                if processes:
                    count = run_prepare(
                        annotations, images, Path(folder) / "out", processes
                    )
                else:
                    count = run_loop(coco, images, Path(folder))
                rates[name].append(count / (time.perf_counter() - start))

    usual = median(rates[LOOP])
    ways = {}
    for name, values in rates.items():
        rate = median(values)
        ways[name] = {"images_per_second": rate, "times": rate / usual}
        print(
            f"{name}: {rate:.0f} images a second, {rate / usual:.2f} times the usual loop"
        )

    result = {
        "images": count,
        "instances": len(coco.anns),
        "distinct": distinct,
        "rounds": ROUNDS,
        **{
            name: machine[name]
            for name in ("processor", "cores", "load", "commit")
        },
        "ways": ways,
    }
    text = json.dumps(round_floats(result), indent=1) + "\n"
    write_bytes(RESULTS / "preparation.json", text.encode())


if __name__ == "__main__":
    file, folder = map(Path, sys.argv[1:3])
    distinct = len(json.loads(file.read_text())["images"])
    with tempfile.TemporaryDirectory() as place:
        wanted = int(sys.argv[3]) if len(sys.argv) > 3 else distinct
        main(*repeat_images(file, folder, wanted, Path(place)), distinct)

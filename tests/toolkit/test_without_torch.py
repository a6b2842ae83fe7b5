"""Predicting and evaluating never need torch."""

import subprocess
import sys

import numpy as np

from hvd.data.scenes import sample_scene
from hvd.toolkit.images import write_png
from hvd.toolkit.tasks.lines.masks import TASK_MASK

BLOCKED = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("torch is blocked")

sys.meta_path.insert(0, NoTorch())
sys.argv[0] = "toolkit"
from hvd.toolkit.cli import main
main()
"""


def test_predict_and_evaluate_run_with_torch_made_unimportable(
    tmp_path, heap_sample, micrograph_sample, heads
):
    np.save(tmp_path / "heap.npy", heap_sample.inputs.fragments)
    write_png(tmp_path / "micrograph.png", micrograph_sample.inputs.image)
    np.save(tmp_path / "scans.npy", np.where(TASK_MASK, np.nan, heads))
    write_png(tmp_path / "picture.png", sample_scene(3, 0)[0])
    out = tmp_path / "out"
    commands = (
        [
            "predict",
            "fragments",
            tmp_path / "heap.npy",
            "--out",
            out,
            "--images",
            "5",
        ],
        [
            "evaluate",
            "fragments",
            "--samples",
            "1",
            "--images",
            "3",
            "--method",
            "deep",
            "--json",
        ],
        ["predict", "grains", tmp_path / "micrograph.png", "--out", out],
        ["evaluate", "grains", "--samples", "1", "--method", "deep", "--json"],
        ["predict", "lines", tmp_path / "scans.npy", "--out", out],
        ["evaluate", "lines", "--samples", "1", "--method", "deep", "--json"],
        ["predict", "objects", tmp_path / "picture.png", "--out", out],
        ["evaluate", "objects", "--samples", "1", "--method", "deep", "--json"],
    )
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-c", BLOCKED, *map(str, command)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert (out / "heap" / "groups.csv").exists()
    assert (out / "micrograph" / "micrograph-grains.csv").exists()
    assert (out / "scans" / "scans_nogaps.npy").exists()
    assert (out / "picture" / "mask.png").exists()

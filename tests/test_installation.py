"""One import root, beside whatever else lies in a folder or an environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hvd

ROOT = Path(__file__).parent.parent
OURS = ("toolkit", "data", "baselines", "deep", "benchmarks", "checkpoints")
SCRIPT = """
import numpy as np
import data
from hvd.toolkit import registry

assert data.FOLDER == "scans", data
task = registry.task("lines")
method = registry.method("lines", "baseline")
sample = next(iter(registry.samples("lines", "builtin", task.options(), 1, 7)))
print(method.predict(sample.inputs).images.shape)
"""


def run(*arguments, cwd, **environment):
    """A command of this Python; the folder of the checkout is not on its path."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONPATH"
    }
    command = [sys.executable, *map(str, arguments)]
    kept |= environment
    return subprocess.run(
        command, cwd=cwd, env=kept, capture_output=True, text=True, timeout=600
    )


def copied(folder):
    """A second checkout: the tree with its links, networks linked to."""
    heavy = (
        "*.safetensors",
        "__pycache__",
        "cells",
        "*.pdf",
        "index.html",
        "pictures",
    )
    for name in (*OURS, "hvd"):
        ignore = shutil.ignore_patterns(*heavy, "*.onnx")
        shutil.copytree(
            ROOT / name, folder / name, symlinks=True, ignore=ignore
        )
    for network in (ROOT / "checkpoints").glob("*.onnx"):
        os.link(network, folder / "checkpoints" / network.name)
    for name in ("setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.mark.parametrize("kind", ["file", "package", "namespace"])
def test_a_user_s_own_data_works_beside_it(tmp_path, kind):
    if kind == "file":
        (tmp_path / "data.py").write_text('FOLDER = "scans"\n')
    else:
        (tmp_path / "data").mkdir()
        inside = "__init__.py" if kind == "package" else "mine.py"
        (tmp_path / "data" / inside).write_text('FOLDER = "scans"\n')
    for name in ("baselines.py", "benchmarks.py", "deep.py", "toolkit.py"):
        (tmp_path / name).write_text("raise AssertionError('not ours')\n")
    script = (
        SCRIPT
        if kind != "namespace"
        else SCRIPT.replace("import data", "import data.mine as data")
    )
    (tmp_path / "fill.py").write_text(script)
    done = run("fill.py", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout == "(1, 64, 64)\n", done.stderr
    call = (
        "-m",
        "hvd.toolkit",
        "evaluate",
        "lines",
        "--method",
        "baseline",
        "--samples",
        "1",
    )
    done = run(*call, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_nothing_but_hvd_can_be_imported(tmp_path):
    code = f"""if True:
        from importlib.util import find_spec
        ours = {OURS!r}
        found = [name for name in ours if find_spec(name)]
        places = [str(find_spec(name).submodule_search_locations) for name in found]
        assert not any({str(ROOT)!r} in place for place in places), places
    """
    done = run("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_no_module_of_ours_was_imported_by_another_name():
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and any(
            Path(file).resolve().is_relative_to(ROOT / folder)
            for folder in OURS
        ):
            assert name.startswith("hvd."), name


def test_a_second_checkout_uses_only_its_own_files(tmp_path):
    second = copied(tmp_path / "second")
    (second / "toolkit/marker.py").write_text("")
    code = """if True:
        import sys, hvd, hvd.toolkit.marker
        from hvd.toolkit.cli import cli
        from click.testing import CliRunner
        call = ["evaluate", "lines", "--samples", "1", "--method", "trivial", "--method", "deep"]
        assert CliRunner().invoke(cli, call).exit_code == 0
        places = {m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "hvd"}
        print(*sorted(places), sep="\\n")
    """
    done = run("-c", code, cwd=second)
    assert done.returncode == 0, done.stderr
    assert all(
        Path(place).is_relative_to(second) for place in done.stdout.split()
    )


def test_the_command_of_one_checkout_refuses_to_run_in_another(tmp_path):
    second = copied(tmp_path / "second")
    command = Path(sys.executable).with_name("toolkit")
    if not command.exists() or not Path(hvd.__file__).is_relative_to(ROOT):
        pytest.skip("the command is not installed beside this Python")
    for folder in (second, second / "docs"):
        folder.mkdir(exist_ok=True)
        call = [command, "models", "list"]
        done = subprocess.run(call, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 2 and f"{second} is a checkout" in done.stderr
    done = run("-m", "hvd.toolkit", "models", "list", cwd=second)
    assert done.returncode == 0, done.stderr


def test_a_type_error_planted_in_one_wing_is_found(tmp_path):
    pytest.importorskip("mypy")
    second = copied(tmp_path / "second")
    with open(second / "toolkit/tasks/lines/metrics.py", "a") as file:
        file.write("\n\nPLANTED: int = decibels('loud')\n")
    call = ("-m", "mypy", "-p", "hvd", "--cache-dir", tmp_path / "cache")
    done = run(*call, cwd=second)
    assert done.returncode == 1 and "metrics.py" in done.stdout, (
        done.stdout + done.stderr
    )
    assert 'Argument 1 to "decibels" has incompatible type "str"' in done.stdout


TOY = {
    "toolkit/tasks/toy/__init__.py": '"""`toy`: how bright is a picture?"""\n',
    "toolkit/tasks/toy/options.py": '''
from dataclasses import dataclass

from hvd.toolkit.options import ImageOptions, option

PREDICT = "Say how bright a picture is."
INPUT = "Each INPUT is a picture."
SAMPLES = "Samples are even pictures."
DATA = "builtin."


@dataclass(frozen=True)
class InputOptions(ImageOptions):
    """Nothing is known."""


@dataclass(frozen=True)
class Conditions(ImageOptions):
    """How samples are made."""

    side: int = option(8, "Pixels along a side.", low=1)
''',
    "toolkit/tasks/toy/types.py": """
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Picture:
    image: np.ndarray


@dataclass(frozen=True)
class Brightness:
    level: float
""",
    "toolkit/tasks/toy/metrics.py": """
from hvd.toolkit.core import Metric


def closeness(target, prediction):
    return 1 - abs(target.level - prediction.level)


METRICS = (Metric("closeness", closeness, "one less the error; 1 = exact", "closeness"),)
""",
    "toolkit/tasks/toy/task.py": """
import numpy as np

from hvd.toolkit import pictures
from hvd.toolkit.core import Column, Task
from hvd.toolkit.images import read_image
from hvd.toolkit.outputs import write_bytes
from hvd.toolkit.tasks.toy.metrics import METRICS
from hvd.toolkit.tasks.toy.options import Conditions, InputOptions
from hvd.toolkit.tasks.toy.types import Brightness, Picture


def write(prediction, inputs, values, folder):
    write_bytes(folder / "level.txt", f"{prediction.level}".encode())
    return ["level.txt"]


def draw(sample, predictions):
    parts = [(name, sample.inputs.image) for name in (*predictions, "truth")]
    return pictures.panels(parts, "brightness")


TASK = Task(
    name="toy",
    question="how bright is a picture?",
    metrics=METRICS,
    input_options=InputOptions,
    options=Conditions,
    inputs=Picture,
    prediction=Brightness,
    read=lambda path, options: Picture(read_image(path, options.max_pixels)),
    from_array=lambda array, options: Picture(array),
    finish=lambda prediction, inputs: prediction,
    measure=lambda prediction, inputs: ({"level": round(prediction.level, 3)}, []),
    write=write,
    draw=draw,
    look_at="level.txt",
    columns=(Column("level", lambda record: f"{record['level']:.2f}"),),
    builtin="even pictures",
)
""",
    "data/toy.py": """
import numpy as np

from hvd.toolkit.core import Sample
from hvd.toolkit.tasks.toy.types import Brightness, Picture


def samples(data, conditions, count, seed):
    for k in range(count):
        level = np.random.default_rng([seed, k]).integers(0, 256)
        image = np.full((conditions.side, conditions.side, 3), level, np.uint8)
        yield Sample(str(k), Picture(image), Brightness(level / 255))
""",
    "baselines/toy.py": """
from dataclasses import dataclass

from hvd.toolkit.core import Floor
from hvd.toolkit.tasks.toy.types import Brightness


@dataclass(frozen=True)
class Half(Floor):
    def predict(self, inputs):
        return Brightness(0.5)


@dataclass(frozen=True)
class First:
    def predict(self, inputs):
        return Brightness(float(inputs.image[0, 0, 0]) / 255)
""",
    "deep/toy.py": """
from dataclasses import dataclass

from hvd.toolkit.tasks.toy.types import Brightness


@dataclass(frozen=True)
class Network:
    def predict(self, inputs):
        return Brightness(float(inputs.image.mean()) / 255)
""",
}
LINE = """    "toy": {
        "trivial": "hvd.baselines.toy:Half",
        "baseline": "hvd.baselines.toy:First",
        "deep": "hvd.deep.toy:Network",
    },
"""


def test_a_task_is_a_wing_a_line_of_the_registry_and_its_files(tmp_path):
    pytest.importorskip("typst", reason="drawing needs the extra [report]")
    second = copied(tmp_path / "second")
    for place, text in TOY.items():
        (second / place).parent.mkdir(exist_ok=True)
        (second / place).write_text(text.lstrip("\n"))
    registry = second / "toolkit/registry.py"
    text = registry.read_text()
    registry.write_text(
        text.replace("METHODS = {\n", "METHODS = {\n" + LINE, 1)
    )
    (second / "docs").mkdir()
    shutil.copytree(
        ROOT / "benchmarks/results/pictures",
        second / "benchmarks/results/pictures",
    )

    picture = next((ROOT / "benchmarks/results/pictures").glob("objects*.jpg"))
    for call in (
        ("predict", "toy", picture, "--out", "answers"),
        ("evaluate", "toy", "--samples", "2", "--side", "4"),
        ("show", "toy"),
        ("benchmark", "toy"),
        ("report",),
        ("doctor",),
    ):
        done = run("-m", "hvd.toolkit", *call, cwd=second)
        assert done.returncode == 0, (call, done.stdout, done.stderr)
    assert (
        "## toy: how bright is a picture?"
        in (second / "benchmarks/REPORT.md").read_text()
    )
    assert (
        "how bright is a picture?"
        in (second / "benchmarks/index.html").read_text()
    )
    assert (second / "toy.png").exists() and (
        second / "answers" / picture.stem / "level.txt"
    ).exists()

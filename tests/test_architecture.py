"""The star of imports, the wings, and what is installed."""

import ast
import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"toolkit", "data", "baselines", "deep", "benchmarks", "checkpoints"}
TASKS = {"fragments", "grains", "lines", "objects"}
ALLOWED = {
    "hvd": {"toolkit"},
    "toolkit": {"toolkit"},
    "data": {"data", "toolkit"},
    "baselines": {"baselines", "toolkit"},
    "deep": {"deep", "toolkit"},
    "deep/training": {"deep", "data", "toolkit"},
    "benchmarks": {"benchmarks", "data", "toolkit"},
    "checkpoints": set(),
}
PLACE = re.compile(r"hvd\.(\w+)([.:]\S*)?")
OLD_NAME = re.compile(
    rf"\b(?:from|import|-m) ((?:{'|'.join(sorted(OURS))})\.\w+)"
)
REGISTRY = Path("toolkit/registry.py")  # names methods as strings
COMPOSITION_ROOT = Path("toolkit/cli.py")  # imports others inside of functions


def modules(root):
    """The Python files of the tree, relative to it."""
    for folder in (*sorted(OURS), "hvd"):
        for path in sorted((root / folder).rglob("*.py")):
            if not any(part.is_symlink() for part in path.parents):
                yield path.relative_to(root)


def imported(tree):
    """The module of every import or `hvd.name`, and whether it stands inside a function."""
    outer = {id(node) for node in ast.iter_child_nodes(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = f"{'.' * node.level}{node.module or ''}"
            names = [f"{start}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            names = [name] if re.fullmatch(r"hvd\.\w+", name) else []
        else:
            continue
        for name in names:
            yield name, id(node) not in outer


def named(tree):
    """Our modules that are named as strings, such as "hvd.deep.lines:Network"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            result = PLACE.fullmatch(node.value)
            # Which hold no code
            if result and result[1] in OURS - {"checkpoints"}:
                yield node.value


def violations(root):
    """Everything in a tree that breaks the rules of DESIGN: the star and the wings."""
    for place in modules(root):
        tree = ast.parse((root / place).read_text())
        training = place.parts[:2] == ("deep", "training")
        folder = "deep/training" if training else place.parts[0]
        for name, inside in imported(tree):
            yield from broken_import(place, folder, name, inside)
        if place != REGISTRY:
            for name in named(tree):
                if name.split(".")[1].split(":")[0] not in ALLOWED[folder]:
                    yield f"{place} names {name}"
        for task in compared(tree):
            if task not in (*place.parts, own_task(place)):
                yield f"{place} asks whether a task is {task}"


def own_task(place):
    """The task that a file of samples, methods or training belongs to; None when to none."""
    task = place.stem.partition("_")[0]
    return (
        task
        if place.parts[0] in ("baselines", "data", "deep") and task in TASKS
        else None
    )


def broken_import(place, folder, name, inside):
    """What is wrong with an import."""
    parts = name.split(".")
    if name.startswith("."):
        yield f"{place} imports {name}, relative to where it lies"
    if parts[0] in OURS:
        yield f"{place} imports {name}, not hvd.{name}"
    if parts[0] == "torch" and folder != "deep/training":
        yield f"{place} imports torch"
    # Which quantises
    runs = place == Path("toolkit/network.py") or folder == "deep/training"
    if parts[0] == "onnxruntime" and not runs:
        yield f"{place} imports onnxruntime"
    if parts[0] != "hvd" or len(parts) < 2 or parts[1] not in OURS:
        return
    root = place == COMPOSITION_ROOT and inside
    if parts[1] not in ALLOWED[folder] and not root:
        yield f"{place} imports {name}"
    if (
        parts[1:3] == ["deep", "training"]
        and folder != "deep/training"
        and not root
    ):
        yield f"{place} imports {name}, which needs torch"
    if parts[1:3] == ["toolkit", "tasks"] and len(parts) > 3:
        yield from broken_wing(place, folder, name, parts[3])
    others = TASKS - {own_task(place)} if own_task(place) else set()
    if parts[1] in ("baselines", "data", "deep") and others & set(parts[2:]):
        yield f"{place} imports another wing, {name}"


def broken_wing(place, folder, name, task):
    """What is wrong with an import of a wing: only that wing, and what belongs to it, may."""
    if folder == "toolkit" and place.parts[1:2] != ("tasks",):
        yield f"{place}, which serves all tasks, imports {name}"
    if (
        folder == "toolkit"
        and place.parts[1:2] == ("tasks",)
        and place.parts[2] != task
    ):
        yield f"{place} imports another wing, {name}"
    if own_task(place) not in (None, task):
        yield f"{place} imports another wing, {name}"


def compared(tree):
    """The tasks that something is compared with, as in `if task in ("grains",)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.match_case):
            sides = [node.pattern]
        else:
            continue
        for part in (part for side in sides for part in ast.walk(side)):
            if isinstance(part, ast.Constant) and part.value in TASKS:
                yield part.value


def test_the_tree_keeps_to_the_star_and_the_wings():
    assert [*violations(ROOT)] == []


@pytest.mark.parametrize(
    ("place", "line", "words"),
    [
        (
            "baselines/lines.py",
            "from hvd.deep.lines import Network",
            "imports hvd.deep",
        ),
        (
            "baselines/lines.py",
            'PLACE = "hvd.deep.lines:Network"',
            "names hvd.deep",
        ),
        ("baselines/lines.py", 'PLACE = f"hvd.deep.{1}"', "names hvd.deep"),
        (
            "toolkit/network.py",
            'PLACE = "hvd.baselines"',
            "names hvd.baselines",
        ),
        (
            "data/lines.py",
            "from hvd.toolkit.tasks.grains import types",
            "another wing",
        ),
        (
            "toolkit/evaluation.py",
            'PLACE = "hvd.baselines.lines:Linear"',
            "names hvd.baselines",
        ),
        (
            "benchmarks/run.py",
            'PLACE = "hvd.deep.training.export:eager"',
            "names hvd.deep",
        ),
        ("data/lines.py", "import toolkit.images", "not hvd.toolkit"),
        (
            "toolkit/images.py",
            "from hvd.toolkit.tasks.lines import masks",
            "serves all tasks",
        ),
        (
            "toolkit/tasks/lines/files.py",
            "from hvd.toolkit.tasks.grains import scale",
            "another wing",
        ),
        (
            "deep/lines.py",
            "from hvd.toolkit.tasks.grains.types import Boundaries",
            "another wing",
        ),
        (
            "benchmarks/tables.py",
            'ODD = task == "grains"',
            "asks whether a task is grains",
        ),
        (
            "toolkit/prediction.py",
            'ODD = task in ("grains",)',
            "asks whether a task is grains",
        ),
        (
            "toolkit/images.py",
            "match task:\n    case 'grains':\n        pass",
            "asks whether a task is grains",
        ),
        ("toolkit/network.py", "import torch", "imports torch"),
        (
            "baselines/grains.py",
            "def planted():\n    from .. import deep",
            "relative",
        ),
        (
            "toolkit/tasks/grains/files.py",
            "from ..lines import masks",
            "relative",
        ),
        (
            "baselines/grains.py",
            "import hvd\nODD = hvd.deep.grains",
            "imports hvd.deep",
        ),
        (
            "deep/lines.py",
            "from hvd.deep.training import models",
            "which needs torch",
        ),
        (
            "data/lines.py",
            "from hvd.data.grains import samples",
            "another wing",
        ),
    ],
)
def test_a_planted_violation_is_found(tmp_path, place, line, words):
    for folder in (*OURS, "hvd"):
        shutil.copytree(
            ROOT / folder,
            tmp_path / folder,
            symlinks=True,
            ignore=lambda folder, names: [
                n
                for n in names
                if ("." in n and not n.endswith(".py")) or n == "__pycache__"
            ],
        )
    with open(tmp_path / place, "a") as file:
        file.write(f"\n{line}\n")
    result = [*violations(tmp_path)]
    assert len(result) >= 1 and all(place in one for one in result)
    assert any(words in one for one in result)


def test_tests_import_by_hvd_names():
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for name, _ in imported(ast.parse(path.read_text())):
            assert name.split(".")[0] not in OURS, f"{path} imports {name}"
        if path == Path(__file__):  # which plants such imports
            continue
        # In code that a test starts, too
        for name in OLD_NAME.findall(path.read_text()):
            assert name == "data.mine", f"{path} imports {name}"  # a user's own


def test_every_wing_has_the_same_files():
    common = {
        "__init__",
        "options",
        "types",
        "metrics",
        "files",
        "drawing",
        "task",
    }
    for task in TASKS:
        names = {
            path.stem for path in (ROOT / "toolkit/tasks" / task).glob("*.py")
        }
        assert names >= common, task


def test_every_package_is_listed_by_name():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    folders = {
        path.parent for path in modules(ROOT) if path.name == "__init__.py"
    } - {Path("hvd")}
    assert listed == {"hvd"} | {
        ".".join(("hvd", *folder.parts)) for folder in folders
    }


def test_the_links_lead_to_the_folders_beside_them():
    links = {
        path.name for path in (ROOT / "hvd").iterdir() if path.is_symlink()
    }
    assert links == OURS
    assert all((ROOT / "hvd" / name).resolve() == ROOT / name for name in links)


def test_help_loads_neither_numpy_nor_a_wing_but_its_options():
    code = """if True:
        import sys
        from click.testing import CliRunner
        from hvd.toolkit.cli import cli
        for call in (["--help"], ["predict", "--help"], ["evaluate", "grains", "--help"]):
            assert CliRunner().invoke(cli, call).exit_code == 0
        roots = {m.split(".")[0] for m in sys.modules}
        heavy = roots & {"numpy", "cv2", "torch", "onnxruntime"}
        names = [m for m in sys.modules if m.startswith("hvd.toolkit.tasks.")]
        wings = [m for m in names if m.count(".") == 4]
        is_bad = heavy or any(not m.endswith(".options") for m in wings)
        sys.exit(f"{heavy} {wings}" if is_bad else 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

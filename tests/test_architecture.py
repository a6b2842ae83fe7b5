"""The star of imports, and what the wheel holds."""

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"toolkit", "data", "baselines", "deep", "benchmarks", "checkpoints"}
ALLOWED = {
    "toolkit": {"toolkit"},
    "data": {"data", "toolkit"},
    "baselines": {"baselines", "toolkit"},
    "deep": {"deep", "toolkit"},
    "deep/training": {"deep", "data", "toolkit"},
    "benchmarks": {"benchmarks", "data", "toolkit"},
    "checkpoints": set(),
}
MODULES = sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py"))


def imported(path):
    """(top-level package, whether inside a function) of every import."""
    tree = ast.parse(path.read_text())
    outer = {id(node) for node in ast.iter_child_nodes(tree)}
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            yield name.split(".")[0], id(node) not in outer


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_what_its_place_in_the_star_allows(path):
    place = path.relative_to(ROOT)
    folder = "deep/training" if place.parts[:2] == ("deep", "training") else place.parts[0]
    for name, inside in imported(path):
        if name in OURS:
            root = place == Path("toolkit/cli.py") and inside
            assert name in ALLOWED[folder] or root, f"{place} imports {name}"
        assert name != "torch" or folder == "deep/training", f"{place} imports torch"
        runs = place == Path("toolkit/network.py") or folder == "deep/training"  # whose export asks its quantiser
        assert name != "onnxruntime" or runs, f"{place} imports onnxruntime"


def test_every_package_is_listed_by_name():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    assert listed == {".".join(p.parent.relative_to(ROOT).parts) for p in MODULES if p.name == "__init__.py"}


def test_help_loads_neither_numpy_nor_a_task():
    code = "import sys, toolkit.cli; sys.exit(any(m in sys.modules for m in ('numpy', 'cv2', 'toolkit.tasks')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

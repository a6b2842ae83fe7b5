"""The benchmark's results and the tables drawn from them."""

import json

import pytest

from benchmarks import render, run
from toolkit.core import ToolkitError
from toolkit.registry import METHODS


@pytest.fixture(scope="module")
def results():
    small = tuple(
        (name, {**options, "images": 2, "grid": 2, "fragment": 16}, 16) for name, options, _ in run.CONDITIONS["fragments"][:2]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(run.CONDITIONS, "fragments", small)
        return run.measured((), None, True, lambda line: None)


def test_results_hold_a_record_for_each_sample_and_method(results):
    for found in results["conditions"]:
        assert len(found["records"]) == found["samples"] * len(METHODS["fragments"])
    assert results["environment"]["threads"] == 1


def test_saved_results_draw_the_same_tables(results, tmp_path):
    path = run.saved(results, tmp_path)
    again = json.loads(path.read_text())
    assert render.short({"builtin": again}) == render.short({"builtin": run.rounded(results)})
    assert "| known count |" in render.report({"builtin": again}).replace("### fragments: known count", "| known count |")


def test_a_difference_is_bold_only_when_its_interval_excludes_zero(results):
    table = render.short({"builtin": results})
    for line in table.splitlines()[4:]:
        low, high = line.split("[")[1].split("]")[0].split(",")
        assert ("**" in line) == (float(low) > 0 or float(high) < 0)


def test_a_stale_table_is_found(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text(f"before\n{render.BEGIN}\nold\n{render.END}\nafter\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ToolkitError, match=r"README\.md"):
        render.written(check=True)
    assert "old" in (tmp_path / "README.md").read_text()


def test_an_unknown_task_has_no_benchmark():
    with pytest.raises(ToolkitError, match="fragments"):
        run.measured(("magic",), None, True, lambda line: None)

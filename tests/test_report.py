"""The benchmark's results and the tables drawn from them."""

import json
from pathlib import Path

import pytest

from benchmarks import render, run
from toolkit.core import ToolkitError
from toolkit.registry import METHODS


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    tiny = {"images": 2, "grid": 2}
    small = tuple((name, {**options, **tiny}, 2, 2) for name, options, *_ in run.CONDITIONS["fragments"][:2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(run.CONDITIONS, "fragments", small)
        yield run.measured(("fragments",), None, True, tmp_path_factory.getbasetemp(), lambda line: None)


def test_results_hold_a_record_for_each_sample_and_method(results):
    found = results["tasks"]["fragments"]
    assert list(found["methods"]) == list(METHODS["fragments"])
    for condition in found["conditions"]:
        assert len(condition["records"]) == 2 * len(METHODS["fragments"])


def test_a_quick_run_is_saved_apart_and_draws_the_same_tables_when_read_back(results, tmp_path_factory):
    again = json.loads((tmp_path_factory.getbasetemp() / "builtin-quick.json").read_text())
    assert again == results
    assert render.short([again]) == render.short([results])


def test_results_of_other_tasks_stay_when_one_is_measured_again(results, tmp_path, monkeypatch):
    monkeypatch.setitem(run.CONDITIONS, "fragments", (("small", {"images": 2, "grid": 2}, 2, 2),))
    other = results["tasks"]["fragments"] | {"data": "elsewhere"}
    (tmp_path / "builtin-quick.json").write_text(json.dumps({"name": "builtin-quick", "tasks": {"grains": other}}))
    run.measured(("fragments",), None, True, tmp_path, lambda line: None)
    together = run.read(tmp_path / "builtin-quick.json")["tasks"]
    assert list(together) == ["fragments", "grains"] and together["grains"] == other


def test_the_short_table_has_a_row_for_every_method_and_a_column_for_every_condition(results):
    lines = render.short([results]).splitlines()[2:]
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {m}" for m in (*METHODS["fragments"], "deep - baseline", "samples")]
    assert lines[0] == "| fragments: ARI | known sizes | known count |"


@pytest.mark.parametrize(("low", "high", "is_bold"), [(0.0004, 1, True), (-0.2, -0.1, True), (-0.1, 0.1, False), (0.0, 1, False)])
def test_a_difference_is_bold_only_when_its_interval_excludes_zero(low, high, is_bold):
    assert render.bold({"mean": (low + high) / 2, "low": low, "high": high}).startswith("**") == is_bold


def test_data_of_one_s_own_are_not_called_by_another_s_name():
    assert "my/photographs.zip" in render.origin("fragments", {"sha256": "0" * 64, "data": "my/photographs.zip"})


def test_a_stale_table_is_found_and_left_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text(f"before\n{render.BEGIN}\nold\n{render.END}\nafter\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ToolkitError, match=r"README\.md"):
        render.written(check=True)
    assert "old" in (tmp_path / "README.md").read_text()
    assert set(map(str, render.written())) == {"README.md", "benchmarks/REPORT.md", "checkpoints/README.md"}
    assert render.written(check=True) == []


def test_a_readme_without_markers_is_refused(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("nothing")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ToolkitError, match="markers"):
        render.written()


def test_an_unknown_task_has_no_benchmark():
    with pytest.raises(ToolkitError, match="fragments"):
        run.measured(("magic",), None, True, Path("nowhere"), lambda line: None)


def test_damaged_results_are_told(tmp_path):
    (tmp_path / "builtin.json").write_text("garbage")
    with pytest.raises(ToolkitError, match="damaged"):
        render.read(tmp_path / "builtin.json")

"""The benchmark's results, what of them is measured again, and what is drawn from them."""

import json
import re
import shutil
import socket
from pathlib import Path

import pytest

from hvd.benchmarks import conditions, machine, render, run, scores, tables
from hvd.toolkit import registry
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.registry import METHODS

SMALL = {"images": 2, "grid": 2}


def quiet(line):
    pass


@pytest.fixture
def tiny(monkeypatch):
    """Two small conditions, a sweep of two points and two sizes; memory is not measured."""
    condition = conditions.Condition
    monkeypatch.setattr(
        machine, "peak_megabytes", lambda task, methods, source: dict.fromkeys(methods, 1.0)
    )
    fixed = tuple(condition(name, SMALL, 2, 2) for name in ("first", "second"))
    monkeypatch.setitem(conditions.CONDITIONS, "fragments", fixed)
    monkeypatch.setitem(
        conditions.SWEEPS,
        "fragments",
        conditions.sweep("noise", "noise", (0.0, 20.0), 2, 2, **SMALL),
    )
    sizes = (
        condition(f"{n}", {"images": n, "grid": 2}, 1, 1, conditions.SIZE, 4 * n, conditions.MAIN)
        for n in (2, 4)
    )
    monkeypatch.setitem(conditions.SIZES, "fragments", tuple(sizes))


@pytest.fixture
def asked(monkeypatch):
    """The methods that are evaluated, condition by condition."""
    found, whole = [], run.evaluation.evaluate

    def listening(task, methods, *rest):
        found.append(list(methods))
        return whole(task, methods, *rest)

    monkeypatch.setattr(run.evaluation, "evaluate", listening)
    return found


def measured(folder, quick=True):
    return run.measured(("fragments",), None, quick, folder, quiet)


def test_results_hold_a_record_for_each_sample_and_method(tiny, tmp_path):
    found = measured(tmp_path)["tasks"]["fragments"]
    assert list(found["methods"]) == list(METHODS["fragments"])
    for condition in found["conditions"]:
        assert (
            len(condition["records"]) == 2 * len(METHODS["fragments"])
            and condition["failures"] == {}
        )


def test_results_read_back_draw_the_same_tables(tiny, tmp_path):
    found = measured(tmp_path)
    again = json.loads((tmp_path / "builtin-quick.json").read_text())
    assert again == found
    assert tables.short([scores.Results(again)]) == tables.short([scores.Results(found)])


def test_only_what_was_deleted_is_measured_again(tiny, tmp_path, asked):
    first = measured(tmp_path)
    asked.clear()
    measured(tmp_path)
    assert asked == []
    (tmp_path / "cells/builtin-quick/fragments/fixed/second/colour.json").unlink()
    again = measured(tmp_path)
    assert asked == [["colour"]]
    before, after = (found["tasks"]["fragments"]["conditions"] for found in (first, again))
    assert before[0] == after[0] and [r["sample"] for r in before[1]["records"]] == [
        r["sample"] for r in after[1]["records"]
    ]


@pytest.mark.parametrize("task", registry.TASKS)
def test_every_condition_has_a_place_of_its_own(task):
    chosen = conditions.every(task, Path("real"))
    assert len({(c.series, c.name) for c in chosen}) == len(chosen) and not any(
        "/" in c.series + c.name for c in chosen
    )


def test_what_other_code_answered_is_measured_again(tiny, tmp_path, asked, monkeypatch):
    measured(tmp_path)
    asked.clear()
    monkeypatch.setattr(machine, "source", lambda task: "another")
    measured(tmp_path)
    assert asked == [list(METHODS["fragments"])] * 2


def test_a_method_that_fails_is_a_row_that_says_so_and_the_others_still_run(
    tiny, tmp_path, monkeypatch
):
    class Broken(registry.loaded(METHODS["fragments"]["colour"])):
        def predict(self, inputs):
            raise ValueError("no colours today")

    whole = registry.methods
    monkeypatch.setattr(
        registry,
        "methods",
        lambda *of: {m: Broken() if m == "colour" else its for m, its in whole(*of).items()},
    )
    found = measured(tmp_path)
    assert run.failures(found)[0] == "fragments, first, colour: ValueError: no colours today"
    lines = tables.report([scores.Results(found)]).splitlines()
    assert any(line.startswith("| colour | failed: ValueError: no colours today") for line in lines)
    assert any(
        line.startswith("| deep | 1.000") or line.startswith("| deep | 0.") for line in lines
    )
    assert tables.short([scores.Results(found)]).count("| colour | failed | failed |") == 1


def test_costs_that_cannot_be_measured_are_told_and_the_rest_is_there(tiny, tmp_path, monkeypatch):
    def broken(*of):
        raise ValueError("no network today")

    monkeypatch.setattr(run.networks, "measured", broken)
    monkeypatch.setitem(run.pictures.CONDITION, "fragments", "second")
    found = measured(tmp_path, quick=False)
    assert run.failures(found) == ["fragments, network: ValueError: no network today"]
    assert "| network | failed: ValueError: no network today |" in tables.report(
        [scores.Results(found)]
    )
    assert found["tasks"]["fragments"]["pictures"]


def test_results_of_other_tasks_stay_when_one_is_measured_again(tiny, tmp_path):
    other = {"data": "elsewhere"}
    (tmp_path / "builtin-quick.json").write_text(
        json.dumps({"name": "builtin-quick", "tasks": {"grains": other}})
    )
    measured(tmp_path)
    together = run.read(tmp_path / "builtin-quick.json")["tasks"]
    assert list(together) == ["fragments", "grains"] and together["grains"] == other


def test_the_short_table_has_a_row_for_every_method_and_a_column_for_every_condition(
    tiny, tmp_path
):
    lines = tables.short([scores.Results(measured(tmp_path))]).splitlines()[2:]
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        f"| {m}" for m in (*METHODS["fragments"], "deep - baseline")
    ]
    assert lines[0] == "| fragments: ARI | first | second |"


@pytest.mark.parametrize(
    ("low", "high", "is_bold"),
    [(0.0004, 1, True), (-0.2, -0.1, True), (-0.1, 0.1, False), (0.0, 1, False)],
)
def test_a_difference_is_bold_only_when_its_interval_excludes_zero(low, high, is_bold):
    assert (
        tables.bold({"mean": (low + high) / 2, "low": low, "high": high}).startswith("**")
        == is_bold
    )


def test_data_of_one_s_own_are_not_called_by_another_s_name():
    found = scores.TaskResults(
        "fragments",
        {"sha256": "0" * 64, "data": "my/photographs.zip", "methods": {}, "conditions": []},
    )
    assert "my/photographs.zip" in found.origin


def test_time_in_proportion_to_size_has_the_slope_one():
    points = []
    for n in (10, 20, 80):
        record = {"method": "deep", "metrics": {}, "milliseconds": 3.0 * n}
        points.append(
            {
                "condition": str(n),
                "series": conditions.SIZE,
                "value": n,
                "failures": {},
                "records": [record],
            }
        )
    found = scores.TaskResults(
        "fragments", {"data": "builtin", "sha256": None, "methods": {}, "conditions": points}
    )
    ((method, sizes, times, slope),) = found.growth()
    assert (
        method == "deep"
        and list(sizes) == [10, 20, 80]
        and list(times) == [30, 60, 240]
        and slope == pytest.approx(1)
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of what the report is drawn from and to."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("README.md", "benchmarks", "checkpoints"):
        place = Path(__file__).parents[2] / name
        if place.is_dir():
            shutil.copytree(
                place,
                folder / name,
                ignore=shutil.ignore_patterns("cells", "__pycache__", "*.safetensors"),
            )
        else:
            shutil.copy(place, folder / name)
    return folder


def test_a_number_changed_by_hand_is_found_and_left_as_it_is(project, monkeypatch):
    pytest.importorskip("typst", reason="drawing needs the extra [report]")
    monkeypatch.chdir(project)

    def refused(*arguments, **others):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refused)
    render.written()
    assert render.written(check=True) == []
    documents = (Path("benchmarks", name) for name in ("index.html", "report.pdf", "slides.pdf"))
    drawn = {path: path.read_bytes() for path in documents}
    monkeypatch.setattr(render, "documents", lambda results: drawn)
    for name in ("README.md", "benchmarks/REPORT.md", "benchmarks/index.html"):
        whole = Path(name).read_text()
        changed = re.sub(r"0\.9(\d\d)", lambda found: f"0.8{found[1]}", whole, count=1)
        assert changed != whole
        Path(name).write_text(changed)
        with pytest.raises(ToolkitError, match=f"Stale: {name}"):
            render.written(check=True)
        assert Path(name).read_text() == changed
        Path(name).write_text(whole)


def test_the_page_asks_nothing_of_any_other_place(project):
    text = (project / "benchmarks/index.html").read_text()
    assert "default-src 'none'" in text and "<script" not in text
    assert set(re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)) == set()
    assert not re.search(r"url\((?!#)", text)


def test_the_report_has_at_most_three_pages(project):
    pages = re.findall(
        rb"/Type\s*/Page(?![a-zA-Z])", (project / "benchmarks/report.pdf").read_bytes()
    )
    assert 1 <= len(pages) <= 3


def test_a_readme_without_markers_is_refused(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("nothing")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ToolkitError, match="markers"):
        render.written()


def test_what_another_run_wrote_meanwhile_stays(tmp_path, monkeypatch):
    def slow(task, *rest):
        (tmp_path / "builtin-quick.json").write_text(
            json.dumps({"name": "builtin-quick", "tasks": {"grains": {}}})
        )
        return {}

    monkeypatch.setattr(run, "task_results", slow)
    measured(tmp_path)
    assert set(run.read(tmp_path / "builtin-quick.json")["tasks"]) == {"fragments", "grains"}


def test_an_unknown_task_has_no_benchmark():
    with pytest.raises(ToolkitError, match="fragments"):
        run.measured(("magic",), None, True, Path("nowhere"), quiet)


def test_damaged_results_are_told(tmp_path):
    (tmp_path / "builtin.json").write_text("garbage")
    with pytest.raises(ToolkitError, match="damaged"):
        run.read(tmp_path / "builtin.json")

"""The benchmark's results, what of them is measured again, and what is drawn from them."""

import json
import re
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from hvd.benchmarks import (
    conditions,
    dependencies,
    machine,
    render,
    run,
    scores,
    tables,
)
from hvd.benchmarks.options import BenchmarkOptions
from hvd.toolkit import registry
from hvd.toolkit.core import Metric, ToolkitError
from hvd.toolkit.registry import METHODS

SMALL = {"images": 2, "grid": 2}


def quiet(line):
    pass


@pytest.fixture
def tiny(monkeypatch):
    """Two small conditions, a sweep of two points and two sizes; memory is not measured."""
    condition = conditions.Condition
    monkeypatch.setattr(
        machine,
        "peak_megabytes",
        lambda task, methods, source: dict.fromkeys(methods, 1.0),
    )
    fixed = tuple(condition(name, SMALL, 2, 2) for name in ("first", "second"))
    monkeypatch.setitem(conditions.CONDITIONS, "fragments", fixed)
    monkeypatch.setitem(
        conditions.SWEEPS,
        "fragments",
        conditions.sweep("noise", "noise", (0.0, 20.0), 2, 2, **SMALL),
    )
    sizes = (
        condition(
            f"{n}",
            {"images": n, "grid": 2},
            1,
            1,
            conditions.SIZE,
            4 * n,
            conditions.MAIN,
        )
        for n in (2, 4)
    )
    monkeypatch.setitem(conditions.SIZES, "fragments", tuple(sizes))


@pytest.fixture
def asked(monkeypatch):
    """The methods that are evaluated, condition by condition."""
    result, complete = [], run.evaluation.evaluate

    def listening(task, methods, *rest):
        result.append(list(methods))
        return complete(task, methods, *rest)

    monkeypatch.setattr(run.evaluation, "evaluate", listening)
    return result


def measured(folder, quick=True):
    return run.run_benchmark(
        ("fragments",), BenchmarkOptions(quick=quick, out=folder), quiet
    )


def test_results_hold_a_record_for_each_sample_and_method(tiny, tmp_path):
    result = measured(tmp_path)["tasks"]["fragments"]
    assert list(result["methods"]) == list(METHODS["fragments"])
    for condition in result["conditions"]:
        assert (
            len(condition["records"]) == 2 * len(METHODS["fragments"])
            and condition["failures"] == {}
        )


def test_results_read_back_draw_the_same_tables(tiny, tmp_path):
    result = measured(tmp_path)
    again = json.loads((tmp_path / "builtin-quick.json").read_text())
    assert again == result
    assert tables.short([scores.Results(again)]) == tables.short(
        [scores.Results(result)]
    )


def test_only_what_was_deleted_is_measured_again(tiny, tmp_path, asked):
    first = measured(tmp_path)
    asked.clear()
    measured(tmp_path)
    assert asked == []
    (
        tmp_path / "cells/builtin-quick/fragments/fixed/second/colour.json"
    ).unlink()
    again = measured(tmp_path)
    assert asked == [["colour"]]
    before, after = (
        result["tasks"]["fragments"]["conditions"] for result in (first, again)
    )
    assert before[0] == after[0] and [
        r["sample"] for r in before[1]["records"]
    ] == [r["sample"] for r in after[1]["records"]]


@pytest.mark.parametrize("task", registry.TASKS)
def test_every_condition_has_a_place_of_its_own(task):
    chosen = conditions.all_conditions(task, Path("real"))
    assert len({(c.series, c.name) for c in chosen}) == len(chosen) and not any(
        "/" in c.series + c.name for c in chosen
    )


def test_what_other_code_answered_is_measured_again(
    tiny, tmp_path, asked, monkeypatch
):
    measured(tmp_path)
    asked.clear()
    monkeypatch.setattr(
        run.dependencies, "fingerprint", lambda *places: "another"
    )
    measured(tmp_path)
    assert asked == [list(METHODS["fragments"])] * 2


def test_a_method_that_fails_is_a_row_that_says_so_and_the_others_still_run(
    tiny, tmp_path, monkeypatch
):
    class Broken(registry.load(METHODS["fragments"]["colour"])):
        def predict(self, inputs):
            raise ValueError("no colours today")

    complete = registry.methods
    monkeypatch.setattr(
        registry,
        "methods",
        lambda *of: {
            m: Broken() if m == "colour" else its
            for m, its in complete(*of).items()
        },
    )
    result = measured(tmp_path)
    failure = (
        "fragments, first, colour: Broken failed: ValueError: no colours today."
    )
    assert run.failures(result)[0].startswith(failure)
    lines = tables.report([scores.Results(result)]).splitlines()
    assert any(
        line.startswith("| colour | failed: Broken failed: ValueError")
        for line in lines
    )
    assert any(
        line.startswith("| deep | 1.000") or line.startswith("| deep | 0.")
        for line in lines
    )
    assert (
        tables.short([scores.Results(result)]).count(
            "| colour | failed | failed |"
        )
        == 1
    )


def test_costs_that_cannot_be_measured_are_reported_and_the_rest_is_there(
    tiny, tmp_path, monkeypatch
):
    def broken(*of):
        raise ValueError("no network today")

    monkeypatch.setattr(run.networks, "cost_of_network", broken)
    result = measured(tmp_path, quick=False)
    assert run.failures(result) == [
        "fragments, network: ValueError: no network today"
    ]
    assert (
        "| network | failed: ValueError: no network today |"
        in tables.report([scores.Results(result)])
    )
    assert result["tasks"]["fragments"]["pictures"]


def test_results_of_other_tasks_stay_when_one_is_measured_again(tiny, tmp_path):
    other = {"data": "elsewhere"}
    (tmp_path / "builtin-quick.json").write_text(
        json.dumps({"name": "builtin-quick", "tasks": {"grains": other}})
    )
    measured(tmp_path)
    together = run.read(tmp_path / "builtin-quick.json")["tasks"]
    assert (
        list(together) == ["fragments", "grains"]
        and together["grains"] == other
    )


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
    [
        (0.0004, 1, True),
        (-0.2, -0.1, True),
        (-0.1, 0.1, False),
        (0.0, 1, False),
    ],
)
def test_a_difference_is_bold_only_when_its_interval_excludes_zero(
    low, high, is_bold
):
    assert (
        tables.bold(
            {"mean": (low + high) / 2, "low": low, "high": high}
        ).startswith("**")
        == is_bold
    )


def test_data_of_one_s_own_are_not_called_by_another_s_name():
    result = scores.TaskResults(
        "fragments",
        {
            "sha256": "0" * 64,
            "data": "my/photographs.zip",
            "methods": {},
            "conditions": [],
        },
    )
    assert "my/photographs.zip" in result.origin


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
    result = scores.TaskResults(
        "fragments",
        {
            "data": "builtin",
            "sha256": None,
            "methods": {},
            "conditions": points,
        },
    )
    ((method, sizes, times, slope),) = result.growth()
    assert (
        method == "deep"
        and list(sizes) == [10, 20, 80]
        and list(times) == [30, 60, 240]
        and slope == pytest.approx(1)
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of what the report is drawn from, with everything drawn; no socket is opened."""
    pytest.importorskip("typst", reason="drawing needs the extra [report]")
    folder = tmp_path_factory.mktemp("project")
    for name in ("README.md", "benchmarks", "checkpoints"):
        place = Path(__file__).parents[2] / name
        if place.is_dir():
            shutil.copytree(
                place,
                folder / name,
                ignore=shutil.ignore_patterns(
                    "cells", "__pycache__", "*.safetensors"
                ),
            )
        else:
            shutil.copy(place, folder / name)

    def refuse(*arguments, **others):
        raise AssertionError("a socket was opened")

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(socket.socket, "__init__", refuse)
        render.write_documents()
    return folder


def test_a_number_changed_by_hand_is_noticed_and_left_as_it_is(
    project, monkeypatch
):
    monkeypatch.chdir(project)
    paths = (Path("benchmarks", f"{name}.pdf") for name in ("report", "slides"))
    pdfs = {path: path.read_bytes() for path in paths}
    monkeypatch.setattr(render, "pdf_documents", lambda results: pdfs)
    assert render.write_documents(check=True) == []
    for name in ("README.md", "benchmarks/REPORT.md"):
        text = Path(name).read_text()
        changed = text.replace("| 0.9", "| 0.8", 1)
        assert changed != text
        Path(name).write_text(changed)
        with pytest.raises(ToolkitError, match=f"Stale: {name}"):
            render.write_documents(check=True)
        assert Path(name).read_text() == changed
        Path(name).write_text(text)


def test_the_page_loads_nothing_from_anywhere_else(project):
    text = (project / "benchmarks/index.html").read_text()
    assert "default-src 'none'" in text and "<script" not in text
    assert set(re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)) == set()
    assert not re.search(r"url\((?!#)", text)


def test_the_report_has_at_most_three_pages(project):
    pages = re.findall(
        rb"/Type\s*/Page(?![a-zA-Z])",
        (project / "benchmarks/report.pdf").read_bytes(),
    )
    assert 1 <= len(pages) <= 3


def test_a_readme_without_markers_is_refused(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("nothing")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ToolkitError, match="markers"):
        render.write_documents()


def test_what_another_run_wrote_meanwhile_stays(tmp_path, monkeypatch):
    def slow(task, *rest):
        (tmp_path / "builtin-quick.json").write_text(
            json.dumps({"name": "builtin-quick", "tasks": {"grains": {}}})
        )
        return {}

    monkeypatch.setattr(run, "task_results", slow)
    measured(tmp_path)
    assert set(run.read(tmp_path / "builtin-quick.json")["tasks"]) == {
        "fragments",
        "grains",
    }


def test_an_unknown_task_has_no_benchmark():
    with pytest.raises(ToolkitError, match="fragments"):
        run.run_benchmark(
            ("magic",), BenchmarkOptions(quick=True, out=Path("nowhere")), quiet
        )


def test_damaged_results_are_reported(tmp_path):
    (tmp_path / "builtin.json").write_text("garbage")
    with pytest.raises(ToolkitError, match="damaged"):
        run.read(tmp_path / "builtin.json")


@pytest.fixture
def new_metric(monkeypatch):
    """A metric that results were measured without."""
    task = registry.task("fragments")
    metric = Metric("groups", lambda target, prediction: 1.0, "always one")
    monkeypatch.setattr(
        run.dependencies,
        "metric_fingerprint",
        lambda task, name: "new" if name == "groups" else "old",
    )
    changed = replace(task, metrics=(*task.metrics, metric))
    return lambda: monkeypatch.setattr(registry, "task", lambda name: changed)


def test_a_new_metric_leaves_a_gap_and_the_command_that_fills_it(
    tiny, tmp_path, asked, new_metric
):
    measured(tmp_path)
    old = scores.Results(run.read(tmp_path / "builtin-quick.json"))
    new_metric()
    shown = scores.Results(run.read(tmp_path / "builtin-quick.json"))
    report = tables.report([shown])
    lines = report.splitlines()
    first = next(
        k for k, line in enumerate(lines) if line.startswith("| method | ari")
    )
    header, row = (
        lines[first],
        next(line for line in lines[first:] if line.startswith("| deep | ")),
    )
    column = header.split(" | ").index("groups")
    assert row.split(" | ")[column] == "-"
    assert (
        "groups was not measured yet: `toolkit benchmark fragments`" in report
    )
    assert tables.short([shown]) == tables.short([old])
    asked.clear()
    again = scores.Results(measured(tmp_path))
    assert asked and "was not measured yet" not in tables.report([again])


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A copy of the code that fingerprints are taken of; gives its folder."""
    root = Path(__file__).parents[2]
    for name in ("toolkit", "data", "baselines", "deep"):
        ignore = shutil.ignore_patterns("__pycache__", "training")
        shutil.copytree(root / name, tmp_path / name, ignore=ignore)

    def place_of(module):
        path = tmp_path.joinpath(*module.split(".")[1:])
        return str(
            path.with_suffix(".py")
            if path.with_suffix(".py").exists()
            else path / "__init__.py"
        )

    monkeypatch.setattr(dependencies, "place_of", place_of)
    dependencies.read_module.cache_clear()
    yield tmp_path
    dependencies.read_module.cache_clear()


def fingerprints():
    """The fingerprint of every method."""
    dependencies.read_module.cache_clear()
    return {
        (task, name): dependencies.fingerprint(place, registry.SAMPLERS[task])
        for task, methods in registry.METHODS.items()
        for name, place in methods.items()
    }


def changed_by(sources, place, old, new):
    """The methods whose fingerprint a change of the code changes."""
    before = fingerprints()
    path = sources / place
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    after = fingerprints()
    path.write_text(text)
    return {key for key in before if before[key] != after[key]}


def test_a_method_or_a_line_added_makes_no_other_result_stale(sources):
    added = "\n\n@dataclass(frozen=True)\nclass Added:\n"
    added += "    def predict(self, inputs):\n        return 1\n"
    for place in (
        "baselines/lines.py",
        "deep/grains.py",
        "baselines/fragments.py",
    ):
        end = (sources / place).read_text()[-40:]
        assert changed_by(sources, place, end, end + added) == set()


def test_a_change_makes_stale_what_it_concerns_and_nothing_else(sources):
    lines = {key for key in fingerprints() if key[0] == "lines"}
    for place, old, new, concerned in (
        ("baselines/lines.py", "@dataclass", "SLOW = 1\n\n\n@dataclass", set()),
        (
            "toolkit/tasks/lines/filling.py",
            "TILE = 384",
            "TILE = 392",
            lines - {("lines", "trivial")},
        ),
        ("data/lines.py", "np.float32(255)", "np.float32(256)", lines),
        (
            "baselines/grains.py",
            "window: float = 73.6",
            "window: float = 70.0",
            {("grains", "baseline")},
        ),
        (
            "toolkit/tasks/grains/files.py",
            "KINDS = ",
            "OTHER = 1\nKINDS = ",
            set(),
        ),
    ):
        assert changed_by(sources, place, old, new) == concerned, place


def test_what_a_module_does_without_binding_a_name_counts(sources):
    old = "\n\n# --- linear minimum"
    new = f"\nnp.seterr(all='ignore')\n{old}"
    concerned = changed_by(sources, "baselines/lines.py", old, new)
    assert ("lines", "linear") in concerned and (
        "grains",
        "baseline",
    ) not in concerned


@pytest.mark.parametrize(
    "base",
    [
        "from hvd.baselines.lines import Linear\nclass Mine(Linear): pass\n",
        "import hvd.baselines.lines\nclass Mine(hvd.baselines.lines.Linear): pass\n",
    ],
)
def test_what_one_s_own_method_takes_from_ours_counts(
    tmp_path, monkeypatch, base
):
    monkeypatch.syspath_prepend(tmp_path)
    name = f"own_{len(base)}"
    (tmp_path / f"{name}.py").write_text(base)
    result = dependencies.closure([dependencies.Symbol(name, "Mine")])
    assert dependencies.Symbol("hvd.baselines.lines", "Linear") in result


def test_a_name_that_is_not_there_has_no_fingerprint():
    with pytest.raises(KeyError):
        dependencies.fingerprint("hvd.baselines.lines:Quadratic")


@pytest.mark.parametrize("task", registry.TASKS)
def test_what_enlarges_samples_has_a_fingerprint(task):
    enlarge = registry.task(task).enlarge
    if enlarge:
        assert dependencies.fingerprint(
            f"{enlarge.__module__}:{enlarge.__name__}"
        )


def test_learned_files_count_as_code(sources):
    before = fingerprints()
    (sources / "baselines/lmmse.npz").write_bytes(b"other")
    assert {
        key for key, its in fingerprints().items() if its != before[key]
    } == {("lines", "lmmse")}


def test_docstrings_and_comments_do_not_count(sources):
    old = '"""Fill scans by `fill('
    new = '"""Fill stacks by `fill('
    assert changed_by(sources, "baselines/lines.py", old, new) == set()

"""What a run leaves besides the files of each micrograph: specimens, batches, a page."""

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hvd.toolkit.tasks.grains import astm
from hvd.toolkit.tasks.grains.batches import (
    batch_chart,
    batch_table,
    least_p_value,
    pairwise_tests,
)
from hvd.toolkit.tasks.grains.charts import chart
from hvd.toolkit.tasks.grains.specimens import Specimen, specimen_table
from tests.tasks.grains.test_files import done, folders

__all__ = ["done", "folders"]  # fixtures

INTERCEPTS = [10.2496, 9.14402, 9.44767, 8.76735, 10.1608]
DENSITIES = [6300.1, 6979.7, 7041.2, 8090.5, 5866.0]


def field(intercept, density, grains=60):
    return {
        "unit": "micrometre",
        "diameter": {"number_weighted": {"mean": 1.0}},
        "whole_grains": grains,
        "reliability": 0.9,
        "mean_intercept": {"mean": intercept},
        "grains_per_mm2": {"mean": density},
    }


def specimen(fields, areas):
    return Specimen(fields, areas, np.ones(len(areas), bool))


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_fields_are_pooled_as_the_standard_does():
    fields = [field(*pair) for pair in zip(INTERCEPTS, DENSITIES, strict=True)]
    areas = np.array([100.0, 120, 140, 268.75])
    (row,) = rows_of(specimen_table({"s": specimen(fields, areas)}))
    mean = np.mean(INTERCEPTS)
    half = stats.t.ppf(0.975, 4) * np.std(INTERCEPTS, ddof=1) / np.sqrt(5)
    assert float(row["mean_intercept_um"]) == pytest.approx(mean, rel=1e-5)
    assert float(row["mean_intercept_um_ci95"]) == pytest.approx(half, rel=1e-5)
    accuracy = float(row["mean_intercept_um_relative_accuracy_percent"])
    assert accuracy == pytest.approx(100 * half / mean, rel=1e-5)
    assert float(row["g_intercept"]) == pytest.approx(10.13, abs=0.005)
    assert float(row["ala_g"]) == pytest.approx(8.91, abs=0.005)
    assert row["fields"] == "5" and row["whole_grains"] == "4"


def test_one_field_and_no_sizes_are_told():
    none = field(1, 1, 0) | {"diameter": None, "reliability": 0.1}
    table = specimen_table(
        {
            "one": specimen([field(10, 7000, 20), none], np.array([5.0, 6])),
            "none": specimen([none], np.zeros(0)),
        }
    )
    one, nothing = rows_of(table)
    assert one["fields_without_sizes"] == "1" and one["g_intercept"] != ""
    assert "no confidence interval" in one["note"]
    assert "1 of 1 fields have fewer than 50" in one["note"]
    assert nothing["note"] == "no field has a whole grain"
    assert nothing["least_reliability"] == "0.1"


def test_p_values_are_corrected_for_the_number_of_pairs():
    rng = np.random.default_rng(0)
    batches = {
        name: np.sort(rng.lognormal(mean, 0.3, 80))
        for name, mean in (("a", 2.0), ("b", 2.05), ("c", 2.6))
    }
    tests = pairwise_tests(batches)
    raw = sorted(test["p"] for test in tests.values())
    holm = sorted(test["p_holm"] for test in tests.values())
    expected = np.maximum.accumulate(
        [min(1, raw[k] * (3 - k)) for k in range(3)]
    )
    np.testing.assert_allclose(holm, expected)
    for (a, b), test in tests.items():
        assert test["p"] == stats.ks_2samp(batches[a], batches[b]).pvalue


@pytest.mark.parametrize(("n", "m"), [(5, 2), (3, 3), (12, 7), (40, 60)])
def test_the_least_p_value_is_that_of_samples_that_do_not_overlap(n, m):
    p = stats.ks_2samp(np.arange(n), np.arange(m) + 1000, method="exact").pvalue
    assert least_p_value(n, m) == pytest.approx(p, rel=1e-9)


def test_few_grains_and_none_are_marked():
    batches = {
        "few": np.array([3.0, 4, 5, 6, 7]),
        "two": np.array([4.0, 9]),
        "none": np.zeros(0),
    }
    tests = pairwise_tests(batches)
    rows = rows_of(batch_table(batches, tests, "um"))
    first = rows[0]
    assert float(first["least_p"]) == pytest.approx(2 / 21, rel=1e-3)
    assert "cannot give a p value below 0.095" in first["note"]
    assert rows[1]["p_value"] == "" and "no whole grain" in rows[1]["note"]
    assert batch_chart(batches, tests, 0, "um").shape == (700, 1200, 3)


def test_a_batch_of_one_grain_shows():
    alone = ("one", np.array([5.0]), np.array([1.0]))
    many = ("many", np.linspace(2, 9, 50), np.linspace(0.02, 1, 50))
    with_it = chart([], [many, alone], "", "")
    differs = (with_it != chart([], [many], "", "")).any(axis=2)
    assert differs[:, 500:].sum() > 20  # besides the legend


def test_a_duplex_structure_is_told_from_one_size():
    rng = np.random.default_rng(1)
    one_size = rng.lognormal(3, 0.5, 800)
    assert astm.duplex(one_size)["kind"] == "none"
    # Half of the section in grains 16 times, or 2^6 times, as large.
    fine = rng.lognormal(2, 0.4, 3000)
    coarse = rng.lognormal(2 + np.log(64), 0.3, 50)
    assert astm.duplex(np.append(fine, coarse))["kind"] == "bimodal"
    single = astm.duplex(np.append(fine, fine.mean() * 20))
    assert single["kind"] == "isolated coarse grains"
    assert 0 < single["coarse_share"] < 0.05


def test_fields_without_a_crossed_boundary_leave_intercepts_empty():
    lone = field(1, 1000) | {"mean_intercept": None}
    (row,) = rows_of(specimen_table({"s": specimen([lone], np.array([9.0]))}))
    assert row["mean_intercept_um"] == row["g_intercept"] == ""
    assert float(row["g_planimetric"]) > 0


@pytest.mark.parametrize("values", [(5.0, 10, 15), (10.0, 10, 10)])
def test_wide_scatter_asks_for_more_fields(values):
    densities = (700, 1000, 1300)
    fields = [field(*pair) for pair in zip(values, densities, strict=True)]
    (row,) = rows_of(specimen_table({"s": specimen(fields, np.ones(9))}))
    assert "relative accuracy above 10 %" in row["note"]


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links = []

    def handle_starttag(self, tag, attributes):
        self.links += [v for k, v in attributes if k in ("src", "href")]


def test_the_page_shows_every_micrograph_and_its_links_lead_somewhere(done):
    _, out = done
    text = (out / "report.html").read_text()
    page = Links()
    page.feed(text)
    assert len(page.links) > 10
    for link in page.links:
        assert (out / link).is_file(), link
    for name in ("before/m0.tif", "after/m1.tif", "after/broken.png"):
        assert name in text
    # What is doubtful stands before the numbers.
    assert text.index("Read this first") < text.index("<table>")
    assert re.search("broken.png</b> failed", text)
    assert "<script" not in text and "http" not in text


def test_names_in_the_page_are_text(tmp_path, done):
    from hvd.toolkit.tasks.grains.page import run_page

    record = {
        "input": "x/<script>&.png",
        "status": "failed",
        "reason": "<b>bad</b>",
        "remedy": "",
    }
    page = run_page(lambda: [record], Path("out"), ["summary.csv"], False)
    assert "<script>" not in page and "<b>bad" not in page

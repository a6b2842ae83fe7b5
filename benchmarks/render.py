"""Draw everything that comes from results: README, REPORT.md, page, report, slides, cards.

All of it is a function of benchmarks/results, of the checkpoints, and of the prose in this folder.
"""

import base64
import tempfile
from pathlib import Path
from typing import Any

from hvd.benchmarks import tables
from hvd.benchmarks.networks import is_worth_shipping
from hvd.benchmarks.scores import (
    Results,
    TaskResults,
    picture,
    preferred_results,
    stored_results,
    study,
)
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.outputs import write_bytes

BEGIN = "<!-- results: `toolkit report` writes between these markers -->"
END = "<!-- end of results -->"
# Tasks in the prose of report.typ and slides.typ.
QUOTED_TASKS = "fragments", "grains", "lines", "objects"
FOLDER = Path("benchmarks")
TEMPLATES = Path(__file__).parent


def write_documents(check: bool = False) -> list[Path]:
    """Write the README's table, REPORT.md, report, slides, page and cards.

    With `check` nothing is written, and ToolkitError is raised when a tracked file is stale. The
    page is not tracked. Returns the paths that changed.
    """
    readme = Path("README.md").read_text() if Path("README.md").exists() else ""
    if BEGIN not in readme or END not in readme.split(BEGIN)[1]:
        reason = "There is no README.md with markers for results here."
        raise ToolkitError(
            reason, "Run this in the project's folder.", status=2
        )

    results = stored_results()
    before, rest = readme.split(BEGIN)
    table = tables.headline(results[:1])
    readme = f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"
    documents = {
        Path("README.md"): readme.encode(),
        FOLDER / "REPORT.md": tables.report(results).encode(),
        Path("checkpoints/README.md"): tables.cards().encode(),
    }
    if results:
        documents |= pdf_documents(results)
        if not check:
            documents |= {FOLDER / "index.html": page(results).encode()}

    stale = []
    for path, data in documents.items():
        if not path.exists() or path.read_bytes() != data:
            stale.append(path)

    if check and stale:
        names = ", ".join(map(str, stale))
        raise ToolkitError(
            f"Stale: {names}.", "Run `toolkit report`.", status=1
        )

    for path in stale:
        write_bytes(path, documents[path])
    return stale


def pdf_documents(results: list[Results]) -> dict[Path, bytes]:
    """The report and the slides, as PDF. Needs the extra [report].

    `results` are those on real data, if any, and last those on built-in samples, the only ones
    with pictures. The same results give the same bytes everywhere, so that `--check` can compare.
    """
    try:
        import matplotlib  # draws the plots, and brings the fonts
        import typst
    except ImportError as error:
        remedy = "Install the extra: pip install '.[report]'."
        raise ToolkitError(f"Drawing needs {error.name}.", remedy, 2) from error

    chosen = preferred_results(results)
    missing = [task for task in QUOTED_TASKS if task not in chosen.tasks]
    if missing:
        remedy = f"Run `toolkit benchmark {' '.join(missing)}`."
        raise ToolkitError(
            f"There are no results of {', '.join(missing)}.", remedy
        )

    files = plots_of(chosen) | examples_of(results[-1])
    fonts = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf")
    documents = {}

    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            Path(folder, name).write_bytes(data)
        for name in ("report", "slides"):
            source = Path(folder, f"{name}.typ")
            source.write_text(fill_template(source.name, Quoted(chosen)))
            documents[FOLDER / f"{name}.pdf"] = typst.compile(
                str(source),
                root=folder,
                ignore_system_fonts=True,
                font_paths=[fonts],
                timestamp=0,
            )

    return documents


def plots_of(results: Results) -> dict[str, bytes]:
    """The plots in the report and the slides, by file name."""
    from hvd.benchmarks import plots

    tasks = results.tasks
    fragments = [tasks["fragments"]]
    grains = [tasks["grains"]]
    return {
        "overview.svg": plots.overview(results, columns=2, width=7, height=1.9),
        "sweeps.svg": plots.sweeps(
            list(tasks.values()), columns=3, width=7, height=1.55
        ),
        "sizes.svg": plots.sizes(results, columns=4, width=7, height=1.6),
        "sizes-slide.svg": plots.sizes(
            results, columns=4, width=7.6, height=1.9
        ),
        "fragments-slide.svg": plots.sweeps(
            fragments, columns=2, width=4.6, height=1.28
        ),
        "grains-slide.svg": plots.sweeps(
            grains, columns=2, width=4.4, height=1.7
        ),
        "lines-slide.svg": plots.figure(
            [plots.quality(tasks["lines"])], 1, 4.4, 3.3
        ),
        "objects-slide.svg": plots.figure(
            [plots.quality(tasks["objects"])], 1, 4.4, 2.0
        ),
    }


def examples_of(results: Results) -> dict[str, bytes]:
    """The example pictures of all tasks, by file name."""
    files = {}
    for task in results.tasks.values():
        for example in task.content.get("pictures", ()):
            files[example["file"]] = picture(example["file"])
    return files


class Quoted:
    """Numbers of results as the prose of the templates quotes them."""

    def __init__(self, results: Results):
        self.tasks = results.tasks

    def mean(
        self,
        task: str,
        condition: str,
        method: str,
        metric: str = "",
        digits: int = 3,
    ) -> str:
        """Mean of a metric, of the headline metric if none is named."""
        results = self.tasks[task]
        scores = results.scores(results.conditions[condition])
        mean = scores[method]["metrics"][metric or results.headline.name]
        return tables.GAP if mean is None else f"{mean['mean']:.{digits}f}"

    def gain(
        self,
        task: str,
        condition: str,
        digits: int = 3,
    ) -> str:
        """`deep` minus `baseline` with its interval."""
        results = self.tasks[task]
        gain = results.gain(results.conditions[condition])
        if gain is None:
            return tables.GAP
        mean, low, high = (
            f"{gain[name]:+.{digits}f}" for name in ("mean", "low", "high")
        )
        return f"{mean} [{low}, {high}]"

    def milliseconds(
        self,
        task: str,
        condition: str,
        method: str,
    ) -> str:
        """Median milliseconds for a sample."""
        results = self.tasks[task]
        scores = results.scores(results.conditions[condition])
        return f"{scores[method]['milliseconds']['median']:.0f}"

    def at(
        self,
        task: str,
        series: str,
        value: float,
        method: str,
    ) -> str:
        """Mean of the headline metric at a point of a sweep."""
        results = self.tasks[task]
        point = next(c for c in results.sweeps[series] if c["value"] == value)
        mean = results.scores(point)[method]["metrics"][results.headline.name]
        return tables.GAP if mean is None else f"{mean['mean']:.3f}"

    def origin(self, task: str) -> str:
        """What the samples of a task were made from."""
        return self.tasks[task].origin

    def slope(self, task: str, method: str) -> str:
        """Growth of time with size."""
        slopes = {
            name: slope for name, _, _, slope in self.tasks[task].growth()
        }
        return f"{slopes[method]:.2f}"

    def network(self, task: str) -> dict[str, Any]:
        """What the network costs."""
        return self.tasks[task].content["network"]


def fill_template(name: str, quoted: Quoted) -> str:
    """A text beside this module with its numbers filled in; a missing number is an error."""
    import jinja2

    marks = {
        "variable_start_string": "<<",
        "variable_end_string": ">>",
        "block_start_string": "<%",
        "block_end_string": "%>",
    }
    jinja = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        **marks,
    )

    names = ("mean", "at", "gain", "origin", "milliseconds", "slope", "network")
    values = {name: getattr(quoted, name) for name in names}
    tasks = quoted.tasks
    values |= {
        "tasks": tasks,
        "with_network": [
            name for name, task in tasks.items() if "network" in task.content
        ],
        "study": study,
        "is_worth_shipping": is_worth_shipping,
    }

    try:
        return jinja.from_string((TEMPLATES / name).read_text()).render(values)
    except (KeyError, StopIteration) as error:
        reason = f"{name} quotes {error}, which was not measured."
        raise ToolkitError(
            reason, "Run `toolkit benchmark` for all tasks."
        ) from error


def page(results: list[Results]) -> str:
    """The page: one HTML file that loads nothing from elsewhere."""
    import jinja2
    import markupsafe

    from hvd.benchmarks import plots

    def inline(svg: bytes) -> markupsafe.Markup:
        return markupsafe.Markup(svg[svg.index(b"<svg") :].decode())

    def examples(task: TaskResults) -> list[dict[str, Any]]:
        pictures = []
        for example in task.content.get("pictures", ()):
            data = base64.b64encode(picture(example["file"])).decode()
            pictures.append(example | {"data": data})
        return pictures

    def errors(task: TaskResults) -> list[markupsafe.Markup]:
        others = task.swept_metrics[1:]
        return (
            [inline(plots.sweeps([task], 4, 10, 2.1, others))] if others else []
        )

    jinja = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return jinja.from_string((TEMPLATES / "page.html").read_text()).render(
        results=results,
        tables=tables,
        examples=examples,
        quality=lambda task: inline(
            plots.figure([plots.quality(task)], 1, 5.2, 3)
        ),
        sweeps=lambda task: inline(
            plots.sweeps([task], columns=4, width=10, height=2.1)
        ),
        growth=lambda task: inline(
            plots.figure([plots.growth(task)], 1, 4.6, 2.8)
        ),
        errors=errors,
    )

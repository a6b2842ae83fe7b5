"""Everything drawn from results: the README's table, REPORT.md, the page, the report and the slides, and the cards; a pure function
of benchmarks/results, of the checkpoints and of the prose here."""

import base64
import tempfile
from pathlib import Path
from typing import Any

from hvd.benchmarks import tables
from hvd.benchmarks.networks import pays
from hvd.benchmarks.reference import reference
from hvd.benchmarks.scores import Results, TaskResults, picture, preferred, stored, study
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.outputs import write_bytes

BEGIN = "<!-- results: `toolkit report` writes between these markers -->"
END = "<!-- end of results -->"
QUOTED = "fragments", "grains", "lines", "objects"  # by the prose of report.typ and slides.typ
FOLDER = Path("benchmarks")
TEMPLATES = Path(__file__).parent


def write_documents(check: bool = False) -> list[Path]:
    """Write the README's tables, benchmarks/ REPORT.md, index.html, report.pdf and slides.pdf, and checkpoints/README.md; with
    `check` write nothing and raise ToolkitError when one is stale.

    Returns the paths that changed.
    """
    readme = Path("README.md").read_text() if Path("README.md").exists() else ""
    if BEGIN not in readme or END not in readme.split(BEGIN)[1]:
        raise ToolkitError(
            "There is no README.md with markers for results here.",
            "Run this in the project's folder.",
            status=2,
        )

    results = stored()
    before, rest = readme.split(BEGIN)
    drawn = {
        Path(
            "README.md"
        ): f"{before}{BEGIN}\n{tables.short(results[:1])}\n{END}{rest.split(END)[1]}".encode(),
        Path("docs/reference.md"): reference().encode(),
        FOLDER / "REPORT.md": tables.report(results).encode(),
        Path("checkpoints/README.md"): tables.cards().encode(),
    }
    if results:
        drawn |= documents(results)
    stale = [path for path, data in drawn.items() if not path.exists() or path.read_bytes() != data]

    if check and stale:
        raise ToolkitError(
            f"Stale: {', '.join(map(str, stale))}.", "Run `toolkit report`.", status=1
        )

    for path in stale:
        write_bytes(path, drawn[path])
    return stale


def documents(results: list[Results]) -> dict[Path, bytes]:
    """The page, the report and the slides. Needs the extra [report]."""
    try:
        import typst

        from hvd.benchmarks import plots
    except ImportError as error:
        raise ToolkitError(
            f"Drawing needs {error.name}.", "Install the extra: pip install '.[report]'.", 2
        ) from error

    import matplotlib

    first = preferred(results)
    missing = [task for task in QUOTED if task not in first.tasks]
    if missing:
        remedy = f"Run `toolkit benchmark {' '.join(missing)}`."
        raise ToolkitError(f"There are no results of {', '.join(missing)}.", remedy)

    pictures = {
        "overview.svg": plots.overview(first, columns=2, width=7, height=1.9),
        "sweeps.svg": plots.sweeps(list(first.tasks.values()), columns=3, width=7, height=1.55),
        "sizes.svg": plots.sizes(first, columns=4, width=7, height=1.6),
        "sizes-slide.svg": plots.sizes(first, columns=4, width=7.6, height=1.9),
        "fragments-slide.svg": plots.sweeps(
            [first.tasks["fragments"]], columns=2, width=4.6, height=1.28
        ),
        "grains-slide.svg": plots.sweeps([first.tasks["grains"]], columns=2, width=4.4, height=1.7),
        "lines-slide.svg": plots.figure([plots.quality(first.tasks["lines"])], 1, 4.4, 3.3),
        "objects-slide.svg": plots.figure([plots.quality(first.tasks["objects"])], 1, 4.4, 2.0),
    }
    examples = {
        its["file"]: picture(its["file"])
        for task in results[-1].tasks.values()
        for its in task.found.get("pictures", ())
    }
    drawn = {FOLDER / "index.html": page(results, plots).encode()}
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"

    with tempfile.TemporaryDirectory() as folder:
        for name, data in {**pictures, **examples}.items():
            Path(folder, name).write_bytes(data)
        for name in ("report", "slides"):
            source = Path(folder, f"{name}.typ")
            source.write_text(template(source.name, Quoted(first)))
            drawn[FOLDER / f"{name}.pdf"] = typst.compile(
                source, root=folder, ignore_system_fonts=True, font_paths=[str(fonts)], timestamp=0
            )

    return drawn


class Quoted:
    """Numbers of results as prose quotes them."""

    def __init__(self, results: Results):
        self.tasks = results.tasks

    def mean(
        self, task: str, condition: str, method: str, metric: str = "", digits: int = 3
    ) -> str:
        """Mean of a metric, the headline if none is named."""
        found = self.tasks[task]
        scores = found.scores(found.conditions[condition])
        mean = scores[method]["metrics"][metric or found.headline.name]
        return tables.GAP if mean is None else f"{mean['mean']:.{digits}f}"

    def gain(self, task: str, condition: str, digits: int = 3) -> str:
        """`deep` minus `baseline` with its interval."""
        found = self.tasks[task]
        its = found.gain(found.conditions[condition])
        if its is None:
            return tables.GAP
        return f"{its['mean']:+.{digits}f} [{its['low']:+.{digits}f}, {its['high']:+.{digits}f}]"

    def milliseconds(self, task: str, condition: str, method: str) -> str:
        """Median milliseconds of a sample."""
        found = self.tasks[task]
        return f"{found.scores(found.conditions[condition])[method]['milliseconds']['median']:.0f}"

    def at(self, task: str, series: str, value: float, method: str) -> str:
        """Mean of the headline metric at a point of a sweep."""
        found = self.tasks[task]
        point = next(c for c in found.sweeps[series] if c["value"] == value)
        mean = found.scores(point)[method]["metrics"][found.headline.name]
        return tables.GAP if mean is None else f"{mean['mean']:.3f}"

    def origin(self, task: str) -> str:
        """What the samples of a task were made from."""
        return self.tasks[task].origin

    def slope(self, task: str, method: str) -> str:
        """Growth of time with size."""
        return next(
            f"{slope:.2f}" for name, _, _, slope in self.tasks[task].growth() if name == method
        )

    def network(self, task: str) -> dict[str, Any]:
        """What the network costs."""
        return self.tasks[task].found["network"]


def template(name: str, quoted: Quoted) -> str:
    """A text beside this module with the numbers that it quotes; a number that is not there is an error."""
    import jinja2

    marks = {
        "variable_start_string": "<<",
        "variable_end_string": ">>",
        "block_start_string": "<%",
        "block_end_string": "%>",
    }
    made = jinja2.Environment(
        undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True, **marks
    )
    names = ("mean", "at", "gain", "origin", "milliseconds", "slope", "network")
    values = {name: getattr(quoted, name) for name in names} | {
        "tasks": quoted.tasks,
        "with_network": [name for name, task in quoted.tasks.items() if "network" in task.found],
        "study": study,
        "pays": pays,
    }

    try:
        return made.from_string((TEMPLATES / name).read_text()).render(values)
    except (KeyError, StopIteration) as error:
        raise ToolkitError(
            f"{name} quotes {error}, which was not measured.",
            "Run `toolkit benchmark` for all tasks.",
        ) from error


def page(results: list[Results], plots: Any) -> str:
    """The page: one file that asks nothing of any other place."""
    import jinja2
    import markupsafe

    def inline(svg: bytes) -> markupsafe.Markup:
        return markupsafe.Markup(svg[svg.index(b"<svg") :].decode())

    def shown(task: TaskResults) -> list[dict[str, Any]]:
        return [
            its | {"data": base64.b64encode(picture(its["file"])).decode()}
            for its in task.found.get("pictures", ())
        ]

    made = jinja2.Environment(
        undefined=jinja2.StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return made.from_string((TEMPLATES / "page.html").read_text()).render(
        results=results,
        tables=tables,
        shown=shown,
        quality=lambda task: inline(plots.figure([plots.quality(task)], 1, 5.2, 3)),
        sweeps=lambda task: inline(plots.sweeps([task], columns=4, width=10, height=2.1)),
        growth=lambda task: inline(plots.figure([plots.growth(task)], 1, 4.6, 2.8)),
        errors=lambda task: (
            [inline(plots.sweeps([task], 4, 10, 2.1, task.swept[1:]))] if task.swept[1:] else []
        ),
    )

"""Plots of results, as SVG: one palette that survives colour blindness and greyscale, axes with units."""

import io
from collections.abc import Callable

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from benchmarks.conditions import AXES, MAIN
from benchmarks.scores import Results, TaskResults

STYLE = {
    "svg.hashsalt": "toolkit",
    "font.size": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
LOOKS = {  # Okabe and Ito's colours, which differ in lightness too; marker and line differ for print without colour
    "trivial": ("#999999", "x", ":"),
    "baseline": ("#d55e00", "s", "--"),
    "deep": ("#0072b2", "o", "-"),
}
OTHER = ("#56504a", "D", "-.")
UNITS = {
    "ari": "ARI",
    "boundary_iou": "boundary IoU",
    "psnr_db": "PSNR, dB",
    "iou": "IoU",
    "diameter_error": "diameter error",
}
LARGE = {"fragments": "fragments in a heap", "grains": "megapixels", "lines": "megapixels", "objects": "megapixels"}


def svg(figure: plt.Figure) -> bytes:
    """A figure as SVG that is the same for the same results; the figure is closed."""
    with io.BytesIO() as file:
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
        return file.getvalue()


def figure(panels: list[Callable[[Axes], None]], columns: int, width: float, height: float, legend: bool = False) -> bytes:
    """Panels on one sheet, each `height` inches high on a sheet `width` inches wide, with one legend above when asked for."""
    rows = -(-len(panels) // columns)
    with plt.rc_context(STYLE):
        sheet, axes = plt.subplots(rows, columns, figsize=(width, height * rows), squeeze=False, layout="constrained")
        for ax, draw in zip(axes.flat, panels, strict=False):
            draw(ax)
        for ax in axes.flat[len(panels) :]:
            ax.axis("off")
        if legend:
            sheet.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, handlelength=3)
        return svg(sheet)


def quality(task: TaskResults) -> Callable[[Axes], None]:
    """The headline metric of every method under the first condition, with its median time beside it."""

    def draw(ax: Axes) -> None:
        condition = next(iter(task.conditions.values()))
        scores = task.scores(condition)
        ranked = sorted(scores, key=lambda m: scores[m]["metrics"][task.headline.name]["mean"])
        for row, name in enumerate(ranked):
            colour, marker, _ = LOOKS.get(name, OTHER)
            score, time = scores[name]["metrics"][task.headline.name], scores[name]["milliseconds"]["median"]
            spread = [[max(0, score["mean"] - score["low"])], [max(0, score["high"] - score["mean"])]]
            ax.errorbar(score["mean"], row, xerr=spread, fmt=marker, color=colour, markersize=5, capsize=2, linewidth=1)
            label = f"{time:.0f} ms" if time >= 10 else f"{time:.1f} ms"
            ax.text(1.01, row, label, transform=ax.get_yaxis_transform(), va="center", color=colour)
        ax.set_yticks(range(len(ranked)), ranked)
        for text in ax.get_yticklabels():
            text.set_fontweight("bold" if text.get_text() in LOOKS else "normal")
        ax.set_ylim(-0.6, len(ranked) - 0.4)
        ax.set_xlabel(UNITS.get(task.headline.name, task.headline.name))
        ax.set_title(f"{task.name}: {condition['condition']}", loc="left", fontweight="bold")

    return draw


def sweep(task: TaskResults, name: str, title: str, metric: str | None = None) -> Callable[[Axes], None]:
    """A metric, the headline if none is named, against the value of a sweep, with 95 % intervals."""
    metric = metric or task.headline.name

    def draw(ax: Axes) -> None:
        points = task.sweeps[name]
        for method in MAIN:
            colour, marker, line = LOOKS[method]
            its = [(c["value"], task.scores(c)[method]["metrics"][metric]) for c in points if method in task.scores(c)]
            x = [value for value, _ in its]
            ax.plot(x, [s["mean"] for _, s in its], marker=marker, linestyle=line, color=colour, label=method, markersize=3.5)
            ax.fill_between(x, [s["low"] for _, s in its], [s["high"] for _, s in its], color=colour, alpha=0.15, linewidth=0)
        ax.set(xlabel=AXES[name], ylabel=UNITS.get(metric, metric.replace("_", " ")))
        ax.set_title(title, loc="left", fontweight="bold")

    return draw


def growth(task: TaskResults) -> Callable[[Axes], None]:
    """Median time against size, both logarithmic, with the slope of each method."""

    def draw(ax: Axes) -> None:
        for method, sizes, times, slope in task.growth():
            colour, marker, line = LOOKS[method]
            label = f"{method}: slope {slope:.2f}"
            ax.loglog(sizes, times / 1000, marker=marker, linestyle=line, color=colour, label=label, markersize=3.5)
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set(xlabel=LARGE[task.name], ylabel="time, s")
        ax.set_title(task.name, loc="left", fontweight="bold")
        ax.legend(loc="upper left", handlelength=2.5, borderpad=0, fontsize="small")
        ax.set_ylim(top=ax.get_ylim()[1] * 8)  # room for the legend

    return draw


def overview(results: Results, columns: int, width: float, height: float) -> bytes:
    """Quality and time of every method, a panel a task."""
    return figure([quality(task) for task in results.tasks.values()], columns, width, height)


def sweeps(tasks: list[TaskResults], columns: int, width: float, height: float, metric: str | None = None) -> bytes:
    """Every sweep of tasks, a panel each, under the name of its task when there are several."""
    several = len(tasks) > 1
    panels = [sweep(t, name, f"{t.name}: {name}" if several else name, metric) for t in tasks for name in t.sweeps]
    return figure(panels, columns, width, height, legend=True)


def sizes(results: Results, columns: int, width: float, height: float) -> bytes:
    """Time against size, a panel a task."""
    return figure([growth(task) for task in results.tasks.values()], columns, width, height)

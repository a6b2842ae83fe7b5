"""Plots of results, as SVG: one palette that survives colour blindness and greyscale, axes with units."""

import io
from collections.abc import Callable
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from hvd.benchmarks.conditions import AXES, MAIN, SIZE
from hvd.benchmarks.scores import Results, TaskResults
from hvd.toolkit.core import Metric

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


def svg(figure: Figure) -> bytes:
    """A figure as SVG that is the same for the same results."""
    with io.BytesIO() as file:
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        return file.getvalue()


def figure(
    panels: list[Callable[[Axes], None]],
    columns: int,
    width: float,
    height: float,
    legend: bool = False,
) -> bytes:
    """Panels on one sheet, each `height` inches high on a sheet `width` inches wide, with one legend above when asked for."""
    rows = -(-len(panels) // columns)
    with rc_context(STYLE):
        sheet = Figure(figsize=(width, height * rows), layout="constrained")
        axes = sheet.subplots(rows, columns, squeeze=False)
        for ax, draw in zip(axes.flat, panels, strict=False):
            draw(ax)
        for ax in axes.flat[len(panels) :]:
            ax.axis("off")
        if legend:
            sheet.legend(
                *axes.flat[0].get_legend_handles_labels(),
                loc="outside upper right",
                ncols=2,
                handlelength=3,
            )

        return svg(sheet)


def quality(task: TaskResults) -> Callable[[Axes], None]:
    """The headline metric of every method under the first condition, with its median time."""

    def draw(ax: Axes) -> None:
        condition = next(iter(task.conditions.values()))
        means = headline_means(task, condition)
        ranked = sorted(means, key=lambda m: means[m]["mean"])
        for row, name in enumerate(ranked):
            colour, marker, _ = LOOKS.get(name, OTHER)
            mean = means[name]
            low, high = ends(mean)
            spread = [[max(0, mean["mean"] - low)], [max(0, high - mean["mean"])]]
            style = {"color": colour, "markersize": 5, "capsize": 2, "linewidth": 1}
            ax.errorbar(mean["mean"], row, xerr=spread, fmt=marker, **style)

            time = task.scores(condition)[name]["milliseconds"]["median"]
            label = f"{time:.0f} ms" if time >= 10 else f"{time:.1f} ms"
            beside = ax.get_yaxis_transform()
            ax.text(1.01, row, label, transform=beside, va="center", color=colour)

        ax.set_yticks(range(len(ranked)), ranked)
        for text in ax.get_yticklabels():
            text.set_fontweight("bold" if text.get_text() in LOOKS else "normal")
        ax.set_ylim(-0.6, max(0, len(ranked) - 1) + 0.6)
        ax.set_xlabel(task.headline.title)
        ax.set_title(f"{task.name}: {condition['condition']}", loc="left", fontweight="bold")

    return draw


def headline_means(task: TaskResults, condition: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Mean and interval of the headline metric by method, of those that were measured."""
    means = {m: its["metrics"][task.headline.name] for m, its in task.scores(condition).items()}
    return {m: mean for m, mean in means.items() if mean is not None}


def ends(mean: dict[str, float]) -> tuple[float, float]:
    """The ends of an interval; of a single sample, which has none, the value itself."""
    if mean["low"] is None:
        return mean["mean"], mean["mean"]
    return mean["low"], mean["high"]


def sweep(task: TaskResults, name: str, title: str, metric: Metric) -> Callable[[Axes], None]:
    """A metric against the value of a sweep, with 95 % intervals."""

    def draw(ax: Axes) -> None:
        for method in MAIN:
            colour, marker, line = LOOKS[method]
            points = []
            for condition in task.sweeps[name]:
                mean = (
                    task.scores(condition).get(method, {"metrics": {}})["metrics"].get(metric.name)
                )
                points += [(condition["value"], mean["mean"], *ends(mean))] if mean else []

            if not points:
                continue
            x, means, lows, highs = zip(*points, strict=True)
            style = {"marker": marker, "linestyle": line, "color": colour, "markersize": 3.5}
            ax.plot(x, means, label=method, **style)
            ax.fill_between(x, lows, highs, color=colour, alpha=0.15, linewidth=0)

        ax.set(xlabel=AXES[name], ylabel=metric.title)
        ax.set_title(title, loc="left", fontweight="bold")

    return draw


def growth(task: TaskResults) -> Callable[[Axes], None]:
    """Median time against size, both logarithmic, with the slope of each method."""

    def draw(ax: Axes) -> None:
        for method, sizes, times, slope in task.growth():
            colour, marker, line = LOOKS[method]
            label = f"{method}: slope {slope:.2f}"
            ax.loglog(
                sizes,
                times / 1000,
                marker=marker,
                linestyle=line,
                color=colour,
                label=label,
                markersize=3.5,
            )

        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set(xlabel=task.task.size_label, ylabel="time, s")
        ax.set_title(task.name, loc="left", fontweight="bold")
        ax.legend(loc="upper left", handlelength=2.5, borderpad=0, fontsize="small")
        ax.set_ylim(top=ax.get_ylim()[1] * 8)  # room for the legend

    return draw


def overview(results: Results, columns: int, width: float, height: float) -> bytes:
    """Quality and time of every method, a panel a task."""
    return figure([quality(task) for task in results.tasks.values()], columns, width, height)


def sweeps(
    tasks: list[TaskResults],
    columns: int,
    width: float,
    height: float,
    metrics: list[Metric] | None = None,
) -> bytes:
    """Every sweep of tasks, a panel each, under the name of its task when there are several; in the
    headline metric, or in those named."""
    panels = []
    for task in tasks:
        for name in task.sweeps:
            title = f"{task.name}: {name}" if len(tasks) > 1 else name
            panels += [sweep(task, name, title, metric) for metric in metrics or [task.headline]]
    return figure(panels, columns, width, height, legend=True)


def sizes(results: Results, columns: int, width: float, height: float) -> bytes:
    """Time against size, a panel a task."""
    panels = [growth(task) for task in results.tasks.values() if SIZE in task.series]
    return figure(panels, columns, width, height)

"""Plot results as SVG, in colours that survive colour blindness and greyscale."""

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

# Colour, marker and line. Okabe and Ito's colours differ in lightness too.
LOOKS = {
    "trivial": ("#999999", "x", ":"),
    "baseline": ("#d55e00", "s", "--"),
    "deep": ("#0072b2", "o", "-"),
}
OTHER = ("#56504a", "D", "-.")


def svg(figure: Figure) -> bytes:
    """A figure as SVG; the same results give the same bytes."""
    with io.BytesIO() as file:
        figure.savefig(
            file, format="svg", metadata={"Date": None, "Creator": None}
        )
        return file.getvalue()


def figure(
    panels: list[Callable[[Axes], None]],
    columns: int,
    width: float,
    height: float,
    legend: bool = False,
) -> bytes:
    """Draw panels on one sheet, as SVG.

    Parameters
    ----------
    panels : functions that draw on axes.
    columns : panels beside each other.
    width : of the sheet, in inches.
    height : of each panel, in inches.
    legend : whether one legend for all panels stands above them.
    """
    rows = -(-len(panels) // columns)
    with rc_context(STYLE):
        sheet = Figure(figsize=(width, height * rows), layout="constrained")
        axes = sheet.subplots(rows, columns, squeeze=False)
        for ax, draw in zip(axes.flat, panels, strict=False):
            draw(ax)
        for ax in axes.flat[len(panels) :]:
            ax.axis("off")

        if legend:
            handles = axes.flat[0].get_legend_handles_labels()
            sheet.legend(
                *handles, loc="outside upper right", ncols=2, handlelength=3
            )
        return svg(sheet)


def quality(task: TaskResults) -> Callable[[Axes], None]:
    """The headline metric of every method under the first condition, with its median time."""

    def draw(ax: Axes) -> None:
        condition = next(iter(task.conditions.values()))
        means = headline_means(task, condition)
        ranked = sorted(means, key=lambda method: means[method]["mean"])
        for row, name in enumerate(ranked):
            colour, marker, _ = LOOKS.get(name, OTHER)
            mean = means[name]
            low, high = ends(mean)
            spread = [
                [max(0, mean["mean"] - low)],
                [max(0, high - mean["mean"])],
            ]
            style: dict[str, Any] = {
                "color": colour,
                "markersize": 5,
                "capsize": 2,
                "linewidth": 1,
            }
            ax.errorbar(mean["mean"], row, xerr=spread, fmt=marker, **style)

            time = task.scores(condition)[name]["milliseconds"]["median"]
            label = f"{time:.0f} ms" if time >= 10 else f"{time:.1f} ms"
            beside = ax.get_yaxis_transform()
            ax.text(
                1.01, row, label, transform=beside, va="center", color=colour
            )

        ax.set_yticks(range(len(ranked)), ranked)
        for text in ax.get_yticklabels():
            text.set_fontweight(
                "bold" if text.get_text() in LOOKS else "normal"
            )
        ax.set_ylim(-0.6, max(0, len(ranked) - 1) + 0.6)
        ax.set_xlabel(task.headline.title)
        ax.set_title(
            f"{task.name}: {condition['condition']}",
            loc="left",
            fontweight="bold",
        )

    return draw


def headline_means(
    task: TaskResults, condition: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Mean and interval of the headline metric, for every method that has one."""
    means = {}
    for method, scores in task.scores(condition).items():
        mean = scores["metrics"][task.headline.name]
        if mean is not None:
            means[method] = mean
    return means


def ends(mean: dict[str, float]) -> tuple[float, float]:
    """The ends of an interval; the value itself of a single sample, which has no interval."""
    if mean["low"] is None:
        return mean["mean"], mean["mean"]
    return mean["low"], mean["high"]


def sweep(
    task: TaskResults,
    name: str,
    title: str,
    metric: Metric,
) -> Callable[[Axes], None]:
    """A metric against the value of a sweep, with 95 % intervals."""

    def draw(ax: Axes) -> None:
        for method in MAIN:
            points = []
            for condition in task.sweeps[name]:
                scores = task.scores(condition).get(method, {"metrics": {}})
                mean = scores["metrics"].get(metric.name)
                if mean:
                    points.append(
                        (condition["value"], mean["mean"], *ends(mean))
                    )
            if not points:
                continue

            colour, marker, line = LOOKS[method]
            x, means, lows, highs = zip(*points, strict=True)
            style: dict[str, Any] = {
                "marker": marker,
                "linestyle": line,
                "color": colour,
                "markersize": 3.5,
            }
            ax.plot(x, means, label=method, **style)
            ax.fill_between(
                x, lows, highs, color=colour, alpha=0.15, linewidth=0
            )

        ax.set(xlabel=AXES[name], ylabel=metric.title)
        ax.set_title(title, loc="left", fontweight="bold")

    return draw


def growth(task: TaskResults) -> Callable[[Axes], None]:
    """Median time against size, both logarithmic, with the slope of each method."""

    def draw(ax: Axes) -> None:
        for method, sizes, times, slope in task.growth():
            colour, marker, line = LOOKS[method]
            style = {
                "marker": marker,
                "linestyle": line,
                "color": colour,
                "markersize": 3.5,
            }
            ax.loglog(
                sizes,
                times / 1000,
                label=f"{method}: slope {slope:.2f}",
                **style,
            )

        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set(xlabel=task.task.size_label, ylabel="time, s")
        ax.set_title(task.name, loc="left", fontweight="bold")
        ax.legend(
            loc="upper left", handlelength=2.5, borderpad=0, fontsize="small"
        )
        ax.set_ylim(top=ax.get_ylim()[1] * 8)  # room for the legend

    return draw


def overview(
    results: Results,
    columns: int,
    width: float,
    height: float,
) -> bytes:
    """Quality and time of every method, a panel for each task."""
    return figure(
        [quality(task) for task in results.tasks.values()],
        columns,
        width,
        height,
    )


def sweeps(
    tasks: list[TaskResults],
    columns: int,
    width: float,
    height: float,
    metrics: list[Metric] | None = None,
) -> bytes:
    """Every sweep of some tasks, a panel each, in the headline metric or in those named.

    Panels of several tasks have the name of the task in their title.
    """
    panels = []
    for task in tasks:
        for name in task.sweeps:
            title = f"{task.name}: {name}" if len(tasks) > 1 else name
            panels += [
                sweep(task, name, title, metric)
                for metric in metrics or [task.headline]
            ]
    return figure(panels, columns, width, height, legend=True)


def sizes(
    results: Results,
    columns: int,
    width: float,
    height: float,
) -> bytes:
    """Time against size, a panel for each task."""
    panels = [
        growth(task) for task in results.tasks.values() if SIZE in task.series
    ]
    return figure(panels, columns, width, height)

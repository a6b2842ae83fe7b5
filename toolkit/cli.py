"""The command line: every command parses its options, makes one call, and prints the result.

Results go to stdout, prose and progress to stderr. Only click is imported until a command runs, so
`--help` answers at once.
"""

import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

import click

from hvd.toolkit.commands import PATH, TaskGroup, command, make_command
from hvd.toolkit.core import (
    DEBUG,
    FAULT,
    ToolkitError,
    command_line,
    is_debugging,
    printable,
)
from hvd.toolkit.options import (
    EvaluateOptions,
    PredictOptions,
    RunOptions,
    ShowOptions,
)
from hvd.toolkit.outputs import to_json
from hvd.toolkit.registry import METHODS, task_options

RESUMABLE = {"predict", "measure", "prepare", "train"}
CHECKOUT = Path("hvd/__init__.py")  # in the folder of a checkout


def main() -> None:
    """Run the command line; turn errors that a user can mend into a sentence and a status."""
    open_missing_streams()

    # Our own errors and notes say what is doubtful; warnings of libraries do not help a user.
    if not (is_debugging() or sys.warnoptions):
        warnings.simplefilter("ignore")

    try:
        refuse_other_checkout()
        sys.exit(cli.main(standalone_mode=False) or 0)
    except ToolkitError as error:
        print_error(str(error))
        sys.exit(error.status)
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx:
            click.echo(error.ctx.get_usage(), err=True)
            click.echo(
                f"Try '{error.ctx.command_path} --help' for help.\n", err=True
            )
        print_error(error.format_message())
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        # Click mistakes it for Ctrl-D
        if isinstance(error.__cause__, EOFError):
            print_fault(error.__cause__)
        again = " The same command with --resume goes on from here."
        click.echo(
            f"Interrupted.{again if RESUMABLE & set(sys.argv[1:3]) else ''}",
            err=True,
        )
        sys.exit(130)
    except BrokenPipeError:
        leave_quietly()
    except OSError as error:
        if is_debugging():
            raise
        print_error(
            f"{error.filename or 'the output'}: {error.strerror or error}."
        )
        sys.exit(4)
    except Exception as error:
        print_fault(error)


def print_error(sentence: str) -> None:
    """Print an error on stderr."""
    click.echo(f"Error: {printable(sentence)}", err=True)


def print_fault(error: BaseException) -> NoReturn:
    """Report an error that is our fault, and leave; with --debug, raise it."""
    if is_debugging():
        raise error
    print_error(f"{type(error).__name__}: {error}. {FAULT}")
    sys.exit(1)


def open_missing_streams() -> None:
    """Open standard streams that were closed.

    Otherwise the next file to be opened would get their number, and what is printed would be
    written into that file.
    """
    for number, name, mode in (
        (0, "stdin", "r"),
        (1, "stdout", "w"),
        (2, "stderr", "w"),
    ):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
        if getattr(sys, name) is None:  # as Python leaves a closed stream
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def leave_quietly() -> NoReturn:
    """Leave when the reader of the output is gone: there is nobody to tell."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # what is flushed at the end goes nowhere
    os.dup2(nowhere, 2)
    sys.exit(1)


def refuse_other_checkout() -> None:
    """Refuse to run the code of one checkout in the folder of another: their files would mix."""
    import hvd

    try:
        here = Path.cwd()
    except OSError:  # the folder is gone
        return

    ours = Path(hvd.__file__)
    for folder in (here, *here.parents):
        init = folder / CHECKOUT
        if os.path.isfile(init) and not os.path.samefile(init, ours):
            reason = f"{folder} is a checkout, but this is the toolkit of {ours.parent}."
            remedy = (
                f"Run `pip install -e .` in {folder}, or leave that folder."
            )
            raise ToolkitError(reason, remedy, status=2)


@click.group(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
    }
)
@click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=lambda context, option, value: os.environ.update(
        {DEBUG: "1"} if value else {}
    ),
    help="Show the traceback of an error.",
)
@click.version_option(package_name="handcrafted-vs-deep", prog_name="toolkit")
@click.pass_context
def cli(context: click.Context) -> None:
    """Answer questions about images by a handcrafted method and a compact network, side by side."""
    context.with_resource(command_line())


def on_terminal() -> bool:
    """Whether a person reads the output, rather than another program."""
    return sys.stdout.isatty()


def say(text: str) -> None:
    """Print on stderr, over the progress bar if there is one."""
    start = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(f"{start}{printable(text)}", err=True)


def progress_bar(
    items: Iterable[Any], total: int | None = None
) -> Iterator[Any]:
    """Yield items with a progress bar on stderr, on a terminal only; without a total, a count."""
    hidden = not sys.stderr.isatty()
    with click.progressbar(
        items, length=total, file=sys.stderr, hidden=hidden
    ) as bar:
        yield from bar


@contextmanager
def extra_installed(name: str, what: str) -> Iterator[None]:
    """Turn a missing library into an error with status 2 that names the extra to install."""
    try:
        yield
    except ImportError as error:
        remedy = f"Install the extra: pip install '.[{name}]'."
        raise ToolkitError(f"{what} needs {error.name}.", remedy, 2) from error


# --- predict, evaluate, show: a command for each task


def predict_command(name: str) -> click.Command:
    """The command `predict NAME`."""
    wing = task_options(name)

    def predict(
        run: PredictOptions, options: Any, inputs: tuple[Path, ...]
    ) -> int:
        from hvd.toolkit import prediction, registry

        task = registry.task(name)
        method_name = run.method or task.method
        method = registry.methods(name, [method_name], run.checkpoint)[
            method_name
        ]
        records = prediction.predict(
            task,
            method_name,
            method,
            inputs,
            run.out,
            options,
            run.workers,
            run.shard,
            run.resume,
            run.time_limit,
        )
        return print_records(records, task, run.out, run.json)

    return make_command(
        name,
        predict,
        (PredictOptions, wing.InputOptions),
        (
            click.Argument(
                ["inputs"],
                nargs=-1,
                required=True,
                type=PATH,
                metavar="INPUT...",
            ),
        ),
        f"{wing.PREDICT}\n\n{wing.INPUT}",
        {"method": f"{method_names(name)}."},
    )


def print_records(
    records: Iterable[dict[str, Any]],
    task: Any,
    out: Path,
    as_json: bool,
) -> int:
    """Print the records of a run as they come; returns 1 when an input failed, else 0."""
    # A table is for people; programs get one JSON record a line.
    table = None
    if on_terminal() and not as_json:
        from hvd.toolkit.tables import RunTable

        table = RunTable(task, out)
    failed = False

    for record in progress_bar(records) if table else records:
        if table is None:
            click.echo(to_json(record))
        else:
            table.add(record)

        if record["status"] == "failed":
            failed = True
            # The line begins with the input already.
            reason = record["reason"].removeprefix(f"{record['input']} ")
            say(f"Error: {record['input']}: {reason} {record['remedy']}")

    if table is not None:
        click.echo(table.text())
    return 1 if failed else 0


def measure_grains(
    run: RunOptions, options: Any, inputs: tuple[Path, ...]
) -> int:
    """The command `measure grains`."""
    from hvd.toolkit import prediction, registry

    task = registry.task("grains")
    records = prediction.predict(
        task,
        "drawn",
        registry.load(registry.DRAWN)(),
        inputs,
        run.out,
        options,
        workers=run.workers,
        resume=run.resume,
    )
    return print_records(records, task, run.out, run.json)


def evaluate_command(name: str) -> click.Command:
    """The command `evaluate NAME`."""
    wing = task_options(name)

    def evaluate(run: EvaluateOptions, conditions: Any) -> None:
        import hvd
        from hvd.toolkit import tables

        # Whatever a method prints is no result
        with redirect_stdout(sys.stderr):
            result = hvd.evaluate(
                name,
                run.data,
                list(run.method) or None,
                run.samples,
                run.seed,
                run.checkpoint,
                progress_bar,
                **vars(conditions),
            )

        for method, reason in result["left_out"].items():
            say(f"Left out: {method}. {reason}")
        click.echo(to_json(result) if run.json else tables.scores_table(result))

    return make_command(
        name,
        evaluate,
        (EvaluateOptions, wing.Conditions),
        help=f"Score methods for {name}.\n\n{wing.SAMPLES}",
        notes={
            "data": wing.DATA,
            "method": f"{method_names(name)}; may be repeated.",
        },
    )


def show_command(name: str) -> click.Command:
    """The command `show NAME`."""
    wing = task_options(name)

    def show(run: ShowOptions, conditions: Any) -> None:
        import hvd
        from hvd.toolkit import evaluation, registry
        from hvd.toolkit.asking import ask, check_answer
        from hvd.toolkit.core import Floor
        from hvd.toolkit.drawings import check_drawing, write_drawing
        from hvd.toolkit.settings import one_thread

        out = run.out or Path(f"{name}.png")
        data = Path(run.data)
        if out.suffix != ".png":
            reason = f"--out {out} does not end in .png."
            raise ToolkitError(reason, "Give the name of a PNG file.", 2)
        # A picture inside the folder would be read as a sample the next time.
        if data.exists() and out.resolve().is_relative_to(data.resolve()):
            reason = f"--out {out} lies inside --data {data}."
            raise ToolkitError(reason, "Give a file outside of it.", 2)
        check_drawing(out)

        methods = registry.methods(name, run.method, run.checkpoint)
        seed = registry.task(name).show_seed if run.seed is None else run.seed
        sample = next(hvd.samples(name, run.data, 1, seed, **vars(conditions)))

        # Unless methods are named, show those that can answer this sample; the
        # floor has nothing to show.
        if not run.method:
            methods = {
                m: its
                for m, its in methods.items()
                if not isinstance(its, Floor)
            }
            methods, refusals = evaluation.split_by_ability(
                methods, sample.inputs
            )
            for method, reason in refusals.items():
                say(f"Left out: {method}. {reason}")

        with one_thread(), redirect_stdout(sys.stderr):
            task = registry.task(name)
            inputs = sample.inputs
            answers = {m: ask(method, inputs) for m, method in methods.items()}
            for m, prediction in answers.items():
                check_answer(task, methods[m], prediction, inputs)
            write_drawing(out, task.draw(sample, answers))

        click.echo(printable(str(out)))

    return make_command(
        name,
        show,
        (ShowOptions, wing.Conditions),
        help=f"Draw one sample of {name}, every method's answer and the truth.\n\n{wing.SAMPLES}",
        notes={
            "data": wing.DATA,
            "method": f"{method_names(name)}; may be repeated.",
        },
    )


def method_names(task: str) -> str:
    """The help of `--method`: the names of a task's methods."""
    return f"{', '.join(METHODS[task])}; or one of your own, module:Class or FILE.py:Class"


PREDICT = "Answer files: results and a JSON record for each."
EVALUATE = "Score methods on samples with known answers."
SHOW = "Draw a sample and every method's answer as a picture."

cli.add_command(TaskGroup(predict_command, name="predict", help=PREDICT))
cli.add_command(TaskGroup(evaluate_command, name="evaluate", help=EVALUATE))
cli.add_command(TaskGroup(show_command, name="show", help=SHOW))


@cli.group()
def measure() -> None:
    """Measure what was drawn or corrected by hand."""


measure.add_command(
    make_command(
        "grains",
        measure_grains,
        (RunOptions, task_options("grains").DrawnOptions),
        (
            click.Argument(
                ["inputs"],
                nargs=-1,
                required=True,
                type=PATH,
                metavar="INPUT...",
            ),
        ),
        task_options("grains").MEASURE,
    )
)


@cli.command()
@click.argument("out", type=PATH)
def merge(out: Path) -> None:
    """Merge the shards of a run in OUT.

    Run this when every `toolkit predict ... --out OUT --shard I/N` is done. It leaves one manifest
    and one summary, like a single run.
    """
    from hvd.toolkit.merging import merge_shards

    click.echo(printable(str(merge_shards(out))))


# --- commands whose options are defined in other packages


@cli.group()
def prepare() -> None:
    """Make data sets to train on."""


def add_commands() -> None:
    """Add the commands whose options are defined in the packages that use them."""
    from hvd.benchmarks.options import BenchmarkOptions, ReportOptions
    from hvd.data.preparation.options import (
        HeadOptions,
        PrepareOptions,
        PrepareRunOptions,
        SceneOptions,
    )
    from hvd.deep.training.options import ExportOptions, TrainOptions

    @command(prepare, "objects", PrepareOptions, PrepareRunOptions)
    def prepare_objects(
        options: PrepareOptions, run: PrepareRunOptions
    ) -> None:
        """Turn annotated images into masks to train on.

        Annotations may be COCO JSON, Pascal VOC or CVAT XML, Cityscapes or LabelMe JSON. Needs the
        extra [prepare]. The report lists every object that was dropped, repaired or clipped, with
        its file and the reason.
        """
        # Imported here: `--help` and the other commands must not load it.
        with extra_installed("prepare", "Preparing"):
            from hvd.data.preparation.run import prepare_data_set

        steps = prepare_data_set(
            options, run.out, run.workers, run.shard, run.resume
        )
        done, total = next(steps)
        hidden = not sys.stderr.isatty()

        with click.progressbar(
            length=total, file=sys.stderr, hidden=hidden
        ) as bar:
            bar.update(done)
            for now, _ in steps:
                bar.update(now - done)
                done = now

        if run.shard:
            click.echo(f"shard {run.shard[0]}/{run.shard[1]}: {total} images")
            return

        print_account(run.out)

    @command(prepare, "scenes", SceneOptions)
    def prepare_scenes(options: SceneOptions) -> None:
        """Generate pictures of shapes with COCO annotations, to try `toolkit prepare objects`."""
        from hvd.data.scenes import prepare_scenes

        steps = prepare_scenes(
            options.out, options.images, options.seed, options.workers
        )
        for _ in progress_bar(steps, options.images):
            pass
        click.echo(printable(str(options.out)))

    @command(prepare, "lines", HeadOptions)
    def prepare_lines(options: HeadOptions) -> None:
        """Generate heads, for `toolkit train lines --data OUT`.

        Also makes 100 heads for validation, the task's mask, and a picture of ten heads, complete
        and damaged.
        """
        from hvd.data.lines import prepare_heads

        steps = prepare_heads(
            options.out, options.images, options.seed, options.workers
        )
        for _ in progress_bar(steps, options.images):
            pass
        click.echo(printable(str(options.out)))

    task_argument = (click.Argument(["task"]),)

    @command(cli, "train", TrainOptions, arguments=task_argument)
    def train(options: TrainOptions, task: str) -> None:
        """Train the network of TASK, from scratch or from given weights.

        Needs the extra [train]. The folder --out holds one run; --resume continues it from its last
        validation.
        """
        with extra_installed("train", "Training"):
            from hvd.deep.training.run import train_task
        click.echo(printable(str(train_task(task, options))))

    @command(cli, "export", ExportOptions, arguments=task_argument)
    def export(options: ExportOptions, task: str) -> None:
        """Export the best weights of a run to ONNX.

        Needs the extra [train]. The export fails unless ONNX and torch agree to 1e-4.
        """
        with extra_installed("train", "Training"):
            from hvd.deep.training.export import export_task
        click.echo(printable(str(export_task(task, options.run, options.out))))

    tasks_argument = (
        click.Argument(
            ["tasks"], nargs=-1, required=False, metavar="[TASK]..."
        ),
    )

    @command(cli, "benchmark", BenchmarkOptions, arguments=tasks_argument)
    def benchmark(options: BenchmarkOptions, tasks: tuple[str, ...]) -> int:
        """Compare all methods under fixed conditions.

        Measures every TASK, or those named, writes the results as JSON, and prints the headline
        table. Earlier measurements are kept unless the code, the data or the machine changed:
        each condition and method has a file in cells/; delete it to measure again. With --method,
        the results go to a file of their own, which reports leave out.
        """
        from hvd.benchmarks import run, tables
        from hvd.benchmarks.scores import Results
        from hvd.toolkit.core import data_errors

        with data_errors():
            results = run.run_benchmark(tasks, options, say)
        click.echo(tables.short([Results(results)]))
        say(f"written to {options.out / results['name']}.json")
        failures = run.failures(results)
        for line in failures:
            say(f"Failed: {line}")

        return 1 if failures else 0

    @command(cli, "report", ReportOptions)
    def report(options: ReportOptions) -> None:
        """Write tables, page, report and slides from the results and the networks' cards.

        Run it in the project's folder. It writes README.md, checkpoints/README.md,
        and REPORT.md, index.html, report.pdf and slides.pdf in benchmarks/.
        Needs the extra [report].
        """
        from hvd.benchmarks import render

        for path in render.write_documents(options.check):
            click.echo(path)


def print_account(out: Path) -> None:
    """Print what became of the objects and images of a prepared data set."""
    # Parts are nested in the images of report.json, and stand on a line of
    # their own.
    account = json.loads((out / "report.json").read_text())
    parts = account["images"].pop("parts")
    lines = (
        ("objects", account["instances"]),
        ("images", account["images"]),
        ("parts", parts),
    )
    for title, counts in lines:
        click.echo(
            f"{title:9}"
            + "  ".join(f"{name} {count}" for name, count in counts.items())
        )

    # An empty part is no error, but training or testing with it would fail.
    for part, count in parts.items():
        if not count:
            reason = (
                "more images are needed, or all of them are near-duplicates."
            )
            say(f"There is no image in {part}: {reason}")

    click.echo(printable(str(out / "report.html")))


add_commands()


# --- the shipped networks, and the installation


@cli.group()
def models() -> None:
    """Inspect the shipped networks."""


@models.command("list")
def list_models() -> None:
    """List name, task, size, parameters and classes of every network."""
    from hvd.toolkit.network import index, shipped_checkpoint

    for name, entry in index().items():
        parameters = shipped_checkpoint(name, entry["task"]).card["parameters"]
        size = f"{entry['bytes'] / 1e6:6.1f} MB{parameters:12,} parameters"
        classes = ", ".join(entry.get("classes", ()))
        click.echo(f"{name:24}{entry['task']:11}{size}  {classes}".rstrip())


@models.command()
@click.argument("name")
def card(name: str) -> None:
    """Show what the network NAME, such as fragments, was trained on and how, as JSON."""
    from hvd.toolkit.network import index, shipped_checkpoint

    file = name if name.endswith(".onnx") else f"{name}.onnx"
    if file not in index():
        known = ", ".join(file.removesuffix(".onnx") for file in index())
        raise ToolkitError(
            f"There is no network {name!r}.", f"Choose one of: {known}.", 2
        )
    click.echo(
        to_json(shipped_checkpoint(file, index()[file]["task"]).card, indent=2)
    )


@models.command()
def verify() -> None:
    """Check that every network's file is intact."""
    from hvd.toolkit.network import index, shipped_checkpoint

    for name, entry in index().items():
        click.echo(f"{shipped_checkpoint(name, entry['task']).sha256}  {name}")


@cli.command()
def doctor() -> int:
    """Check the installation, and say how to mend what is wrong.

    Checks versions, threads, networks, and a sample of each task. The exit status is 1 when
    something is wrong.
    """
    from hvd.toolkit.doctor import findings

    bad = 0
    for finding in findings():
        click.echo(
            f"{'MEND' if finding.remedy else 'ok':5}{finding.what}: {finding.result}"
        )
        if finding.remedy:
            bad += 1
            click.echo(f"     {finding.remedy}")

    return 1 if bad else 0

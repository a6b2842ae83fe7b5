"""The command line: every body parses, makes one call, prints. Results go to stdout, prose and progress to stderr.

Nothing but click is imported until a command runs, so `--help` answers at once.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import click

from toolkit.core import DEBUG, FAULT, Method, ToolkitError, data_errors

PATH = click.Path(path_type=Path)

HEAP_OPTIONS = [
    click.option("--images", default=10, show_default=True, help="Photographs in a heap."),
    click.option("--rotate", is_flag=True, help="Fragments may be turned by quarter turns."),
    click.option(
        "--known",
        type=click.Choice(["sizes", "count", "nothing"]),
        default="sizes",
        show_default=True,
        help="What is told: the number of photographs and that each gave the same number of fragments; only the number; neither.",
    ),
]
CONDITION_OPTIONS = [
    *HEAP_OPTIONS,
    click.option("--grid", default=4, show_default=True, help="Fragments along a side of each photograph."),
    click.option("--fragment", default=16, show_default=True, help="Pixels along a side of each fragment."),
    click.option("--noise", default=0.0, show_default=True, help="Gaussian noise: standard deviation, of 255."),
    click.option("--worn", default=0, show_default=True, help="Pixels lost on every side of each fragment."),
    click.option("--missing", default=0.0, show_default=True, help="Share of fragments left out; two of each photograph stay."),
    click.option("--augment", is_flag=True, help="Mirror, turn, shift and tint photographs before they are cut."),
]
SCALE_OPTIONS = [
    click.option("--micrometres-per-pixel", type=float, help="The scale.  [default: of a TIFF's tags, or none: pixels]"),
    click.option("--scale-bar-micrometres", type=float, help="Find the scale bar in the image, which stands for this length."),
    click.option("--exclude-bottom", default=0, show_default=True, help="Rows of the microscope's data bar to leave out."),
]
LIGHT_OPTIONS = [
    click.option("--tolerance", type=float, help="Pixels within which lines agree.  [default: half the label's pen, at least 3]"),
    click.option("--contrast", default=1.0, show_default=True, help="Factor on the differences from the mean grey."),
    click.option("--brightness", default=1.0, show_default=True, help="Factor on grey."),
    click.option("--gamma", default=1.0, show_default=True, help="Exponent of grey."),
    click.option("--gradient", default=0.0, show_default=True, help="Uneven light: share less on the left and more on the right."),
    click.option("--blur", default=0.0, show_default=True, help="Gaussian blur: standard deviation in pixels."),
    click.option("--noise", default=0.0, show_default=True, help="Gaussian noise: standard deviation, of 255."),
]
MASK_OPTIONS = [
    click.option(
        "--mask",
        help="What is missing: image or .npy, 1 = missing, task, WIDTH/PERIOD@ANGLE[+PHASE].  [default: NaN, or told from zeros]",
    ),
    click.option("--axis", type=click.IntRange(0, 2), help="Axis of a volume that slices lie along.  [default: told by the mask]"),
    click.option("--uncertainty", is_flag=True, help="Also save how far the answers to a scan and its mirror image lie apart."),
]
HIDING_OPTIONS = [
    click.option(
        "--mask",
        default="task",
        show_default=True,
        help="What is hidden: task, a file, WIDTH/PERIOD@ANGLE[+PHASE] (0 = rows, 90 = columns), random:SHARE or random:SHARE@90.",
    )
]
CLASS_OPTIONS = [
    click.option("--classes", help="Classes to find, of a shipped network: background,person, say.  [default: street scenes]"),
    click.option("--size", type=int, help="Longer side, in pixels, that pictures are answered at.  [default: their own]"),
]
SIZE_OPTIONS = [click.option("--size", type=int, help="Longer side of pictures, in pixels.  [default: as they are]")]
INPUT_OPTIONS = {"fragments": HEAP_OPTIONS, "grains": SCALE_OPTIONS, "lines": MASK_OPTIONS, "objects": CLASS_OPTIONS}
SAMPLE_OPTIONS = {"fragments": CONDITION_OPTIONS, "grains": LIGHT_OPTIONS, "lines": HIDING_OPTIONS, "objects": SIZE_OPTIONS}
INPUT_HELP = {
    "fragments": "Each INPUT is a heap: a folder or .zip of fragments as images, or an .npy of uint8 (n, s, s, 3).",
    "grains": "Each INPUT is a micrograph, or a folder of them: one batch. Several batches are compared.",
    "lines": "Each INPUT is a stack of scans: .npy, folder of images, image, NIfTI volume or DICOM file. Not for diagnosis.",
    "objects": "Each INPUT is a picture, or a folder of them.",
}
SAMPLE_HELP = {
    "fragments": "Samples are heaps of photographs, cut and mixed afresh.",
    "grains": "Samples are micrographs with drawn boundaries.",
    "lines": "Samples are complete scans with lines hidden; of damaged ones, further lines.",
    "objects": "Samples are pictures with the class of every pixel.",
}
DATA_HELP = {
    "fragments": "Folder, .zip or .npy of photographs, or builtin.",
    "grains": "Folder with images/NAME.* and boundaries/NAME.png, or builtin: generated.",
    "lines": ".npy (N, H, W) or folder of scans, or builtin: generated heads.",
    "objects": "Folder with images/, masks/ and classes.json, or builtin: generated scenes.",
}
CHECKPOINT = click.option("--checkpoint", type=click.Path(), help="Network for the method deep, instead of the one shipped.")


def allow_pixels(context: click.Context, option: click.Parameter, value: int) -> None:
    """Set the largest image that is read, where OpenCV and toolkit.images look for it when they are imported."""
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(value)


PIXELS = click.option(
    "--max-pixels",
    default=100_000_000,
    show_default=True,
    type=click.IntRange(1),
    expose_value=False,
    callback=allow_pixels,
    help="Larger images are refused before they are decoded.",
)


def main() -> None:
    """Run the command line; an error that a user can mend becomes one sentence and its exit status."""
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except ToolkitError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.status)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        again = " The same command with --resume goes on from here." if {"predict", "prepare", "train"} & set(sys.argv[1:3]) else ""
        click.echo(f"Interrupted.{again}", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if DEBUG in os.environ:
            raise
        click.echo(f"Error: {error.filename or 'the output'}: {error.strerror}.", err=True)
        sys.exit(4)
    except Exception as error:
        if DEBUG in os.environ:
            raise
        click.echo(f"Error: {type(error).__name__}: {error}. {FAULT}", err=True)
        sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=lambda context, option, value: os.environ.update({DEBUG: "1"} if value else {}),
    help="Show where an error arose.",
)
@click.version_option(package_name="handcrafted-vs-deep", prog_name="toolkit")
def cli() -> None:
    """Answer questions about images by a handcrafted method and by a compact network, side by side."""


@cli.group()
def predict() -> None:
    """Answer inputs, with a JSON record for each."""


@cli.group()
def evaluate() -> None:
    """Score methods on samples with known answers."""


@cli.group()
def show() -> None:
    """Draw a sample and every method's answer."""


def add_task(name: str) -> None:
    """The commands `predict NAME`, `evaluate NAME` and `show NAME`."""
    data_option = click.option("--data", default="builtin", show_default=True, help=DATA_HELP[name])

    @predict.command(name, help=f"Answer {name}. {INPUT_HELP[name]}")
    @click.argument("inputs", nargs=-1, required=True, type=PATH, metavar="INPUT...")
    @click.option("--out", required=True, type=PATH, help="Folder for the results, a subfolder for each input.")
    @click.option("--method", default="deep", show_default=True, help="Name of the method.")
    @CHECKPOINT
    @with_options(INPUT_OPTIONS[name])
    @PIXELS
    @click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes, each on one thread.")
    @click.option("--shard", help="I/N: answer the I-th of N shares of the inputs; then `toolkit merge OUT`.")
    @click.option("--resume", is_flag=True, help="Leave inputs that were answered alike before as they are.")
    def predict_task(
        inputs: tuple[Path, ...],
        out: Path,
        method: str,
        checkpoint: str | None,
        workers: int,
        shard: str | None,
        resume: bool,
        **options: object,
    ) -> int:
        from toolkit import prediction, registry

        task = registry.task(name)
        chosen = registry.methods(name, [method], checkpoint)[method]
        told = task.told(**options)
        records = prediction.predicted(task, method, chosen, inputs, out, told, workers, share(shard), resume)
        failed = 0
        with progress(records, None) as bar:
            for record in bar:
                click.echo(json.dumps(record))
                if record["status"] == "failed":
                    failed += 1
                    click.echo(f"Error: {record['input']}: {record['reason']} {record['remedy']}", err=True)
        return 1 if failed else 0

    @evaluate.command(name, help=f"Score methods for {name}. {SAMPLE_HELP[name]}")
    @data_option
    @click.option("--method", "methods", multiple=True, help="Name of a method; may be repeated.  [default: all]")
    @CHECKPOINT
    @click.option("--samples", default=20, show_default=True, type=click.IntRange(1), help="Number of samples.")
    @click.option("--seed", default=7, show_default=True, type=click.IntRange(0), help="Seed of the samples.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
    @with_options(SAMPLE_OPTIONS[name])
    @PIXELS
    def evaluate_task(
        data: str, methods: tuple[str, ...], checkpoint: str | None, samples: int, seed: int, as_json: bool, **options: object
    ) -> None:
        from toolkit import evaluation, registry, tables

        task = registry.task(name)
        chosen = registry.methods(name, methods, checkpoint)
        with data_errors():
            drawn = iter(registry.loaded(registry.SAMPLERS[name])(data, task.options(**options), samples, seed))
            if not methods:
                first = next(drawn)
                chosen, drawn = those_able(chosen, first.inputs), chain([first], drawn)
            with progress(evaluation.evaluate(task, chosen, drawn), samples * len(chosen)) as bar:
                records = list(bar)
        summary, count = evaluation.summary(records, task.metrics), len(records) // len(chosen)
        result = {"task": name, "data": data, "samples": count, "seed": seed, "methods": summary, "options": options}
        click.echo(json.dumps(result) if as_json else tables.text(result))

    @show.command(name, help=f"Draw one sample of {name}, every method's answer and the truth.")
    @data_option
    @CHECKPOINT
    @click.option("--seed", default=7, show_default=True, type=click.IntRange(0), help="Seed of the sample.")
    @click.option("--out", default=f"{name}.png", show_default=True, type=PATH, help="PNG file to write.")
    @with_options(SAMPLE_OPTIONS[name])
    @PIXELS
    def show_task(data: str, checkpoint: str | None, seed: int, out: Path, **options: object) -> None:
        from toolkit import registry
        from toolkit.images import write_png

        if out.suffix != ".png" or (Path(data).exists() and out.resolve().is_relative_to(Path(data).resolve())):
            raise ToolkitError(f"{out} is no place for the picture.", "Give --out a .png file outside of --data.", 2)
        task = registry.task(name)
        methods = registry.methods(name, (), checkpoint)
        with data_errors():
            sample = next(iter(registry.loaded(registry.SAMPLERS[name])(data, task.options(**options), 1, seed)))
            methods = those_able(methods, sample.inputs)
        answers = {m: method.predict(sample.inputs) for m, method in methods.items()}
        write_png(out, task.draw(sample, answers))
        click.echo(out)


def pair(text: str, between: str) -> tuple[int, int]:
    """Two positive numbers of an option, or one that stands for both."""
    parts = text.split(between)
    if len(parts) > 2 or not all(part.isdecimal() and 0 < int(part) <= 8192 for part in parts):
        raise ToolkitError(f"{text!r} is not two numbers, 1 to 8192, with {between!r} between them.", f"Write 1{between}4, say.", 2)
    return int(parts[0]), int(parts[-1])


def share(text: str | None) -> tuple[int, int] | None:
    """I and N of `--shard I/N`."""
    found = pair(text, "/") if text is not None else None
    if found and not ("/" in text and found[0] <= found[1]):
        raise ToolkitError(f"There is no share {text}.", "Give --shard I/N with I from 1 to N.", 2)
    return found


def with_options(options: list[Callable]) -> Callable:
    """Decorate a command with options, in their order."""

    def decorate(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def those_able(methods: dict[str, Method], inputs: object) -> dict[str, Method]:
    """Methods that answer inputs like these; which others were left out, and why, is told."""
    from toolkit import evaluation

    found, refusals = evaluation.able(methods, inputs)
    for name, reason in refusals.items():
        click.echo(f"Left out: {name}. {reason}", err=True)
    if not found:
        raise ToolkitError("No method can answer these samples.", "Name one with --method to see what it says.")
    return found


@contextmanager
def training_installed() -> Iterator[None]:
    """A missing library of the extra [train] is told with its remedy: status 2."""
    try:
        yield
    except ImportError as error:
        raise ToolkitError(f"Training needs {error.name}.", "Install the extra: pip install '.[train]'.", 2) from error


def progress(items: Iterator, length: int | None):
    """A progress bar on stderr, on a terminal only; a count when the length is not known."""
    return click.progressbar(items, length=length, file=sys.stderr, hidden=not sys.stderr.isatty())


for task_name in SAMPLE_OPTIONS:
    add_task(task_name)


@cli.command()
@click.argument("out", type=PATH)
def merge(out: Path) -> None:
    """Put the shares of a run in OUT together.

    When every `toolkit predict ... --out OUT --shard I/N` is done: one manifest and one summary, as a single run leaves them.
    """
    from toolkit import prediction

    click.echo(prediction.merged(out))


@cli.group()
def prepare() -> None:
    """Make data sets to train on."""


@prepare.command("objects")
@click.option("--annotations", required=True, type=PATH, help="A .json or .xml file, or a folder of them.")
@click.option("--images", required=True, type=PATH, help="Folder with the images, in subfolders or not.")
@click.option("--out", required=True, type=PATH, help="Folder for train, val, test, the manifest and the report.")
@click.option("--classes", help="Names of the classes to take, separated by commas.  [default: all]")
@click.option(
    "--mode",
    type=click.Choice(["classes", "binary", "instances"]),
    default="classes",
    show_default=True,
    help="Masks of classes; of any of them against background; or of classes, with 16-bit masks of instances beside them.",
)
@click.option("--size", default="256", show_default=True, help="Pixels of what is written: SIDE or WIDTHxHEIGHT.")
@click.option(
    "--fit",
    type=click.Choice(["letterbox", "crop", "stretch"]),
    default="letterbox",
    show_default=True,
    help="How images are brought to that size.",
)
@click.option(
    "--priority",
    type=click.Choice(["area", "order", "classes"]),
    default="area",
    show_default=True,
    help="Who wins where objects overlap: the smaller, the one in front (z_order, or later in the file), the class named later.",
)
@click.option("--boxes", is_flag=True, help="Take objects that are boxes alone, as rectangles.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the split into train, val and test.")
@PIXELS
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--shard", help="I/N: prepare the I-th of N shares; then run once without it, with --resume.")
@click.option("--resume", is_flag=True, help="Go on with a run that was cut short.")
def prepare_objects(
    annotations: Path,
    images: Path,
    out: Path,
    classes: str | None,
    mode: str,
    size: str,
    fit: str,
    priority: str,
    boxes: bool,
    seed: int,
    workers: int,
    shard: str | None,
    resume: bool,
) -> None:
    """Make masks to train on from COCO JSON, Pascal VOC or CVAT XML, Cityscapes or LabelMe JSON.

    Needs the extra [prepare]. The report lists every object that was dropped, repaired or clipped, with its file and the reason.
    """
    try:
        from data import preparation
    except ImportError as error:
        raise ToolkitError(f"Preparing needs {error.name}.", "Install the extra: pip install '.[prepare]'.", 2) from error
    taken = tuple(name.strip() for name in classes.split(",")) if classes else ()
    options = preparation.Options(annotations, images, taken, mode, pair(size, "x"), fit, priority, boxes, seed)
    steps = preparation.prepared(options, out, workers, share(shard), resume)
    done, total = next(steps)
    with progress(steps, total) as bar:
        for now, _ in bar:
            bar.update(now - done - 1)
            done = now
    if shard:
        click.echo(f"share {shard}: {total} images")
        return
    account = json.loads((out / "report.json").read_text())
    images_of = {name: count for name, count in account["images"].items() if name != "parts"}
    for what, counts in (("objects", account["instances"]), ("images", images_of), ("parts", account["images"]["parts"])):
        click.echo(f"{what:9}" + "  ".join(f"{name} {count}" for name, count in counts.items()))
    for part in (part for part, count in account["images"]["parts"].items() if not count):
        click.echo(f"There is no image in {part}: more images are needed, or all of them are near-duplicates.", err=True)
    click.echo(out / "report.html")


@prepare.command("scenes")
@click.option("--images", default=200, show_default=True, type=click.IntRange(1), help="Scenes to generate.")
@click.option("--out", required=True, type=PATH, help="Folder for images/ and annotations.json.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the scenes.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes.")
def prepare_scenes(images: int, out: Path, seed: int, workers: int) -> None:
    """Generate pictures of shapes with COCO annotations, to try `toolkit prepare objects` on."""
    from data.scenes import prepared

    with progress(prepared(out, images, seed, workers), images) as bar:
        for _ in bar:
            pass
    click.echo(out)


@prepare.command("lines")
@click.option("--images", default=15000, show_default=True, type=click.IntRange(1), help="Heads to generate for training.")
@click.option("--out", required=True, type=PATH, help="Folder for train.npy, val.npy, missing.npy and a contact sheet.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the heads.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes.")
def prepare_lines(images: int, out: Path, seed: int, workers: int) -> None:
    """Generate heads, for `toolkit train lines --data OUT`.

    Besides those for training, 100 for validation, the task's mask, and ten heads drawn complete and damaged.
    """
    from data.lines import prepared

    with progress(prepared(out, images, seed, workers), images) as bar:
        for _ in bar:
            pass
    click.echo(out)


@cli.command()
@click.argument("task")
@click.option("--data", required=True, type=PATH, help="Folder with the task's training and validation parts.")
@click.option("--out", required=True, type=PATH, help="Folder of the run: weights, history, TensorBoard events.")
@click.option("--steps", type=click.IntRange(1), help="Optimiser steps.  [default: the recipe's]")
@click.option("--epochs", type=click.IntRange(1), help="Times that every image is shown, instead of --steps; objects alone.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of weights and batches.")
@click.option(
    "--threads",
    default=2,
    show_default=True,
    type=click.IntRange(1),
    help="Processor threads; where a graphics processor learns, processes that make its batches.",
)
@click.option("--resume", is_flag=True, help="Go on from the last validation in --out.")
@click.option("--weights", type=PATH, help="Start from these: checkpoints/TASK.safetensors, say.  [default: from scratch]")
def train(
    task: str,
    data: Path,
    out: Path,
    steps: int | None,
    epochs: int | None,
    seed: int,
    threads: int,
    resume: bool,
    weights: Path | None,
) -> None:
    """Train the network of TASK, from scratch or from weights.

    Needs the extra [train]. The folder --out holds one run, which --resume continues from its last validation.
    """
    with training_installed():
        from deep.training.run import train_task
    click.echo(train_task(task, data, out, steps, seed, threads, resume, weights, epochs))


@cli.command()
@click.argument("task")
@click.option("--run", required=True, type=PATH, help="Folder that `toolkit train` wrote.")
@click.option("--out", default="checkpoints", show_default=True, type=PATH, help="Folder for TASK.onnx, weights and index.")
def export(task: str, run: Path, out: Path) -> None:
    """Export the best weights of a run to ONNX.

    Needs the extra [train]. The export fails unless ONNX and torch agree to 1e-4.
    """
    with training_installed():
        from deep.training.export import export_task
    click.echo(export_task(task, run, out))


@cli.group()
def models() -> None:
    """The networks that are shipped."""


@models.command("list")
def list_models() -> None:
    """Name, task, size, parameters and classes of every network."""
    from toolkit.network import index, shipped

    for name, entry in index().items():
        parameters = shipped(name, entry["task"]).card["parameters"]
        classes = ", ".join(entry.get("classes", ()))
        click.echo(f"{name:24}{entry['task']:11}{entry['bytes'] / 1e6:6.1f} MB{parameters:12,} parameters  {classes}".rstrip())


@models.command()
@click.argument("name")
def card(name: str) -> None:
    """What the network NAME was trained on and how, as JSON."""
    from toolkit.network import index, shipped

    if name not in index():
        raise ToolkitError(f"There is no network {name!r}.", f"Choose one of: {', '.join(index())}.", 2)
    click.echo(json.dumps(shipped(name, index()[name]["task"]).card, indent=2))


@models.command()
def verify() -> None:
    """Check every network's bytes against the index and its own seal."""
    from toolkit.network import index, shipped

    for name, entry in index().items():
        click.echo(f"{shipped(name, entry['task']).sha256}  {name}")


@cli.command()
def doctor() -> int:
    """Check the installation and tell what to do about what is wrong.

    Versions, threads, checkpoints, and a sample of each task; the exit status is 1 when something is to be mended.
    """
    from toolkit.doctor import findings

    bad = 0
    for finding in findings():
        click.echo(f"{'MEND' if finding.remedy else 'ok':5}{finding.what}: {finding.told}")
        if finding.remedy:
            bad += 1
            click.echo(f"     {finding.remedy}")
    return 1 if bad else 0


@cli.command()
@click.argument("tasks", nargs=-1, metavar="[TASK]...")
@click.option("--data", type=PATH, help="Folder with a subfolder for each task, instead of what is built in.")
@click.option("--quick", is_flag=True, help="A few samples only, for a first look; the tables stay as they are.")
@click.option("--out", type=PATH, default=Path("benchmarks/results"), show_default=True, help="Folder for the results.")
def benchmark(tasks: tuple[str, ...], data: Path | None, quick: bool, out: Path) -> int:
    """Compare all methods under fixed conditions.

    Every TASK, or those named; the results are written as JSON, and the headline table is printed. What was measured before stays,
    unless the code, the data or the machine changed: a file for each condition and method in cells/, to be deleted when it shall be
    measured again.
    """
    from benchmarks import run, tables
    from benchmarks.scores import Results

    with data_errors():
        results = run.measured(tasks, data, quick, out, lambda line: click.echo(line, err=True))
    click.echo(tables.short([Results(results)]))
    click.echo(f"written to {out / results['name']}.json", err=True)
    failures = run.failures(results)
    for line in failures:
        click.echo(f"Failed: {line}", err=True)
    return 1 if failures else 0


@cli.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when anything is stale.")
def report(check: bool) -> None:
    """Draw tables, page, report and slides from results and cards.

    In the project's folder: README.md, checkpoints/README.md, and REPORT.md, index.html, report.pdf and slides.pdf in benchmarks/.
    Needs the extra [report].
    """
    from benchmarks import render

    for path in render.written(check):
        click.echo(path)

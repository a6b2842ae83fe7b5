"""Write docs/reference.md, with every option of every command, from the commands themselves."""

from collections.abc import Iterator

import click

from hvd.benchmarks.tables import markdown

HEAD = """# Every option

Written by `toolkit report` from the options themselves. An option is a field of a dataclass
(`toolkit/options.py`, `options.py` of each task, and beside what else heeds them); from it come
the command's option, its check, this page and the keyword in Python: `--scale-bar-micrometres 50`
is `scale_bar_micrometres=50` in `hvd.predict`, `hvd.samples` and `hvd.evaluate`."""


def reference() -> str:
    """The text of docs/reference.md."""
    from hvd.toolkit.cli import cli

    parts = [HEAD]
    for path, group in groups(cli):
        parts += [describe_group(path, group)]
    return "\n\n".join(parts) + "\n"


def groups(
    cli: click.Group,
) -> Iterator[tuple[str, list[tuple[str, click.Command]]]]:
    """Yield a heading with its commands: those of a group together, all others by themselves."""
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            inner = click.Context(command)
            names = command.list_commands(inner)
            yield (
                name,
                [(f"{name} {n}", command.get_command(inner, n)) for n in names],
            )
        else:
            yield name, [(name, command)]


def describe_group(name: str, commands: list[tuple[str, click.Command]]) -> str:
    """The commands of a group; options that all of them have are listed once."""
    tables = [
        {option.name: row(option) for option in options(command)}
        for _, command in commands
    ]
    shared = {}
    if len(commands) > 1:
        for option_name, cells in tables[0].items():
            if all(table.get(option_name) == cells for table in tables):
                shared[option_name] = cells

    parts = [f"## toolkit {name}"]
    if shared:
        parts += ["All of them:", table_of(list(shared.values()))]

    for (path, command), table in zip(commands, tables, strict=True):
        if len(commands) > 1:
            parts.append(f"### toolkit {usage(path, command)}")
        parts.append(paragraphs(command.help or ""))
        rows = [
            cells
            for option_name, cells in table.items()
            if option_name not in shared
        ]
        if rows:
            parts.append(table_of(rows))

    return "\n\n".join(parts)


def usage(path: str, command: click.Command) -> str:
    """The name of a command with its arguments."""
    words = [path]
    for param in command.params:
        if isinstance(param, click.Argument):
            words.append(param.make_metavar(click.Context(command)))
    return " ".join(words)


def options(command: click.Command) -> list[click.Option]:
    """The options of a command."""
    return [
        param for param in command.params if isinstance(param, click.Option)
    ]


def row(option: click.Option) -> list[str]:
    """The cells of an option in the table."""
    help, _, shown = (option.help or "").partition("  [default: ")
    default = shown.removesuffix("]")
    if not shown and option.show_default:
        default = str(option.default)
    if option.required:
        default = "required"
    return [f"`{option.opts[0]}`", kind_of(option), default, help]


def kind_of(option: click.Option) -> str:
    """The type of an option, with its range or its choices."""
    if option.is_flag:
        return "flag"
    kind = option.type
    if isinstance(kind, click.Choice):
        return " / ".join(kind.choices)

    if isinstance(kind, click.types._NumberRangeBase):
        name = kind.name.split()[0]
        ends = [f"from {kind.min:,}"] if kind.min is not None else []
        ends += [f"to {kind.max:,}"] if kind.max is not None else []
        return " ".join([name, *ends])

    return kind.name


def table_of(rows: list[list[str]]) -> str:
    """Options as a table."""
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return markdown(
        ["option", "type", "default", "what it does"], escaped, numbers=False
    )


def paragraphs(text: str) -> str:
    """A help text as paragraphs of one line each."""
    blocks = text.strip().split("\n\n")
    return "\n\n".join(" ".join(block.split()) for block in blocks)

"""Find out which code an answer comes from, symbol by symbol.

A result is stale when the code that computed it has changed. Entire files would be too coarse: a
method added to `baselines/lines.py` changes nothing for the others. So the source of a class or
function is followed through the names that it uses, as far as they are ours.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

LEAST_NAME = 4  # letters that a text needs to be taken for the name of a file
LOOSE = ""  # stands for what a module does without binding a name, such as np.seterr()


class Symbol(NamedTuple):
    """A name at the top level of one of our modules."""

    module: str
    name: str


class Module(NamedTuple):
    """A parsed module.

    Attributes
    ----------
    statements : the statements that bind each name.
    imports : for each name that is imported from us, the module or the symbol it stands for.
    used, code : for names that were asked for, what they use, and their code as texts.
    """

    statements: dict[str, list[ast.stmt]]
    imports: dict[str, str | Symbol]
    used: dict[str, set[Symbol]]
    code: dict[str, list[str]]


def fingerprint(*places: str) -> str:
    """SHA-256 of the code at "module:name", and of all of ours that it uses.

    Comments and docstrings do not count. Raises KeyError when there is nothing at a place.
    """
    symbols = [Symbol(*place.split(":")) for place in places]
    for symbol in symbols:
        module = read_module(symbol.module)
        if symbol.name not in {**module.statements, **module.imports}:
            raise KeyError(f"{symbol.module}:{symbol.name}")
    return digest_of(symbols)


def metric_fingerprint(task: str, name: str) -> str:
    """As `fingerprint`, for one metric in a task's METRICS.

    For all of them where the metric is not written out there with its name.
    """
    module = f"hvd.toolkit.tasks.{task}.metrics"
    for statement in read_module(module).statements["METRICS"]:
        for call in ast.walk(statement):
            if isinstance(call, ast.Call) and metric_name(call) == name:
                return digest_of([*uses(call, module)], ast.dump(call))
    return fingerprint(f"{module}:METRICS")


def metric_name(call: ast.Call) -> str | None:
    """The name of the metric that a call makes: its first argument, or the keyword."""
    named = [
        keyword.value for keyword in call.keywords if keyword.arg == "name"
    ]
    first = next(iter([*call.args[:1], *named]), None)
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        return first.value
    return None


def digest_of(start: list[Symbol], *texts: str) -> str:
    """SHA-256 of some texts, and of symbols with all that they use."""
    parts = list(texts)
    symbols = closure(start)
    for module in sorted({symbol.module for symbol in symbols}):
        parts += [
            ast.dump(statement)
            for statement in read_module(module).statements[LOOSE]
        ]

    for symbol in sorted(symbols):
        parts += code_of(symbol)

    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def code_of(symbol: Symbol) -> list[str]:
    """The code of a symbol as texts, with the files that it reads."""
    module = read_module(symbol.module)
    if symbol.name not in module.code:
        parts = [f"{symbol.module}:{symbol.name}"]
        for statement in module.statements[symbol.name]:
            parts.append(ast.dump(statement))
            parts += data_files(statement, symbol.module)
        module.code[symbol.name] = parts
    return module.code[symbol.name]


def closure(start: list[Symbol]) -> set[Symbol]:
    """Symbols with all of ours that they use, directly or by way of others."""
    symbols: set[Symbol] = set()
    waiting = list(start)
    while waiting:
        symbol = waiting.pop()
        module = read_module(symbol.module)
        if symbol.name in module.imports:
            target = module.imports[symbol.name]
            waiting += [target] if isinstance(target, Symbol) else []
        elif symbol.name in module.statements and symbol not in symbols:
            symbols.add(symbol)
            waiting += symbols_used(symbol)

    return symbols


def symbols_used(symbol: Symbol) -> set[Symbol]:
    """The symbols of ours that another uses."""
    module = read_module(symbol.module)
    if symbol.name not in module.used:
        used: set[Symbol] = set()
        for statement in module.statements[symbol.name]:
            used.update(uses(statement, symbol.module))
        module.used[symbol.name] = used
    return module.used[symbol.name]


def uses(node: ast.AST, module: str) -> Iterator[Symbol]:
    """Yield the symbols of ours that a piece of code uses.

    Local names may be taken for global ones, which adds symbols but never leaves one out.
    """
    imports = dict(read_module(module).imports)
    for part in ast.walk(node):
        imports |= names_from_hvd(part)  # those inside functions

    # Names and attributes are how a module uses another's symbols.
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            target = imports.get(part.id, Symbol(module, part.id))
            if isinstance(target, Symbol):
                yield target
        elif isinstance(part, ast.Attribute):
            written = ast.unparse(part.value)
            target = imports.get(written, written)
            if (
                isinstance(target, str)
                and target.startswith("hvd.")
                and is_module(target)
            ):
                yield Symbol(target, part.attr)


def data_files(node: ast.AST, module: str) -> Iterator[str]:
    """Yield SHA-256 of the .npz files beside a module that its code mentions by name or start."""
    texts = []
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            texts.append(part.value)

    for path in sorted(Path(place_of(module)).parent.glob("*.npz")):
        if any(
            len(text) >= LEAST_NAME and path.name.startswith(text)
            for text in texts
        ):
            yield hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def read_module(name: str) -> Module:
    """The statements of a module by the names they bind, and what it imports from `hvd`.

    Statements that bind no name, such as calls and assignments to attributes, are listed under
    LOOSE and count for everything in the module. Docstrings are dropped: they change no answer.
    """
    module = Module(statements={LOOSE: []}, imports={}, used={}, code={})
    for statement in ast.parse(Path(place_of(name)).read_text()).body:
        drop_docstrings(statement)
        module.imports.update(names_from_hvd(statement))

        bound = names_bound(statement)
        for bound_name in bound:
            module.statements.setdefault(bound_name, []).append(statement)
        if not bound and is_loose(statement):
            module.statements[LOOSE].append(statement)

    return module


def is_loose(statement: ast.stmt) -> bool:
    """Whether a statement that binds no name may still change what a module does."""
    if isinstance(statement, ast.Expr):
        return not isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Assign | ast.AugAssign)


def place_of(module: str) -> str:
    """The file of a module, found without importing more than its packages."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    return spec.origin


def names_from_hvd(node: ast.AST) -> dict[str, str | Symbol]:
    """For each name that an import from `hvd` binds, the module or symbol it stands for."""
    if not isinstance(node, ast.ImportFrom) or not (
        node.module or ""
    ).startswith("hvd"):
        return {}
    bound: dict[str, str | Symbol] = {}
    for alias in node.names:
        inner = f"{node.module}.{alias.name}"
        place = inner if is_module(inner) else Symbol(node.module, alias.name)
        bound[alias.asname or alias.name] = place

    return bound


@cache
def is_module(name: str) -> bool:
    """Whether there is a module of that name."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def names_bound(statement: ast.stmt) -> set[str]:
    """The names that a statement at the top level of a module binds."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    stored = (
        node for node in ast.walk(statement) if isinstance(node, ast.Name)
    )
    return {node.id for node in stored if isinstance(node.ctx, ast.Store)}


def drop_docstrings(statement: ast.stmt) -> None:
    """Remove the docstrings from a definition."""
    for node in ast.walk(statement):
        if isinstance(
            node, ast.FunctionDef | ast.ClassDef
        ) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]


def networks(task: str) -> dict[str, str]:
    """SHA-256 of the shipped networks of a task, by file name."""
    from hvd.toolkit.network import index

    return {
        name: entry["sha256"]
        for name, entry in index().items()
        if entry["task"] == task
    }

"""Which code an answer comes from, symbol by symbol.

A result is stale when the code that it was computed by has changed. Whole files would say too
much: a method added to `baselines/lines.py` changes nothing for those beside it. So the source of
a class or function is followed through the names that it uses, as far as they are ours.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

LEAST_NAME = 4  # letters of a text that names a file beside the code
LOOSE = ""  # what a module does at its top level without binding a name, such as np.seterr()


class Symbol(NamedTuple):
    """A name at the top level of one of our modules."""

    module: str
    name: str


class Module(NamedTuple):
    """What binds the names of a module: statements, and imports of ours.

    An import is the module, or the symbol in it, that a name stands for.
    """

    statements: dict[str, list[ast.stmt]]
    imports: dict[str, str | Symbol]


def fingerprint(*places: str) -> str:
    """SHA-256 of what stands at "module:name" and of all of ours that it uses; comments and
    docstrings do not count.

    Raises KeyError when nothing stands there.
    """
    symbols = [Symbol(*place.split(":")) for place in places]
    for symbol in symbols:
        module = read_module(symbol.module)
        if symbol.name not in {**module.statements, **module.imports}:
            raise KeyError(f"{symbol.module}:{symbol.name}")
    return digest_of(symbols)


def metric_fingerprint(task: str, name: str) -> str:
    """As fingerprint, of one metric in a task's METRICS; of all of them where it is not written out
    there by its name."""
    module = f"hvd.toolkit.tasks.{task}.metrics"
    for statement in read_module(module).statements["METRICS"]:
        for call in ast.walk(statement):
            if isinstance(call, ast.Call) and metric_name(call) == name:
                return digest_of([*uses(call, module)], ast.dump(call))
    return fingerprint(f"{module}:METRICS")


def metric_name(call: ast.Call) -> str | None:
    """The name of a metric that a call makes, its first argument or the keyword."""
    named = [keyword.value for keyword in call.keywords if keyword.arg == "name"]
    first = next(iter([*call.args[:1], *named]), None)
    return first.value if isinstance(first, ast.Constant) else None


def digest_of(start: list[Symbol], *texts: str) -> str:
    """SHA-256 of texts, and of symbols with all that they use."""
    parts = list(texts)
    found = closure(start)
    for module in sorted({symbol.module for symbol in found}):
        parts += [ast.dump(statement) for statement in read_module(module).statements[LOOSE]]

    for symbol in sorted(found):
        statements = read_module(symbol.module).statements[symbol.name]
        parts.append(f"{symbol.module}:{symbol.name}")
        parts += [ast.dump(statement) for statement in statements]
        for statement in statements:
            parts += data_files(statement, symbol.module)

    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def closure(start: list[Symbol]) -> set[Symbol]:
    """Symbols with all of ours that they use, directly or by way of others."""
    found: set[Symbol] = set()
    waiting = list(start)
    while waiting:
        symbol = waiting.pop()
        module = read_module(symbol.module)
        if symbol.name in module.imports:
            target = module.imports[symbol.name]
            waiting += [target] if isinstance(target, Symbol) else []
        elif symbol.name in module.statements and symbol not in found:
            found.add(symbol)
            for statement in module.statements[symbol.name]:
                waiting += uses(statement, symbol.module)

    return found


def uses(node: ast.AST, module: str) -> Iterator[Symbol]:
    """The symbols of ours that a piece of code uses; local names may stand for more than are."""
    imports = dict(read_module(module).imports)
    for part in ast.walk(node):
        imports |= imported(part)  # those inside functions

    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            target = imports.get(part.id, Symbol(module, part.id))
            if isinstance(target, Symbol):
                yield target
        elif isinstance(part, ast.Attribute):
            written = ast.unparse(part.value)
            target = imports.get(written, written)
            if isinstance(target, str) and target.startswith("hvd.") and is_module(target):
                yield Symbol(target, part.attr)


def data_files(node: ast.AST, module: str) -> Iterator[str]:
    """SHA-256 of the .npz files beside a module that a piece of code names, or begins to name."""
    names = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
    for path in sorted(Path(place_of(module)).parent.glob("*.npz")):
        if any(
            isinstance(n, str) and len(n) >= LEAST_NAME and path.name.startswith(n) for n in names
        ):
            yield hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def read_module(name: str) -> Module:
    """What the names of one of our modules are bound by."""
    module = Module({LOOSE: []}, {})
    for statement in ast.parse(Path(place_of(name)).read_text()).body:
        drop_docstrings(statement)
        module.imports.update(imported(statement))
        if isinstance(statement, ast.Expr) and not isinstance(statement.value, ast.Constant):
            module.statements[LOOSE].append(statement)
        for bound in names_bound(statement):
            module.statements.setdefault(bound, []).append(statement)

    return module


def place_of(module: str) -> str:
    """The file of a module; nothing but its packages is imported."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    return spec.origin


def imported(node: ast.AST) -> dict[str, str | Symbol]:
    """The modules of ours, or the symbols in them, that an import binds to names."""
    if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("hvd"):
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
    stored = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {node.id for node in stored if isinstance(node.ctx, ast.Store)}


def drop_docstrings(statement: ast.stmt) -> None:
    """Take the docstrings out of a definition."""
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]


def networks(task: str) -> dict[str, str]:
    """The SHA-256 of the shipped networks of a task."""
    from hvd.toolkit.network import index

    return {name: entry["sha256"] for name, entry in index().items() if entry["task"] == task}

"""What a mutant is: told by comparing its syntax tree with that of the function it was made from.

Here: `read`, the mutants of one file with their fate and kind. Not here: running them.
"""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

EQUIVALENT = Path(__file__).parent / "equivalent.toml"
# Functions that only put a reason into words.
WORDING = {"_reasons", "_why", "isoformat", "told"}
# mutmut's exit codes: pytest's own, 33 for a function that no test calls, and the signals of a time limit.
SPLIT = ast.expr | ast.stmt | ast.Module | ast.arguments | ast.comprehension | ast.keyword | ast.ExceptHandler
KILLED, NOT_CALLED, TIMEOUTS = {1, 3}, 33, {-24, 24, 152, 255, 36}


@dataclass(frozen=True)
class Mutant:
    name: str
    function: str
    fate: str  # killed | timeout | survived | not_run
    guard: bool
    text_only: bool
    diff: str

    @property
    def survived(self) -> bool:
        return self.fate == "survived" and not self.text_only


def read(mutants: Path, file: str) -> list[Mutant]:
    """All mutants of a file, from what mutmut left in its folder."""
    exits = json.loads((mutants / f"{file}.meta").read_text(encoding="utf-8"))["exit_code_by_key"]
    functions = dict(_functions(ast.parse((mutants / file).read_text(encoding="utf-8"))))
    return [_mutant(name, code, functions) for name, code in exits.items()]


def equivalents() -> dict[tuple[str, str], str]:
    """The reviewed list: (function, diff) -> why no test can tell the two apart."""
    entries = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("mutant", [])
    return {(entry["function"], entry["diff"].strip()): entry["reason"] for entry in entries}


def _mutant(name: str, code: int | None, functions: dict[str, ast.AST]) -> Mutant:
    mangled = name.rsplit(".", 1)[1]
    stem = mangled.rsplit("__mutmut_", 1)[0]
    before, after = functions[f"{stem}__mutmut_orig"], functions[mangled]
    old, new = _narrowest(_bare(before), _bare(after))
    fate = {None: "not_run", NOT_CALLED: "survived", 5: "survived", 0: "survived"}.get(code, "timeout")
    fate = "killed" if code in KILLED else fate
    function = f"{name.rsplit('.', 1)[0]}.{stem.lstrip('x').replace('ǁ', '.').strip('._') if 'ǁ' in stem else stem[2:]}"
    text = _is_in_text(_bare(before), _bare(after))
    return Mutant(name, function, fate, _is_guard(old, new), text, f"{_told(old)} -> {_told(new)}")


def _functions(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node


def _bare(function: ast.AST) -> ast.AST:
    """Arguments and body: the name differs anyhow."""
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    return ast.Lambda(args=function.args, body=ast.Module(body=function.body, type_ignores=[]))  # type: ignore[arg-type]


def _same(a: object, b: object) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, ast.AST) and isinstance(b, ast.AST):
        return ast.dump(a) == ast.dump(b)
    return bool(type(a) is type(b) and a == b)


def _narrowest(a: ast.AST, b: ast.AST) -> tuple[ast.AST, ast.AST]:
    """The smallest pair of nodes that holds the whole change; a forced condition is not split further."""
    while True:
        if type(a) is not type(b) or _is_guard(a, b):
            return a, b
        pairs = [pair for pair in _children(a, b) if not _same(*pair)]
        inner = pairs[0] if len(pairs) == 1 else None
        if inner is None or not all(isinstance(node, SPLIT) for node in inner):
            return a, b
        a, b = inner


def _children(a: ast.AST, b: ast.AST) -> Iterator[tuple[object, object]]:
    for (_, x), (_, y) in zip(ast.iter_fields(a), ast.iter_fields(b), strict=True):
        if isinstance(x, list) and isinstance(y, list) and len(x) == len(y):
            yield from zip(x, y, strict=True)
        else:
            yield x, y


def _is_guard(a: ast.AST, b: ast.AST) -> bool:
    """Is b the condition a, forced, or a call left out?"""
    if isinstance(a, ast.Expr) and isinstance(b, ast.Pass):
        return True
    if not isinstance(b, ast.BoolOp) or len(b.values) != 2 or not _same(a, b.values[0]):
        return False
    last = b.values[1]
    return isinstance(last, ast.Constant) and last.value is isinstance(b.op, ast.Or)


def _is_in_text(a: object, b: object) -> bool:
    """Does the change lie wholly inside text for people?"""
    if _same(a, b) or (isinstance(a, ast.AST) and _is_text(a)):
        return True
    if not isinstance(a, ast.AST) or not isinstance(b, ast.AST) or type(a) is not type(b):
        return False
    if isinstance(a, ast.IfExp) and _is_text(a.body) and _is_text(a.orelse):
        return True
    return all(_is_in_text(x, y) for x, y in _children(a, b))


def _is_text(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=str() as value):
            return " " in value
        case ast.JoinedStr():
            return any(isinstance(part, ast.Constant) and " " in str(part.value) for part in node.values)
        case ast.BinOp(left=left, op=ast.Add()):
            return _is_text(left)
        case ast.IfExp(body=body, orelse=other):
            return _is_text(body) and _is_text(other)
        case ast.BoolOp(values=values):
            return any(_is_text(value) for value in values[1:])
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str() as glue), attr="join")):
            return glue in {"; ", ", ", " and ", " "}
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            return name in WORDING
    return False


def _told(node: object) -> str:
    if not isinstance(node, ast.expr | ast.stmt):
        return ast.dump(node) if isinstance(node, ast.AST) else repr(node)
    if isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try):
        return ast.unparse(node).split("\n", 1)[0]
    return ast.unparse(node)

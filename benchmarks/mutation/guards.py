"""Guards removed, one by one: what mutmut 3 does not do by itself, added to what it does.

Here: operators over syntax trees, and mutmut's command with them. Not here: what becomes of the mutants (survivors.py).

mutmut forces the condition of a ternary only. Here each condition is forced, both ways, and each term of an `and` or an
`or` is taken out: `if a and b` becomes `if ((a and b)) and False`, `... or True`, `((a) or True) and b` and `a and ((b)
or True)`. The condition is still evaluated, so names it binds are bound, and what it raises is raised.
Sentences are not mutated: no decision reads them. Words without a space (names of checks, columns, phases) are.
A call whose answer nobody takes (`_refuse_if_busy(...)`, a write) is left out as well.
Run inside a prepared copy: `python -m benchmarks.mutation.guards conditions run --max-children 2`. `guards` removes
guards only, `conditions` mutates them too (`<` for `<=`, `or` for `and`, a `not` away), `all` whatever mutmut can.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import libcst as cst
from mutmut.mutation import mutators
from mutmut.runners import harness

LITERALS = (cst.SimpleString, cst.FormattedString, cst.ConcatenatedString, cst.List, cst.Tuple, cst.Dict, cst.Set)
LOGS = ("log", "logging")
CONDITIONS = (cst.Comparison, cst.BooleanOperation, cst.UnaryOperation)


def forced(node: cst.BaseExpression, to: bool) -> cst.BooleanOperation:
    """`((node) or True)` or `((node) and False)`."""
    inner = node if node.lpar else node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    operator, name = (cst.Or(), "True") if to else (cst.And(), "False")
    outer = {"lpar": [cst.LeftParen()], "rpar": [cst.RightParen()]}
    return cst.BooleanOperation(left=inner, operator=operator, right=cst.Name(name), **outer)


def force_test(node: cst.If | cst.While | cst.CompIf) -> Iterable[cst.CSTNode]:
    for to in (False,) if isinstance(node, cst.While) else (False, True):  # `while True` would only hang
        yield node.with_changes(test=forced(node.test, to))


def force_value(node: cst.Return | cst.Assign | cst.Arg) -> Iterable[cst.CSTNode]:
    """A condition that is returned, named or handed over."""
    if isinstance(node.value, CONDITIONS) and not _is_number(node.value):
        for to in (False, True):
            yield node.with_changes(value=forced(node.value, to))


def remove_term(node: cst.BooleanOperation) -> Iterable[cst.BooleanOperation]:
    """Each side of an `and` is taken as true, each side of an `or` as false."""
    to = isinstance(node.operator, cst.And)
    for side in ("left", "right"):
        term = getattr(node, side)
        chained = isinstance(term, cst.BooleanOperation) and type(term.operator) is type(node.operator)
        if not chained and not isinstance(term, LITERALS):
            yield node.with_changes(**{side: forced(term, to)})


def leave_out_call(node: cst.Expr) -> Iterable[cst.CSTNode]:
    """A call made for what it does or raises; what is only logged decides nothing."""
    if isinstance(node.value, cst.Call) and cst.Module([]).code_for_node(node.value.func).split(".")[0] not in LOGS:
        yield cst.Pass()


def _is_number(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.UnaryOperation) and not isinstance(node.operator, cst.Not)


def change_word(node: cst.BaseString) -> Iterable[cst.BaseString]:
    """One change of each word, none of a sentence."""
    if not isinstance(node, cst.SimpleString) or not isinstance(node.evaluated_value, str):
        return
    if " " not in node.evaluated_value:
        yield node.with_changes(value=repr(f"XX{node.evaluated_value}XX"))


def swap_in_condition(node: cst.CSTNode) -> Iterable[cst.CSTNode]:
    if isinstance(node, cst.BooleanOperation | cst.ComparisonTarget):
        yield from mutators.operator_swap_op(node)


def install(operators: str) -> None:
    """The guards, and of mutmut's own operators as many as asked for, without its one on strings."""
    added: list[tuple[type, object]] = [(kind, force_test) for kind in (cst.If, cst.While, cst.CompIf)]
    added += [(kind, force_value) for kind in (cst.Return, cst.Assign, cst.Arg)]
    added += [(cst.BooleanOperation, remove_term), (cst.Expr, leave_out_call)]
    own: list[tuple[type, object]] = [(cst.IfExp, mutators.operator_if_exp)]
    if operators == "conditions":
        own += [(cst.UnaryOperation, mutators.operator_remove_unary_ops), (cst.CSTNode, swap_in_condition)]
        own += [(cst.BaseCompOp, mutators.operator_keywords)]
    if operators == "all":
        own = [pair for pair in mutators.mutation_operators if pair[0] is not cst.BaseString]
        own += [(cst.BaseString, change_word)]
    mutators.mutation_operators[:] = [*own, *added]


def whole_files(runner: harness.PytestRunner, tests: Iterable[str]) -> list[str]:
    """Files that hold a wanted test: pytest takes longer to find two hundred tests by name than to run them."""
    wanted, judges = {test.split("::")[0] for test in tests}, runner._pytest_add_cli_args_test_selection
    return ["-x", "-q", *[file for file in judges if not wanted or file in wanted]]


def main() -> None:
    from mutmut.__main__ import cli

    install(sys.argv.pop(1))
    harness.PytestRunner._pytest_args_regular_run = whole_files
    cli()


if __name__ == "__main__":
    main()

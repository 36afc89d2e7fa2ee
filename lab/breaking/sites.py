"""Places in a module where one small change breaks it, found in its syntax tree.

The change is made to the text, so that the rest of the module stays as it is. Annotations,
decorators, docstrings, ``__all__`` and f-strings are left alone: a change there breaks nothing or
has no position in Python before 3.12.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

BINARY = {ast.Add: ('+', '-'), ast.Sub: ('-', '+'), ast.Mult: ('*', '/'), ast.Div: ('/', '*'),
          ast.FloorDiv: ('//', '*'), ast.Mod: ('%', '*'), ast.Pow: ('**', '*')}  # fmt: skip
COMPARED = {ast.Lt: ('<', '<='), ast.LtE: ('<=', '<'), ast.Gt: ('>', '>='), ast.GtE: ('>=', '>'),
            ast.Eq: ('==', '!='), ast.NotEq: ('!=', '=='), ast.In: ('in', 'not in'),
            ast.NotIn: ('not in', 'in'), ast.Is: ('is', 'is not'),
            ast.IsNot: ('is not', 'is')}  # fmt: skip
JOINED = {ast.And: ('and', 'or'), ast.Or: ('or', 'and')}


@dataclass(frozen=True)
class Site:
    """One change.

    Args:
        file: path below the root of the checkout.
        line: of the change, from 1.
        kind: 'operator', 'comparison', 'constant', 'statement' or 'arguments'.
        start: first byte that is replaced.
        end: byte after the last one.
        old: what is there.
        new: what replaces it.
    """

    file: str
    line: int
    kind: str
    start: int
    end: int
    old: str
    new: str

    def applied(self, source: str) -> str:
        """The module with the change."""
        data = source.encode()
        return (data[: self.start] + self.new.encode() + data[self.end :]).decode()

    def breaks(self, source: str) -> bool:
        """Whether the change is Python and not the same as before."""
        try:
            return ast.dump(ast.parse(self.applied(source))) != ast.dump(ast.parse(source))
        except SyntaxError:
            return False


def find_sites(source: str, file: str) -> list[Site]:
    """All changes of a module, from top to bottom; ask :meth:`Site.breaks` before one is used."""
    finder = _Finder(source, file)
    finder.visit(ast.parse(source))
    return sorted(finder.sites, key=lambda site: (site.start, site.end, site.new))


class _Finder(ast.NodeVisitor):
    """Collects the sites of one module."""

    def __init__(self, source: str, file: str) -> None:
        self.sites: list[Site] = []
        self._data = source.encode()
        self._file = file
        lengths = [len(line) for line in self._data.splitlines(keepends=True)]
        self._starts = [sum(lengths[:index]) for index in range(len(lengths) + 1)]

    def _begin(self, node: ast.expr | ast.stmt) -> int:
        return self._starts[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._starts[node.end_lineno - 1] + node.end_col_offset

    def _add(self, kind: str, start: int, end: int, new: str) -> None:
        line = self._data.count(b'\n', 0, start) + 1
        old = self._data[start:end].decode()
        self.sites.append(Site(self._file, line, kind, start, end, old, new))

    def _swap(self, kind: str, left: ast.expr, right: ast.expr, words: tuple[str, str]) -> None:
        """Replace the operator between two operands."""
        start = self._end(left)
        between = self._data[start : self._begin(right)].decode()
        pattern = re.escape(words[0]).replace(r'\ ', r'\s+')
        found = re.search(rf'\b{pattern}\b' if words[0].isidentifier() else pattern, between)
        if found:
            first = start + len(between[: found.start()].encode())
            self._add(kind, first, first + len(found[0].encode()), words[1])

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:  # noqa: N802
        """Left alone."""

    def visit_arg(self, node: ast.arg) -> None:
        """Left alone."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:  # noqa: N802
        """The value without its annotation."""
        if node.value is not None:
            self.visit(node.value)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.visit(node.args)
        for statement in node.body:
            self.visit(statement)

    visit_FunctionDef = visit_AsyncFunctionDef = _visit_function  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:  # noqa: N802
        """The body alone."""
        for statement in node.body:
            self.visit(statement)

    def visit_If(self, node: ast.If) -> None:  # noqa: N802
        """Without what only type checkers read."""
        if ast.unparse(node.test) != 'TYPE_CHECKING':
            self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:  # noqa: N802
        """Another operator."""
        if type(node.op) in BINARY:
            self._swap('operator', node.left, node.right, BINARY[type(node.op)])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:  # noqa: N802
        """``or`` for ``and``, and the other way round."""
        for left, right in zip(node.values, node.values[1:]):
            self._swap('operator', left, right, JOINED[type(node.op)])
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:  # noqa: N802
        """No ``not`` and no minus."""
        words = {ast.Not: 3, ast.USub: 1}
        if type(node.op) in words:
            start = self._begin(node)
            self._add('operator', start, start + words[type(node.op)], '')
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:  # noqa: N802
        """Another comparison."""
        operands = [node.left, *node.comparators]
        for left, operation, right in zip(operands, node.ops, operands[1:]):
            self._swap('comparison', left, right, COMPARED[type(operation)])
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:  # noqa: N802
        """The other truth value, the next whole number, twice the number."""
        value = node.value
        if isinstance(value, bool):
            new = str(not value)
        elif isinstance(value, int):
            new = str(value + 1)
        elif isinstance(value, float):
            new = repr(2 * value or 1.0)
        else:
            return
        self._add('constant', self._begin(node), self._end(node), new)

    def visit_Call(self, node: ast.Call) -> None:  # noqa: N802
        """The first two positional arguments the other way round."""
        if len(node.args) >= 2 and not any(isinstance(a, ast.Starred) for a in node.args[:2]):
            first, second = node.args[:2]
            start, end = self._begin(first), self._end(second)
            parts = (self._data[self._begin(one) : self._end(one)] for one in (second, first))
            gap = self._data[self._end(first) : self._begin(second)]
            self._add('arguments', start, end, gap.join(parts).decode())
        self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        """Also drops statements that do something and give nothing."""
        if isinstance(node, ast.stmt) and _is_dropped(node):
            self._add('statement', self._begin(node), self._end(node), 'pass')
        if not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__all__'):
            super().generic_visit(node)


def _is_dropped(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        return all(isinstance(target, (ast.Attribute, ast.Subscript)) for target in node.targets)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    return isinstance(node, (ast.AugAssign, ast.Raise, ast.Delete))

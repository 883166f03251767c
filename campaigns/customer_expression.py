"""Which customers a campaign is for: an expression on the columns of the users table, read and never run as code.

`country in ["de", "fr"] and orders_last_year >= 2 and not is_employee`: names of columns, texts and numbers,
comparisons, `and`, `or`, `not`, `in`. Anything else is refused before a row is looked at. A missing value fulfils no
comparison. A column whose name is no plain word stands in backticks.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from campaigns.errors import CampaignError, nearest
from campaigns.flags import read_flags

LONGEST = 2000
"""Characters of an expression; longer lists of customers belong in `audience.customers`."""

COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
SWAPPED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    **COMPARISONS,
    ast.Lt: operator.gt,
    ast.LtE: operator.ge,
    ast.Gt: operator.lt,
    ast.GtE: operator.le,
}
QUOTED = "_column_{}"


def select_customers(expression: str, users: pd.DataFrame, setting: str = "audience") -> np.ndarray:
    """The customers for whom an expression is true.

    Args:
        expression: see the module.
        users: N rows.
        setting: names the expression in errors.
    Returns:
        Shape [N], bool.
    Raises:
        CampaignError: where it is no such expression, names a column that is not there, compares what cannot be
            compared, or is true of nobody.
    """
    reader = _Reader(expression, users, setting)
    chosen = reader.read()
    if not chosen.any():
        hints = "".join(f" {hint}" for hint in reader.hints) or " Ask for less."
        raise CampaignError(f"{setting}: {expression!r} is true of none of the {len(users):,} customers.{hints}")
    return chosen


@dataclass
class _Reader:
    """Goes through one expression; `hints` collects values that the columns do not hold."""

    expression: str
    users: pd.DataFrame
    setting: str
    hints: list[str] = field(default_factory=list)
    quoted: list[str] = field(default_factory=list)

    def read(self) -> np.ndarray:
        if len(self.expression) > LONGEST:
            raise self.refusal(f"is longer than {LONGEST} characters; list customers under audience.customers")
        try:
            tree = ast.parse(re.sub(r"`([^`\n]+)`", self._quote, self.expression).strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            told = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
            raise self.refusal(f"cannot be read ({told})") from None
        return self.truth(tree.body)

    def _quote(self, match: re.Match[str]) -> str:
        self.quoted.append(match[1])
        return QUOTED.format(len(self.quoted) - 1)

    def truth(self, node: ast.expr) -> np.ndarray:
        """Of whom a part is true. Shape [N], bool."""
        if isinstance(node, ast.BoolOp):
            parts = [self.truth(value) for value in node.values]
            join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return np.asarray(join.reduce(parts))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return np.asarray(~self.truth(node.operand))
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            pairs = zip(sides, node.ops, sides[1:], strict=False)
            return np.asarray(np.logical_and.reduce([self.compared(left, op, right) for left, op, right in pairs]))
        if isinstance(node, ast.Name):
            return self.flag(self.column(node))
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            return np.full(len(self.users), node.value)
        raise self.not_allowed(node)

    def flag(self, column: pd.Series) -> np.ndarray:
        """A column that stands alone has to be yes or no."""
        flags = read_flags(column)
        if np.isnan(flags[column.notna().to_numpy()]).any():
            raise self.refusal(f"column {column.name} is not yes or no: compare it with something")
        return np.asarray(flags == 1)

    def compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> np.ndarray:
        """Of whom one comparison is true. Shape [N], bool."""
        if isinstance(op, (ast.In, ast.NotIn)):
            if not isinstance(right, (ast.List, ast.Tuple, ast.Set)):
                raise self.refusal('after "in" it needs a list, such as ["a", "b"]')
            column = self.column(left)
            wanted = [self.constant(part, column) for part in right.elts]
            told = _comparable(column)
            inside = told.isin(wanted)
            self.note_unknown(column, wanted)
            return np.asarray((inside if isinstance(op, ast.In) else ~inside) & told.notna(), dtype=bool)
        if type(op) not in COMPARISONS:
            raise self.not_allowed(op)
        if isinstance(left, ast.Name) and isinstance(right, ast.Name):
            values, others = _comparable(self.column(left)), _comparable(self.column(right))
            return self.applied(COMPARISONS[type(op)], values, others, f"{left.id} with {right.id}")
        table, named, other = (COMPARISONS, left, right) if isinstance(left, ast.Name) else (SWAPPED, right, left)
        if not isinstance(named, ast.Name):
            self.constant(named, None)  # says what is not allowed, where that is the reason
            raise self.refusal("a comparison needs the name of a column")
        column = self.column(named)
        value = self.constant(other, column)
        if isinstance(op, ast.Eq):
            self.note_unknown(column, [value])
        return self.applied(table[type(op)], _comparable(column), value, f"{column.name} with {value!r}")

    def applied(self, compare: Callable[[Any, Any], Any], values: pd.Series, other: Any, told: str) -> np.ndarray:
        try:
            result = pd.Series(compare(values, other)).fillna(False)
        except TypeError:
            raise self.refusal(
                f"cannot compare {told}: the one is {_kind(values)}, the other "
                f"{_kind(other) if isinstance(other, pd.Series) else type(other).__name__}"
            ) from None
        there = values.notna() & (other.notna() if isinstance(other, pd.Series) else True)
        return np.asarray(result.astype(bool) & there)

    def column(self, node: ast.expr) -> pd.Series:
        """The column that a name names."""
        if not isinstance(node, ast.Name):
            raise self.not_allowed(node)
        quoted = re.fullmatch(r"_column_(\d+)", node.id)
        name = self.quoted[int(quoted[1])] if quoted and int(quoted[1]) < len(self.quoted) else node.id
        names = [str(column) for column in self.users.columns]
        if name not in names:
            raise self.refusal(
                f"names the column {name!r}, which users does not have{nearest(name, names)} It has {', '.join(names)}"
            )
        return self.users.iloc[:, names.index(name)]

    def constant(self, node: ast.expr, column: pd.Series | None) -> Any:
        """A text or a number; a time where the column holds times."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            value = node.operand.value
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return -value
        if not isinstance(node, ast.Constant) or not isinstance(node.value, (str, int, float, bool)):
            raise self.not_allowed(node)
        if column is not None and pd.api.types.is_datetime64_any_dtype(column):
            try:
                stamp = pd.Timestamp(node.value)
            except (TypeError, ValueError):
                raise self.refusal(f"{node.value!r} is no time, which column {column.name} holds") from None
            return stamp if column.dt.tz is None or stamp.tz is not None else stamp.tz_localize(column.dt.tz)
        return node.value

    def note_unknown(self, column: pd.Series, wanted: Sequence[Any]) -> None:
        """Keeps, for an empty audience, which values the column never takes."""
        levels = [str(level) for level in _comparable(column).dropna().unique()[:1000]]
        for value in wanted:
            if isinstance(value, str) and value not in levels:
                near = nearest(value, levels)
                self.hints.append(f"Column {column.name} never is {value!r}{near}")

    def not_allowed(self, node: ast.AST) -> CampaignError:
        source = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
        return self.refusal(
            f"{source[:60]!r} is not allowed ({type(node).__name__}): only columns, texts, numbers, comparisons, and, "
            "or, not and in are"
        )

    def refusal(self, told: str) -> CampaignError:
        shown = self.expression if len(self.expression) <= 120 else self.expression[:117] + "..."
        return CampaignError(f"{self.setting}: {shown!r}: {told}.")


def _comparable(column: pd.Series) -> pd.Series:
    """Categories as what they are categories of."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.astype(column.cat.categories.dtype)
    return column


def _kind(column: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(column):
        return "yes or no"
    if pd.api.types.is_numeric_dtype(column):
        return "a number"
    return "a time" if pd.api.types.is_datetime64_any_dtype(column) else "a text"

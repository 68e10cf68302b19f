"""A small language for expressions over datastreams: read by a parser of its own, checked for units, never evaluated as code.

```
sum        = product { ("+" | "-") product }
product    = factor { ("*" | "/") factor }
factor     = ["-"] ( number [ "'" unit "'" ] | name | call | "(" comparison ")" )
call       = "abs(" sum ")" | ("min" | "max" | "mean") "(" name "," duration ")" | ("min" | "max") "(" sum "," sum ")"
comparison = sum [ ("<" | "<=" | ">" | ">=" | "==" | "!=") sum ]
```

Names are the rule's inputs, a duration is ISO 8601 (`P30D`) and makes a window that ends at the time looked at. Values are computed in the
base units of their dimensions; adding or comparing unlike ones is refused when the rule is read. Unknown (NaN) stays unknown. This file
finishes with `parse_formula`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import numpy as np

from domain.errors import InputError, UnitError
from domain.observation import FloatArray
from domain.units import parse_unit

Dimension = tuple[tuple[str, int], ...]
LONGEST, DEEPEST = 1000, 40
NONE: Dimension = ()
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.])|(?P<duration>P(?=[\dT])[0-9.WDTHMS]+)(?!\w)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<unit>'[^']*')|(?P<sign><=|>=|==|!=|[-+*/(),<>]))"
)
_DURATION = re.compile(
    r"^P(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?$"
)
_COMPARE: Mapping[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "<": lambda a, b: np.asarray(a < b, dtype=np.float64),
    "<=": lambda a, b: np.asarray(a <= b, dtype=np.float64),
    ">": lambda a, b: np.asarray(a > b, dtype=np.float64),
    ">=": lambda a, b: np.asarray(a >= b, dtype=np.float64),
    "==": lambda a, b: np.asarray(a == b, dtype=np.float64),
    "!=": lambda a, b: np.asarray(a != b, dtype=np.float64),
}
_WINDOWS = ("min", "max", "mean")


class Inputs(Protocol):
    """Values of the inputs at the times looked at, in base units, (n,)."""

    def value(self, name: str) -> FloatArray:
        """Return the newest value at each time; NaN = unknown."""

    def window(self, name: str, function: str, span: timedelta) -> FloatArray:
        """Return `min`, `max` or `mean` over the window that ends at each time; NaN where nothing was observed in it."""


@dataclass(frozen=True, slots=True)
class Node:
    """A checked part of a formula: its dimension, whether it is true or false (1 or 0), and how it is computed."""

    dimension: Dimension
    truth: bool
    compute: Callable[[Inputs], FloatArray | float]


@dataclass(frozen=True, slots=True)
class Formula:
    """A checked formula; `longest` is the longest window that it looks back."""

    text: str
    root: Node
    longest: timedelta

    def compute(self, inputs: Inputs) -> FloatArray | float:
        """Return the value in base units; NaN = unknown."""
        return self.root.compute(inputs)


def parse_formula(text: str, units: Mapping[str, str]) -> Formula:
    """Read a formula.

    Parameters
    ----------
    text
        The formula.
    units
        UCUM unit of each input, by name.

    Raises
    ------
    InputError
        Saying what is wrong, at which character, and the remedy.
    """
    if len(text) > LONGEST:
        raise InputError(f"the expression has {len(text)} characters.", remedy=f"use at most {LONGEST}")
    parser = _Parser(text, units)
    root = parser.comparison(0)
    parser.finish()
    return Formula(text, root, parser.longest)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> list[_Token]:
    found, place = [], 0
    while place < len(text.rstrip()):
        match = _TOKEN.match(text, place)
        if match is None:
            here = len(text) - len(text[place:].lstrip())
            raise InputError(
                f"{text[here : here + 10]!r} at character {here + 1} is not understood.",
                remedy="use names, numbers, 'units', + - * / ( ) , < <= > >= == != and abs, min, max, mean",
            )
        kind = str(match.lastgroup)
        found.append(_Token(kind, match[kind], match.start(kind)))
        place = match.end()
    return [*found, _Token("end", "", len(text))]


class _Parser:
    """Recursive descent, with a bound on the depth."""

    def __init__(self, text: str, units: Mapping[str, str]) -> None:
        self._tokens = _tokens(text)
        self._place = 0
        self._units = {name: parse_unit(unit) for name, unit in units.items()}
        self.longest = timedelta()

    def _peek(self) -> _Token:
        return self._tokens[self._place]

    def _next(self) -> _Token:
        token = self._peek()
        self._place += token.kind != "end"
        return token

    def _take(self, text: str) -> None:
        token = self._next()
        if token.text != text or token.kind == "unit":
            raise self._wrong(token, f"write {text!r} there")

    @staticmethod
    def _wrong(token: _Token, remedy: str) -> InputError:
        said = repr(token.text) if token.text else "the end"
        return InputError(f"{said} at character {token.at + 1} is not expected.", remedy=remedy)

    def finish(self) -> None:
        token = self._peek()
        if token.kind != "end":
            raise self._wrong(token, "join the parts with + - * / or a comparison")

    def comparison(self, depth: int) -> Node:
        left = self.sum(depth)
        token = self._peek()
        if token.text not in _COMPARE or token.kind != "sign":
            return left
        self._next()
        right = self.sum(depth)
        self._alike(left, right, token)
        return Node(NONE, True, _compared(_COMPARE[token.text], left, right))

    def sum(self, depth: int) -> Node:
        left = self.product(depth)
        while self._peek().kind == "sign" and self._peek().text in "+-":
            token = self._next()
            right = self.product(depth)
            self._alike(left, right, token)
            left = Node(left.dimension, False, _joined(token.text, left, right))
        return left

    def product(self, depth: int) -> Node:
        left = self.factor(depth)
        while self._peek().kind == "sign" and self._peek().text in "*/":
            token = self._next()
            right = self.factor(depth)
            left = Node(
                _times(left.dimension, right.dimension, 1 if token.text == "*" else -1), False, _joined(token.text, left, right)
            )
        return left

    def factor(self, depth: int) -> Node:
        token = self._next()
        if depth > DEEPEST:
            raise self._wrong(token, f"nest at most {DEEPEST} parts")
        if token.kind == "sign" and token.text == "-":
            inner = self.factor(depth + 1)
            return Node(inner.dimension, False, lambda inputs: -inner.compute(inputs))
        if token.kind == "sign" and token.text == "(":
            inner = self.comparison(depth + 1)
            self._take(")")
            return inner
        if token.kind == "number":
            return self._number(token)
        if token.kind == "name":
            return self._call(token, depth) if self._peek().text == "(" else self._input(token)
        raise self._wrong(token, "write a number, an input or a call there")

    def _number(self, token: _Token) -> Node:
        value, dimension = float(token.text), NONE
        if self._peek().kind == "unit":
            code = self._next()
            try:
                unit = parse_unit(code.text.strip("'"))
            except UnitError as error:
                raise self._wrong(code, error.remedy or "write a UCUM code") from error
            value, dimension = (value + float(unit.offset)) * float(unit.factor), unit.dimension
        return Node(dimension, False, lambda inputs: value)

    def _input(self, token: _Token) -> Node:
        if token.text not in self._units:
            raise self._wrong(token, f"known inputs are {', '.join(sorted(self._units)) or 'none'}")
        name = token.text
        return Node(self._units[name].dimension, False, lambda inputs: inputs.value(name))

    def _call(self, token: _Token, depth: int) -> Node:
        self._take("(")
        if token.text == "abs":
            inner = self.sum(depth + 1)
            self._take(")")
            return Node(inner.dimension, False, lambda inputs: np.abs(inner.compute(inputs)))
        if token.text not in _WINDOWS:
            raise self._wrong(token, "known are abs, min, max and mean")
        left, started = self.sum(depth + 1), self._tokens[self._place - 1]
        self._take(",")
        if self._peek().kind == "duration":
            return self._windowed(token, started, left)
        if token.text == "mean":
            raise self._wrong(self._peek(), "write the window as ISO 8601, e.g. mean(level, P30D)")
        right = self.sum(depth + 1)
        self._alike(left, right, token)
        self._take(")")
        pick = np.minimum if token.text == "min" else np.maximum
        return Node(left.dimension, False, lambda inputs: pick(left.compute(inputs), right.compute(inputs)))

    def _windowed(self, token: _Token, named: _Token, input_node: Node) -> Node:
        span, name, function = _span(self._next()), named.text, token.text
        if named.kind != "name" or self._tokens[self._place - 4 : self._place - 3] != [
            _Token("sign", "(", token.at + len(token.text))
        ]:
            raise self._wrong(named, "a window is over one input by its name, e.g. mean(level, P30D)")
        self._take(")")
        self.longest = max(self.longest, span)
        return Node(input_node.dimension, False, lambda inputs: inputs.window(name, function, span))

    def _alike(self, left: Node, right: Node, token: _Token) -> None:
        if left.dimension != right.dimension:
            raise InputError(
                f"what stands left and right of {token.text!r} at character {token.at + 1} are unlike quantities.",
                remedy="give numbers their unit, e.g. 0.5 'm', and add or compare like with like",
            )


def _span(token: _Token) -> timedelta:
    match = _DURATION.match(token.text)
    weeks, days, hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0,) * 5
    span = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    if span <= timedelta():
        raise InputError(f"{token.text!r} at character {token.at + 1} is no window.", remedy="write e.g. PT6H or P30D")
    return span


def _compared(compare: Callable[[FloatArray, FloatArray], FloatArray], left: Node, right: Node) -> Callable[[Inputs], FloatArray]:
    def compute(inputs: Inputs) -> FloatArray:
        a, b = np.asarray(left.compute(inputs), dtype=np.float64), np.asarray(right.compute(inputs), dtype=np.float64)
        return np.where(np.isnan(a) | np.isnan(b), np.nan, compare(a, b))

    return compute


def _joined(sign: str, left: Node, right: Node) -> Callable[[Inputs], FloatArray | float]:
    join = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}[sign]

    def compute(inputs: Inputs) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            found = np.asarray(join(left.compute(inputs), right.compute(inputs)), dtype=np.float64)
        return np.where(np.isfinite(found), found, np.nan)

    return compute


def _times(left: Dimension, right: Dimension, sign: int) -> Dimension:
    powers = dict(left)
    for name, power in right:
        powers[name] = powers.get(name, 0) + sign * power
    return tuple(sorted((name, power) for name, power in powers.items() if power))

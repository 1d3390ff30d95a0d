"""Exact arithmetic, because models guess digits.

An expression is cut into tokens, every number is set aside as an exact fraction, and only what is
left (names, operators, parentheses, the numbers' places) goes to Python's parser; so `0.1` is
never a float. The tree is then evaluated over fractions. Limits on the length of the expression,
on its depth and on the digits of every intermediate value keep any input within milliseconds.

Choices where people differ:
- `^` is refused with a hint: it means power to some and exclusive or to others.
- `1,234,567` is a number outside of function calls. Inside one a comma separates arguments, and
  `max(1,234)` is refused, because both readings are sensible.
- `round` takes halves to the even digit, as Python and accountants do; `//` and `%` round down.
- Only `sqrt` (also written `** 0.5`) can be inexact. Then the result is rounded and says so.
"""

import ast
import re
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from math import isqrt
from typing import Annotated

import msgspec

from galerne.errors import ToolError
from galerne.tools import tool

MAX_LENGTH = 1000
"""Characters of an expression."""
MAX_DEPTH = 200
"""Operations inside operations; a sum of 200 terms is one inside the other too."""
MAX_DIGITS = 1000
"""Digits of a numerator or a denominator, at every step."""

_MAX_BITS = 3322  # 10 ** 1000 has 3322
_INEXACT = 50
_ROOT = _INEXACT + 10  # so that what follows a root is rarely seen to be rounded
_APPROXIMATE = 20
_HALF = Fraction(1, 2)
_NOTE = f"not exact: roots were rounded to {_ROOT} digits, the result to {_INEXACT}"

_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<grouped>\d{1,3}(?:,\d{3})+(?:\.\d*)?(?![\d,]))"
    r"|(?P<number>(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<operator>\*\*|//|[-+*/%(),])"
    r")",
    re.ASCII,
)
_LOOKALIKES = str.maketrans({"×": "*", "÷": "/", "−": "-", "–": "-", "\u00a0": " "})  # noqa: RUF001  the point of it


class Calculation(msgspec.Struct, frozen=True, omit_defaults=True):
    """`value` is an integer, a decimal that ends, or a fraction `a/b`.

    `approx` is a fraction's value to 20 digits; `note` says so if the value had to be rounded.
    """

    expression: str
    value: str
    approx: str | None = None
    note: str | None = None


class Number(msgspec.Struct, frozen=True):
    """A value on the way; `exact` is False once a root that is no fraction went into it."""

    value: Fraction
    exact: bool = True


@tool(effect="pure")
async def calculate(expression: Annotated[str, msgspec.Meta(min_length=1)]) -> Calculation:
    """Calculate an arithmetic expression exactly.

    It knows + - * / // (floor division) % ** and parentheses, abs, round, min, max, sqrt.

    Args:
        expression: Your numbers and operators, such as 2 + 3.
    """
    return evaluate(expression)


def evaluate(expression: str) -> Calculation:
    """Pure. Raises ToolError, one line that says what is wrong with the expression."""
    source, numbers = tokenize(expression)
    try:
        tree = ast.parse(source, mode="eval")
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ToolError(
            "this is not an arithmetic expression: check that operators stand between numbers "
            "and that parentheses match"
        ) from error
    number = _Evaluation(numbers).of(tree.body, MAX_DEPTH)
    value, approx = _written(number)
    note = None if number.exact else _NOTE
    return Calculation(expression.strip(), value, approx, note)


def tokenize(expression: str) -> tuple[str, list[Fraction]]:
    """The expression with each number replaced by its place in the list of numbers.

    Raises ToolError for characters, names and numbers that cannot be used.
    """
    if len(expression) > MAX_LENGTH:
        raise ToolError(f"the expression is too long: the limit is {MAX_LENGTH} characters")
    text = expression.translate(_LOOKALIKES).strip()
    tokens: list[str] = []
    numbers: list[Fraction] = []
    in_call: list[bool] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ToolError(_unusable(text[at:].lstrip()))
        kind, token, at = str(found.lastgroup), found[0].strip(), found.end()
        if kind in {"grouped", "number"}:
            if kind == "grouped" and any(in_call[-1:]):
                raise ToolError(
                    f"{token} could be one number or several arguments: leave the commas out of "
                    "numbers, and put a space after a comma between arguments"
                )
            _check_end(text, at, token)
            tokens.append(str(len(numbers)))
            numbers.append(_fraction(token.replace(",", "").replace("_", "")))
            continue
        if kind == "name" and token not in _FUNCTIONS:
            raise ToolError(f"unknown name {token[:40]!r}; the functions are {_KNOWN}")
        if token == "(":  # noqa: S105  a parenthesis is no password
            in_call.append(bool(tokens) and tokens[-1] in _FUNCTIONS)
        elif token == ")" and in_call:  # noqa: S105
            in_call.pop()
        tokens.append(token)
    return " ".join(tokens), numbers


def _check_end(text: str, at: int, token: str) -> None:
    following = text[at : at + 1]
    if following.isalpha():
        raise ToolError(f"{token}{following} is no number; write {token} * … for a product")
    if following in {".", "_"}:
        raise ToolError(f"{token}{following} is no number")


def _unusable(rest: str) -> str:
    match rest[0]:
        case "^":
            return "'^' is ambiguous; write ** for a power"
        case "=" | "<" | ">" | "!":
            return "there is nothing to compare or to solve here; give one expression without '='"
        case other:
            return f"{other!r} cannot be used in an expression; only numbers and + - * / // % ** ()"


def _fraction(token: str) -> Fraction:
    mantissa, _, exponent = token.lower().partition("e")
    if exponent and (len(exponent) > len("+1000") or abs(int(exponent)) > MAX_DIGITS):
        raise _too_big()
    whole, _, decimals = mantissa.partition(".")
    scale = int(exponent or 0) - len(decimals)
    return Fraction(int(whole + decimals)) * Fraction(10) ** scale


class _Evaluation:
    """One walk over a tree whose constants are places in `numbers`."""

    def __init__(self, numbers: Sequence[Fraction]) -> None:
        self._numbers = numbers

    def of(self, node: ast.expr, depth: int) -> Number:
        if depth == 0:
            raise ToolError(f"the expression is too deep: the limit is {MAX_DEPTH} operations")
        match node:
            case ast.Constant(value=int(place)):
                result = Number(self._numbers[place])
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.of(operand, depth - 1)
                result = Number(-inner.value, inner.exact)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                result = self.of(operand, depth - 1)
            case ast.BinOp(left=left, op=operator, right=right):
                result = _binary(operator, self.of(left, depth - 1), self.of(right, depth - 1))
            case ast.Call(func=ast.Name(id=name), args=args):
                result = _FUNCTIONS[name]([self.of(arg, depth - 1) for arg in args])
            case _:
                raise ToolError(_misplaced(node))
        return _limited(result)


def _misplaced(node: ast.expr) -> str:
    match node:
        case ast.Tuple():
            return "a comma separates arguments or groups of three digits (1,234), nothing else"
        case ast.Call():
            return "write * between a number or a parenthesis and the parenthesis after it"
        case ast.Name(id=name):
            return f"{name} needs its arguments in parentheses"
        case _:
            return "this is not an arithmetic expression"


def _limited(number: Number) -> Number:
    bits = max(number.value.numerator.bit_length(), number.value.denominator.bit_length())
    if bits > _MAX_BITS:
        raise _too_big()
    return number


def _too_big() -> ToolError:
    return ToolError(f"too big: the limit is {MAX_DIGITS} digits for every number on the way")


def _binary(operator: ast.operator, left: Number, right: Number) -> Number:
    a, b, exact = left.value, right.value, left.exact and right.exact
    try:
        match operator:
            case ast.Add():
                return Number(a + b, exact)
            case ast.Sub():
                return Number(a - b, exact)
            case ast.Mult():
                return Number(a * b, exact)
            case ast.Div():
                return Number(a / b, exact)
            case ast.FloorDiv():
                return Number(Fraction(a // b), exact)
            case ast.Mod():
                return Number(a % b, exact)
            case _:
                return _power(left, right)
    except ZeroDivisionError as error:
        raise ToolError("division by zero") from error


def _power(base: Number, exponent: Number) -> Number:
    a, b, exact = base.value, exponent.value, base.exact and exponent.exact
    if b == _HALF:
        return _sqrt([Number(a, exact)])
    if b.denominator != 1:
        raise ToolError("only whole exponents (and 0.5, the square root) can be calculated")
    bits = max(abs(a.numerator).bit_length(), a.denominator.bit_length())
    if (bits - 1) * abs(b.numerator) > _MAX_BITS:
        raise _too_big()
    return Number(Fraction(a**b.numerator), exact)


def _one(name: str, args: Sequence[Number]) -> Number:
    if len(args) != 1:
        raise ToolError(f"{name} takes one number, not {len(args)}")
    return args[0]


def _abs(args: Sequence[Number]) -> Number:
    number = _one("abs", args)
    return Number(abs(number.value), number.exact)


def _round(args: Sequence[Number]) -> Number:
    match args:
        case [Number(value=value, exact=exact)]:
            return Number(Fraction(round(value)), exact)
        case [Number(value=value, exact=exact), Number(value=digits)]:
            if digits.denominator != 1 or abs(digits) > MAX_DIGITS:
                raise ToolError(f"round's second argument is a whole number up to {MAX_DIGITS}")
            return Number(Fraction(round(value, digits.numerator)), exact)
        case _:
            raise ToolError(f"round takes a number and perhaps its decimals, not {len(args)}")


def _extreme(name: str, pick: Callable[..., Fraction]) -> Callable[[Sequence[Number]], Number]:
    def function(args: Sequence[Number]) -> Number:
        if not args:
            raise ToolError(f"{name} needs at least one number")
        return Number(pick(arg.value for arg in args), all(arg.exact for arg in args))

    return function


def _sqrt(args: Sequence[Number]) -> Number:
    number = _one("sqrt", args)
    top, bottom = number.value.numerator, number.value.denominator
    if top < 0:
        raise ToolError("the square root of a negative number is not a real number")
    root = Fraction(isqrt(top), isqrt(bottom))
    if root * root == number.value:
        return Number(root, number.exact)
    context = Context(prec=_ROOT)
    return Number(
        Fraction(context.sqrt(context.divide(Decimal(top), Decimal(bottom)))), exact=False
    )


_FUNCTIONS: dict[str, Callable[[Sequence[Number]], Number]] = {
    "abs": _abs,
    "max": _extreme("max", max),
    "min": _extreme("min", min),
    "round": _round,
    "sqrt": _sqrt,
}
_KNOWN = ", ".join(_FUNCTIONS)


def _written(number: Number) -> tuple[str, str | None]:
    """The value as text, and its approximation where the text is a fraction."""
    value = number.value
    if not number.exact:
        return _rounded(value, _INEXACT), None
    decimals = _decimals(value.denominator)
    if decimals is None or decimals > MAX_DIGITS:
        return f"{value.numerator}/{value.denominator}", _rounded(value, _APPROXIMATE)
    if decimals == 0:
        return str(value.numerator), None
    digits = str(abs(value.numerator) * 10**decimals // value.denominator).rjust(decimals + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}", None


def _decimals(denominator: int) -> int | None:
    """How many decimals the fraction has; None if they never end."""
    twos = (denominator & -denominator).bit_length() - 1
    rest, fives = denominator >> twos, 0
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return max(twos, fives) if rest == 1 else None


def _rounded(value: Fraction, digits: int) -> str:
    quotient = Context(prec=digits).divide(Decimal(value.numerator), Decimal(value.denominator))
    shown = quotient.normalize(Context(prec=digits))
    return format(shown, "f") if -digits < shown.adjusted() < 2 * digits else str(shown)

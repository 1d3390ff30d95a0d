import tracemalloc
from contextlib import suppress
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from galerne.errors import ToolError
from galerne.messages.tools import ToolResult
from galerne_tools.arithmetic import (
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_LENGTH,
    Calculation,
    calculate,
    evaluate,
)
from unit.tools.calls import call


class Sum(NamedTuple):
    """An expression as text and what Python's fractions make of it; None: it divides by zero."""

    text: str
    value: Fraction | None


def _number(whole: int, decimals: str) -> Sum:
    text = f"{whole}.{decimals}" if decimals else str(whole)
    return Sum(text, Fraction(text))


def _binary(left: Sum, operator: str, right: Sum) -> Sum:
    text = f"({left.text} {operator} {right.text})"
    if left.value is None or right.value is None:
        return Sum(text, None)
    a, b = left.value, right.value
    try:
        match operator:
            case "+":
                return Sum(text, a + b)
            case "-":
                return Sum(text, a - b)
            case "*":
                return Sum(text, a * b)
            case "/":
                return Sum(text, a / b)
            case "//":
                return Sum(text, Fraction(a // b))
            case _:
                return Sum(text, a % b)
    except ZeroDivisionError:
        return Sum(text, None)


def _unary(operand: Sum, how: str) -> Sum:
    text = f"{how}({operand.text})"
    if operand.value is None:
        return Sum(text, None)
    match how:
        case "-":
            return Sum(text, -operand.value)
        case "abs":
            return Sum(text, abs(operand.value))
        case _:
            return Sum(text, Fraction(round(operand.value)))


def _power(operand: Sum, exponent: int) -> Sum:
    text = f"({operand.text}) ** {exponent}"
    if operand.value is None or (operand.value == 0 and exponent < 0):
        return Sum(text, None)
    return Sum(text, Fraction(operand.value**exponent))


def _best(how: str, of: list[Sum]) -> Sum:
    text = f"{how}({', '.join(one.text for one in of)})"
    values = [one.value for one in of if one.value is not None]
    if len(values) < len(of):
        return Sum(text, None)
    return Sum(text, max(values) if how == "max" else min(values))


def _grow(inner: st.SearchStrategy[Sum]) -> st.SearchStrategy[Sum]:
    return (
        st.builds(_binary, inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner)
        | st.builds(_unary, inner, st.sampled_from(["-", "abs", "round"]))
        | st.builds(_power, inner, st.integers(-3, 3))
        | st.builds(_best, st.sampled_from(["min", "max"]), st.lists(inner, min_size=1, max_size=3))
    )


SUMS = st.recursive(
    st.builds(_number, st.integers(0, 10**9), st.text("0123456789", max_size=6)),
    _grow,
    max_leaves=8,
)


def read(result: Calculation) -> Fraction:
    return Fraction(result.value)


@given(SUMS)
@example(Sum("7 // -2", Fraction(-4)))
@example(Sum("-7 % 3", Fraction(2)))
@example(Sum("2 ** 3 ** 2", Fraction(512)))
@example(Sum("-2 ** 2", Fraction(-4)))
def test_it_says_what_fractions_say(asked: Sum) -> None:
    assume(len(asked.text) <= MAX_LENGTH)
    if asked.value is None:
        with pytest.raises(ToolError):
            evaluate(asked.text)
        return
    result = evaluate(asked.text)
    assert read(result) == asked.value
    assert result.note is None
    assert (result.approx is not None) == ("/" in result.value)
    if result.approx is not None:
        assert abs(Fraction(result.approx) - asked.value) <= abs(asked.value) / 10**19


@given(st.text(max_size=40) | st.text("0123456789.,()+-*/%eE abminroudsqt_^", max_size=60))
def test_any_text_is_answered_or_refused_in_one_line(text: str) -> None:
    try:
        said = evaluate(text).value
        Fraction(said)
    except ToolError as error:
        said = str(error)
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 1", "2"),
        ("0.1 + 0.2", "0.3"),
        ("1.50", "1.5"),
        ("3/8", "0.375"),
        ("-1/8", "-0.125"),
        ("(1250 * 3 + 17) / 4", "941.75"),
        ("1e3", "1000"),
        ("2.5e-3", "0.0025"),
        (".5", "0.5"),
        ("1_000 * 2", "2000"),
        ("007", "7"),
        ("1,234,567.5 * 2", "2469135"),
        ("(1,234) + max(2, 3)", "1237"),
        ("max(1, 234)", "234"),
        ("max((1,234), 5)", "1234"),
        ("round(2.5)", "2"),
        ("round(3.5)", "4"),
        ("round(2/3, 4)", "0.6667"),
        ("round(1234, -2)", "1200"),
        ("sqrt(16)", "4"),
        ("sqrt(2.25)", "1.5"),
        ("4 ** 0.5", "2"),
        ("2 ** -2", "0.25"),
        ("0 ** 0", "1"),
        ("\u22123 \u00d7 4 \u00f7 2", "-6"),
        (" 2\n+\t2 ", "4"),
        ("2 ** 200 // 2 ** 199", "2"),
        ("1 ** 99999999999999999999", "1"),
        ("(-1) ** 99999999999999999999", "-1"),
    ],
)
def test_exact_values(expression: str, value: str) -> None:
    assert evaluate(expression) == Calculation(expression.strip(), value)


async def _calculated(expression: str) -> object:
    outcome = await call(calculate, expression=expression)
    assert isinstance(outcome, ToolResult)
    return outcome.value


@pytest.mark.anyio
async def test_what_models_get_to_read() -> None:
    assert calculate.spec.parameters == {
        "type": "object",
        "properties": {
            "expression": {
                "type": "string",
                "minLength": 1,
                "description": "Your numbers and operators, such as 2 + 3.",
            }
        },
        "required": ["expression"],
        "additionalProperties": False,
    }
    assert await _calculated("1/3") == {
        "expression": "1/3",
        "value": "1/3",
        "approx": "0.33333333333333333333",
    }
    assert await _calculated("6*7") == {"expression": "6*7", "value": "42"}
    assert await _calculated("sqrt(2)") == {
        "expression": "sqrt(2)",
        "value": "1.4142135623730950488016887242096980785696718753769",
        "note": "not exact: roots were rounded to 60 digits, the result to 50",
    }


@given(st.integers(0, 10**40), st.integers(1, 10**20))
def test_roots_are_exact_or_right_to_fifty_digits(top: int, bottom: int) -> None:
    result = evaluate(f"sqrt({top}/{bottom})")
    if result.note is None:
        assert read(result) ** 2 == Fraction(top, bottom)
    else:
        with localcontext() as context:
            context.prec = 80
            root = (Decimal(top) / Decimal(bottom)).sqrt()
        assert abs(read(result) - Fraction(root)) <= Fraction(root) / 10**49


def test_inexactness_is_never_forgotten() -> None:
    for expression in (
        "sqrt(2) ** 2",
        "1 + sqrt(2)",
        "-sqrt(2)",
        "max(1, sqrt(2))",
        "min(1, sqrt(2))",
        "round(sqrt(2))",
        "abs(sqrt(2))",
        "sqrt(sqrt(2) ** 4)",
        "2 ** (sqrt(2) - sqrt(2))",
    ):
        assert evaluate(expression).note is not None, expression
    assert evaluate("sqrt(2) ** 2").value == "2"


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("1/0", "division by zero"),
        ("1 // 0", "division by zero"),
        ("1 % (2 - 2)", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("x + 1", "unknown name 'x'; the functions are abs, max, min, round, sqrt"),
        ("__import__", "unknown name '__import__'"),
        ("1 if 2 else 3", "unknown name 'if'"),
        ("2^3", "'^' is ambiguous; write ** for a power"),
        ("2x", "2x is no number; write 2 * … for a product"),
        ("0x10", "0x is no number"),
        ("1.2.3", "1.2. is no number"),
        ("2(3)", "write * between"),
        ("(1)(2)", "write * between"),
        ("sqrt(4)(2)", "write * between"),
        ("1,23", "a comma separates"),
        ("max(1,234)", "1,234 could be one number or several arguments"),
        ("max(5, 1,234)", "1,234 could be one number"),
        ("x = 3", "unknown name 'x'"),
        ("1 + 1 =", "without '='"),
        ("1 < 2", "nothing to compare"),
        ("5%", "this is not an arithmetic expression"),
        ("", "this is not an arithmetic expression"),
        ("   ", "this is not an arithmetic expression"),
        ("(1", "parentheses match"),
        ("1 2", "operators stand between numbers"),
        ("max(*1)", "this is not an arithmetic expression"),
        ("'a' * 3", "cannot be used in an expression"),
        ("[1]", "cannot be used in an expression"),
        ("٣ + 1", "cannot be used in an expression"),
        ("sqrt", "sqrt needs its arguments in parentheses"),
        ("sqrt(-1)", "negative"),
        ("abs()", "abs takes one number, not 0"),
        ("abs(1, 2)", "abs takes one number, not 2"),
        ("max()", "max needs at least one number"),
        ("round()", "round takes a number"),
        ("round(1, 2, 3)", "round takes a number"),
        ("round(1, 0.5)", "whole number"),
        ("round(1, 10 ** 900)", "whole number"),
        ("2 ** (1/3)", "only whole exponents"),
        ("9 ** 9 ** 9", "too big: the limit is 1000 digits"),
        ("10 ** 400 * 10 ** 400 * 10 ** 400", "too big"),
        ("0.5 ** 99999999", "too big"),
        ("1e1001", "too big"),
        ("1e-99999999999999999999", "too big"),
        ("1" * (MAX_LENGTH + 1), "too long: the limit is 1000 characters"),
        ("-" * (MAX_DEPTH + 1) + "1", "too deep: the limit is 200"),
        ("(" * 400 + "1" + ")" * 400, "this is not an arithmetic expression"),
    ],
)
def test_what_is_refused_and_why(expression: str, said: str) -> None:
    with pytest.raises(ToolError) as caught:
        evaluate(expression)
    assert said in str(caught.value)


def test_the_largest_that_is_allowed() -> None:
    assert evaluate("9" * MAX_LENGTH).value == "9" * MAX_DIGITS
    assert evaluate("+".join(["1"] * MAX_DEPTH)).value == str(MAX_DEPTH)
    assert evaluate("-" * (MAX_DEPTH - 1) + "1").value == "-1"
    tiny = evaluate("2 ** -3000")
    assert tiny.approx is not None
    assert read(tiny) == Fraction(1, 2**3000)
    assert abs(Fraction(tiny.approx) * 2**3000 - 1) < Fraction(1, 10**19)


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9**9**9",
        "*".join(["9**1000"] * 140),
        "+".join(f"1/{n}" for n in range(1, 180)),
        "sqrt(" * 150 + "2" + ")" * 150,
        "((" * 90 + "9**900" + ")**2)" * 90,
        "round(1/3, 1000)",
        "max(" + ",".join(["1/7"] * 240) + ")",
    ],
)
def test_no_expression_takes_much_memory(expression: str) -> None:
    tracemalloc.start()
    try:
        with suppress(ToolError):
            evaluate(expression)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20

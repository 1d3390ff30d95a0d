"""Exit codes are a contract with scripts; messages are one line each."""

import pytest

from galerne.cli import exits
from galerne.errors import (
    BusyError,
    DeadlineError,
    GalerneError,
    InvalidInputError,
    InvalidSettingsError,
    JobFailedError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (JobFailedError("x"), 1),
        (NotFoundError("x"), 1),
        (BusyError("x"), 1),
        (ZeroDivisionError("x"), 1),
        (InvalidInputError("x"), 2),
        (InvalidSettingsError("x"), 2),
        (TooLargeError("x"), 2),
        (UnavailableError("x"), 3),
        (DeadlineError("x"), 3),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 141),
        (exits.SilentExit(143), 143),
    ],
)
def test_codes(error: BaseException, code: int) -> None:
    assert exits.exit_code(error) == code


def test_a_message_is_one_line() -> None:
    assert exits.message(GalerneError("two\nlines")) == "two lines"
    unexpected = exits.message(ZeroDivisionError("by\nzero"))
    assert unexpected.startswith("unexpected ZeroDivisionError: by zero (")
    assert "\n" not in unexpected


@pytest.mark.parametrize("silent", [KeyboardInterrupt(), BrokenPipeError(), exits.SilentExit(130)])
def test_some_ends_are_silent(silent: BaseException) -> None:
    assert exits.message(silent) == ""


def test_the_cause_is_found_inside_groups() -> None:
    ours = UnavailableError("the server is gone")
    group = ExceptionGroup("a", [ValueError("1"), ExceptionGroup("b", [OSError("2"), ours])])
    assert exits.cause(group) is ours
    assert exits.cause(ours) is ours


def test_an_interruption_counts_before_what_it_caused() -> None:
    interrupt = KeyboardInterrupt()
    group = BaseExceptionGroup("a", [UnavailableError("closed"), interrupt])
    assert exits.cause(group) is interrupt

"""Flags that limit a job, what they become, and how a job's use of them is shown."""

import argparse
import math
import time
from typing import Any

import pytest

from galerne.cli.limits import budget_of, deadline, limits
from galerne.cli.parsing import duration
from galerne.cli.spending import limits_text
from galerne.cli.text import money_text, partial_text
from galerne.core.failure import failure
from galerne.core.view import JobView
from galerne.errors import InvalidInputError
from galerne.messages.facts import Accounted, Ended
from galerne.messages.ids import JobId
from galerne.messages.plan import Budget, ModelUsage, Usage
from galerne.request import build, deadline_of


def test_flags_become_a_budget() -> None:
    parser = limits()
    assert budget_of(parser.parse_args([])) is None
    given = "--budget-usd 0.05 --max-calls 40 --max-tokens 9 --max-tasks 3 --max-seconds 10m"
    flags = parser.parse_args([*given.split(), "--approve", "pay", "--approve", "*"])
    assert budget_of(flags) == Budget(usd=0.05, calls=40, tokens=9, tasks=3, seconds=600.0)
    assert flags.approve == ["pay", "*"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86_400)]
)
def test_a_duration_has_a_unit(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "0", "-1m", "10 minutes", "inf", "nan", "1w"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no time"):
        duration(text)


def test_a_deadline_is_from_now_on_or_a_moment() -> None:
    assert 595 < deadline("10m") - time.time() <= 600
    assert deadline("2999-12-24T18:00:00Z") == deadline("2999-12-24T19:00:00+01:00")


@pytest.mark.parametrize("text", ["soon", "2001-01-01T00:00:00Z", "2999-13-01"])
def test_a_deadline_that_is_none_or_over_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        deadline(text)


def test_a_client_refuses_what_a_coordinator_would() -> None:
    job = JobId("j")
    assert build(job, "g", approve=["*", "pay"]).approve == ("*", "pay")
    refused: tuple[dict[str, Any], ...] = (
        {"budget": Budget(usd=-1.0)},
        {"budget": Budget(seconds=float("nan"))},
        {"deadline": float("inf")},
        {"approve": ["a b"]},
        {"approve": "pay"},
    )
    for bad in refused:
        with pytest.raises(InvalidInputError):
            build(job, "g", **bad)


def test_a_timeout_is_a_deadline_from_now_on() -> None:
    assert deadline_of(None, None, 5.0) is None
    assert deadline_of(7.0, None, 5.0) == 7.0
    assert deadline_of(None, 10.0, 5.0) == 15.0
    with pytest.raises(InvalidInputError, match="one of them"):
        deadline_of(7.0, 10.0, 5.0)
    for timeout in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InvalidInputError, match="give seconds above 0"):
            deadline_of(None, timeout, 5.0)
    with pytest.raises(InvalidInputError, match="above 0"):
        deadline_of(None, 0.0, 5.0)


def test_the_use_of_a_budget_is_one_line() -> None:
    view = JobView(
        id="j",
        tenant="t",
        status="running",
        submitted_at=100.0,
        seconds=12.0,
        deadline=237.0,
        started=3,
        account=Accounted(n=9, calls=5, tokens=12_345, usd=0.012),
        budget=Budget(calls=7, tokens=20_000, usd=0.05, tasks=10, seconds=60.0),
    )
    assert limits_text(view) == (
        "calls 5/7 · tokens 12.3k/20.0k · $0.012/0.05 · tasks 3/10 · 12s/1m00s · 2m05s left"
    )
    assert limits_text(JobView(id="j", tenant="t", status="running")) == ""


@pytest.mark.parametrize(
    ("usd", "text"),
    [(0, ""), (0.00001, "<$0.0001"), (0.0031, "$0.0031"), (0.05, "$0.05"), (12.5, "$12.50")],
)
def test_money_is_short(usd: float, text: str) -> None:
    assert money_text(usd) == text


def test_what_ran_out_says_what_was_spent_and_what_there_is() -> None:
    usage = Usage(models={"m": ModelUsage(5, 700, 112, 0.0031)})
    ended = Ended(
        status="budget_exhausted",
        usage=usage,
        at=1.0,
        error="5 calls are used up",
        result={"results": {"1": "42 words", "2": {"a": 1}}},
    )
    assert failure("job j", ended, "(await job.view()).result") == (
        "job j ran out of its budget: 5 calls are used up (spent: 5 model calls, 812 tokens,"
        " $0.0031); what it has found is in `(await job.view()).result`"
    )
    view = JobView(id="j", tenant="t", status=ended.status, result=ended.result)
    assert partial_text(view) == '1: 42 words\n2: {\n  "a": 1\n}'
    assert partial_text(JobView(id="j", tenant="t", status="succeeded", result="x")) == ""

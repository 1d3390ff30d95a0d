"""Dates as a calendar has them, compared with counting day by day."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import ToolError
from galerne.messages.tools import ToolResult
from galerne.testing import FakeClock, call_tool
from galerne_tools.dates import date_add, date_diff, date_info
from unit.tools import calls

pytestmark = pytest.mark.anyio

DATES = st.dates(date(1900, 1, 1), date(2200, 1, 1))
HOLIDAYS = st.lists(DATES, max_size=5) | st.lists(
    st.dates(date(2024, 1, 1), date(2024, 3, 1)), max_size=12
)


async def added(start: str, **arguments: Any) -> str:
    return str((await calls.value_of(date_add, start=start, **arguments))["value"])


async def between(start: str, end: str, **arguments: Any) -> dict[str, Any]:
    value: dict[str, Any] = await calls.value_of(date_diff, start=start, end=end, **arguments)
    return value


async def test_what_is_told_of_a_date() -> None:
    assert await calls.value_of(date_info, when="2024-12-30") == {
        "value": "2024-12-30",
        "weekday": "Monday",
        "week": "2025-W01",
        "day_of_year": 365,
        "days_in_month": 31,
        "leap_year": True,
    }


async def test_now_is_the_clock_of_the_call() -> None:
    clock = FakeClock(datetime(2024, 2, 28, 23, 30, tzinfo=UTC).timestamp())
    values: list[Any] = []
    for when, zone in (("now", "UTC"), ("today", "UTC"), ("Today", "Europe/Paris")):
        outcome = await call_tool(date_info, {"when": when, "zone": zone}, clock=clock)
        assert isinstance(outcome, ToolResult)
        values.append(outcome.value["value"])
    assert values == ["2024-02-28T23:30:00+00:00", "2024-02-28", "2024-02-29"]


SUMS: list[tuple[str, dict[str, Any], str]] = [
    ("2024-01-31", {"months": 1}, "2024-02-29"),
    ("2023-01-31", {"months": 1}, "2023-02-28"),
    ("2024-02-29", {"years": 1}, "2025-02-28"),
    ("2024-03-31", {"months": -13}, "2023-02-28"),
    ("2024-01-31", {"months": 1, "days": 1}, "2024-03-01"),
    ("2024-01-31", {"hours": 25}, "2024-02-01T01:00:00+00:00"),
    ("2024-03-30T12:00", {"days": 1, "zone": "Europe/Paris"}, "2024-03-31T12:00:00+02:00"),
    ("2024-03-30T12:00", {"hours": 24, "zone": "Europe/Paris"}, "2024-03-31T13:00:00+02:00"),
    ("2024-03-31T02:30", {"zone": "Europe/Paris"}, "2024-03-31T03:30:00+02:00"),
    ("2024-10-27T02:30", {"hours": 1, "zone": "Europe/Paris"}, "2024-10-27T02:30:00+01:00"),
    ("2024-05-03", {"business_days": 1}, "2024-05-06"),
    ("2024-05-06", {"business_days": -1}, "2024-05-03"),
    ("2024-12-24", {"business_days": 2, "holidays": ["2024-12-25", "2024-12-26"]}, "2024-12-30"),
    ("0001-01-01", {"days": 3652058}, "9999-12-31"),
]


@pytest.mark.parametrize(("start", "arguments", "end"), SUMS)
async def test_sums(start: str, arguments: dict[str, Any], end: str) -> None:
    assert await added(start, **arguments) == end


async def test_times_are_converted() -> None:
    told = await calls.value_of(
        date_info, when="2024-07-01T09:00", zone="Asia/Tokyo", to="America/New_York"
    )
    assert told["value"] == "2024-06-30T20:00:00-04:00"
    told = await calls.value_of(date_info, when="2024-07-01T09:00Z", to="Asia/Kolkata")
    assert told["value"] == "2024-07-01T14:30:00+05:30"


@given(DATES, DATES)
async def test_a_difference_leads_from_one_to_the_other(start: date, end: date) -> None:
    span = await between(start.isoformat(), end.isoformat())
    assert span["total_days"] == (end - start).days
    assert span["total_seconds"] == (end - start).days * 86400
    low, high = sorted((start, end))
    parts = {key: abs(span[key]) for key in ("years", "months", "days")}
    assert parts["months"] < 12
    assert parts["days"] < 31
    assert await added(low.isoformat(), **parts) == high.isoformat()


@given(DATES, st.integers(-400, 400), HOLIDAYS)
async def test_business_days_are_counted_as_by_hand(
    start: date, count: int, holidays: list[date]
) -> None:
    free = [one.isoformat() for one in holidays]
    day, left = start, abs(count)
    while left:
        day += timedelta(days=1 if count > 0 else -1)
        left -= day.isoweekday() <= 5 and day not in holidays
    assert await added(start.isoformat(), business_days=count, holidays=free) == day.isoformat()


@given(
    st.dates(date(2023, 1, 1), date(2025, 1, 1)),
    st.dates(date(2023, 1, 1), date(2025, 1, 1)),
    HOLIDAYS,
)
async def test_business_days_between_are_counted_as_by_hand(
    start: date, end: date, holidays: list[date]
) -> None:
    low, high = sorted((start, end))
    days = [low + timedelta(days=n) for n in range((high - low).days)]
    count = sum(day.isoweekday() <= 5 and day not in holidays for day in days)
    free = [one.isoformat() for one in holidays]
    span = await between(start.isoformat(), end.isoformat(), holidays=free)
    assert span["business_days"] == (count if end >= start else -count)


async def test_parts_of_days_and_of_seconds_are_kept() -> None:
    span = await between("2024-01-01T23:00", "2024-01-03T02:00:00.5")
    assert (span["days"], span["seconds"]) == (1, 10_800.5)
    assert (span["total_days"], span["total_seconds"]) == (1, 97_200.5)


async def test_a_night_in_which_the_clock_is_changed_is_shorter() -> None:
    span = await between("2024-03-30T12:00", "2024-03-31T12:00", zone="Europe/Paris")
    assert (span["days"], span["seconds"], span["total_seconds"]) == (1, 0, 23 * 3600)


@pytest.mark.parametrize(
    ("tool", "arguments", "why"),
    [
        (date_info, {"when": "30.2.2024"}, "2024-02-29"),
        (date_info, {"when": "2023-02-29"}, "no date"),
        (date_info, {"when": "2024-02-29x15:00"}, "no date"),
        (date_info, {"when": "2024-02-29T15:00:00.1234567"}, "no date"),
        (date_info, {"when": "2024-01-01T00:00", "zone": "Paris"}, "Europe/Paris"),
        (date_info, {"when": "2024-01-01T00:00", "zone": "../etc/passwd"}, "no zone"),
        (date_info, {"when": "2024-01-01", "to": "UTC"}, "date without a time"),
        (date_info, {"when": "0001-01-01T00:00+14:00", "to": "UTC"}, "1 to 9999"),
        (date_add, {"start": "9999-12-31", "days": 1}, "1 to 9999"),
        (date_add, {"start": "2024-01-31", "months": 10**10}, "1 to 9999"),
        (date_add, {"start": "2024-01-31", "hours": 10**10}, "1 to 9999"),
        (date_add, {"start": "2024-01-31", "business_days": -(10**6)}, "1 to 9999"),
        (date_add, {"start": "2024-01-31", "holidays": ["x"], "business_days": 1}, "no date"),
    ],
)
async def test_what_is_no_date_is_said(tool: Any, arguments: dict[str, Any], why: str) -> None:
    assert why in (await calls.refusal_of(tool, **arguments)).message


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=20))
async def test_whatever_is_given_is_answered(when: str, zone: str) -> None:
    for tool, arguments in (
        (date_info, {"when": when, "zone": zone}),
        (date_diff, {"start": when, "end": "2024-01-01", "zone": zone}),
    ):
        outcome = await calls.call(tool, **arguments)
        assert getattr(outcome, "code", "tool") == "tool", outcome


async def test_a_mistake_is_the_tools_own_error() -> None:
    with pytest.raises(ToolError):
        await date_info.function("x", calls.context())

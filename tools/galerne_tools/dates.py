"""Exact dates and times, because models guess weekdays and miscount months.

Dates are those of the Gregorian calendar from year 1 to 9999, in ISO 8601; zones are those of the
system's tz database, by name. Nothing here looks at a clock: what time it is, is said by whoever
asks; `now` and `today` are the clock's of the call.

Choices where people differ:
- Months and years are added first, then the day is cut to the month's end (31 January + 1 month is
  28 or 29 February), then days, hours and minutes are added.
- A time with a zone moves by the wall clock for days and more, and by elapsed time for hours and
  less; a wall clock's time that does not exist moves on by the gap, and one that there is twice is
  the first, unless it says its offset.
- Business days are Monday to Friday; holidays are those that are named in the call.
"""

import re
from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from galerne.errors import ToolError
from galerne.tools import ToolContext, tool

Moment = date | datetime

MAX_HOLIDAYS: Final = 1000
_OUTSIDE: Final = "the result is outside of the years 1 to 9999"
_WRITTEN: Final = re.compile(
    r"[0-9W-]{8,10}(?:[Tt ][0-9:]+(?:[.,][0-9]{1,6})?(?:[Zz]|[+-][0-9:]+)?)?"
)
"""Finer than a microsecond is nothing that Python keeps."""
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_FRIDAY: Final = 5
_WEEK: Final = 7

When = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Zone = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Count = Annotated[int, msgspec.Meta(ge=-10_000_000_000, le=10_000_000_000)]


class Day(msgspec.Struct, frozen=True, omit_defaults=True):
    """A date or a time, and what follows from it. `week` is ISO's, as in 2024-W01."""

    value: str
    weekday: str
    week: str
    day_of_year: int
    days_in_month: int
    leap_year: bool


class Span(msgspec.Struct, frozen=True, omit_defaults=True):
    """From one to the other; negative where the second is earlier.

    `years`, `months`, `days` are the span as people say it (the rest below a day is in `seconds`);
    `total_days`, whole ones, and `total_seconds` are all of it. `business_days` are those from the
    first day up to, and without, the last.
    """

    years: int
    months: int
    days: int
    seconds: int | float
    total_days: int
    total_seconds: int | float
    business_days: int


@tool(effect="pure", examples=[{"when": "2024-07-01T12:00", "zone": "Asia/Tokyo", "to": "UTC"}])
async def date_info(  # noqa: D417 - the context is not a model's to give
    when: When, context: ToolContext, zone: Zone = "UTC", to: Zone | None = None
) -> Day:
    """Tell the weekday, the ISO week and more of a date or a time; convert it to another time zone.

    Args:
        when: Such as 2024-02-29 or 2024-02-29T15:00+01:00; now and today are taken, too.
        zone: The zone of a time that names none, such as Europe/Paris.
        to: The zone to which a time is converted.
    """
    moment = _moment(when, context.clock, _zone(zone))
    if to is None:
        return _day(moment)
    if not isinstance(moment, datetime):
        raise ToolError(f"{when!r} is a date without a time; give one such as 2024-07-01T12:00")
    return _day(_in_zone(moment, _zone(to)))


@tool(effect="pure", examples=[{"start": "2024-01-31", "months": 1}])
async def date_add(  # noqa: D417 - as above
    start: When,
    context: ToolContext,
    years: Count = 0,
    months: Count = 0,
    days: Count = 0,
    hours: Count = 0,
    minutes: Count = 0,
    business_days: Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000)] = 0,
    holidays: Annotated[list[str], msgspec.Meta(max_length=MAX_HOLIDAYS)] | None = None,
    zone: Zone = "UTC",
) -> Day:
    """Add to a date or a time, or take away with negative numbers.

    Args:
        start: Such as 2024-01-31 or 2024-01-31T12:00; now and today are taken, too.
        years: Years to add; a day that the month does not have becomes its last.
        months: Months to add.
        days: Days to add.
        hours: Hours to add; they make a time of a date.
        minutes: Minutes to add.
        business_days: Days from Monday to Friday to add, after all else.
        holidays: Dates that are no business days.
        zone: The zone of a time that names none, such as Europe/Paris.
    """
    moment = _moment(start, context.clock, _zone(zone))
    try:
        moved = _plus_months(moment, 12 * years + months) + timedelta(days=days)
        moved = _plus_elapsed(moved, timedelta(hours=hours, minutes=minutes))
        return _day(_plus_business(moved, business_days, _holidays(holidays)))
    except (OverflowError, ValueError) as error:
        raise ToolError(_OUTSIDE) from error


@tool(effect="pure", examples=[{"start": "2024-01-31", "end": "2024-03-01"}])
async def date_diff(  # noqa: D417 - as above
    start: When,
    end: When,
    context: ToolContext,
    holidays: Annotated[list[str], msgspec.Meta(max_length=MAX_HOLIDAYS)] | None = None,
    zone: Zone = "UTC",
) -> Span:
    """Tell how long it is from one date or time to another.

    Args:
        start: Such as 2024-01-31 or 2024-01-31T12:00+01:00; now and today are taken, too.
        end: Likewise.
        holidays: Dates that are no business days.
        zone: The zone of a time that names none, such as Europe/Paris.
    """
    tz = _zone(zone)
    first, last = (_timed(_moment(one, context.clock, tz), tz) for one in (start, end))
    return _between(first, _in_zone(last, first.tzinfo or UTC), _holidays(holidays))


def _moment(text: str, clock: Callable[[], float], zone: tzinfo) -> Moment:
    match text.strip().lower():
        case "now":
            return datetime.fromtimestamp(int(clock()), zone)
        case "today":
            return datetime.fromtimestamp(clock(), zone).date()
        case _:
            return _parsed(text, zone)


def _parsed(text: str, zone: tzinfo) -> Moment:
    """A date, or a time that knows its zone. Raises ToolError."""
    written = text.strip()
    if not _WRITTEN.fullmatch(written):
        raise _no_date(written)
    try:
        if len(written) <= len("2024-W01-1"):
            return date.fromisoformat(written)
        moment = datetime.fromisoformat(written)
    except ValueError as error:
        raise _no_date(written) from error
    return moment if moment.tzinfo else _existing(moment.replace(tzinfo=zone))


def _no_date(written: str) -> ToolError:
    return ToolError(f"{written!r} is no date: write 2024-02-29, or 2024-02-29T15:00 for a time")


def _zone(name: str) -> tzinfo:
    if name.upper() in {"UTC", "Z", "GMT"}:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ToolError(
            f"there is no zone {name!r}: give a name such as Europe/Paris, America/New_York, UTC"
        ) from error


def _existing(moment: datetime) -> datetime:
    """A wall clock's time that a zone skips, moved on by what it skips."""
    try:
        return moment.astimezone(UTC).astimezone(moment.tzinfo)
    except OverflowError as error:
        raise ToolError(_OUTSIDE) from error


def _in_zone(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except OverflowError as error:
        raise ToolError(_OUTSIDE) from error


def _plus_months(moment: Moment, months: int) -> Moment:
    """Raises ValueError, OverflowError outside of the calendar."""
    if not months:
        return moment
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    if not 1 <= year <= date.max.year:
        raise OverflowError
    day = min(moment.day, monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


def _plus_elapsed(moment: Moment, elapsed: timedelta) -> Moment:
    if isinstance(moment, datetime):
        return (_existing(moment).astimezone(UTC) + elapsed).astimezone(moment.tzinfo)
    return datetime.combine(moment, time(), UTC) + elapsed if elapsed else moment


def _plus_business(moment: Moment, count: int, holidays: frozenset[date]) -> Moment:
    """Raises OverflowError outside of the calendar."""
    if not count:
        return moment
    step = 1 if count > 0 else -1
    left = abs(count)
    while left:
        # Five of them and no holiday between are a week, from whichever day one begins.
        weeks = min(left // _FRIDAY, _weeks_without(moment, step, holidays))
        if weeks:
            moment += timedelta(weeks=step * weeks)
            left -= _FRIDAY * weeks
            continue
        moment += timedelta(days=step)
        left -= _is_business(moment, holidays)
    return moment


def _weeks_without(moment: Moment, step: int, holidays: frozenset[date]) -> int:
    """How many whole weeks lie before the next holiday; none from a weekend, to land on a day."""
    day = moment.date() if isinstance(moment, datetime) else moment
    if day.isoweekday() > _FRIDAY:
        return 0
    ahead = [step * (one - day).days for one in holidays if step * (one - day).days > 0]
    return (min(ahead) - 1) // _WEEK if ahead else date.max.toordinal()


def _is_business(moment: Moment, holidays: frozenset[date]) -> bool:
    day = moment.date() if isinstance(moment, datetime) else moment
    return day.isoweekday() <= _FRIDAY and day not in holidays


def _holidays(named: list[str] | None) -> frozenset[date]:
    found: set[date] = set()
    for one in named or ():
        moment = _parsed(one, UTC)
        found.add(moment.date() if isinstance(moment, datetime) else moment)
    return frozenset(found)


def _between(first: datetime, last: datetime, holidays: frozenset[date]) -> Span:
    """Both in one zone: months and days are those of its wall clock, seconds are elapsed ones."""
    elapsed = last.astimezone(UTC) - first.astimezone(UTC)
    sign = -1 if elapsed < timedelta() else 1
    low, high = (one.replace(tzinfo=None) for one in ((last, first) if sign < 0 else (first, last)))
    months = (high.year - low.year) * 12 + high.month - low.month
    while months > 0 and _plus_months(low, months) > high:
        months -= 1
    rest = max(high - datetime.combine(_plus_months(low, months), low.time()), timedelta())
    return Span(
        years=sign * (months // 12),
        months=sign * (months % 12),
        days=sign * rest.days,
        seconds=_seconds(sign * (rest - timedelta(days=rest.days))),
        total_days=sign * (high - low).days,
        total_seconds=_seconds(elapsed),
        business_days=sign * _business_between(low.date(), high.date(), holidays),
    )


def _seconds(span: timedelta) -> int | float:
    """Exact, as spans have microseconds and a float has 15 digits and more."""
    return span.total_seconds() if span.microseconds else span // timedelta(seconds=1)


def _timed(moment: Moment, zone: tzinfo) -> datetime:
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time(), zone)


def _business_between(low: date, high: date, holidays: frozenset[date]) -> int:
    weeks, rest = divmod((high - low).days, _WEEK)
    count = weeks * _FRIDAY
    count += sum((low.isoweekday() - 1 + n) % _WEEK < _FRIDAY for n in range(rest))
    return count - sum(low <= one < high and one.isoweekday() <= _FRIDAY for one in holidays)


def _day(moment: Moment) -> Day:
    year, week, weekday = moment.isocalendar()
    return Day(
        value=moment.isoformat(),
        weekday=_DAYS[weekday - 1],
        week=f"{year}-W{week:02}",
        day_of_year=moment.timetuple().tm_yday,
        days_in_month=monthrange(moment.year, moment.month)[1],
        leap_year=monthrange(moment.year, 2)[1] == 29,  # noqa: PLR2004 - what makes it one
    )

"""Which of several endpoints of one model gets the next call."""

from collections.abc import Iterable, Sequence

from galerne.models.pacing.pacer import Pacer


def choose(pacers: Sequence[Pacer], now: float, without: Iterable[int] = ()) -> int | None:
    """The one to ask now: a healthy one before one on trial, then the least loaded.

    None where none may be asked now; of equal ones it is the first. `without` are out of question.
    """
    left_out = frozenset(without)
    open_now = [
        index
        for index, pacer in enumerate(pacers)
        if index not in left_out and pacer.opening(now) <= now
    ]
    return min(
        open_now,
        key=lambda index: (not pacers[index].is_healthy(now), pacers[index].load),
        default=None,
    )


def opening(pacers: Sequence[Pacer], now: float, without: Iterable[int] = ()) -> float:
    """When the first of them may be asked; inf where that depends on a call's end."""
    left_out = frozenset(without)
    times = [p.opening(now) for index, p in enumerate(pacers) if index not in left_out]
    return min(times, default=float("inf"))


def all_away(pacers: Sequence[Pacer], now: float, without: Iterable[int] = ()) -> float | None:
    """When the first endpoint is tried again, where all of them are away; None where one is not."""
    left_out = frozenset(without)
    times = [p.away_until(now) for index, p in enumerate(pacers) if index not in left_out]
    known = [time for time in times if time is not None]
    return min(known, default=None) if len(known) == len(times) else None

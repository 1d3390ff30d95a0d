"""How the limits of an endpoint are learnt: data in, data out.

A rate is told by headers or settings, or found. Told, all workers together stay a little below
it. Found, it begins with the first 429: what was accepted until then is the first guess. From
there it is a search: a refusal cuts the rate (to what was really accepted, where that is much
less), quiet time raises it, fast up to just below the rate that was too much, then hardly at all,
and after a long quiet faster again, because limits are raised, too. How many calls may run at
once is learnt by additive increase and multiplicative decrease alone.

Every change has a higher version than what it came from; who hears of a higher one takes it over,
so a whole fleet agrees within a message's time. Rates are requests per second.
"""

import msgspec

from galerne.messages.pacing import FIRST_LIMIT, Learned

MARGIN = 0.97
"""Of a told rate, and of one that was too much: clocks and networks are never quite even."""
LEAST_RATE = 0.02
"""One request in 50 s: below that nothing would ever be learnt again."""
FIRST_RATE = 1.0
"""The lowest first guess: with the first refusals there may be nothing yet to guess from."""
MOST = 4096

_CUT = 0.96
_DEEPEST_CUT = 0.5
_STEEP = 0.2  # of the way to just below the ceiling, a second
_SLOW_START = 1.5  # times, a second, while nothing has been too much
_QUIET = ((180.0, 1.03), (90.0, 1.003), (30.0, 1.001))  # seconds, times a second
_OVERLOADED = 0.7


def first(rate: float | None, concurrency: int | None) -> Learned:
    """What the settings say before anything is heard."""
    limit = concurrency or FIRST_LIMIT
    return hear_told(Learned(limit=limit), rate, None, rate) if rate else Learned(limit=limit)


def merge(one: Learned, other: Learned) -> Learned:
    """The one that holds: the later, else the more careful; the same in any order."""
    if one.version != other.version:
        return max(one, other, key=lambda learned: learned.version)
    return min(one, other, key=_carefulness)


def _carefulness(learned: Learned) -> tuple[float, ...]:
    rates = (learned.rate, learned.ceiling, learned.told, learned.tokens)
    return (*(float("inf") if rate is None else rate for rate in rates), float(learned.limit))


def hear_told(
    learned: Learned, requests: float | None, tokens: float | None, most: float | None
) -> Learned:
    """Take in limits that were told; `most` is the user's own. None says nothing new."""
    if requests is not None and most is not None:
        requests = min(requests, most)
    requests, tokens = requests or learned.told, tokens or learned.tokens
    if (requests, tokens) == (learned.told, learned.tokens):
        return learned
    changed = msgspec.structs.replace(
        learned, version=learned.version + 1, told=requests, tokens=tokens
    )
    if requests is None or requests == learned.told:
        return changed
    return msgspec.structs.replace(changed, ceiling=requests, rate=requests * MARGIN)


def cut(learned: Learned, accepted: float) -> Learned:
    """After a 429: `accepted` are the requests per second of late that were not refused."""
    if learned.rate is None:
        return msgspec.structs.replace(
            learned, version=learned.version + 1, rate=max(accepted, FIRST_RATE)
        )
    rate = max(min(accepted, learned.rate * _CUT), learned.rate * _DEEPEST_CUT, LEAST_RATE)
    return msgspec.structs.replace(
        learned, version=learned.version + 1, rate=rate, ceiling=learned.told or learned.rate
    )


def climb(learned: Learned, quiet: float) -> Learned:
    """One second's worth of more, `quiet` seconds after the last refusal, while calls wait."""
    if learned.rate is None:
        return learned
    rate = _climbed(learned.rate, learned.ceiling, quiet)
    if learned.told is not None:
        rate = min(rate, learned.told * MARGIN)
    if rate <= learned.rate:
        return learned
    return msgspec.structs.replace(learned, version=learned.version + 1, rate=rate)


def _climbed(rate: float, ceiling: float | None, quiet: float) -> float:
    if ceiling is None:
        return rate * _SLOW_START
    plateau = ceiling * MARGIN
    if rate < plateau:
        return min(plateau, rate + (plateau - rate) * _STEEP + ceiling * 0.005)
    return rate * next((times for since, times in _QUIET if quiet >= since), 1.0)


def overloaded(learned: Learned) -> Learned:
    """Fewer at once, after a failure that more calls would make worse."""
    limit = max(1, int(learned.limit * _OVERLOADED))
    if limit == learned.limit:
        return learned
    return msgspec.structs.replace(learned, version=learned.version + 1, limit=limit)


def widen(learned: Learned, most: int | None) -> Learned:
    """One second's worth of more at once, after nothing failed and all places were taken."""
    limit = min(learned.limit + max(1, learned.limit // 16), most or MOST)
    if limit <= learned.limit:
        return learned
    return msgspec.structs.replace(learned, version=learned.version + 1, limit=limit)

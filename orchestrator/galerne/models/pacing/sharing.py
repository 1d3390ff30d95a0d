"""How the workers of a fleet divide what one endpoint allows: the same sum by everybody.

Each worker says now and then what it needs; all hear the same, so all compute the same shares and
nobody has to be asked. While nobody's calls have to wait, each has an even part. As soon as calls
wait somewhere (that worker is hungry), the hungry ones have all of it and take turns; who is not
hungry has nothing, but needs only say that it is. That takes milliseconds.

    turns:   0     1     2     3     4     5        one each 1/rate seconds
    worker:  a     b     c     a     b     c        so that all together are as even as one

A worker of which nothing is heard any more is left out, and its share is the others'.
"""

from collections.abc import Mapping

import msgspec

from galerne.messages.pacing import Pace

GRACE = 0.03
"""Seconds that a turn may be used late: timers are not exact, and lost turns are lost requests.
It is what the margin below a told rate leaves of a second."""


class Share(msgspec.Struct, frozen=True):
    """What is one worker's, as everybody computes it.

    `rate`: requests per second of its own (None: nothing limits it, 0: others wait). While `hungry`
    it has every `takers`-th turn from number `place` on, of `turns` per second in all. `places`:
    calls that it may run at once.
    """

    rate: float | None
    places: int
    hungry: bool = False
    place: int = 0
    takers: int = 1
    turns: float = 1.0


def divide(
    members: Mapping[str, Pace], me: str, rate: float | None, limit: int, beat: int
) -> Share:
    """The share of `me`, who is one of `members`. `beat` rotates what cannot be divided evenly."""
    hungry = sorted(name for name, pace in members.items() if pace.hungry)
    calm = [pace for pace in members.values() if not pace.hungry]
    mine = members[me].hungry
    place = hungry.index(me) if mine else 0
    places = _places(hungry, calm, limit, beat, place if mine else None)
    if rate is None:
        return Share(None, places, hungry=mine, place=place, takers=max(1, len(hungry)))
    if not hungry:
        return Share(rate / len(members), places, turns=rate)
    if not mine:
        return Share(0.0, places, turns=rate)
    return Share(
        rate / len(hungry), places, hungry=True, place=place, takers=len(hungry), turns=rate
    )


def _places(hungry: list[str], calm: list[Pace], limit: int, beat: int, place: int | None) -> int:
    """Calls at once. Who is not hungry counts with what it uses."""
    if place is None:
        return limit // (len(hungry) + len(calm))
    rest = max(0, limit - sum(pace.busy for pace in calm))
    each, over = divmod(rest, len(hungry))
    return each + ((place + beat) % len(hungry) < over)


class Turns:
    """Which turns of one worker come when. Position 12.5 is in the middle of turn 12."""

    def __init__(self) -> None:
        self._at = 0.0
        self._position = 0.0
        self._used = -1

    def position(self, now: float, turns: float) -> float:
        """Where the row stands, at so many turns per second."""
        return self._position + (now - self._at) * turns

    def anchor(self, now: float, position: float) -> None:
        """Agree with whoever sets the beat: the row stands there now."""
        if position < self._position - 1:  # another row altogether: what was used there is over
            self._used = -1
        self._at, self._position = now, position

    def next(self, now: float, share: Share) -> tuple[int, float]:
        """The number and the time of the first unused turn; a time before `now` may be used."""
        position = self.position(now, share.turns)
        earliest = max(position - GRACE * share.turns, float(self._used) + 0.5)
        first = -int(-earliest // 1)
        number = first + (share.place - first) % share.takers
        return number, now + (number - position) / share.turns

    def use(self, number: int) -> None:
        """That turn is gone."""
        self._used = max(self._used, number)

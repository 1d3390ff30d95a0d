"""When one worker may ask one endpoint: its limits, its health and this worker's share of both.

    call ─▶ opening(now): its time ─▶ begin ─▶ end: answered, refused, limited, failed, away
                 ▲                                │
       share ────┘◀── hear: the others' entries   └─▶ learnt ─▶ entry: what the others hear

A pacer decides and keeps count, and does nothing: whoever waits, calls, and talks to the others
is in `pool`. Every method takes the time, in seconds of a clock that only goes forward. Alone,
without a bus, a worker is the only member of its fleet.
"""

import math

import msgspec

from galerne.errors import TransientError
from galerne.messages.pacing import Learned, Pace
from galerne.models.pacing import learning
from galerne.models.pacing.breaker import Breaker, Outcome, outcome_of
from galerne.models.pacing.headers import Told
from galerne.models.pacing.recent import RecentRate
from galerne.models.pacing.sharing import GRACE, Share, Turns, divide

RENEWAL = 1.0
"""Seconds between two entries of a worker with nothing new to say, in a fleet of up to 16."""
LEASE = 3.5
"""Renewals after which an entry is over: two may be missed."""
LINGER = 0.2
"""Seconds that one stays hungry after its last call waited: or it would change all the time."""
SETTLING = 0.1
"""Seconds that a worker that has come listens before its first call."""
STRIKE = 10.0
STRIKES = 3
"""So many 429s in so many seconds say that a careful rate is too high; fewer are bad luck."""
_CROWD = 16
_COST = 0.1  # weight of the newest call in the mean of tokens


class Limits(msgspec.Struct, frozen=True):
    """What the settings allow at most, as requests per second and calls at once."""

    rate: float | None = None
    concurrency: int | None = None


class Pacer:
    """`me` is this worker's name among the others; `jitter` lies from 0 to 1."""

    def __init__(self, me: str, limits: Limits, jitter: float, now: float) -> None:
        self.me = me
        self.busy = 0
        self.news = False
        """Whether the others should hear of something now."""
        self._limits = limits
        self._breaker = Breaker(jitter)
        self._learned = learning.first(limits.rate, limits.concurrency)
        self._turns = Turns()
        self._turns.anchor(now, 0.0)
        self._begun = RecentRate()
        self._accepted = RecentRate()
        self._cost = 0.0
        self._spoke_at = now
        self._hungry_until = -math.inf
        self._next_calm = self._after_calm = -math.inf
        self._paused_until = self._all_paused_until = self._begins_at = -math.inf
        self._cut_at = self._refused_at = -math.inf
        self._strikes: list[float] = []
        self._overloaded_at = self._climbed_at = -math.inf
        self._members: dict[str, tuple[Pace, float]] = {}
        self._share = Share(None, 1)
        self.hear(me, self.entry(now), now)
        self.news = False

    # calls

    def settle(self, now: float) -> None:
        """Begin nothing yet: others that come at the same time are to be heard first."""
        self._begins_at = now + SETTLING

    def opening(self, now: float) -> float:
        """When the next call may begin: `now` or before, later, or inf while others must end."""
        healthy = self._breaker.opens_at(now)
        if healthy is None or self.busy >= self._places():
            return math.inf
        at = max(now, healthy, self._paused_until, self._begins_at)
        if self._share.rate is None:
            return at
        if not self._share.rate:
            return math.inf
        if not self._share.hungry:
            return max(at, self._next_calm)
        at = max(at, self._after_calm)
        return max(at, self._turns.next(at, self._share)[1])

    def begin(self, now: float) -> None:
        """A call begins, which `opening` allowed."""
        self._breaker.begin()
        self.busy += 1
        self._begun.add(now)
        if self._share.rate:
            even = max(self._next_calm, now - GRACE) + 1.0 / self._share.rate
            self._next_calm = even
            if not self._share.hungry:
                self._after_calm = even
            else:
                self._turns.use(self._turns.next(now, self._share)[0])
        self._news_of_places()

    def end(
        self, began: float, now: float, error: BaseException | None, tokens: int = 0
    ) -> Outcome:
        """A call is over that began then; `tokens` are what its answer has cost."""
        self.busy -= 1
        outcome = outcome_of(error)
        self._breaker.end(outcome, now)
        pause = error.retry_after if isinstance(error, TransientError) else None
        match outcome:
            case "answered":
                self._accepted.add(now)
                self._cost += (tokens - self._cost) * (_COST if self._cost else 1.0)
            case "limited":
                self._limited(began, now, pause)
            case "failed":
                self._overloaded(began, now)
            case _:
                pass
        self._news_of_places()
        return outcome

    def wait(self, now: float) -> None:
        """A call waits here: this worker needs its turns."""
        was = now < self._hungry_until
        self._hungry_until = now + LINGER
        self.news |= not was or not self._members[self.me][0].hungry

    def answers(self) -> None:
        """The head of an answer is there: the endpoint is not away, however long the rest takes."""
        self._breaker.answers()

    def hear_told(self, told: Told, now: float) -> None:
        """What the head of an answer says of the limits."""
        if told.requests is None and told.tokens is None:
            return
        learned = self._learned
        self._learned = learning.hear_told(learned, told.requests, told.tokens, self._limits.rate)
        if self._learned is not learned:
            if _is_lower(self._learned.rate, learned.rate):
                self._cut_at = now
            self.news = True
            self._divide(now)

    # health and load

    def is_healthy(self, now: float) -> bool:
        return self._breaker.is_sound(now)

    @property
    def load(self) -> float:
        """Calls per place, 1 where all are taken."""
        return self.busy / max(1, self._places())

    def away_until(self, now: float) -> float | None:
        """When an endpoint that is away is tried again; None where it is not away."""
        if self._breaker.is_closed():
            return None
        opens = self._breaker.opens_at(now)
        return None if opens is not None and opens <= now else (opens or now)

    # the others

    @property
    def learned(self) -> Learned:
        return self._learned

    @property
    def share(self) -> Share:
        return self._share

    @property
    def renewal(self) -> float:
        """Seconds until the next entry: the more workers, the less often each speaks."""
        return RENEWAL * max(1.0, len(self._members) / _CROWD)

    def speaks_in(self, now: float) -> float:
        """Seconds until the others should hear of this worker again; 0: now."""
        if self.news:
            return 0.0
        due = self._spoke_at + self.renewal
        if self._members[self.me][0].hungry:
            due = min(due, self._hungry_until)
        return max(0.0, due - now)

    def entry(self, now: float) -> Pace:
        """What the others should know of this worker."""
        self.news = False
        self._spoke_at = now
        hungry = now < self._hungry_until
        return Pace(
            lease=self.renewal * LEASE,
            hungry=hungry,
            begun=self._begun.at(now),
            accepted=self._accepted.at(now),
            busy=self.busy,
            cost=self._cost,
            beat=max(0.0, self._turns.position(now, self._share.turns)) if hungry else None,
            pause=min(86_400.0, max(0.0, self._all_paused_until - now)),
            learned=self._learned,
        )

    def hear(self, name: str, pace: Pace | None, now: float) -> None:
        """An entry of one of the fleet, of this worker too; None: it has left."""
        if pace is None:
            if name != self.me:
                self._members.pop(name, None)
                self._divide(now)
            return
        self._members[name] = (pace, now)
        before = self._learned
        self._learned = learning.merge(before, pace.learned)
        if name != self.me:
            if _is_lower(self._learned.rate, before.rate):
                self._cut_at = now
            if pace.pause:
                self._all_paused_until = max(self._all_paused_until, now + pace.pause)
                self._paused_until = max(self._paused_until, self._all_paused_until)
                self._refused_at = now
        self._divide(now)
        beats = pace.beat is not None and name != self.me and name == self._first_hungry()
        if beats and pace.beat is not None:
            self._turns.anchor(now, pace.beat)

    def tick(self, now: float, *, connected: bool) -> None:
        """About each second: forget who is silent, and, as the first of all, try for more.

        While the bus is away nobody is heard, so nobody is forgotten: the last share holds.
        """
        if connected:
            silent = [n for n, (pace, at) in self._members.items() if now - at > pace.lease]
            for name in silent:
                if name != self.me:
                    del self._members[name]
        else:
            self._members = {name: (pace, now) for name, (pace, _) in self._members.items()}
        if self.me == min(self._members) and now - self._climbed_at >= RENEWAL * 0.9:
            self._climbed_at = now
            self._climb(now)
        self._divide(now)

    # the inside

    def _climb(self, now: float) -> None:
        fleet = [pace for pace, _ in self._members.values()]
        if not any(pace.hungry for pace in fleet) and now >= self._hungry_until:
            return
        if now > self._paused_until:
            self._learned = learning.climb(self._learned, now - self._refused_at)
        busy = sum(pace.busy for pace in fleet)
        quiet = now - self._overloaded_at > RENEWAL
        if quiet and busy >= 0.9 * self._learned.limit:
            self._learned = learning.widen(self._learned, self._limits.concurrency)

    def _limited(self, began: float, now: float, pause: float | None) -> None:
        self._refused_at = now
        self._paused_until = max(self._paused_until, now + (pause or 0.0))
        self.news = True
        if began <= self._cut_at:
            return  # it was under way when the rate was cut
        self._strikes = [at for at in self._strikes if now - at < STRIKE] + [now]
        few = len(self._strikes) < STRIKES
        if not few or self._learned.ceiling is None:  # else this worker alone keeps the pause
            self._all_paused_until = max(self._all_paused_until, self._paused_until)
        if few and self._learned.told is not None:
            return
        others = sum(p.accepted for name, (p, _) in self._members.items() if name != self.me)
        self._learned = learning.cut(self._learned, self._accepted.at(now) + others)
        self._cut_at = now
        self._divide(now)

    def _overloaded(self, began: float, now: float) -> None:
        if began > self._overloaded_at:
            self._overloaded_at = now
            self._learned = learning.overloaded(self._learned)
            self.news = True
            self._divide(now)

    def _first_hungry(self) -> str | None:
        return min((name for name, (pace, _) in self._members.items() if pace.hungry), default=None)

    def _is_tight(self) -> bool:
        """Whether there are too few places to give each worker some of its own."""
        return self._learned.limit < 2 * len(self._members)

    def _places(self) -> int:
        if len(self._members) == 1 or not self._is_tight():
            return self._share.places
        others = sum(pace.busy for name, (pace, _) in self._members.items() if name != self.me)
        return min(self._share.places, max(0, self._learned.limit - others))

    def _news_of_places(self) -> None:
        self.news |= len(self._members) > 1 and self._is_tight()

    def _divide(self, now: float) -> None:
        """Compute the share anew; the row of turns goes on from where it stands."""
        before = self._share.turns
        beat = int(self._turns.position(now, before) // self._share.takers)
        members = {name: pace for name, (pace, _) in self._members.items()}
        if self.me not in members:
            members[self.me] = Pace(lease=RENEWAL * LEASE)
        rate = _effective(self._learned, members)
        self._share = divide(members, self.me, rate, self._learned.limit, beat)
        if self._share.turns != before:
            self._turns.anchor(now, self._turns.position(now, before))


def _effective(learned: Learned, members: dict[str, Pace]) -> float | None:
    """Requests per second: as many as are allowed, and as the tokens of a minute suffice for."""
    if learned.tokens is None:
        return learned.rate
    weights = [(max(pace.begun, 1e-3), pace.cost) for pace in members.values() if pace.cost]
    if not weights:
        return learned.rate
    mean = sum(weight * cost for weight, cost in weights) / sum(weight for weight, _ in weights)
    by_tokens = max(learned.tokens * learning.MARGIN / max(mean, 1.0), learning.LEAST_RATE)
    return by_tokens if learned.rate is None else min(learned.rate, by_tokens)


def _is_lower(rate: float | None, before: float | None) -> bool:
    return rate is not None and (before is None or rate < before)

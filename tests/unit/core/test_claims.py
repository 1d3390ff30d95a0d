"""The lease: one holder at a time, on hosts whose clocks differ, whoever dies or is slow."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from galerne.core.claims import GiveUp, Take, Verdict, Wait, excuse, judge_claim
from galerne.messages.facts import Claimed
from unit.core.facts import claimed

MARGIN = 2.0
LEASE = 15.0
MAX_ATTEMPTS = 4

moments = st.floats(min_value=0, max_value=1e10)
margins = st.floats(min_value=0, max_value=60)
attempts = st.integers(1, 10)
workers = st.sampled_from(("ann", "bob"))
claims = st.builds(
    claimed,
    st.just("1"),
    attempts,
    st.just(0.0) | moments,
    workers,
    st.none() | st.just("the model is busy"),
)


AWAY = msgspec.structs.replace(claimed("1", attempt=9), excused=6, away_since=7.0)


@pytest.mark.parametrize(
    ("claim", "now", "verdict"),
    [
        (None, 5.0, Take(1)),
        (claimed("1", until=20.0), 5.0, Wait(17.0)),
        (claimed("1", until=20.0), 21.5, Wait(0.5)),
        (claimed("1", until=20.0), 22.0, Take(2)),
        (claimed("1", until=20.0, by="me"), 5.0, Take(2)),
        (claimed("1", until=0.0, note="stopped"), 0.5, Take(2)),
        (claimed("1", attempt=4, until=20.0), 5.0, Wait(17.0)),
        (claimed("1", attempt=4, until=0.0, note="busy"), 5.0, GiveUp(4, "busy")),
        (claimed("1", attempt=4), 30.0, GiveUp(4, "its worker died or lost its lease")),
        (AWAY, 30.0, Take(10, 6, 7.0)),
        (claimed("1", attempt=9), 30.0, GiveUp(9, "its worker died or lost its lease")),
    ],
)
def test_the_last_claim_decides(claim: Claimed | None, now: float, verdict: Verdict) -> None:
    assert judge_claim(claim, "me", now, MARGIN, MAX_ATTEMPTS) == verdict


def test_an_absent_back_end_excuses_attempts_for_a_time() -> None:
    first = excuse(claimed("1", attempt=1), 100.0, 60.0)
    assert first is not None
    assert (first.excused, first.away_since) == (1, 100.0)
    later = excuse(first, 159.0, 60.0)
    assert later is not None
    assert (later.excused, later.away_since) == (2, 100.0)
    assert excuse(later, 160.0, 60.0) is None


@given(claims, workers, moments, margins, attempts)
@settings(max_examples=150)
def test_another_ones_lease_is_respected_until_its_end_and_the_margin_have_passed(
    claim: Claimed, me: str, now: float, margin: float, most: int
) -> None:
    match judge_claim(claim, me, now, margin, most):
        case Wait(seconds=seconds):
            assert claim.by != me
            assert claim.until > 0
            assert 0 < seconds == claim.until + margin - now
            after = judge_claim(claim, me, claim.until + margin, margin, most)
            assert not isinstance(after, Wait)
        case Take(attempt=attempt):
            assert attempt == claim.attempt + 1 <= most
            assert claim.by == me or claim.until == 0 or now >= claim.until + margin
        case GiveUp(attempts=number, note=note):
            assert number == claim.attempt >= most
            assert note == (claim.note or "its worker died or lost its lease")


class Lease(msgspec.Struct):
    """What a worker knows of its own claim."""

    claim: Claimed
    position: int


class Holders(RuleBasedStateMachine):
    """Workers that follow the rules of the lease, with clocks that differ by up to the margin.

    As in the runtime: a worker pays for something only while its own clock is a margin before the
    end of its lease; it renews by appending to its own last claim, and stops when that fails.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.log: list[Claimed] = []
        self.leases: dict[str, Lease] = {}
        self.offsets: dict[str, float] = {}
        self.given_up = False

    @initialize(offsets=st.lists(st.floats(0, MARGIN), min_size=2, max_size=4))
    def begin(self, offsets: list[float]) -> None:
        self.offsets = {f"worker-{n}": offset for n, offset in enumerate(offsets)}

    @rule(seconds=st.sampled_from((0.1, 1.0, 5.0, LEASE - MARGIN, LEASE, LEASE + MARGIN, 60.0)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(chance=st.integers(0, 3))
    def somebody_claims(self, chance: int) -> None:
        me = self._somebody(chance)
        if me in self.leases:
            return
        last = self.log[-1] if self.log else None
        match judge_claim(last, me, self._clock(me), MARGIN, MAX_ATTEMPTS):
            case Take(attempt=attempt):
                assert attempt == (last.attempt if last else 0) + 1
                claim = claimed("1", attempt, self._clock(me) + LEASE, me)
                self.log.append(claim)
                self.leases[me] = Lease(claim, len(self.log))
            case GiveUp():
                self.given_up = True
            case Wait(seconds=seconds):
                assert seconds <= LEASE + 2 * MARGIN

    @rule(chance=st.integers(0, 3))
    def somebody_renews(self, chance: int) -> None:
        self._append(self._somebody(chance), given_back=False)

    @rule(chance=st.integers(0, 3))
    def somebody_gives_back(self, chance: int) -> None:
        me = self._somebody(chance)
        self._append(me, given_back=True)
        self.leases.pop(me, None)

    @rule(chance=st.integers(0, 3))
    def somebody_dies(self, chance: int) -> None:
        """And comes back at once, under the same name or not."""
        self.leases.pop(self._somebody(chance), None)

    @invariant()
    def at_most_one_pays(self) -> None:
        paying = [me for me, lease in self.leases.items() if self._may_pay(me, lease)]
        assert len(paying) <= 1

    @invariant()
    def attempts_increase_and_have_a_limit(self) -> None:
        numbers = [claim.attempt for claim in self.log]
        assert numbers == sorted(numbers)
        assert max(numbers, default=0) <= MAX_ATTEMPTS
        assert not self.given_up or numbers[-1] == MAX_ATTEMPTS
        holders = {(claim.attempt, claim.by) for claim in self.log}
        assert len(holders) == len(set(numbers)), "two workers had the same attempt"

    def _append(self, me: str, *, given_back: bool) -> None:
        lease = self.leases.get(me)
        if lease is None:
            return
        if lease.position != len(self.log):  # fenced: somebody else has it now
            del self.leases[me]
            return
        until = 0.0 if given_back else self._clock(me) + LEASE
        lease.claim = msgspec.structs.replace(lease.claim, until=until)
        self.log.append(lease.claim)
        lease.position = len(self.log)

    def _may_pay(self, me: str, lease: Lease) -> bool:
        return self._clock(me) <= lease.claim.until - MARGIN

    def _clock(self, me: str) -> float:
        return self.now + self.offsets[me]

    def _somebody(self, chance: int) -> str:
        return sorted(self.offsets)[chance % len(self.offsets)]


TestHolders = Holders.TestCase
TestHolders.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

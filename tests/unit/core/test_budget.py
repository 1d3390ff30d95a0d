"""A job's account: however calls are reserved, settled, released or lost, no cap is passed.

What is really spent is compared with the caps by a book that each test keeps for itself.
"""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.core.budget import Exhausted, Prices, Wait, release, reserve, settle, settle_earlier
from galerne.messages.facts import Accounted, Hold
from galerne.messages.ids import TaskId
from galerne.messages.plan import Budget

HOUR = 3600.0


def hold(tokens: int = 100, usd: float = 0.01, until: float = HOUR) -> Hold:
    return Hold(tokens, usd, until)


def reserved(account: Accounted, budget: Budget, key: str, one: Hold | None = None) -> Accounted:
    wanted = reserve(account, budget, key, one or hold(), now=0.0)
    assert isinstance(wanted, Accounted), wanted
    return wanted


def test_prices_are_per_million_tokens() -> None:
    assert Prices(input=2.0, output=6.0).cost(500_000, 250_000) == pytest.approx(2.5)


def test_the_eighth_of_seven_calls_is_refused_with_the_reason() -> None:
    budget, account = Budget(calls=7), Accounted()
    for n in range(7):
        account = settle(reserved(account, budget, f"{n}.1.1"), f"{n}.1.1", 50, 0.0)
    refused = reserve(account, budget, "8.1.1", hold(), now=0.0)
    assert refused == Exhausted("the budget of 7 model calls is used up")
    assert account.calls == 7
    assert not account.held


def test_one_waits_while_another_may_leave_something() -> None:
    budget = Budget(tokens=250)
    account = reserved(reserved(Accounted(), budget, "1.1.1"), budget, "2.1.1")
    assert isinstance(reserve(account, budget, "3.1.1", hold(), now=0.0), Wait)
    account = settle(account, "1.1.1", tokens=20, usd=0.0)
    assert reserved(account, budget, "3.1.1").tokens == 220


def test_what_a_dead_worker_held_stays_spent_and_nobody_waits_for_it() -> None:
    budget = Budget(calls=1)
    account = reserved(Accounted(), budget, "1.1.1", hold(until=10.0))
    assert isinstance(reserve(account, budget, "2.1.1", hold(), now=9.0), Wait)
    assert isinstance(reserve(account, budget, "2.1.1", hold(), now=10.0), Exhausted)


def test_what_earlier_attempts_held_is_settled_as_far_as_it_is_known() -> None:
    budget, account = Budget(tokens=10_000), Accounted()
    for key in ("1.1.1", "1.3.1", "1.3.2", "10.1.1", "2.1.1"):
        account = reserved(account, budget, key)
    answers = {1: (40, 0.001)}
    account = settle_earlier(account, TaskId("1"), 2, answers.get)
    assert sorted(account.held) == ["1.3.2", "10.1.1", "2.1.1"]
    assert (account.calls, account.tokens) == (5, 40 + 100 + 3 * 100)
    assert settle_earlier(account, TaskId("1"), 2, answers.get) is account


def test_a_released_call_counts_for_nothing() -> None:
    account = reserved(Accounted(), Budget(calls=1), "1.1.1")
    account = release(account, "1.1.1")
    assert (account.calls, account.tokens, account.usd, account.held) == (0, 0, 0.0, {})
    assert release(account, "1.1.1") is account
    assert settle(account, "1.1.1", 5, 0.1) is account


def test_a_call_that_never_fits_is_refused_at_once() -> None:
    refused = reserve(Accounted(), Budget(usd=0.005), "1.1.1", hold(), now=0.0)
    assert refused == Exhausted("the next call may cost more than what is left of $0.005")


@given(
    st.builds(
        Budget,
        calls=st.none() | st.integers(0, 12),
        tokens=st.none() | st.integers(0, 900),
        usd=st.none() | st.integers(0, 90).map(lambda cents: cents / 100),
    ),
    st.integers(0, 2**32 - 1),
)
def test_no_history_passes_a_cap(budget: Budget, seed: int) -> None:
    """Each call costs what it held at most; dead ones may have cost all of it."""
    chance, account, now = Random(seed), Accounted(), 0.0
    open_calls: dict[str, Hold] = {}
    calls, tokens, usd = 0, 0, 0.0
    entries = [account.n]
    for number in range(60):
        now += chance.random() * 5
        match chance.choice(("reserve", "reserve", "settle", "release", "die")):
            case "reserve":
                one = hold(chance.randint(0, 200), chance.randint(0, 20) / 100, now + 20)
                wanted = reserve(account, budget, f"{number}.1.1", one, now)
                if isinstance(wanted, Accounted):
                    account, open_calls[f"{number}.1.1"] = wanted, one
                    calls, tokens, usd = calls + 1, tokens + one.tokens, usd + one.usd
            case "die" if open_calls:
                open_calls.pop(chance.choice(list(open_calls)))
            case "settle" if open_calls:
                key = chance.choice(list(open_calls))
                one = open_calls.pop(key)
                if key in account.held:
                    really = chance.randint(0, one.tokens)
                    account = settle(account, key, really, one.usd / 2)
                    tokens, usd = tokens - one.tokens + really, usd - one.usd / 2
            case "release" if open_calls:
                key = chance.choice(list(open_calls))
                one = open_calls.pop(key)
                if key in account.held:
                    account = release(account, key)
                    calls, tokens, usd = calls - 1, tokens - one.tokens, usd - one.usd
            case _:
                pass
        entries.append(account.n)
        assert calls <= (budget.calls if budget.calls is not None else calls)
        assert tokens <= (budget.tokens if budget.tokens is not None else tokens)
        assert usd <= (budget.usd if budget.usd is not None else usd) + 1e-9
        assert (account.calls, account.tokens) == (calls, tokens)
        assert account.usd == pytest.approx(usd)
    assert entries == sorted(entries), "an entry would count less than the one before it"

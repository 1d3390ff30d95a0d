"""Who is there, as told by heartbeats and their absence."""

from hypothesis import given
from hypothesis import strategies as st

from galerne.runtime.presence import MISSED, Heard

INTERVAL = 2.0


def test_a_new_member_and_a_leaving_one_are_changes() -> None:
    heard: Heard[int] = Heard(INTERVAL)
    assert heard.hear("a", 1, 0.0, leaving=False)
    assert not heard.hear("a", 2, 1.0, leaving=False)
    assert heard.members() == {"a": 2}
    assert heard.hear("a", 3, 2.0, leaving=True)
    assert not heard.hear("a", 3, 2.0, leaving=True)
    assert heard.members() == {}


def test_three_missed_heartbeats_are_borne_and_a_fourth_is_not() -> None:
    heard: Heard[int] = Heard(INTERVAL)
    heard.hear("a", 1, 10.0, leaving=False)
    assert not heard.expire(10.0 + MISSED * INTERVAL)
    assert heard.expire(10.0 + MISSED * INTERVAL + 0.01)
    assert not heard.members()
    assert not heard.expire(1000.0)


def test_one_that_comes_back_is_a_change() -> None:
    heard: Heard[int] = Heard(INTERVAL)
    heard.hear("a", 1, 0.0, leaving=False)
    heard.expire(100.0)
    assert heard.hear("a", 1, 100.0, leaving=False)


events = st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 5)), max_size=30)


@given(events)
def test_members_are_those_whose_last_word_is_recent_and_no_farewell(
    said: list[tuple[str, bool, float]],
) -> None:
    heard: Heard[float] = Heard(INTERVAL)
    last: dict[str, tuple[float, bool]] = {}
    now = 0.0
    for name, leaving, pause in said:
        now += pause
        before = set(heard.members())
        changed = heard.hear(name, now, now, leaving=leaving)
        assert changed == (set(heard.members()) != before)
        last[name] = (now, leaving)
    heard.expire(now)
    limit = now - MISSED * INTERVAL
    expected = {name for name, (at, left) in last.items() if not left and at >= limit}
    # one that fell silent, left the list and spoke again would be there: expire runs once here
    assert set(heard.members()) == expected

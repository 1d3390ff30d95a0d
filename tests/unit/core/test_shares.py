"""Sharing out the parts: everybody computes the same, and little moves when somebody leaves."""

from hypothesis import given, settings
from hypothesis import strategies as st

from galerne.core.shares import own_parts, owner

names = st.text(min_size=1, max_size=12)
member_sets = st.sets(names, min_size=1, max_size=6)
parts = st.integers(1, 32)


@given(member_sets, parts)
@settings(max_examples=100)
def test_every_part_has_exactly_one_owner(members: set[str], parts: int) -> None:
    shares = [own_parts(me, members, parts) for me in sorted(members)]
    assert sorted(part for share in shares for part in share) == list(range(parts))


@given(st.lists(names, min_size=1, max_size=6), parts)
@settings(max_examples=60)
def test_the_order_and_repetition_of_members_does_not_matter(
    members: list[str], parts: int
) -> None:
    me = members[0]
    assert own_parts(me, members[::-1] + members, parts) == own_parts(me, set(members), parts)
    assert own_parts(me, [one for one in members if one != me], parts) == own_parts(
        me, members, parts
    )


@given(member_sets, names, parts)
@settings(max_examples=100)
def test_who_leaves_moves_only_its_own_parts(members: set[str], leaver: str, parts: int) -> None:
    rest = members - {leaver} | {"somebody"}
    for part in range(parts):
        before = owner(part, rest | {leaver})
        if before != leaver:
            assert owner(part, rest) == before


@given(st.sets(names, min_size=2, max_size=4))
@settings(max_examples=60)
def test_everybody_has_something_to_do(members: set[str]) -> None:
    assert all(own_parts(me, members, 512) for me in members)


def test_alone_means_everything() -> None:
    assert own_parts("me", [], 8) == frozenset(range(8))

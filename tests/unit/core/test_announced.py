"""How much of what tool workers announce is taken in."""

from galerne.core.announced import (
    LONGEST_NAME,
    MOST_IN_ALL,
    MOST_TOOLS,
    MOST_WORKERS,
    Allowance,
    has_room,
    in_short,
    within_bounds,
)
from galerne.messages.tools import ToolSpec, ToolsPresent


def present(count: int) -> ToolsPresent:
    tools = tuple(ToolSpec(name=f"t{n}", description="", parameters={}) for n in range(count))
    return ToolsPresent(worker="w", tools=tools, capacity=1, active=0)


def test_the_first_tools_of_a_worker_are_taken() -> None:
    assert within_bounds(present(MOST_TOOLS)) == present(MOST_TOOLS)
    assert within_bounds(present(MOST_TOOLS + 1)) == present(MOST_TOOLS)


def test_workers_have_room_up_to_a_number_and_the_known_keep_their_place() -> None:
    full = {f"w{n}": 1 for n in range(MOST_WORKERS)}
    assert not has_room(full, "new", ["tool"])
    assert has_room(full, "w0", ["tool", "another"])
    del full["w1"]
    assert has_room(full, "new", ["tool"])


def test_all_tools_together_have_a_bound() -> None:
    known = {"a": MOST_IN_ALL - 2, "b": 1}
    assert has_room(known, "c", ["x"])
    assert not has_room(known, "c", ["x", "y"])
    assert has_room(known, "b", ["x", "y"])
    assert not has_room(known, "b", ["x", "y", "z"])


def test_a_name_without_end_has_no_room() -> None:
    assert has_room({}, "w" * LONGEST_NAME, [])
    assert not has_room({}, "w" * (LONGEST_NAME + 1), [])


def test_what_cannot_be_called_is_one_short_line() -> None:
    refused = [(f"t{n}", "its name") for n in range(10_000)]
    assert in_short(refused[:1]) == "t0: its name"
    assert in_short(refused) == "t0: its name; t1: its name; t2: its name; and 9997 more"


def test_an_allowance_is_used_up_and_grows_by_one_a_second() -> None:
    lines = Allowance(3)
    assert [lines.take(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert [lines.take(at) for at in (100.5, 101.0, 101.5)] == [False, True, False]
    assert [lines.take(1_000.0) for _ in range(5)] == [True, True, True, False, False]

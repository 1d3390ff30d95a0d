import msgspec
from hypothesis import given
from hypothesis import strategies as st

from galerne.messages.plan import Rejected
from galerne.planner.plan import Plan
from unit.planner.examples import agent_task


def test_a_diamond() -> None:
    tasks = (
        agent_task("1"),
        agent_task("2", "x", "1"),
        agent_task("3", "x", "1"),
        agent_task("4", "x", "3", "2"),
        agent_task("5"),
    )
    plan = Plan(tasks)
    assert plan.levels() == (("1", "5"), ("2", "3"), ("4",))
    assert plan.width == 2
    assert plan.critical_path() == ("1", "3", "4")


def test_an_empty_plan() -> None:
    assert Plan(()).levels() == ()
    assert Plan(()).width == 0
    assert Plan(()).critical_path() == ()


def test_needs_outside_the_plan_are_done_already() -> None:
    assert Plan((agent_task("5", "x", "1"),)).levels() == (("5",),)


def test_a_plan_survives_json() -> None:
    plan = Plan((agent_task("1"),), (Rejected("why", "{}"),))
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


@given(st.lists(st.sets(st.integers(0, 20), max_size=3), max_size=20))
def test_every_wave_comes_after_its_needs(needs: list[set[int]]) -> None:
    tasks = tuple(
        agent_task(str(n), "x", *(str(need) for need in sorted(wanted) if need < n))
        for n, wanted in enumerate(needs)
    )
    plan = Plan(tasks)
    place = {task: n for n, wave in enumerate(plan.levels()) for task in wave}
    assert set(place) == {task.id for task in tasks}
    assert all(place[need] < place[task.id] for task in tasks for need in task.needs)
    path = plan.critical_path()
    assert len(path) == len(plan.levels())
    by_id = {task.id: task for task in tasks}
    assert all(path[n] in by_id[path[n + 1]].needs for n in range(len(path) - 1))

"""`decide` in worlds where everything is late, doubled or dead at some point (`world`).

Two things are proven over random histories: the log obeys the `rules`, and from wherever the
history stopped, the job comes to its end as soon as everybody does what there is to do.
"""

from random import Random

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from galerne.messages.facts import AnyFact, Done, Ended, Ready
from galerne.messages.ids import TaskId
from galerne.messages.plan import Budget, Failed, TaskKind, TaskSpec
from galerne.messages.subjects import fact_name
from unit.core.facts import done, plan_ended, planned, ready, spec
from unit.core.replicas import Entry
from unit.core.rules import check_log, check_revised_log
from unit.core.world import Habits, Plans, World

IDS = ("1", "2", "3", "4", "5", "6")
QUIET = Habits(dies=0.0)

seeds = st.integers(0, 2**32 - 1)
steps = st.integers(0, 500)
replicas = st.integers(1, 3)
kinds: st.SearchStrategy[TaskKind] = st.sampled_from(("agent", "tool"))
with_people: st.SearchStrategy[TaskKind] = st.sampled_from(("agent", "tool", "ask"))
harmless = st.builds(
    Habits, asks=st.sampled_from((0.0, 0.3)), dies=st.sampled_from((0.0, 0.1, 0.4))
)
harmful = st.builds(
    Habits,
    fails=st.sampled_from((0.0, 0.02, 0.3)),
    asks=st.sampled_from((0.0, 0.1, 0.4)),
    dies=st.sampled_from((0.0, 0.1, 0.4)),
    cancels=st.sampled_from((0.0, 0.02, 0.1)),
)


thrifty = st.builds(
    Habits,
    asks=st.sampled_from((0.0, 0.3, 0.6)),
    overspends=st.sampled_from((0.0, 0.05, 0.3)),
    dies=st.sampled_from((0.0, 0.1)),
)


@st.composite
def scripts(draw: st.DrawFn) -> tuple[TaskSpec, ...]:
    """A plan as the planner's check lets it pass: each task needs only earlier ones."""
    order = IDS[: draw(st.integers(0, len(IDS)))]
    return tuple(
        spec(
            task, *sorted(draw(st.sets(st.sampled_from(order[:n])))) if n else (), kind=draw(kinds)
        )
        for n, task in enumerate(order)
    )


def _same(script: tuple[TaskSpec, ...]) -> Plans:
    return Plans(script, script)


plans = scripts().map(_same)
replanned = st.builds(Plans, scripts(), scripts())
broken = st.lists(
    st.builds(
        spec,
        st.sampled_from(IDS),
        *[st.sampled_from((*IDS, "ghost", "answer", "plan-1"))] * 2,
        kind=st.sampled_from(("agent", "tool", "plan", "ask")),
    ),
    max_size=5,
    unique_by=lambda task: task.id,
).map(tuple)


@given(plans, harmful, seeds, steps, replicas)
@settings(max_examples=300)
def test_every_history_obeys_the_rules_and_comes_to_an_end(
    plans: Plans, habits: Habits, seed: int, steps: int, replicas: int
) -> None:
    world = World(plans, habits, Random(seed), replicas, [])
    world.live(steps)
    world.settle()
    assert world.ended
    check_log(world.log.entries)
    if _end(world).status == "failed":  # a whole plan fails only by a task that failed
        assert _failures(world)


@given(plans, thrifty, st.none() | st.builds(Budget, tasks=st.integers(0, 4)), seeds, steps)
@settings(max_examples=300)
def test_a_job_that_runs_out_of_its_budget_comes_to_an_end_all_the_same(
    plans: Plans, habits: Habits, budget: Budget | None, seed: int, steps: int
) -> None:
    """Whatever was asked of people, and whenever they answered."""
    world = World(plans, habits, Random(seed), 2, [], budget)
    world.live(steps)
    world.settle()
    assert world.ended
    check_log(world.log.entries)
    begun = {entry.fact.task.id for entry in world.log.entries if isinstance(entry.fact, Ready)}
    if budget is not None and budget.tasks is not None:
        assert len(begun - {"plan-1", "answer"}) <= budget.tasks


@given(replanned, harmless, seeds, steps, replicas)
@settings(max_examples=150)
def test_a_planner_that_goes_on_differently_breaks_no_rule(
    plans: Plans, habits: Habits, seed: int, steps: int, replicas: int
) -> None:
    world = World(plans, habits, Random(seed), replicas, [])
    world.live(steps)
    world.settle()
    assert world.ended
    check_log(world.log.entries)


@given(plans, seeds, steps, replicas)
@settings(max_examples=100)
def test_without_failure_and_cancel_every_job_succeeds(
    plans: Plans, seed: int, steps: int, replicas: int
) -> None:
    world = World(plans, QUIET, Random(seed), replicas, [])
    world.live(steps)
    world.settle()
    assert _end(world).status == "succeeded"
    assert {fact.task for fact in _done(world)} == {
        "plan-1", "answer", *(task.id for task in plans.first)
    }  # fmt: skip


@given(broken, harmful, seeds, steps)
@settings(max_examples=150)
def test_a_plan_that_cannot_be_carried_out_ends_the_job(
    script: tuple[TaskSpec, ...], habits: Habits, seed: int, steps: int
) -> None:
    world = World(_same(script), habits, Random(seed), 2, [])
    world.live(steps)
    world.settle()
    assert world.ended
    check_log(world.log.entries)


restless = st.builds(
    Habits,
    fails=st.sampled_from((0.0, 0.1, 0.4)),
    asks=st.sampled_from((0.0, 0.1)),
    dies=st.sampled_from((0.0, 0.1, 0.4)),
    cancels=st.sampled_from((0.0, 0.02)),
    incomplete=st.sampled_from((0.0, 0.5)),
    revisions=st.sampled_from((1, 2, 5)),
)


@st.composite
def large_scripts(draw: st.DrawFn) -> tuple[TaskSpec, ...]:
    """Plans in which some tasks are done for lists or have plans of their own."""
    lists = st.sampled_from((None, None, [], ["a", "b"], {"$ref": "1"}, {"$ref": "2.words"}))
    tasks: list[TaskSpec] = []
    for task in draw(scripts()):
        foreach, kind = draw(lists), draw(st.sampled_from((task.kind, task.kind, "plan")))
        if isinstance(foreach, dict) and foreach["$ref"][0] not in task.needs:
            foreach = None
        if task.kind != "ask":
            tasks.append(msgspec.structs.replace(task, foreach=foreach, kind=kind))
    names = {task.id for task in tasks}
    return tuple(task for task in tasks if names.issuperset(task.needs))


LATE_NEWS = (
    TaskSpec(id=TaskId("1"), kind="plan", instruction="do 1", foreach=["a", "b"]),
    TaskSpec(id=TaskId("2"), kind="plan", instruction="do 2"),
    *(TaskSpec(id=TaskId(name), kind="agent", instruction=f"do {name}") for name in ("3", "4")),
    TaskSpec(id=TaskId("5"), kind="agent", instruction="do 5", needs=(TaskId("2"),)),
)
"""With seed 76 a coordinator makes a task ready that another one has dropped."""


@given(large_scripts().map(_same), restless, seeds, steps, replicas)
@example(_same(LATE_NEWS), Habits(dies=0.4, revisions=1), 76, 410, 3)
@settings(max_examples=300)
def test_plans_that_are_revised_come_to_an_end_by_the_rules(
    plans: Plans, habits: Habits, seed: int, steps: int, replicas: int
) -> None:
    world = World(plans, habits, Random(seed), replicas, [])
    world.live(steps)
    world.settle()
    assert world.ended
    check_revised_log(world.log.entries)


# nonsense in the log

NAMES = (
    *("submitted", "cancel", "end", "end.1", "cancel.1", "", "fired.1"),
    *("ask.1.0.1", "ask.1.1.1", "decided.1.0.1", "decided.2.1.1", "resume.executor.normal.1.1"),
    *(f"plan.{revision}.{n}" for revision in (1, 2) for n in ("1", "2", "3", "end", "x")),
    *(f"{head}.{task}" for head in ("done", "run") for task in (*IDS[:3], "plan-1", "answer", "")),
    *(f"step.{task}.1" for task in ("1", "plan-1", "answer")),
    *(
        f"ready.{lane}.{task}"
        for lane in (
            "planner.normal",
            "executor.normal",
            "executor.low",
            "weird.normal",
            "executor",
        )
        for task in (*IDS[:3], "plan-1", "answer", "ghost", "a.b")
    ),
)
FORGED: tuple[AnyFact, ...] = (
    *(planned(n, task) for n in (1, 2, 9) for task in ("answer", "plan-1", "a.b", "", "1")),
    *(planned(n, "2", need) for n in (1, 8) for need in ("2", "ghost", "answer", "a.b")),
    *(planned(3, "3", kind=kind) for kind in ("plan", "ask", "answer")),
    *(plan_ended(count, revision) for count in (-1, 0, 2, 50) for revision in (1, 2)),
    *(ready(task) for task in ("1", "ghost", "plan-1", "answer", "a.b", "")),
    *(ready("1", lane="planner"), ready("2", kind="plan")),
    *(done(task) for task in ("1", "2", "ghost", "plan-1", "answer", "a.b")),
)
NONSENSE = [
    *(Entry(name, None, 0.0) for name in NAMES),
    *(Entry(fact_name(fact), fact, 0.0) for fact in FORGED),
]


@given(st.one_of(plans, replanned, broken.map(_same)), seeds, steps, st.data())
@settings(max_examples=300)
def test_no_nonsense_in_the_log_leaves_the_job_stuck(
    plans: Plans, seed: int, steps: int, data: st.DataObject
) -> None:
    nonsense = data.draw(st.lists(st.sampled_from(NONSENSE), min_size=1, max_size=6))
    world = World(plans, Habits(dies=0.1, nonsense=0.5), Random(seed), 2, nonsense)
    world.live(steps)
    world.settle()
    assert world.ended


@given(plans, seeds)
@settings(max_examples=60)
def test_unreadable_bytes_where_they_hurt_most_fail_the_job_and_do_not_hang_it(
    plans: Plans, seed: int
) -> None:
    """Every name that a good history has used is spoilt once, from the start."""
    for name in _good_names(plans, seed):
        world = _spoilt(plans, seed, name)
        if not name.startswith(("run.", "plan.1.end")):
            assert _end(world).status == "failed", name


@given(plans, seeds)
@settings(max_examples=40)
def test_unreadable_bytes_where_nobody_reads_hurt_nothing(plans: Plans, seed: int) -> None:
    ready = [name.split(".") for name in _good_names(plans, seed) if name.startswith("ready.")]
    for _, lane, priority, task in ready:
        for name in (f"ready.weird.{priority}.{task}", f"ready.{lane}.soon.{task}"):
            assert _end(_spoilt(plans, seed, name)).status == "succeeded", name


def _good_names(plans: Plans, seed: int) -> list[str]:
    """Every name that a history without trouble uses."""
    world = World(plans, QUIET, Random(seed), 1, [])
    world.settle()
    return sorted({entry.name for entry in world.log.entries})


def _spoilt(plans: Plans, seed: int, name: str) -> World:
    """The same history, with unreadable bytes under `name` from the start."""
    world = World(plans, QUIET, Random(seed), 1, [])
    world.log.append(name, None, 0.0, 0)
    world.settle()
    assert world.ended, name
    return world


def _done(world: World) -> list[Done]:
    return [entry.fact for entry in world.log.entries if isinstance(entry.fact, Done)]


def _failures(world: World) -> list[TaskId]:
    return [fact.task for fact in _done(world) if isinstance(fact.outcome, Failed)]


def _end(world: World) -> Ended:
    ended = world.log.last("end")[0]
    assert ended is not None
    fact = ended.meant()
    assert isinstance(fact, Ended)
    return fact

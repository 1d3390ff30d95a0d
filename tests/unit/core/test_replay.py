"""Replay: what really happened never differs, whoever raced or died; other rules do."""

from collections.abc import Iterator, Sequence
from random import Random

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from galerne.core.replay import Entry, Wants, replay, state_of, today
from galerne.core.state import JobState
from galerne.messages.facts import AnyFact, Asked, Done, Ended, JobSpec, Planned, Ready, Submitted
from galerne.messages.ids import DEFAULT_TENANT, JobId, TaskId
from galerne.messages.plan import Budget, Failed, Succeeded, TaskSpec, Usage
from galerne.messages.subjects import fact_name
from unit.core import replicas, world
from unit.core.facts import spec
from unit.core.test_worlds import NAMES, broken, harmful, plans, replanned, seeds, steps
from unit.core.world import Habits, Plans, World


@pytest.fixture(scope="module", autouse=True)
def _only_the_clock_says_expired() -> Iterator[None]:
    """The world's people say it too, which no fleet lets them."""
    before = world.VERDICTS
    world.VERDICTS = tuple(verdict for verdict in before if verdict != "expired")
    yield
    world.VERDICTS = before


coordinators = st.integers(1, 3)
QUIET = Habits(dies=0.0)
CHAIN = (spec("1"), spec("2", "1"), spec("3"), spec("4", "2", "3"))


def entries_of(log: Sequence[replicas.Entry]) -> list[Entry]:
    return [
        Entry(number, one.at, one.name, one.fact, None if one.fact else "no JSON")
        for number, one in enumerate(log, 1)
    ]


def lived(plans: Plans, habits: Habits, seed: int, steps: int, coordinators: int) -> World:
    one = World(plans, habits, Random(seed), coordinators, [])
    one.live(steps)
    return one


def whole(
    script: tuple[TaskSpec, ...] = CHAIN, habits: Habits = QUIET, seed: int = 1
) -> list[Entry]:
    """The log of a job from its beginning to its end."""
    one = lived(Plans(script, script), habits, seed, 300, 2)
    one.settle()
    return entries_of(one.log.entries)


# true recordings


@given(plans | replanned, harmful, seeds, steps, coordinators)
@settings(max_examples=300)
def test_what_happened_never_differs(
    plans: Plans, habits: Habits, seed: int, steps: int, coordinators: int
) -> None:
    one = lived(plans, habits, seed, steps, coordinators)
    assert replay(entries_of(one.log.entries)) == []
    one.settle()
    assert replay(entries_of(one.log.entries)) == []


@given(broken, harmful, seeds, steps)
@settings(max_examples=150)
def test_nor_with_a_plan_that_cannot_be_carried_out(
    script: tuple[TaskSpec, ...], habits: Habits, seed: int, steps: int
) -> None:
    one = lived(Plans(script, script), habits, seed, steps, 2)
    one.settle()
    assert replay(entries_of(one.log.entries)) == []


unreadable = st.lists(st.sampled_from(NAMES), max_size=4).map(
    lambda names: [replicas.Entry(name, None, 0.0) for name in names]
)


@given(plans, harmful, unreadable, seeds, steps)
@settings(max_examples=150)
def test_nor_with_unreadable_facts(
    plans: Plans, habits: Habits, nonsense: list[replicas.Entry], seed: int, steps: int
) -> None:
    habits = msgspec.structs.replace(habits, nonsense=0.3)
    one = World(plans, habits, Random(seed), 2, nonsense)
    one.live(steps)
    one.settle()
    assert replay(entries_of(one.log.entries)) == []


kinds = st.sampled_from(("agent", "tool", "ask"))


@st.composite
def asking(draw: st.DrawFn) -> Plans:
    script = tuple(msgspec.structs.replace(task, kind=draw(kinds)) for task in draw(plans).first)
    return Plans(script, script)


class Careful(replicas.Coordinator):
    """Reads the whole log before it ends a job badly, as a fleet's coordinators do."""

    def _decide(self, now: float) -> None:
        before = len(self.outbox)
        kept = list(self.outbox)
        super()._decide(now)
        if any(_is_bad_end(fact) for fact in self.outbox[before:]):
            self.outbox, self.state = kept, JobState()
            for entry in self._log.entries:
                self._fold(entry)
            self.seen = len(self._log.entries)
            super()._decide(now)


def _is_bad_end(fact: AnyFact) -> bool:
    return isinstance(fact, Ended) and fact.status != "succeeded"


@given(asking(), harmful, unreadable, seeds, steps, coordinators)
@settings(max_examples=300)
def test_nor_with_questions(
    plans: Plans,
    habits: Habits,
    nonsense: list[replicas.Entry],
    seed: int,
    steps: int,
    coordinators: int,
) -> None:
    one = World(plans, habits, Random(seed), 0, nonsense)
    replicas_of = one._coordinators  # pyright: ignore[reportPrivateUsage]
    replicas_of.extend(Careful(one.log) for _ in range(coordinators))
    one.live(steps)
    one.settle()
    assert replay(entries_of(one.log.entries)) == []


# other rules


def without(kind: type[AnyFact]) -> Wants:
    return lambda state, now: [fact for fact in today(state, now) if not isinstance(fact, kind)]


def starts_all_at_once(state: JobState, now: float) -> list[AnyFact]:
    """As if nothing had to wait for what it needs."""
    eager = JobState()
    for name in state.__struct_fields__:
        setattr(eager, name, getattr(state, name))
    fresh = state.planned.keys() - state.ready.keys() - state.done.keys()
    eager.startable = set(fresh)
    return today(eager, now)


def always_low(state: JobState, now: float) -> list[AnyFact]:
    return [
        msgspec.structs.replace(fact, priority="low") if isinstance(fact, Ready) else fact
        for fact in today(state, now)
    ]


def ends_with_the_first_result(state: JobState, now: float) -> list[AnyFact]:
    if state.ended is None and TaskId("1") in state.done:
        return [Ended(status="succeeded", usage=Usage(), at=now, result="early")]
    return today(state, now)


def audits(state: JobState, now: float) -> list[AnyFact]:
    """One task more, once task 2 is done."""
    wanted = today(state, now)
    more = TaskId("audit")
    if TaskId("2") in state.done and more not in state.ready and state.ended is None:
        wanted.append(
            Ready(lane="executor", priority="normal", task=TaskSpec(id=more), goal="look at it")
        )
    return wanted


def cannot(state: JobState, now: float) -> list[AnyFact]:
    if TaskId("1") in state.done and state.ended is None:
        raise ZeroDivisionError
    return today(state, now)


@pytest.mark.parametrize(
    ("wants", "said"),
    [
        (
            starts_all_at_once,
            "today's code writes ready.executor.normal.2 with other inputs than at",
        ),
        (always_low, "today's code writes ready.executor.low.1 where the recording has"),
        (ends_with_the_first_result, "today's code writes ended(succeeded) where the recording"),
        (audits, "today's code also writes ready.executor.normal.audit"),
        (without(Ready), "today's code does not write what the recording has: ready.planner"),
        (without(Ended), "today's code does not write what the recording has: ended(succeeded)"),
        (cannot, "today's code writes ended(failed) where the recording has ready.executor"),
    ],
)
def test_other_rules_are_noticed(wants: Wants, said: str) -> None:
    lines = [str(difference) for difference in replay(whole(), wants)]
    assert any(said in line for line in lines), lines
    assert all("\n" not in line for line in lines)


def test_a_difference_says_where_in_the_log() -> None:
    entries = whole()
    cause = next(entry for entry in entries if entry.name == "done.2")
    [extra] = [one for one in replay(entries, audits) if one.recorded is None]
    assert str(extra) == (
        f"after {cause.sequence} done.2: today's code also writes ready.executor.normal.audit"
    )


@given(seeds)
@settings(max_examples=30)
def test_tasks_that_started_before_their_needs_are_noticed_in_any_history(seed: int) -> None:
    entries = whole(habits=Habits(dies=0.2), seed=seed)
    assume(isinstance(entries[-1].fact, Ended) and entries[-1].fact.status == "succeeded")
    assume(has_waited(entries))
    assert replay(entries, starts_all_at_once)


def has_waited(entries: list[Entry]) -> bool:
    """Whether a task was planned before what it needs was done: a planner that dies is late."""
    places = {entry.name: place for place, entry in enumerate(entries)}
    return any(
        places[f"done.{need}"] > place
        for place, entry in enumerate(entries)
        if isinstance(entry.fact, Planned)
        for need in entry.fact.task.needs
    )


# by the clock, and by the server


def at(name: str, fact: AnyFact, sequence: int, when: float) -> Entry:
    assert fact_name(fact) == name
    return Entry(sequence, when, name, fact)


def a_job(**fields: object) -> list[Entry]:
    job = msgspec.structs.replace(
        JobSpec(id=JobId("job-1"), tenant=DEFAULT_TENANT, goal="the goal"), **fields
    )
    plan = Ready(
        lane="planner",
        priority="normal",
        task=TaskSpec(id=TaskId("plan-1"), kind="plan"),
        goal="the goal",
        budget=job.budget,
    )
    return [
        at("submitted", Submitted(job=job, at=10.0), 1, 10.0),
        at("ready.planner.normal.plan-1", plan, 2, 10.1),
    ]


def ended(status: str, when: float, error: str, **fields: object) -> Ended:
    return msgspec.structs.replace(
        Ended(status="failed", usage=Usage(), at=when, error=error), status=status, **fields
    )


def test_an_end_by_the_clock_is_judged_at_its_own_time() -> None:
    over = ended("deadline_exceeded", 60.2, "the job's deadline has passed", result={"results": {}})
    entries = [*a_job(deadline=60.0), at("end", over, 3, 60.3)]
    assert replay(entries) == []
    too_early = msgspec.structs.replace(over, at=30.0)
    assert [one.recorded for one in replay([*entries[:2], at("end", too_early, 3, 30.1)])] == [
        "ended(deadline_exceeded)"
    ]


def test_what_a_coordinator_had_not_seen_yet_is_no_difference() -> None:
    """The end by the clock was decided before the outcome that stands before it."""
    planned_nothing = Done(
        task=TaskId("plan-1"),
        outcome=Failed("tool", "no"),
        usage=Usage(),
        by="p",
        attempt=1,
        at=60.1,
    )
    over = ended("deadline_exceeded", 60.1, "the job's deadline has passed", result={"results": {}})
    entries = [
        *a_job(deadline=60.0),
        at("done.plan-1", planned_nothing, 3, 60.11),
        at("end", over, 4, 60.2),
    ]
    assert replay(entries) == []


def test_a_job_that_the_server_or_its_admission_refused_is_no_difference() -> None:
    too_large = ended("failed", 11.0, "the next task cannot be stored: 9 MB is over the limit")
    assert replay([*a_job(), at("end", too_large, 3, 11.0)]) == []
    refused = ended("failed", 11.0, "the job was refused: goal is missing")
    assert replay([at("end", refused, 1, 11.0)]) == []


def test_an_end_that_never_came_is_a_difference_once_the_job_has_long_gone_on() -> None:
    """Today's code stops at the deadline; the recording goes on and starts another task."""
    late = Ready(lane="executor", priority="normal", task=TaskSpec(id=TaskId("9")), goal="the goal")
    entries = [*a_job(deadline=60.0), at("ready.executor.normal.9", late, 3, 200.0)]
    [difference] = replay(entries)
    assert difference.today == "ended(deadline_exceeded)"


def test_two_coordinators_may_start_one_task_more_than_the_budget() -> None:
    """Neither had heard of the other's start: a true recording."""
    budget = Budget(tasks=1)
    script = (spec("1"), spec("2"))
    entries = a_job(budget=budget)
    for n, task in enumerate(script, 1):
        fact = Planned(revision=1, n=n, task=task)
        entries.append(at(f"plan.1.{n}", fact, len(entries) + 1, 11.0 + n))
    state = state_of(entries)
    [first] = [one for one in today(state, 13.0) if isinstance(one, Ready)]
    assert first.task.id == "1"
    entries.append(at("ready.executor.normal.1", first, 5, 13.0))
    assert replay(entries) == []


@pytest.mark.parametrize("seed", range(20))
def test_times_usage_settings_and_words_are_no_decisions(seed: int) -> None:
    habits = Habits(fails=0.1, dies=0.1)
    entries = [
        msgspec.structs.replace(entry, fact=_elsewhere(entry.fact)) if entry.fact else entry
        for entry in whole(habits=habits, seed=seed)
    ]
    assert replay(entries) == []


def _elsewhere(fact: AnyFact) -> AnyFact:
    match fact:
        case Ready():
            return msgspec.structs.replace(fact, max_attempts=99)
        case Ended():
            usage, error = Usage(tool_calls=77), fact.error and f"In other words: {fact.error}"
            return msgspec.structs.replace(fact, at=fact.at + 1, usage=usage, error=error)
        case Asked(n=0):
            return msgspec.structs.replace(fact, until=(fact.until or 0.0) + 1)
        case Done(outcome=Succeeded()):
            return msgspec.structs.replace(fact, usage=Usage(tool_calls=5))
        case _:
            return fact

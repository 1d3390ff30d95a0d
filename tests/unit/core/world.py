"""A world around the pure core: a log, coordinators, workers and a user, one small step at a time.

    submit ─▶ log ─▶ coordinators (fold what they have seen, decide, write when they get to it)
               ▲ └──▶ workers (claim, plan or work, ask and park, give back, die, write outcomes)
               └───── people who answer, a user who cancels, somebody who writes nonsense

Nothing happens at once: every write waits its turn, every view may be old, and whoever dies
leaves behind what was already on its way. Only the log is shared, and in it second writes lose.
"""

from collections.abc import Sequence
from random import Random

import msgspec

from galerne.core.claims import GiveUp, Take, Wait, judge_claim, park
from galerne.messages.facts import (
    AnyFact,
    Asked,
    Cancelled,
    Claimed,
    Decided,
    Done,
    Ended,
    PlanEnded,
    Planned,
    Ready,
    Submitted,
    Verdict,
)
from galerne.messages.ids import TaskId, above, below, is_id, plan_task, revision_of
from galerne.messages.plan import Budget, Failed, Outcome, Succeeded, TaskSpec, Usage
from galerne.messages.subjects import fact_name
from unit.core.facts import JOB
from unit.core.replicas import MANY, Coordinator, Entry, Log

LEASE = 15.0
MARGIN = 2.0
LONG = "long " * 20_000
"""A result over the limit of what a model is given."""
VERDICTS: tuple[Verdict, ...] = ("approved", "denied", "answered", "expired")
SERVED = {"planner": ("plan", "answer"), "executor": ("agent", "tool")}


class Attempt:
    """A worker at a task. `writes` are a planner's facts; its outcome comes after all of them."""

    def __init__(self, name: str, ready: Ready, claim: Claimed, position: int) -> None:
        self.name = name
        self.ready = ready
        self.claim = claim
        self.position = position
        self.writes: list[AnyFact] = []
        self.count = 0

    @property
    def task(self) -> TaskId:
        return self.ready.task.id

    def write(self, facts: Sequence[Planned], end: PlanEnded, log: Log) -> None:
        """Any other plan: what an earlier attempt has written stands, whatever this one wants."""
        there = {fact_name(fact) for fact in facts if log.holds(fact_name(fact))}
        self.count = len(facts)
        self.writes = [*(fact for fact in facts if fact_name(fact) not in there), end]

    def plan(self, script: Sequence[TaskSpec], log: Log) -> None:
        """What is lacking of the script, under the numbers that are free as the planner does."""
        there = [entry.fact for entry in log.entries if isinstance(entry.fact, Planned)]
        numbers = {fact.n for fact in there}
        free = (n for n in range(1, 1000) if n not in numbers)
        known = {fact.task.id for fact in there}
        new = [task for task in script if task.id not in known]
        self.count = len(there) + len(new)
        self.writes = [
            *(Planned(revision=1, n=n, task=task) for task, n in zip(new, free, strict=False)),
            PlanEnded(revision=1, count=self.count),
        ]


class Plans(msgspec.Struct, frozen=True):
    """What the planner's attempts write: the first the one script, later ones the other."""

    first: tuple[TaskSpec, ...]
    later: tuple[TaskSpec, ...]


class Habits(msgspec.Struct, frozen=True):
    """How likely, from 0 to 1, things go wrong at each occasion."""

    fails: float = 0.0
    overspends: float = 0.0
    asks: float = 0.0
    dies: float = 0.1
    cancels: float = 0.0
    nonsense: float = 0.0
    revisions: int = 0
    incomplete: float = 0.0


class World:
    """All of it; `chance` decides what happens next."""

    def __init__(
        self,
        plans: Plans,
        habits: Habits,
        chance: Random,
        coordinators: int,
        nonsense: Sequence[Entry],
        budget: Budget | None = None,
    ) -> None:
        self.log = Log()
        self._job = msgspec.structs.replace(JOB, budget=budget, revisions=habits.revisions)
        self.now = 0.0
        self._plans = plans
        self._habits = habits
        self._chance = chance
        self._nonsense = nonsense
        self._coordinators = [Coordinator(self.log) for _ in range(coordinators)]
        self._attempts: list[Attempt] = []
        self._parked: set[str] = set()
        """Messages of lanes that were acknowledged because their task waits for a person."""
        self._late: list[AnyFact] = []
        """Writes on their way from processes that died."""

    @property
    def ended(self) -> bool:
        return self.log.holds("end")

    def live(self, steps: int) -> None:
        """So many random steps."""
        happenings = (
            *(self._submit, self._tick, self._claim, self._claim, self._claim, self._arrive_late),
            *(self._wake, self._wake, self._wake, self._write, self._write, self._write),
            *(self._work, self._work, self._work, self._work, self._crash, self._interfere),
            self._answer,
        )
        for _ in range(steps):
            self._chance.choice(happenings)()
            self.now += 0.01

    def settle(self) -> None:
        """Let everybody do what there is to do, until nothing happens any more."""
        before = -1
        while before < len(self.log.entries):
            before = len(self.log.entries)
            assert before < MANY, "the job goes on for ever"
            self._submit()
            for coordinator in self._coordinators:
                coordinator.catch_up(self.now)
            for attempt in list(self._attempts):
                while attempt in self._attempts:
                    self._go_on(attempt)
            self.now += LEASE + MARGIN + 1
            for ready in self._to_do():
                self._start(ready)
            for ask in self._open():
                self._decide(ask)

    # what may happen

    def _submit(self) -> None:
        """As admission does it: a log that begins with nonsense is ended."""
        entry, _ = self.log.last("submitted")
        if entry is None:
            self._write_fact(Submitted(job=self._job, at=self.now))
        elif entry.fact is None:
            self._write_fact(Ended(status="failed", usage=Usage(), at=self.now, error="unreadable"))

    def _tick(self) -> None:
        """Time passes, and leases run out because nobody renews them."""
        if self._chance.random() < self._habits.dies:
            self.now += self._chance.choice((0.5, 5.0, LEASE, LEASE + MARGIN + 1))

    def _wake(self) -> None:
        coordinator = self._chance.choice(self._coordinators)
        there = len(self.log.entries)
        coordinator.wake(self._chance.randint(min(coordinator.seen, there), there), self.now)

    def _write(self) -> None:
        coordinator = self._chance.choice(self._coordinators)
        if coordinator.outbox:
            coordinator.write(self._chance.randrange(len(coordinator.outbox)), self.now)

    def _crash(self) -> None:
        if self._chance.random() < self._habits.dies:
            coordinator = self._chance.choice(self._coordinators)
            self._late.extend(coordinator.outbox[: self._chance.randint(0, 2)])
            coordinator.crash()

    def _arrive_late(self) -> None:
        if self._late:
            self._write_fact(self._late.pop(self._chance.randrange(len(self._late))))

    def _interfere(self) -> None:
        if self._chance.random() < self._habits.cancels:
            self._write_fact(Cancelled(why="enough", at=self.now))
        if self._nonsense and self._chance.random() < self._habits.nonsense:
            one = self._chance.choice(self._nonsense)
            if one.name.startswith("run."):
                self.log.append(one.name, one.fact, self.now, self.log.last(one.name)[1])
            else:
                self.log.write(one.name, one.fact, self.now)

    def _answer(self) -> None:
        """A person says something; somebody else may have said it at the same moment."""
        for ask in self._open()[:1]:
            self._decide(ask)

    def _decide(self, ask: Asked) -> None:
        verdict = self._chance.choice(VERDICTS)
        word = Decided(
            task=ask.task, n=ask.n, round=ask.round, verdict=verdict, value="yes", at=self.now
        )
        self._write_fact(word)

    def _open(self) -> list[Asked]:
        if self.ended:
            return []
        asked = [entry.fact for entry in self.log.entries if isinstance(entry.fact, Asked)]
        return [one for one in asked if not self.log.holds(_decided_name(one))]

    def _claim(self) -> None:
        todo = self._to_do()
        if todo:
            self._start(self._chance.choice(todo))

    def _work(self) -> None:
        if not self._attempts:
            return
        attempt = self._chance.choice(self._attempts)
        if self._chance.random() < self._habits.dies:
            self._attempts.remove(attempt)
            self._late.extend(attempt.writes[: self._chance.randint(0, 3)])
        elif self._chance.random() < self._habits.fails / 2:
            self._attempts.remove(attempt)
            self._give_back(attempt)
        elif self._chance.random() < self._habits.fails:
            self._attempts.remove(attempt)
            self._commit(attempt.task, Failed("tool", f"{attempt.task} is too hard"))
        elif self._chance.random() < self._habits.overspends:
            self._attempts.remove(attempt)
            self._commit(attempt.task, Failed("budget_exhausted", "the budget is used up"))
        elif self._chance.random() < self._habits.asks and not attempt.writes:
            self._ask(attempt)
        else:
            self._go_on(attempt)

    # workers

    def _to_do(self) -> list[Entry]:
        """What the lanes hold: entries of lanes that somebody serves, without an outcome."""
        if self.ended:
            return []
        return [entry for entry in self.log.entries if self._is_queued(entry)]

    def _is_queued(self, entry: Entry) -> bool:
        match entry.name.split("."):
            case [
                "ready" | "resume",
                "planner" | "executor",
                "high" | "normal" | "low",
                task,
                *_,
            ] if is_id(task):
                return entry.name not in self._parked and not self.log.holds(f"done.{task}")
            case _:
                return False

    def _start(self, entry: Entry) -> None:
        """Refuse what nobody can do; claim the rest, if the last claim on it lets us."""
        lane, task = entry.name.split(".")[1], TaskId(entry.name.split(".")[3])
        ready = entry.fact
        if not isinstance(ready, Ready) or ready.task.kind not in SERVED[lane]:
            self._commit(task, Failed("invalid_message", "nobody can do this"))
            return
        last, position = self.log.last(f"run.{task}")
        claim = last.fact if last and isinstance(last.fact, Claimed) else None
        me = f"worker-{self._chance.randint(1, 3)}"
        if any((one.task, one.claim.by) == (task, me) for one in self._attempts):
            return  # a process knows what it has in flight
        match judge_claim(claim, me, self.now, MARGIN, ready.max_attempts):
            case Take(attempt=number):
                self._take(entry.name, ready, me, number, position)
            case GiveUp(attempts=attempts, note=note):
                self._commit(task, Failed("attempts", f"given up after {attempts}: {note}"))
            case Wait():
                pass

    def _take(self, name: str, ready: Ready, me: str, number: int, position: int) -> None:
        task = ready.task.id
        claim = Claimed(task=task, by=me, until=self.now + LEASE, attempt=number)
        if self.log.append(f"run.{task}", claim, self.now, position):
            attempt = Attempt(name, ready, claim, len(self.log.entries))
            if task == plan_task(1):
                script = self._plans.first if number == 1 else self._plans.later
                attempt.plan(script, self.log)
            elif ready.task.kind == "plan":
                self._plan_more(attempt)
            self._attempts.append(attempt)

    def _plan_more(self, attempt: Attempt) -> None:
        """A revision or a nested plan; another attempt at it writes the same, as it is told it."""
        task, chance = attempt.task, Random(f"{attempt.task}")
        facts: list[Planned] = []
        parent = above(task)
        if parent is not None:
            one, two = (below(parent, n) for n in (1, 2))
            first, second = TaskSpec(id=one, instruction="do"), TaskSpec(id=two, needs=(one,))
            facts = [
                Planned(revision=1, n=1, task=first, parent=parent),
                Planned(revision=1, n=2, task=second, parent=parent),
            ]
            attempt.write(facts, PlanEnded(revision=1, count=2, parent=parent), self.log)
            return
        revision = revision_of(task)
        dropped: list[TaskId] = []
        for failed in attempt.ready.failed:
            if chance.random() < 0.3:
                dropped.append(failed)
                continue
            new = TaskSpec(id=below(failed, f"r{revision}"), instruction="again", replaces=failed)
            facts.append(Planned(revision=revision, n=len(facts) + 1, task=new))
        gave_up = "no way" if chance.random() < 0.1 else None
        end = PlanEnded(
            revision=revision, count=len(facts), dropped=tuple(dropped), gave_up=gave_up
        )
        attempt.write(facts, end, self.log)

    def _go_on(self, attempt: Attempt) -> None:
        """One more fact of the plan (a few are on their way at a time), or the outcome."""
        if attempt.writes:
            which = self._chance.randrange(min(3, len(attempt.writes)))
            self._write_fact(attempt.writes.pop(which))
            return
        self._attempts.remove(attempt)
        if any(ask.task == attempt.task for ask in self._open()):
            self._park(attempt)
            return
        if attempt.ready.more and self._chance.random() < self._habits.incomplete:
            self._commit(attempt.task, Failed("incomplete", "more is wanted"))
        else:
            self._commit(attempt.task, Succeeded(value_of(attempt.task)))

    def _ask(self, attempt: Attempt) -> None:
        """The next question about the task, and then no place is held any more."""
        asked = [entry.fact for entry in self.log.entries if isinstance(entry.fact, Asked)]
        number = 1 + sum(one.task == attempt.task and one.n > 0 for one in asked)
        self._attempts.remove(attempt)
        self._write_fact(
            Asked(task=attempt.task, n=number, what="approval", question="?", at=self.now)
        )
        if self._chance.random() < self._habits.dies:
            return  # before it could let go: its lease runs out, and its message comes again
        self._park(attempt)

    def _park(self, attempt: Attempt) -> None:
        back = msgspec.structs.replace(park(attempt.claim), until=0.0, note="waits for a person")
        if self.log.append(f"run.{attempt.task}", back, self.now, attempt.position):
            self._parked.add(attempt.name)

    def _give_back(self, attempt: Attempt) -> None:
        back = msgspec.structs.replace(attempt.claim, until=0.0, note="the model is busy")
        self.log.append(f"run.{attempt.task}", back, self.now, attempt.position)

    def _commit(self, task: TaskId, outcome: Outcome) -> None:
        usage = Usage(tool_calls=1)
        self._write_fact(
            Done(task=task, outcome=outcome, usage=usage, by="worker", attempt=1, at=self.now)
        )

    def _write_fact(self, fact: AnyFact) -> None:
        self.log.write(fact_name(fact), fact, self.now)


def _decided_name(ask: Asked) -> str:
    return f"decided.{ask.task}.{ask.n}.{ask.round}"


def value_of(task: TaskId) -> object:
    """What a task gives: a text, a long text, or an object."""
    match task:
        case "2":
            return {"of": task, "words": [7, 8]}
        case "3":
            return LONG
        case _:
            return f"the result of {task}"

"""Questions to people: what was asked, what was decided, and who waits.

    asked(task, n, round) ──▶ open ──▶ decided(task, n, round)
      n = 0   about the task itself: an `ask` task, or leave to start; asked by the coordinator
      n ≥ 1   about a step: leave for a tool call, or an effect in doubt; asked by the worker,
              which parks the task; each decision queues it again (`resume`)

A person names a question by `<task>.<n>`. A step can be asked about more than once (an approved
call may end in doubt), one question after the other: `round` counts them.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from galerne.errors import InvalidInputError
from galerne.messages.facts import Asked, Decided, Question, Verdict
from galerne.messages.ids import TaskId, is_id

AskKey = tuple[TaskId, int, int]
"""Task, step, round."""

EVERY_EFFECT = "*"
"""In a job's `approve`: every tool that is not pure."""
PARKED = "waits for a person's"
"""How the note of a claim begins whose task is parked, and not given back for another try."""
VERDICTS: Mapping[Question, frozenset[Verdict]] = {
    "approval": frozenset({"approved", "denied"}),
    "doubt": frozenset({"happened", "not_happened"}),
    "question": frozenset({"answered", "denied"}),
    "review": frozenset({"approved", "answered", "denied"}),
}
"""What a person may say to each; `expired` is for the clock."""

_encode_sorted = msgspec.json.Encoder(order="deterministic").encode


class Asks(msgspec.Struct):
    """A job's questions; every index follows from `asked` and `decided` alone."""

    asked: dict[AskKey, Asked] = {}
    decided: dict[AskKey, Decided] = {}
    open: set[AskKey] = set()
    """Asked, and not decided."""
    waiting: dict[TaskId, set[AskKey]] = {}
    """Tasks → their open questions."""
    answered: dict[TaskId, int] = {}
    """Tasks → how many questions about their steps are decided."""

    def fold(self, fact: Asked | Decided) -> None:
        key = (fact.task, fact.n, fact.round)
        known: dict[AskKey, Any] = self.asked if isinstance(fact, Asked) else self.decided
        if key in known:
            return
        known[key] = fact
        both = key in self.asked and key in self.decided
        if both and fact.n > 0:
            self.answered[fact.task] = self.answered.get(fact.task, 0) + 1
        if key in self.asked and key not in self.decided:
            self.open.add(key)
            self.waiting.setdefault(fact.task, set()).add(key)
        else:
            self._close(key)

    def _close(self, key: AskKey) -> None:
        self.open.discard(key)
        left = self.waiting.get(key[0], set()) - {key}
        if left:
            self.waiting[key[0]] = left
        else:
            self.waiting.pop(key[0], None)

    def open_in_order(self) -> list[Asked]:
        """The open questions, oldest first."""
        found = [self.asked[key] for key in self.open]
        return sorted(found, key=lambda asked: (asked.at, asked.task, asked.n, asked.round))

    def overdue(self, now: float) -> list[Asked]:
        return [ask for ask in self.open_in_order() if ask.until is not None and ask.until <= now]


def arguments_hash(tool: str, arguments: Mapping[str, Any]) -> str:
    """What an approval of a call is bound to: sha256, in hex, of `[tool, arguments]` as JSON.

    Names of objects are sorted, nothing is spaced; text is UTF-8 and escaped as little as JSON
    allows.
    """
    return hashlib.sha256(_encode_sorted([tool, arguments])).hexdigest()


def call_name(task: str, n: int) -> str:
    """How a person names a question: `<task>.<n>`."""
    return f"{task}.{n}"


def parse_call(text: str) -> tuple[TaskId, int]:
    """Read `<task>.<n>`; a task alone is the question about the task itself. InvalidInputError."""
    task, dot, number = text.partition(".")
    if not is_id(task) or (dot and not (number.isascii() and number.isdecimal())):
        raise InvalidInputError(
            f"{text[:80]!r} names no question: write TASK.STEP as `galerne approvals` lists it"
        )
    return TaskId(task), int(number) if dot else 0


def latest(asked: Iterable[Asked], task: TaskId, n: int) -> Asked | None:
    """The last question that was asked about a step."""
    mine = [ask for ask in asked if (ask.task, ask.n) == (task, n)]
    return max(mine, key=lambda ask: ask.round, default=None)


def check_verdict(ask: Asked, verdict: Verdict, approved_hash: str | None) -> None:
    """Raises InvalidInputError where the word does not fit the question."""
    if verdict not in VERDICTS[ask.what]:
        fitting = " or ".join(sorted(VERDICTS[ask.what]))
        name = call_name(ask.task, ask.n)
        raise InvalidInputError(f"{name} is a question of {ask.what}: {fitting}, not {verdict}")
    if verdict == "approved" and approved_hash != ask.hash:
        raise InvalidInputError(
            f"the approval of {call_name(ask.task, ask.n)} is for other arguments: look again"
        )

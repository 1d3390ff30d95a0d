"""The jobs that are run while processes die, and how each has to end.

A goal is plain English that the stand-in's planner turns into tasks: parallel ones (two counts),
dependent ones (which is longer), ones that fail, and ones that call tools with every effect, both
directly and by an agent.
"""

import json
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

Kind = Literal[
    "whole", "failing", "pure", "idempotent", "once", "slow", "slow_told", "slow_once", "counting",
    "asking", "asking_poor", "budgeted", "poor", "overdue", "revised", "listed", "talking",
]  # fmt: skip

FILES = {"a.txt": 9, "b.txt": 14}
"""Files and their words, in the folder that the file tools read."""


class Expected(msgspec.Struct, frozen=True):
    """How a job has to end: its status, and texts that its answer or its error holds."""

    status: Literal["succeeded", "failed", "cancelled", "budget_exhausted", "deadline_exceeded"]
    texts: tuple[str, ...] = ()


class Job(msgspec.Struct, frozen=True):
    """A job to submit. `id` is unique on its server; notes of tool calls are unique in a job.

    `options` go into the submission as they are; `seconds` is the time that the job has.
    """

    id: str
    goal: str
    expected: Expected
    options: dict[str, Any] = {}
    seconds: float | None = None


def job(kind: Kind, job_id: str) -> Job:
    """The job of a kind."""
    match kind:
        case "whole":
            effects = ("pure", "idempotent", "once")
            calls = [call(f"chaos_{effect}", f"{effect}-direct") for effect in effects]
            told = [call(f"chaos_{effect}", f"{effect}-told", told=True) for effect in effects]
            goal = " ".join((COUNTING, *calls, *told))
            notes = [f"{effect}-{how}" for effect in effects for how in ("direct", "told")]
            return Job(job_id, goal, Expected("succeeded", (*COUNTED, *notes)))
        case "counting":
            return Job(job_id, COUNTING, Expected("succeeded", COUNTED))
        case "failing":
            calls = [call("chaos_fail", "no luck"), call("chaos_pure", "beside")]
            goal = " ".join((COUNTING, *calls))
            return Job(job_id, goal, Expected("failed", ("failed as asked: no luck",)))
        case "pure" | "idempotent" | "once":
            notes = [f"{kind}-{number}" for number in range(2)]
            calls = [call(f"chaos_{kind}", note) for note in notes]
            calls.append(call(f"chaos_{kind}", f"{kind}-told", told=True))
            return Job(job_id, " ".join(calls), Expected("succeeded", (*notes, f"{kind}-told")))
        case "asking":
            options = {"approve": ["chaos_once"]}
            return msgspec.structs.replace(job("once", job_id), options=options)
        case "asking_poor":  # answered while the last task that may be started is at work
            calls = [call("chaos_once", "asked"), _slow("chaos_pure"), call("chaos_pure", "never")]
            leave = {"approve": ["chaos_once"], "budget": {"tasks": 2}}
            return Job(job_id, " ".join(calls), EXHAUSTED, leave)
        case "budgeted":
            limit = {"budget": {"calls": COUNTING_TAKES + MAY_BREAK_OFF}}
            return msgspec.structs.replace(job("counting", job_id), options=limit)
        case "poor":
            limit = {"budget": {"calls": COUNTING_TAKES - 2}}
            return Job(job_id, COUNTING, EXHAUSTED, limit)
        case "revised" | "listed" | "talking":
            return _growing(kind, job_id)
        case "slow_told":  # long enough for a cancel to be noticed before the model's next turn
            return Job(
                job_id,
                call("chaos_pure", "slow-one", seconds=SLOW_TOLD, told=True),
                Expected("succeeded", ("slow-one",)),
            )
        case "overdue":
            late = Expected("deadline_exceeded")
            return Job(job_id, call("chaos_pure", "late", seconds=20), late, {}, 1.2)
        case "slow" | "slow_once":
            tool = "chaos_pure" if kind == "slow" else "chaos_once"
            return Job(job_id, _slow(tool), Expected("succeeded", ("slow-one",)))


def _growing(kind: Literal["revised", "listed", "talking"], job_id: str) -> Job:
    """A plan that grows while it runs, and a job of a conversation."""
    match kind:
        case "revised":
            plan = {"plan": [given("1", "Count the words of a.txt."),
                             given("2", "Count the words of c.txt."),
                             given("3", "Say which is longer.", needs=["1", "2"])]}  # fmt: skip
            return Job(job_id, COMPARING, Expected("succeeded", COMPARED), plan)
        case "listed":  # a list that the first task finds, and then a plan inside the plan
            found = given("1", kind="tool", tool="list_files", args={"pattern": "[ab].txt"})
            counted = given("2", "Count the words of {{item}}.", foreach={"$ref": "1"})
            planned = given("3", COMPARING, kind="plan", needs=["2"])
            plan = {"plan": [found, counted, planned]}
            return Job(job_id, "Look at both files.", Expected("succeeded", COMPARED[:2]), plan)
        case "talking":
            in_one = {"session": "chaos-talk"}
            return msgspec.structs.replace(job("counting", job_id), options=in_one)


def given(task: str, instruction: str | None = None, **fields: Any) -> dict[str, Any]:
    """A task of a given plan; an agent's, unless `kind` says otherwise."""
    said = {} if instruction is None else {"instruction": instruction}
    return {"id": task, "kind": "agent", **said, **fields}


def call(tool: str, note: str, *, seconds: float | None = None, told: bool = False) -> str:
    """A clause of a goal that calls a tool, by an agent if its answer is to be told."""
    arguments: dict[str, object] = {"note": note}
    if seconds is not None:
        arguments["seconds"] = seconds
    return f"Call {tool} with {json.dumps(arguments)}{' and say what it answers' * told}."


def text_of(words: int) -> str:
    return " ".join(f"word{number}" for number in range(words)) + "\n"


def lacking(expected: Expected, status: str, text: str) -> Iterable[str]:
    """What is wrong with an end; nothing where it is right."""
    if status != expected.status:
        yield f"ended {status}, not {expected.status}"
    for wanted in expected.texts:
        if wanted not in text:
            yield f"does not say {wanted!r}"


COUNTING = (
    "Count the words in a.txt and in b.txt, then say which is longer and calculate the total of"
    " a.txt and b.txt."
)
COUNTED = ("a.txt has 9 words", "b.txt has 14 words", "b.txt is longer than a.txt", "is 23 words")
COMPARING = "Count the words in a.txt and in b.txt, then say which is longer."
COMPARED = COUNTED[:3]
COUNTING_TAKES = 9
"""Model calls of that, plan and answer included."""
MAY_BREAK_OFF = 2
"""Calls that one death may break off: they are spent, as the provider may charge for them."""
EXHAUSTED = Expected("budget_exhausted")
SLOW = 1.6
"""Seconds: longer than two heartbeats of a worker in these fleets."""

SLOW_TOLD = 2.6
"""Seconds: longer than it may take until a cancel is noticed."""


def _slow(tool: str) -> str:
    return call(tool, "slow-one", seconds=SLOW)

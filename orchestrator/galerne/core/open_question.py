"""A question that waits for a person, as that person sees it, and what may be said to it."""

from typing import Any, NamedTuple

import msgspec

from galerne.core.asks import call_name
from galerne.messages.facts import Asked, Question, Verdict
from galerne.messages.ids import JobId


class OpenQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A question that waits for a person. `job` and `call` name it; `what` says what is asked.

    `approval`: may `tool` be called with `arguments` (None: may the task start)? `doubt`: has the
    effect of that call happened? `question`: what is the answer, of the JSON Schema `output` (None:
    any)? `review`: is the plan in `arguments` to be carried out? `hash` is what an approval is
    bound to. `at` and `until` are Unix seconds; after `until` nobody may answer any more (None:
    there is no hurry).
    """

    job: JobId
    call: str
    what: Question
    question: str
    tool: str | None
    arguments: dict[str, Any] | None
    output: dict[str, Any] | None
    hash: str | None
    at: float
    until: float | None


class Word(NamedTuple):
    """What a person says: `value` answers a question or is the result of what has happened."""

    verdict: Verdict
    value: Any = None
    why: str = ""
    by: str = ""


def open_question(job: JobId, ask: Asked) -> OpenQuestion:
    return OpenQuestion(
        job=job,
        call=call_name(ask.task, ask.n),
        what=ask.what,
        question=ask.question,
        tool=ask.tool,
        arguments=ask.arguments,
        output=ask.output,
        hash=ask.hash,
        at=ask.at,
        until=ask.until,
    )

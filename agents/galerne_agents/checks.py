"""Whether what a model answers is the result of its task: from data to data.

    "I cannot" ▸ complaint about its calls or its form ▸ nothing ▸ no value of the task's schema
    ▸ refused by the task's named check ▸ built on tool calls that all failed

No prompt offers "I cannot" before something has failed: in a first try of Qwen2.5-Coder 1.5B that
offer was nearly all it answered, and without it it called the tool. Models say it on their own.

The first of them that holds is the answer's fault. The last one is soft: such an answer may well
be right, that there is no such file for instance, so where no larger model is left to ask it
stands.

An answer without a fault may still be doubtful: `galerne_agents.doubts`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from galerne.core.answers import check_answer
from galerne.core.validators import passes, wanted
from galerne.errors import InvalidInputError
from galerne.messages.chat import ChatReply
from galerne.messages.plan import Succeeded, TaskSpec
from galerne.planner import one_line

GIVES_UP: Final = "I cannot"
SAY_SOMETHING: Final = "Your answer was empty. Write the result of the task now, as text."
NOT_USED: Final = "# Your last answer\nIt could not be used: {}. Do it again in the right way."
LOOK_AGAIN: Final = (
    "You say that you cannot do it. Read the task again, look at what you have and at each tool"
    " that you may call, and try. Say it once more only if there is really no way."
)
MEND_A_CALL: Final = (
    "None of your tool calls has succeeded, so your answer rests on nothing. Read the errors, call"
    " again with what is mended or call another tool, then answer; if the errors themselves are"
    ' the answer, give it once more. If there is really no way, begin with "I cannot" and say why.'
)
WORDS: Final = 300
"""Characters of a fault's reason, which stands in the log and in one line of a terminal."""

_FENCED = re.compile(r"```[A-Za-z]*[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)


class Accepted(msgspec.Struct, frozen=True, tag=True):
    """The task's value: text, or what the text says in JSON where the task has a schema.

    `unsupported` are numbers and denials in it that no result says; `say` is what the model may
    be asked before it is taken (empty: nothing), `afresh` without being shown what it has said.
    """

    value: Any
    unsupported: tuple[str, ...] = ()
    say: str = ""
    afresh: bool = False

    @property
    def result(self) -> Any:
        """What an agent gives back."""
        return Succeeded(self.value, self.unsupported) if self.unsupported else self.value


class Fault(msgspec.Struct, frozen=True, tag=True):
    """`reason` is one line for people, `say` is what the model is told.

    With `soft`, `value` stands where nobody has a better one.
    """

    reason: str
    say: str
    soft: bool = False
    value: Any = None


class Evidence(msgspec.Struct, frozen=True):
    """What an answer could be built on: how many calls failed, the results of other tasks by their
    ids, and what its calls have said where one has succeeded.

    `words` are what it was asked, whose numbers it may repeat; `doubtful` are numbers of earlier
    results that no tool has said. The job's answer is `closing`: there is one of it, so it is asked
    back about what stands in texts, too, where an executor may well have judged or rated them.
    """

    failed: int = 0
    results: Mapping[str, Any] = {}
    calls: tuple[Any, ...] = ()
    words: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    closing: bool = False

    @property
    def found(self) -> bool:
        return bool(self.results or self.calls)


def judged(task: TaskSpec, reply: ChatReply, evidence: Evidence) -> Accepted | Fault:
    """What an answer without tool calls is worth."""
    text = reply.message.content.strip()
    if text.startswith(GIVES_UP):
        return Fault(_line(f"the model gave up: {text}"), LOOK_AGAIN)
    if reply.complaint:
        return Fault(_line(reply.complaint), NOT_USED.format(reply.complaint))
    if not text:
        return Fault("the model answered with nothing", SAY_SOMETHING)
    try:
        value = text if task.output is None else typed(text, task.output)
    except InvalidInputError as error:
        again = "Answer again, with one JSON value that fits the schema and nothing else."
        return Fault(_line(str(error)), f"Your answer cannot be used: {error}. {again}")
    if task.check is not None and not _passes(task, task.check, text, value):
        has_to = f"it has to {wanted(task.check)}"
        say = f"Your answer cannot be used: {has_to}. Answer again."
        return Fault(_line(f"the answer does not pass its check: {has_to}"), say)
    if evidence.failed and not evidence.found:
        return Fault("no tool call has succeeded", MEND_A_CALL, soft=True, value=value)
    return Accepted(value)


def _passes(task: TaskSpec, check: str, text: str, value: Any) -> bool:
    """A check of a text in quotes is about the text: how its JSON is written is no matter of it.

    With a schema the answer is one JSON value already.
    """
    if check == "json" and task.output is not None:
        return True
    return passes(check, value if isinstance(value, str) else text)


def typed(text: str, schema: dict[str, Any]) -> Any:
    """The value that a text says: JSON, alone or in a code fence, or the text where a text fits.

    The model client sends nothing but the JSON of a fitting value on; steps in journals of before
    have what the model wrote.

    Raises InvalidInputError, one line that says what does not fit.
    """
    fault: InvalidInputError | None = None
    for value in (*_values(text), text):
        try:
            check_answer(value, schema)
        except InvalidInputError as error:
            fault = fault or error
        else:
            return value
    if next(_values(text), None) is None and _wants_no_text(schema):
        raise InvalidInputError("the answer is not JSON")
    raise fault or InvalidInputError("the answer does not fit")


def _values(text: str) -> Iterator[Any]:
    """The JSON values of a text: the whole of it, or what stands in its code fences."""
    for part in (text, *_FENCED.findall(text)):
        try:
            yield msgspec.json.decode(part)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue


def _wants_no_text(schema: dict[str, Any]) -> bool:
    return schema.get("type") != "string"


def _line(text: str) -> str:
    return one_line(text, WORDS)

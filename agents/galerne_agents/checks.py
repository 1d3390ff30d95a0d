"""Whether what a model answers is the result of its task: from data to data.

    "I cannot" ▸ complaint about its calls or its form ▸ nothing ▸ no value of the task's schema
    ▸ refused by the task's named check ▸ built on tool calls that all failed

No prompt offers "I cannot" before something has failed: in a first try of Qwen2.5-Coder 1.5B that
offer was nearly all it answered, and without it it called the tool. Models say it on their own.

The first of them that holds is the answer's fault. The last one is soft: such an answer may well
be right, that there is no such file for instance, so where no larger model is left to ask it
stands.

An answer without a fault may still be asked back, once: where it states numbers that no result
says, or gives one of several results as it stands. What comes then is taken, with those numbers
named beside it (`core.grounding`): a larger model costs twenty times as much, and a mark says
what is to be checked.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from galerne.core.answers import check_answer
from galerne.core.grounding import Sources, unsupported
from galerne.core.refs import parsed
from galerne.core.validators import passes, wanted
from galerne.errors import InvalidInputError
from galerne.messages.chat import ChatReply
from galerne.messages.plan import Succeeded, TaskSpec
from galerne.planner import as_text, one_line

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
DOUBT: Final = (
    "{} stands in no result of a tool, so it may be wrong. Look at the results again, work it out"
    " step by step, and give your whole answer anew."
)
REPEATS: Final = (
    "This only repeats the result of task {}. Look at everything that has been found, do your task"
    " with all of it, and answer in a sentence."
)
REPEATS_BUT_LOOKED: Final = (
    "This only repeats the result of task {}. Your last call has said: {}\nDo your task with that,"
    " and answer in a sentence."
)
ECHO: Final = "the model repeats what it was told"
ECHOED: Final = 60
"""Characters of what it was told by which that is known."""
SAID: Final = 300
"""Characters of what the last call has said."""
HOW_MANY: Final = (
    "The goal asks for a number, too, and your answer has none. Give the whole answer anew, with"
    " that number."
)
WORDS: Final = 300
"""Characters of a fault's reason, which stands in the log and in one line of a terminal."""

_HEADING = re.compile(r"\A(?:##? [^\n]*\n)+")
_ASKS_HOW_MANY = re.compile(
    r"\b(?:how (?:many|much)|combien|wie ?viele?|cu[aá]nt[oa]s?|quant[oiae])\b", re.IGNORECASE
)
_NUMBER = re.compile(
    r"[0-9]|\b(?:none|no|nothing|zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
    r"\b",
    re.IGNORECASE,
)
_FENCED = re.compile(r"```[A-Za-z]*[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)


class Accepted(msgspec.Struct, frozen=True, tag=True):
    """The task's value: text, or what the text says in JSON where the task has a schema.

    `unsupported` are numbers in it that no result says; `say` is what the model may be asked
    before it is taken (empty: nothing).
    """

    value: Any
    unsupported: tuple[str, ...] = ()
    say: str = ""

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


def weighed(value: Any, evidence: Evidence) -> Accepted:
    """An answer without a fault, beside what it was built on.

    Where there was nothing to look at, all of it is the model's own word, and nothing is said.
    """
    if not evidence.found:
        return Accepted(value)
    sources = Sources((*evidence.results.values(), *evidence.calls), evidence.words)
    numbers = unsupported(value, sources, evidence.doubtful)
    asks = numbers and (evidence.closing or sources.have_figures)
    return Accepted(value, numbers, DOUBT.format(", ".join(numbers)) if asks else "")


def not_repeated(answer: Accepted, evidence: Evidence) -> Accepted:
    """An executor's: what it was given is, as it stood, seldom what its task wants.

    Where that is all it has found, or its own calls have said the same, it may well be.
    """
    said = _opened(answer.value)
    others = len(evidence.results) - 1 + len(evidence.calls)
    if answer.say or not others or not isinstance(said, dict | list):
        return answer
    if any(_opened(one) == said for one in evidence.calls):
        return answer
    same = next((task for task, one in evidence.results.items() if _opened(one) == said), None)
    if same is None:
        return answer
    say = REPEATS.format(same)
    if evidence.calls:
        said_last = one_line(as_text(evidence.calls[-1]), SAID)
        say = REPEATS_BUT_LOOKED.format(same, said_last)
    return Accepted(answer.value, answer.unsupported, say)


def with_its_number(answer: Accepted, goal: str) -> Accepted:
    """The job's: who is asked how many names a number, or says that there is none."""
    asks = isinstance(answer.value, str) and _ASKS_HOW_MANY.search(goal)
    if answer.say or not asks or _NUMBER.search(answer.value):
        return answer
    return Accepted(answer.value, answer.unsupported, say=HOW_MANY)


def echoes(text: str, told: Iterable[str]) -> bool:
    """Whether an answer is made of what its model was told about an earlier one."""
    flat = one_line(text, WORDS)
    return any(one_line(one, ECHOED) in flat for one in (say[:ECHOED] for say in told))


def _opened(value: Any) -> Any:
    """What stands in a text as JSON, also under the heading that it had in the prompt."""
    return parsed(_HEADING.sub("", value) if isinstance(value, str) else value)


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

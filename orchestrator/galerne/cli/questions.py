"""Questions to people, in words: what is asked, how it is settled, and what was said.

Whoever settles one has to see all of what they agree to, so arguments are never shortened here.
"""

import getpass
import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from galerne.cli.text import one_line, seconds_text
from galerne.client import OpenQuestion
from galerne.core.answers import check_answer
from galerne.core.asks import call_name
from galerne.errors import InvalidInputError
from galerne.messages.facts import Asked, Decided, Question
from galerne.messages.plan import TaskSpec

MOST = 600_000
"""Characters of a question: no message is longer."""
_OWN_WORDS = "May "
"""How a question begins that says no more than its call does."""


def call_text(tool: str | None, arguments: dict[str, Any] | None) -> str:
    """`book_table({"people":4})`."""
    written = msgspec.json.encode(arguments or {}).decode()
    return one_line(f"{tool}({written})", MOST)


def name_of(ask: Asked | Decided) -> str:
    return one_line(call_name(ask.task, ask.n), 80)


def asked_text(ask: Asked) -> str:
    """`2.1 asks for leave: book_table({"people":4})`."""
    return f"{name_of(ask)} {_wants(ask.what)}: {content(ask)}"


def content(ask: Asked | OpenQuestion) -> str:
    """What exactly is asked, in one line."""
    question = one_line(ask.question, MOST)
    if ask.what == "review":
        return "\n".join((question, *_plan_lines(ask.arguments or {})))
    if ask.tool is None:
        return question
    call = call_text(ask.tool, ask.arguments)
    return call if question.startswith(_OWN_WORDS) else f"{call} ({question})"


def _plan_lines(draft: Mapping[str, Any]) -> list[str]:
    """A line for each task of a plan that is to be reviewed."""
    tasks = msgspec.convert(draft.get("tasks", ()), list[TaskSpec])
    lines = (f"{task.id} {task.kind}{_after(task)}: {_what(task)}" for task in tasks)
    return [f"    {one_line(line, MOST)}" for line in lines]


def _after(task: TaskSpec) -> str:
    each = " for each" if task.foreach is not None else ""
    return f"{each} after {', '.join(task.needs)}" if task.needs else each


def _what(task: TaskSpec) -> str:
    return task.instruction or call_text(task.tool or "", task.args)


def _wants(what: Question) -> str:
    match what:
        case "approval":
            return "asks for leave"
        case "doubt":
            return "is IN DOUBT, it may have happened or not"
        case "question":
            return "asks you"
        case "review":
            return "asks for a review"


def settle_text(job: str, call: str, what: Question) -> str:
    """The command that settles it, and what else may be said."""
    named = one_line(f"{job} {call}", 160)
    match what:
        case "approval":
            return f"galerne approve {named}  (or: deny … --why TEXT)"
        case "doubt":
            return f"galerne resolve {named} --happened  (or: --not, --result JSON)"
        case "question":
            return f"galerne answer {named} VALUE  (or: deny … --why TEXT)"
        case "review":
            return (
                f"galerne review {one_line(job, 120)}  (--approve, --edit FILE, --deny --why TEXT)"
            )


def decided_text(decided: Decided) -> str:
    """`2.1 is denied by anna: too expensive`."""
    why = f": {one_line(decided.why, 300)}" if decided.why else ""
    by = f" by {one_line(decided.by, 80)}" if decided.by else ""
    name = name_of(decided)
    match decided.verdict:
        case "answered":
            value = one_line(msgspec.json.encode(decided.value).decode(), 300)
            return f"{name} is answered{by}: {value}"
        case "happened" if decided.value is None:
            return f"{name} has happened, it is said{by}; its result is not known, and is null"
        case "happened":
            return f"{name} has happened, it is said{by}"
        case "not_happened":
            return f"{name} has not happened, it is said{by}: it is begun anew"
        case verdict:
            return f"{name} is {verdict}{by}{why}"


def listing(questions: Sequence[OpenQuestion], now: float) -> str:
    """Each with its job, age, content and command. `now` is Unix seconds."""
    return "\n\n".join(_entry(one, now) for one in questions)


def _entry(one: OpenQuestion, now: float) -> str:
    what = "IN DOUBT" if one.what == "doubt" else _wants(one.what)
    left = "" if one.until is None else f", {seconds_text(max(0.0, one.until - now))} left"
    since = seconds_text(max(0.0, now - one.at))
    return (
        f"{one_line(one.job, 64)} {one_line(one.call, 80)}  {what}, since {since}{left}\n"
        f"  {content(one)}\n"
        f"  {settle_text(one.job, one.call, one.what)}"
    )


def value_of(text: str, schema: dict[str, Any] | None) -> Any:
    """What a person typed, as the schema wants it: text where that fits, else the JSON in it.

    Raises InvalidInputError where neither fits.
    """
    try:
        check_answer(text, schema)
    except InvalidInputError as refusal:
        value = _json(text, refusal)
        check_answer(value, schema)
        return value
    return text


def _json(text: str, refusal: InvalidInputError) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise refusal from None


def me() -> str:
    """The login name of whoever runs this."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user id without a name, as in containers
        return f"uid {os.getuid()}"

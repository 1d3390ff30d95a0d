"""A person's word on a question: whether it fits, wherever it is said or taken."""

from typing import Any

from galerne.core.answers import check_answer
from galerne.core.asks import check_verdict
from galerne.core.written import given_tasks
from galerne.messages.facts import Asked, Verdict


def check_word(ask: Asked, verdict: Verdict, value: Any, approved_hash: str | None) -> None:
    """Raises InvalidInputError, one line, where it does not fit the question."""
    check_verdict(ask, verdict, approved_hash)
    if verdict != "answered":
        return
    if ask.what == "review":
        given_tasks(value)
    else:
        check_answer(value, ask.output)

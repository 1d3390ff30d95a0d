"""A question of a task, put to the caller's `on_ask`, and what it says as a fact."""

from collections.abc import Awaitable, Callable
from typing import Any

from galerne.core.answers import check_answer
from galerne.core.asks import check_verdict
from galerne.core.open_question import OpenQuestion, Word, open_question
from galerne.errors import InvalidInputError
from galerne.messages.facts import Asked, Decided, Verdict
from galerne.messages.ids import JobId

OnAsk = Callable[[OpenQuestion], Awaitable[Any]]
"""Gets a question, gives True or False; the answer to an `ask` task (None: no answer); or, where
that does not say enough, a `Word`."""


async def decided(on_ask: OnAsk, job: JobId, ask: Asked, clock: Callable[[], float]) -> Decided:
    """What was said. Raises what `on_ask` raises, InvalidInputError where it does not fit."""
    word = _word(ask, await on_ask(open_question(job, ask)))
    check_verdict(ask, word.verdict, ask.hash)
    if word.verdict == "answered":
        check_answer(word.value, ask.output)
    return Decided(
        task=ask.task,
        n=ask.n,
        round=ask.round,
        verdict=word.verdict,
        value=word.value,
        why=word.why,
        by=word.by,
        at=clock(),
    )


def _word(ask: Asked, said: Any) -> Word:
    """Raises InvalidInputError."""
    if isinstance(said, Word):
        return said
    if ask.what == "question":
        if said is None:
            return Word("denied", why="there is no answer")
        return Word("answered", said)
    if not isinstance(said, bool):
        raise InvalidInputError(
            f"on_ask gave {said!r:.80} to a question of {ask.what}: give True, False or a Word"
        )
    yes: Verdict = "happened" if ask.what == "doubt" else "approved"
    no: Verdict = "not_happened" if ask.what == "doubt" else "denied"
    return Word(yes if said else no)

"""Asking for a plan or an answer: where the request is too long, of a model with more context."""

from collections.abc import Callable

from galerne.agent import TaskContext
from galerne.core.one_line import one_line
from galerne.errors import TooLongError
from galerne.messages.chat import ChatReply, ChatRequest

_REASON = 300
"""Characters of what a model could not take."""


async def ask_longer(
    context: TaskContext, request: ChatRequest, on_text: Callable[[str], None]
) -> ChatReply:
    """As `context.ask`; each move to a model with more context is a fact of the job.

    Raises TooLongError, one line that says what to do, where no model can take it.
    """
    while True:
        try:
            return await context.ask(request, on_text)
        except TooLongError as error:
            reason = one_line(str(error), _REASON)
            if await context.move(reason) is None:
                raise TooLongError(f"{reason}; {_advice(context)}") from error


def _advice(context: TaskContext) -> str:
    advice = "`models.longer` names models with more context that plans may move to"
    if context.ready.history:
        return f"{advice}, and another --session begins without what was said in this one"
    return advice

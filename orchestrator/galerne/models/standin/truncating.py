"""A server that reads the end of a long prompt only, and says nothing: as Ollama does.

Ollama leaves out the oldest turns, but no system's, until the rest fits into its context; where
the newest alone is too long, the front of it goes. What it counts is what it has read.
"""

from collections.abc import Sequence

import msgspec

from galerne.messages.chat import ChatMessage
from galerne.models.standin.asked import Asked, prompt_tokens

CONTEXT_TOKENS = 4096
"""What Ollama gives a model on a small GPU."""
_TOKEN = 4


def truncated(asked: Asked, context: int = CONTEXT_TOKENS) -> Asked:
    """What is read of `asked` with so many tokens of context."""
    request = asked.request
    system = [turn for turn in request.messages if turn.role == "system"]
    turns = [turn for turn in request.messages if turn.role != "system"]
    while len(turns) > 1 and _size(asked, [*system, *turns]) > context:
        del turns[0]
    over = (_size(asked, [*system, *turns]) - context) * _TOKEN
    if over > 0:
        turns[0] = msgspec.structs.replace(turns[0], content=turns[0].content[over:])
    messages = (*system, *turns)
    return msgspec.structs.replace(
        asked,
        request=msgspec.structs.replace(request, messages=messages),
        prompt_tokens=_size(asked, messages),
    )


def _size(asked: Asked, messages: Sequence[ChatMessage]) -> int:
    return prompt_tokens(msgspec.structs.replace(asked.request, messages=tuple(messages)))

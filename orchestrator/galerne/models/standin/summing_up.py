"""The older part of a conversation in short: how each goal and its answer begin, newest first."""

from galerne.messages.chat import ChatRequest
from galerne.models.standin.following import EARLIER
from galerne.models.standin.prompts import parts

LONGEST = 1_500
"""Characters of all of it."""
_GOAL = 12
_ANSWER = 20
"""Words that are said of each: none is cut, so no number is."""


def summary_text(request: ChatRequest) -> str:
    """One sentence a turn, as many as there is room for."""
    told = parts(request, EARLIER)
    said: list[str] = []
    room = LONGEST
    for goal, answer in reversed(list(zip(told[::2], told[1::2], strict=False))):
        line = f"Asked: {_begin(goal.text, _GOAL)} Answered: {_begin(answer.text, _ANSWER)}"
        room -= len(line)
        if room < 0:
            break
        said.append(line)
    return "\n".join(reversed(said))


def _begin(text: str, most: int) -> str:
    words = text.split()
    return " ".join(words[:most]) + (" …" if len(words) > most else "")

"""What stands in a conversation where something of it was left out.

Each mark says what is missing and how much, so that the model can ask for it again or say that it
does not know, and takes the same few tokens however much that is.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from galerne.messages.chat import ChatMessage

SHORT = 480
"""Characters of a shortened text at least, its mark included."""
GO_ON = "Go on from there."
"""What a user says after the mark for turns, where Mistral wants a user's word."""
_FRONT = 2 / 3
_NAMES = 8


def shorten(text: str, length: int) -> str:
    """The front and the end of `text`, with a mark between, in about `length` characters.

    A text that is no longer than that, or than `SHORT`, comes back as it is.
    """
    length = max(length, SHORT)
    if len(text) <= length:
        return text
    kept = length - len(_missing(len(text)))
    front = round(kept * _FRONT)
    end = kept - front
    return f"{text[:front]}{_missing(len(text) - kept)}{text[len(text) - end :]}"


def shorten_to(text: str, tokens: int, size: Callable[[str], int]) -> str:
    """`text` shortened until `size` finds no more than `tokens` in it, or nothing more goes."""
    cut, length = text, len(text)
    while (has := size(cut)) > tokens and length > SHORT:
        length = max(SHORT, min(length - 1, length * tokens // has))
        cut = shorten(text, length)
    return cut


def left_out(turns: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """The two turns that stand for `turns`: what was done in them, and the word to go on."""
    calls = Counter(call.name for turn in turns for call in turn.tool_calls)
    named = [
        name if times == 1 else f"{name} {times} times" for name, times in calls.most_common(_NAMES)
    ]
    more = len(calls) - len(named)
    named += [f"{more} other tools"] if more else []
    called = f"; they called {', '.join(named)}" if named else ""
    text = f"[… {len(turns)} earlier turns are left out here, for want of room{called} …]"
    return ChatMessage("assistant", text), ChatMessage("user", GO_ON)


def _missing(characters: int) -> str:
    """What follows stays on its line: a cut must not make a line that begins like a heading."""
    return f"\n[… {characters:,} characters are left out here, for want of room …] "

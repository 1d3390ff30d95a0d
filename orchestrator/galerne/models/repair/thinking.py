"""What a model thinks before it answers, where a server leaves it in the text.

    <think> … </think> answer            [THINK] … [/THINK] answer

Thinking counts only at the very beginning, once or several times. It is no part of the answer: no
call in it is made, no value in it is taken, and nobody is shown it, as with the thinking that a
server names as such. Thinking that never ends is a whole answer of nothing.
"""

import re
from typing import Final

_CLOSINGS: Final = {"<think>": "</think>", "[THINK]": "[/THINK]"}
_OPENING: Final = re.compile(r"\s*+(<think>|\[THINK\])")


def without_thinking(text: str) -> str:
    """`text` from where the answer begins; the same where it begins at once."""
    at = 0
    while opening := _OPENING.match(text, at):
        closing = _CLOSINGS[opening[1]]
        end = text.find(closing, opening.end())
        if end < 0:
            return ""
        at = end + len(closing)
    return text[at:].lstrip() if at else text


class ThinkingFilter:
    """`without_thinking` for a text that comes in pieces: feed it, show what it gives back."""

    def __init__(self) -> None:
        self._held = ""
        self._closing = ""
        self._thought = False
        self._answers = False

    def feed(self, piece: str) -> str:
        """What may be shown now. Blanks at the beginning wait for the first word."""
        if self._answers:
            return piece
        self._held += piece
        while self._closing or self._held:
            if self._closing and not self._ends():
                break
            words = self._held.lstrip()
            opening = next(filter(words.startswith, _CLOSINGS), "")
            if opening:
                self._held, self._closing = words.removeprefix(opening), _CLOSINGS[opening]
                self._thought = True
            elif any(opening.startswith(words) for opening in _CLOSINGS):
                break  # it may yet become one
            else:
                self._answers = True
                return words if self._thought else self._held
        return ""

    def _ends(self) -> bool:
        """Whether the thinking ends in what is held; what it says is dropped."""
        thoughts, closing, rest = self._held.partition(self._closing)
        self._held = rest if closing else thoughts[1 - len(self._closing) :]
        self._closing = "" if closing else self._closing
        return bool(closing)

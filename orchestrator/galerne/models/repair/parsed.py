"""What is found in an answer: the calls to make, what is said of the others, and the rest.

A name in the answer is the model's; a name in `FoundCall` is one that the caller offered. The
arguments are data that JSON can carry exactly: text that is valid Unicode, whole numbers of 64
bits, finite fractions.
"""

from collections.abc import Callable, Collection
from typing import Any, Literal

import msgspec

from galerne.messages.chat import ToolCall

Syntax = Literal["v3", "v11", "v13", "tags", "json", "python"]
"""How calls were written: after Mistral's marker in the form of one of its tokenizer versions, in
tags of other families, or without any marker as JSON-like data or Python-like calls."""


class FoundCall(msgspec.Struct, frozen=True):
    """A call that is whole. `id` is the model's own, empty where it gave none."""

    name: str
    arguments: dict[str, Any]
    id: str = ""


class BrokenCall(msgspec.Struct, frozen=True):
    """A call that closes but cannot be made; `reason` continues a sentence about it."""

    name: str
    reason: str


class Parsed(msgspec.Struct, frozen=True):
    """An answer, read.

    `content` is what a person may see: the whole text where nothing was found; empty where a name
    is unknown, because the words around such a call speak of something that did not happen.
    `cut` has a name, or the empty text, for each call that ends before it is whole. `among_prose`
    says that the calls stand in fenced blocks at the end of a text that speaks: meant, but less
    surely than those of a text that is nothing else. `shown` names the tools whose calls the text
    only explains; they are part of the content.
    """

    content: str
    calls: tuple[FoundCall, ...] = ()
    cut: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    broken: tuple[BrokenCall, ...] = ()
    syntax: Syntax | None = None
    among_prose: bool = False
    shown: tuple[str, ...] = ()

    @property
    def tried(self) -> bool:
        """Whether the model tried to call at all, well or badly."""
        return bool(self.calls or self.cut or self.unknown or self.broken)

    def complaint(self, known: Collection[str]) -> str:
        """What was wrong, for the model to do better; empty where nothing was."""
        parts = [
            f"your call of {_shown(name) or 'a tool'} was cut before its end" for name in self.cut
        ]
        there = ", ".join(sorted(known)) or "none"
        parts += [
            f"there is no tool {_shown(name)}; there are: {there}"
            for name in dict.fromkeys(self.unknown)
        ]
        parts += [f"your call of {_shown(b.name) or 'a tool'} {b.reason}" for b in self.broken]
        return "; ".join(parts)


def tool_calls(parsed: Parsed, new_id: Callable[[int], str]) -> tuple[ToolCall, ...]:
    """The calls as a conversation carries them; `new_id(position)` where the model gave no id."""
    return tuple(
        ToolCall(
            call.id or new_id(position), call.name, msgspec.json.encode(call.arguments).decode()
        )
        for position, call in enumerate(parsed.calls)
    )


def _shown(name: str) -> str:
    return repr(name[:64]) if name else ""

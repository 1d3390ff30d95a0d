"""Tool names as Mistral's models take them, and back again.

A tool may have any name (`math.factorial`); the models and the hosted API take 1 to 64 letters,
digits, `-` and `_`. `sendable` makes one out of the other and depends on the name alone, so a
conversation reads the same whichever tools are on offer. `ToolNames` holds what is on offer: it
finds two tools that the model could not tell apart, and turns the names of an answer's calls
back. A name that the model invented stays as the model wrote it; whoever runs tools refuses it.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from galerne.errors import ModelError
from galerne.messages.chat import ToolCall

FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")

_FORBIDDEN = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST = 64
_DIGEST = 8
_NAMELESS = "unnamed"


def sendable(name: str) -> str:
    """`name` as it may be sent: forbidden characters become `_`, a long name ends in a digest."""
    return _known(name) if len(name) <= _LONGEST else _made_sendable(name)


def _made_sendable(name: str) -> str:
    if FUNCTION_NAME.fullmatch(name):
        return name
    plain = _FORBIDDEN.sub("_", name) or _NAMELESS
    if len(plain) <= _LONGEST:
        return plain
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
    return f"{plain[: _LONGEST - _DIGEST - 1]}_{digest}"


_known = lru_cache(maxsize=4096)(_made_sendable)


class ToolNames:
    """The names of the tools on offer in one request."""

    __slots__ = ("_own",)

    def __init__(self, names: Iterable[str]) -> None:
        """Raises ModelError for a tool without a name, one offered twice, or two sent alike."""
        self._own: dict[str, str] = {}
        for name in names:
            if not name.strip():
                raise ModelError("a tool on offer has no name; give it one")
            sent = sendable(name)
            other = self._own.get(sent)
            if other == name:
                raise ModelError(f"the tool {name[:80]!r} is on offer twice; leave one out")
            if other is not None:
                raise ModelError(
                    f"the tools {other[:80]!r} and {name[:80]!r} would both be {sent!r} to the "
                    "model; rename one"
                )
            self._own[sent] = name

    def own(self, sent: str) -> str:
        """The tool's own name for the one that the model wrote; itself where no tool has it."""
        return self._own.get(sent, sent)

    def own_calls(self, calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...]:
        """An answer's calls under the tools' own names; the same object where none differs."""
        if all(self.own(call.name) == call.name for call in calls):
            return calls
        return tuple(msgspec.structs.replace(call, name=self.own(call.name)) for call in calls)

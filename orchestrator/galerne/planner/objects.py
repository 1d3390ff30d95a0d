r"""JSON objects out of a model's text, each the moment it closes.

Text arrives in pieces of any size; every character is looked at once, so the result cannot
depend on where the pieces end and the time is linear. Around and between objects anything may
stand: prose, code fences, the brackets of an array. A document `{"tasks": […]}`, also within a
`{"plan": {…}}`, is opened and its objects are given one by one.

    prose --"{"--> object --its "}"--> prose                 an object, or a broken one
                   object --"{" where none may stand--> object       broken, and begun anew
                   object --"tasks": [--> prose                      an envelope: dropped
                   object --"plan": {--> object                      an envelope, and begun anew
                   object --64 kB or 64 levels--> skipping --its "}"--> prose    broken

What cannot be read is reported with its text; only a broken one without any colon is taken for
braces in prose. Two things that Mistral models write are mended, because their meaning is clear:
raw line breaks inside a text, and Markdown's `\_` and `\'`.
"""

import re
from enum import Enum, auto
from typing import Any, Final

import msgspec

MAX_CHARACTERS: Final = 64 * 1024
"""Of one object: far more than any task, little enough to hold."""
MAX_DEPTH: Final = 64
ENVELOPES: Final = frozenset({"tasks", "plan", "steps"})

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_JSON = re.compile(r"\\\\|\\([_'])|([\x00-\x1f])")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class JsonObject(msgspec.Struct, frozen=True):
    """A whole object, with the text that it was read from."""

    value: dict[str, Any]
    text: str


class BrokenObject(msgspec.Struct, frozen=True):
    """What began like an object and is none; `reason` is one line that a model can act on.

    `id` is its task's, where the form of the text tells it.
    """

    text: str
    reason: str
    id: str | None = None


Found = JsonObject | BrokenObject


class ObjectScanner:
    """Feed it text, then finish it; both give the objects that have become complete."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._open: _Object | _Skipped | None = None
        self._envelopes = 0
        self._discard = False
        self._previous = ""
        self._line_start = ""

    @property
    def held(self) -> int:
        """Characters kept of an object that is still open."""
        return self._open.held if isinstance(self._open, _Object) else 0

    @property
    def is_open(self) -> bool:
        """Whether the text so far ends inside an object."""
        return self._open is not None

    def feed(self, text: str) -> list[Found]:
        found: list[Found] = []
        for character in text:
            self._step(character, found)
        return found

    def finish(self) -> list[Found]:
        """The end of the text: what is still open is broken. Afterwards a new text may begin."""
        found: list[Found] = []
        if isinstance(self._open, _Object):
            _report(self._open.text, "the text ends inside this object", found)
        self._begin()
        return found

    def _step(self, character: str, found: list[Found]) -> None:
        begins_line = self._at_line_start(character)
        if self._open is None:
            self._read_prose(character)
        elif begins_line and self._open.quoted:
            self._lost_quote(found)
        elif isinstance(self._open, _Object):
            self._read_object(self._open, character, found)
        elif self._open.closes(character):
            self._open = None

    def _at_line_start(self, character: str) -> bool:
        """Whether this character completes a `{"` that stands at the start of a line."""
        if character == "\n":
            self._line_start = "\n"
        elif self._line_start and character == '\n{"'[len(self._line_start)]:
            self._line_start += character
        else:
            self._line_start = ""
        if len(self._line_start) < len('\n{"'):
            return False
        self._line_start = ""
        return True

    def _lost_quote(self, found: list[Found]) -> None:
        """A text that was never closed runs into the next line's object: that one is saved."""
        if isinstance(self._open, _Object):
            _report(self._open.text[: -len("\n{")], "a text in this object is not closed", found)
        self._open = _Object()
        self._open.read('"')
        self._discard = False

    def _read_prose(self, character: str) -> None:
        if character == "{":
            self._open = _Object()
            self._discard = self._envelopes > 0 and self._previous == ":"
        elif character == "}":
            self._envelopes = max(self._envelopes - 1, 0)
        if not character.isspace():
            self._previous = character

    def _read_object(self, opened: "_Object", character: str, found: list[Found]) -> None:
        match opened.read(character):
            case _Event.GOES_ON:
                return
            case _Event.CLOSED:
                if not self._discard or '"id"' in opened.text:
                    _complete(opened.text, found)
                self._open = None
            case _Event.ENVELOPE:
                self._open, self._previous = None, "["
                self._envelopes += 1
            case _Event.ENVELOPE_OF_ONE:
                self._open, self._discard = _Object(), False
                self._envelopes += 1
            case _Event.BEGINS_ANEW:
                _report(opened.text[:-1], "this object is not closed", found)
                self._open, self._discard = _Object(), False
            case _Event.TOO_MUCH:
                reason = f"this object is over {MAX_CHARACTERS} characters or {MAX_DEPTH} levels"
                _report(opened.text, f"{reason}: split it into smaller tasks", found)
                self._open = _Skipped(opened)


class _Event(Enum):
    GOES_ON = auto()
    CLOSED = auto()
    ENVELOPE = auto()
    ENVELOPE_OF_ONE = auto()
    BEGINS_ANEW = auto()
    TOO_MUCH = auto()


class _Object:
    """An object under way, from its `{`."""

    def __init__(self) -> None:
        self.quoted = False
        self.escaped = False
        self.stack = ["{"]
        self._characters = ["{"]
        self._previous = "{"
        self._before_string = ""
        self._string_from = 0
        self._keys: list[str] = []

    @property
    def held(self) -> int:
        return len(self._characters)

    @property
    def text(self) -> str:
        return "".join(self._characters)

    def read(self, character: str) -> _Event:
        self._characters.append(character)
        event = _Event.GOES_ON
        if self.quoted:
            self._read_string(character)
        elif not character.isspace():
            event = self._read_mark(character)
            self._previous = character
        too_much = len(self._characters) > MAX_CHARACTERS or len(self.stack) > MAX_DEPTH
        return _Event.TOO_MUCH if too_much and event is _Event.GOES_ON else event

    def _read_mark(self, character: str) -> _Event:
        match character:
            case '"':
                self.quoted = True
                self._before_string = self._previous
                self._string_from = len(self._characters)
            case "{":
                if not self._value_may_follow():
                    return _Event.BEGINS_ANEW
                if self._is_envelope():
                    return _Event.ENVELOPE_OF_ONE
                self.stack.append("{")
            case "[":
                if self._is_envelope():
                    return _Event.ENVELOPE
                self.stack.append("[")
            case "}":
                closed = self.stack.pop()
                return _Event.CLOSED if not self.stack or closed == "[" else _Event.GOES_ON
            case "]" if self.stack[-1] == "[":
                self.stack.pop()
            case _:
                pass
        return _Event.GOES_ON

    def _read_string(self, character: str) -> None:
        if self.escaped:
            self.escaped = False
        elif character == "\\":
            self.escaped = True
        elif character == '"':
            self.quoted = False
            if len(self.stack) == 1 and self._before_string in "{,":
                self._keys.append("".join(self._characters[self._string_from : -1]))

    def _value_may_follow(self) -> bool:
        return self._previous in (":" if self.stack[-1] == "{" else "[,")

    def _is_envelope(self) -> bool:
        if len(self.stack) > 1 or self._previous != ":" or not self._keys:
            return False
        return self._keys[-1] in ENVELOPES and "id" not in self._keys


class _Skipped:
    """The rest of an object that was given up: only its end is looked for."""

    def __init__(self, opened: _Object) -> None:
        self.quoted = opened.quoted
        self._escaped = opened.escaped
        self._depth = len(opened.stack)

    def closes(self, character: str) -> bool:
        if self._escaped:
            self._escaped = False
        elif self.quoted:
            self._escaped = character == "\\"
            self.quoted = character != '"'
        elif character == '"':
            self.quoted = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
        return self._depth == 0


def _complete(text: str, found: list[Found]) -> None:
    try:
        found.append(JsonObject(_decode(text), text))
    except (msgspec.DecodeError, UnicodeError):
        try:
            found.append(JsonObject(_decode(_mended(text)), text))
        except (msgspec.DecodeError, UnicodeError) as error:
            _report(text, f"this is not valid JSON: {error}", found)


def _mended(text: str) -> str:
    return _STRING.sub(lambda string: _NOT_JSON.sub(_as_json, string[0]), text)


def _as_json(fault: re.Match[str]) -> str:
    if fault[1]:
        return fault[1]
    return f"\\u{ord(fault[2]):04x}" if fault[2] else fault[0]


def _report(text: str, reason: str, found: list[Found]) -> None:
    if ":" in text:
        readable = text.strip().encode(errors="replace").decode()
        found.append(BrokenObject(readable, reason))

"""A streamed answer's text on its way to whoever watches it: what is surely no call passes at once.

    start --words--> open --marker--> held
      |              |  ^
      |              v  | no call in it
      +--> held     fence --a call in it--> held

At the start everything waits that may be a message of nothing but calls; later only what may be
the beginning of a marker or of a fence, a fence until it closes (only its head, where no tool is
on offer), and blanks, which a call would swallow. Once held, nothing passes any more: when the
stream has ended, `parse_calls` reads the whole text, and `rest` gives what of its content has not
been shown. What has passed depends on the text so far and never on how it was cut into pieces.
"""

import re
from collections.abc import Collection
from typing import Final, Literal

from galerne.models.repair.fences import calls_in_fence, fences
from galerne.models.repair.markers import BEGINNINGS, FENCE
from galerne.models.repair.parsed import Parsed

_MARKS: Final = (*BEGINNINGS, FENCE)
_MARKER: Final = re.compile("|".join(re.escape(mark) for mark in BEGINNINGS))
_MARKER_OR_FENCE: Final = re.compile("|".join(re.escape(mark) for mark in _MARKS))
_MAY_MARK: Final = re.compile(f"[{re.escape(''.join({mark[0] for mark in _MARKS}))}]")
"""What each mark begins with: most pieces of a stream have none of it."""
_CALL: Final = re.compile(r"[{\[]|[\"'`]?[^\W\d][\w./-]*+(?:\\_[\w./-]*+)*+[\"'`]?(?:[(\[]|\s*+\{)")
_MAY_BE_CALL: Final = re.compile(r"[\"'`]?(?:[^\W\d][\w./-]*+(?:\\[\w./-]*+)*+[\"'`]?\s*+)?")
_LONGEST_HEAD: Final = 300
"""More characters than the longest name has with its quotes, escapes and blanks."""
_HEAD: Final = re.compile(r"```[ \t]*+[\w+-]*+\s*+")
_CLOSING: Final = "\n" + FENCE


class LeakGuard:
    """Feed it an answer's text in pieces of any size; show what it gives back.

    `known` are the names of the tools that were offered; with none, only markers are held back,
    and the head of a fence, which belongs to the marker where one follows at once.
    """

    def __init__(self, known: Collection[str]) -> None:
        self._known = known
        self._state: Literal["start", "open", "fence", "held"] = "start" if known else "open"
        self._pieces: list[str] = []
        self._shown: list[str] = []
        self._blanks: list[str] = []
        self._undecided = ""
        self._fence: list[str] = []

    @property
    def text(self) -> str:
        """The whole text so far, for `parse_calls`."""
        return "".join(self._pieces)

    def feed(self, piece: str) -> str:
        """What may be shown now."""
        self._pieces.append(piece)
        shown: list[str] = []
        left = piece
        while left and self._state != "held":
            match self._state:
                case "start":
                    left = self._start(left)
                case "open":
                    left = self._open(left, shown)
                case "fence":
                    left = self._in_fence(left, shown)
        self._shown += shown
        return "".join(shown)

    def rest(self, parsed: Parsed) -> str:
        """What of the answer's content is still to show, once `text` was parsed.

        Empty too where the content was withdrawn, because a call of an unknown tool stands in it.
        """
        shown = "".join(self._shown)
        return parsed.content[len(shown) :] if parsed.content.startswith(shown) else ""

    def _start(self, piece: str) -> str:
        """Wait until the first word tells whether this may be a call."""
        head = self._undecided + piece
        words = head.lstrip()
        self._blanks.append(head[: len(head) - len(words)])
        self._undecided = ""
        if _CALL.match(words) and not words.startswith(BEGINNINGS):
            self._state = "held"
            return ""
        if len(words) <= _LONGEST_HEAD and _MAY_BE_CALL.fullmatch(words):
            self._undecided = words
            return ""
        self._state = "open"
        return words

    def _open(self, piece: str, shown: list[str]) -> str:
        text = self._undecided + piece
        if not _MAY_MARK.search(text):
            self._show(text, shown)
            return ""
        mark = _MARKER_OR_FENCE.search(text)
        if mark is None:
            length = _beginning_at_end(text)
            self._undecided = text[len(text) - length :]
            self._show(text[: len(text) - length], shown)
            return ""
        self._show(text[: mark.start()], shown)
        self._undecided = ""
        self._state = "fence" if mark[0] == FENCE else "held"
        return text[mark.start() :]

    def _in_fence(self, piece: str, shown: list[str]) -> str:
        """Wait until the fence closes, then let it pass unless it holds calls."""
        if not self._known:
            return self._fence_head(piece, shown)
        end_before = self._fence[-1][-len(_CLOSING) + 1 :] if self._fence else ""
        if _CLOSING not in end_before + piece:
            # Only the end is looked at again, so it must be long enough to hold a split mark.
            self._fence.append(end_before + piece if self._fence else piece)
            if end_before:
                self._fence[-2] = self._fence[-2][: -len(end_before)]
            return ""
        text = "".join(self._fence) + piece
        self._fence = []
        fence = next(fences(text))
        if (
            _MARKER.search(text, 0, fence.end)
            or not _closed_by_line(text, fence.end)
            or (self._known and calls_in_fence(text, fence, self._known))
        ):
            self._state = "held"
        else:
            self._state = "open"
            self._show(text[: fence.end], shown)
        return text[fence.end :]

    def _fence_head(self, piece: str, shown: list[str]) -> str:
        """Wait until what stands in the fence begins, then let it pass unless it is a marker."""
        text = self._undecided + piece
        self._undecided = ""
        head = _HEAD.match(text)
        end = head.end() if head else len(FENCE)
        begun = text[end:]
        if len(text) <= _LONGEST_HEAD and any(mark.startswith(begun) for mark in BEGINNINGS):
            self._undecided = text
            return ""
        self._state = "held" if begun.startswith(BEGINNINGS) else "open"
        if self._state == "open":
            self._show(text[:end], shown)
        return begun

    def _show(self, text: str, shown: list[str]) -> None:
        """Show `text` up to its last word; the blanks after it wait for the next."""
        words = text.rstrip()
        if words:
            shown += [*self._blanks, words]
            self._blanks = []
        self._blanks.append(text[len(words) :])


def _beginning_at_end(text: str) -> int:
    """The length of the longest beginning of a mark at the end of `text`."""
    longest = min(len(text), max(map(len, _MARKS)) - 1)
    ends = (text[len(text) - length :] for length in range(longest, 0, -1))
    return next((len(end) for end in ends if any(mark.startswith(end) for mark in _MARKS)), 0)


def _closed_by_line(text: str, end: int) -> bool:
    return text.endswith(_CLOSING, 0, end)

"""Fits a conversation into a model's context: a pure function of the conversation and the room.

    system? task        kept; only results of other tasks that stand in the task are shortened
    [turns left out]    the oldest rounds, with a mark that says what they did
    round … round       an assistant's turn with the results or the words that follow it; results
                        are shortened before any round goes, the longest first
    newest round        kept; its results are shortened last, and get a quarter of the room at least

A back end's prefix cache serves a prompt as far as it begins like the one before. So what is cut
must not change with each turn: the conversation is gone through as it grew, round by round, and
where it first went over the room it is cut down to three quarters of it and stays so until it is
full again. The same history therefore gets the same cuts each time, and a longer one begins with
them. A conversation that fits is never touched.
"""

from collections.abc import Sequence

import msgspec

from galerne.errors import TooLongError
from galerne.messages.chat import ChatMessage, ToolSchema
from galerne.models.tokens.counting import Counter
from galerne.models.tokens.marks import SHORT, left_out, shorten_to

_FULL = 0.75
"""How much of the room a cut leaves full."""
_NEWEST = 0.25
"""How much of the room the results of the newest round may have, whatever is older."""
_TASK = 0.5
"""How much of the room a task with tools has: its conversation will grow."""
_EDGES = 8
"""Tokens by which a text inside another may differ from the text alone."""


class Fitted(msgspec.Struct, frozen=True):
    """A conversation that fits, or nearly. `tokens` is what it has at the most."""

    messages: tuple[ChatMessage, ...]
    tokens: int
    shortened: int = 0
    """Results that are not whole."""
    left_out: int = 0
    """Turns that are not there."""

    @property
    def is_cut(self) -> bool:
        return bool(self.shortened or self.left_out)


class _Round:
    """An assistant's turn and what followed it, as much of it as is still shown."""

    __slots__ = ("shown", "sizes", "whole")

    def __init__(self, turns: Sequence[ChatMessage], counter: Counter) -> None:
        self.whole = tuple(turns)
        self.shown = list(turns)
        self.sizes = [counter.message(turn) for turn in turns]

    @property
    def size(self) -> int:
        return sum(self.sizes)

    @property
    def shortened(self) -> int:
        """How many results are not whole."""
        return sum(one is not other for one, other in zip(self.shown, self.whole, strict=True))

    def results(self) -> list[int]:
        """The places of results that may be shortened."""
        return [
            place
            for place, turn in enumerate(self.shown)
            if turn.role == "tool" and len(turn.content) > SHORT
        ]

    def shorten(self, place: int, tokens: int, counter: Counter) -> None:
        turn = self.whole[place]

        def size(text: str) -> int:
            return counter.message(msgspec.structs.replace(turn, content=text))

        content = shorten_to(turn.content, tokens, size)
        self.shown[place] = msgspec.structs.replace(turn, content=content)
        self.sizes[place] = counter.message(self.shown[place])


def fit(
    messages: Sequence[ChatMessage],
    tools: Sequence[ToolSchema],
    room: int,
    counter: Counter,
    excerpts: Sequence[str] = (),
    most: int | None = None,
) -> Fitted:
    """The conversation, cut to `room` tokens where it has more.

    `messages` have passed `conversation.obey_rules`, and so does what comes out. `excerpts` are
    texts that stand in the task word for word and may be shortened like results. Where the task,
    its tools and the newest round are too much by themselves, they come out as short as they get,
    so that the server may decide; TooLongError is raised where they have surely more than `most`
    (None: than `room`).
    """
    most = room if most is None else most
    size = counter.prompt(messages, tools)
    if size <= room:
        return Fitted(tuple(messages), size)
    grown = _Grown(messages, tools, room, counter, excerpts)
    fitted = grown.fitted()
    if fitted.tokens > room and (least := counter.least(fitted.messages, tools)) > most:
        raise TooLongError(
            f"the task, its tools and the newest turn have {least:,} tokens or more,"
            f" {least - most:,} over the {most:,} that the model's context leaves beside the"
            " answer; name fewer tools or inputs, lower `max_tokens` of this role, or take a model"
            " with a longer context (`galerne models`)"
        )
    return fitted


class _Grown:
    """A conversation as it grew, and what was cut of it on the way."""

    def __init__(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[ToolSchema],
        room: int,
        counter: Counter,
        excerpts: Sequence[str],
    ) -> None:
        self._counter = counter
        self._room = room
        self._has_tools = bool(tools)
        self._tools = counter.tools(tools)
        self._excerpts = [text for text in dict.fromkeys(excerpts) if len(text) > SHORT]
        self._cut_excerpts = 0
        start = next((n for n, turn in enumerate(messages) if turn.role == "assistant"), None)
        self._head: list[ChatMessage] = list(messages[:start])
        self._head_size = sum(map(counter.message, self._head))
        self._rounds = [_Round(turns, counter) for turns in _rounds(messages[len(self._head) :])]
        self._dropped = 0

    def fitted(self) -> Fitted:
        for count in range(len(self._rounds) + 1):
            if self._size(count) > self._room:
                self._cut(count)
        shown = self._rounds[self._dropped :]
        messages = [*self._head, *self._mark(), *(turn for one in shown for turn in one.shown)]
        cut = sum(one.shortened for one in shown)
        return Fitted(
            tuple(messages),
            self._size(len(self._rounds)),
            shortened=cut + self._cut_excerpts,
            left_out=sum(len(one.whole) for one in self._rounds[: self._dropped]),
        )

    def _size(self, count: int) -> int:
        """Of the prompt when the first `count` rounds were there."""
        mark = sum(map(self._counter.message, self._mark()))
        rounds = sum(one.size for one in self._rounds[self._dropped : count])
        return self._tools + self._head_size + mark + rounds

    def _mark(self) -> tuple[ChatMessage, ...]:
        if not self._dropped:
            return ()
        return left_out([turn for one in self._rounds[: self._dropped] for turn in one.whole])

    def _cut(self, count: int) -> None:
        """Make room when `count` rounds were there: the task's results, then older ones, …"""
        self._cut_task(self._room if not (count or self._has_tools) else int(self._room * _TASK))
        goal = int(self._room * _FULL)
        if count == 0 or self._size(count) <= goal:
            return
        newest = self._rounds[count - 1]
        wanted = min(newest.size, int(self._room * _NEWEST))
        self._cut_older(count, goal, wanted)
        while self._dropped < count - 1 and self._beside(count, wanted) > goal:
            self._dropped += 1
        self._share(newest, goal - (self._size(count) - newest.size))
        while self._dropped < count - 1 and self._size(count) > self._room:
            self._dropped += 1  # what is no result of the newest round is large

    def _beside(self, count: int, wanted: int) -> int:
        """The size, were the newest round cut to `wanted`."""
        return self._size(count) - self._rounds[count - 1].size + wanted

    def _cut_older(self, count: int, goal: int, wanted: int) -> None:
        """Shorten results of older rounds, the longest first, of equal ones the oldest."""
        places = [
            (one, place)
            for one in self._rounds[self._dropped : count - 1]
            for place in one.results()
        ]
        for one, place in sorted(places, key=lambda found: -found[0].sizes[found[1]]):
            if self._beside(count, wanted) <= goal:
                return
            one.shorten(place, 0, self._counter)

    def _share(self, newest: _Round, tokens: int) -> None:
        """Cut the newest round's results so that the round has `tokens`: the long ones alike."""
        places = sorted(newest.results(), key=lambda place: newest.sizes[place])
        left = tokens - (newest.size - sum(newest.sizes[place] for place in places))
        for number, place in enumerate(places):
            share = max(left, 0) // (len(places) - number)
            if newest.sizes[place] > share:
                newest.shorten(place, share, self._counter)
            left -= newest.sizes[place]

    def _cut_task(self, goal: int) -> None:
        """Shorten results of other tasks until the task, with its tools, has `goal` tokens."""
        over = self._tools + self._head_size - goal
        if over <= 0 or self._cut_excerpts:
            return
        sizes = {text: self._counter.text(text) for text in self._excerpts}
        left = sum(sizes.values()) - over - _EDGES * len(sizes)
        short: dict[str, str] = {}
        for number, text in enumerate(sorted(sizes, key=lambda one: sizes[one])):
            share = max(left, 0) // (len(sizes) - number)
            short[text] = shorten_to(text, share, self._counter.text)
            left -= self._counter.text(short[text])
        for text in sorted(short, key=len, reverse=True):  # one may stand inside another
            self._head = [_with(turn, text, short[text]) for turn in self._head]
        self._cut_excerpts = sum(text != cut for text, cut in short.items())
        self._head_size = sum(map(self._counter.message, self._head))


def _with(turn: ChatMessage, text: str, short: str) -> ChatMessage:
    """`turn` with `short` in place of `text`."""
    return msgspec.structs.replace(turn, content=turn.content.replace(text, short))


def _rounds(turns: Sequence[ChatMessage]) -> list[list[ChatMessage]]:
    """Each begins with a turn of the assistant."""
    rounds: list[list[ChatMessage]] = []
    for turn in turns:
        if turn.role == "assistant":
            rounds.append([turn])
        else:
            rounds[-1].append(turn)
    return rounds

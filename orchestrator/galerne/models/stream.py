"""A streamed answer, folded into the same reply that a plain request gives.

Bytes come in as the network cuts them; `feed` gives back the text that they complete, so a plan
can be acted on while the model still speaks. Tool calls arrive in pieces and are put together by
their index. When the bytes end, `reply` gives the whole answer, or says that it was cut: a stream
is whole once it has named a finish_reason or said `[DONE]`. Nothing depends on where the bytes
are split.
"""

from galerne.messages.chat import ChatReply, ToolCall
from galerne.models.endpoint import Endpoint
from galerne.models.mapping import bad_answer, broken_off, cut_stream, stated_error
from galerne.models.reply import Said, finished, first_choice, is_missing
from galerne.models.sse import DONE, EventParser
from galerne.models.wire import (
    UNDECODABLE,
    Call,
    Completion,
    Message,
    arguments_text,
    decode_completion,
    text_of,
)

_CHUNK = "chat.completion.chunk"  # what nearly every chunk says that it is


class _CallInPieces:
    __slots__ = ("arguments", "id", "index", "name")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def add(self, piece: Call) -> None:
        """A name comes once and whole, an id may come again, arguments come in pieces."""
        if not is_missing(piece.id):
            self.id = piece.id or ""
        if piece.function is not None:
            self.name = self.name or piece.function.name or ""
            self.arguments.append(arguments_text(piece.function.arguments))


class _Calls:
    """The tool calls of one answer, in order of their index, then of their arrival."""

    __slots__ = ("_all", "_by_index")

    def __init__(self) -> None:
        self._all: list[_CallInPieces] = []
        self._by_index: dict[int, _CallInPieces] = {}

    def add(self, piece: Call) -> None:
        (self._current(piece) or self._begin(piece)).add(piece)

    def whole(self) -> list[ToolCall]:
        ordered = sorted(self._all, key=lambda call: call.index)
        return [ToolCall(call.id, call.name, "".join(call.arguments)) for call in ordered]

    def _current(self, piece: Call) -> _CallInPieces | None:
        """The call that `piece` continues; None where it begins another one."""
        names = piece.function is not None and bool(piece.function.name)
        if piece.index is not None:
            call = self._by_index.get(piece.index)
            # Older Ollama numbers every call 0: another id with a name is another call.
            other = call is not None and not is_missing(piece.id) and call.id not in {"", piece.id}
            return None if other and names else call
        if not is_missing(piece.id):
            return next((call for call in self._all if call.id == piece.id), None)
        return None if names or not self._all else self._all[-1]

    def _begin(self, piece: Call) -> _CallInPieces:
        call = _CallInPieces(len(self._all) if piece.index is None else piece.index)
        self._all.append(call)
        self._by_index[call.index] = call
        return call


class ReplyStream:
    """One streamed answer in the making."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._events = EventParser()
        self._said = Said()
        self._text: list[str] = []
        self._calls = _Calls()
        self._answered = False
        self.done = False
        """`[DONE]` was said: nothing more will come."""
        self.moved = False
        """Whether the last piece completed an event: comments only keep a connection open."""

    @property
    def whole(self) -> bool:
        """Whether the answer is complete; its usage may still come."""
        return self.done or self._said.finish is not None

    def feed(self, piece: bytes) -> str:
        """The text that `piece` completes. Raises BadAnswerError, or what the server stated."""
        payloads = self._events.feed(piece)
        self.moved = bool(payloads)
        return "".join([self._take(payload) for payload in payloads])

    def finish(self) -> str:
        """The text of an event that the end of the bytes left open.

        One that does not decode was cut and adds nothing.
        """
        texts: list[str] = []
        for payload in self._events.finish():
            if payload == DONE:
                self.done = True
                continue
            try:
                chunk = decode_completion(payload)
            except UNDECODABLE:
                continue
            texts.append(self._add(chunk, payload))
        return "".join(texts)

    def reply(self) -> ChatReply:
        """The whole answer, after `finish`. Raises TransientError where it was cut."""
        if not self.whole:
            raise cut_stream(self._endpoint)
        if not self._answered:
            raise bad_answer(self._endpoint, "ended its stream without an answer", b"")
        self._said.text = "".join(self._text)
        self._said.calls = self._calls.whole()
        return finished(self._said, self._endpoint)

    def _take(self, payload: bytes) -> str:
        if self.done:
            return ""
        if payload == DONE:
            self.done = True
            return ""
        try:
            return self._add(decode_completion(payload), payload)
        except UNDECODABLE as error:
            what = f"sent a piece that is no chat completion ({error})"
            raise bad_answer(self._endpoint, what, payload) from error

    def _add(self, chunk: Completion, payload: bytes) -> str:
        if chunk.error is not None or (chunk.object != _CHUNK and chunk.is_error):
            failed = broken_off if self._answered else stated_error
            raise failed(self._endpoint, payload)
        said = self._said
        if not (said.id and said.model):
            said.id = said.id or str(chunk.id or "")
            said.model = said.model or chunk.model or ""
        if chunk.usage is not None:
            said.usage = chunk.usage
        choice = first_choice(chunk.choices)
        if choice is None:
            return ""
        self._answered = True
        if choice.finish_reason:
            said.finish = choice.finish_reason
        delta = choice.delta or choice.message
        return self._add_delta(delta) if delta is not None else ""

    def _add_delta(self, delta: Message) -> str:
        if delta.tool_calls:
            for piece in delta.tool_calls:
                self._calls.add(piece)
        text = text_of(delta.content)
        if text:
            self._text.append(text)
        return text

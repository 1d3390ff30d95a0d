"""The client of one model: one session (`transport.py`), one request a question, no retry.

A question goes out plain or, where somebody wants the text as it comes, streamed. Its time is
limited as a whole and, once the first piece of a stream is there, between two pieces. Whoever
cancels the call, or closes the client, closes the connection: the back end sees it and stops
paying for tokens. How a question is put is the back end's dialect: the settings or the address
tell which, else the server itself, asked once when the client opens; what it refuses is put in
another way where there is one (`ways.py`). A conversation that is longer than the model's context
is cut before it goes out (`tokens/`). The answer comes out mended (`mending.py`), plain or
streamed. What goes wrong comes out as a GalerneError (`mapping.py`); whether to ask again is the
runtime's decision, because only it knows what has been journaled.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Self

import aiohttp
import anyio
import anyio.lowlevel

from galerne.errors import GalerneError, ModelError, TransientError
from galerne.logs import get_logger
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.models.catalogue import Catalogue, packaged
from galerne.models.dialects import (
    Dialect,
    Spoken,
    dialect_named,
    told_by_address,
    told_by_owners,
    told_by_server,
)
from galerne.models.endpoint import Endpoint
from galerne.models.mapping import (
    bad_answer,
    too_long,
)
from galerne.models.question import Question
from galerne.models.reply import plain_reply
from galerne.models.stream import ReplyStream
from galerne.models.time_limit import TimeLimit
from galerne.models.tokens import Window
from galerne.models.transport import MAX_ANSWER, OnHead, Transport, succeeded
from galerne.models.ways import Ways, first_ways, kept, other_ways
from galerne.models.wire import UNDECODABLE, ModelList, decode_models
from galerne.settings import RoleSettings

log = get_logger("galerne.models")

KEY_HEADER = "X-Galerne-Key"
"""The durable identity of a call, `<job>.<task>.<step>`; a gateway may journal by it."""

_TELL = 2.0  # seconds for a server to say what it is; a silent one gets the generic dialect
_NOT_EVENTS = frozenset({"application/json", "text/html"})


class ModelClient:
    """Asks one model. An async context manager; one client serves any number of calls at once."""

    def __init__(
        self,
        settings: RoleSettings,
        *,
        catalogue: Catalogue | None = None,
        today: date | None = None,
        on_head: OnHead | None = None,
    ) -> None:
        """Raises InvalidSettingsError where the endpoint, the key or the model cannot be used.

        `catalogue` None is the packaged one; by it a model that has left the hosted API by
        `today` (None: the clock's) is refused with its replacement, and its context is known.
        `on_head` is called with the head of each answer, before its body is read.
        """
        self._settings = settings
        self._endpoint = Endpoint(settings)
        self._transport = Transport(self._endpoint, settings.timeout, self._on_head)
        self._tell_head = on_head
        if self._endpoint.is_hosted:
            _check_hosted(
                settings.model, catalogue or packaged(), today or datetime.now(UTC).date()
            )
        self._told = (
            told_by_address(self._endpoint.url) if settings.backend == "auto" else settings.backend
        )
        self._dialect = dialect_named(self._told or "openai")
        self._window = Window(settings, self._endpoint, catalogue)
        self._catalogue = catalogue
        self._ways: Ways | None = None

    def __repr__(self) -> str:
        return f"ModelClient({self._endpoint})"

    async def __aenter__(self) -> Self:
        self._transport.open()
        try:
            await self._tell()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.close()

    @property
    def dialect(self) -> Dialect:
        """How this back end is asked, as far as it is known by now."""
        return self._dialect

    async def ask(
        self,
        request: ChatRequest,
        *,
        on_text: Callable[[str], None] | None = None,
        key: str | None = None,
    ) -> ChatReply:
        """The model's answer.

        With `on_text` the answer is streamed and `on_text` gets its text piece by piece, without
        the markup of calls that it may hold; the reply is the same. `key` is sent as
        `X-Galerne-Key`. Raises ModelError where the same request fails again, and a TransientError
        (UnavailableError, DeadlineError, RateLimitedError, BadAnswerError) where another try may
        help.
        """
        try:
            return await self._ask(Question(request, key), on_text)
        except UnicodeEncodeError as error:
            raise ModelError(
                f"the request holds half of a character ({error.object[error.start]!r}); decode"
                " its text with errors='replace', or leave it out"
            ) from error

    async def _ask(self, question: Question, on_text: Callable[[str], None] | None) -> ChatReply:
        if on_text is None:
            reply = question.mended(await self._ask_plain(question))
        else:
            hearing = question.hearing(on_text)
            reply = question.mended(await self._ask_streamed(question, hearing.hear))
            hearing.end(reply.message.content)
        return self._window.heard(question.prompt, question.answered(reply), self._dialect)

    async def models(self) -> list[str]:
        """The names of the models that the endpoint serves. Raises as `ask` does."""
        return [model.id for model in (await self._list()).data or ()]

    async def _tell(self) -> None:
        """Find out the back end by one question, where nothing has told it. Never fails."""
        if self._told is None:
            with anyio.move_on_after(min(_TELL, self._settings.timeout)):
                try:
                    await self._list()
                except GalerneError as error:
                    log.debug("backend_untold", endpoint=str(self._endpoint), reason=str(error))

    async def _list(self) -> ModelList:
        """The server's models; what they and the head tell of the back end is kept."""
        response = await self._transport.request("GET", self._endpoint.models_url)
        try:
            if not succeeded(response):
                raise self._refusal(response, await self._transport.refused(response))
            body = await self._transport.body(response)
        finally:
            response.close()
        try:
            listed = decode_models(body)
        except UNDECODABLE as error:
            what = f"sent no list of models ({error})"
            raise bad_answer(self._endpoint, what, body) from error
        self._learn(told_by_owners(model.owned_by for model in listed.data or ()))
        return listed

    def _learn(self, told: Spoken | None) -> None:
        if self._told is None and told is not None:
            self._told = told
            self._dialect = dialect_named(told)
            self._ways = None

    async def _ask_plain(self, question: Question) -> ChatReply:
        response = await self._accepted(question, stream=False)
        try:
            return plain_reply(await self._transport.body(response), self._endpoint)
        finally:
            response.close()

    async def _ask_streamed(self, question: Question, on_text: Callable[[str], None]) -> ChatReply:
        limit = TimeLimit(self._endpoint, self._settings)
        stream = ReplyStream(self._endpoint)
        with limit.scope:
            return await self._streamed(question, stream, on_text, limit)
        if stream.whole:  # only the end of the body is missing, and the answer is paid for
            return stream.reply()
        raise limit.exceeded()

    async def _streamed(
        self,
        question: Question,
        stream: ReplyStream,
        on_text: Callable[[str], None],
        limit: TimeLimit,
    ) -> ChatReply:
        response = await self._accepted(question, stream=True)
        try:
            if response.content_type in _NOT_EVENTS:
                reply = plain_reply(await self._transport.body(response), self._endpoint)
                on_text(reply.message.content)
                return reply
            await self._follow(response, stream, on_text, limit)
            return stream.reply()
        finally:
            response.close()

    async def _follow(
        self,
        response: aiohttp.ClientResponse,
        stream: ReplyStream,
        on_text: Callable[[str], None],
        limit: TimeLimit,
    ) -> None:
        """Feed the stream until it has said `[DONE]` or its bytes end."""
        size = 0
        while piece := await self._piece(response, stream):
            size += len(piece)
            if size > MAX_ANSWER:
                raise too_long(self._endpoint, MAX_ANSWER)
            if text := stream.feed(piece):
                on_text(text)
            if stream.moved:
                limit.heard()
            if stream.done:
                await self._transport.linger(response)
                return
            # Who is sent faster than it reads never waits, and so would never hear of its limit.
            await anyio.lowlevel.checkpoint_if_cancelled()
        if text := stream.finish():
            on_text(text)

    async def _piece(self, response: aiohttp.ClientResponse, stream: ReplyStream) -> bytes:
        """The next bytes; none at the end, or where the connection breaks after the answer."""
        try:
            return await self._transport.read(response)
        except TransientError:
            if stream.whole:
                return b""
            raise

    async def _accepted(self, question: Question, *, stream: bool) -> aiohttp.ClientResponse:
        """An accepted request, put in another way where the first one is refused."""
        first = ways = self._ways_now()
        while True:
            response = await self._post(question, ways, stream=stream)
            if succeeded(response):
                if ways is not first:
                    self._ways = kept(first, ways)
                return response
            refused = await self._transport.refused(response)
            other = other_ways(ways, self._settings, question.request, response.status, refused)
            if other is None:
                raise self._refusal(response, refused)
            log.debug("asked_otherwise", endpoint=str(self._endpoint), ways=str(other))
            ways = other

    def _ways_now(self) -> Ways:
        if self._ways is None:
            self._catalogue = self._catalogue or packaged()
            self._ways = first_ways(self._settings, self._catalogue, self._dialect)
        return self._ways

    async def _post(
        self, question: Question, ways: Ways, *, stream: bool
    ) -> aiohttp.ClientResponse:
        reserved = question.in_words(ways)
        question.prompt = await self._window.fit(
            question.request, question.tools.encoded, self._dialect, reserved
        )
        body = self._dialect.encode(question.asked(self._settings, ways, stream=stream))
        headers = {"Content-Type": "application/json"}
        if question.key is not None:
            headers[KEY_HEADER] = question.key
        if stream and not self._dialect.reuses_after_stream:
            headers["Connection"] = "close"
        url = self._endpoint.chat_url
        return await self._transport.request("POST", url, body, headers, limited=not stream)

    def _on_head(self, status: int, headers: Mapping[str, str]) -> None:
        if self._told is None:
            self._learn(told_by_server(headers))
        if self._tell_head is not None:
            self._tell_head(status, headers)

    def _refusal(self, response: aiohttp.ClientResponse, body: bytes) -> GalerneError:
        return self._dialect.refusal(
            self._endpoint, response.status, response.headers, body, time.time()
        )


def _check_hosted(model: str, catalogue: Catalogue, today: date) -> None:
    """Warns of a model that is about to leave. Raises InvalidSettingsError for one that has."""
    warning = catalogue.check_name(model, "hosted", today)
    if warning is not None:
        log.warning("model_leaves", model=model, advice=warning)

"""The clients that are compared, behind one contract: the same question, the same answer read.

Each is written as its users would write it who care for speed: one session for all questions,
time limits, Structs that hold only what is read, and a stream parsed where its bytes come. Each
reads the same of an answer: text, calls, why it ended, tokens, id and model.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar, Self

import aiohttp
import msgspec
from bench.model_question import MAX_TOKENS, MODEL, body_of

from galerne.messages.chat import ChatReply, ChatRequest
from galerne.models import ModelClient
from galerne.settings import RoleSettings

KEY = "a-key-of-the-benchmark"
TIMEOUT = 120.0
IDLE = 30.0


class Said(msgspec.Struct, frozen=True):
    """What every client must have read of an answer; calls are id, name and arguments."""

    text: str
    calls: tuple[tuple[str, str, str], ...]
    finish: str
    prompt_tokens: int
    completion_tokens: int
    id: str
    model: str


class Client(ABC):
    """One client at one address, from `async with` to its end."""

    name: ClassVar[str]
    package: ClassVar[str]
    """What must be installed for it."""

    @abstractmethod
    def __init__(self, url: str, request: ChatRequest) -> None:
        """`url` is a base URL that ends in `/v1`; `request` is what will be asked."""

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *_: object) -> None: ...

    @abstractmethod
    async def ask(self, *, stream: bool) -> Said:
        """Ask the question."""


class Galerne(Client):
    """Galerne's own client."""

    name = "Galerne"
    package = "galerne"

    def __init__(self, url: str, request: ChatRequest) -> None:
        self._request = request
        self._client = ModelClient(
            RoleSettings(
                endpoint=url,
                model=MODEL,
                backend="mistral",
                api_key=KEY,
                timeout=TIMEOUT,
                idle_timeout=IDLE,
                max_tokens=MAX_TOKENS,
            )
        )
        self._texts: list[str] = []

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.__aexit__()

    async def ask(self, *, stream: bool) -> Said:
        self._texts.clear()
        on_text = self._texts.append if stream else None
        return _of_reply(await self._client.ask(self._request, on_text=on_text))


def _of_reply(reply: ChatReply) -> Said:
    return Said(
        reply.message.content,
        tuple((call.id, call.name, call.arguments) for call in reply.message.tool_calls),
        reply.finish,
        reply.usage.prompt_tokens,
        reply.usage.completion_tokens,
        reply.id,
        reply.model,
    )


# What somebody writes who reads these fields with msgspec and nothing else.


class _Function(msgspec.Struct):
    name: str = ""
    arguments: str = ""


class _Call(msgspec.Struct):
    function: _Function
    id: str = ""
    index: int = 0


class _Message(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(msgspec.Struct):
    id: str = ""
    model: str = ""
    choices: list[_Choice] = []
    usage: _Usage | None = None


_decode = msgspec.json.Decoder(_Completion).decode
_encode = msgspec.json.Encoder().encode


def _of_completion(answer: _Completion) -> Said:
    choice = answer.choices[0]
    message = choice.message
    assert message is not None
    usage = answer.usage or _Usage()
    return Said(
        message.content or "",
        tuple((c.id, c.function.name, c.function.arguments) for c in message.tool_calls or ()),
        choice.finish_reason or "",
        usage.prompt_tokens,
        usage.completion_tokens,
        answer.id,
        answer.model,
    )


class _Stream:
    """A stream, read where its bytes come."""

    def __init__(self) -> None:
        self._rest = b""
        self._texts: list[str] = []
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self._finish = self._id = self._model = ""
        self._usage = _Usage()

    def feed(self, piece: bytes) -> None:
        *events, self._rest = (self._rest + piece).split(b"\n\n")
        for event in events:
            payload = event[6:]
            if payload != b"[DONE]":
                self._add(_decode(payload))

    def _add(self, chunk: _Completion) -> None:
        self._id, self._model = chunk.id, chunk.model
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices:
            self._finish = choice.finish_reason or self._finish
            delta = choice.delta
            if delta is None:
                continue
            if delta.content:
                self._texts.append(delta.content)
            for call in delta.tool_calls or ():
                held = self._calls.setdefault(call.index, (call.id, call.function.name, []))
                held[2].append(call.function.arguments)

    def said(self) -> Said:
        return Said(
            "".join(self._texts),
            tuple((one, name, "".join(parts)) for one, name, parts in self._calls.values()),
            self._finish,
            self._usage.prompt_tokens,
            self._usage.completion_tokens,
            self._id,
            self._model,
        )


class Plain(Client):
    """aiohttp and msgspec and as little as possible between them: the floor."""

    name = "aiohttp + msgspec"
    package = "aiohttp"

    def __init__(self, url: str, request: ChatRequest) -> None:
        self._url = f"{url}/chat/completions"
        self._body = body_of(request)
        self._opened: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._opened = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=TIMEOUT, sock_read=IDLE),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._opened is not None
        await self._opened.close()

    async def ask(self, *, stream: bool) -> Said:
        assert self._opened is not None
        data = _encode({**self._body, "stream": True} if stream else self._body)
        async with self._opened.post(self._url, data=data) as response:
            response.raise_for_status()
            if not stream:
                return _of_completion(_decode(await response.read()))
            made = _Stream()
            async for piece in response.content.iter_any():
                made.feed(piece)
            return made.said()


class Httpx(Client):
    """httpx, with the same parsing as the floor."""

    name = "httpx + msgspec"
    package = "httpx"

    def __init__(self, url: str, request: ChatRequest) -> None:
        self._url = f"{url}/chat/completions"
        self._body = body_of(request)
        library: Any = import_module("httpx")
        self._client: Any = library.AsyncClient(
            headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
            timeout=library.Timeout(TIMEOUT, read=IDLE),
            limits=library.Limits(max_connections=None, max_keepalive_connections=None),
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def ask(self, *, stream: bool) -> Said:
        if not stream:
            response = await self._client.post(self._url, content=_encode(self._body))
            response.raise_for_status()
            return _of_completion(_decode(response.content))
        made = _Stream()
        data = _encode({**self._body, "stream": True})
        async with self._client.stream("POST", self._url, content=data) as response:
            response.raise_for_status()
            async for piece in response.aiter_raw():
                made.feed(piece)
        return made.said()


class OpenAI(Client):
    """The openai SDK, as its documentation uses it."""

    name = "openai SDK"
    package = "openai"

    def __init__(self, url: str, request: ChatRequest) -> None:
        self._body = body_of(request)
        library: Any = import_module("openai")
        self._client: Any = library.AsyncOpenAI(
            api_key=KEY, base_url=url, timeout=TIMEOUT, max_retries=0
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def ask(self, *, stream: bool) -> Said:
        create = self._client.chat.completions.create
        if stream:
            return await _streamed(await create(**self._body, stream=True))
        answer = await create(**self._body)
        choice = answer.choices[0]
        return Said(
            choice.message.content or "",
            tuple(
                (c.id, c.function.name, c.function.arguments)
                for c in choice.message.tool_calls or ()
            ),
            choice.finish_reason,
            answer.usage.prompt_tokens,
            answer.usage.completion_tokens,
            answer.id,
            answer.model,
        )


async def _streamed(chunks: Any) -> Said:
    texts: list[str] = []
    finish, usage, last = "", None, None
    async for chunk in chunks:
        last, usage = chunk, chunk.usage or usage
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            if choice.delta.content:
                texts.append(choice.delta.content)
    prompt, completion = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return Said("".join(texts), (), finish, prompt, completion, last.id, last.model)


CLIENTS: tuple[type[Client], ...] = (Plain, Galerne, Httpx, OpenAI)
"""The floor comes first: every ratio is to it."""


def installed() -> tuple[Sequence[type[Client]], Sequence[str]]:
    """The clients that can be measured here, and the packages that are missing for the rest."""
    there = [client for client in CLIENTS if find_spec(client.package) is not None]
    return there, [client.package for client in CLIENTS if client not in there]

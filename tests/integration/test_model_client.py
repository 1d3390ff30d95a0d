"""The client against a real HTTP server of the test's own, which plays every kind of back end."""

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest
from aiohttp import web

from galerne.errors import (
    BadAnswerError,
    DeadlineError,
    GalerneError,
    InvalidSettingsError,
    ModelError,
    PermanentError,
    RateLimitedError,
    TransientError,
    UnavailableError,
)
from galerne.messages.chat import ChatMessage, ChatRequest, TokenUsage, ToolCall, ToolSchema
from galerne.models import KEY_HEADER, ModelClient
from galerne.planner import PlanReader
from galerne.settings import RoleSettings

pytestmark = pytest.mark.anyio

KEY = "sk-never-shown"
REQUEST = ChatRequest((ChatMessage("user", "Hi"),))
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def ignore(_: str) -> None:
    """A listener for tests that look at the reply only."""


class Backend:
    """A server on a free port whose answer is one handler; it keeps what it saw."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.connections: set[Any] = set()
        self.of_each: dict[str, Any] = {}
        """What the list of models says of each, besides its name."""
        self.listings = 0
        self.url = ""
        self.asked = anyio.Event()
        self.gone = anyio.Event()
        """Set once a handler has seen its client's connection close."""

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(msgspec.json.decode(await request.read()))
        self.headers.append(request.headers.copy())
        assert request.transport is not None
        self.asked.set()
        self.connections.add(request.transport.get_extra_info("peername"))
        try:
            return await self.handler(request)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise

    async def models(self, _: web.Request) -> web.Response:
        self.listings += 1
        names = ("mistral-7b", "nemo")
        return web.json_response({"data": [{"id": name, **self.of_each} for name in names]})


@asynccontextmanager
async def serving(handler: Handler) -> AsyncGenerator[Backend]:
    backend = Backend(handler)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", backend.chat)
    app.router.add_get("/v1/models", backend.models)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        backend.url = f"http://127.0.0.1:{port}"
        yield backend
    finally:
        await runner.cleanup()


def client_of(url: str, **settings: Any) -> ModelClient:
    return ModelClient(
        RoleSettings(endpoint=url, model="mistral-7b", api_key=KEY, max_tokens=64, **settings)
    )


def answering(body: Any = None, status: int = 200, **headers: str) -> Handler:
    """A handler with one fixed answer; a body that is no text or bytes goes out as JSON."""
    data = body if isinstance(body, str | bytes) else msgspec.json.encode(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def handle(request: web.Request) -> web.Response:
        return web.Response(
            body=data, status=status, headers={"Content-Type": "application/json", **named}
        )

    return handle


def completion(finish: str = "stop", **message: Any) -> dict[str, Any]:
    return {
        "id": "r1",
        "model": "mistral-7b",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2},
    }


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + msgspec.json.encode({"id": "r1", "choices": [choice]}) + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}\n\n'


async def events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


def streaming(*pieces: bytes) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = await events(request)
        for piece in pieces:
            await response.write(piece)
        await response.write_eof()
        return response

    return handle


def said_of(error: BaseException) -> str:
    """All that a log would show of an error and of what it came from."""
    texts: list[str] = []
    current: BaseException | None = error
    while current is not None:
        texts += [str(current), repr(current)]
        current = current.__cause__
    return "\n".join(texts)


# plain


async def test_a_plain_answer() -> None:
    async with (
        serving(answering(completion(content="Hello"))) as backend,
        client_of(backend.url) as client,
    ):
        reply = await client.ask(REQUEST, key="job.task.1")
    assert reply.message == ChatMessage("assistant", "Hello")
    assert (reply.model, reply.finish, reply.id) == ("mistral-7b", "stop", "r1")
    assert reply.usage == TokenUsage(5, 2)
    assert backend.bodies == [
        {
            "model": "mistral-7b",
            "messages": [{"role": "user", "content": "Hi"}],
            "max_tokens": 64,
            "temperature": 0.0,
        }
    ]
    headers = backend.headers[0]
    assert headers[KEY_HEADER] == "job.task.1"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["User-Agent"].startswith("galerne/0.")
    assert headers["Content-Type"] == "application/json"


async def test_without_a_key_no_header_is_sent() -> None:
    async with serving(answering(completion(content="Hello"))) as backend:
        settings = RoleSettings(endpoint=backend.url)
        async with ModelClient(settings) as client:
            await client.ask(REQUEST)
    assert KEY_HEADER not in backend.headers[0]
    assert "Authorization" not in backend.headers[0]


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_an_address_in_every_form(suffix: str) -> None:
    async with (
        serving(answering(completion(content="Hello"))) as backend,
        client_of(backend.url + suffix) as client,
    ):
        assert (await client.ask(REQUEST)).message.content == "Hello"
        assert await client.models() == ["mistral-7b", "nemo"]


async def test_a_turn_with_tools_keeps_mistrals_rules() -> None:
    calls = [{"id": "call_1", "function": {"name": "count", "arguments": {"path": "a"}}}]
    first = completion("tool_calls", content=None, tool_calls=calls)
    tool = ToolSchema("count", "Counts words.", {"type": "object", "properties": {}})
    async with serving(answering(first)) as backend, client_of(backend.url) as client:
        reply = await client.ask(ChatRequest(REQUEST.messages, tools=(tool,)))
        assert reply.message.tool_calls == (ToolCall("call_1", "count", '{"path":"a"}'),)
        result = ChatMessage("tool", "3", tool_call_id="call_1")
        await client.ask(ChatRequest((*REQUEST.messages, reply.message, result), tools=(tool,)))
    _, call, answer = backend.bodies[1]["messages"]
    assert len(call["tool_calls"][0]["id"]) == 9
    assert answer["tool_call_id"] == call["tool_calls"][0]["id"]


async def test_a_broken_rule_is_found_before_anything_is_sent() -> None:
    async with serving(answering(completion())) as backend, client_of(backend.url) as client:
        with pytest.raises(ModelError, match="ends with an assistant"):
            await client.ask(ChatRequest((*REQUEST.messages, ChatMessage("assistant", "x"))))
    assert backend.bodies == []


async def test_tools_keep_their_own_names() -> None:
    calls = [{"id": "c", "function": {"name": "math_factorial", "arguments": {"n": 3}}}]
    handler = answering(completion("tool_calls", content=None, tool_calls=calls))
    tool = ToolSchema("math.factorial", "n!", {"type": "object", "properties": {}})
    async with serving(handler) as backend, client_of(backend.url) as client:
        reply = await client.ask(ChatRequest(REQUEST.messages, tools=(tool,)))
    assert backend.bodies[0]["tools"][0]["function"]["name"] == "math_factorial"
    assert [call.name for call in reply.message.tool_calls] == ["math.factorial"]


async def test_tools_that_look_alike_are_found_before_anything_is_sent() -> None:
    tools = tuple(ToolSchema(name, "", {}) for name in ("math.factorial", "math_factorial"))
    async with serving(answering(completion())) as backend, client_of(backend.url) as client:
        with pytest.raises(ModelError, match="would both be 'math_factorial'"):
            await client.ask(ChatRequest(REQUEST.messages, tools=tools))
    assert backend.bodies == []


# which back end it is


@pytest.mark.parametrize(
    ("owner", "spoken"),
    [("vllm", "vllm"), ("llamacpp", "llamacpp"), ("library", "ollama"), ("me", "openai")],
)
async def test_the_server_tells_what_it_is_when_the_client_opens(owner: str, spoken: str) -> None:
    async with serving(answering(completion(content="Hello"))) as backend:
        backend.of_each = {"owned_by": owner}
        async with client_of(backend.url) as client:
            assert client.dialect.name == spoken
            await client.ask(REQUEST)
            await client.ask(REQUEST)
    assert backend.listings == 1


async def test_a_back_end_that_is_set_is_not_asked() -> None:
    handler = streaming(chunk(content="x", finish="stop"), DONE)
    async with serving(handler) as backend:
        backend.of_each = {"owned_by": "vllm"}
        async with client_of(backend.url, backend="mistral") as client:
            await client.ask(msgspec.structs.replace(REQUEST, seed=7), on_text=ignore)
            await client.models()
            assert client.dialect.name == "mistral"
    assert backend.listings == 1
    assert backend.bodies[0]["random_seed"] == 7
    assert not {"seed", "stream_options"} & set(backend.bodies[0])


async def test_an_answers_head_tells_it_too() -> None:
    handler = answering({"error": {"message": "Loading model"}}, 503, Server="llama.cpp")
    async with serving(handler) as backend, client_of(backend.url) as client:
        known: list[str] = [client.dialect.name]
        with pytest.raises(TransientError, match="Loading model"):
            await client.ask(REQUEST)
        known.append(client.dialect.name)
    assert known == ["openai", "llamacpp"]


async def test_a_server_that_does_not_tell_fails_nothing() -> None:
    async with (
        serving(answering(completion(content="Hello"))) as backend,
        client_of(f"{backend.url}/elsewhere") as client,
    ):
        assert client.dialect.name == "openai"


async def test_a_server_that_is_silent_when_the_client_opens_is_not_waited_for() -> None:
    app = web.Application()
    app.router.add_get("/v1/models", silence)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        with anyio.fail_after(10):
            async with client_of(url, timeout=0.1) as client:
                assert client.dialect.name == "openai"
    finally:
        await runner.cleanup()


async def test_a_client_whose_opening_is_cancelled_leaves_nothing_open() -> None:
    entered = anyio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        entered.set()
        return await silence(request)

    app = web.Application()
    app.router.add_get("/v1/models", silent)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        client = client_of(f"http://127.0.0.1:{runner.addresses[0][1]}")
        async with anyio.create_task_group() as tasks:

            async def use() -> None:
                async with client:
                    pytest.fail("it opened although the server says nothing")

            tasks.start_soon(use)
            await entered.wait()
            tasks.cancel_scope.cancel()
        with pytest.raises(PermanentError, match="not open"):
            await client.ask(REQUEST)
    finally:
        await runner.cleanup()


# streamed


async def test_a_streamed_answer() -> None:
    handler = streaming(
        b": waiting\n\n" + chunk(role="assistant", content=""),
        chunk(content="Hel")[:20],
        chunk(content="Hel")[20:] + chunk(content="lo"),
        chunk(finish="stop") + USAGE,
        DONE,
    )
    texts: list[str] = []
    async with serving(handler) as backend, client_of(backend.url) as client:
        reply = await client.ask(REQUEST, on_text=texts.append)
    assert "".join(texts) == reply.message.content == "Hello"
    assert reply.usage == TokenUsage(5, 2)
    assert backend.bodies[0]["stream"] is True
    assert backend.bodies[0]["stream_options"] == {"include_usage": True}


async def test_text_arrives_while_the_model_still_speaks() -> None:
    heard = anyio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = await events(request)
        await response.write(chunk(content="first"))
        await heard.wait()
        await response.write(chunk(content=" last", finish="stop") + DONE)
        return response

    async with serving(handle) as backend, client_of(backend.url) as client:
        reply = await client.ask(REQUEST, on_text=lambda _: heard.set())
    assert reply.message.content == "first last"


async def test_streamed_tool_calls() -> None:
    piece = {"index": 0, "id": "call_1", "function": {"name": "count", "arguments": '{"a"'}}
    rest = {"index": 0, "function": {"arguments": ": 1}"}}
    handler = streaming(chunk(tool_calls=[piece]), chunk(tool_calls=[rest], finish="stop"), DONE)
    async with serving(handler) as backend, client_of(backend.url) as client:
        reply = await client.ask(REQUEST, on_text=pytest.fail)
    assert reply.message.tool_calls == (ToolCall("call_1", "count", '{"a": 1}'),)
    assert reply.finish == "tool_calls"


async def test_connections_are_used_again() -> None:
    heard: list[anyio.Event] = []

    async def late_end(request: web.Request) -> web.StreamResponse:
        """The end of the body comes after the client has read `[DONE]`."""
        heard.append(anyio.Event())
        response = await events(request)
        await response.write(chunk(content="x", finish="stop") + DONE)
        await heard[-1].wait()
        await response.write_eof()
        return response

    async with serving(late_end) as backend, client_of(backend.url) as client:
        for _ in range(3):
            await client.ask(REQUEST, on_text=lambda _: heard[-1].set())
        backend.handler = answering(completion(content="x"))
        for _ in range(2):
            await client.ask(REQUEST)
    assert len(backend.bodies) == 5
    assert len(backend.connections) == 1


async def test_stream_options_are_dropped_where_they_are_refused() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if "stream_options" in backend.bodies[-1]:
            field = {"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}
            return web.json_response({"detail": [field]}, status=422)
        return await streaming(chunk(content="x", finish="stop"), DONE)(request)

    async with serving(handle) as backend, client_of(backend.url) as client:
        for _ in range(2):
            reply = await client.ask(REQUEST, on_text=ignore, key="j.t.1")
            assert reply.message.content == "x"
    assert ["stream_options" in body for body in backend.bodies] == [True, False, False]
    assert {headers[KEY_HEADER] for headers in backend.headers} == {"j.t.1"}


async def test_stream_options_are_dropped_only_once() -> None:
    body = {"message": "stream_options is the least of your troubles"}
    async with serving(answering(body, 400)) as backend, client_of(backend.url) as client:
        with pytest.raises(ModelError, match="least of your troubles"):
            await client.ask(REQUEST, on_text=pytest.fail)
    assert len(backend.bodies) == 2


async def test_a_server_that_does_not_stream() -> None:
    texts: list[str] = []
    async with (
        serving(answering(completion(content="Hello"))) as backend,
        client_of(backend.url) as client,
    ):
        reply = await client.ask(REQUEST, on_text=texts.append)
    assert texts == ["Hello"]
    assert reply.message.content == "Hello"


async def test_an_error_of_the_listener_is_its_own() -> None:
    def broken_pipe(_: str) -> None:
        raise BrokenPipeError

    handler = streaming(chunk(content="x"), chunk(finish="stop"), DONE)
    async with serving(handler) as backend, client_of(backend.url) as client:
        with pytest.raises(BrokenPipeError):
            await client.ask(REQUEST, on_text=broken_pipe)


async def test_a_client_serves_many_calls_at_once() -> None:
    replies: list[str] = []
    handler = streaming(chunk(content="x", finish="stop"), DONE)

    async with serving(handler) as backend, client_of(backend.url) as client:

        async def ask() -> None:
            reply = await client.ask(REQUEST, on_text=ignore)
            replies.append(reply.message.content)

        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(ask)
    assert replies == ["x"] * 40


# what goes wrong


async def test_a_cut_stream() -> None:
    async with (
        serving(streaming(chunk(content="half"))) as backend,
        client_of(backend.url) as client,
    ):
        with pytest.raises(TransientError, match="in the middle"):
            await client.ask(REQUEST, on_text=ignore)


def dropping(*pieces: bytes) -> Handler:
    """Sends the pieces, then drops the connection."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = await events(request)
        for piece in pieces:
            await response.write(piece)
        assert request.transport is not None
        request.transport.close()
        return response

    return handle


async def test_a_connection_that_breaks_in_the_middle() -> None:
    async with (
        serving(dropping(chunk(content="half"))) as backend,
        client_of(backend.url) as client,
    ):
        with pytest.raises(TransientError, match="broke") as caught:
            await client.ask(REQUEST, on_text=ignore)
    assert KEY not in said_of(caught.value)


async def test_a_connection_that_breaks_after_the_answer_costs_nothing() -> None:
    handler = dropping(chunk(content="all"), chunk(finish="stop"))
    async with serving(handler) as backend, client_of(backend.url) as client:
        reply = await client.ask(REQUEST, on_text=ignore)
    assert reply.message.content == "all"


def stalling(*pieces: bytes) -> Handler:
    """Sends the pieces, then nothing more; ends only when it is cancelled."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = await events(request)
        for piece in pieces:
            await response.write(piece)
        await anyio.sleep_forever()
        return response

    return handle


async def silence(request: web.Request) -> web.StreamResponse:
    await anyio.sleep_forever()
    return web.Response()


async def test_silence_in_the_middle_is_a_deadline() -> None:
    async with (
        serving(stalling(chunk(content="a"))) as backend,
        client_of(backend.url, idle_timeout=0.05) as client,
    ):
        with pytest.raises(DeadlineError, match=r"fell silent for 0\.05 s"):
            await client.ask(REQUEST, on_text=ignore)
        with anyio.fail_after(10):
            await backend.gone.wait()


async def test_comments_are_no_sign_of_life() -> None:
    """Gateways write `: ping` to keep a connection open, also to a model that has died."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = await events(request)
        await response.write(chunk(content="a"))
        while True:
            await response.write(b": ping\n\n")
            await anyio.sleep(0.01)

    async with (
        serving(handle) as backend,
        client_of(backend.url, idle_timeout=0.1, timeout=30.0) as client,
    ):
        with pytest.raises(DeadlineError, match=r"fell silent for 0\.1 s"):
            await client.ask(REQUEST, on_text=ignore)


async def test_silence_after_the_answer_is_no_error() -> None:
    handler = stalling(chunk(content="a", finish="stop"))
    async with serving(handler) as backend, client_of(backend.url, idle_timeout=0.05) as client:
        reply = await client.ask(REQUEST, on_text=ignore)
    assert reply.message.content == "a"


async def test_a_body_that_stays_open_after_done_is_not_waited_for() -> None:
    handler = stalling(chunk(content="a", finish="stop") + DONE)
    async with serving(handler) as backend, client_of(backend.url) as client:
        reply = await client.ask(REQUEST, on_text=ignore)
        assert reply.message.content == "a"
        with anyio.fail_after(10):
            await backend.gone.wait()


@pytest.mark.parametrize("handler", [silence, stalling(), stalling(b" ")])
@pytest.mark.parametrize("on_text", [None, ignore])
async def test_the_whole_answer_has_a_deadline(handler: Handler, on_text: Any) -> None:
    async with (
        serving(handler) as backend,
        client_of(backend.url, timeout=0.1, idle_timeout=60.0) as client,
    ):
        with pytest.raises(DeadlineError, match=r"within 0\.1 s"):
            await client.ask(REQUEST, on_text=on_text)
        with anyio.fail_after(10):
            await backend.gone.wait()


@pytest.mark.parametrize("handler", [silence, stalling()])
async def test_waiting_for_the_first_piece_is_not_silence(handler: Handler) -> None:
    async with (
        serving(handler) as backend,
        client_of(backend.url, timeout=0.1, idle_timeout=0.001) as client,
    ):
        with pytest.raises(DeadlineError, match=r"within 0\.1 s"):
            await client.ask(REQUEST, on_text=ignore)


@pytest.mark.parametrize("handler", [silence, stalling(chunk(content="a"))])
async def test_cancelling_closes_the_connection_at_once(handler: Handler) -> None:
    async with serving(handler) as backend, client_of(backend.url) as client:
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                await client.ask(REQUEST, on_text=ignore)

            tasks.start_soon(ask)
            with anyio.fail_after(10):
                await backend.asked.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(10):
            await backend.gone.wait()
        assert tasks.cancel_scope.cancelled_caught  # and no answer came before


async def test_closing_the_client_ends_its_calls() -> None:
    async with serving(silence) as backend:
        client = client_of(backend.url)
        errors: list[GalerneError] = []

        async def ask() -> None:
            try:
                await client.ask(REQUEST)
            except GalerneError as error:
                errors.append(error)

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks, client:
                tasks.start_soon(ask)
                await backend.asked.wait()
            await backend.gone.wait()
    assert [isinstance(error, TransientError) for error in errors] == [True]


async def test_a_client_that_is_not_open() -> None:
    with pytest.raises(PermanentError, match="async with"):
        await client_of("http://127.0.0.1:1").ask(REQUEST)


@pytest.mark.parametrize("on_text", [None, ignore])
@pytest.mark.parametrize(
    ("handler", "kind", "says"),
    [
        (answering({"message": "slow down"}, 429, Retry_After="7"), RateLimitedError, "slow down"),
        (answering({"error": {"message": "boom"}}, 500), TransientError, "boom"),
        (answering(b"<h1>bad gateway</h1>", 502), TransientError, "bad gateway"),
        (answering({"detail": "Invalid API Key"}, 401), ModelError, "api_key"),
        (answering({"error": {"message": f"no {KEY}"}}, 403), ModelError, r"\[api_key\]"),
        (answering({"error": {"message": "gone"}}, 404), ModelError, "'mistral-7b'"),
        (answering({"error": {"message": "roles"}}, 400), ModelError, "roles"),
        (answering(b"", 307, Location="http://elsewhere/v1"), ModelError, "elsewhere"),
        (answering(b'{"choices": ['), BadAnswerError, "choices"),
        (answering(b"<html>a page</html>", Content_Type="text/html"), BadAnswerError, "a page"),
        (answering({"choices": []}), BadAnswerError, "without a choice"),
    ],
)
async def test_answers_that_are_errors(
    handler: Handler, kind: type[GalerneError], says: str, on_text: Any
) -> None:
    async with serving(handler) as backend, client_of(backend.url) as client:
        with pytest.raises(kind, match=says) as caught:
            await client.ask(REQUEST, on_text=on_text)
    assert backend.url in str(caught.value)
    assert KEY not in said_of(caught.value) + repr(client)
    assert len(backend.bodies) == 1
    if isinstance(caught.value, RateLimitedError):
        assert caught.value.retry_after == 7.0


async def test_a_wrong_path() -> None:
    async with (
        serving(answering(completion())) as backend,
        client_of(f"{backend.url}/elsewhere") as client,
    ):
        with pytest.raises(ModelError, match="/elsewhere/v1"):
            await client.ask(REQUEST)
        with pytest.raises(ModelError, match="/elsewhere/v1"):
            await client.models()


async def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        async with client_of(url) as client:
            with pytest.raises(UnavailableError, match="start the model server") as caught:
                await client.ask(REQUEST)
            assert url in str(caught.value)
            assert KEY not in said_of(caught.value)
            with pytest.raises(UnavailableError):
                await client.models()


@asynccontextmanager
async def speaking(words: bytes) -> AsyncGenerator[str]:
    """A TCP server that reads something, says `words` and hangs up."""

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(words)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{port}"
        tasks.cancel_scope.cancel()


async def test_a_server_that_speaks_no_http() -> None:
    async with speaking(b"220 mail ready\r\n\r\n") as url, client_of(url) as client:
        with pytest.raises(BadAnswerError, match="does not speak HTTP") as caught:
            await client.ask(REQUEST)
    assert KEY not in said_of(caught.value)


async def test_a_server_that_hangs_up_without_a_word() -> None:
    async with speaking(b"") as url, client_of(url) as client:
        with pytest.raises(TransientError, match="broke"):
            await client.ask(REQUEST)


async def test_a_list_of_models_that_is_none() -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>welcome</html>", content_type="text/html")

    async with serving(answering(completion())) as backend, client_of(backend.url) as client:
        assert await client.models() == ["mistral-7b", "nemo"]
    app = web.Application()
    app.router.add_get("/v1/models", page)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with client_of(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            with pytest.raises(BadAnswerError, match="no list of models"):
                await client.models()
    finally:
        await runner.cleanup()


async def test_an_endpoint_is_needed() -> None:
    with pytest.raises(InvalidSettingsError, match="endpoint"):
        ModelClient(RoleSettings())


async def test_half_a_character_is_told_and_not_thrown() -> None:
    async with ModelClient(RoleSettings(endpoint="http://127.0.0.1:1/v1", backend="openai")) as one:
        with pytest.raises(ModelError, match="half of a character"):
            await one.ask(ChatRequest((ChatMessage("user", "a\ud83d"),)))


async def test_a_server_that_writes_faster_than_is_read_meets_the_same_limit() -> None:
    """With bytes always there nothing is waited for, and so nothing would hear of a deadline."""
    line = chunk(content="{" * 500)
    part = b"%x\r\n%s\r\n" % (len(line), line)
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )

    def write(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.recv(65_536)
            connection.sendall(head)
            for _ in range(3_000):
                connection.sendall(part)

    def work(text: str) -> None:
        for character in text:  # slower than the other side writes
            PlanReader(()).feed(character)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        # A thread: a server in this loop would let it breathe.
        writer = threading.Thread(target=write, args=(listening,))
        writer.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        async with client_of(url, timeout=0.5, backend="vllm") as client:
            with pytest.raises(DeadlineError, match=r"within 0\.5 s"):
                await client.ask(REQUEST, on_text=work)
        await anyio.to_thread.run_sync(writer.join, 10.0)
        assert not writer.is_alive()

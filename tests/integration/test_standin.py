"""The stand-in over real HTTP: the API, its faults, its ledger, hostile clients, a whole fleet."""

import asyncio
import gc
import gzip
from collections.abc import AsyncGenerator, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import msgspec
import pytest

from galerne.errors import RateLimitedError, UnavailableError
from galerne.messages.chat import ChatMessage, ChatRequest, ToolCall
from galerne.models import ModelClient
from galerne.models.standin import (
    Fault,
    StandIn,
    StandInSettings,
    parse_faults,
    read_ledger,
)
from galerne.models.standin.answers import Answer, CallTools, Say, ToolUse
from galerne.settings import RoleSettings
from unit.standin.prompting import (
    Folder,
    answer_request,
    carry_out,
    executor_request,
    plan_of,
    planner_request,
)

pytestmark = pytest.mark.anyio

GOAL = "Count the words in a.txt and b.txt, then say which is longer"
NOTICE = "rule-based, no LLM"


@pytest.fixture
async def http() -> AsyncGenerator[aiohttp.ClientSession, None]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


def wire(request: ChatRequest, **more: Any) -> dict[str, Any]:
    """A request as a client sends it."""
    messages: list[dict[str, Any]] = []
    for message in request.messages:
        turn: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            turn["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in message.tool_calls
            ]
        if message.tool_call_id:
            turn["tool_call_id"] = message.tool_call_id
        messages.append(turn)
    tools = [{"type": "function", "function": msgspec.to_builtins(one)} for one in request.tools]
    return {"model": "mixtral-8x22b", "messages": messages, "tools": tools or None, **more}


def completions(standin: StandIn) -> str:
    return f"{standin.url}/v1/chat/completions"


async def ask(
    http: aiohttp.ClientSession, standin: StandIn, request: ChatRequest, **more: Any
) -> dict[str, Any]:
    async with http.post(completions(standin), json=wire(request, **more)) as response:
        assert response.status == 200, await response.text()
        return dict(await response.json())


async def stream(
    http: aiohttp.ClientSession, standin: StandIn, request: ChatRequest, **more: Any
) -> list[dict[str, Any]]:
    """Every chunk of a stream that ends as it should."""
    body = wire(request, stream=True, **more)
    async with http.post(completions(standin), json=body) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        lines = (await response.text()).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [msgspec.json.decode(line.removeprefix("data: ")) for line in lines[:-2]]


async def read_all(response: aiohttp.ClientResponse, into: bytearray) -> None:
    async for piece in response.content.iter_any():
        into += piece


async def until(happened: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not happened():
            await anyio.sleep(0.005)


async def test_it_says_what_it_is(http: aiohttp.ClientSession) -> None:
    async with StandIn() as standin:
        for path, status in (("/health", 200), ("/v1/models", 200), ("/nowhere", 404)):
            async with http.get(standin.url + path) as response:
                assert response.status == status
                assert response.headers["X-Galerne-Stand-In"] == NOTICE
        async with http.get(f"{standin.url}/v1/models") as response:
            ids = [model["id"] for model in (await response.json())["data"]]
        assert ids == ["stand-in:mixtral-8x22b", "stand-in:mistral-7b"]
        async with http.get(completions(standin)) as response:
            assert response.status == 405
            assert response.headers["Allow"] == "POST"
            assert (await response.json())["object"] == "error"
        reply = await ask(http, standin, planner_request(GOAL))
        assert reply["model"] == "stand-in:mixtral-8x22b"
        assert reply["system_fingerprint"] == f"galerne-stand-in ({NOTICE})"
    with pytest.raises(UnavailableError):
        _ = standin.url


async def test_a_plan_is_answered_and_streamed_alike(http: aiohttp.ClientSession) -> None:
    request = planner_request(GOAL)
    async with StandIn() as standin:
        whole = await ask(http, standin, request)
        apart = await stream(http, standin, request, stream_options={"include_usage": True})
        together = await stream(http, standin, request)
    text = whole["choices"][0]["message"]["content"]
    assert [task["id"] for task in plan_of(Say(text))] == ["1", "2", "3"]
    assert whole["choices"][0]["finish_reason"] == "stop"
    deltas = [chunk["choices"][0] for chunk in apart[:-1]]
    assert deltas[0]["delta"]["role"] == "assistant"
    assert "".join(each["delta"].get("content", "") for each in deltas) == text
    assert [each["finish_reason"] for each in deltas if each["finish_reason"]] == ["stop"]
    characters = sum(len(message.content) for message in request.messages)
    usage = {
        "prompt_tokens": characters // 4 + 1,
        "completion_tokens": len(text) // 4 + 1,
        "total_tokens": characters // 4 + len(text) // 4 + 2,
    }
    assert whole["usage"] == usage
    assert (apart[-1]["choices"], apart[-1]["usage"]) == ([], usage)
    assert together[-1]["choices"][0]["finish_reason"] == "stop"
    assert together[-1]["usage"] == usage
    assert not any("usage" in chunk for chunk in [*apart[:-1], *together[:-1]])


async def test_a_tool_call_is_answered_and_streamed_alike(http: aiohttp.ClientSession) -> None:
    request = executor_request("Count the words of a.txt.")
    async with StandIn() as standin:
        (choice,) = (await ask(http, standin, request))["choices"]
        chunks = await stream(http, standin, request)
    (call,) = choice["message"]["tool_calls"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    assert call["id"].isalnum()
    assert len(call["id"]) == 9
    assert call["function"] == {"name": "text_stats", "arguments": '{"path":"a.txt"}'}
    parts = [
        part
        for chunk in chunks
        for choice in chunk["choices"]
        for part in choice["delta"].get("tool_calls", [])
    ]
    assert parts[0]["function"]["name"] == "text_stats"
    assert not any("name" in part["function"] for part in parts[1:])
    assert "".join(part["function"]["arguments"] for part in parts) == '{"path":"a.txt"}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_max_tokens_cuts_the_answer(http: aiohttp.ClientSession) -> None:
    async with StandIn() as standin:
        reply = await ask(http, standin, planner_request(GOAL), max_tokens=3)
    (choice,) = reply["choices"]
    assert (choice["finish_reason"], len(choice["message"]["content"])) == ("length", 12)
    assert reply["usage"]["completion_tokens"] == 3


async def test_a_pace_makes_small_pieces(http: aiohttp.ClientSession) -> None:
    request = executor_request("Write a poem.")
    async with StandIn(StandInSettings(pace=2000)) as standin:
        chunks = await stream(http, standin, request)
    pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert max(len(piece) for piece in pieces) == 160
    assert "".join(pieces).startswith("I cannot: ")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe\x00",
        b'{"model": "m"}',
        b'{"model": "m", "messages": ' + b"[" * 200_000,
        b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}',
    ],
)
async def test_bad_bodies_get_400(http: aiohttp.ClientSession, body: bytes) -> None:
    async with StandIn() as standin:
        async with http.post(completions(standin), data=body) as response:
            assert response.status == 400
            assert (await response.json())["type"] == "invalid_request_error"
        assert [entry.event for entry in standin.ledger.entries] == ["started", "refused"]


async def test_mistrals_rules_are_enforced(http: aiohttp.ClientSession) -> None:
    turns = [
        ChatMessage("assistant", tool_calls=(ToolCall("call_12345", "text_stats", "{}"),)),
        ChatMessage("tool", "{}", tool_call_id="call_12345"),
    ]
    request = executor_request("Count the words of a.txt.", turns=turns)
    async with (
        StandIn() as standin,
        http.post(completions(standin), json=wire(request)) as response,
    ):
        error = await response.json()
    assert response.status == 400
    assert (error["type"], error["code"]) == ("invalid_function_call", "3280")


async def test_hostile_requests_never_get_500(http: aiohttp.ClientSession) -> None:
    odd = "\u202e\u0000\ufeff\U0001d573\U0001f3f4\u2028# Tools\r\n\x85" * 50
    async with StandIn() as standin:
        url = completions(standin)
        huge = planner_request("count " * 60_000)
        async with http.post(url, json=wire(huge)) as response:
            assert response.status == 400
        async with http.post(url, data=BytesIO(b"x" * (5 * 1024 * 1024))) as response:
            assert response.status == 413
            assert (await response.json())["object"] == "error"
        bomb = gzip.compress(b"x" * (64 * 1024 * 1024))
        async with http.post(url, data=bomb, headers={"Content-Encoding": "gzip"}) as response:
            assert response.status in {400, 413}
        async with http.post(url, data=b"xx", headers={"Content-Encoding": "gzip"}) as response:
            assert response.status == 400
        async with http.put(f"{standin.url}/%00/..%2f", data=b"x") as response:
            assert response.status == 404
        for request in (
            planner_request(odd),
            executor_request(odd),
            answer_request(odd, {odd: odd}),
        ):
            await ask(http, standin, request)
        deep = planner_request(GOAL, already=["[" * 50_000, '{"id":' * 9000])
        assert len((await ask(http, standin, deep))["choices"]) == 1


async def test_429_says_when_to_come_back(http: aiohttp.ClientSession) -> None:
    settings = StandInSettings(faults=parse_faults("429:every=2"))
    async with StandIn(settings) as standin:
        for status in (200, 429, 200, 429):
            async with http.post(
                completions(standin), json=wire(planner_request(GOAL), stream=True)
            ) as response:
                assert response.status == status
                await response.read()
            if status == 429:
                assert response.headers["Retry-After"] == "1"
        assert [entry.status for entry in standin.ledger.named("refused")] == [429, 429]
        assert len(standin.ledger.named("finished")) == 2


async def test_500_concerns_its_role_only(http: aiohttp.ClientSession) -> None:
    async with StandIn(StandInSettings(faults=(Fault("500", role="answer"),))) as standin:
        await ask(http, standin, planner_request(GOAL))
        body = wire(answer_request(GOAL, {"1": "x"}))
        async with http.post(completions(standin), json=body) as response:
            assert response.status == 500
            assert (await response.json())["type"] == "internal_server_error"


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_cut_ends_in_the_middle(http: aiohttp.ClientSession, streamed: bool) -> None:
    async with StandIn(StandInSettings(faults=(Fault("cut"),))) as standin:
        body = wire(planner_request(GOAL), stream=streamed)
        received = bytearray()
        async with http.post(completions(standin), json=body) as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await read_all(response, received)
        assert b"Count the words" in received
        assert b"[DONE]" not in received
        assert [entry.event for entry in standin.ledger.entries] == ["started", "cut"]


async def test_malformed_calls_are_broken_or_leak(http: aiohttp.ClientSession) -> None:
    request = executor_request("Count the words of a.txt.")
    async with StandIn(StandInSettings(faults=(Fault("malformed_call"),))) as standin:
        await ask(http, standin, planner_request(GOAL))
        (broken,) = (await ask(http, standin, request))["choices"]
        (leaked,) = (await ask(http, standin, request))["choices"]
    arguments = broken["message"]["tool_calls"][0]["function"]["arguments"]
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(arguments)
    text = leaked["message"]["content"]
    assert "tool_calls" not in leaked["message"]
    assert msgspec.json.decode(text.removeprefix("[TOOL_CALLS]")) == [
        {"name": "text_stats", "arguments": {"path": "a.txt"}}
    ]


async def test_a_long_prompt_is_cut_in_silence_and_a_short_one_read(
    http: aiohttp.ClientSession,
) -> None:
    """As Ollama cuts: the system's words and the newest turn stay, and only they are counted."""
    short = executor_request("Count the words of a.txt.")
    system, _ = short.messages
    long = ChatRequest((system, ChatMessage("user", "whales " * 9000)))
    async with (
        StandIn(StandInSettings(faults=(Fault("truncate"),))) as cutting,
        StandIn() as honest,
    ):
        assert (await ask(http, cutting, short))["choices"][0]["message"]["tool_calls"]
        cut = (await ask(http, cutting, long))["usage"]["prompt_tokens"]
        whole = (await ask(http, honest, long))["usage"]["prompt_tokens"]
    assert cut <= 4096 < whole


async def test_a_slow_answer_comes_last(http: aiohttp.ClientSession) -> None:
    """The slow one is asked first and is still on its way when the other has come."""
    order: list[str] = []
    settings = StandInSettings(faults=(Fault("slow", role="planner"),))
    async with StandIn(settings) as standin, anyio.create_task_group() as tasks:

        async def plan() -> None:
            await ask(http, standin, planner_request(GOAL))
            order.append("slow")

        tasks.start_soon(plan)
        await until(lambda: len(standin.ledger.entries) == 1)
        await ask(http, standin, executor_request("Count the words of a.txt."))
        order.append("quick")
    assert order == ["quick", "slow"]


async def test_the_ledger_knows_key_role_and_body(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.jsonl"
    async with StandIn(ledger=path, clock=lambda: 12.5) as standin:
        body = msgspec.json.encode(wire(executor_request("Count the words of a.txt.")))
        headers = {"X-Galerne-Key": "job.task.1"}
        async with http.post(completions(standin), data=body, headers=headers) as response:
            reply = await response.json()
        started, finished = standin.ledger.entries
    assert read_ledger(path) == [started, finished]
    assert (started.event, finished.event, finished.status) == ("started", "finished", 200)
    assert (started.key, started.role, started.model) == ("job.task.1", "executor", "mixtral-8x22b")
    assert len(started.body) == 64
    assert started.request == finished.request == reply["id"]
    assert started.time == 12.5


async def test_a_client_that_leaves_ends_the_work(http: aiohttp.ClientSession) -> None:
    """At one token a second the answer would take minutes; the ledger ends at once."""
    async with StandIn(StandInSettings(pace=1)) as standin:
        body = wire(planner_request(GOAL), stream=True)
        response = await http.post(completions(standin), json=body)
        await response.content.readany()
        assert [entry.event for entry in standin.ledger.entries] == ["started"]
        response.close()
        await until(lambda: len(standin.ledger.entries) == 2)
        assert standin.ledger.entries[1].event == "aborted"


async def test_stopping_cuts_off_what_is_under_way(http: aiohttp.ClientSession) -> None:
    standin = StandIn(StandInSettings(latency=600))

    async def plan() -> None:
        with pytest.raises(aiohttp.ClientError):
            await ask(http, standin, planner_request(GOAL))

    async with anyio.create_task_group() as tasks, standin:
        tasks.start_soon(plan)
        await until(lambda: len(standin.ledger.entries) == 1)
    assert [entry.event for entry in standin.ledger.entries] == ["started", "aborted"]


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    async with StandIn() as standin:
        port = int(standin.url.rsplit(":", 1)[1])
        with pytest.raises(UnavailableError, match=str(port)):
            async with StandIn(port=port):
                pass
    with pytest.raises(UnavailableError, match="ledger"):
        async with StandIn(ledger=tmp_path / "nowhere" / "ledger.jsonl"):
            pass


MANY = 300


@pytest.fixture
async def crowd() -> AsyncGenerator[aiohttp.ClientSession, None]:
    """A client without a limit on its connections."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


async def test_hundreds_are_in_flight_at_once(crowd: aiohttp.ClientSession) -> None:
    standin = StandIn(StandInSettings(latency=600))

    async def wait(number: int) -> None:
        with pytest.raises(aiohttp.ClientError):
            await ask(crowd, standin, executor_request(f"Count the words of {number}.txt."))

    async with anyio.create_task_group() as tasks, standin:
        for number in range(MANY):
            tasks.start_soon(wait, number)
        await until(lambda: len(standin.ledger.entries) == MANY)
    assert len(standin.ledger.named("aborted")) == MANY


async def test_hundreds_are_answered(crowd: aiohttp.ClientSession) -> None:
    called: dict[int, str] = {}

    async def count(number: int) -> None:
        reply = await ask(crowd, standin, executor_request(f"Count the words of {number}.txt."))
        call = reply["choices"][0]["message"]["tool_calls"][0]
        called[number] = call["function"]["arguments"]

    async with StandIn() as standin, anyio.create_task_group() as tasks:
        for number in range(MANY):
            tasks.start_soon(count, number)
    assert called == {number: f'{{"path":"{number}.txt"}}' for number in range(MANY)}
    assert len(standin.ledger.named("finished")) == MANY


def by_http(client: ModelClient) -> Callable[[ChatRequest], Any]:
    """The real client in the place of the rules."""

    async def answer(request: ChatRequest) -> Answer:
        message = (await client.ask(request, on_text=lambda _: None)).message
        if not message.tool_calls:
            return Say(message.content)
        uses = [ToolUse(c.name, msgspec.json.decode(c.arguments)) for c in message.tool_calls]
        return CallTools(tuple(uses))

    return answer


async def test_a_whole_job_through_the_real_client(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two three\n")
    (tmp_path / "b.txt").write_text("one two three four\nfive\n")
    folder = Folder(tmp_path)
    async with (
        StandIn() as standin,
        ModelClient(RoleSettings(endpoint=standin.url)) as client,
    ):
        answer = by_http(client)

        def blocking(request: ChatRequest) -> Answer:
            turn: Answer = anyio.from_thread.run(answer, request)
            return turn

        results: dict[str, str] = {}
        for task in plan_of(await answer(planner_request(GOAL))):
            results[task["id"]] = await anyio.to_thread.run_sync(
                carry_out, task, dict(results), folder, blocking
            )
        closing = await answer(answer_request(GOAL, results))
    assert closing == Say(
        "a.txt has 3 words.\nb.txt has 5 words.\nb.txt is longer than a.txt: 5 words against 3.\n\n"
        "(stand-in model: rule-based, no LLM)"
    )


async def test_the_real_client_sees_the_rate_limit() -> None:
    async with (
        StandIn(StandInSettings(faults=(Fault("429"),))) as standin,
        ModelClient(RoleSettings(endpoint=standin.url)) as client,
    ):
        with pytest.raises(RateLimitedError) as caught:
            await client.ask(planner_request(GOAL))
    assert caught.value.retry_after == 1.0


@pytest.mark.parametrize("steps", range(8))
async def test_cancelled_while_it_starts_it_leaves_no_socket_open(steps: int) -> None:
    async def serve() -> None:
        async with StandIn():
            await anyio.sleep_forever()

    starting = asyncio.create_task(serve())
    for _ in range(steps):
        await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    del starting
    gc.collect()  # what is still open now would be told as a warning, which is an error here

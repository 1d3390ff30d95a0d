"""A model at several endpoints: failover, health, turns, hedging; no call leaves anything."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from aiohttp import web

from galerne.errors import (
    BadAnswerError,
    DeadlineError,
    InvalidSettingsError,
    ModelError,
    RateLimitedError,
    TransientError,
    UnavailableError,
)
from galerne.messages.chat import ChatMessage, ChatRequest
from galerne.models import ModelPool, open_model
from galerne.models.pacing.breaker import FAILURES
from galerne.models.pacing.call import call_of
from galerne.settings import RoleSettings
from integration.limited import limited

pytestmark = pytest.mark.anyio

REQUEST = ChatRequest((ChatMessage("user", "Hi"),))
NOBODY = "http://127.0.0.1:9"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.url = ""
        self.asked = 0
        self.gone = anyio.Event()


@asynccontextmanager
async def serving(handler: Handler) -> AsyncGenerator[Server]:
    server = Server(handler)

    async def chat(request: web.Request) -> web.StreamResponse:
        server.asked += 1
        try:
            return await server.handler(request)
        except BaseException:
            server.gone.set()
            raise

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


def completion(content: str) -> web.Response:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    return web.json_response({"id": "r", "model": "m", "choices": [choice], "usage": usage})


def saying(content: str, seconds: float = 0.0) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        await anyio.sleep(seconds)
        return completion(content)

    return handle


def failing(status: int, **headers: str) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response({"message": "no"}, status=status, headers=named)

    return handle


def pool_of(*urls: str, **settings: Any) -> ModelPool:
    return open_model(RoleSettings(endpoint=", ".join(urls), backend="openai", **settings))


async def said(pool: ModelPool) -> str:
    return (await pool.ask(REQUEST)).message.content


async def test_the_calls_are_spread_over_the_endpoints() -> None:
    async with (
        serving(saying("a", 0.2)) as one,
        serving(saying("b", 0.2)) as two,
        pool_of(one.url, two.url) as pool,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(8):
            tasks.start_soon(said, pool)
    assert (one.asked, two.asked) == (4, 4)


async def test_an_endpoint_that_is_away_is_passed_over() -> None:
    async with serving(saying("here")) as server, pool_of(NOBODY, server.url) as pool:
        assert [await said(pool) for _ in range(5)] == ["here"] * 5


async def test_a_page_that_is_no_answer_does_not_draw_the_calls_to_itself() -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>Welcome</html>", content_type="text/html")

    async with serving(page) as proxy, serving(saying("Hello")) as whole:
        both = f"{proxy.url},{whole.url}"
        async with open_model(RoleSettings(endpoint=both, backend="openai")) as pool:
            for _ in range(FAILURES):
                with pytest.raises(BadAnswerError):
                    await pool.ask(REQUEST)
            for _ in range(10):
                await pool.ask(REQUEST)
        assert (proxy.asked, whole.asked) == (FAILURES, 10)


async def test_an_endpoint_at_its_limit_is_passed_over() -> None:
    async with (
        serving(failing(429, Retry_After="30")) as full,
        serving(saying("here")) as server,
        pool_of(full.url, server.url) as pool,
    ):
        assert [await said(pool) for _ in range(5)] == ["here"] * 5
        assert full.asked == 1  # it has asked for a pause


async def test_a_failure_that_may_be_charged_is_not_asked_elsewhere() -> None:
    async with (
        serving(failing(500)) as broken,
        serving(saying("here", 0.1)) as server,
        pool_of(broken.url, server.url) as pool,
    ):
        with pytest.raises(TransientError, match="500"):
            await said(pool)
        assert server.asked == 0


async def test_a_refusal_is_not_asked_elsewhere_and_says_nothing_of_the_endpoint() -> None:
    async with serving(failing(400)) as server, pool_of(server.url, NOBODY) as pool:
        for _ in range(8):
            with pytest.raises(ModelError):
                await said(pool)
        assert server.asked == 8


async def test_only_when_all_are_away_is_the_model_away() -> None:
    async with pool_of(NOBODY, "http://127.0.0.1:11") as pool:
        with pytest.raises(UnavailableError, match="nothing answers"):
            await said(pool)
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match="is away; start the model server") as caught:
            await said(pool)
        assert time.monotonic() - begun < 0.2
        assert caught.value.retry_after is not None


async def test_one_that_comes_back_is_asked_again() -> None:
    async with serving(saying("back")) as server, pool_of(server.url) as pool:
        server.handler = failing(503)
        for _ in range(5):
            with pytest.raises(TransientError):
                await said(pool)
        with pytest.raises(UnavailableError):
            await said(pool)
        assert server.asked == 5  # the breaker is open
        server.handler = saying("back")
        with anyio.fail_after(5):
            while True:
                try:
                    assert await said(pool) == "back"
                    break
                except UnavailableError as error:
                    await anyio.sleep(error.retry_after or 0.01)


async def test_a_long_pause_is_for_the_worker_to_sit_out() -> None:
    async with serving(failing(429, Retry_After="60")) as server, pool_of(server.url) as pool:
        for _ in range(2):
            with pytest.raises(RateLimitedError) as caught:
                await said(pool)
            assert caught.value.retry_after is not None
            assert caught.value.retry_after > 50
        assert server.asked == 1


async def test_a_short_pause_is_kept_and_the_call_made_after_it() -> None:
    async with serving(failing(429, Retry_After="1")) as server, pool_of(server.url) as pool:
        begun = time.monotonic()
        with pytest.raises(RateLimitedError):
            await said(pool)
        server.handler = saying("now")
        assert await said(pool) == "now"
        assert time.monotonic() - begun >= 0.9
        assert server.asked == 2


async def test_no_more_calls_at_once_than_the_setting_says() -> None:
    async with limited(1000) as endpoint, pool_of(endpoint.url, concurrency=3) as pool:
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(said, pool)
        assert endpoint.most_busy == 3
        assert len(endpoint.answered) == 20


async def test_a_rate_holds_without_a_bus() -> None:
    async with limited(1000) as endpoint, pool_of(endpoint.url, rate=20.0) as pool:
        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(said, pool)
        took = endpoint.answered[-1] - endpoint.answered[0]
        assert took >= 39 / 20


async def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    async with serving(saying("a", 0.3)) as server, pool_of(server.url, concurrency=1) as pool:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(said, pool)
            await anyio.sleep(0.05)
            with call_of(may_hedge=False) as call:
                with anyio.move_on_after(0.05):
                    await pool.ask(REQUEST)
                assert call.waits  # surely not made
            async with anyio.create_task_group() as waiting:
                for _ in range(3):
                    waiting.start_soon(said, pool)
                await anyio.sleep(0.02)
                waiting.cancel_scope.cancel()
        with anyio.fail_after(2):
            assert await said(pool) == "a"
        assert server.asked == 2


async def test_a_cancelled_call_gives_its_place_back() -> None:
    async with serving(saying("late", 30)) as server, pool_of(server.url, concurrency=1) as pool:
        with call_of(may_hedge=False) as call:
            with anyio.move_on_after(0.2):
                await pool.ask(REQUEST)
            assert not call.waits  # it was made
        server.handler = saying("soon")
        with anyio.fail_after(2):
            assert await said(pool) == "soon"


async def test_who_gets_no_turn_in_time_is_told() -> None:
    async with (
        serving(saying("late", 5)) as server,
        pool_of(server.url, concurrency=1, timeout=0.5) as pool,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_ignoring, pool)
        await anyio.sleep(0.1)
        async with anyio.create_task_group() as others:
            for _ in range(2):
                others.start_soon(_ignoring, pool)
        assert server.asked <= 3


async def _ignoring(pool: ModelPool) -> None:
    with pytest.raises((DeadlineError, RateLimitedError)):
        await said(pool)


async def test_a_stream_that_stalls_is_cut_and_its_place_is_free() -> None:
    async def stall(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        delta = b'{"id": "r", "choices": [{"index": 0, "delta": {"content": "Once"}}]}'
        await response.write(b"data: " + delta + b"\n\n")
        await anyio.sleep(30)
        return response

    heard: list[str] = []
    async with (
        serving(stall) as server,
        pool_of(server.url, concurrency=1, idle_timeout=0.2, timeout=20.0) as pool,
    ):
        with anyio.fail_after(5):
            with pytest.raises(DeadlineError, match="fell silent"):
                await pool.ask(REQUEST, on_text=heard.append)
            await server.gone.wait()  # the connection is closed
            server.handler = saying("next")
            assert await said(pool) == "next"
    assert heard == ["Once"]


async def test_the_slowest_calls_are_hedged() -> None:
    async with (
        serving(saying("slow one")) as one,
        serving(saying("other one")) as two,
        pool_of(one.url, two.url, hedge=True) as pool,
    ):
        for _ in range(20):
            await said(pool)
        assert two.asked == 0
        one.handler = saying("slow one", 30)
        with anyio.fail_after(5):
            assert await said(pool) == "other one"
            await one.gone.wait()  # the loser's connection is closed
            with call_of(may_hedge=False), anyio.move_on_after(0.3) as scope:
                await pool.ask(REQUEST)
        assert scope.cancelled_caught
        assert two.asked == 1


async def test_nothing_is_hedged_by_default() -> None:
    async with (
        serving(saying("a")) as one,
        serving(saying("b")) as two,
        pool_of(one.url, two.url) as pool,
    ):
        for _ in range(20):
            await said(pool)
        one.handler = saying("late", 0.4)
        assert await said(pool) == "late"
        assert two.asked == 0


def test_settings_that_cannot_be_used() -> None:
    with pytest.raises(InvalidSettingsError, match="no model endpoint"):
        open_model(RoleSettings())
    with pytest.raises(InvalidSettingsError, match="not an http"):
        open_model(RoleSettings(endpoint="http://127.0.0.1:8000,localhost"))

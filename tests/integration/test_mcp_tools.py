"""MCP servers as tools: a real one from PyPI, one with everything, and hostile ones."""

import shlex
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from galerne.errors import DeadlineError, GalerneError, InvalidSettingsError, PermanentError
from galerne.messages.blobs import to_blob
from galerne.settings import McpSettings, ToolSettings
from galerne.testing.tools import call_tool, memory_blobs, refusal_of, value_of
from galerne.tools import AnyTool, with_sources
from galerne_tools.mcp import offer

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
PIXEL = b"\x89PNG\r\n\x1a\n" + bytes(range(64))


def script(name: str, *arguments: str) -> str:
    return shlex.join([sys.executable, str(HERE / f"{name}.py"), *arguments])


TIME = McpSettings(server=shlex.join([sys.executable, "-m", "mcp_server_time"]))
RICH = McpSettings(server=script("mcp_rich", "stdio"))


@asynccontextmanager
async def served(**servers: McpSettings) -> AsyncGenerator[dict[str, AnyTool]]:
    with anyio.fail_after(90):
        async with with_sources({}, ToolSettings(mcp=servers)) as live:
            yield live.now()


async def refused_start(**servers: McpSettings) -> GalerneError:
    with pytest.raises(GalerneError) as raised:
        async with served(**servers):
            pass
    assert "\n" not in str(raised.value)
    return raised.value


def hostile(way: str, **settings: Any) -> McpSettings:
    return McpSettings(server=script("mcp_hostile", way), **settings)


# a real server that nobody here wrote


async def test_the_time_server_of_pypi_is_served() -> None:
    async with served(time=TIME) as tools:
        assert set(tools) == {"convert_time", "get_current_time"}
        spec = tools["convert_time"].spec
        assert (spec.effect, spec.approve) == ("pure", "never")
        assert spec.description == "Convert time between timezones"
        assert set(spec.parameters["required"]) == {"source_timezone", "time", "target_timezone"}
        asked = {"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "UTC"}
        value = await value_of(tools["convert_time"], asked)
        assert value["time_difference"] == "-9.0h"
        assert value["target"]["datetime"].endswith("T03:00:00+00:00")


async def test_its_errors_are_readable_and_wrong_arguments_never_reach_it() -> None:
    async with served(time=TIME) as tools:
        no = await refusal_of(tools["get_current_time"], {"timezone": "Moon/Copernicus"})
        assert no.code == "tool"
        assert "Invalid timezone" in no.message
        wrong = await refusal_of(tools["get_current_time"], {"timezone": 7})
        assert wrong.code == "invalid_input"
        assert "timezone" in wrong.message


# what a result may hold


async def test_a_picture_alone_is_a_file() -> None:
    async with served(rich=RICH) as tools:
        blobs = memory_blobs()
        blob = to_blob(await value_of(tools["picture"], blobs=blobs))
        assert (blob.name, blob.media, blob.size) == ("file.png", "image/png", len(PIXEL))
        assert await blobs.read(blob, 1000) == PIXEL


async def test_all_kinds_of_content_come_together() -> None:
    async with served(rich=RICH) as tools:
        value = await value_of(tools["everything"])
        assert value["result"] == "look:\n[file:///x/note.txt]\na note"
        files = [to_blob(file) for file in value["files"]]
        assert [file.name for file in files] == ["file.png", "file.wav", "data.bin"]
        assert [file.size for file in files] == [len(PIXEL), 4, 3]
        assert value["links"] == [
            {"uri": "https://example.com/more", "name": "more", "media": "text/html"}
        ]


async def test_hints_become_effects_and_the_settings_know_better() -> None:
    known = msgspec.structs.replace(
        RICH, effects={"refuse": "idempotent", "die*": "once"}, approve=("ref*",)
    )
    async with served(rich=RICH) as plain, served(rich=known) as tools:
        assert plain["picture"].spec.effect == "pure"
        assert plain["die_again"].spec.effect == "idempotent"
        assert plain["refuse"].spec.effect == "once"
        assert plain["refuse"].spec.version == "3.1"
        assert tools["refuse"].spec.effect == "idempotent"
        assert tools["refuse"].spec.approve == "always"
        assert tools["die_again"].spec.effect == "once"


async def test_progress_is_told() -> None:
    told: list[tuple[str, float | None]] = []

    def hear(text: str, fraction: float | None = None) -> None:
        told.append((text, fraction))

    async with served(rich=RICH) as tools:
        assert await value_of(tools["count_to"], {"n": 4}, progress=hear) == "counted"
        assert told == [("at 1", 0.25), ("at 2", 0.5), ("at 3", 0.75), ("at 4", 1.0)]


async def test_a_call_that_is_cancelled_is_cancelled_there(tmp_path: Path) -> None:
    file = tmp_path / "file"
    async with served(rich=RICH) as tools, anyio.create_task_group() as calls:
        calls.start_soon(call_tool, tools["wait_for_ever"], {"file": str(file)})
        await there(file.with_name("file.begun"))
        calls.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await there(file.with_name("file.cancelled"))
    assert file.with_name("file.cancelled").exists(), "the server was told, while it still ran"


async def there(file: Path) -> None:
    with anyio.fail_after(30):
        while not await anyio.Path(file).exists():
            await anyio.sleep(0.02)


# names and variables


async def test_names_that_are_taken_get_the_servers_in_front() -> None:
    async with served(one=TIME, two=TIME) as tools:
        assert set(tools) == {
            "convert_time",
            "get_current_time",
            "two_convert_time",
            "two_get_current_time",
        }
        own = {"convert_time": tools["convert_time"]}
        settings = ToolSettings(mcp={"time": msgspec.structs.replace(TIME, tools=("convert_*",))})
        async with with_sources(own, settings) as live:
            assert set(live.now()) == {"convert_time", "time_convert_time"}


async def test_a_server_sees_few_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_WORKER", "s3cret")
    monkeypatch.setenv("FOR_IT", "s3cret-of-its-own")
    settings = msgspec.structs.replace(RICH, environment={"MODE": "dark"}, pass_on=("FOR_IT",))
    async with served(rich=settings) as tools:
        for name, value in {
            "SECRET_OF_THE_WORKER": "(not set)",
            "FOR_IT": "[secret]",  # it has it, and nobody else is told
            "MODE": "dark",
        }.items():
            assert await value_of(tools["environment"], {"name": name}) == {"result": value}


# servers that die


@pytest.mark.parametrize("tool", ["die_pure", "die_again"])
async def test_what_may_be_repeated_is_after_a_restart(tmp_path: Path, tool: str) -> None:
    async with served(rich=RICH) as tools:
        assert await value_of(tools[tool], {"file": str(tmp_path / "died")}) == "alive"


async def test_what_may_not_be_repeated_is_in_doubt(tmp_path: Path) -> None:
    async with served(rich=RICH) as tools:
        asked = {"file": str(tmp_path / "died")}
        doubt = await refusal_of(tools["die_once"], asked)
        assert doubt.code == "in_doubt"
        assert "do not call it again" in doubt.message
        assert await value_of(tools["die_once"], asked) == "alive"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def over_http(port: int) -> AsyncGenerator[None]:
    command = [sys.executable, str(HERE / "mcp_rich.py"), "http", str(port)]
    async with await anyio.open_process(command, stdout=None, stderr=None) as process:
        with anyio.fail_after(30):
            while True:
                try:
                    await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    await anyio.sleep(0.05)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                process.kill()


async def test_a_server_over_http_that_restarts_is_found_again(tmp_path: Path) -> None:
    port, ask = free_port(), {"name": "NOPE"}
    settings = McpSettings(server=f"http://127.0.0.1:{port}/mcp")
    async with AsyncExitStack() as first:
        await first.enter_async_context(over_http(port))
        async with served(rich=settings) as tools:
            assert await value_of(tools["environment"], ask) == {"result": "(not set)"}
            await first.aclose()
            async with over_http(port):
                assert await value_of(tools["environment"], ask) == {"result": "(not set)"}
                doubt = await refusal_of(tools["die_once"], {"file": str(tmp_path / "died")})
                assert doubt.code == "in_doubt"


async def test_the_token_reaches_the_server_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    monkeypatch.setenv("TOKEN_OF_TEST", "t0ken-of-test")
    settings = McpSettings(server=f"http://127.0.0.1:{port}/mcp", auth_variable="TOKEN_OF_TEST")
    async with over_http(port), served(rich=settings) as tools:
        value = await value_of(tools["header"], {"name": "authorization"})
        assert value == "it is Bearer [secret]"
        refused = await refusal_of(tools["refuse"], {"why": "t0ken-of-test"})
        assert refused.message.endswith("no: [secret]")


async def test_an_answer_over_http_that_is_too_large_ends_the_call() -> None:
    port = free_port()
    settings = McpSettings(server=f"http://127.0.0.1:{port}/mcp", largest=20_000)
    async with over_http(port), served(rich=settings) as tools:
        refused = await refusal_of(tools["repeat"], {"text": "x" * 30_000})
        assert refused.code == "tool"
        assert "was called" in refused.message
        assert "more than 20000 bytes" in refused.message
        assert await value_of(tools["repeat"], {"text": "well"}) == "well"


@pytest.mark.parametrize(
    ("settings", "tool", "arguments", "learned"),
    [
        (RICH, "learn", {"name": "juggle"}, "juggle"),
        (McpSettings(server=script("mcp_hostile", "grows")), "good", {}, "good0"),
    ],
    ids=["today's protocol", "the older one"],
)
async def test_tools_that_come_later_are_served(
    settings: McpSettings, tool: str, arguments: dict[str, Any], learned: str
) -> None:
    with anyio.fail_after(60):
        async with with_sources({}, ToolSettings(mcp={"it": settings})) as live:
            tools = live.now()
            assert learned not in tools
            await value_of(tools[tool], arguments)
            await live.changed(tools)
            assert set(live.now()) == {*tools, learned}
            await value_of(live.now()[learned])


# servers that cannot be used


async def test_what_cannot_begin_says_why() -> None:
    missing = await refused_start(gone=McpSettings(server="/no/such/command --flag"))
    assert "cannot start /no/such/command" in str(missing)
    nobody = await refused_start(gone=McpSettings(server="http://127.0.0.1:1/mcp"))
    assert "gone cannot be reached" in str(nobody)
    ends = await refused_start(ends=McpSettings(server=shlex.join([sys.executable, "-c", ""])))
    assert "it ended" in str(ends)
    no_mcp = await refused_start(cat=McpSettings(server="cat", start=3.0))
    assert "cat" in str(no_mcp)


async def test_settings_that_cannot_be() -> None:
    for settings, said in (
        (McpSettings(server="''' open"), "is no command"),
        (McpSettings(server=" "), "it is empty"),
        (McpSettings(server="cat", pass_on=("NOT_SET_ANYWHERE",)), "NOT_SET_ANYWHERE"),
        (McpSettings(server="cat", auth_variable="HOME"), "are for a URL"),
        (msgspec.structs.replace(TIME, tools=("nope",)), "offers no tool"),
    ):
        error = await refused_start(odd=settings)
        assert isinstance(error, InvalidSettingsError)
        assert said in str(error)


# hostile servers


async def test_one_that_never_answers_initialize_is_given_up() -> None:
    error = await refused_start(mute=hostile("mute", start=2.0))
    assert isinstance(error, DeadlineError)
    assert "did not say what its tools are in time" in str(error)


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("endless", "more than 500 tools"),
        ("pages", "more than 100 parts"),
        ("no list", "does not keep to MCP"),
    ],
)
async def test_lists_that_are_none(way: str, said: str) -> None:
    error = await refused_start(bad=hostile(way))
    assert isinstance(error, PermanentError)
    assert said in str(error)


async def test_a_list_of_nothing() -> None:
    assert "offers no tool" in str(await refused_start(bad=hostile("nothing")))


async def test_bad_schemas_and_names_are_left_out_alone() -> None:
    async with served(bad=hostile("schemas")) as tools:
        assert "good" in tools
        assert set(tools) <= {"good", "pattern", "deep"}
        assert tools["good"].spec.version == "1"


@pytest.mark.parametrize(
    ("way", "code", "said"),
    [
        ("huge", "in_doubt", "more than 1000000 bytes"),
        ("nonsense", "tool", "no result of MCP"),
        ("no base64", "tool", "no base64"),
        ("many files", "tool", "200 files"),
        ("no reason", "tool", "did not say why"),
        ("silent", "in_doubt", "did not finish within 1 s"),
    ],
)
async def test_answers_that_are_none(way: str, code: str, said: str) -> None:
    settings = hostile(way, largest=1_000_000, timeout=1.0 if way == "silent" else 30.0)
    async with served(bad=settings) as tools:
        for _ in range(2):  # and the second call meets a worker that is well
            refused = await refusal_of(tools["good"])
            assert refused.code == code
            assert said in refused.message


async def test_a_large_text_is_put_aside() -> None:
    async with served(bad=hostile("large")) as tools:
        assert to_blob(await value_of(tools["good"])).size == 900_000


async def test_chatter_is_skipped() -> None:
    async with served(bad=hostile("chatter")) as tools:
        assert await value_of(tools["good"]) == "fine"


async def test_one_that_never_answers_keeps_no_other_waiting() -> None:
    async with (
        served(bad=hostile("silent"), time=TIME) as tools,
        anyio.create_task_group() as calls,
    ):
        for _ in range(20):
            calls.start_soon(call_tool, tools["good"])
        await anyio.wait_all_tasks_blocked()
        value = await value_of(tools["get_current_time"], {"timezone": "UTC"})
        assert value["timezone"] == "UTC"
        calls.cancel_scope.cancel()


async def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        assert name == "mcp"

    monkeypatch.setattr(offer, "find_spec", nothing)
    assert "pip install 'galerne[mcp]'" in str(await refused_start(time=TIME))

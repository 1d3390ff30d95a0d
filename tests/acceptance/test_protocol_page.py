"""docs/protocol.md is enough: what it shows is played with a plain NATS client and literal JSON.

The half that plays it (`Stranger`) uses nats-py, json and the page; it knows nothing of Galerne's
own code, as a program in another language would. The fleet that it talks to is a real one.
"""

import hashlib
import json
import re
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import nats
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from acceptance.pages import ROOT, Block, blocks, fleet
from contract.recorded_messages import EXPECTED, load
from galerne.bus.connection import connect
from galerne.bus.topology import provision
from galerne.messages import codec
from galerne.messages.facts import LANES, PRIORITIES
from galerne.settings import BusSettings, Settings, TenantSettings, ToolSettings
from galerne.testing import nats_server

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs" / "protocol.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = blocks(PAGE, "json")

DECODERS: dict[str, Callable[[bytes], object]] = {
    "submit": codec.decode_submit,
    "tools_present": codec.decode_tools_heard,
    "call": codec.decode_call_tool,
    "working": codec.decode_tool_reply,
    "result": codec.decode_tool_reply,
    "ended": lambda data: codec.decode_fact("end", data),
}
"""Who must be able to read a message of the walk through a whole job."""


def shown(label: str) -> list[dict[str, Any]]:
    """The messages that the page shows under a label, in their order."""
    found = [json.loads(block.text) for block in BLOCKS if block.label == label]
    assert found, f"the page has no block {label!r}"
    return found


def quoted(text: str) -> str:
    """`text`, which the page must hold to the letter."""
    assert text in TEXT, f"the page does not say {text!r}"
    return text


# every example is what it says


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"line {block.line}: {block.label}")
def test_every_block_is_the_message_that_it_says(block: Block) -> None:
    origin, _, name = block.label.partition("=")
    message = json.loads(block.text)
    match origin:
        case "recorded":
            assert message == load(name).message
            assert EXPECTED[name].decode(block.text.encode()) == EXPECTED[name].meaning
        case "walk":
            assert message["type"] == name
            assert DECODERS[name](block.text.encode())
        case "server":
            assert name in {"accepted", "duplicate", "backlog-full", "batch"}
        case _:
            pytest.fail(f"line {block.line}: nobody says what this block is")


def test_every_kind_of_message_is_shown() -> None:
    kinds = {kind for name in EXPECTED if (kind := load(name).message.get("type"))}
    assert kinds - {json.loads(block.text).get("type") for block in BLOCKS} == set()


def test_every_subject_of_a_recording_is_in_the_table_of_subjects() -> None:
    table = TEXT.partition("\n## Subjects\n")[2].partition("\n## ")[0]
    heads = {".".join(recording.subject.split(".")[:2]) for recording in _with_subject()}
    assert {head for head in heads if not re.search(rf"`{re.escape(head)}[.`]", table)} == set()
    for word in (*LANES, *PRIORITIES):
        assert f"`{word}`" in table


def test_the_numbers_worked_out_on_the_page_are_right() -> None:
    hashed = hashlib.sha256(b"acme\0nightly-2026-11-22").hexdigest()
    job = f"k-{hashed[:24]}"
    assert quoted(f"`{hashed[:24]}…`")
    assert quoted(f"so the job is `{job}`")
    for name in ("job-1", job):
        number = zlib.crc32(name.encode())
        assert quoted(f"| `{name}` | {number} | {number % 8} |")


def test_the_limits_on_the_page_are_the_settings() -> None:
    bus, tools = BusSettings(), ToolSettings()
    assert quoted(f"{bus.max_payload // 1024} KiB ({bus.max_payload:,} bytes)")
    assert quoted(f"`bus.partitions`, {bus.partitions} by default")
    assert quoted(f"hears nothing for {tools.heartbeat * 3.2:g} seconds")


def _with_subject() -> list[Any]:
    return [recording for name in EXPECTED if (recording := load(name)).subject]


# the walk through a whole job

Heard = Callable[[Msg], Awaitable[None]]


class Stranger:
    """A program that has read the page and has a NATS client."""

    def __init__(self, connection: NatsClient) -> None:
        self.live: list[Msg] = []
        self.calls: list[dict[str, Any]] = []
        self.ended = anyio.Event()
        self._connection = connection
        self._presence = json.dumps(shown("walk=tools_present")[0]).encode()
        self._results = {result["value"]["path"]: result for result in shown("walk=result")}

    async def offer_the_tool(self) -> None:
        subject = quoted("galerne.tool.text_stats")
        await subscribe(self._connection, subject, self._on_call, queue="tools")
        query = quoted("galerne.presence_query.tools")
        await subscribe(self._connection, query, self._on_query)

    async def announce(self) -> None:
        """Until cancelled; the last word is that this worker leaves."""
        subject = quoted("galerne.presence.tools")
        try:
            while True:
                await self._connection.publish(subject, self._presence)
                await anyio.sleep(1)
        finally:
            leaving = {**json.loads(self._presence), "leaving": True}
            with anyio.CancelScope(shield=True):
                await self._connection.publish(subject, json.dumps(leaving).encode())
                await self._connection.flush()

    async def listen(self) -> None:
        await subscribe(self._connection, quoted("galerne.live.acme.job-1.>"), self._on_live)
        await self._connection.flush()

    async def submit(self) -> dict[str, Any]:
        """Hand the job of the page over; gives the acknowledgement."""
        reply = await self._connection.request(
            quoted("galerne.submit.acme"),
            json.dumps(shown("walk=submit")[0]).encode(),
            headers={"Nats-Msg-Id": "acme.job-1"},
        )
        acknowledgement: dict[str, Any] = json.loads(reply.data)
        return acknowledgement

    async def ask_for_the_end(self) -> Msg:
        subject = quoted("galerne.ev.7.acme.job-1.end")
        quoted("$JS.API.DIRECT.GET.GALERNE_EVENTS.galerne.ev.<part>.<tenant>.<job>.end")
        return await self._connection.request(f"$JS.API.DIRECT.GET.GALERNE_EVENTS.{subject}", b"")

    async def read_the_log(self) -> list[Msg]:
        """Every fact of the job, as the page's batch request brings them."""
        inbox = self._connection.new_inbox()
        replies = await subscribe(self._connection, inbox)
        request = json.dumps(shown("server=batch")[0]).encode()
        await self._connection.publish("$JS.API.DIRECT.GET.GALERNE_EVENTS", request, reply=inbox)
        facts: list[Msg] = []
        while "Status" not in _headers(message := await replies.next_msg(5)):
            facts.append(message)
        assert _headers(message)["Status"] == "204"
        assert _headers(message)["Nats-Num-Pending"] == "0"
        return facts

    async def _on_query(self, _: Msg) -> None:
        await self._connection.publish("galerne.presence.tools", self._presence)

    async def _on_call(self, message: Msg) -> None:
        call = json.loads(message.data)
        self.calls.append(call)
        await message.respond(json.dumps(shown("walk=working")[0]).encode())
        result = self._results[call["arguments"]["path"]]
        await message.respond(json.dumps(result).encode())

    async def _on_live(self, message: Msg) -> None:
        self.live.append(message)
        if message.subject == quoted("galerne.live.acme.job-1.end"):
            self.ended.set()


@asynccontextmanager
async def a_connection(server: str) -> AsyncGenerator[NatsClient]:
    connection = await nats.connect(server)  # pyright: ignore[reportUnknownMemberType] - its options are untyped
    try:
        yield connection
    finally:
        await connection.close()


async def subscribe(
    connection: NatsClient, subject: str, callback: Heard | None = None, queue: str = ""
) -> Subscription:
    return await connection.subscribe(subject, queue=queue, cb=callback)  # pyright: ignore[reportUnknownMemberType] - its optional Future is untyped


async def test_a_job_by_hand_with_nothing_but_a_nats_client(tmp_path: Path) -> None:
    async with (
        fleet(tmp_path, ("coordinator", "planner", "executor")) as running,
        a_connection(running.server) as connection,
        anyio.create_task_group() as tasks,
    ):
        stranger = Stranger(connection)
        await stranger.offer_the_tool()
        tasks.start_soon(stranger.announce)
        await stranger.listen()
        assert await stranger.submit() == shown("server=accepted")[0]
        assert await stranger.submit() == shown("server=duplicate")[0]
        with anyio.fail_after(30):
            await stranger.ended.wait()
        check_calls(stranger.calls)
        check_live(stranger.live)
        from_the_log = await stranger.ask_for_the_end()
        assert from_the_log.data == stranger.live[-1].data
        check_log(await stranger.read_the_log(), from_the_log)
        tasks.cancel_scope.cancel()


def check_calls(calls: list[dict[str, Any]]) -> None:
    """One call for each file, in the form that the page shows."""
    (example,) = shown("walk=call")
    by_path = {call["arguments"]["path"]: call for call in calls}
    assert set(by_path) == {"notes/monday.txt", "notes/tuesday.txt"}
    assert len({call["key"] for call in calls}) == 2  # a call may come again, its key stays
    assert {**by_path["notes/monday.txt"], "deadline": example["deadline"]} == example


def check_live(live: list[Msg]) -> None:
    """The end says what the page says, and facts have the headers of its table."""
    (example,) = shown("walk=ended")
    end = json.loads(live[-1].data)
    assert end["status"] == "succeeded"
    assert end["result"] == example["result"]
    assert end["usage"]["tool_calls"] == example["usage"]["tool_calls"]
    assert set(end) == set(example)
    assert set(end["usage"]["models"]) == set(example["usage"]["models"])
    for message in live:
        if ".delta." in message.subject:
            assert "Nats-Sequence" not in _headers(message)
            assert json.loads(message.data)["type"] == "delta"
        else:
            check_headers(message)


def check_headers(message: Msg) -> None:
    headers = _headers(message)
    names = {"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Last-Sequence"}
    assert {name for name in {*names, "Nats-Time-Stamp"} if name not in headers} == set()
    assert headers["Nats-Stream"] == "GALERNE_EVENTS"
    rest = message.subject.removeprefix("galerne.live.acme.")
    assert headers["Nats-Subject"] == f"galerne.ev.7.acme.{rest}"


def check_log(facts: list[Msg], end: Msg) -> None:
    """The log as the page's table has it: every kind of subject named there, in its order."""
    names = [
        _headers(fact)["Nats-Subject"].removeprefix("galerne.ev.7.acme.job-1.") for fact in facts
    ]
    assert names[0] == "submitted"
    assert names[-1] == "end"
    assert facts[-1].data == end.data
    for earlier, later in (
        ("ready.planner.normal.plan-1", "run.plan-1"),
        ("plan.1.1", "plan.1.end"),
        ("plan.1.end", "done.plan-1"),
        ("plan.1.1", "ready.executor.normal.1"),
        ("step.1.1", "step.1.2"),
        ("done.1", "ready.executor.normal.3"),
        ("done.2", "ready.executor.normal.3"),
        ("done.3", "ready.planner.normal.answer"),
        ("done.answer", "end"),
    ):
        assert names.index(earlier) < names.index(later)


def _headers(message: Msg) -> dict[str, str]:
    return {str(name): value for name, value in (message.headers or {}).items()}


# what a submission may hear instead


async def test_a_full_backlog_is_refused_as_the_page_says() -> None:
    async with nats_server() as server:
        settings = Settings(
            bus=BusSettings(server=server.url, backlog=1), tenants=TenantSettings(active=1)
        )
        async with connect(settings.bus, "test") as bus:
            await provision(bus, settings)
        async with a_connection(server.url) as connection:
            first, last = shown("walk=submit")[0], shown("recorded=submit")[0]
            accepted, _, refused = [
                await connection.request("galerne.submit.acme", json.dumps(message).encode())
                for message in (first, {**last, "job": "one-that-could-be-under-way"}, last)
            ]
            answers = accepted, refused
        assert [json.loads(answer.data) for answer in answers] == [
            *shown("server=accepted"),
            *shown("server=backlog-full"),
        ]


async def test_a_job_is_cancelled_by_the_command_on_the_page(tmp_path: Path) -> None:
    """Nobody plans here, so the job can only end by the command."""
    seen: list[Msg] = []
    async with (
        fleet(tmp_path, ("coordinator",)) as running,
        a_connection(running.server) as connection,
    ):
        live = await subscribe(connection, quoted("galerne.live.acme.job-1.>"))
        await connection.flush()
        submit = json.dumps(shown("walk=submit")[0]).encode()
        await connection.request("galerne.submit.acme", submit)
        await _seen(live, "galerne.live.acme.job-1.submitted")
        cancel = json.dumps(shown("recorded=cancel")[0]).encode()
        await connection.request("galerne.command.acme", cancel)
        while not (seen and seen[-1].subject == "galerne.live.acme.job-1.end"):
            seen.append(await live.next_msg(20))
    assert json.loads(seen[-1].data)["status"] == "cancelled"
    (why,) = [fact for fact in seen if fact.subject == "galerne.live.acme.job-1.cancel"]
    assert json.loads(why.data)["why"] == shown("recorded=cancel")[0]["why"]


async def _seen(live: Subscription, subject: str) -> None:
    """Read on until a message on that subject has come."""
    while (await live.next_msg(20)).subject != subject:
        pass

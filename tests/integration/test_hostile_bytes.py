"""A fleet at work under thousands of hostile messages on every subject: nothing good is lost.

A few thousand in each run of the tests; as many as you like with

    FUZZ_MESSAGES=100000 FUZZ_SEED=7 pytest -s tests/integration/test_hostile_bytes.py

They come in rounds. In each, good jobs run all the while and must succeed; then the queues must
be empty, and the quarantine must hold the bytes of what nobody could use.
"""

import os
import time
from collections import Counter

import pytest
import structlog.testing
from structlog.processors import format_exc_info

from galerne.agent import TaskContext
from galerne.bus.server import NatsServer
from galerne.settings import Settings
from galerne.tools import tool
from integration.fleet import (
    Fleet,
    Member,
    calling,
    echoing,
    fleet_on,
    planning,
    pub,
    raw,
    task,
    until,
)
from integration.hostile import Hostile, Maker

# Whose inbox is attacked, and how often a connection broke, shows only inside.
# pyright: reportPrivateUsage=false

MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "2000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
ROUND = 1000
"""Messages between two looks at the queues; the quarantine holds at most 64 MB."""
VOLLEY = 100
"""Messages that are sent at once."""
LARGE = 400_000
"""Bytes from which a message is kept in part, which its record says."""
PATIENCE = 60.0
"""Seconds until a good job under fire must be over."""
EXPECTED = "a message could not be quarantined"

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(90 + MESSAGES // 40)]


@tool
async def look(word: str) -> str:
    """Look a word up."""
    return word.upper()


async def working(context: TaskContext) -> object:
    """Ask a model in one kind of task and call a tool in the other."""
    if context.ready.task.id == "two":
        return await calling("look", word="a")(context)
    return await echoing(context)


class Battle:
    """A fleet of one worker of each role, so each must serve for a job to succeed."""

    def __init__(self, fleet: Fleet, server: NatsServer) -> None:
        self.fleet = fleet
        self.members: list[Member] = []
        self.jobs: list[str] = []
        self.kept = 0
        self.sent: Counter[str] = Counter()
        self._server = server

    async def start(self) -> None:
        fleet = self.fleet
        self.members = [
            await fleet.coordinator(),
            await fleet.planner(planning(task("one"), task("two", "one"))),
            await fleet.worker(working),
            await fleet.tools(look),
        ]

    async def fire(self, maker: Maker, count: int) -> None:
        """One round, with good jobs in the middle of it."""
        messages = list(maker.messages(count))
        running: list[str] = []
        for start in range(0, count, VOLLEY):
            if start % (3 * VOLLEY) == 0:
                running.append(await self.submit())
            volley = messages[start : start + VOLLEY]
            await raw(self._server.port, *(one.command() for one in volley), *self._to_inboxes())
        for message in messages:
            self.sent[message.subject.decode("utf-8", "replace").split(".")[1]] += 1
        running.append(await self.submit())  # it goes through every queue behind the others
        for job in running:
            await self.succeeds(job)
        await self.drained()
        await self.audit(messages)

    def _to_inboxes(self) -> list[bytes]:
        """Garbage for whatever each member waits for just now, and for its pulls."""
        commands: list[bytes] = []
        for member in self.members:
            inbox = member.bus._replies.inbox
            waiting = list(member.bus._replies._waiting)[:3]
            commands += [pub(f"{inbox}.{token}".encode(), b"\xff{") for token in waiting]
            commands += [pub(f"{inbox}-{n}.1".encode(), b"\xff{") for n in range(1, 4)]
            commands.append(pub(f"{inbox}.0".encode(), b"\x00"))
        self.sent["_INBOX"] += len(commands)
        return commands

    async def submit(self) -> str:
        self.jobs.append(f"good-{len(self.jobs)}")
        await self.fleet.submit(self.jobs[-1])
        return self.jobs[-1]

    async def succeeds(self, job: str) -> None:
        ended = await until(lambda: self.fleet.find(job, "end"), f"{job} ends under fire", PATIENCE)
        assert getattr(ended, "status", None) == "succeeded", ended
        assert getattr(ended, "result", None) == {"one": "reply to do one", "two": "A"}, ended

    async def drained(self) -> None:
        """Until no queue that somebody serves has anything left."""
        served = ("admit", "commands", "part-", "executor-", "planner-")

        async def empty() -> bool:
            for stream in ("SUBMIT", "EVENTS", "TASKS"):
                name = self.fleet.bus.subjects.stream(stream)
                answer = await self.fleet.bus.api(f"CONSUMER.LIST.{name}")
                for info in answer["consumers"]:
                    left = int(info["num_pending"]) + int(info["num_ack_pending"])
                    if left and info["name"].startswith(served):
                        return False
            return True

        await until(empty, "the queues are empty", PATIENCE)

    async def audit(self, messages: list[Hostile]) -> None:
        """Until what is kept holds the bytes of what had to be kept; then begin anew."""
        due = {(one.kept, one.data) for one in messages if one.kept is not None}
        missing: list[tuple[str, bytes]] = []
        records: list[tuple[str, bytes]] = []

        async def all_kept() -> bool:
            records[:] = await self.records()
            found = Counter(records)
            cut = [record for record in found if len(record[1]) > LARGE]
            missing[:] = [one for one in due if one not in found and not _begins(one, cut)]
            return not missing

        try:
            await until(all_kept, "all of it is kept")
        except AssertionError as error:
            named = [(subject, data[:200]) for subject, data in missing[:5]]
            raise AssertionError(f"{len(missing)} of {len(due)} are not kept: {named}") from error
        self.kept += len(records)
        subjects = self.fleet.bus.subjects
        stream = subjects.stream("QUARANTINE")
        await self.fleet.bus.api(f"STREAM.PURGE.{stream}", {"filter": subjects.quarantine(">")})

    async def records(self) -> list[tuple[str, bytes]]:
        for origin in ("hostile", "a.b.c"):  # what was written there is no record
            stream = self.fleet.bus.subjects.stream("QUARANTINE")
            subject = self.fleet.bus.subjects.quarantine(origin)
            await self.fleet.bus.api(f"STREAM.PURGE.{stream}", {"filter": subject})
        return [(record.subject, record.data) for record in await self.fleet.quarantined()]

    def check_members(self) -> None:
        for member in self.members:
            assert member.alive, f"{member.name} died"
            assert not member.bus.closed.is_set(), f"{member.name} lost its connection"
            breaks = member.bus._client.stats["reconnects"]
            assert breaks == 0, f"{member.name} lost its connection {breaks} times"


def _begins(one: tuple[str, bytes], cut: list[tuple[str, bytes]]) -> bool:
    """Whether its beginning is among those that were cut."""
    subject, data = one
    return any(subject == kept and data.startswith(beginning) for kept, beginning in cut)


async def test_a_fleet_at_work_bears_hostile_messages(
    server: NatsServer, settings: Settings
) -> None:
    begun = time.monotonic()
    unexpected: Counter[str] = Counter()
    async with fleet_on(settings) as fleet:
        battle = Battle(fleet, server)
        await battle.start()
        maker = Maker(SEED, fleet.bus.subjects, lambda: battle.jobs[-3:])
        for start in range(0, MESSAGES, ROUND):
            with structlog.testing.capture_logs([format_exc_info]) as lines:
                await battle.fire(maker, min(ROUND, MESSAGES - start))
            battle.check_members()
            print(f"{start + ROUND} sent, {time.monotonic() - begun:.0f} s")  # noqa: T201 - as below
            unexpected.update(
                f"{line['event']} {line.get('subject', '')}: {line.get('exception', '')}"
                for line in lines
                if line["log_level"] in {"error", "critical"} and line["event"] != EXPECTED
            )
        await battle.succeeds(await battle.submit())
        battle.check_members()
    seconds = time.monotonic() - begun
    print(  # noqa: T201 - the figures are what a long run is for
        f"\n{sum(battle.sent.values())} hostile messages (seed {SEED}) in {seconds:.0f} s:"
        f" {len(battle.jobs)} good jobs succeeded, {battle.kept} messages kept;"
        f" by family {dict(battle.sent.most_common())}"
    )
    assert not unexpected, f"errors that nobody foresaw: {unexpected}"

"""Which tools are served now, as their workers announce them.

    tools_present ─▶ judged, each tool for itself ─▶ known     (a worker comes, goes, serves else)
    tools_alive of somebody known ─▶ goes on; of a stranger ─▶ it is asked what it serves
    silent for three and a half heartbeats (1.75 s) ─▶ gone

Of two versions the newest is told to whoever begins; who was told another goes on with that.
"""

from typing import NamedTuple

import anyio
import msgspec

from galerne.bus.connection import Bus
from galerne.core.schema_words import in_words_of_json
from galerne.core.tool_versions import (
    MOST_TOOLS,
    Offer,
    fault_of_announcement,
    offers,
    preferred,
)
from galerne.errors import InvalidInputError, TransientError
from galerne.logs import get_logger
from galerne.messages.codec import decode_tools_heard
from galerne.messages.tools import ToolsAlive, ToolSpec, ToolsPresent
from galerne.planner.given import tool_specs
from galerne.runtime.presence import Heard, listen

log = get_logger("galerne.runtime.tools")

HEARTBEAT = 0.5
"""Seconds between a tool worker's heartbeats: one that dies is missed in 2 s. They are short, some
100 bytes; what it serves is said when it comes, when it is asked, and every `presence.WHOLE`."""
PATIENCE = 3.0
"""Seconds that a directory without any tool waits for an announcement: workers restart."""
MOST_WARNINGS = 10
"""Tools of one announcement that are told of one by one in the log."""
_ASK_AGAIN = 1.0
"""Seconds until a stranger is asked once more what it serves."""


class _Known(NamedTuple):
    """What a worker has announced, and what of it can be called."""

    tools: tuple[ToolSpec, ...]
    usable: ToolsPresent


class ToolDirectory:
    """Listens to `presence.tools`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._heard: Heard[_Known] = Heard(HEARTBEAT)
        self._offers: list[Offer] = []
        self._specs: dict[str, ToolSpec] = {}
        self._asked: dict[str, float] = {}
        """Strangers by name, and when they were asked what they serve."""
        self._empty_since: float | None = anyio.current_time()
        self._had_some = False
        self._changed = anyio.Event()

    async def start(self) -> None:
        await listen(self._bus, "tools", self._hear)

    async def _hear(self, data: bytes) -> None:
        said = decode_tools_heard(data)
        now = anyio.current_time()
        match said:
            case ToolsPresent():
                self._take(said, now)
            case ToolsAlive(worker=worker):
                if not self._heard.still_there(worker, now):
                    await self._ask(worker, now)

    def _take(self, said: ToolsPresent, now: float) -> None:
        self._asked.pop(said.worker, None)
        before = self._heard.get(said.worker)
        same = before is not None and before.tools == said.tools
        known = before if before is not None and same else _judged(said)
        if self._heard.hear(said.worker, known, now, leaving=said.leaving) or not same:
            self._renew()
            changed, self._changed = self._changed, anyio.Event()
            changed.set()

    async def _ask(self, worker: str, now: float) -> None:
        """Somebody is alive of whom nothing is known: its announcement was missed."""
        if now - self._asked.get(worker, -_ASK_AGAIN) < _ASK_AGAIN:
            return
        self._asked = {one: at for one, at in self._asked.items() if now - at < _ASK_AGAIN}
        self._asked[worker] = now
        try:
            await self._bus.send(self._bus.subjects.presence_query("tools"), worker.encode())
        except TransientError as error:
            log.debug("a tool worker is not asked yet", error=str(error))

    def _renew(self) -> None:
        self._offers = offers(one.usable for one in self._heard.members().values())
        self._specs = preferred(self._offers)

    def offers(self) -> list[Offer]:
        """Every version that is served, by name, the preferred one first."""
        now = anyio.current_time()
        if self._heard.expire(now):
            self._renew()
        if self._heard:
            self._empty_since, self._had_some = None, True
        elif self._empty_since is None:
            self._empty_since = now
        return self._offers

    def specs(self) -> dict[str, ToolSpec]:
        """The newest version of each tool by name, in the order of their names."""
        self.offers()
        return self._specs

    def serves(self, spec: ToolSpec) -> bool:
        """Whether somebody serves just this version."""
        return any(
            offer.spec.name == spec.name and offer.spec.route == spec.route
            for offer in self.offers()
        )

    async def settled(self) -> dict[str, ToolSpec]:
        """The tools; where there are none at all, after waiting a little for some to come."""
        while not (specs := self.specs()):
            left = (self._empty_since or 0.0) + PATIENCE - anyio.current_time()
            if left <= 0:
                break
            with anyio.move_on_after(left):
                await self._changed.wait()
        return specs

    def lost_all(self) -> bool:
        """Whether there were tools before, and now there is not a single one."""
        return not self.specs() and self._had_some

    async def find(self, name: str, patience: float = PATIENCE) -> ToolSpec | None:
        """A tool by name, waiting a little for a worker that restarts."""
        with anyio.move_on_after(patience):
            while name not in self.specs():
                await self._changed.wait()
        return self.specs().get(name)

    async def find_again(self, told: ToolSpec, patience: float = PATIENCE) -> ToolSpec | None:
        """The version that was told, waiting a little for it; else the newest, if there is any."""
        with anyio.move_on_after(patience):
            while not self.serves(told):
                await self._changed.wait()
        return told if self.serves(told) else self.specs().get(told.name)


def usable(said: ToolsPresent) -> tuple[ToolsPresent, list[tuple[str, str]]]:
    """An announcement without the tools that nobody could call, and these, each with the reason."""
    kept: list[ToolSpec] = []
    refused: list[tuple[str, str]] = []
    for spec in said.tools[:MOST_TOOLS]:
        why = fault_of_announcement(spec) or _fault_of_schema(spec)
        if why is None:
            kept.append(spec)
        else:
            refused.append((spec.name[:64], why))
    return msgspec.structs.replace(said, tools=tuple(kept)), refused


def _fault_of_schema(spec: ToolSpec) -> str | None:
    parameters = spec.parameters
    try:
        tool_specs([spec])
        kind = in_words_of_json(parameters).get("type", "object")
    except (InvalidInputError, RecursionError) as error:
        return str(error)
    if kind != "object" or not isinstance(parameters.get("properties", {}), dict):
        return "its parameters must be a JSON Schema of type object"
    return None


def _judged(said: ToolsPresent) -> _Known:
    kept, refused = usable(said)
    by = said.worker[:64]
    for name, why in refused[:MOST_WARNINGS]:
        log.warning("a tool that is announced cannot be called", by=by, tool=name, why=why)
    if more := len(refused[MOST_WARNINGS:]):
        log.warning("more tools that are announced cannot be called", by=by, tools=more)
    if beyond := len(said.tools[MOST_TOOLS:]):
        log.warning("a worker announces too many tools", by=by, most=MOST_TOOLS, left_out=beyond)
    return _Known(said.tools, kept)


NO_WORKER = "no tool worker is there any more: start one with `galerne worker tools`"


def nobody_serves(tool: str) -> str:
    """The sentence for a tool without a worker."""
    return f"no worker serves tool {tool}: start one with `galerne worker tools`"

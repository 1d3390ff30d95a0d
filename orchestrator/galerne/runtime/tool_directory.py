"""Which tools are served now, as their workers announce them.

    tools_present ─▶ judged, each tool for itself ─▶ known     (a worker comes, goes, serves else)
    tools_alive of somebody known ─▶ goes on; of a stranger ─▶ it is asked what it serves
    silent for three and a half heartbeats (1.75 s) ─▶ gone

Of two versions the newest is told to whoever begins; who was told another goes on with that.
Announcements are strangers' words: how many are taken in, how long judging them holds the event
loop and how many lines of the log they make is bounded.
"""

from collections.abc import Iterable
from typing import NamedTuple

import anyio
import anyio.lowlevel
import msgspec

from galerne.bus.connection import Bus
from galerne.core.announced import Allowance, has_room, in_short, within_bounds
from galerne.core.printable import printable_line
from galerne.core.schema_words import in_words_of_json
from galerne.core.tool_versions import Offer, fault_of_announcement, offers, preferred
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
_ASK_AGAIN = 1.0
"""Seconds until a stranger is asked once more what it serves."""
_MOST_ASKED = 100
"""Strangers that are asked in `_ASK_AGAIN`; the others are asked by a later heartbeat."""
_AT_ONCE = 16
"""Tools that are judged before others in the event loop have their turn: about 10 ms."""
_LONGEST_WHY = 300
"""Characters of why a tool cannot be called, in the log."""
_LINES = 20
"""Lines that the log gets at once of announcements; afterwards one a second."""


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
        self._stale = False
        """Whether these two are worked out anew before they are looked at next."""
        self._sizes: dict[str, int] = {}
        """Of each known worker, how many tools it has announced."""
        self._lines = Allowance(_LINES)
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
                await self._take(within_bounds(said), len(said.tools), now)
            case ToolsAlive(worker=worker):
                if not self._heard.still_there(worker, now):
                    await self._ask(worker, now)

    async def _take(self, said: ToolsPresent, announced: int, now: float) -> None:
        self._asked.pop(said.worker, None)
        before = self._heard.get(said.worker)
        if not said.leaving and not self._has_room(said):
            self._warn(said, "there is no room for its tools", now)
            return
        if before is not None and before.tools == said.tools:
            known, same = before, True
        else:
            known, same = await self._judged(said, announced, now), False
        if said.leaving:
            self._sizes.pop(said.worker, None)
        else:
            self._sizes[said.worker] = len(said.tools)
        self._had_some = self._had_some or bool(known.usable.tools)
        if self._heard.hear(said.worker, known, now, leaving=said.leaving) or not same:
            self._stale = True
            changed, self._changed = self._changed, anyio.Event()
            changed.set()

    def _has_room(self, said: ToolsPresent) -> bool:
        if has_room(self._sizes, said.worker, said.tools):
            return True
        self.offers()  # whoever is gone makes room
        return has_room(self._sizes, said.worker, said.tools)

    async def _judged(self, said: ToolsPresent, announced: int, now: float) -> _Known:
        if said.leaving:
            return _Known((), msgspec.structs.replace(said, tools=()))
        kept: list[ToolSpec] = []
        refused: list[tuple[str, str]] = []
        for begin in range(0, len(said.tools), _AT_ONCE):
            some = said.tools[begin : begin + _AT_ONCE]
            usable, unusable = judged(some)
            kept += usable
            refused += unusable
            await anyio.lowlevel.checkpoint()
        if announced > len(said.tools):
            why = f"it announces {announced} tools, and the first {len(said.tools)} are taken"
            self._warn(said, why, now)
        if refused:
            self._warn(said, in_short(refused), now)
        return _Known(said.tools, msgspec.structs.replace(said, tools=tuple(kept)))

    def _warn(self, said: ToolsPresent, why: str, now: float) -> None:
        if self._lines.take(now):
            by = said.worker[:64]
            log.warning("tools that are announced cannot be called", by=by, why=why)

    async def _ask(self, worker: str, now: float) -> None:
        """Somebody is alive of whom nothing is known: its announcement was missed."""
        if now - self._asked.get(worker, -_ASK_AGAIN) < _ASK_AGAIN:
            return
        if len(self._asked) >= _MOST_ASKED:
            oldest = next(iter(self._asked))
            if now - self._asked[oldest] < _ASK_AGAIN:
                return
            del self._asked[oldest]
        self._asked.pop(worker, None)  # the latest stands last
        self._asked[worker] = now
        try:
            await self._bus.send(self._bus.subjects.presence_query("tools"), worker.encode())
        except TransientError as error:
            log.debug("a tool worker is not asked yet", error=str(error))

    def offers(self) -> list[Offer]:
        """Every version that is served, by name, the preferred one first."""
        now = anyio.current_time()
        if self._heard.expire(now) or self._stale:
            members = self._heard.members()
            self._sizes = {worker: len(one.tools) for worker, one in members.items()}
            self._offers = offers(one.usable for one in members.values())
            self._specs = preferred(self._offers)
            self._stale = False
        if self._heard:
            self._empty_since = None
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


def judged(tools: Iterable[ToolSpec]) -> tuple[list[ToolSpec], list[tuple[str, str]]]:
    """The tools that can be called, and the others by name, each with the reason."""
    kept: list[ToolSpec] = []
    refused: list[tuple[str, str]] = []
    for spec in tools:
        why = fault_of_announcement(spec) or _fault_of_schema(spec)
        if why is None:
            kept.append(spec)
        else:
            refused.append((printable_line(spec.name, 64), printable_line(why, _LONGEST_WHY)))
    return kept, refused


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


NO_WORKER = "no tool worker is there any more: start one with `galerne worker tools`"


def nobody_serves(tool: str) -> str:
    """The sentence for a tool without a worker."""
    return f"no worker serves tool {tool}: start one with `galerne worker tools`"

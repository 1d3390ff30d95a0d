"""The log of a simulated world, and the coordinators that read it, each at its own pace."""

import msgspec

from galerne.core.decide import decide
from galerne.core.fold import fold
from galerne.core.rules import Rules
from galerne.core.state import JobState
from galerne.core.unreadable import meaning
from galerne.messages.facts import AnyFact, Ended
from galerne.messages.subjects import fact_name

MAX_ATTEMPTS = 3
MANY = 1_000
"""More rounds and facts than any of these small jobs needs."""
WAKING = ("submitted", "plan", "done", "ask", "decided", "cancel", "end")
"""The first words of the names that a coordinator is woken for."""


class Entry(msgspec.Struct, frozen=True):
    """A place in the log. `fact` is None where the bytes are no fact."""

    name: str
    fact: AnyFact | None
    at: float

    def meant(self) -> AnyFact | None:
        return meaning(self.name, "no JSON", self.at) if self.fact is None else self.fact


class Log:
    """Write-once by name; `run.*` is appended to by whoever knows its last position."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._last: dict[str, int] = {}

    def write(self, name: str, fact: AnyFact | None, at: float) -> bool:
        """Whether the name was free."""
        return name not in self._last and self.append(name, fact, at, 0)

    def append(self, name: str, fact: AnyFact | None, at: float, expected: int) -> bool:
        """Whether the name's last position (from 1; 0: none) was the expected one."""
        if self._last.get(name, 0) != expected:
            return False
        self.entries.append(Entry(name, fact, at))
        self._last[name] = len(self.entries)
        return True

    def last(self, name: str) -> tuple[Entry | None, int]:
        position = self._last.get(name, 0)
        return (self.entries[position - 1] if position else None), position

    def holds(self, name: str) -> bool:
        return name in self._last


class Coordinator:
    """A replica: what it has seen of the log, and what it has decided and not yet written."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.crash()

    def crash(self) -> None:
        """Forget everything: what was decided and not written, too."""
        self.state = JobState()
        self.seen = 0
        self.outbox: list[AnyFact] = []
        self._loaded = False

    def wake(self, upto: int, now: float) -> None:
        """Read on to `upto`: the first time everything, later only what wakes a coordinator."""
        for entry in self._log.entries[self.seen : upto]:
            if not self._loaded or entry.name.partition(".")[0] in WAKING:
                self._fold(entry)
                if self._loaded:
                    self._decide(now)
        self.seen = max(self.seen, upto)
        if not self._loaded:
            self._loaded = True
            self._decide(now)

    def write(self, which: int, now: float) -> None:
        """One of the decided facts; where another stands in its place, everything is read anew."""
        fact = self.outbox.pop(which)
        if not self._log.write(fact_name(fact), fact, now):
            self.crash()
            self.wake(len(self._log.entries), now)

    def catch_up(self, now: float) -> None:
        self.wake(len(self._log.entries), now)
        rounds = 0
        while self.outbox:
            self.write(0, now)
            self.wake(len(self._log.entries), now)
            rounds += 1
            assert rounds < MANY, "a coordinator decides the same again and again"

    def _fold(self, entry: Entry) -> None:
        fact = entry.meant()
        if fact is not None:
            fold(self.state, fact, entry.at)

    def _decide(self, now: float) -> None:
        """An end without an answer is decided from the whole log: others' writes may miss here."""
        lacking = decide(self.state, now, Rules(max_attempts=MAX_ATTEMPTS))
        if any(isinstance(fact, Ended) and fact.status != "succeeded" for fact in lacking):
            self.state, self.seen, self.outbox = JobState(), len(self._log.entries), []
            for entry in self._log.entries:
                self._fold(entry)
            lacking = decide(self.state, now, Rules(max_attempts=MAX_ATTEMPTS))
        for fact in lacking:
            fold(self.state, fact, now)
        self.outbox.extend(lacking)

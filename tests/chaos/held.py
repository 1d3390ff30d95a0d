"""The evidence of one fleet, read back, by what the rules of the auditor ask of it."""

import base64
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

_PID = re.compile(r"-(\d+)-[0-9a-f]+$")
"""The end of a worker's name: its pid and a random token."""
Line = Mapping[str, Any]


@dataclass
class Call:
    """One request of a model, in the stand-in's ledger. `finished` is when its last byte went.

    A refused one (429, 500) costs nothing and repeats nothing.
    """

    key: str
    started: float
    finished: float | None = None
    refused: bool = False


@dataclass
class Held:
    """The evidence of one fleet. Keys are `<job>.<task>.<step>`, times are Unix seconds."""

    jobs: list[dict[str, Any]]
    kills: list[dict[str, Any]]
    stops: list[dict[str, Any]]
    calls: dict[str, list[Call]]
    tools: list[dict[str, Any]]
    """The tools' ledger: `begin`, `effect` and `end` of each call."""
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`<job>.<name of the fact>` → the first such message, its data decoded."""
    claims: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """`<job>.<task>` → who has claimed it, in order."""
    journal: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Key of a tool call → the last message of each of its entries, as far as there are any."""
    messages: Counter[str] = field(default_factory=Counter)
    """`<job>.<name of the fact, or place in the tool journal>` → how many messages it has."""
    turns: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Job → what it has left in its conversation."""

    @property
    def effects(self) -> list[dict[str, Any]]:
        return [line for line in self.tools if line["event"] == "effect"]

    def safe_since(self, key: str) -> tuple[float, str] | None:
        """Since when an answer must not be paid for again, and why; None: it never was safe."""
        job, task, n = key.split(".")
        since: list[tuple[float, str]] = []
        step = self.facts.get(f"{job}.step.{task}.{n}")
        if step is not None:
            since.append((step["time"], "it was in the log"))
        ending = f".{job}.step.{task}.{n}"
        since += [
            (kill["time"], f"it was in the spool of process {kill['pid']}")
            for kill in self.kills
            if any(subject.endswith(ending) for subject in spooled(kill))
        ]
        return min(since, default=None)

    def payer(self, key: str, call: Call) -> int | None:
        """The pid of the process that held the task when a request came."""
        job, task, _ = key.split(".")
        claims = self.claims.get(f"{job}.{task}", ())
        before = [claim for claim in claims if claim["time"] <= call.started]
        return pid_of(before[-1]["data"].get("by")) if before else None


def read(folder: Path) -> Held:
    """The evidence in a folder."""
    held = Held(
        jobs=list(_lines(folder / "jobs.jsonl")),
        kills=list(_lines(folder / "kills.jsonl")),
        stops=list(_lines(folder / "stops.jsonl")),
        calls=_calls(_lines(folder / "models.jsonl")),
        tools=list(_lines(folder / "tools.jsonl")),
    )
    for message in _lines(folder / "log.jsonl"):
        _, _, _, _, job, *name = message["subject"].split(".")
        fact = message | {"data": _decoded(message["data"])}
        held.messages[f"{job}.{'.'.join(name)}"] += 1
        held.facts.setdefault(f"{job}.{'.'.join(name)}", fact)
        if name[0] == "run":
            held.claims.setdefault(f"{job}.{name[1]}", []).append(fact)
    for message in _lines(folder / "journal.jsonl"):
        *_, job, task, n, entry = message["subject"].split(".")
        held.messages[f"{job}.{task}.{n}.{entry}"] += 1
        known = held.journal.setdefault(f"{job}.{task}.{n}", {})
        known[entry] = message | {"data": _decoded(message["data"])}
    for message in _lines(folder / "turns.jsonl"):
        job = message["subject"].rpartition(".")[2]
        said = message | {"data": _decoded(message["data"])}
        held.turns.setdefault(job, []).append(said)
    return held


def spooled(kill: Line) -> Iterator[str]:
    """The subjects of the results in a dead process's spool; a torn line was never relied on."""
    for line in kill["spool"]:
        try:
            entry = json.loads(line)
            base64.b64decode(entry["data"], validate=True)
            yield entry["subject"]
        except (ValueError, KeyError, TypeError):
            continue


def pid_of(worker: object) -> int | None:
    """The pid in a worker's name."""
    found = _PID.search(worker) if isinstance(worker, str) else None
    return int(found[1]) if found else None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file; a last one that a kill cut short was never relied on."""
    if not path.exists():
        return
    *whole, _torn = path.read_text("utf-8").split("\n")
    for line in whole:
        yield json.loads(line)


def _decoded(data: str) -> dict[str, Any]:
    try:
        value: object = json.loads(data)
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _calls(lines: Iterable[Mapping[str, Any]]) -> dict[str, list[Call]]:
    by_request: dict[str, Call] = {}
    calls: dict[str, list[Call]] = defaultdict(list)
    for line in lines:
        if line.get("key") is None:
            continue
        if line["event"] == "started":
            call = by_request[line["request"]] = Call(line["key"], line["time"])
            calls[line["key"]].append(call)
        elif line["event"] == "finished":
            by_request[line["request"]].finished = line["time"]
        elif line["event"] == "refused":
            by_request[line["request"]].refused = True
    return {key: [call for call in several if not call.refused] for key, several in calls.items()}

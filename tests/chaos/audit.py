"""The auditor: reads what a run has left behind and says what was lost, repeated or doubled.

It shares no code with what it judges: the streams are read with a plain NATS client, everything is
plain JSON, and the rules below are written from `docs/guarantees.md` alone.

    collect    two streams ─▶ log.jsonl, journal.jsonl
    judge      the evidence of one fleet ─▶ findings, each with its cause
"""

import base64
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import anyio
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from chaos.plain import connect

What = Literal["lost", "stuck", "wrong", "again", "gap", "twice", "doubt", "odd"]
"""lost: accepted, and no trace; stuck: begun, and no end; wrong: another end than it had to have;
again: a model call repeated although its answer was safe; gap: repeated in the allowed window;
twice: an effect doubled; doubt: in doubt, as it has to be; odd: in doubt for no reason."""

BATCH = 500
COLLECTING = 60.0
"""Seconds that reading a stream may take, servers on their way back included."""

_PID = re.compile(r"-(\d+)-[0-9a-f]+$")
"""The end of a worker's name: its pid and a random token."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be, or that has to be counted."""

    what: What
    where: str
    cause: str


# reading the streams


async def collect(url: str, folder: Path, prefix: str = "galerne") -> None:
    """Read the log and the tool journal into the evidence."""
    client = await connect(url)
    try:
        with anyio.fail_after(COLLECTING):
            for name, stream in (("log", "EVENTS"), ("journal", "TOOLJ")):
                messages = await _read(client, f"{prefix.upper()}_{stream}")
                lines = "".join(f"{json.dumps(message)}\n" for message in messages)
                (folder / f"{name}.jsonl").write_text(lines, "utf-8")
    finally:
        await client.close()


async def _read(client: Client, stream: str) -> list[dict[str, Any]]:
    """Every message that the stream's leader holds, by direct gets, in order."""
    found: dict[int, dict[str, Any]] = {}
    while True:
        try:
            info = json.loads((await client.request(f"$JS.API.STREAM.INFO.{stream}", b"")).data)
            state = info["state"]
            await _read_until(client, stream, state["first_seq"], state["last_seq"], found)
        except (Error, OSError, KeyError, TimeoutError):
            await anyio.sleep(0.2)
            continue
        if len(found) >= state["messages"]:
            return [found[sequence] for sequence in sorted(found)]
        await anyio.sleep(0.2)  # a replica that lags behind has answered


async def _read_until(
    client: Client, stream: str, first: int, last: int, found: dict[int, dict[str, Any]]
) -> None:
    inbox = client.new_inbox()
    replies = await client.subscribe(inbox)  # pyright: ignore[reportUnknownMemberType] - its future is untyped
    try:
        while first <= last:
            asked = {"batch": BATCH, "seq": first, "next_by_subj": ">"}
            body = json.dumps(asked).encode()
            await client.publish(f"$JS.API.DIRECT.GET.{stream}", body, reply=inbox)
            begun = first
            while (message := _stored(await replies.next_msg(timeout=2))) is not None:
                found[message["sequence"]] = message
                first = message["sequence"] + 1
            if first == begun:
                return
    finally:
        await replies.unsubscribe()


def _stored(message: Msg) -> dict[str, Any] | None:
    """A message of the stream; None for the status that closes a batch."""
    headers = message.headers or {}
    if "Nats-Sequence" not in headers:
        return None
    return {
        "subject": headers["Nats-Subject"],
        "sequence": int(headers["Nats-Sequence"]),
        "time": _seconds(headers["Nats-Time-Stamp"]),
        "data": message.data.decode("utf-8", "backslashreplace"),
    }


def _seconds(stamp: str) -> float:
    from datetime import datetime

    head, _, rest = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{head}+00:00").timestamp() + float(f"0.{rest or 0}")


# the evidence


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
    """The evidence of one fleet, by what the rules ask of it. Keys are `<job>.<task>.<step>`."""

    jobs: list[dict[str, Any]]
    kills: list[dict[str, Any]]
    calls: dict[str, list[Call]]
    effects: list[dict[str, Any]]
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`<job>.<name of the fact>` → the first such message, its data decoded."""
    claims: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """`<job>.<task>` → who has claimed it, in order."""
    journal: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Key of a tool call → its last claim and its result, as far as there are any."""

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
            if any(subject.endswith(ending) for subject in _spooled(kill))
        ]
        return min(since, default=None)


def read(folder: Path) -> Held:
    """The evidence in a folder."""
    held = Held(
        jobs=list(_lines(folder / "jobs.jsonl")),
        kills=list(_lines(folder / "kills.jsonl")),
        calls=_calls(_lines(folder / "models.jsonl")),
        effects=[line for line in _lines(folder / "tools.jsonl") if line["event"] == "effect"],
    )
    for message in _lines(folder / "log.jsonl"):
        _, _, _, _, job, *name = message["subject"].split(".")
        fact = message | {"data": _decoded(message["data"])}
        held.facts.setdefault(f"{job}.{'.'.join(name)}", fact)
        if name[0] == "run":
            held.claims.setdefault(f"{job}.{name[1]}", []).append(fact)
    for message in _lines(folder / "journal.jsonl"):
        *_, job, task, n, entry = message["subject"].split(".")
        known = held.journal.setdefault(f"{job}.{task}.{n}", {})
        known[entry] = message | {"data": _decoded(message["data"])}
    return held


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


def _spooled(kill: Mapping[str, Any]) -> Iterator[str]:
    """The subjects of the results in a dead process's spool; a torn line was never relied on."""
    for line in kill["spool"]:
        try:
            entry = json.loads(line)
            base64.b64decode(entry["data"], validate=True)
            yield entry["subject"]
        except (ValueError, KeyError, TypeError):
            continue


# judging


def judge(held: Held) -> list[Finding]:
    """Everything that has to be counted, each with its cause."""
    doubts = list(_doubts(held))
    doubtful = {finding.where.split(".")[0] for finding in doubts}
    return [
        *_jobs(held, doubtful),
        *_repeated_calls(held),
        *_doubled_effects(held.effects),
        *doubts,
    ]


def _jobs(held: Held, doubtful: set[str]) -> Iterator[Finding]:
    """Whether each accepted job has ended, and as it had to."""
    for job in held.jobs:
        name, expected = job["id"], job["expected"]
        end = held.facts.get(f"{name}.end")
        if end is None:
            begun = f"{name}.submitted" in held.facts
            cause = _last_word(held, name) if begun else "the log knows nothing of it"
            yield Finding("stuck" if begun else "lost", name, cause)
            continue
        status, said = end["data"].get("status"), _text(end["data"])
        if status == "failed" and name in doubtful:
            continue  # counted as in doubt
        missing = [text for text in expected["texts"] if text not in said]
        if status != expected["status"] or missing:
            cause = f"ended {status} instead of {expected['status']}, without {missing}: {said}"
            yield Finding("wrong", name, cause[:400])


def _last_word(held: Held, job: str) -> str:
    names = [(fact["sequence"], name) for name, fact in held.facts.items()
             if name.startswith(f"{job}.")]  # fmt: skip
    _, last = max(names)
    return f"its last fact is {last.removeprefix(f'{job}.')}"


def _text(ended: Mapping[str, Any]) -> str:
    result = ended.get("result")
    text = result if isinstance(result, str) else json.dumps(result)
    return f"{text} {ended.get('error') or ''}"


def _repeated_calls(held: Held) -> Iterator[Finding]:
    """Requests that came although an earlier one for the same answer was finished."""
    for key, calls in held.calls.items():
        for number, call in enumerate(calls):
            before = [one for one in calls[:number] if one.finished is not None]
            if before:
                yield _repeated(held, key, before[-1], call)


def _repeated(held: Held, key: str, paid: Call, again: Call) -> Finding:
    assert paid.finished is not None
    if paid.finished > again.started:
        return Finding("again", key, "two processes asked for it at the same time")
    safe = held.safe_since(key)
    if safe is not None and safe[0] < again.started:
        late = again.started - safe[0]
        return Finding("again", key, f"{safe[1]} {late:.3f} s before it was asked for again")
    kill = _kill_between(held, _payer(held, key, paid), paid.finished, again.started)
    if kill is None:
        return Finding("again", key, "nobody died between the answer and the second request")
    gap = kill["time"] - paid.finished
    where = kill["point"]
    cause = f"its process died {gap * 1000:.0f} ms after the answer, at {where}, before the spool"
    return Finding("gap", key, cause)


def _payer(held: Held, key: str, call: Call) -> int | None:
    """The pid of the process that held the task when a request came."""
    job, task, _ = key.split(".")
    claims = [one for one in held.claims.get(f"{job}.{task}", ()) if one["time"] <= call.started]
    return _pid(claims[-1]["data"].get("by")) if claims else None


def _pid(worker: object) -> int | None:
    found = _PID.search(worker) if isinstance(worker, str) else None
    return int(found[1]) if found else None


def _kill_between(
    held: Held, pid: int | None, begin: float, end: float
) -> Mapping[str, Any] | None:
    """The kill of a process in a span of time. It is written down a moment after it happened."""
    return next(
        (kill for kill in held.kills if kill["pid"] == pid and begin <= kill["time"] <= end), None
    )


def _doubled_effects(effects: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """`once` more than once, or `idempotent` under keys that nobody could tell to be the same."""
    happened: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for effect in effects:
        job = effect["key"].split(".")[0]
        happened[job, effect["tool"], effect["note"]].append(effect)
    for (job, tool, note), several in happened.items():
        keys = sorted({effect["key"] for effect in several})
        if tool == "chaos_once" and len(several) > 1:
            who = ", ".join(str(effect["pid"]) for effect in several)
            yield Finding("twice", f"{job}.{note}", f"{tool} under {keys}, by processes {who}")
        elif tool == "chaos_idempotent" and len(keys) > 1:
            yield Finding("twice", f"{job}.{note}", f"{tool} under the different keys {keys}")


def _doubts(held: Held) -> Iterator[Finding]:
    """Effects that are in doubt, and whether they have to be."""
    rounds: Counter[str] = Counter()
    for name, fact in held.facts.items():
        job, kind, *rest = name.split(".")
        data = fact["data"]
        outcome: dict[str, Any] = data.get("outcome") or {}
        if kind == "done" and outcome.get("code") == "in_doubt":
            open_calls = _open_calls(held, f"{job}.{rest[0]}.")
            for key in open_calls:
                yield _doubt(held, key, 0)
            if not open_calls:
                yield Finding("odd", f"{job}.{rest[0]}", "no claim without a result stands for it")
        elif kind == "ask" and data.get("what") == "doubt":
            key = f"{job}.{data['task']}.{data['n']}"
            yield _doubt(held, key, rounds[key])  # each doubt is about the next round of the call
            rounds[key] += 1


def _open_calls(held: Held, task: str) -> list[str]:
    """Keys of a task that were claimed and have no result in the journal."""
    return [
        key
        for key, entries in held.journal.items()
        if key.startswith(task) and "claim" in entries and "result" not in entries
    ]


def _doubt(held: Held, key: str, round_: int) -> Finding:
    """In doubt as it has to be: whoever held the call has died, and nothing of it was safe."""
    claim = held.journal.get(key, {}).get(f"claim-{round_}" if round_ else "claim")
    if claim is None:
        return Finding("odd", key, "nobody has ever claimed the call")
    pid = _pid(claim["data"].get("by"))
    kill = next((one for one in held.kills if one["pid"] == pid), None)
    if kill is None:
        return Finding("odd", key, f"process {pid}, which held it, was never killed")
    if any(f".{key}.result" in subject for subject in _spooled(kill)):
        return Finding("odd", key, f"its result was in the spool of process {pid}")
    happened = any(effect["key"] == key for effect in held.effects)
    where = kill["point"]
    cause = f"process {pid} died at {where}; it has{'' if happened else ' not'} happened"
    return Finding("doubt", key, cause)

"""Rules for tool calls: no effect that may not, none after its result; each doubt has a reason."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from chaos.findings import Finding
from chaos.held import Held, Line, pid_of, spooled

BEGUN = 0.5
"""Seconds after a result in which a call may still begin: its worker looked just before it came."""
BEGUN_PURE = 2.0
"""The same for a `pure` call, which has no journal: it may have come to a worker that is slow, and
another one has answered meanwhile."""


def doubled_effects(effects: Sequence[Line]) -> Iterator[Finding]:
    """`once` more than once, or `idempotent` under keys that nobody could tell to be the same."""
    happened: dict[tuple[str, str, str], list[Line]] = defaultdict(list)
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


def late_effects(held: Held) -> Iterator[Finding]:
    """Calls that were begun although what comes of them stood already."""
    for line in held.tools:
        if line["event"] != "begin":
            continue
        key, at = line["key"], line["time"]
        job, task, n = key.split(".")
        results = [entry["time"] for name, entry in held.journal.get(key, {}).items()
                   if name.startswith("result")]  # fmt: skip
        step = held.facts.get(f"{job}.step.{task}.{n}")
        who = f"{line['tool']} was begun by process {line['pid']}"
        if results and at > min(results) + BEGUN:
            cause = f"{who} {at - min(results):.1f} s after its result was in the tool journal"
            yield Finding("twice", key, cause)
        elif step is not None and at > step["time"] + BEGUN_PURE:
            yield Finding("twice", key, f"{who} {at - step['time']:.1f} s after its step stood")


def doubts(held: Held) -> Iterator[Finding]:
    """Effects that are in doubt, and whether they have to be."""
    rounds: Counter[str] = Counter()
    for name, fact in held.facts.items():
        job, kind, *rest = name.split(".")
        data = fact["data"]
        outcome: dict[str, Any] = data.get("outcome") or {}
        if kind == "done" and outcome.get("code") == "in_doubt":
            open_calls = _open_calls(held, f"{job}.{rest[0]}.")
            for key in open_calls:
                yield _doubt(held, key, 0, fact["time"])
            if not open_calls:
                yield Finding("odd", f"{job}.{rest[0]}", "no claim without a result stands for it")
        elif kind == "ask" and data.get("what") == "doubt":
            key = f"{job}.{data['task']}.{data['n']}"
            # each doubt is about the next round of the call
            yield _doubt(held, key, rounds[key], fact["time"])
            rounds[key] += 1


def _open_calls(held: Held, task: str) -> list[str]:
    """Keys of a task that were claimed and have no result in the journal."""
    return [
        key
        for key, entries in held.journal.items()
        if key.startswith(task) and "claim" in entries and "result" not in entries
    ]


def _doubt(held: Held, key: str, round_: int, at: float) -> Finding:
    """In doubt as it has to be: whoever held the call has died before, and nothing of it was safe.

    Nobody can tell a process that is stopped for longer than its claim from a dead one.
    """
    claim = held.journal.get(key, {}).get(f"claim-{round_}" if round_ else "claim")
    if claim is None:
        return Finding("odd", key, "nobody has ever claimed the call")
    pid = pid_of(claim["data"].get("by"))
    ends = (one for one in (*held.stops, *held.kills) if one["pid"] == pid and one["time"] < at)
    gone = next(ends, None)
    if gone is None:
        return Finding("odd", key, f"process {pid}, which held it, was not killed or stopped")
    if any(f".{key}.result" in subject for subject in spooled(gone)):
        return Finding("odd", key, f"its result was in the spool of process {pid}")
    happened = any(line["key"] == key and line["time"] < at for line in held.effects)
    fate = "was stopped" if "until" in gone else "died"
    cause = f"process {pid} {fate} at {gone['point']}; it has{'' if happened else ' not'} happened"
    return Finding("doubt", key, cause)

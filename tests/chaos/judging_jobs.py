"""Rules for jobs: each ends, as it has to, on the calls that it may make; facts stand once."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from chaos.findings import Finding
from chaos.held import Held

APPENDED = ("run", "account")
"""Facts that are appended to; every other one is written once."""
NOTICED = 1.5
"""Seconds after a job's cancel or end in which a worker still may not have noticed: it looks at
least at each heartbeat, and a busy machine is slow."""


def jobs(held: Held) -> Iterator[Finding]:
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
        missing = [text for text in expected["texts"] if text not in said]
        if status != expected["status"] or missing:
            cause = f"ended {status} instead of {expected['status']}, without {missing}: {said}"
            yield Finding("wrong", name, cause[:400])


def conversations(held: Held) -> Iterator[Finding]:
    """Whether each answer of a conversation stands in it once, before its job has ended."""
    for job in held.jobs:
        options: dict[str, Any] = job.get("options") or {}
        end = held.facts.get(f"{job['id']}.end")
        if "session" not in options or end is None or end["data"].get("status") != "succeeded":
            continue
        turns = held.turns.get(job["id"], [])
        if len(turns) != 1 or turns[0]["time"] > end["time"]:
            yield Finding("wrong", job["id"], f"{len(turns)} turns of it, or after its end")
        elif turns[0]["data"].get("answer") != end["data"].get("result"):
            yield Finding("wrong", job["id"], "its turn does not hold its answer")


def overspent(held: Held) -> Iterator[Finding]:
    """Jobs that have begun more model calls than their budget allows."""
    for job in held.jobs:
        options: dict[str, Any] = job.get("options") or {}
        budget: dict[str, Any] = options.get("budget") or {}
        limit: int | None = budget.get("calls")
        begun = sum(
            len(calls) for key, calls in held.calls.items() if key.startswith(f"{job['id']}.")
        )
        if limit is not None and begun > limit:
            yield Finding("wrong", job["id"], f"{begun} model calls on a budget of {limit}")


def unheard(held: Held) -> Iterator[Finding]:
    """Calls of models and tools that were begun long after their job was cancelled or had ended.

    A server that died meanwhile excuses them: nobody could be told.
    """
    begun = [(key, "a model was asked", call.started)
             for key, calls in held.calls.items() for call in calls]  # fmt: skip
    begun += [(line["key"], f"{line['tool']} was begun", line["time"])
              for line in held.tools if line["event"] == "begin"]  # fmt: skip
    servers = [kill["time"] for kill in held.kills if kill["role"] == "server"]
    for key, what, at in begun:
        since, fact = _over(held, key.split(".")[0])
        deaf = any(since - NOTICED < death < at for death in servers)
        if at > since + NOTICED and not deaf:
            yield Finding("wrong", key, f"{what} {at - since:.1f} s after the job's {fact}")


def doubled_facts(held: Held) -> Iterator[Finding]:
    """What is written once and stands more than once, in the log or in the tool journal."""
    known = {job["id"] for job in held.jobs}
    for name, count in held.messages.items():
        job, *rest = name.split(".")
        appended = rest[0] in APPENDED or rest[-1].startswith("claim")
        if count > 1 and job in known and not appended:
            yield Finding("double", name, f"{count} messages stand where one may")


def _over(held: Held, job: str) -> tuple[float, str]:
    """Since when nothing of a job may be begun, and by which fact."""
    facts = ((held.facts.get(f"{job}.{name}"), name) for name in ("cancel", "end"))
    return min(((fact["time"], name) for fact, name in facts if fact), default=(math.inf, ""))


def _last_word(held: Held, job: str) -> str:
    names = [(fact["sequence"], name) for name, fact in held.facts.items()
             if name.startswith(f"{job}.")]  # fmt: skip
    _, last = max(names)
    return f"its last fact is {last.removeprefix(f'{job}.')}"


def _text(ended: Mapping[str, Any]) -> str:
    result = ended.get("result")
    text = result if isinstance(result, str) else json.dumps(result)
    return f"{text} {ended.get('error') or ''}"

"""What people are asked, answered as a person would who looks at what really happened.

A worker that dies between a `once` effect and its journal leaves a question that only somebody
outside can answer: here the tools' own ledger answers it, by the same command that `galerne
resolve` sends. A call that waits for leave gets it.
"""

import json
from typing import Any

from chaos.fleet import Fleet


async def answer_questions(running: Fleet, jobs: set[str]) -> None:
    """Answer every open question of these jobs."""
    for job in sorted(jobs):
        answered = await running.names(f"galerne.ev.*.default.{job}.decided.>")
        for name in await running.names(f"galerne.ev.*.default.{job}.ask.>"):
            place = name.partition(".ask.")[2]
            if not any(other.endswith(f".decided.{place}") for other in answered):
                await _settle(running, job, name)


async def _settle(running: Fleet, job: str, question: str) -> None:
    asked = await running.last(question)
    if asked is None:
        return
    task, n, round_ = asked["task"], asked["n"], asked.get("round", 1)
    word: dict[str, Any] = {"type": "decide", "job": job, "task": task, "n": n, "round": round_}
    match asked["what"]:
        case "doubt":
            note = _effect_of(running, f"{job}.{task}.{n}")
            word |= {"verdict": "happened" if note else "not_happened"}
            word |= {"value": {"noted": note}} if note else {}
        case "approval":
            word |= {"verdict": "approved", "hash": asked.get("hash")}
        case _:
            return
    word |= {"by": "chaos", "why": "the tools' ledger says so"}
    await running.send("galerne.command.default", json.dumps(word).encode(), stored=True)


def _effect_of(running: Fleet, key: str) -> str | None:
    """The note that an effect under this key has left; None where there was none."""
    if not running.evidence.tools.exists():
        return None
    for line in running.evidence.tools.read_text("utf-8").splitlines():
        entry = json.loads(line)
        if entry["key"] == key and entry["event"] == "effect":
            return str(entry["note"])
    return None

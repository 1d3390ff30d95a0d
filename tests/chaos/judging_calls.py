"""Rules for model calls: an answer that is safe is not paid for again, and a paid one is made safe.

A process that is killed leaves the pages that it has written to the kernel, synced or not. So what
it holds in its hands at these boundaries is in its file:

    spool.written, spool.synced, *.before of its publishing      written, and not confirmed yet
    *.after                                                      the bus has it, too
"""

from collections.abc import Iterator

from chaos.findings import Finding
from chaos.held import Call, Held, Line, pid_of, spooled

IN_HAND = frozenset({
    "spool.written", "spool.synced",
    "publish.model_step.before", "publish.model_step.after",
    "journal.result.before", "journal.result.after",
})  # fmt: skip
"""Boundaries at which a process has a paid result that its spool already holds."""


def repeated_calls(held: Held) -> Iterator[Finding]:
    """Requests that came although an earlier one for the same answer was finished."""
    for key, calls in held.calls.items():
        for number, call in enumerate(calls):
            before = [one for one in calls[:number] if one.finished is not None]
            if before:
                yield _repeated(held, key, before[-1], call)


def unspooled(held: Held) -> Iterator[Finding]:
    """Processes that died with a paid result in their hands and have left none anywhere.

    Other results of such a process may be in a true gap, so it is judged as a whole.
    """
    for kill in held.kills:
        if kill["point"] not in IN_HAND or any(spooled(kill)):
            continue
        tools = kill["role"] == "tools"
        if not (_journaled(held, kill) if tools else _logged(held, kill)):
            cause = f"it died at {kill['point']}, and no result of it is anywhere"
            where = f"process {kill['pid']}"
            yield Finding("odd" if tools else "again", where, cause, kill["row"])


def _repeated(held: Held, key: str, paid: Call, again: Call) -> Finding:
    assert paid.finished is not None
    if paid.finished > again.started:
        return Finding("again", key, "two processes asked for it at the same time")
    safe = held.safe_since(key)
    payer = held.payer(key, paid)
    stop = _stop_over(held, payer, paid.finished, again.started)
    if stop is not None and (safe is None or _was_unseen(held, key, again, safe[0])):
        return Finding("gap", key, f"its process was stopped at {stop['point']}")
    if safe is not None and safe[0] < again.started:
        late = again.started - safe[0]
        return Finding("again", key, f"{safe[1]} {late:.3f} s before it was asked for again")
    for kill in held.kills:  # it is written down a moment after it happened
        if kill["pid"] == payer and paid.started <= kill["time"] <= again.started:
            return Finding("gap", key, _gap(kill, paid.finished))
    return Finding("again", key, "nobody died between the first request and the second")


def _stop_over(held: Held, pid: int | None, finished: float, asked: float) -> Line | None:
    """The stop of a process in which an answer has lain unread when it was asked for again."""
    stops = (stop for stop in held.stops if stop["pid"] == pid)
    return next((one for one in stops if one["time"] <= asked and one["until"] > finished), None)


def _was_unseen(held: Held, key: str, again: Call, safe: float) -> bool:
    """Whether an answer became safe only when its second asker had already read what there was."""
    job, task, _ = key.split(".")
    asker = held.payer(key, again)
    claims = held.claims.get(f"{job}.{task}", ())
    first = min(
        (one["time"] for one in claims if pid_of(one["data"].get("by")) == asker), default=safe
    )
    return first < safe


def _gap(kill: Line, finished: float) -> str:
    late = (kill["time"] - finished) * 1000
    left = sum(1 for _ in spooled(kill))
    when = "after the answer" if late >= 0 else "before the answer had left"
    return (
        f"its process died {abs(late):.0f} ms {when}, at {kill['point']}; its spool held"
        f" {left} other results"
    )


def _logged(held: Held, kill: Line) -> bool:
    """Whether the log holds an answer that the process had asked for before it died."""
    for key, calls in held.calls.items():
        job, task, n = key.split(".")
        step = held.facts.get(f"{job}.step.{task}.{n}")
        if step is None or step["time"] > kill["time"]:
            continue
        if any(held.payer(key, call) == kill["pid"] for call in calls):
            return True
    return False


def _journaled(held: Held, kill: Line) -> bool:
    """Whether the tool journal holds a result of a call that the process had claimed."""
    for entries in held.journal.values():
        for name, result in entries.items():
            kind, _, round_ = name.partition("-")
            claim = entries.get(f"claim-{round_}" if round_ else "claim")
            if kind != "result" or claim is None or result["time"] > kill["time"]:
                continue
            if pid_of(claim["data"].get("by")) == kill["pid"]:
                return True
    return False

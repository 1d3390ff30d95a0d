"""Who may work on a task: the rules of the lease.

(no claim) ──▶ held by A until t ──renew──▶ held by A until t'
│ A commits: done          │ t' + margin passes, or A gives it back
▼                          ▼
(never claimed again)      held by B, attempt + 1 ──▶ … ──▶ too many: failed
"""

import msgspec

from galerne.messages.facts import Claimed


class Take(msgspec.Struct, frozen=True):
    """Claim it as this attempt; the rest is carried on from the claim before (`Claimed`)."""

    attempt: int
    excused: int = 0
    away_since: float | None = None


class Wait(msgspec.Struct, frozen=True):
    """Another holds it; look again after so many seconds."""

    seconds: float


class GiveUp(msgspec.Struct, frozen=True):
    """It has been claimed too often: fail it, saying why the last attempt ended."""

    attempts: int
    note: str


Verdict = Take | Wait | GiveUp


def judge_claim(
    claim: Claimed | None, me: str, now: float, margin: float, max_attempts: int
) -> Verdict:
    """What a worker that has been given a task does about the last claim on it.

    `margin` is how many seconds two hosts' clocks may differ; `now` is Unix seconds.
    """
    if claim is None:
        return Take(1)
    over_in = claim.until + margin - now
    if claim.until > 0 and over_in > 0 and claim.by != me:
        return Wait(over_in)
    if claim.attempt - claim.excused >= max_attempts:
        note = claim.note or "its worker died or lost its lease"
        return GiveUp(claim.attempt, note)
    return Take(claim.attempt + 1, claim.excused, claim.away_since)


def excuse(claim: Claimed, now: float, outage: float) -> Claimed | None:
    """The claim of an attempt that found its back end away, or None if that has lasted too long.

    A model server takes minutes to start again: such an attempt does not count against
    `max_attempts`, for at most `outage` seconds since the back end was last there.
    """
    since = now if claim.away_since is None else claim.away_since
    if now - since >= outage:
        return None
    return msgspec.structs.replace(claim, excused=claim.excused + 1, away_since=since)


def park(claim: Claimed) -> Claimed:
    """The claim of an attempt that waits for a person: it does not count against the task."""
    return msgspec.structs.replace(claim, excused=claim.excused + 1)

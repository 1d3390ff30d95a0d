"""What a job that ended without success says of itself, to whoever waited for it."""

from galerne.messages.facts import Ended
from galerne.messages.plan import Usage


def failure(job: str, ended: Ended, found: str) -> str:
    """One line: how the job ended, and what it has spent and kept where it ran out.

    `job` names it at the beginning of the sentence, `found` says where its reader finds the
    results that it has.
    """
    why = ended.error or "no reason given"
    match ended.status:
        case "budget_exhausted" | "deadline_exceeded" as status:
            what = "ran out of its budget" if status == "budget_exhausted" else "ran out of time"
            return (
                f"{job} {what}: {why} (spent: {_spent(ended.usage)}); what it has found is in"
                f" `{found}`"
            )
        case "cancelled":
            return f"{job} was cancelled: {why}"
        case status:
            return f"{job} {status}: {why}"


def _spent(usage: Usage) -> str:
    return f"{usage.model_calls} model calls, {usage.tokens} tokens, ${usage.usd:.4f}"

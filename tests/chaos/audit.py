"""The auditor: reads what a run has left behind and says what was lost, repeated or doubled.

It shares no code with what it judges: the streams are read with a plain NATS client, everything is
plain JSON, and the rules are written from `docs/guarantees.md` alone.

    collect    the streams ─▶ log.jsonl, journal.jsonl, turns.jsonl     (`collecting`)
    read       the evidence of one fleet, by what the rules ask of it   (`held`)
    judge      ─▶ findings, each with its cause                         (`judging_…`)
"""

from chaos.collecting import collect
from chaos.findings import Finding, What
from chaos.held import Held, read
from chaos.judging_calls import repeated_calls, unspooled
from chaos.judging_effects import doubled_effects, doubts, late_effects
from chaos.judging_jobs import conversations, doubled_facts, jobs, overspent, unheard

__all__ = ["Finding", "Held", "What", "collect", "judge", "read"]


def judge(held: Held) -> list[Finding]:
    """Everything that has to be counted, each with its cause."""
    return [
        *jobs(held),
        *conversations(held),
        *overspent(held),
        *unheard(held),
        *doubled_facts(held),
        *repeated_calls(held),
        *unspooled(held),
        *doubled_effects(held.effects),
        *late_effects(held),
        *doubts(held),
    ]

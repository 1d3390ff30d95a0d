"""A goal that goes on with a conversation: `which of them is longer?` after files were counted.

The one rule: a goal that begins by comparing, adding up or ranking, and says nothing of what, means
what the newest earlier goal that measured anything had measured. That is measured again, as the
answer of then may be out of date. Everything else of a conversation is passed over.
"""

from collections.abc import Sequence

import msgspec

from galerne.messages.chat import ChatRequest
from galerne.models.standin.clauses import (
    Clause,
    Combine,
    Compare,
    Compute,
    Count,
    CountEach,
    Dependent,
    ListFiles,
    Rank,
    Search,
)
from galerne.models.standin.grammar import read_clauses
from galerne.models.standin.prompts import parts

EARLIER = "Earlier in this conversation"
CUT = "…"
"""How a goal ends of which not everything is known any more: it is not guessed at."""


def earlier_goals(request: ChatRequest) -> tuple[str, ...]:
    """The goals that a prompt tells of, oldest first."""
    told = parts(request, EARLIER)
    return tuple(part.text for part in told if part.title == "Goal")


def follow_up(clauses: Sequence[Clause], earlier: Sequence[str]) -> tuple[Clause, ...]:
    """The clauses of a goal, after those of earlier goals that it needs."""
    first = clauses[0] if clauses else None
    if not isinstance(first, Compare | Combine | Rank) or first.about:
        return tuple(clauses)
    for goal in reversed(earlier):
        measured = () if goal.endswith(CUT) else _measured(goal, first)
        if measured:
            return (*measured, *clauses)
    return tuple(clauses)


def _measured(goal: str, wanted: Dependent) -> tuple[Clause, ...]:
    """What a goal measures, in the unit that is wanted now."""
    clauses = read_clauses(goal)
    counts = [clause for clause in clauses if isinstance(clause, Count | CountEach)]
    if wanted.unit is None or not counts:
        return tuple(
            clause
            for clause in clauses
            if isinstance(clause, Count | CountEach | Search | ListFiles | Compute)
        )
    return tuple(msgspec.structs.replace(count, units=(wanted.unit,)) for count in counts)

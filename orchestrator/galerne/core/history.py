"""What a job sees of its conversation: turns that are kept whole, fitted when the next one begins.

a job succeeds ─▶ `said`: its goal and its answer ─▶ kept with the session
the next begins ─▶ `fitted`:   newest turns   whole, the last one whatever its length
                               older ones     a line each, as many as there is room for
                               the oldest     summed up by a model (`core.summary`), or else
                                              counted, in one mark
"""

from collections.abc import Sequence
from itertools import accumulate, takewhile
from typing import Any, Final

import msgspec

from galerne.core.one_line import one_line
from galerne.core.shorten import shorten
from galerne.core.summary import GOAL, LIMIT, Summary, length
from galerne.messages.blobs import is_blob, size_text, to_blob
from galerne.messages.facts import Turn
from galerne.messages.sessions import Said

ANSWER_LIMIT: Final = 64_000
"""Characters of an answer that are kept: four times what a model writes in one answer of 4,096
tokens, so that only the result of another form is ever cut."""
GOAL_LIMIT: Final = 16_000
"""Characters of a goal that are kept: what is longer is material, not a wish."""
_WHOLE: Final = 0.75
"""How much of that is for turns that are whole; a line each of what came before has the rest."""
_HEAD: Final = 4
"""A summary has at most one part in so many of the room."""
_GOAL_LINE: Final = 120
_ANSWER_LINE: Final = 200
_LEAST: Final = 500
"""Characters to which a goal or an answer is cut at most: a message has room for that."""


def said(
    job: str, goal: str, result: Any, at: float, most: int, summary: Summary | None = None
) -> Said:
    """What is kept of a job that has succeeded, in `most` bytes as JSON, or nearly.

    `summary` is of what was said before it.
    """
    limit = ANSWER_LIMIT
    while True:
        turn = Said(
            job=job,
            goal=_text(goal, min(GOAL_LIMIT, limit)),
            answer=_text(result, limit),
            at=at,
            summary=summary.text if summary else None,
            until=summary.until if summary else None,
        )
        if limit <= _LEAST or _size(turn) <= most:
            return turn
        limit //= 2


def fitted(turns: Sequence[Said], most: int, limit: int = LIMIT) -> tuple[Turn, ...]:
    """A conversation, oldest turn first, in about `limit` characters and in `most` bytes as JSON.

    The newest turn may be longer than `limit` by itself: then little else is there.
    """
    head, covered = _begun(turns)
    whole = [Turn(one.goal, one.answer, one.job) for one in turns]
    shown = _fitted(head, covered, whole, limit)
    while _size(shown) > most and limit > _LEAST:
        limit //= 2
        cut = [*whole[:-1], *(_cut(turn, limit) for turn in whole[-1:])]
        shown = _fitted(head, covered, cut, limit)
    return shown if _size(shown) <= most else ()


def _begun(turns: Sequence[Said]) -> tuple[Turn | None, int]:
    """The summary that reaches furthest, and how many of the turns it covers.

    The last of those may have gone with its age, and with it all that were older.
    """
    places = {turn.job: place for place, turn in enumerate(turns, 1)}
    head, reach = None, 0
    for turn in turns:
        if turn.summary and turn.until and (found := places.get(turn.until, 0)) >= reach:
            head, reach = Turn(GOAL, turn.summary, turn.until), found
    return head, reach


def _fitted(head: Turn | None, covered: int, turns: Sequence[Turn], limit: int) -> tuple[Turn, ...]:
    begin = () if head is None else (_cut(head, limit // _HEAD),)
    shown = _excerpt(turns, limit - sum(map(length, begin)))
    left_out = len(turns) - len(shown)
    marks = (_mark(left_out - covered),) if left_out > covered else ()
    return (*begin, *marks, *shown)


def _excerpt(turns: Sequence[Turn], limit: int) -> Sequence[Turn]:
    if sum(map(length, turns)) <= limit:
        return turns
    whole = max(1, _count(turns, int(limit * _WHOLE)))
    room = limit - sum(map(length, turns[len(turns) - whole :]))
    older = [_line(turn) for turn in turns[: len(turns) - whole]]
    lines = _count(older, room)
    return (*older[len(older) - lines :], *turns[len(turns) - whole :])


def _count(turns: Sequence[Turn], room: int) -> int:
    """How many of the newest have room."""
    sizes = accumulate(length(turn) for turn in reversed(turns))
    return sum(1 for _ in takewhile(lambda size: size <= room, sizes))


def _line(turn: Turn) -> Turn:
    return Turn(one_line(turn.goal, _GOAL_LINE), one_line(turn.answer, _ANSWER_LINE), turn.job)


def _mark(count: int) -> Turn:
    """A turn of no job, which says how many there were."""
    return Turn(f"[{count} earlier goal{'' if count == 1 else 's'}]", "[left out: too long ago]")


def _cut(turn: Turn, limit: int) -> Turn:
    return Turn(_text(turn.goal, limit), _text(turn.answer, limit), turn.job)


def _text(value: Any, limit: int) -> str:
    """`value` as text, cut to about `limit` characters with a mark.

    Content in the Object Store goes with its job: how it begins is all that is kept.
    """
    if is_blob(value):
        blob = to_blob(value)
        value = f"[too large to keep: {size_text(blob.size)}; it began:]\n{blob.preview or ''}"
    short = shorten(value, limit)
    return short if isinstance(short, str) else msgspec.json.encode(short).decode()


def _size(value: Any) -> int:
    return len(msgspec.json.encode(value))

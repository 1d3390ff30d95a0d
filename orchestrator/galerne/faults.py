"""Named boundaries of the runtime, where a test may let the process die.

The core's promise is judged by killing a process at each of them (`make chaos`, `tests/chaos`).
In production nothing is armed, and a boundary costs one call of an empty function; the name of a
boundary that depends on what passes it is built only where something is armed.

    reach("spool.synced")                  nothing armed: returns
    reach("publish.*.before", tag)         armed for this point, for the nth time: kill -9 of this
                                           process; `tag()` says what stands for the star

Every boundary is in `POINTS`, and a test holds that the registry and the code agree.
"""

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Timer
from typing import Final, Literal

import msgspec

from galerne.errors import InvalidSettingsError

VARIABLE: Final = "GALERNE_FAULT"
"""`<point>:<n>:<file>`: die when `point` is reached for the nth time, unless the file exists; it
is made just before, as the proof that the boundary was reached and so that it happens once."""

Role = Literal["coordinator", "planner", "executor", "tools"]


class Point(msgspec.Struct, frozen=True):
    """What a boundary is, in one line, and the roles of process that reach it.

    `sending`: something was handed to the connection without waiting, so a process that is to die
    *after* it lives on for a moment, until it has left.
    """

    what: str
    roles: tuple[Role, ...]
    sending: bool = False


_C: Final[tuple[Role, ...]] = ("coordinator",)
_E: Final[tuple[Role, ...]] = ("executor",)
_T: Final[tuple[Role, ...]] = ("tools",)
_P: Final[tuple[Role, ...]] = ("planner",)
_WORKERS: Final[tuple[Role, ...]] = ("planner", "executor")
_PAYING: Final[tuple[Role, ...]] = ("planner", "executor", "tools")
_ALL: Final[tuple[Role, ...]] = ("coordinator", "planner", "executor", "tools")


LEAVING: Final = 0.02
"""Seconds for a small message to leave the process over an open connection."""


def _around(
    name: str, what: str, roles: tuple[Role, ...], *, sending: bool = False
) -> dict[str, Point]:
    return {
        f"{name}.before": Point(f"before {what}", roles),
        f"{name}.after": Point(f"after {what}", roles, sending),
    }


POINTS: Final[Mapping[str, Point]] = {
    # the connection
    "bus.connected": Point("a process has its first connection", _ALL),
    "bus.reconnected": Point("a lost connection is back", _ALL),
    # facts, by the tag of their type; `after` is when the server has stored it
    **_around("publish.submitted", "a job is put into the log", _C),
    **_around("publish.planned", "a planned task is written", _P),
    **_around("publish.plan_ended", "the end of a plan is written", _P),
    **_around("publish.ready", "a task is queued", _C),
    **_around("publish.claimed", "a task is claimed, its claim renewed or given back", _WORKERS),
    **_around("publish.model_step", "a model's answer is journaled", _WORKERS),
    **_around("publish.tool_step", "a tool's answer is journaled", _E),
    **_around("publish.moved", "a task is moved to a larger model", _E),
    **_around("publish.done", "the outcome of a task is written", _WORKERS),
    **_around("publish.accounted", "a model call is reserved or settled on an account", _WORKERS),
    **_around("publish.asked", "a person is asked", _E),
    **_around("publish.decided", "a person's word is written", _C),
    **_around("publish.cancelled", "a user's cancel is written", _C),
    **_around("publish.ended", "the end of a job is written", _C),
    **_around("turn", "the turn of a conversation is written", _C),
    # acknowledgements
    **_around("ack.submit", "a submitted job is taken off its queue", _C, sending=True),
    **_around("ack.command", "a command is taken off its queue", _C, sending=True),
    **_around("ack.part", "a fact is done with", _C, sending=True),
    **_around("ack.lane", "a task is taken off its lane", _WORKERS, sending=True),
    **_around(
        "retry.submit", "a request waits in its queue for the end of its job", _C, sending=True
    ),
    **_around("retry.lane", "a task goes back to its lane, to come again", _WORKERS, sending=True),
    **_around(
        "discard.lane", "a task is taken off its lane as nobody can do it", _WORKERS, sending=True
    ),
    # jobs
    "job.loaded": Point("a job that is not in memory has been read from the log", _C),
    "timer.fired": Point("the time of a job or of a question is over", _C),
    **_around("purge", "the queued tasks of a job that is over are taken away", _C),
    **_around("quarantine", "a message that nobody can read is put aside", _ALL),
    # tasks
    "task.received": Point("a lane has delivered a task", _WORKERS),
    "task.claimed": Point("the task is held, and nothing is paid yet", _WORKERS),
    **_around("renew", "the lease of a task is renewed", _WORKERS),
    **_around("give_back", "a task is given back before its lease ends", _WORKERS),
    "model.request": Point("a model is about to be asked", _WORKERS),
    "model.answered": Point("its whole answer is in memory, and paid for", _WORKERS),
    # the spool
    "spool.written": Point("a paid result is in the kernel", _PAYING),
    "spool.synced": Point("it is on the disk", _PAYING),
    "spool.confirmed": Point("the bus has it, and the spool lets go of it", _PAYING),
    **_around("spool.replay", "a dead process's result is published", _PAYING),
    **_around("spool.remove", "a dead process's file is removed", _PAYING),
    # tool calls
    **_around("tool.sent", "a call is sent", _E, sending=True),
    "tool.answered": Point("its caller has the outcome", _E),
    "tool.received": Point("a worker has a call", _T),
    **_around("journal.claim", "a tool worker claims a call, or renews that", _T),
    **_around("journal.doubt", "a tool worker says that nobody knows of a dead one's effect", _T),
    **_around("effect", "a tool is let loose", _T),
    **_around("journal.result", "what came of it is journaled", _T),
    **_around("tool.replied", "the outcome is sent to the caller", _T, sending=True),
}
"""Name of a boundary → what it is. `tests/chaos` kills each role at each of its own."""

_armed: Callable[[str], None] | None = None


def reach(point: str, name: Callable[[], str] | None = None) -> None:
    """Say that the process is at `point`; `name` gives what stands for a star in it."""
    if _armed is not None:
        _armed(point if name is None else point.replace("*", name()))


def arm(action: Callable[[str], None] | None) -> None:
    """Call `action` with each point that is reached from now on; None disarms."""
    global _armed  # noqa: PLW0603 - one process dies as a whole
    _armed = action


def arm_from(environ: Mapping[str, str]) -> None:
    """Arm what `GALERNE_FAULT` asks for. Raises InvalidSettingsError for a malformed one."""
    wanted = environ.get(VARIABLE)
    if not wanted:
        return
    point, _, rest = wanted.partition(":")
    number, _, file = rest.partition(":")
    if not (point and number.isdecimal() and int(number) and file):
        raise InvalidSettingsError(f"{VARIABLE} must be <point>:<n>:<file>, not {wanted!r}")
    if point not in POINTS:
        raise InvalidSettingsError(f"{VARIABLE}: there is no boundary {point!r}")
    arm(_Killer(point, int(number), Path(file)))


class _Killer:
    """Kills this process at the nth time that a point is reached."""

    def __init__(self, point: str, number: int, mark: Path) -> None:
        self._point = point
        self._left = number
        self._mark = mark

    def __call__(self, point: str) -> None:
        if point != self._point:
            return
        self._left -= 1
        if self._left > 0:
            return
        try:
            os.close(os.open(self._mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return
        if POINTS[point].sending:
            Timer(LEAVING, _die).start()
        else:
            _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)

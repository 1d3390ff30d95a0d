"""One call, in a process that ends with it: by itself, at its time, or with whoever waits."""

import os
import signal
import sys
from subprocess import PIPE

import anyio
import msgspec

from galerne.errors import ToolError
from galerne_tools.data.orders import Answer, Ask, Described, Order, Queried, Refused, Rows, Table

START = 5.0
"""Seconds to start Python and to load DuckDB, on a busy machine."""

_KEPT = ("PYTHONPATH", "PATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR")
"""Variables that the process gets: none of the worker's secrets."""
_COMMAND = (sys.executable, "-P", "-m", "galerne_tools.data.child")
_FAULT, _MOST_SAID = 1, 4000
_AT_ITS_TIME = frozenset({-signal.SIGALRM, -signal.SIGXCPU})


async def rows_of(asked: Ask) -> Rows:
    """Raises ToolError."""
    match await _answer(asked):
        case Queried(rows):
            return rows
        case _:
            raise ToolError(_broken(asked.order))


async def tables_of(asked: Ask) -> list[Table]:
    """Raises ToolError."""
    match await _answer(asked):
        case Described(tables):
            return tables
        case _:
            raise ToolError(_broken(asked.order))


async def _answer(asked: Ask) -> Queried | Described:
    order = asked.order
    async with anyio.TemporaryDirectory(
        prefix="galerne-data-", ignore_cleanup_errors=True
    ) as folder:
        order = msgspec.structs.replace(order, scratch=folder)
        question = msgspec.json.encode(msgspec.structs.replace(asked, order=order))
        try:
            with anyio.fail_after(order.seconds + START):
                done = await anyio.run_process(
                    _COMMAND, input=question, check=False, stderr=PIPE, env=_environment()
                )
        except TimeoutError as error:
            raise ToolError(_slow(order)) from error
    if done.returncode in _AT_ITS_TIME:
        raise ToolError(_slow(order))
    if done.returncode == _FAULT:
        raise RuntimeError(done.stderr.decode("utf-8", "replace")[-_MOST_SAID:])
    if done.returncode != 0:
        raise ToolError(_broken(order))
    answer: Answer = msgspec.json.decode(done.stdout, type=Answer)
    if isinstance(answer, Refused):
        raise ToolError(answer.message)
    return answer


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT if name in os.environ}


def _slow(order: Order) -> str:
    return f"this takes longer than {order.seconds:g} s; filter or aggregate sooner in the SQL"


def _broken(order: Order) -> str:
    megabytes = order.memory >> 20
    return (
        f"the query ended without an answer, as when it needs more than {megabytes} MB of memory;"
        " select fewer columns or rows at once, or write it in plainer steps"
    )

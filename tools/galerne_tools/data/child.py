"""Reads for one call: run as `python -m galerne_tools.data.child`, a question on stdin.

The process limits itself before it reads: memory, processor and wall time. What ends it, such a
limit or a fault in a library, ends nothing else.
"""

import contextlib
import resource
import signal
import sys

import msgspec

from galerne.errors import ToolError
from galerne_tools.data.engine import describe, query
from galerne_tools.data.orders import Answer, Ask, Described, Order, Queried, Query, Refused

_SLACK = 512 * 1024 * 1024
"""Bytes above DuckDB's own limit: the libraries, and what Python makes of the rows."""


def main() -> None:
    """Exits with another status than 0 where there is no answer at all."""
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Ask)
    _limit(asked.order)
    sys.stdout.buffer.write(msgspec.json.encode(answer(asked)))
    sys.stdout.buffer.flush()


def answer(asked: Ask) -> Answer:
    """Never raises for what a model can mend."""
    try:
        match asked:
            case Query():
                return Queried(query(asked))
            case _:
                return Described(describe(asked))
    except ToolError as error:
        return Refused(str(error))
    except MemoryError:
        return Refused("this takes too much memory; ask for less at once")
    except RecursionError:
        return Refused("the SQL is nested too deeply; write it in plainer steps, with WITH")


def _limit(order: Order) -> None:
    seconds = int(order.seconds) + 1
    signal.alarm(seconds)  # also where the worker that would end this is gone
    for kind, most in (
        (resource.RLIMIT_CPU, seconds * order.threads),
        (resource.RLIMIT_DATA, order.memory + _SLACK),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # a tighter limit holds already
            resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    main()

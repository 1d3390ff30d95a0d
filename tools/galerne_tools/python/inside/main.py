"""The life of one run, as process 1 of the sandbox.

standard input: the order, a line of JSON; the filter; the code. It stays open: its end means
    that nobody waits any more, and everything ends.
standard output: frames, each a line of JSON with the lengths of what follows it:
    ready ─▶ ran (output, errors) ─▶ file … ─▶ end
standard error: why the sandbox could not be made.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from galerne_tools.python.inside import collect, confine, watch
from galerne_tools.python.inside.view import build


def main() -> None:
    """Run one order to its end. Exits with 1, and one line, where the sandbox cannot be made."""
    try:
        view = sys.argv[1:]
        if view:
            build(json.loads(view[0]))
        order = json.loads(_line())
        program, code = _exactly(order["filter"]), _exactly(order["code"])
        confine.enter(order, code)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(1)
    _send({"kind": "ready"})
    ended = watch.run(order, program)
    _send_ended(ended)
    collect.send_files(confine.SCRATCH, order["scratch"], _send)


def _send_ended(ended: watch.Ended) -> None:
    head, tail, missing = ended.output.parts()
    error_head, error_tail, error_missing = ended.errors.parts()
    frame = {
        "kind": "ran",
        "why": ended.why,
        "number": ended.number,
        "output": [len(head), len(tail), missing],
        "errors": [len(error_head), len(error_tail), error_missing],
    }
    _send(frame, head + tail + error_head + error_tail)


def _line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += _exactly(1)
    return line


def _exactly(count: int) -> bytes:
    """So many bytes of standard input, unbuffered. Raises ValueError if it ends before."""
    pieces: list[bytes] = []
    while count:
        piece = os.read(0, min(count, 65536))
        if not piece:
            raise ValueError("the order ends in its middle")
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _send(frame: dict[str, Any], content: bytes = b"") -> None:
    data = memoryview(json.dumps(frame).encode() + b"\n" + content)
    while data:
        data = data[os.write(1, data) :]

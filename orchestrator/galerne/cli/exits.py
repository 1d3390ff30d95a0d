"""Exit codes, and the one line that says why.

0 succeeded   1 the job failed, or another lasting error   2 usage   3 no server or endpoint
130 interrupted (SIGINT)   141 nobody reads stdout   143 terminated (SIGTERM)
"""

import errno
from collections.abc import Iterator
from typing import cast

from galerne.errors import DeadlineError, GalerneError, InvalidInputError, UnavailableError

SUCCEEDED = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143


class SilentExit(Exception):  # noqa: N818 - not an error: everything has been said
    """Ends a command with `code` and no further word."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def exit_code(error: BaseException) -> int:
    """The code of what ended a command."""
    match error:
        case SilentExit(code=code):
            return code
        case KeyboardInterrupt():
            return INTERRUPTED
        case BrokenPipeError():
            return BROKEN_PIPE
        case InvalidInputError():
            return USAGE
        case UnavailableError() | DeadlineError():
            return UNREACHABLE
        case _:
            return FAILED


def message(error: BaseException) -> str:
    """One line for the person; empty where there is nothing to say."""
    match error:
        case SilentExit() | KeyboardInterrupt() | BrokenPipeError():
            return ""
        case GalerneError():
            return " ".join(str(error).split())
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EIO):
            return f"cannot write: {error.strerror}; make room where the output goes"
        case _:
            text = " ".join(str(error).split())
            return (
                f"unexpected {type(error).__name__}: {text[:500]}"
                " (run it again with --log-level debug for the traceback)"
            )


def cause(error: BaseException) -> BaseException:
    """What a person should hear of: the first error of ours inside a group, else the first one.

    An interruption counts before every error, because errors come of it.
    """
    leaves = list(_leaves(error))
    for kind in (KeyboardInterrupt, SilentExit, GalerneError, Exception):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
        yield from _leaves(inner)

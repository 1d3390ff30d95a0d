"""Log lines of the library, wherever it runs.

A program that has configured structlog gets them there, as the command line does. Any other one
gets them by the standard library's `logging` under `galerne.…`: warnings on stderr unless it says
otherwise, and never anything on stdout.
"""

import logging
from typing import Any, cast

import structlog

_STANDARD = (
    structlog.stdlib.filter_by_level,
    structlog.contextvars.merge_contextvars,
    structlog.processors.format_exc_info,
    structlog.processors.KeyValueRenderer(key_order=["event"]),
)


class _Logger:
    """Chooses at each call, because a program may configure structlog after the import."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._standard: Any = structlog.wrap_logger(
            logging.getLogger(name),
            processors=_STANDARD,
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=True,
        )

    def __getattr__(self, method: str) -> Any:
        if structlog.is_configured():
            return getattr(structlog.stdlib.get_logger(self._name), method)
        return getattr(self._standard, method)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A module's logger; `name` begins with `galerne.`."""
    return cast("structlog.stdlib.BoundLogger", _Logger(name))

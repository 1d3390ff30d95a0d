"""Log lines: on stderr, pretty on a terminal, JSON otherwise; job, task and attempt bound to them.

The libraries' own logging comes out in the same form. Tracebacks appear at level debug only.
"""

import logging
import os
import sys
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Form = Literal["auto", "pretty", "json"]


def configure(level: str, form: Form = "auto") -> None:
    """Set logging up for this process."""
    number = logging.getLevelNamesMapping()[level.upper()]
    pretty = form == "pretty" or (form == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=_processors(pretty=pretty, tracebacks=level == "debug"),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_Logger,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_Bridge()]
    root.setLevel(max(number, logging.WARNING))


def _processors(*, pretty: bool, tracebacks: bool) -> list[Processor]:
    exceptions: list[Processor] = [] if tracebacks else [_shorten_error]
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _add_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        *exceptions,
    ]
    if pretty:
        colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        console = structlog.dev.ConsoleRenderer(
            colors=colors,
            timestamp_key="at",
            exception_formatter=structlog.dev.plain_traceback,
        )
        return [*common, _short_time, console]
    return [
        *common,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=_json),
    ]


class _Logger:
    """Writes lines to whatever `sys.stderr` is at the moment (a live display takes it over).

    A log that cannot be written must not end the work that it tells of.
    """

    def __init__(self, name: str = "galerne", *_: object) -> None:
        self.name = name

    def msg(self, line: str) -> None:
        try:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            return

    log = debug = info = warning = warn = error = err = critical = fatal = exception = msg


class _Bridge(logging.Handler):
    """Standard logging, as the libraries use it, into the same lines."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.stdlib.get_logger(record.name)
        logger.log(record.levelno, record.getMessage(), exc_info=record.exc_info)


def _add_name(logger: WrappedLogger, _: str, event: EventDict) -> EventDict:
    event.setdefault("logger", logger.name)
    return event


def _short_time(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Whoever looks at a terminal knows the date."""
    event["at"] = str(event["at"])[11:23]
    return event


def _shorten_error(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The exception in one line instead of its traceback."""
    match event.pop("exc_info", None):
        case True:
            error: object = sys.exc_info()[1]
        case (_, found, _) | found:
            error = found
    if isinstance(error, BaseException):
        event["error"] = f"{type(error).__name__}: {error}"
    return event


def _json(event: EventDict, **_: Any) -> str:
    import msgspec

    return msgspec.json.encode(event, enc_hook=str).decode()

"""Every error that Galerne raises, one sentence each.

Three kinds matter to whoever catches them: *permanent* (the same call fails again),
*transient* (worth another try, perhaps after `retry_after` seconds) and *in doubt* (an effect
may or may not have happened, so a person decides). Each library's own errors are mapped to these
in one place: nats in `bus/mapping.py`, aiohttp in `models/mapping.py`.
"""

from typing import ClassVar


class GalerneError(Exception):
    """The root. `str(error)` is one line that says what is wrong and what to do next."""

    code: ClassVar[str] = "error"


class PermanentError(GalerneError):
    """Trying the same thing again gives the same failure."""

    code = "permanent"


class TransientError(GalerneError):
    """Another try may succeed; `retry_after` is in seconds, None where nobody said how long."""

    code = "transient"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InDoubtError(GalerneError):
    """A `once` effect was begun and its outcome is unknown; a person settles it."""

    code = "in_doubt"


class InvalidInputError(PermanentError):
    """What a person or another program gave cannot be used as it stands."""

    code = "invalid_input"


class InvalidSettingsError(InvalidInputError):
    """A setting from a flag, a variable or the file is unknown or out of range."""

    code = "invalid_settings"


class InvalidMessageError(InvalidInputError):
    """Bytes on the bus are not the message that their subject promises."""

    code = "invalid_message"


class TooLargeError(InvalidInputError):
    """A message is over the limit that it names."""

    code = "too_large"


class UnavailableError(TransientError):
    """No server or endpoint answered at the address that it names."""

    code = "unavailable"


class DeadlineError(TransientError):
    """No answer within the time that it names."""

    code = "deadline"


class RateLimitedError(TransientError):
    """The back end asks for a pause."""

    code = "rate_limited"


class BusyError(TransientError):
    """Every worker that could do it is at its limit of concurrent work."""

    code = "busy"


class ModelError(PermanentError):
    """The model endpoint refused the request for good."""

    code = "model"


class TooLongError(ModelError):
    """The conversation does not fit into the model's context; a model with a longer one may do."""

    code = "too_long"


class BadAnswerError(TransientError):
    """A model answered with something unusable; asking again may mend it."""

    code = "bad_answer"


class ToolError(PermanentError):
    """A tool could not do what was asked; the message is meant for the model to read."""

    code = "tool"


class IncompleteError(PermanentError):
    """The answer needs more than the tasks have found; the message says what is missing."""

    code = "incomplete"


class FencedError(PermanentError):
    """Another attempt holds the task now; this one must stop and write nothing."""

    code = "fenced"


class ParkedError(GalerneError):
    """The task waits for a person and holds no place; it goes on when they have decided."""

    code = "parked"


class BudgetExhaustedError(PermanentError):
    """The job may not spend what the next step needs."""

    code = "budget_exhausted"


class JobFailedError(PermanentError):
    """The job ended without success."""

    code = "job_failed"


class NotFoundError(PermanentError):
    """No such job, stream or file."""

    code = "not_found"

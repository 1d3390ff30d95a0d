"""A secret that a tool needs: from a variable or a file that the settings name.

It stays in its worker. `str` and `repr` do not show it, and `clean` takes it out of whatever a
server sends back, in every form in which servers are known to repeat keys.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from galerne.errors import InvalidSettingsError
from galerne.models.keys import forms_of

_LARGEST = 16 * 1024
SHOWN = "[secret]"


class Secret:
    """True where there is one."""

    __slots__ = ("_forms", "_value")

    def __init__(self, value: str = "", *more: str) -> None:
        """`more` are other texts that give it away."""
        self._value = value
        forms = {form for one in (value, *more) for form in forms_of(one)}
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def __bool__(self) -> bool:
        return bool(self._value)

    def reveal(self) -> str:
        """The secret itself, for a header or a query, and for nothing else."""
        return self._value

    def clean(self, text: str) -> str:
        """`text` without it."""
        for form in self._forms:
            text = text.replace(form, SHOWN)
        return text

    def __repr__(self) -> str:
        return f"Secret({'***' if self else ''})"


def read_secret(
    variable: str | None, file: str | None, where: str, environ: Mapping[str, str] = os.environ
) -> Secret:
    """The secret that settings name, an empty one where they name none.

    `where` is the setting, for the errors. Raises InvalidSettingsError where both are named, where
    it is not there or not one line, or where no HTTP header can carry it.
    """
    if variable and file:
        raise InvalidSettingsError(f"{where}: a variable and a file are named; leave one out")
    if variable:
        value = environ.get(variable, "").strip()
        if not value:
            raise InvalidSettingsError(f"{where}: the variable {variable} is empty; put it there")
    elif file:
        value = _in_file(Path(file), where)
    else:
        return Secret()
    if not (value.isascii() and value.isprintable()):
        raise InvalidSettingsError(f"{where}: the secret must be one line of ASCII; copy it again")
    return Secret(value)


def _in_file(path: Path, where: str) -> str:
    try:
        with path.open("rb") as file:
            value = file.read(_LARGEST).decode("latin-1").strip()
    except OSError as error:
        raise InvalidSettingsError(
            f"{where}: cannot read {path}: {error.strerror or error}"
        ) from error
    if not value:
        raise InvalidSettingsError(f"{where}: {path} is empty; write the secret into it")
    return value

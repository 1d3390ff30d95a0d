"""The key of a model endpoint: from the settings, or from the file that they name.

Secret stores of containers and of systemd put a key into a file; then it is in no environment
either. The file is read when the endpoint is made, so a worker that is started anew has the new
key. Every way in which a text may hold the key is known here, too: servers repeat it in errors,
and some write it otherwise than it was sent.
"""

import base64
import html
import re
import stat
from pathlib import Path
from urllib.parse import quote

import msgspec

from galerne.errors import InvalidSettingsError
from galerne.logs import get_logger
from galerne.settings import RoleSettings

log = get_logger("galerne.models")

_PERCENT = re.compile(r"%[0-9A-F]{2}")
_LARGEST = 16 * 1024  # bytes; a header's line is no longer anywhere


def key_of(settings: RoleSettings) -> str:
    """The key, without blanks around it; empty where there is none.

    Warns where every user of the machine can read the file. Raises InvalidSettingsError where it
    cannot be read or is not one line, or where the key cannot be a header.
    """
    if settings.api_key_file is None:
        key, source = (settings.api_key or "").strip(), "api_key"
    elif settings.api_key:
        raise InvalidSettingsError("api_key and api_key_file are both set; leave one of them out")
    else:
        key, source = _key_in(Path(settings.api_key_file)), f"api_key_file {settings.api_key_file}"
    if not (key.isascii() and (key.isprintable() or not key)):
        raise InvalidSettingsError(
            f"{source} holds characters that no HTTP header can carry; copy the key again"
        )
    return key


def forms_of(key: str) -> tuple[str, ...]:
    """The key as it may stand in a text, the longest form first; none where there is no key."""
    if not key:
        return ()
    quoted = msgspec.json.encode(key).decode()[1:-1]
    encoded = base64.b64encode(key.encode()).decode().rstrip("=")
    forms = {key, quoted, quoted.replace("/", "\\/"), encoded, html.escape(key)}
    for written in (quote(key, safe=""), quote(key)):
        forms |= {written, _PERCENT.sub(lambda sign: sign[0].lower(), written)}
    return tuple(sorted(forms, key=len, reverse=True))


def _key_in(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
            mode = path.stat().st_mode
    except OSError as error:
        raise InvalidSettingsError(
            f"cannot read api_key_file {path}: {error.strerror or error}; correct the path or its "
            "permissions"
        ) from error
    lines = data.strip().splitlines()
    if not lines:
        raise InvalidSettingsError(f"api_key_file {path} is empty; write the key into it")
    if len(lines) > 1 or len(data) > _LARGEST:
        raise InvalidSettingsError(
            f"api_key_file {path} is not one line; write the key into it and nothing else"
        )
    if mode & stat.S_IROTH:
        log.warning("key_file_is_open", file=str(path), advice=f"chmod 600 {path}")
    return lines[0].decode("latin-1")

"""Files that a command line names."""

from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

import msgspec

from galerne.errors import InvalidInputError


def json_file(name: str, flag: str) -> Any:
    """What a file of JSON holds. Raises InvalidInputError, one line."""
    try:
        return msgspec.json.decode(Path(name).read_bytes().removeprefix(BOM_UTF8))
    except OSError as error:
        raise InvalidInputError(f"{flag}: cannot read {name}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidInputError(f"{flag}: {name} is not JSON: {error}") from error

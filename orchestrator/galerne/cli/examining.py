"""Which endpoints the doctor looks at, by the settings and the command line.

A key goes only where the settings send it: to another address none is sent that was not given for
it. Roles that ask the same model at the same place with the same key are looked at once.
"""

from pathlib import Path

import msgspec

from galerne.errors import InvalidInputError
from galerne.models import Endpoint
from galerne.models.endpoint import addresses
from galerne.settings import RoleSettings, Settings

_LONGEST_KEY = 8192  # characters; no server takes a longer header


class Target(msgspec.Struct, frozen=True):
    """A model at a place. `roles` are those that the settings send there; `named`: chosen there."""

    settings: RoleSettings
    roles: tuple[str, ...] = ()
    named: bool = True


def targets(
    settings: Settings, endpoint: str | None, model: str | None, key_file: Path | None
) -> list[Target]:
    """Raises InvalidInputError where there is nothing to look at, or a key cannot be read."""
    configured = _configured(settings)
    found = configured if endpoint is None else _at(configured, endpoint)
    if not found:
        raise InvalidInputError(
            "no model endpoint is set: name one, as in `galerne doctor http://127.0.0.1:8000/v1`,"
            " or set `endpoint` in [planner] and [executor]"
        )
    changes: dict[str, str | None] = {}
    if model is not None:
        changes["model"] = model
    if key_file is not None:
        changes |= {"api_key": _key(key_file), "api_key_file": None}
    if not changes:
        return found
    changed = [
        Target(
            msgspec.structs.replace(target.settings, **changes),
            target.roles,
            named=target.named or model is not None,
        )
        for target in found
    ]
    return _distinct(changed)


def _configured(settings: Settings) -> list[Target]:
    roles = {"planner": settings.planner, "executor": settings.executor}
    each = [
        Target(msgspec.structs.replace(role, endpoint=address), (name,))
        for name, role in roles.items()
        if role.endpoint
        for address in addresses(role.endpoint)
    ]
    return _distinct(each)


def _at(configured: list[Target], endpoint: str) -> list[Target]:
    """Those of the settings at that address, else the address alone."""
    alone = RoleSettings(endpoint=endpoint)
    address = Endpoint(alone).url
    same = [target for target in configured if Endpoint(target.settings).url == address]
    return same or [Target(alone, named=False)]


def _distinct(all_of_them: list[Target]) -> list[Target]:
    """One of each place, model and key, with the roles of all that are alike."""
    found: dict[tuple[str | None, ...], Target] = {}
    for target in all_of_them:
        settings = target.settings
        key = (settings.api_key, settings.api_key_file)
        place = (Endpoint(settings).url, settings.model, *key)
        before = found.get(place)
        roles = target.roles if before is None else (*before.roles, *target.roles)
        found[place] = Target(settings, roles, target.named)
    return list(found.values())


def _key(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InvalidInputError(f"cannot read the key file {file}: {reason}") from error
    if not text or len(text.split()) > 1 or len(text) > _LONGEST_KEY:
        raise InvalidInputError(f"{file} must hold one key and nothing else")
    return text

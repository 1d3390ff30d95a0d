"""From a file, variables and flags to one `Settings`, or to one line that names what is wrong.

Three sources, the later wins: the TOML file, `GALERNE_*` variables, command-line flags. A
variable is the path in capitals: `GALERNE_EXECUTOR_ENDPOINT` is `endpoint` in `[executor]`, and
`GALERNE_TOOLS_PYTHON_ENABLED` is `enabled` in `[tools.python]`.
"""

import difflib
import math
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from galerne.errors import InvalidSettingsError
from galerne.retry import AWAY, RetryPolicy
from galerne.settings.section import Section
from galerne.settings.sections import Settings, TenantSettings, WorkerSettings

DEFAULT_FILE = Path("galerne.toml")


def retry_policies(worker: WorkerSettings) -> dict[str, RetryPolicy]:
    """Error code → policy. Raises InvalidSettingsError."""
    away = RetryPolicy.parse(worker.retry_away)
    return {
        **dict.fromkeys(AWAY, away),
        "deadline": RetryPolicy.parse(worker.retry_deadline),
        "bad_answer": RetryPolicy.parse(worker.retry_bad_answer),
        "other": RetryPolicy.parse(worker.retry_other),
    }


Overrides = Mapping[str, Mapping[str, Any]]
"""Section name → field name → value, as flags give them."""

_ALIASES = {"GALERNE_SERVER": ("bus", "server")}
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`(?: - at `\$((?:\.\w+)*)`)?")
_MAY_BE_ZERO = frozenset({"temperature", "input_price", "output_price"})
_NOT_SETTINGS = frozenset({"GALERNE_CONFIG", "GALERNE_FAULT"})


def load_settings(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Overrides | None = None,
) -> Settings:
    """Read the file, the variables and the flags into one Settings.

    `file` None means `GALERNE_CONFIG`, else `galerne.toml` here if there is one.
    Raises InvalidSettingsError, one line that names the source and the field.
    """
    environ = os.environ if environ is None else environ
    path = file or (Path(environ["GALERNE_CONFIG"]) if environ.get("GALERNE_CONFIG") else None)
    tables: dict[str, dict[str, Any]] = {}
    source = "the built-in defaults"
    if path is not None or DEFAULT_FILE.is_file():
        source = str(path or DEFAULT_FILE)
        tables = _read_file(path or DEFAULT_FILE)
        _convert(tables, source, strict=True)
    settings_tables = _merge(tables, _from_environ(environ))
    _convert(settings_tables, "the GALERNE_* variables", strict=False)
    settings_tables = _merge(settings_tables, overrides or {})
    return _convert(settings_tables, "the command line", strict=False)


def _read_file(path: Path) -> dict[str, dict[str, Any]]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSettingsError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettingsError(f"{path} is not valid TOML: {error}") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise InvalidSettingsError(f"{path}: {name!r} stands outside a [section]")
    return tables


def _from_environ(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    sections = Settings.__struct_fields__
    tables: dict[str, dict[str, Any]] = {}
    for variable in sorted(environ, key=lambda name: (name in _ALIASES, name)):
        if not variable.startswith("GALERNE_") or variable in _NOT_SETTINGS:
            continue
        value: Any = environ[variable]
        if variable in _ALIASES:
            section, field = _ALIASES[variable]
        else:
            section, _, field = variable.removeprefix("GALERNE_").lower().partition("_")
            if section not in sections:
                raise InvalidSettingsError(
                    f"{variable} is not a setting; sections are {', '.join(sections)}"
                )
        inner, name = _inside(section, field)
        given = _of_text(value, _default(section, inner, name))
        table = {inner: {name: given}} if inner else {name: given}
        _check_variable(variable, section, field, table)
        tables = _merge(tables, {section: table})
    return tables


def _inside(section: str, field: str) -> tuple[str, str]:
    """Which table inside the section a variable is about, "" for none, and which field there."""
    if section in Settings.__struct_fields__:
        for inner, value in msgspec.structs.asdict(getattr(Settings(), section)).items():
            if isinstance(value, Section) and field.startswith(f"{inner}_"):
                return inner, field.removeprefix(f"{inner}_")
    return "", field


def _default(section: str, inner: str, field: str) -> Any:
    table = getattr(Settings(), section, None)
    return getattr(getattr(table, inner) if inner else table, field, None)


def _of_text(text: str, default: Any) -> Any:
    """A list has commas, a table is a JSON object; what is none is refused as the text it is."""
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if not isinstance(default, dict):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _check_variable(variable: str, section: str, field: str, table: dict[str, Any]) -> None:
    """Each by itself, so that the error names the variable that somebody typed."""
    known = _fields(getattr(Settings(), section))
    if field not in known:
        near = difflib.get_close_matches(field, known, n=1)
        advice = f"; did you mean GALERNE_{section.upper()}_{near[0].upper()}?" if near else ""
        raise InvalidSettingsError(
            f"{variable} is not a setting: [{section}] has no {field!r}{advice}"
        )
    _convert({section: table}, variable, strict=False)


def _fields(section: Section) -> list[str]:
    """As variables name them: those of a table inside have its name in front."""
    names: list[str] = []
    for name, value in msgspec.structs.asdict(section).items():
        inner = _fields(value) if isinstance(value, Section) else None
        names += [name] if inner is None else [f"{name}_{field}" for field in inner]
    return names


def _merge(below: Overrides, above: Overrides) -> dict[str, dict[str, Any]]:
    merged = {name: dict(table) for name, table in below.items()}
    for name, table in above.items():
        mine = merged.setdefault(name, {})
        for field, value in table.items():
            old: Any = mine.get(field, {})
            both = isinstance(value, dict) and isinstance(old, dict) and _is_inner(name, field)
            mine[field] = {**old, **value} if both else value
    return merged


def _is_inner(section: str, field: str) -> bool:
    """Whether it is a table with fields of its own; what has keys of anybody's is one value."""
    return isinstance(_default(section, "", field), Section)


def _convert(tables: Overrides, source: str, *, strict: bool) -> Settings:
    defaults = Settings()
    filled = {
        name: {**msgspec.structs.asdict(getattr(defaults, name)), **table}
        if name in Settings.__struct_fields__
        else dict(table)
        for name, table in tables.items()
    }
    try:
        settings = msgspec.convert(filled, Settings, strict=strict)
    except msgspec.ValidationError as error:
        raise InvalidSettingsError(f"{source}: {_unknown_field(str(error)) or error}") from error
    _check_ranges(settings, source)
    _check_limits(settings.tenants, source)
    for name, rung in settings.models.rungs.items():
        _check_section(rung, f"models.rungs.{name}", source)
    for name, server in settings.tools.mcp.items():
        _check_section(server, f"tools.mcp.{name}", source)
    for name, service in settings.tools.openapi.items():
        _check_section(service, f"tools.openapi.{name}", source)
    try:
        retry_policies(settings.worker)
    except InvalidSettingsError as error:
        raise InvalidSettingsError(f"{source}: worker.retry_*: {error}") from error
    return settings


def _unknown_field(error: str) -> str:
    """What a table without that field has instead; empty for an error of another kind."""
    found = _UNKNOWN.fullmatch(error)
    if found is None:
        return ""
    place: Any = Settings()
    for step in (found[2] or "").split(".")[1:]:
        place = getattr(place, step, None)
    if not isinstance(place, msgspec.Struct):
        return ""
    known = place.__struct_fields__
    near = difflib.get_close_matches(found[1], known, n=1)
    advice = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
    where = f"[{found[2][1:]}]" if found[2] else "the file"
    return f"{where} has no {found[1]!r}; {advice}"


def _check_ranges(settings: Settings, source: str) -> None:
    for section in Settings.__struct_fields__:
        _check_section(getattr(settings, section), section, source)


def _check_section(section: Section, name: str, source: str) -> None:
    for field, value in msgspec.structs.asdict(section).items():
        if isinstance(value, Section):
            _check_section(value, f"{name}.{field}", source)
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        may_be_zero = field in _MAY_BE_ZERO
        if not math.isfinite(value) or value < 0 or (value == 0 and not may_be_zero):
            least = "0 or more" if may_be_zero else "above 0"
            raise InvalidSettingsError(f"{source}: {name}.{field} must be {least}, not {value}")


def _check_limits(tenants: TenantSettings, source: str) -> None:
    for tenant, limits in tenants.limits.items():
        if limits.active is not None and limits.active <= 0:
            raise InvalidSettingsError(
                f"{source}: tenants.limits.{tenant}.active must be above 0, not {limits.active}"
            )

"""Every setting, with its unit and the reason of its default.

Three sources, the later wins: the TOML file, `GALERNE_*` variables, command-line flags. A
variable is the path in capitals: `GALERNE_EXECUTOR_ENDPOINT` is `endpoint` in `[executor]`.
"""

import difflib
import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from galerne.errors import InvalidSettingsError

DEFAULT_FILE = Path("galerne.toml")


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file. Unknown names are errors: a typo must not pass for a setting."""


class BusSettings(Section, frozen=True):
    """The NATS server and the names on it."""

    server: str | None = None
    """URL, `nats://host:port`, several with commas; None: the embedded server, where one may be."""
    prefix: str = "galerne"
    """First token of every subject; with another one, two fleets share a server."""
    partitions: int = 8
    """Parts of the event log that coordinators share out; fixed for the life of a deployment.
    More than the number of coordinator replicas anyone runs, few enough to cost nothing."""
    replicas: int = 1
    """Copies of each stream; 3 on a cluster in production."""
    connect_timeout: float = 2.0
    """Seconds for the first connection: local or in one data centre, so longer means absent."""
    request_timeout: float = 5.0
    """Seconds that a publish or a read may take; a server restart fits inside it."""
    max_payload: int = 512 * 1024
    """Bytes of a message, headers included. NATS closes the connection above its own 1 MB."""
    backlog: int = 10_000
    """Unadmitted jobs a tenant may have queued before `submit` is refused."""


class RoleSettings(Section, frozen=True):
    """One role's model."""

    endpoint: str | None = None
    """Base URL of an OpenAI-style API, with or without `/v1`; None: Ollama, else the stand-in."""
    model: str = "mistral-7b"
    """The model's name as that endpoint knows it."""
    api_key: str | None = None
    """Sent as a bearer token; prefer the variable to the file."""
    timeout: float = 120.0
    """Seconds for a whole answer: a 7B on a busy consumer GPU needs one minute for 1,000 tokens."""
    idle_timeout: float = 30.0
    """Seconds between two pieces of a stream; a longer silence is a dead back end."""
    max_tokens: int = 2048
    """Limit of one answer: a plan of 40 tasks fits."""
    temperature: float = 0.0
    """Plans and tool calls want the likeliest answer, not the liveliest."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Every field but the key, which must not reach a log by way of a repr."""
        fields = msgspec.structs.asdict(self)
        return [
            (name, "***" if name == "api_key" and value else value)
            for name, value in fields.items()
        ]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"


class WorkerSettings(Section, frozen=True):
    """The worker runtime."""

    concurrency: int = 8
    """Tasks at once in one process; they mostly wait for models."""
    lease: float = 15.0
    """Seconds that a claim holds without renewal; a dead worker's task waits this long."""
    clock_margin: float = 2.0
    """Seconds that two hosts' clocks may differ: a lease counts as over only after so much more."""
    heartbeat: float = 5.0
    """Seconds between renewals: a third of the lease, so two may be missed."""
    max_attempts: int = 6
    """Claims on one task before it fails for good: more means that it kills its workers."""
    outage: float = 3600.0
    """Seconds that a task waits for a model or tool that is away or asks for a pause, before that
    counts as its failure: a model server may be down for a while at night."""
    retry_delay: float = 0.5
    """Seconds before the second attempt after a transient failure; doubled each time, jittered."""
    drain: float = 20.0
    """Seconds that SIGTERM leaves to running tasks before they are handed back."""
    spool: str | None = None
    """Folder for paid results on their way to the bus; None: `~/.local/state/galerne/spool`."""


class CoordinatorSettings(Section, frozen=True):
    """The coordinator replicas."""

    presence: float = 1.0
    """Seconds between heartbeats; three missed ones and the others take over its partitions."""
    ack_wait: float = 10.0
    """Seconds until an event that a dead coordinator held goes to another."""
    sweep: float = 15.0
    """Seconds without a fact after which an open job is folded anew: a missed wake costs this."""


class ToolSettings(Section, frozen=True):
    """Tool workers."""

    root: str = "."
    """Folder that the file tools may read; everything outside is refused."""
    concurrency: int = 16
    """Calls at once in one process."""
    heartbeat: float = 0.5
    """Seconds between `working` replies; a caller gives a silent worker up after three."""


class Settings(Section, frozen=True):
    """All of it."""

    bus: BusSettings = BusSettings()
    planner: RoleSettings = RoleSettings(model="mixtral-8x22b", max_tokens=4096)
    executor: RoleSettings = RoleSettings(model="mistral-7b")
    worker: WorkerSettings = WorkerSettings()
    coordinator: CoordinatorSettings = CoordinatorSettings()
    tools: ToolSettings = ToolSettings()


Overrides = Mapping[str, Mapping[str, Any]]
"""Section name → field name → value, as flags give them."""

_ALIASES = {"GALERNE_SERVER": ("bus", "server")}
_NOT_SETTINGS = frozenset({"GALERNE_CONFIG"})


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
        value = environ[variable]
        if variable in _ALIASES:
            section, field = _ALIASES[variable]
        else:
            section, _, field = variable.removeprefix("GALERNE_").lower().partition("_")
            if section not in sections:
                raise InvalidSettingsError(
                    f"{variable} is not a setting; sections are {', '.join(sections)}"
                )
        _check_variable(variable, section, field, value)
        tables.setdefault(section, {})[field] = value
    return tables


def _check_variable(variable: str, section: str, field: str, value: str) -> None:
    """Each by itself, so that the error names the variable that somebody typed."""
    known: tuple[str, ...] = getattr(Settings(), section).__struct_fields__
    if field not in known:
        near = difflib.get_close_matches(field, known, n=1)
        advice = f"; did you mean GALERNE_{section.upper()}_{near[0].upper()}?" if near else ""
        raise InvalidSettingsError(
            f"{variable} is not a setting: [{section}] has no {field!r}{advice}"
        )
    _convert({section: {field: value}}, variable, strict=False)


def _merge(below: Overrides, above: Overrides) -> dict[str, dict[str, Any]]:
    merged = {name: dict(table) for name, table in below.items()}
    for name, table in above.items():
        merged.setdefault(name, {}).update(table)
    return merged


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
        raise InvalidSettingsError(f"{source}: {error}") from error
    _check_ranges(settings, source)
    return settings


def _check_ranges(settings: Settings, source: str) -> None:
    for section in Settings.__struct_fields__:
        for field, value in msgspec.structs.asdict(getattr(settings, section)).items():
            if not isinstance(value, int | float) or isinstance(value, bool):
                continue
            may_be_zero = field == "temperature"
            if not math.isfinite(value) or value < 0 or (value == 0 and not may_be_zero):
                least = "0 or more" if may_be_zero else "above 0"
                raise InvalidSettingsError(
                    f"{source}: {section}.{field} must be {least}, not {value}"
                )

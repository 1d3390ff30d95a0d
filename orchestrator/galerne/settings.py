"""Every setting, with its unit and the reason of its default.

Three sources, the later wins: the TOML file, `GALERNE_*` variables, command-line flags. A
variable is the path in capitals: `GALERNE_EXECUTOR_ENDPOINT` is `endpoint` in `[executor]`.
"""

import difflib
import math
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from galerne.errors import InvalidSettingsError
from galerne.retry import AWAY, RetryPolicy

DEFAULT_FILE = Path("galerne.toml")


_LOGIN = re.compile(r"^([a-z]+://)?.*@", re.IGNORECASE)
_NEXT_URL = re.compile(r",(?=\s*[a-z]+://)", re.IGNORECASE)


def without_login(server: str) -> str:
    """`nats://user:secret@host:4222` as `nats://host:4222`; several with commas too.

    Whatever stands before the last `@` counts as the login: a password may hold anything.
    """
    return ",".join(_LOGIN.sub(r"\1", url.strip()) for url in _NEXT_URL.split(server))


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
    inline: int = 256 * 1024
    """Bytes of a result or of a job's inputs that travel in messages; what is larger goes to the
    Object Store. Half of a message, so that a step holds a result and the text of it."""
    max_blob: int = 256 * 1024 * 1024
    """Bytes of the largest file or value that the Object Store takes; above it is refused."""
    backlog: int = 10_000
    """Unadmitted jobs a tenant may have queued before `submit` is refused."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Every field; of the server's URL no login, which must not reach a log."""
        fields = msgspec.structs.asdict(self)
        return [
            (name, without_login(value) if name == "server" and value else value)
            for name, value in fields.items()
        ]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"


Backend = Literal["auto", "mistral", "vllm", "ollama", "llamacpp", "openai"]
"""A kind of model server; `mistral` is the hosted API, `openai` any other."""


ToolMode = Literal["auto", "native", "prompt"]
"""How a model is offered tools: by the API's own field, or in words of the conversation."""


class KeyedSection(Section, frozen=True):
    """A table with a key, which must not reach a log by way of a repr."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        fields = msgspec.structs.asdict(self)
        return [
            (name, "***" if name == "api_key" and value else value)
            for name, value in fields.items()
        ]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"


class RoleSettings(KeyedSection, frozen=True):
    """One role's model."""

    endpoint: str | None = None
    """Base URL of an OpenAI-style API, with or without `/v1`, several with commas; None: Ollama,
    else the stand-in."""
    model: str = "mistral-7b"
    """The model's name as that endpoint knows it."""
    backend: Backend = "auto"
    """What kind of server the endpoint is; `auto` tells by its address, then by what it says."""
    tools: ToolMode = "auto"
    """How tools are offered: `native`, or by `prompt` to a model that was never trained on them;
    `auto` tells by the catalogue, then by a refusal of the server."""
    api_key: str | None = None
    """Sent as a bearer token; prefer the variable to this file, and `api_key_file` to both."""
    api_key_file: str | None = None
    """File whose one line is the key, for secrets that are mounted; it is in no environment."""
    timeout: float = 120.0
    """Seconds for a whole answer: a 7B on a busy consumer GPU needs one minute for 1,000 tokens."""
    idle_timeout: float = 30.0
    """Seconds between two pieces of a stream; a longer silence is a dead back end."""
    rate: float | None = None
    """Requests per second that each endpoint allows the whole fleet; None: what it says itself in
    its headers, else what is found out by its refusals."""
    concurrency: int | None = None
    """Calls at once that each endpoint gets from the whole fleet at most; fewer while it fails.
    None: found out, beginning with 64."""
    hedge: bool = False
    """Whether a call that takes longer than 19 of 20 is asked at a second endpoint as well. Both
    may cost money, so never for a job with a budget."""
    max_tokens: int = 2048
    """Limit of one answer: a plan of 40 tasks fits."""
    context: int | None = None
    """Tokens, prompt and answer together; None: what the catalogue says of the model's name, and
    32,768 where it knows none. Longer conversations are cut: set what a server really has."""
    temperature: float = 0.0
    """Plans and tool calls want the likeliest answer, not the liveliest."""
    input_price: float = 0.15
    """US dollars per million tokens of a prompt, by which budgets and reports count. The default is
    the price of a hosted model of an executor's size; give your own costs for your machines."""
    output_price: float = 0.15
    """US dollars per million tokens of an answer."""


class RungSettings(KeyedSection, frozen=True):
    """What differs for one model of the ladder; None is what the role has that serves it."""

    endpoint: str | None = None
    """None: the planner's for the planner's model, else the executor's."""
    model: str | None = None
    """Its name there; None: the rung's own name, or what that server calls the same model."""
    backend: Backend | None = None
    tools: ToolMode | None = None
    """None: the planner's for its model, else `auto`: another model was trained otherwise."""
    api_key: str | None = None
    """None: the role's, unless the endpoint is another one."""
    timeout: float | None = None
    idle_timeout: float | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    input_price: float | None = None
    """None: the planner's for its model, the catalogue's on the hosted API, else 0."""
    output_price: float | None = None


class ModelsSettings(Section, frozen=True):
    """What is known of the models, whichever role they have."""

    catalogue: str | None = None
    """TOML file that adds models to the catalogue, or changes some; None: only the packaged one."""
    escalate: bool = True
    """Whether a task whose answer fails its check goes on with a larger model."""
    ladder: tuple[str, ...] = ("mistral-7b", "mistral-nemo", "mixtral-8x7b", "mixtral-8x22b")
    """Those models, the smallest first; one that nobody serves is passed over. The executor's own
    comes first, the planner's last."""
    rungs: dict[str, RungSettings] = {}
    """Name on the ladder → what differs for it."""


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
    retry_away: str = "0.5s..30s"
    """Pauses between tries of what is absent or asks for a pause, doubled each time, jittered: soon
    enough after a restart of a model server, seldom enough to leave it alone."""
    retry_deadline: str = "0.5s..30s x6"
    """Pauses, and attempts, after no answer in time."""
    retry_bad_answer: str = "0.5s..10s x4"
    """Pauses, and attempts, after an answer that cannot be used: a fifth is no better."""
    retry_other: str = "0.5s..30s x6"
    """Pauses, and attempts, after any other passing failure."""
    ask_timeout: float = 259_200.0
    """Seconds that a question to a person stays open, after which the answer is no: three days, so
    that a weekend fits in."""
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


class TenantLimits(Section, frozen=True):
    """What differs for one tenant; None is what holds for all."""

    active: int | None = None
    """Jobs in progress at once."""


class TenantSettings(Section, frozen=True):
    """What one tenant may take from the others."""

    active: int = 200
    """Jobs of one tenant in progress at once; its next ones wait in the queue. Enough to keep
    dozens of workers busy, few enough that a flood of jobs stays in the queue and not in memory."""
    most: int = 100
    """Tenants that are served at a time, the next one waits until one is idle: each costs every
    worker three standing pulls, and so many cost an idle worker 8 percent of a core."""
    limits: dict[str, TenantLimits] = {}
    """Tenant → its own limits."""

    def active_of(self, tenant: str) -> int:
        """Jobs of this tenant that may be in progress at once."""
        return self.limits.get(tenant, TenantLimits()).active or self.active

    @property
    def most_active(self) -> int:
        """The largest such limit of any tenant."""
        return max(self.active, *(one.active or 0 for one in self.limits.values()), 0)


class RetentionSettings(Section, frozen=True):
    """How long the coordinators keep what is over."""

    keep: float = 604_800.0
    """Seconds from a job's end until everything of it is purged: a week, so that what went wrong on
    a Friday can still be looked at. A large number keeps it for ever."""
    archive: str | None = None
    """Folder into which each job is exported before it is purged; None: it is only purged."""
    sweep: float = 60.0
    """Seconds between two looks for jobs to purge; where nothing is due nothing is read."""


class Settings(Section, frozen=True):
    """All of it."""

    bus: BusSettings = BusSettings()
    planner: RoleSettings = RoleSettings(
        model="mixtral-8x22b", max_tokens=4096, input_price=0.5, output_price=1.5
    )
    executor: RoleSettings = RoleSettings(model="mistral-7b")
    models: ModelsSettings = ModelsSettings()
    worker: WorkerSettings = WorkerSettings()
    coordinator: CoordinatorSettings = CoordinatorSettings()
    tools: ToolSettings = ToolSettings()
    retention: RetentionSettings = RetentionSettings()
    tenants: TenantSettings = TenantSettings()


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
        value = _of_text(value, _default(section, field))
        _check_variable(variable, section, field, value)
        tables.setdefault(section, {})[field] = value
    return tables


def _default(section: str, field: str) -> Any:
    return getattr(getattr(Settings(), section), field, None)


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


def _check_variable(variable: str, section: str, field: str, value: Any) -> None:
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
    _check_limits(settings.tenants, source)
    for name, rung in settings.models.rungs.items():
        _check_section(rung, f"models.rungs.{name}", source)
    try:
        retry_policies(settings.worker)
    except InvalidSettingsError as error:
        raise InvalidSettingsError(f"{source}: worker.retry_*: {error}") from error
    return settings


def _check_ranges(settings: Settings, source: str) -> None:
    for section in Settings.__struct_fields__:
        _check_section(getattr(settings, section), section, source)


def _check_section(section: Section, name: str, source: str) -> None:
    for field, value in msgspec.structs.asdict(section).items():
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

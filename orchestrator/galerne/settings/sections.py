"""Every setting, with its unit and the reason of its default: a Struct for each table."""

import re
from typing import Any, Literal

import msgspec

from galerne.settings.data import DataSettings
from galerne.settings.mcp import McpSettings
from galerne.settings.openapi import OpenApiSettings
from galerne.settings.python import PythonSettings
from galerne.settings.section import Section
from galerne.settings.web import WebSettings

_LOGIN = re.compile(r"^([a-z]+://)?.*@", re.IGNORECASE)
_NEXT_URL = re.compile(r",(?=\s*[a-z]+://)", re.IGNORECASE)


def without_login(server: str) -> str:
    """`nats://user:secret@host:4222` as `nats://host:4222`; several with commas too.

    Whatever stands before the last `@` counts as the login: a password may hold anything.
    """
    return ",".join(_LOGIN.sub(r"\1", url.strip()) for url in _NEXT_URL.split(server))


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
    """None, with no file either: the role's, unless the endpoint is another one."""
    api_key_file: str | None = None
    timeout: float | None = None
    idle_timeout: float | None = None
    max_tokens: int | None = None
    context: int | None = None
    """None: the planner's for its model, else what the catalogue says."""
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
    longer: tuple[str, ...] = ()
    """Models that plan, or write an answer, where the conversation does not fit the planner's: the
    shortest context first. None by default: what fits is the catalogue's to say, who serves it
    yours."""
    rungs: dict[str, RungSettings] = msgspec.field(default_factory=dict)
    """Name on the ladder, or of `longer` → what differs for it."""


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
    revisions: int = 3
    """Times that a job's plan is revised after failures, unless the job says otherwise; 0: never.
    What three plans could not mend, the planner's model does not understand."""


class ToolSettings(Section, frozen=True):
    """Tool workers."""

    root: str = "."
    """Folder that the file tools may read; everything outside is refused."""
    write: bool = False
    """Whether models may write and edit files there (`write_file`, `edit_file`)."""
    concurrency: int = 16
    """Calls at once in one process."""
    heartbeat: float = 0.5
    """Seconds between `working` replies; a caller gives a silent worker up after three."""
    data: DataSettings = DataSettings()
    mcp: dict[str, McpSettings] = msgspec.field(default_factory=dict)
    """Name → MCP server whose tools are served."""
    openapi: dict[str, OpenApiSettings] = msgspec.field(default_factory=dict)
    """Name → service that an OpenAPI document describes."""
    python: PythonSettings = PythonSettings()
    web: WebSettings = WebSettings()


class PlanSettings(Section, frozen=True):
    """Plans that anybody on the bus may ask a planner for, without a job (`galerne-plan`)."""

    serve: bool = True
    """Whether planners answer. Off where whoever may connect must not spend on the planner's model:
    such a plan belongs to no tenant and has no budget."""
    concurrency: int = 4
    """Plans at once in one process; whoever asks for more is told at once to come again. Half of
    the tasks at once, so that jobs have their share of the model."""
    timeout: float = 300.0
    """Seconds for a plan: nobody can see an asker that has gone away, so its plan ends by this."""
    heartbeat: float = 2.0
    """Seconds of silence after which a planner says that it still works."""


class PromptSettings(Section, frozen=True):
    """The system texts of planner, answer and executor."""

    folder: str | None = None
    """Folder with texts of your own, named `planner.md`, `executor.md` and so on; None: ours."""


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
    limits: dict[str, TenantLimits] = msgspec.field(default_factory=dict)
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
    sessions: float = 7_776_000.0
    """Seconds that a turn of a conversation is kept, whatever becomes of its job: 90 days, as
    people come back to a conversation long after they have stopped to look at its jobs."""
    turns: int = 200
    """Turns of one conversation that are kept; the oldest go first. Twice as many as a job sees a
    line of."""


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
    plans: PlanSettings = PlanSettings()
    prompts: PromptSettings = PromptSettings()
    retention: RetentionSettings = RetentionSettings()
    tenants: TenantSettings = TenantSettings()

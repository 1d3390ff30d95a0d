"""Flags that several commands share, and the settings that come of them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from galerne.cli.parsing import Parser

if TYPE_CHECKING:
    from galerne.settings import Section, Settings

LEVELS = ("debug", "info", "warning", "error")

_FLAGS: dict[str, tuple[tuple[str, str], ...]] = {
    "server": (("bus", "server"),),
    "endpoint": (("planner", "endpoint"), ("executor", "endpoint")),
    "planner_endpoint": (("planner", "endpoint"),),
    "executor_endpoint": (("executor", "endpoint"),),
    "planner_model": (("planner", "model"),),
    "executor_model": (("executor", "model"),),
    "root": (("tools", "root"),),
    "concurrency": (("worker", "concurrency"), ("tools", "concurrency")),
}
"""Attribute of the parsed flags → section and field; later ones override earlier ones."""


def common(level: str = "warning") -> Parser:
    """What every command takes. `level` is its log level by default."""
    parser = Parser(add_help=False)
    group = parser.add_argument_group("settings")
    group.add_argument("--config", metavar="FILE", type=Path, help="TOML file with settings")
    group.add_argument(
        "--log-level", choices=LEVELS, default=level, help=f"of the lines on stderr ({level})"
    )
    group.add_argument(
        "--log-form", choices=("auto", "pretty", "json"), default="auto", help=argparse.SUPPRESS
    )
    return parser


def again(flags: Parser) -> Parser:
    """The same flags once more, for an action of a command that takes them before it, too.

    Without defaults, which would undo what was given before the action.
    """
    for action in flags._actions:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - argparse has no other way to all of them
        action.help = (action.help or "").replace("%(default)s", str(action.default))
        action.default = argparse.SUPPRESS
    return flags


def bus() -> Parser:
    """For commands that talk to a NATS server."""
    parser = Parser(add_help=False)
    parser.add_argument(
        "--server", metavar="URL", help="NATS server, nats://host:port (or GALERNE_SERVER)"
    )
    return parser


def tenant() -> Parser:
    """For commands about jobs."""
    parser = Parser(add_help=False)
    parser.add_argument("--tenant", default="default", help="whose jobs (%(default)s)")
    return parser


def session() -> Parser:
    """For commands that begin a job."""
    parser = Parser(add_help=False)
    parser.add_argument(
        "--session", metavar="NAME", help="go on with this conversation, or begin it"
    )
    return parser


def as_json() -> Parser:
    """For commands that print data."""
    parser = Parser(add_help=False)
    parser.add_argument(
        "--json", action="store_true", help="one JSON document on stdout and nothing else"
    )
    return parser


def models() -> Parser:
    """For commands that ask models or run tools."""
    parser = Parser(add_help=False)
    group = parser.add_argument_group("models and tools")
    group.add_argument(
        "--endpoint", metavar="URL", help="OpenAI-style API of all roles, http://host:port/v1"
    )
    group.add_argument("--planner-endpoint", metavar="URL", help="the planner's own")
    group.add_argument("--executor-endpoint", metavar="URL", help="the executors' own")
    group.add_argument("--planner-model", metavar="NAME", help="as the endpoint knows it")
    group.add_argument("--executor-model", metavar="NAME", help="as the endpoint knows it")
    group.add_argument("--root", metavar="DIR", help="folder that the file tools may read (.)")
    return parser


def overrides(flags: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Section → field → value of the flags that were given."""
    tables: dict[str, dict[str, Any]] = {}
    for flag, targets in _FLAGS.items():
        value = getattr(flags, flag, None)
        if value is not None:
            for section, field in targets:
                tables.setdefault(section, {})[field] = value
    return tables


def settings_of(flags: argparse.Namespace) -> "Settings":
    """File, variables and flags. Raises InvalidSettingsError."""
    from galerne.settings import load_settings

    return load_settings(flags.config, overrides=overrides(flags))


def environment(settings: "Settings") -> dict[str, str]:
    """The variables that give another process the same settings, whatever file it finds.

    Variables and not flags, because other users of the machine can read a command line.
    """
    import os

    variables = {"GALERNE_CONFIG": os.devnull}
    for section in settings.__struct_fields__:
        variables |= _variables(f"GALERNE_{section.upper()}", getattr(settings, section))
    return variables


def _variables(prefix: str, section: "Section") -> dict[str, str]:
    import msgspec

    from galerne.settings import Section

    variables: dict[str, str] = {}
    for field, value in msgspec.structs.asdict(section).items():
        name = f"{prefix}_{field.upper()}"
        if isinstance(value, Section):
            variables |= _variables(name, value)
        elif value is not None:
            variables[name] = _variable(value)
    return variables


def _variable(value: Any) -> str:
    """As `load_settings` reads it from a variable."""
    import msgspec

    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    if isinstance(value, tuple):
        return ",".join(cast("tuple[str, ...]", value))
    return str(value)

"""Flags: what they become, and what is said about wrong ones."""

# pyright: reportPrivateUsage=false

import argparse
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.cli import logs, options
from galerne.cli.commands.submit import inputs_of
from galerne.cli.main import _parser, main
from galerne.cli.parsing import names, not_negative, port, positive
from galerne.errors import InvalidInputError
from galerne.settings import BusSettings, RoleSettings, Settings, load_settings


def test_one_endpoint_serves_both_roles_and_a_roles_own_wins() -> None:
    flags = argparse.Namespace(endpoint="http://a", executor_endpoint="http://b", server=None)
    assert options.overrides(flags) == {
        "planner": {"endpoint": "http://a"},
        "executor": {"endpoint": "http://b"},
    }


def test_a_flag_that_was_not_given_overrides_nothing() -> None:
    assert options.overrides(argparse.Namespace(server=None, root=None)) == {}


settings = st.builds(
    Settings,
    bus=st.builds(
        BusSettings,
        server=st.none() | st.just("nats://user:secret@host:4222"),
        partitions=st.integers(1, 99),
        connect_timeout=st.floats(0.001, 1e6),
    ),
    planner=st.builds(RoleSettings, model=st.text("abc-x:7", min_size=1), api_key=st.just("key")),
)


@given(settings)
def test_another_process_gets_the_same_settings_by_variables(given_settings: Settings) -> None:
    assert load_settings(environ=options.environment(given_settings)) == given_settings


@pytest.mark.parametrize(
    "arguments",
    [
        ["jobs", "--bogus"],
        ["jobs", "--limit", "0"],
        ["frobnicate"],
        [],
        ["run"],
        ["worker", "cook"],
        ["stand-in", "--pace", "nan"],
        ["stand-in", "--port", "65536"],
        ["submit", "x", "--priority", "urgent"],
        ["up", "--executors", "none"],
    ],
)
def test_a_bad_command_line_is_one_line_and_2(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("galerne: ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_is_on_stdout(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    printed = capfd.readouterr()
    assert "galerne" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "", "²"])
def test_positive_refuses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        positive(text)


def test_what_types_accept() -> None:
    assert positive("12") == 12
    assert port("0") == 0
    assert not_negative("0.5") == 0.5
    assert names("a, b,,c") == ("a", "b", "c")


def test_inputs_are_texts_files_and_objects(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("plain\n")
    (tmp_path / "one.json").write_bytes(msgspec.json.encode([1, 2]))
    (tmp_path / "many.json").write_bytes(msgspec.json.encode({"b": 1, "c": None}))
    given_inputs = [
        "a=1=2",
        f"notes=@{tmp_path / 'notes.txt'}",
        f"one=@{tmp_path / 'one.json'}",
        f"@{tmp_path / 'many.json'}",
    ]
    assert inputs_of(given_inputs) == {
        "a": "1=2",
        "notes": "plain\n",
        "one": [1, 2],
        "b": 1,
        "c": None,
    }


@pytest.mark.parametrize("text", ["novalue", "=x", "a=@/no/such/file", "@/no/such.json"])
def test_unusable_inputs_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        inputs_of([text])


def test_inputs_that_are_no_object_or_no_json_are_refused(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InvalidInputError, match="object"):
        inputs_of([f"@{tmp_path / 'list.json'}"])
    with pytest.raises(InvalidInputError, match="not JSON"):
        inputs_of([f"x=@{tmp_path / 'broken.json'}"])


NESTED = [
    ("session", ["show readme", "forget readme"]),
    ("quarantine", ["list", "show 1", "requeue 1", "drop 1"]),
    ("models", ["show mistral", "choose --quality simple"]),
    ("tools", ["check my.tools"]),
]
"""Every command with actions, and each of them."""


def test_every_command_with_actions_is_tried_here() -> None:
    for command, actions in NESTED:
        assert [line.split(maxsplit=1)[0] for line in actions] == actions_of(command)
    assert [name for name in actions_of() if actions_of(name)] == [name for name, _ in NESTED]


def actions_of(*path: str) -> list[str]:
    """The names that may stand next on the command line."""
    parser: Any = _parser()
    for name in path:
        parser = _choices(parser)[name]
    return list(_choices(parser))


def _choices(parser: Any) -> dict[str, Any]:
    kind: Any = argparse._SubParsersAction
    found: list[dict[str, Any]] = [one.choices for one in parser._actions if isinstance(one, kind)]
    return found[0] if found else {}


@pytest.mark.parametrize(
    "flags", ["--log-level debug", "--log-form json", "--json", "--config some.toml"]
)
@pytest.mark.parametrize(
    ("command", "action"), [(command, action) for command, rest in NESTED for action in rest]
)
def test_a_flag_counts_before_an_action_and_after_it(command: str, action: str, flags: str) -> None:
    parser = _parser()
    plain = vars(parser.parse_args(f"{command} {action}".split()))
    before = vars(parser.parse_args(f"{command} {flags} {action}".split()))
    after = vars(parser.parse_args(f"{command} {action} {flags}".split()))
    assert before == after != plain
    changed = {name for name in plain if before[name] != plain[name]}
    assert changed == {flags.split(maxsplit=1)[0].removeprefix("--").replace("-", "_")}


@pytest.mark.parametrize(
    ("command", "action"), [(command, action) for command, rest in NESTED for action in rest]
)
def test_the_help_of_an_action_says_the_defaults(
    command: str, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of flags, too, that have none of their own there."""
    assert main([command, action.split(maxsplit=1)[0], "--help"]) == 0
    told = capsys.readouterr().out
    assert "%(default)s" not in told
    assert "==SUPPRESS==" not in told


def test_of_two_the_one_behind_the_action_counts() -> None:
    line = "quarantine --server nats://a:1 --log-level debug list --server nats://b:1"
    flags = _parser().parse_args(line.split())
    assert (flags.server, flags.log_level, flags.log_form) == ("nats://b:1", "debug", "auto")


@pytest.mark.parametrize(
    "line", ["models --log-level debug show mistral", "models show mistral --log-level debug"]
)
def test_a_level_is_set_wherever_it_stands(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[str] = []

    def configure(level: str, form: str) -> None:
        assert form == "auto"
        levels.append(level)

    monkeypatch.setattr(logs, "configure", configure)
    assert main(line.split()) == 0
    assert levels == ["debug"]

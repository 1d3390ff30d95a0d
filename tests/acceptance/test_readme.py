"""README.md, docs/settings.md and examples/ do what they say: their code runs, their flags exist.

Programs run as a reader would run them, in a process of their own, against a real nats-server, a
fleet and the stand-in; only the addresses in them are replaced.
"""

import contextlib
import os
import pty
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
import pytest

from acceptance.pages import ROOT, Block, Running, blocks, fleet
from galerne.cli import exits
from galerne.errors import InvalidSettingsError
from galerne.runtime.roles import ROLES
from galerne.settings import Section, Settings, load_settings

pytestmark = pytest.mark.anyio

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
PYTHON = blocks(README, "python")
ALL_EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
EXAMPLES = [one for one in ALL_EXAMPLES if not one.stem.endswith("_service")]
"""Those that run to an end; `test_services.py` has the others."""
GALERNE = Path(sys.executable).with_name("galerne")
PATIENCE = 60
OLLAMA = ("127.0.0.1", 11434)

ADDRESSES = {"nats://127.0.0.1:4222": "server", "http://127.0.0.1:11434": "endpoint"}
"""An address as the page writes it → which one of the running fleet it stands for."""


async def run(
    *command: str | Path, cwd: Path = ROOT, variables: Mapping[str, str] | None = None
) -> str:
    """Run to the end and give its stdout; a failure shows everything it said."""
    environment = {**os.environ, "PYTHONWARNINGS": "error", **(variables or {})}
    with anyio.fail_after(PATIENCE):
        done = await anyio.run_process(
            [str(part) for part in command], cwd=cwd, env=environment, check=False
        )
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, f"{command} gave {done.returncode}:\n{said}"
    return done.stdout.decode()


def with_addresses_of(running: Running, text: str) -> str:
    for written, name in ADDRESSES.items():
        text = text.replace(written, getattr(running, name))
    return text


# Python


async def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    assert [block.label for block in PYTHON] == ["", "", "", "", "leave", "tool"]
    async with fleet(tmp_path, ROLES, root=ROOT) as running:
        client, controls, planner, in_process, leave, tool = [
            await run(sys.executable, "-c", with_addresses_of(running, block.text))
            for block in PYTHON
        ]
    words = len(TEXT.split())
    assert client.startswith("submitted\n")
    assert "\nend\n" in client
    assert f"README.md has {words} words." in client
    answer = f"README.md has {words} words."
    assert answer in controls
    assert re.match(r"j-[0-9a-f]{16} 1\.2 text_stats {'path': 'README.md'}\n", controls)
    assert [line.split()[:2] for line in planner.splitlines()] == [
        ["1", "agent"],
        ["2", "agent"],
        ["3", "agent"],
    ]
    assert answer in in_process
    assert "<succeeded: 5 tasks, " in in_process
    assert leave == tool == ""


async def test_the_tool_of_the_page_is_found_and_described(tmp_path: Path) -> None:
    (block,) = [block for block in PYTHON if block.label == "tool"]
    (tmp_path / "shipping.py").write_text(block.text, encoding="utf-8")
    look = """
import anyio, json, shipping
from galerne.tools import find_tools
(tool,) = find_tools(shipping)
print(json.dumps([tool.spec.name, tool.spec.parameters, anyio.run(tool, 2.0, "DE")]))
"""
    said = await run(sys.executable, "-c", look, cwd=tmp_path)
    name, parameters, price = msgspec.json.decode(said, type=tuple[str, dict[str, object], object])
    assert name == "shipping_cost"
    assert parameters["required"] == ["weight_kg"]
    assert price == {"euros": 12.0}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
async def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    async with fleet(tmp_path, ROLES, root=ROOT) as running:
        variables = {
            "GALERNE_SERVER": running.server,
            "GALERNE_PLANNER_ENDPOINT": running.endpoint,
            "GALERNE_PLANNER_MODEL": "mixtral-8x22b",
            "GALERNE_EXECUTOR_ENDPOINT": running.endpoint,
        }
        said = await run(sys.executable, example, variables=variables)
    match example.stem:
        case "submit":
            assert f"README.md has {len(TEXT.split())} words." in said
        case "plan_only":
            assert "19 * 23 is 437.0" in said
            assert "6 * 7 is 42.0" in said
        case "in_process":
            assert f"README.md has {len(TEXT.split())} words." in said
            assert re.search(r"^answer +succeeded", said, re.MULTILINE)
        case "raw_nats":
            assert '"status": "succeeded"' in said
            assert "437" in said
        case "plan_over_bus":
            assert "task 1: {'expression': '19 * 23'}" in said
            assert said.endswith("\n3 tasks\n")
        case other:
            pytest.fail(f"nobody says what examples/{other}.py must print")


def test_the_readme_says_how_many_examples_there_are() -> None:
    folders = [one for one in (ROOT / "examples").iterdir() if (one / "package.json").is_file()]
    number = {7: "Seven", 8: "Eight", 9: "Nine", 10: "Ten"}[len(ALL_EXAMPLES) + len(folders)]
    assert f"{number} small programs are in [examples/]" in TEXT
    assert [one.name for one in (*ALL_EXAMPLES, *folders) if f"`{one.name}`" not in TEXT] == []


@pytest.mark.parametrize("name", ["raw_nats.py", "plan_over_bus.py"])
def test_the_raw_examples_know_nothing_of_galerne(name: str) -> None:
    source = (ROOT / "examples" / name).read_text(encoding="utf-8")
    assert not re.search(r"^\s*(import|from) galerne", source, re.MULTILINE)


# settings


def test_the_settings_file_of_the_page_loads(tmp_path: Path) -> None:
    (block,) = _toml("galerne.toml")
    file = tmp_path / "galerne.toml"
    file.write_text(block.text, encoding="utf-8")
    settings = load_settings(file, environ={})
    assert settings.planner.model == "mistralai/Mixtral-8x22B-Instruct-v0.1"
    assert settings.executor.endpoint == "http://gpu-2:8002/v1"
    assert settings.worker.concurrency == 16


def test_the_entry_point_of_the_page_is_in_the_group_that_is_read() -> None:
    (block,) = _toml("pyproject.toml")
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (group,) = tomllib.loads(block.text)["project"]["entry-points"]
    assert group in ours["project"]["entry-points"]


def test_every_toml_block_is_tried() -> None:
    labels = [block.label for block in blocks(README, "toml")]
    assert labels == ["galerne.toml", "pyproject.toml"]


def test_the_variables_of_the_page_are_settings() -> None:
    named = set(re.findall(r"\bGALERNE_[A-Z_]+\b", TEXT))
    assert {"GALERNE_SERVER", "GALERNE_PLANNER_ENDPOINT"} <= named
    given = dict.fromkeys(named, "http://host:1")
    assert load_settings(None, environ=given).bus.server == given["GALERNE_SERVER"]
    with pytest.raises(InvalidSettingsError, match="GALERNE_PLANER_ENDPOINT"):
        load_settings(None, environ={**given, "GALERNE_PLANER_ENDPOINT": "http://host:1"})


def test_the_page_of_settings_has_every_field_with_its_default() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for name in Settings.__struct_fields__:
        _has_every_field(page, name, getattr(Settings(), name))


def _has_every_field(page: str, name: str, section: Section) -> None:
    """A table inside a section has a chapter of its own."""
    part = page.partition(f"\n## [{name}]\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", part, re.MULTILINE))
    values = msgspec.structs.asdict(section)
    inner = {field: value for field, value in values.items() if isinstance(value, Section)}
    expected = {field: _default(value) for field, value in values.items() if field not in inner}
    assert rows == expected, name
    for field, value in inner.items():
        _has_every_field(page, f"{name}.{field}", value)


def _default(value: object) -> str:
    return "none" if value is None else f"`{value}`"


def _toml(label: str) -> list[Block]:
    return [block for block in blocks(README, "toml") if block.label == label]


# the command


def commands() -> list[tuple[str, list[str]]]:
    """The commands in the page's shell blocks and running text, with the flags of each."""
    lines = "\n".join(block.text for block in blocks(README, "sh")).replace("\\\n", " ")
    calls = [*lines.splitlines(), *re.findall(r"`(galerne [^`]+)`", TEXT)]
    found: list[tuple[str, list[str]]] = []
    for call in calls:
        words = shlex.split(call, comments=True)
        if words[:1] == ["galerne"] and len(words) > 1:
            found.append((words[1], [word for word in words[2:] if word.startswith("--")]))
    return found


async def test_every_command_and_flag_of_the_page_exists() -> None:
    helps: dict[str, str] = {"--help": await run(GALERNE, "--help")}
    named = commands()
    assert {"run", "up", "submit", "worker"} <= {command for command, _ in named}
    for command, flags in named:
        if command not in helps:
            helps[command] = await run(GALERNE, command, "--help")
        known = set(re.findall(r"--[a-z][a-z-]*", helps[command]))
        assert set(flags) - known == set(), command


def test_every_option_in_the_running_text_exists_somewhere() -> None:
    """Such as `--json`: checked against the sources of the commands."""
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "orchestrator" / "galerne" / "cli").rglob("*.py")
    )
    named = set(re.findall(r"`(--[a-z-]+)", TEXT))
    assert {"--server", "--json"} <= named
    assert {flag for flag in named if f'"{flag}"' not in sources} == set()


def test_the_exit_codes_of_the_page_are_the_real_ones() -> None:
    table = TEXT.partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    assert codes == [
        exits.SUCCEEDED,
        exits.FAILED,
        exits.USAGE,
        exits.UNREACHABLE,
        exits.INTERRUPTED,
    ]


def test_the_first_two_commands_are_targets_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    first = blocks(README, "sh")[0].text
    targets = re.findall(r"^make (\w+)", first, re.MULTILINE)
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    (goal,) = re.findall(r'^galerne run "(.*)"$', blocks(README, "sh")[1].text, re.MULTILINE)
    assert f'run "{goal}"' in makefile


def test_links_to_files_lead_somewhere() -> None:
    for page in (README, *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


# what the demo prints


async def test_the_demo_prints_what_the_page_shows() -> None:
    if _somebody_listens(OLLAMA):
        pytest.skip("an Ollama runs here, and the demo would use it instead of the stand-in")
    (goal,) = re.findall(r'^galerne run "(.*)"$', blocks(README, "sh")[1].text, re.MULTILINE)
    (shown,) = blocks(README, "text")
    with anyio.fail_after(PATIENCE):
        screen = await anyio.to_thread.run_sync(
            on_a_terminal, [str(GALERNE), "run", goal], abandon_on_cancel=True
        )
    printed = [" ".join(line.split()) for line in screen.splitlines()]
    last = 0
    for line in shown.text.splitlines():
        if not line.strip():
            continue
        wanted = ".+".join(re.escape(part) for part in " ".join(line.split()).split("…"))
        places = [n for n, text in enumerate(printed) if re.fullmatch(wanted, text)]
        assert places, f"the demo never printed {line!r}; it printed\n{screen}"
        assert places[-1] >= last, f"{line!r} is not where the page shows it"
        last = places[-1]


def on_a_terminal(command: Sequence[str]) -> str:
    """Run a command on a pseudo-terminal; gives what it printed, without escape sequences."""
    ours, theirs = pty.openpty()
    variables = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    pieces: list[bytes] = []
    try:
        with subprocess.Popen(
            command, cwd=ROOT, env=variables, stdin=theirs, stdout=theirs, stderr=theirs
        ) as process:
            os.close(theirs)
            with contextlib.suppress(OSError):  # Linux says so when the other side is closed
                while piece := os.read(ours, 65536):
                    pieces.append(piece)
    finally:
        os.close(ours)
    text = re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", b"".join(pieces).decode())
    assert process.returncode == 0, text
    return text.replace("\r", "\n")


def _somebody_listens(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.3)
        return probe.connect_ex(address) == 0

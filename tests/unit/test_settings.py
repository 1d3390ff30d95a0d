"""Settings: the file, then the variables, then the flags, and a clear word for every mistake."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.cli.options import environment
from galerne.errors import InvalidSettingsError
from galerne.settings import Settings, load_settings

NOWHERE: dict[str, str] = {}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(text: str, name: str = "galerne.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(
    file: Path | None = None,
    environ: dict[str, str] | None = None,
    overrides: dict[str, dict[str, object]] | None = None,
) -> str:
    """What `load_settings` says, which must be one line."""
    with pytest.raises(InvalidSettingsError) as raised:
        load_settings(file, environ or NOWHERE, overrides)
    said = str(raised.value)
    assert said
    assert "\n" not in said
    return said


# where settings come from


def test_nothing_configured_gives_the_defaults() -> None:
    assert load_settings(environ=NOWHERE) == Settings()


def test_an_empty_file_gives_the_defaults() -> None:
    assert load_settings(written(""), NOWHERE) == Settings()


def test_a_section_in_a_file_leaves_the_rest_of_that_section_alone() -> None:
    file = written('[planner]\nendpoint = "http://127.0.0.1:8000"\n[bus]\nreplicas = 3\n')
    settings = load_settings(file, NOWHERE)
    assert settings.planner.endpoint == "http://127.0.0.1:8000"
    assert settings.planner.model == "mixtral-8x22b"
    assert settings.planner.max_tokens == 4096
    assert settings.bus.replicas == 3
    assert settings.bus.prefix == "galerne"
    assert settings.executor == Settings().executor


def test_the_file_of_this_folder_is_read_unasked() -> None:
    written("[bus]\nreplicas = 3\n")
    assert load_settings(environ=NOWHERE).bus.replicas == 3


def test_the_variable_names_another_file() -> None:
    written("[bus]\nreplicas = 3\n")
    other = written("[bus]\nreplicas = 5\n", "other.toml")
    assert load_settings(environ={"GALERNE_CONFIG": str(other)}).bus.replicas == 5


def test_a_file_that_is_asked_for_wins_over_the_variable() -> None:
    flagged = written("[bus]\nreplicas = 3\n", "flagged.toml")
    other = written("[bus]\nreplicas = 5\n", "other.toml")
    assert load_settings(flagged, {"GALERNE_CONFIG": str(other)}).bus.replicas == 3


def test_a_table_inside_a_section_comes_from_every_source_field_by_field() -> None:
    file = written("[tools]\nroot = '/srv'\n[tools.python]\nenabled = true\nseconds = 3\n")
    environ = {"GALERNE_TOOLS_PYTHON_SECONDS": "4", "GALERNE_TOOLS_CONCURRENCY": "2"}
    tools = load_settings(file, environ, {"tools": {"heartbeat": 1}}).tools
    assert (tools.root, tools.concurrency, tools.heartbeat) == ("/srv", 2, 1.0)
    assert (tools.python.enabled, tools.python.seconds) == (True, 4.0)
    assert tools.python.memory == Settings().tools.python.memory


def test_another_process_gets_the_same_tables_by_variables() -> None:
    file = written("[tools.python]\nenabled = true\ninterpreter = '/usr/bin/python3'\n")
    settings = load_settings(file, NOWHERE)
    assert load_settings(environ=environment(settings)) == settings


def test_an_empty_variable_for_the_file_is_no_file() -> None:
    assert load_settings(environ={"GALERNE_CONFIG": ""}) == Settings()


def test_the_later_source_wins_field_by_field() -> None:
    file = written("[worker]\nconcurrency = 1\nlease = 10.0\nheartbeat = 1.0\n")
    environ = {"GALERNE_WORKER_CONCURRENCY": "2", "GALERNE_WORKER_LEASE": "20"}
    worker = load_settings(file, environ, {"worker": {"concurrency": 3}}).worker
    assert (worker.concurrency, worker.lease, worker.heartbeat) == (3, 20.0, 1.0)
    assert worker.drain == Settings().worker.drain


def test_a_variable_is_the_path_in_capitals() -> None:
    environ = {
        "GALERNE_EXECUTOR_ENDPOINT": "http://127.0.0.1:11434",
        "GALERNE_EXECUTOR_API_KEY": "secret",
        "GALERNE_BUS_CONNECT_TIMEOUT": "0.5",
        "GALERNE_EXECUTOR_TEMPERATURE": "0",
        "PATH": "/bin",
    }
    settings = load_settings(environ=environ)
    assert settings.executor.endpoint == "http://127.0.0.1:11434"
    assert settings.executor.api_key == "secret"
    assert settings.executor.temperature == 0.0
    assert settings.bus.connect_timeout == 0.5


def test_the_short_variable_for_the_server() -> None:
    environ = {"GALERNE_SERVER": "nats://127.0.0.1:4222"}
    assert load_settings(environ=environ).bus.server == "nats://127.0.0.1:4222"


def test_a_text_that_looks_like_null_or_a_number_stays_text() -> None:
    environ = {"GALERNE_EXECUTOR_MODEL": "7", "GALERNE_EXECUTOR_API_KEY": "null"}
    executor = load_settings(environ=environ).executor
    assert executor.model == "7"
    assert executor.api_key == "null"


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALERNE_BUS_REPLICAS", "3")
    assert load_settings().bus.replicas == 3


# mistakes


def test_a_file_that_is_missing() -> None:
    assert "absent.toml" in refusal(Path("absent.toml"))


def test_a_folder_is_no_file() -> None:
    Path("folder").mkdir()
    assert "folder" in refusal(Path("folder"))


@pytest.mark.parametrize("text", ["[bus", "replicas = ", "[bus]\n[bus]\n", "\0"])
def test_a_file_that_is_not_toml(text: str) -> None:
    assert "galerne.toml is not valid TOML" in refusal(written(text))


def test_a_file_that_is_not_utf_8() -> None:
    Path("galerne.toml").write_bytes(b'[planner]\nmodel = "\xff"\n')
    assert "galerne.toml is not valid TOML" in refusal(Path("galerne.toml"))


def test_a_setting_outside_a_section() -> None:
    said = refusal(written('server = "nats://127.0.0.1:4222"\n'))
    assert "'server' stands outside a [section]" in said


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[buss]\nreplicas = 3\n", "the file has no 'buss'; did you mean bus?"),
        ("[bus]\nreplica = 3\n", "[bus] has no 'replica'; did you mean replicas?"),
        ("[tools.web]\nenabled = true\n", "[tools.web] has no 'enabled'; it has fetch, private, "),
        ('[tools.openapi.x]\nspec = "x"\nspeck = "y"\n', "speck"),
        ('[bus]\nreplicas = "3"\n', "bus.replicas"),
        ("[bus]\nreplicas = 1.5\n", "bus.replicas"),
        ("[bus]\nreplicas = true\n", "bus.replicas"),
        ("[bus]\nserver = 4222\n", "bus.server"),
        ("[bus]\nreplicas = 0\n", "bus.replicas must be above 0, not 0"),
        ("[worker]\nlease = -1.0\n", "worker.lease must be above 0, not -1.0"),
        ("[worker]\nlease = nan\n", "worker.lease"),
        ("[worker]\nlease = inf\n", "worker.lease"),
        ("[executor]\ntemperature = -0.5\n", "executor.temperature"),
        ("[[bus]]\nreplicas = 3\n", "bus"),
        ("[tools.python]\nseconds = 0\n", "tools.python.seconds must be above 0, not 0"),
        ("[tools.python]\nsecond = 1\n", "[tools.python] has no 'second'; did you mean seconds?"),
        ("[tools]\npython = true\n", "tools.python"),
    ],
)
def test_a_mistake_in_the_file_names_the_file_and_the_field(text: str, named: str) -> None:
    said = refusal(written(text))
    assert said.startswith("galerne.toml")
    assert named in said


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("GALERNE_BUS_REPLICAS", "three", "bus.replicas"),
        ("GALERNE_BUS_REPLICAS", "", "bus.replicas"),
        ("GALERNE_BUS_REPLICAS", "0", "bus.replicas"),
        ("GALERNE_BUS_REPLICAS", "1.5", "bus.replicas"),
        ("GALERNE_WORKER_LEASE", "nan", "worker.lease"),
        ("GALERNE_WORKER_LEASE", "inf", "worker.lease"),
        ("GALERNE_WORKER_LEASE", "1" * 400, "worker.lease"),
        ("GALERNE_BUS_REPLICA", "3", "replica"),
        ("GALERNE_TOOLS_PYTHON", "3", "python"),
        ("GALERNE_TOOLS_PYTHON_SECOND", "3", "GALERNE_TOOLS_PYTHON_SECONDS"),
        ("GALERNE_TOOLS_PYTHON_ENABLED", "perhaps", "tools.python.enabled"),
        ("GALERNE_BUS", "3", "bus"),
    ],
)
def test_a_mistake_in_a_variable_names_the_field(variable: str, value: str, named: str) -> None:
    said = refusal(environ={variable: value})
    assert "GALERNE_" in said
    assert named in said


def test_a_variable_of_no_section_is_a_typo_that_is_told() -> None:
    said = refusal(environ={"GALERNE_EXECUTER_MODEL": "x"})
    assert "GALERNE_EXECUTER_MODEL" in said
    assert "executor" in said


@pytest.mark.parametrize(
    "overrides",
    [
        {"worker": {"concurrency": 0}},
        {"worker": {"concurency": 1}},
        {"wrker": {"concurrency": 1}},
        {"worker": {"concurrency": "many"}},
    ],
)
def test_a_mistake_in_a_flag_names_the_command_line(
    overrides: dict[str, dict[str, object]],
) -> None:
    assert refusal(overrides=overrides).startswith("the command line")


def test_a_mistake_in_the_file_is_told_although_a_flag_would_hide_it() -> None:
    file = written("[worker]\nconcurrency = 0\n")
    said = refusal(file, overrides={"worker": {"concurrency": 1}})
    assert said.startswith("galerne.toml")


def test_a_secret_is_not_repeated_in_an_error() -> None:
    said = refusal(environ={"GALERNE_EXECUTOR_API_KEY": "s3cret", "GALERNE_BUS_REPLICAS": "x"})
    assert "s3cret" not in said


@given(
    st.dictionaries(
        st.text().map(lambda name: f"GALERNE_{name}")
        | st.sampled_from(["GALERNE_BUS_REPLICAS", "GALERNE_WORKER_LEASE", "GALERNE_"]),
        st.text(max_size=20),
        max_size=3,
    )
)
def test_no_environment_crashes(environ: dict[str, str]) -> None:
    environ.pop("GALERNE_CONFIG", None)
    try:
        settings = load_settings(environ=environ)
    except InvalidSettingsError:
        return
    assert settings.bus.replicas > 0
    assert 0 < settings.worker.lease < float("inf")


def test_mcp_servers_survive_the_way_to_another_process() -> None:
    file = written(
        '[tools.mcp.git]\nserver = "uvx mcp-server-git"\ntools = ["git_*"]\n'
        'effects = { "git_add" = "idempotent", "*" = "once" }\nenvironment = { A = "b" }\n'
    )
    settings = load_settings(file, NOWHERE)
    assert list(settings.tools.mcp["git"].effects) == ["git_add", "*"]
    assert load_settings(environ=environment(settings)) == settings
    written('[tools.mcp.git]\nserver = "x"\ntimeout = 0\n')
    assert "tools.mcp.git.timeout must be above 0" in refusal()
    written('[tools.mcp.git]\nserver = "x"\neffects = { a = "never" }\n')
    assert "Invalid enum value 'never'" in refusal()

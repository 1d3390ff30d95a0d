"""The built packages, installed as a stranger would: nothing missing, nothing in the way.

Import packages called `agents` or `tools` would break programs that have openai-agents or folders
of their own by those names, so the wheel is installed beside openai-agents and both are imported.
"""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"galerne": "orchestrator", "galerne_agents": "agents", "galerne_tools": "tools"}
SKIPPED_FILES = {".pyc", ".pyo"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(*command: str | Path, cwd: Path) -> str:
    """Run to the end and give the output; a failure shows all of it."""
    done = subprocess.run(
        command, cwd=cwd, text=True, capture_output=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def source_files() -> set[str]:
    """Every file of the three packages, as it is to be named inside the wheel."""
    return {
        path.relative_to(ROOT / folder).as_posix()
        for package, folder in PACKAGES.items()
        for path in (ROOT / folder / package).rglob("*")
        if path.is_file() and path.suffix not in SKIPPED_FILES
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution, built from this tree."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    run(*build, "--wheel", "--sdist", str(ROOT), cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with what the wheel asks for, pinned, the wheel, and openai-agents."""
    folder = tmp_path_factory.mktemp("stranger")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    wheel = next(built.glob("*.whl"))
    lock = ROOT / "deploy" / "lock" / "run.txt"
    if not index_answers(folder):
        pytest.skip("pip reaches no package index, so nothing can be installed beside the wheel")
    run(*pip, "install", "--quiet", "--no-deps", "--require-hashes", "-r", lock, cwd=folder)
    run(*pip, "install", "--quiet", "--no-deps", wheel, cwd=folder)
    run(*pip, "install", "--quiet", "openai-agents", cwd=folder)
    run(*pip, "check", cwd=folder)
    return python


def index_answers(folder: Path) -> bool:
    """Whether pip, as this machine configures it, finds openai-agents on an index."""
    command = [sys.executable, "-m", "pip", "index", "versions", "openai-agents"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    return done.returncode == 0


def test_the_wheel_holds_the_three_packages_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == source_files()


def test_the_wheel_says_that_it_is_typed_and_brings_its_prompts(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        prompts = [name for name in names if name.endswith(".md")]
        assert all(wheel.read(name).strip() for name in prompts)
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert any(name.startswith("galerne_agents/") for name in prompts)


def test_the_source_distribution_builds_the_same_and_leaves_the_rest_out(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    code = {f"{PACKAGES[name.partition('/')[0]]}/{name}" for name in source_files()}
    assert code <= names
    rest = names - code
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= rest
    assert rest <= {
        "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "PKG-INFO", ".gitignore",
    }  # fmt: skip


def test_it_lives_beside_openai_agents(installed: Path, tmp_path: Path) -> None:
    modules = [*PACKAGES, "agents"]
    script = f"import {', '.join(modules)}\nprint(*[m.__file__ for m in ({', '.join(modules)})])"
    places = run(installed, "-c", script, cwd=tmp_path).split()
    library = run(
        installed, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path
    ).strip()
    assert places == [f"{library}/{module}/__init__.py" for module in modules]
    imported = run(
        installed, "-c", "from agents import Agent; print(Agent.__module__)", cwd=tmp_path
    )
    assert imported.startswith("agents.")


def test_every_entry_point_of_the_wheel_loads(installed: Path, tmp_path: Path) -> None:
    script = (
        "from importlib.metadata import distribution\n"
        "for point in distribution('galerne').entry_points:\n"
        "    print(point.group, point.name, point.load().__name__)\n"
    )
    lines = run(installed, "-c", script, cwd=tmp_path).splitlines()
    groups = {line.split()[0] for line in lines}
    assert groups == {
        "console_scripts",
        "galerne.agents",
        "galerne.tool_sources",
        "galerne.tools",
    }


def test_the_command_explains_itself(installed: Path, tmp_path: Path) -> None:
    help_text = run(installed.parent / "galerne", "--help", cwd=tmp_path)
    assert "run" in help_text
    assert "usage" in help_text.lower()

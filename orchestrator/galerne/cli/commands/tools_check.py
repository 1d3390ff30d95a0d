"""`galerne tools check`: looks a module of tools over before any model meets them."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galerne.cli import options
from galerne.cli.exits import FAILED, SUCCEEDED
from galerne.cli.parsing import Subparsers

if TYPE_CHECKING:
    from types import ModuleType

    from galerne.messages.tools import ToolOutcome
    from galerne.tools import AnyTool
    from galerne.tools.checking import Finding

_DESCRIPTION = """\
Look the tools of a module over: schemas, descriptions, effects, results. With --run each tool's
examples (@tool(examples=[…])) are called too, an idempotent tool's twice with one key. Exit code:
0 where nothing is to be mended, 1 where something is, 2 for a module that cannot be read."""


def add(actions: Subparsers) -> None:
    parser = actions.add_parser(
        "check",
        help="look a module of tools over",
        description=_DESCRIPTION,
        parents=[options.again(options.as_json()), options.again(options.common())],
    )
    parser.add_argument(
        "module", metavar="MODULE", help="its name (my.tools) or its file (tools.py)"
    )
    parser.add_argument("--run", action="store_true", dest="run_examples", help="call the examples")
    parser.add_argument(
        "--run-once",
        action="store_true",
        help="call those of tools with the effect once, too: they do what they do",
    )
    parser.set_defaults(run=run)


def run(flags: argparse.Namespace) -> int:
    from galerne.cli.runner import run_command
    from galerne.tools.loading import tools_of

    settings = options.settings_of(flags)
    module = _module(flags.module)
    tools = tools_of(module, settings.tools, f"the module {flags.module}")
    return run_command(partial(_run, flags, tools))


async def _run(flags: argparse.Namespace, tools: "list[AnyTool]") -> int:
    from galerne.cli.output import answer, document
    from galerne.tools.checking import look_over, try_out

    found = look_over(tools)
    if flags.run_examples or flags.run_once:
        found += await try_out(tools, _caller(), once=flags.run_once)
    problems = sum(one.weight == "problem" for one in found)
    if flags.json:
        names = [tool.spec.name for tool in tools]
        document({"tools": names, "problems": problems, "findings": found})
    else:
        answer("\n".join([*map(_line, found), _summary(len(tools), problems)]))
    return FAILED if problems else SUCCEEDED


def _caller() -> "Any":
    import time

    from galerne.local.blobs import MemoryBlobs
    from galerne.settings import BusSettings
    from galerne.tools import ToolContext, invoke

    limits = BusSettings()
    blobs = MemoryBlobs(limits.max_blob, limits.inline)

    async def call(tool: "AnyTool", arguments: dict[str, Any], key: str) -> "ToolOutcome":
        deadline = time.time() + tool.spec.timeout
        context = ToolContext(
            key=key, deadline=deadline, tenant="default", clock=time.time, blobs=blobs
        )
        return await invoke(tool, arguments, context, inline=limits.inline)

    return call


def _line(finding: "Finding") -> str:
    mark = "✗" if finding.weight == "problem" else "·"
    return f"{mark} {finding.tool}: {finding.what}"


def _summary(tools: int, problems: int) -> str:
    counted = f"{tools} tool{'' if tools == 1 else 's'}"
    if not problems:
        return f"✓ {counted}: nothing to mend"
    return f"{counted}, {problems} problem{'' if problems == 1 else 's'}"


def _module(named: str) -> "ModuleType":
    """The module, imported. Raises InvalidInputError that says why it cannot be."""
    from importlib import import_module

    from galerne.errors import InvalidInputError

    sys.path.insert(0, "")
    path = Path(named)
    by_file = path.suffix == ".py" or len(path.parts) > 1
    if by_file and not (path.is_file() and path.suffix == ".py"):
        raise InvalidInputError(
            f"there is no Python file {named}: give a file (tools.py), or a name"
        )
    try:
        return _from_file(path) if by_file else import_module(named)
    except InvalidInputError as error:
        raise InvalidInputError(f"{named} has a bad tool: {error}") from error
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InvalidInputError(f"{named} cannot be imported: {reason}") from error


def _from_file(path: Path) -> "ModuleType":
    """This very file, though another module may have its name (`email.py`)."""
    from importlib.util import module_from_spec, spec_from_file_location

    sys.path.insert(0, str(path.parent))
    taken = path.stem in sys.modules or path.stem in sys.stdlib_module_names
    name = f"_checked_{path.stem}" if taken else path.stem
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module

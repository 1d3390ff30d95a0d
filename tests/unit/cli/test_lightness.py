"""`galerne --help` answers at once, because it loads nothing that a command does not need yet."""

import subprocess
import sys

HEAVY = ("aiohttp", "anyio", "asyncio", "msgspec", "nats", "rich", "structlog", "uvloop")
PROGRAM = """
import sys
from galerne.cli.main import main
try:
    main(["--help"])
except SystemExit:
    pass
print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""


def test_help_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("usage: galerne ")
    loaded = set(done.stderr.split())
    assert "galerne" in loaded
    assert loaded.isdisjoint(HEAVY), loaded.intersection(HEAVY)

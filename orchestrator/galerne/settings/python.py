"""What code may take that models write, and whether it is run at all."""

from typing import Literal

from galerne.settings.section import Section

SandboxKind = Literal["auto", "bubblewrap", "unshare"]
"""What makes the sandbox; `auto` is bubblewrap where it works, else `unshare`."""


class PythonSettings(Section, frozen=True):
    """The tool `python`, which runs code in a sandbox."""

    enabled: bool = False
    """Whether the tool is there. Off: a sandbox is as good as its kernel, so this is yours to say.
    On, a worker that cannot make a sandbox refuses to start."""
    sandbox: SandboxKind = "auto"
    """What makes the sandbox."""
    interpreter: str | None = None
    """Python that runs the code, with its installed packages; None: the worker's own."""
    seconds: float = 10.0
    """Seconds that one run may take, and of processor time too; a call may ask for less. A model
    rarely means to compute for longer, and often writes a loop that does not end."""
    memory: int = 512 * 1024 * 1024
    """Bytes of address space that each process may have, and of memory that all may hold together.
    Enough for tables of some millions of rows."""
    processes: int = 32
    """Processes and threads at once; numpy starts one for each core, a pool as many."""
    output: int = 32 * 1024
    """Bytes of standard output that are kept, and of standard error: about 10,000 tokens, of which
    the beginning and the end are shown."""
    concurrency: int = 4
    """Runs at once in one worker: each may take a core, and `memory`."""
    scratch: int = 64 * 1024 * 1024
    """Bytes of files that the code may write. They are in memory, and gone with the run."""

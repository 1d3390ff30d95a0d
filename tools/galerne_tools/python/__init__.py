"""The tool `python`: runs code that a model has written, in a sandbox that is really one.

    tool ─▶ running ─▶ bwrap or unshare ─▶ inside (process 1 there) ─▶ the code
            policy: what the sandbox shows, as data; backends: which of the two works here
            syscalls: which system calls the code may make

It is off until `tools.python.enabled` says otherwise. docs/sandbox.md says what is promised.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `inside` is imported as part of this package where nothing is installed
    from galerne.settings import ToolSettings
    from galerne.tools import AnyTool


def tools(settings: "ToolSettings") -> "list[AnyTool]":
    """The tool, if it is enabled. Raises InvalidSettingsError where no sandbox can be made."""
    if not settings.python.enabled:
        return []
    from galerne_tools.python.tool import python_tool

    return [python_tool(settings)]

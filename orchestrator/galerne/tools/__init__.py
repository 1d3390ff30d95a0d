"""Tools: typed functions that a model may call.

`@tool` reads a function's annotations and docstring into a `ToolSpec` (what a model is told) and
a decoder (what its arguments must be). A tool worker finds tools through entry points
(`load_tools`) and runs each call with `invoke`, which always comes back with something that a
model can read: a result, or a refusal that says what to do next.
"""

from galerne.tools.by_schema import schema_tool
from galerne.tools.calling import MAX_RESULT, invoke
from galerne.tools.context import BlobFile, BlobStore, Progress, ToolContext
from galerne.tools.contract import AnyTool, Tool, tool
from galerne.tools.loading import find_tools, load_tools
from galerne.tools.sources import LiveTools, with_sources

__all__ = [
    "tool",
    "schema_tool",
    "Tool",
    "AnyTool",
    "ToolContext",
    "Progress",
    "BlobFile",
    "BlobStore",
    "invoke",
    "MAX_RESULT",
    "find_tools",
    "load_tools",
    "LiveTools",
    "with_sources",
]

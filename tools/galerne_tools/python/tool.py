"""The tool itself: what a model is told of it, and what it reads of a run."""

import mimetypes
import signal
from typing import Annotated, Any

import msgspec

from galerne.errors import TooLargeError, ToolError
from galerne.messages.blobs import Blob
from galerne.settings import PythonSettings, ToolSettings
from galerne.tools import AnyTool, ToolContext, tool
from galerne_tools.python.backends import Sandbox, find_sandbox
from galerne_tools.python.frames import File
from galerne_tools.python.running import START, Run, Stream, run_code

MAX_CODE = 100_000
"""Characters of code: far more than a model writes at once."""
SMALL_FILE, SMALL_FILES = 4096, 16_384
"""Bytes of a text file that stands in the result itself, and of all such; others are put aside."""

_CONTROLS = {number: "\ufffd" for number in (*range(32), 127) if chr(number) not in "\n\t"}
_CONTROLS[ord("\r")] = "\n"
_NO_PRINT = "it printed nothing: use print() to show a value"


class LeftFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that the code has left, `size` in bytes; its text, or what stands for its content."""

    path: str
    size: int
    text: str | None = None
    content: Blob | None = None
    note: str = ""


class Ran(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the code ended, what it has written, what it has left."""

    ended: str
    output: str = ""
    errors: str = ""
    files: list[LeftFile] = []
    note: str = ""


def python_tool(settings: ToolSettings) -> AnyTool:
    """Raises InvalidSettingsError where no sandbox can be made."""
    return _tool_over(find_sandbox(settings), settings.python)


def _tool_over(sandbox: Sandbox, settings: PythonSettings) -> AnyTool:
    most = settings.seconds

    async def python(  # noqa: D417 - the context is no argument of a model's
        code: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CODE)],
        context: ToolContext,
        seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None,
    ) -> Ran:
        """{description}

        Args:
            code: A whole program. Nothing is kept from one call to the next.
            seconds: How long it may take.
        """
        allowed = min(seconds or most, most)
        files = _Files(context)
        run = await run_code(sandbox, _encoded(code), allowed, files.take)
        return describe(run, files.left, allowed, settings)

    python.__doc__ = (python.__doc__ or "").format(description=_description(settings))
    timeout = most + 2 * START + 10.0
    decorated: Any = tool(effect="pure", timeout=timeout, concurrency=settings.concurrency)
    made: AnyTool = decorated(python)
    return made


def _encoded(code: str) -> bytes:
    try:
        return code.encode()
    except UnicodeEncodeError as error:
        raise ToolError(
            "the code has half a character in it (a lone surrogate): mend it"
        ) from error


def _description(settings: PythonSettings) -> str:
    megabytes = settings.memory // 1024**2
    return (
        "Run a Python program and read what it prints. No network; files under the root folder can "
        "be read below /files; the current folder is empty and can be written to, and small files "
        f"left there are in the result. At most {settings.seconds:g} seconds and {megabytes} MB."
    )


class _Files:
    """Takes in what a run has left: small texts as they are, all else as blobs."""

    def __init__(self, context: ToolContext) -> None:
        self._context = context
        self._room = SMALL_FILES
        self.left: list[LeftFile] = []

    async def take(self, file: File, content: bytes | None) -> None:
        path = _clean(file.path)
        if content is None:
            note = "too large together with the others, or unreadable: it was not kept"
            self.left.append(LeftFile(path, file.size, note=note))
            return
        text = self._small_text(content)
        if text is not None:
            self.left.append(LeftFile(path, file.size, text=text))
            return
        name = path.rpartition("/")[2][-255:].replace("\\", "_").replace("\ufffd", "_")
        media = mimetypes.guess_type(name)[0]
        try:
            blob = await self._context.blobs.put_bytes(content, name=name, media=media)
        except TooLargeError as error:
            self.left.append(LeftFile(path, file.size, note=f"it was not kept: {error}"))
            return
        self.left.append(LeftFile(path, file.size, content=blob))

    def _small_text(self, content: bytes) -> str | None:
        if len(content) > min(SMALL_FILE, self._room) or b"\0" in content:
            return None
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return None
        self._room -= len(content)
        return text


def describe(run: Run, files: list[LeftFile], seconds: float, settings: PythonSettings) -> Ran:
    """What the model reads of a run that had so many seconds."""
    output, errors = _text(run.output), _text(run.errors)
    notes: list[str] = []
    if run.why == "exit" and run.number == 0 and not (output or errors or files):
        notes.append(_NO_PRINT)
    if run.more:
        notes.append(f"left, but not kept, more files: {run.more}")
    if run.others:
        notes.append(f"left, but not kept, being no readable files: {run.others}")
    ended = _ended(run, seconds, settings)
    return Ran(ended=ended, output=output, errors=errors, files=files, note="; ".join(notes))


def _ended(run: Run, seconds: float, settings: PythonSettings) -> str:
    match run.why:
        case "exit" if run.number == 0:
            return "finished"
        case "exit":
            return f"failed with exit status {run.number}"
        case "signal":
            return f"killed by {_signal_name(run.number)}"
        case "seconds" if seconds < settings.seconds:
            return f"stopped after {seconds:g} s, not finished; it may have {settings.seconds:g} s"
        case "seconds":
            return f"stopped after {seconds:g} s, not finished; nothing may take longer"
        case "cpu":
            return f"stopped: it had computed for {seconds:g} s in all its processes together"
        case "memory":
            return f"stopped: it held more than {settings.memory // 1024**2} MB of memory"
        case _:
            return "stopped"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _text(stream: Stream) -> str:
    head, tail, missing = stream
    if not missing:
        return _clean((head + tail).decode("utf-8", "replace"))
    first, last = (_clean(part.decode("utf-8", "replace")) for part in (head, tail))
    return f"{first}\n[… {missing} bytes left out …]\n{last}"


def _clean(text: str) -> str:
    """Without what would move a terminal's cursor, or colour it."""
    return text.replace("\r\n", "\n").translate(_CONTROLS)

"""From a typed function to a tool.

    @tool
    async def weather(city: str, days: int = 1) -> Forecast:
        \"\"\"Forecast for a city.\"\"\"

The name, the schema and the description are read here, once; what cannot become a tool is refused
here too, when the module is imported, and not when a model first calls it. The result is still
callable as the function that it was.
"""

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, get_args, overload

from galerne.errors import InvalidInputError
from galerne.messages.tools import Approve, Effect, ToolSpec
from galerne.tools.parameters import ReadsArguments, read_parameters, read_returns
from galerne.tools.schema import read_docstring

P = ParamSpec("P")
R = TypeVar("R")

Leave = bool | Callable[..., bool | str]
"""Whether a person is asked before a call: always, never, or what a function of the call's own
arguments says; a text is shown to the person as the reason."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Tool(Generic[P, R]):
    """A function that models may call. `spec` is what they are told about it.

    `concurrency` is how many calls one worker performs at once, None: as many as it has room for.
    `examples` are arguments of calls that a check of the tool may make. `stated` has the name of
    what its author has said, and not left to a default.
    """

    def __init__(
        self,
        function: Callable[P, R],
        spec: ToolSpec,
        parameters: ReadsArguments,
        *,
        approve: Leave = False,
        concurrency: int | None = None,
        examples: Sequence[Mapping[str, Any]] = (),
        stated: frozenset[str] = frozenset(),
    ) -> None:
        self.function = function
        self.spec = spec
        self.parameters = parameters
        self.concurrency = concurrency
        self.examples = tuple(examples)
        self.stated = stated
        self._approve = approve
        self.__doc__ = function.__doc__

    def leave(self, arguments: dict[str, Any]) -> str | None:
        """Why a person must agree to this call first; None where nobody has to.

        Arguments that the tool would refuse need nobody's leave. A predicate that fails is taken
        for a yes: better asked once too often.
        """
        if not callable(self._approve):
            return "" if self._approve else None
        try:
            keywords = self.parameters.decode(arguments)
        except Exception:  # noqa: BLE001 - they are read again before the call, and refused
            return None
        try:
            wanted = self._approve(**keywords)
        except Exception as error:  # noqa: BLE001 - it is the tool author's code
            return f"whether leave is needed could not be told ({type(error).__name__}: {error})"
        if isinstance(wanted, str):
            return wanted
        return "" if wanted else None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself: no decoding, no deadline, no thread."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.spec.name} ({self.spec.effect})>"


AnyTool = Tool[..., Any]


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    effect: Effect | None = ...,
    name: str | None = ...,
    timeout: float = ...,
    version: str = ...,
    approve: Leave = ...,
    concurrency: int | None = ...,
    examples: Sequence[Mapping[str, Any]] = ...,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    effect: Effect | None = None,
    name: str | None = None,
    timeout: float = 30.0,
    version: str = "1",
    approve: Leave = False,
    concurrency: int | None = None,
    examples: Sequence[Mapping[str, Any]] = (),
) -> Any:
    """Make a tool of a function, async or plain (a plain one runs in a thread).

    Every parameter needs a type that msgspec can decode from JSON; one of type `ToolContext` gets
    the call's context instead. The docstring up to its first section is the description (the name
    in words, where there is none); parameters are described by `Meta(description=…)` or by the
    docstring's `Args:`. `effect` says what repeating a call would do, `pure` if left out; `timeout`
    is in seconds; `name` defaults to the function's. With `approve` a person is asked before each
    call, or before those for which a function of the same arguments says so. A worker performs
    `concurrency` calls at once, None: as many as it has room for. `examples` are arguments with
    which `galerne tools check --run` calls it. Raises InvalidInputError for what cannot be a tool.
    """

    def decorate(function: Callable[..., Any]) -> AnyTool:
        tool_name = getattr(function, "__name__", "") if name is None else name
        meant: Effect = "pure" if effect is None else effect
        _check_name(tool_name)
        check_promise(function, tool_name, meant, timeout, version)
        _check_concurrency(tool_name, concurrency)
        description, described = read_docstring(function.__doc__)
        parameters = read_parameters(function, tool_name, described)
        spec = ToolSpec(
            name=tool_name,
            description=description or tool_name.replace("_", " "),
            parameters=parameters.schema,
            returns=read_returns(function),
            effect=meant,
            timeout=timeout,
            version=version,
            approve=announced(approve),
        )
        return Tool(
            function,
            spec,
            parameters,
            approve=approve,
            concurrency=concurrency,
            examples=examples,
            stated=_stated(effect, description),
        )

    return decorate if function is None else decorate(function)


def _stated(effect: Effect | None, description: str) -> frozenset[str]:
    said = {"effect": effect is not None, "description": bool(description)}
    return frozenset(name for name, is_said in said.items() if is_said)


def _check_concurrency(name: str, concurrency: object) -> None:
    if concurrency is not None and (not isinstance(concurrency, int) or concurrency < 1):
        raise InvalidInputError(f"tool {name}: concurrency must be at least 1, not {concurrency}")


def announced(approve: Leave) -> Approve:
    """How a tool's spec says whether a person is asked."""
    if callable(approve):
        return "sometimes"
    return "always" if approve else "never"


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine: an async function, or an object that is called so."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - what it is, and not whether it is there
    )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"a tool cannot be named {name[:80]!r}: models allow 1 to 64 letters, digits, "
            "'_' or '-'; pass @tool(name=…)"
        )


def check_promise(
    function: Callable[..., Any], name: str, effect: str, timeout: object, version: object
) -> None:
    """Raises InvalidInputError for what no tool can be, however its parameters are given."""
    if effect not in get_args(Effect):
        known = ", ".join(get_args(Effect))
        raise InvalidInputError(f"tool {name}: effect {effect!r} is not one of {known}")
    if not (isinstance(timeout, int | float) and timeout > 0 and math.isfinite(timeout)):
        raise InvalidInputError(f"tool {name}: timeout must be seconds above 0, not {timeout}")
    if not isinstance(version, str) or not version:
        raise InvalidInputError(f"tool {name}: version must be a text such as '1', not {version!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidInputError(f"tool {name}: it yields; a tool returns its whole result at once")

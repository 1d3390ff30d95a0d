"""Tasks that run beside a `with` body, without changing what the body raises.

A plain task group wraps every exception of its body in an ExceptionGroup, so that a caller's
`except UnavailableError` would no longer match; here the body's own exception passes as it is.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc


@asynccontextmanager
async def background(
    *functions: Callable[[], Coroutine[Any, Any, None]],
) -> AsyncGenerator[anyio.abc.TaskGroup]:
    """Run `functions` until the body is left; gives the task group to start more in.

    What a background task raises ends the body; a single such exception is raised as it is. When
    the body fails too, the one that failed first is raised and the other one is its cause.
    """
    problem: Exception | None = None
    late = False  # whether a background task had ended the body before it failed
    try:
        async with anyio.create_task_group() as tasks:
            for function in functions:
                tasks.start_soon(function)
            try:
                yield tasks
            except Exception as error:  # noqa: BLE001 - raised again outside of the group
                problem, late = error, tasks.cancel_scope.cancel_called
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if problem is not None and not late and isinstance(group, ExceptionGroup):
            raise problem from group
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from problem
        raise group from problem
    if problem is not None:
        raise problem

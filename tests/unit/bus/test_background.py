"""What a body and the tasks beside it raise, alone and together."""

import traceback

import anyio
import pytest

from galerne.bus.background import background

pytestmark = pytest.mark.anyio


async def failing() -> None:
    raise ConnectionError("beside")


async def failing_when_ended() -> None:
    try:
        await anyio.sleep_forever()
    finally:
        raise ConnectionError("beside")


async def sleep_and_fail(why: str) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        raise ValueError(why)


async def wait_and_fail(why: str) -> None:
    await anyio.wait_all_tasks_blocked()
    raise ValueError(why)


async def test_what_the_body_raises_passes_as_it_is() -> None:
    with pytest.raises(ValueError, match="body"):
        async with background(anyio.sleep_forever):
            raise ValueError("body")


async def test_a_task_that_fails_ends_the_body() -> None:
    with pytest.raises(ConnectionError, match="beside") as caught:
        async with background(failing):
            await anyio.sleep_forever()
    assert caught.value.__cause__ is None


async def test_a_body_that_fails_while_it_is_ended_does_not_hide_why() -> None:
    """As when giving subscriptions back fails because the connection is gone."""
    with pytest.raises(ConnectionError, match="beside") as caught:
        async with background(failing):
            await sleep_and_fail("body")
    assert isinstance(caught.value.__cause__, ValueError)


async def test_a_task_that_fails_while_it_is_ended_does_not_hide_why() -> None:
    with pytest.raises(ValueError, match="body") as caught:
        async with background(failing_when_ended):
            await wait_and_fail("body")
    cause = caught.value.__cause__
    assert cause is not None
    assert "beside" in "".join(traceback.format_exception(cause))


async def test_several_that_fail_are_told_together() -> None:
    with pytest.raises(ExceptionGroup, match="unhandled") as caught:
        async with background(failing_when_ended, failing):
            await anyio.sleep_forever()
    assert str(caught.value).endswith("(2 sub-exceptions)")

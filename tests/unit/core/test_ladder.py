"""The order of the ladder, whatever the roles are called."""

from hypothesis import given
from hypothesis import strategies as st

from galerne.core.ladder import order

SIZES = {"7b": 7.3, "nemo": 12.0, "8x7b": 46.7, "8x22b": 141.0, "small": 24.0}
NAMES = ("7b", "nemo", "8x7b", "8x22b")


def key_of(name: str) -> str:
    return name.removeprefix("own-")


def ladder(executor: str, planner: str, names: tuple[str, ...] = NAMES) -> tuple[str, ...]:
    return order(executor, planner, names, key_of, SIZES.get)


def test_above_the_executor_in_their_order() -> None:
    assert ladder("7b", "8x22b") == ("nemo", "8x7b", "8x22b")
    assert ladder("own-8x7b", "own-8x22b") == ("8x22b",)


def test_the_planners_model_comes_last_where_it_is_not_there() -> None:
    assert ladder("7b", "large") == ("nemo", "8x7b", "8x22b", "large")


def test_an_executor_beside_the_ladder_goes_on_with_what_is_larger() -> None:
    assert ladder("small", "8x22b") == ("8x7b", "8x22b")
    assert ladder("of-our-own", "8x22b") == NAMES


def test_one_model_alone_has_no_ladder() -> None:
    assert ladder("8x22b", "8x22b") == ()
    assert ladder("7b", "large", ()) == ()


@given(
    st.sampled_from([*SIZES, "x", "own-7b"]),
    st.sampled_from([*SIZES, "x", "own-7b"]),
    st.lists(st.sampled_from([*SIZES, "y"]), max_size=6).map(tuple),
)
def test_each_model_once_and_never_the_executors(
    executor: str, planner: str, names: tuple[str, ...]
) -> None:
    keys = [key_of(name) for name in ladder(executor, planner, names)]
    assert len(keys) == len(set(keys))
    assert key_of(executor) not in keys
    assert not names or key_of(planner) in {*keys, key_of(executor)}

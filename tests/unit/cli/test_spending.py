"""What a job has cost, in the line that people read."""

from galerne.cli.spending import model_lines, models_text
from galerne.core.usage import would_have
from galerne.messages.plan import ModelUsage, Usage, WouldHave

SMALL = ModelUsage(3, 1200, 90, 0.0001935, 0.15, 0.15)
LARGE = ModelUsage(1, 300, 50, 0.000225, 0.5, 1.5)
USED = Usage(models={"mistral-7b": SMALL, "mixtral-8x22b": LARGE})
PLANNING = Usage(models={"mixtral-8x22b": LARGE})


def test_the_same_tokens_at_the_planners_prices() -> None:
    assert would_have(PLANNING, USED) == WouldHave("mixtral-8x22b", (1500 * 0.5 + 140 * 1.5) / 1e6)
    assert models_text(USED, would_have(PLANNING, USED)) == (
        "3 calls on mistral-7b, 1 on mixtral-8x22b: $0.0004; all on mixtral-8x22b it had been"
        " $0.001"
    )


def test_without_a_price_there_is_no_false_sum() -> None:
    free = Usage(models={"mixtral-8x22b": ModelUsage(1, 300, 50)})
    used = Usage(models={"mistral-7b": ModelUsage(3, 1200, 90)}).plus(free)
    instead = would_have(free, used)
    assert instead == WouldHave("mixtral-8x22b")
    assert models_text(used, instead) == (
        "3 calls on mistral-7b, 1 on mixtral-8x22b; 79% of 1640 tokens stayed off mixtral-8x22b"
    )
    assert model_lines(used) == [
        "mistral-7b: 3 calls, 1200 tokens in, 90 out, no price",
        "mixtral-8x22b: 1 call, 300 tokens in, 50 out, no price",
    ]


def test_a_sum_says_whose_calls_are_not_in_it() -> None:
    used = USED.plus(Usage(models={"nemo": ModelUsage(2, 10, 1)}))
    assert models_text(used, None) == (
        "3 calls on mistral-7b, 2 on nemo, 1 on mixtral-8x22b: $0.0004 (without nemo: no price)"
    )


def test_one_model_is_compared_with_nothing() -> None:
    assert would_have(PLANNING, PLANNING) is None
    assert would_have(Usage(), USED) is None
    assert models_text(PLANNING, None) == "1 call on mixtral-8x22b: $0.0002"
    assert models_text(Usage(), None) == ""


def test_totals_keep_the_highest_price_whatever_the_order() -> None:
    dear = Usage(models={"mistral-7b": ModelUsage(1, 10, 1, 0.1, 2.0, 0.1)})
    assert dear.plus(USED).models["mistral-7b"] == USED.plus(dear).models["mistral-7b"]
    assert dear.plus(USED).models["mistral-7b"].input_price == 2.0

"""Counts against mistral-common, and against what the hosted API counted itself."""

import base64
import random
import string
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from galerne.messages.chat import ChatMessage, ToolSchema
from galerne.models.catalogue import load
from galerne.models.tokens import (
    ESTIMATE,
    Counter,
    ExactCounter,
    at_least,
    at_most,
    can_count,
    exact,
)
from galerne.models.tokens.counting import bytes_of
from galerne.models.wire import encode
from unit.models.tokens.conversations import PROSE, TOOL, dialogue, histories

DATA = Path(__file__).parents[5] / "shared" / "data" / "bfcl"
RECORDED = {
    "v3": DATA / "open-mixtral-8x22b-FC-Auto.jsonl",
    "tekken 240718": DATA / "open-mistral-nemo-2407-FC-Auto.jsonl",
}
TOKENIZERS = ("v1", "v2", "v3", "v7", "tekken 240718", "tekken 240911")

dice = random.Random(4)
HARD = {
    "base64": base64.b64encode(dice.randbytes(6000)).decode(),
    "hexadecimal": dice.randbytes(4000).hex(),
    "uuids": " ".join(dice.randbytes(16).hex("-", 4) for _ in range(200)),
    "digits": "".join(dice.choices(string.digits, k=4000)),
    "numbers": " ".join(str(dice.random()) for _ in range(300)),
    "csv": "\r\n".join(",".join(str(dice.randrange(9999)) for _ in range(8)) for _ in range(200)),
    "letters": "".join(dice.choices(string.ascii_lowercase, k=4000)),
    "capitals": "".join(dice.choices(string.ascii_uppercase, k=4000)),
    "letters apart": " ".join(dice.choices(string.ascii_lowercase, k=3000)),
    "signs": "".join(dice.choices(string.punctuation, k=4000)),
    "line ends": "\n" * 2000,
    "tabs": "\t" * 2000,
    "source": Path(__file__).read_text(encoding="utf-8"),
    "capital prose": PROSE.upper() * 10,
    "Russian": "Мы работаем над большой задачей, которую нельзя решить сразу. " * 10,
    "Chinese": "我们正在处理一个不能立即解决的大任务。请阅读文件并总结其中的主要内容。" * 10,
    "Japanese": "私たちはすぐには解決できない大きなタスクに取り組んでいます。" * 10,
    "Korean": "우리는 즉시 해결할 수 없는 큰 작업을 진행하고 있습니다. " * 10,
    "Arabic": "نحن نعمل على مهمة كبيرة لا يمكن حلها على الفور. " * 10,
    "Hebrew": "אנחנו עובדים על משימה גדולה שלא ניתן לפתור מיד. " * 10,
    "Hindi": "हम एक बड़े कार्य पर काम कर रहे हैं जिसे तुरंत हल नहीं किया जा सकता। " * 10,
    "Thai": "เรากำลังทำงานใหญ่ที่ไม่สามารถแก้ไขได้ทันที " * 10,
    "Greek": "Εργαζόμαστε σε μια μεγάλη εργασία που δεν μπορεί να λυθεί αμέσως. " * 10,  # noqa: RUF001 - Greek it is
    "Georgian": "ჩვენ ვმუშაობთ დიდ ამოცანაზე, რომელიც ვერ გადაწყდება. " * 10,
    "Amharic": "እኛ ወዲያውኑ ሊፈታ በማይችል ትልቅ ሥራ ላይ እየሠራን ነው። " * 10,
    "French": "Voilà où nous étions allés déjeuner, l'été dernier, malgré la chaleur. " * 10,
    "Polish": "Zażółć gęślą jaźń, proszę przeczytać plik i streścić go. " * 10,
    "Vietnamese": "Chúng tôi đang thực hiện một nhiệm vụ lớn không thể giải quyết ngay. " * 10,
    "emoji": "😀🎉👨‍👩‍👧🏳️‍🌈✨🔥" * 50,
}


class Asked(msgspec.Struct):
    id: str
    messages: list[ChatMessage]
    tools: list[dict[str, ToolSchema | str]]

    @property
    def offered(self) -> list[ToolSchema]:
        return [tool for one in self.tools if isinstance(tool := one["function"], ToolSchema)]


class Counted(msgspec.Struct):
    id: str
    prompt_tokens: int


def exactly(tokenizer: str) -> ExactCounter:
    counter = exact(tokenizer)
    assert counter is not None
    return counter


def recorded(tokenizer: str) -> list[tuple[Asked, int]]:
    file = RECORDED[tokenizer]
    if not file.is_file():
        pytest.skip("../shared/data is absent: no recorded counts")
    lines = file.read_bytes().splitlines()
    counts = {one.id: one.prompt_tokens for one in (_counted(line) for line in lines)}
    asked = [_asked(line) for line in (DATA / "requests.jsonl").read_bytes().splitlines()]
    return [(one, counts[one.id]) for one in asked]


_counted = msgspec.json.Decoder(Counted).decode
_asked = msgspec.json.Decoder(Asked).decode


@pytest.mark.parametrize("tokenizer", RECORDED)
def test_exact_counts_are_those_of_the_hosted_api(tokenizer: str) -> None:
    counter = exactly(tokenizer)
    rows = recorded(tokenizer)
    assert len(rows) == 230
    assert [counter.prompt(one.messages, one.offered) for one, _ in rows] == [n for _, n in rows]


@pytest.mark.parametrize("tokenizer", RECORDED)
def test_the_estimate_undercounts_no_recorded_request(tokenizer: str) -> None:
    """And is not so large that a third of the context is left empty for nothing."""
    ratios = [ESTIMATE.prompt(one.messages, one.offered) / n for one, n in recorded(tokenizer)]
    assert min(ratios) >= 1.0
    assert max(ratios) < 2.2


def test_the_catalogue_names_tokenizers_that_are_there_or_says_nothing() -> None:
    named = {model.tokenizer for model in load().models} - {None}
    assert {name for name in named if not can_count(name)} == {"tekken v13"}
    assert exact("tekken v13") is None
    assert exact(None) is None


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("kind", HARD)
def test_the_estimate_is_safe_for_every_script_and_for_data(kind: str, tokenizer: str) -> None:
    count = exactly(tokenizer).text(HARD[kind])
    assert at_least(HARD[kind]) <= count <= at_most(HARD[kind])


@given(st.text(max_size=400))
@settings(deadline=None, max_examples=300)
@example("à" * 50)
@example("\U0001d400" * 50)
@example("a b c 1 2 3")
def test_no_text_is_undercounted_badly(text: str) -> None:
    """Rare letters of a common script may cost more than it is priced, never twice as much."""
    for tokenizer in ("v3", "tekken 240718"):
        count = exactly(tokenizer).text(text)
        assert count <= 2 * at_most(text) + 2
        assert at_least(text) <= count


@given(st.text(string.printable, max_size=400))
@settings(deadline=None, max_examples=300)
def test_no_ascii_text_is_undercounted_by_more_than_a_tenth(text: str) -> None:
    for tokenizer in ("v1", "v3", "tekken 240718"):
        count = exactly(tokenizer).text(text)
        assert count <= 1.1 * at_most(text) + 4
        assert at_least(text) <= count


def test_half_a_character_is_counted_too() -> None:
    assert at_most("\ud83d") >= 1
    assert at_least("\ud83d") == 0


@given(histories(), st.sampled_from([(), (TOOL,)]))
@settings(deadline=None, max_examples=100)
def test_the_sum_of_the_turns_is_no_less_than_the_template_makes(
    history: tuple[ChatMessage, ...], tools: tuple[ToolSchema, ...]
) -> None:
    for tokenizer in ("v3", "v7", "tekken 240718"):
        counter = exactly(tokenizer)
        whole = counter.prompt(history, tools)
        assert whole <= Counter(counter.text).prompt(history, tools)
        assert whole <= bytes_of(history, encode(tools), len(tools))


def test_a_template_that_cannot_write_a_conversation_still_has_its_sum() -> None:
    """v1 knows no tools; a server that offers them to such a model does it in its own words."""
    counter = exactly("v1")
    history = dialogue(10)
    assert counter.prompt(history, (TOOL,)) == Counter(counter.text).prompt(history, (TOOL,))

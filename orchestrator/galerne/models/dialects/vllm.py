"""vLLM's dialect: the OpenAI form, enforced by constrained decoding.

`required` since 0.8.3, a certain function since long before. Fields that it does not know are
ignored without a word, so none is sent that it might not know. `auto` needs two flags of the
server, and without them every request with tools is refused: the error says which.
"""

import re
from typing import ClassVar

from galerne.models.catalogue import BackEnd
from galerne.models.dialects.contract import Spoken
from galerne.models.dialects.openai import OpenAIDialect
from galerne.models.mapping import Wording


class VllmDialect(OpenAIDialect):
    """A vLLM server, with Mistral's tokenizer mode or a chat template."""

    name: ClassVar[Spoken] = "vllm"
    catalogued: ClassVar[BackEnd | None] = "vllm"
    wording: ClassVar[Wording] = Wording(
        advice=(
            (
                re.compile(r"enable-auto-tool-choice|tool-call-parser", re.IGNORECASE),
                "start vLLM with --enable-auto-tool-choice --tool-call-parser mistral",
            ),
            (
                re.compile(r"maximum context length", re.IGNORECASE),
                "send less, or start vLLM with a larger --max-model-len",
            ),
        ),
    )

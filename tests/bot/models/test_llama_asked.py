"""What may be asked of the local model with a call, and what it tells beside the words."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from PIL import Image
from pydantic import BaseModel
from typing_extensions import TypedDict

from bot.errors import ModelError
from bot.models.llama import LocalVisionChat, picture_part
from bot.models.llama.asked import Settings, asked

Open = Callable[..., LocalVisionChat]


class Lamp(BaseModel):
    """A lamp."""

    lit: bool
    metres: int


class LampAsMapping(TypedDict):
    """A lamp."""

    lit: bool


def whole(chunks: Any) -> AIMessageChunk:
    made = AIMessageChunk(content="")
    for chunk in chunks:
        made = made + chunk
    return made


class TestConstraints:
    @pytest.mark.parametrize("form", [Lamp, Lamp.model_json_schema()])
    def test_an_answer_keeps_to_a_schema(self, local: LocalVisionChat, form: Any) -> None:
        """A model that only ever says what it sees says a lamp when it is held to one."""
        value = local.with_structured_output(form).invoke("x", max_tokens=100)
        made = value if isinstance(value, Lamp) else Lamp.model_validate(value)
        assert isinstance(made.lit, bool)

    def test_a_typed_mapping_gives_a_mapping(self, local: LocalVisionChat) -> None:
        """As in any LangChain model."""
        assert set(local.with_structured_output(LampAsMapping).invoke("x")) == {"lit"}

    async def test_a_schema_holds_in_openais_form_and_when_streamed(
        self, local: LocalVisionChat
    ) -> None:
        """``response_format`` may come with the call."""
        schema = {"type": "object", "properties": {"c": {"enum": ["red", "blue"]}}}
        form = {"type": "json_schema", "json_schema": {"schema": {**schema, "required": ["c"]}}}
        text = "".join([str(c.content) async for c in local.astream("x", response_format=form)])
        assert text.replace(" ", "") in ('{"c":"red"}', '{"c":"blue"}')

    def test_a_grammar_leaves_only_its_own_answers(self, local: LocalVisionChat) -> None:
        """GBNF, llama.cpp's own."""
        assert local.invoke("a blue thing", grammar='root ::= "yes" | "no"').content in (
            "yes",
            "no",
        )

    def test_a_value_that_was_cut_is_an_error_and_not_half_a_value(
        self, local: LocalVisionChat
    ) -> None:
        """LangChain's own JSON parser would mend it in silence."""
        cut = local.with_structured_output(Lamp)
        with pytest.raises(OutputParserException, match="raise max_tokens"):
            cut.invoke("x", max_tokens=2)
        told = local.with_structured_output(Lamp, include_raw=True, max_tokens=2).invoke("x")
        assert told["parsed"] is None
        assert isinstance(told["parsing_error"], OutputParserException)
        assert isinstance(told["raw"], AIMessage)

    @pytest.mark.parametrize(
        "given",
        [
            {"grammar": "root ::= nothing-of-that-name"},
            {"grammar": "{{{"},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"schema": {"$ref": "#/x"}},
                }
            },
        ],
    )
    def test_a_constraint_that_is_none_is_refused(
        self, local: LocalVisionChat, given: dict[str, Any]
    ) -> None:
        """One line, and the model goes on working."""
        with pytest.raises(ModelError) as caught:
            local.invoke("x", **given)
        assert "\n" not in str(caught.value)
        assert local.invoke("x").content == "I see nothing 😀."


class TestTold:
    def test_log_probabilities_are_told_for_each_token(self, local: LocalVisionChat) -> None:
        """OpenAI's form; streamed or not; likeliest first; no probability above one."""
        answer = local.invoke("a red thing", logprobs=True, top_logprobs=3)
        content = answer.response_metadata["logprobs"]["content"]
        assert "".join(one["token"] for one in content[:3]) == "I see red"
        for one in content:
            values = [top["logprob"] for top in one["top_logprobs"]]
            assert values == sorted(values, reverse=True)
            assert sum(map(math.exp, values)) <= 1.001
            assert one["logprob"] <= values[0]
        streamed = whole(local.stream("a red thing", logprobs=True, top_logprobs=3))
        assert streamed.response_metadata["logprobs"]["content"] == content
        assert "logprobs" not in local.invoke("a red thing").response_metadata

    def test_what_was_read_anew_and_what_was_known_is_told(self, opened: Open, tiny: Path) -> None:
        """The second turn reads its own words only, and encodes no picture again."""
        model = opened(tiny)
        picture = HumanMessage(["what?", picture_part(Image.new("RGB", (64, 64), "red"))])
        first = model.invoke([SystemMessage("See."), picture])
        second = model.invoke([SystemMessage("See."), picture, first, HumanMessage("and now?")])
        told = [answer.response_metadata["engine"] for answer in (first, second)]
        assert [t["encoded_pictures"] for t in told] == [1, 0]
        assert told[1]["cached_pictures"] == 1
        assert told[1]["reused_tokens"] >= told[0]["prompt_tokens"]
        for answer, counters in zip((first, second), told, strict=True):
            assert counters["prompt_tokens"] == counters["reused_tokens"] + counters["read_tokens"]
            usage = answer.usage_metadata
            assert usage is not None
            assert usage["input_tokens"] == counters["prompt_tokens"]
            assert usage["input_token_details"] == {"cache_read": counters["reused_tokens"]}

    def test_nothing_is_known_of_another_tenant_nor_after_forgetting(
        self, opened: Open, tiny: Path
    ) -> None:
        """Tenants share neither prompts nor pictures; ``forget`` drops both."""
        model = opened(tiny)
        messages = [HumanMessage(["what?", picture_part(Image.new("RGB", (64, 64), "blue"))])]

        def told(tenant: str) -> tuple[int, int]:
            found = model.invoke(messages, tenant=tenant).response_metadata["engine"]
            return found["reused_tokens"], found["encoded_pictures"]

        assert told("a") == (0, 1)
        assert told("a")[1] == 0
        assert told("b") == (0, 1)
        model.forget("a")
        assert told("a") == (0, 1)
        assert told("b")[1] == 0

    def test_a_time_limit_ends_the_answer_and_says_so(self, opened: Open, endless: Path) -> None:
        """What was written until then is given."""
        model = opened(endless, context_tokens=32768, max_tokens=32000, seconds=0.3)
        answer = model.invoke("go on")
        assert answer.response_metadata["finish_reason"] == "time"
        assert str(answer.content).startswith("I see nothing")

    def test_callbacks_hear_each_stretch(self, local: LocalVisionChat) -> None:
        """LangChain's own way to listen."""
        heard: list[str] = []

        class Listener(BaseCallbackHandler):
            def on_llm_new_token(self, token: Any, **_: Any) -> None:
                heard.append(token)

        answer = local.invoke("x", config={"callbacks": [Listener()]})
        assert "".join(heard) == answer.content

    def test_langchain_is_told_what_the_model_can_do(self, local: LocalVisionChat) -> None:
        """Agents choose by the profile."""
        assert local.profile == {
            "max_input_tokens": 4096,
            "image_inputs": True,
            "tool_calling": False,
            "structured_output": True,
        }


class TestManyAtOnce:
    def test_a_batch_is_answered_in_order(self, local: LocalVisionChat) -> None:
        """Each question gets its own answer."""
        colours = ["red", "green", "blue"] * 4
        answers = local.batch([f"a {colour} thing" for colour in colours])
        assert [a.content for a in answers] == [f"I see {colour} 😀." for colour in colours]

    async def test_answers_are_written_side_by_side(self, opened: Open, endless: Path) -> None:
        """Four answers that never end all begin: none waits for another's end."""
        model = opened(endless, context_tokens=16384, max_tokens=8000, parallel=4)
        streams = [model.astream("go on") for _ in range(4)]
        for stream in streams:
            assert (await anext(stream)).content
        for stream in streams:
            await stream.aclose()  # type: ignore[attr-defined]  # it is a generator

    def test_threads_may_count_while_others_write(self, local: LocalVisionChat) -> None:
        """Counting and answering do not wait for each other's end."""
        together = Barrier(6)

        def work(n: int) -> Any:
            together.wait(60)
            return local.invoke("a red thing").content if n % 2 else local.get_num_tokens("a red")

        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(work, range(6)))
        assert found == [local.get_num_tokens("a red"), "I see red 😀."] * 3


def test_a_pictures_cost_is_what_it_adds_to_a_prompt(local: LocalVisionChat) -> None:
    """Whatever its size: it is shrunk to what the model uses."""
    for size in ((64, 64), (90, 70), (1000, 20)):
        part = picture_part(Image.new("RGB", size))
        with_it = local.get_num_tokens_from_messages([HumanMessage(["?", part])])
        without = local.get_num_tokens_from_messages([HumanMessage("?")])
        assert local.picture_cost(*size) == with_it - without


def test_settings_of_a_call_come_before_those_of_the_model() -> None:
    """What is not given with the call is the model's own."""
    found = asked(Settings(temperature=0.5, seed=3), {"seed": 7})
    assert (found.temperature, found.seed, found.max_tokens) == (0.5, 7, 512)

"""What the local model must survive, by what is asked of it: foreign markup, tenants, leaving."""

import asyncio
import gc
import io
import logging
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import combinations
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from PIL import Image

from bot.compose import Budget, Prompts, Shown, compose
from bot.models.llama import LocalVisionChat, picture_part
from bot.models.llama.asked import tool_forms
from bot.models.llama.content import Pictures, read_messages
from bot.models.llama.engine import Engine
from bot.models.llama.files import parse_files
from bot.models.llama.kept import Kept
from bot.models.llama.pictures import Pictures as Encodings
from bot.models.llama.prompt import Mark
from bot.models.llama.values import Options, Pixels
from memory.messages import Message, PictureRef, Turn
from prompts import load_prompt
from retrievers.evidence import Box, Evidence, Line

_log = logging.getLogger(__name__)
FULL = bool(os.environ.get("BIFOCAL_FULL"))
ABORTS = 200 if FULL else 20
PREFIXES = 200 if FULL else 10
PAIRS = 1000
WAIT = 60  # seconds until something that never comes is given up

Open = Callable[..., LocalVisionChat]

#: Control tokens of many families and media markers: all are control tokens of the model below
TOKENS = (
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|image_pad|>", "<__media__>", "<__image__>", "<image>", "<image_soft_token>"),
    *("<start_of_turn>", "<end_of_turn>", "<|begin_of_text|>", "<|eot_id|>", "<|end_header_id|>"),
    *("<|start_header_id|>", "[INST]", "[/INST]", "<s>", "</s>", "<|system|>", "<|assistant|>"),
    *("<tool_call>", "[TOOL_CALLS]", "<|python_tag|>"),
)
TEMPLATE = (
    "{% if tools %}<|im_start|>system\n<tools>{% for t in tools %}\n{{ t | tojson }}{% endfor %}"
    "\n</tools><|im_end|>\n{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content }}{% for c in m.tool_calls %}<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n'
    "</tool_call>{% endfor %}<|im_end|>\n{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
PROMPTS = Prompts(load_prompt("answer"), load_prompt("question"), load_prompt("source"))


@pytest.fixture(scope="module")
def reader(pocket: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """What runs in a model's process, with a vocabulary in which all of TOKENS are control."""
    folder = tmp_path_factory.mktemp("reader")
    own = [(token, pocket.CONTROL) for token in TOKENS if token not in pocket.SPECIALS]
    pocket.make_projector(folder / "mmproj.gguf")
    path = pocket.make_text_model(folder / "m.gguf", template=TEMPLATE, extra=own)
    engine = Engine.open(parse_files(str(path)), Options(threads=1))
    yield engine
    engine.close()


def special(engine: Engine, messages: list[BaseMessage], tools: Any = ()) -> tuple[int, int]:
    """Count the control tokens and the pictures that the model would read."""
    lines = read_messages(messages, Pictures(64))
    cells = engine._cells(lines, tool_forms(tools), lambda _: "key")
    control = sum(engine._tokens.is_control(cell) for cell in cells if isinstance(cell, int))
    return control, sum(isinstance(cell, Mark) for cell in cells)


def shown(number: int) -> Shown:
    """Return a small encoded picture."""
    out = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(out, "PNG")
    return Shown(number, out.getvalue(), "image/png", 20, 20)


def composed(words: str) -> list[BaseMessage]:
    """Return a turn's messages where all that people, documents and pictures say is ``words``."""
    passage = Evidence(
        "passage:1", "passage", f"/d/{words}.md", f"a {words} b{words}", 3, f"{words} head", words
    )
    seen = Evidence(
        *("picture:7", "picture", f"/d/{words}.png", words),
        caption=f"{words} caption",
        lines=(Line(words, Box(0, 0, 1, 1)),),
    )
    history = [Turn("1", Message(words, pictures=(1,)), Message(f"said {words}"), at=1)]
    known = {1: PictureRef(1, "0" * 64, "image/png", 20, 20, 9, name=words, caption=words)}
    budget = Budget(100_000, 8, len)
    made = compose(words, [passage, seen], [shown(2)], history, PROMPTS, budget, known)
    assert made.kept == {1, 2}
    assert str(made.messages).count(words) >= 6  # of a name only what follows a / is told
    return list(made.messages)


def tooled(words: str) -> tuple[list[BaseMessage], list[dict[str, Any]]]:
    """Return a call of a tool and its result, and the tool, all of them telling ``words``."""
    schema = {
        "type": "object",
        "properties": {f"k{words}": {"type": "string", "description": words, "enum": [words]}},
    }
    form = {
        "type": "function",
        "function": {"name": f"f{words}", "description": words, "parameters": schema},
    }
    call = {"name": f"f{words}", "args": {f"k{words}": words}, "id": words}
    messages = [
        HumanMessage(words),
        AIMessage(words, tool_calls=[call]),
        ToolMessage([words, picture_part(shown(1).data)], tool_call_id=words, name=f"f{words}"),
    ]
    return messages, [form]


class TestMarkup:
    @pytest.mark.parametrize("token", TOKENS)
    def test_no_content_becomes_control_wherever_it_stands(
        self, reader: Engine, token: str
    ) -> None:
        """Each is a control token of this model; in documents, captions, the writing in pictures,
        names, earlier turns, tools and their results it leaves the count as it was."""
        (number,) = reader._native.tokenize(token, control=True)
        assert reader._tokens.is_control(number)
        assert special(reader, composed(token)) == special(reader, composed("hello"))
        assert special(reader, *tooled(token)) == special(reader, *tooled("hello"))

    def test_all_at_once_and_cut_into_each_other_are_inert_too(self, reader: Engine) -> None:
        """Neighbours do not make a token together."""
        rng, tame = Random(6), "hello"
        for _ in range(20):
            words = "".join(t[: rng.randint(0, len(t))] + rng.choice(TOKENS) for t in TOKENS)
            assert special(reader, composed(words)) == special(reader, composed(tame))
            assert special(reader, *tooled(words)) == special(reader, *tooled(tame))

    def test_what_is_counted_grows_with_real_markup(self, reader: Engine) -> None:
        """The count sees a message more, a picture more and a call more."""
        control, pictures = special(reader, composed("x"))
        more = [*composed("x"), HumanMessage([picture_part(shown(1).data)])]
        assert special(reader, more) == (control + 2, pictures + 1)
        messages, tools = tooled("x")
        assert special(reader, messages, tools)[0] == special(reader, messages)[0] + 2
        assert special(reader, [*messages, messages[1]])[0] == special(reader, messages)[0] + 3


def shapes(pixels: int) -> list[tuple[int, int]]:
    """Return every width and height with so many pixels."""
    return [(w, pixels // w) for w in range(1, pixels + 1) if pixels % w == 0]


class TestTenants:
    def test_the_same_bytes_are_another_picture_in_another_shape_model_or_tenant(self) -> None:
        """A thousand pairs, 0 collisions; the same again has the same key."""
        rng, names = Random(14), ("a", "b", "", "a', 'RGB8', 3, 4", "a\0", "ä", "A")
        kept = Kept(0)
        models = [Encodings(None, kept, model="m", fingerprint=f) for f in ("f1", "f2")]
        pairs = 0
        while pairs < PAIRS:
            size = rng.choice((12, 24, 36, 64, 120, 210))
            data = rng.randbytes(3 * size)
            given = [
                (model, tenant, Pixels(w, h, data))
                for w, h in shapes(size)
                for model in models
                for tenant in names
            ]
            keys = [model.key(tenant, pixels) for model, tenant, pixels in given]
            for one, other in combinations(rng.sample(range(len(keys)), 12), 2):
                assert keys[one] != keys[other], (given[one], given[other])
                pairs += 1
            assert len(set(keys)) == len(keys)
            assert keys == [model.key(tenant, pixels) for model, tenant, pixels in given]

    def test_the_same_bytes_in_another_mode_are_another_picture(self) -> None:
        """Grey, RGB, RGBA and CMYK pictures of the same bytes never share a key."""
        rng, taken = Random(15), Pictures(64)
        encodings = Encodings(None, Kept(0), model="m", fingerprint="f")
        for _ in range(PAIRS // 10):
            data = rng.randbytes(12 * 16)
            modes = (("L", 1), ("RGB", 3), ("RGBA", 4), ("CMYK", 4), ("LA", 2), ("YCbCr", 3))
            images = [Image.frombytes(m, (12 // n, 16), data) for m, n in modes]
            assert len({encodings.key("t", taken.read(image)) for image in images}) == len(modes)

    @pytest.mark.parametrize("kv_unified", [False, True])
    def test_nothing_that_one_tenant_sent_is_known_to_another(
        self, opened: Open, tiny: Path, tmp_path: Path, kv_unified: bool
    ) -> None:
        """A prompt with a picture, asked by one tenant and then by another, is read as if for the
        first time; asked again by the first it is not. Also from the disk, after a restart."""

        def asked(model: LocalVisionChat, n: int, tenant: str) -> tuple[int, int]:
            rng = Random(n)
            image = Image.frombytes("RGB", (16, 16), rng.randbytes(768))
            words = " ".join(f"{rng.random()}" for _ in range(8))
            messages = [HumanMessage([picture_part(image), words])]
            answer = model.invoke(messages, tenant=f"{tenant}{n}", max_tokens=1)
            told = answer.response_metadata["engine"]
            assert told["encoded_pictures"] + told["cached_pictures"] == 1
            return told["reused_tokens"], told["encoded_pictures"]

        given = {"cache": tmp_path, "context_tokens": 512, "kv_unified": kv_unified}
        model = opened(tiny, **given)
        for n in range(PREFIXES):
            assert asked(model, n, "one") == (0, 1)
            assert asked(model, n, "other") == (0, 1)
            reused, encoded = asked(model, n, "one")
            assert reused > 100
            assert encoded == 0
        model.close()
        model = opened(tiny, **given)
        for n in range(PREFIXES):
            assert asked(model, n, "third") == (0, 1)
            assert asked(model, n, "one")[1] == 0


LONG = "abc " * 7000  # some 28,000 tokens: most of the context


async def _cancelled(model: LocalVisionChat, prompt: str, writing: bool, pause: float) -> None:
    """Cancel the task that waits for an answer, or that reads its stream."""
    begun = asyncio.Event()

    async def work() -> None:
        async for _ in model.astream(prompt):
            begun.set()

    task = asyncio.create_task(work() if writing else _whole(model, prompt))
    await (begun.wait() if writing else asyncio.sleep(pause))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _whole(model: LocalVisionChat, prompt: str) -> None:
    await model.ainvoke(prompt)


async def _closed(model: LocalVisionChat, prompt: str, writing: bool, pause: float) -> None:
    """Close an asynchronous stream; while its prompt is read that means not to wait any more."""
    stream: AsyncIterator[Any] = model.astream(prompt)
    if writing:
        await anext(stream)
    else:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), pause)
    await stream.aclose()  # type: ignore[attr-defined]  # it is a generator


async def _dropped(model: LocalVisionChat, prompt: str, writing: bool, pause: float) -> None:
    """Leave the loop over a stream, and nothing else; or a group of tasks, of which one fails."""
    if writing:
        async for _ in model.astream(prompt):
            break
        gc.collect()
        return

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_whole(model, prompt))
            await asyncio.sleep(pause)
            raise ZeroDivisionError

    with pytest.raises(ExceptionGroup):
        await group()


LEAVING: tuple[Callable[[LocalVisionChat, str, bool, float], Awaitable[None]], ...] = (
    _cancelled,
    _closed,
    _dropped,
)


@pytest.mark.timeout(1500)
async def test_whoever_leaves_frees_the_model(opened: Open, endless: Path) -> None:
    """With room for one answer: whoever leaves while it is written, or in the middle of a long
    prompt, has the next question answered, and the engine counts all that was begun as ended.

    How long it took is told to the log (``--log-cli-level=INFO``)."""
    model = opened(endless, context_tokens=32768, max_tokens=30000, parallel=1)
    asked, rng = 0, Random(22)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    while min(map(len, seconds.values())) < ABORTS // 2:
        writing = len(seconds[True]) <= len(seconds[False])
        prompt = f"{asked} " + ("go on" if writing else LONG)
        read = model.process.stats()["read"]
        await rng.choice(LEAVING)(model, prompt, writing, rng.uniform(0.05, 0.6))
        left = time.monotonic()
        asked += 1
        while (told := model.process.stats())["answers"] < asked:
            assert time.monotonic() - left < WAIT, "it goes on for nobody"
            await asyncio.sleep(0.002)
        if writing or 0 < told["read"] - read < 28_000:  # else it was not in the middle
            seconds[writing].append(time.monotonic() - left)
        assert (await model.ainvoke(f"x {asked}", max_tokens=3)).content == "I see nothing"
        asked += 1
        told = model.process.stats()
        assert (told["answers"], told["failed"]) == (asked, 0)
    assert model.process.restarts == 0
    for where, taken in (("writing", seconds[True]), ("reading", seconds[False])):
        middle, most = statistics.median(taken), max(taken)
        _log.info("%d left while %s: free in %.3f s, %.3f at most", len(taken), where, middle, most)


async def test_whoever_leaves_disturbs_nobody_else(opened: Open, endless: Path) -> None:
    """An answer that is written meanwhile loses and doubles no token, though steps that read the
    long prompt and its next token together are broken off."""
    model = opened(endless, context_tokens=32768, max_tokens=200, parallel=2)
    rng, said = Random(23), ""
    other = model.astream("go on")
    said += str((await anext(other)).content)

    async def rest() -> str:
        return "".join([str(chunk.content) async for chunk in other])

    task, aborts = asyncio.create_task(rest()), 0
    while not task.done():
        await _cancelled(model, f"{aborts} {LONG}", False, rng.uniform(0.02, 0.2))
        aborts += 1
    said += await task
    whole = "I see nothing 😀." * (len(said) // len("I see nothing 😀.") + 1)
    assert said == whole[: len(said)]
    assert aborts > 1

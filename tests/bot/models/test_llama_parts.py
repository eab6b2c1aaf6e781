"""The parts of the local model that need no model: files, messages, templates, text streams."""

import base64
import io
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from PIL import Image

from bot.errors import ModelError
from bot.models.llama import picture_part
from bot.models.llama.content import Line, read_messages
from bot.models.llama.engine import Engine
from bot.models.llama.files import parse_files, read_header
from bot.models.llama.native import Media, Native
from bot.models.llama.streaming import TextStream
from bot.models.llama.template import ChatTemplate, Markup

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def png(colour: str = "red") -> bytes:
    """Return a small picture."""
    out = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(out, "PNG")
    return out.getvalue()


class TestFiles:
    def test_the_projector_beside_the_text_model_is_found(self, tiny: Path) -> None:
        """One mmproj file in the folder needs no naming."""
        assert parse_files(str(tiny)).projector == tiny.parent / "mmproj-tiny.gguf"

    def test_two_projectors_are_not_chosen_between(self, tiny: Path, tmp_path: Path) -> None:
        """With two, none is taken unless named."""
        text = tmp_path / "a+b.gguf"
        text.write_bytes(tiny.read_bytes())
        for name in ("mmproj-a.gguf", "mmproj-b.gguf"):
            (tmp_path / name).write_bytes((tiny.parent / "mmproj-tiny.gguf").read_bytes())
        assert parse_files(str(text)).projector is None
        named = parse_files(f"{text}+{tmp_path / 'mmproj-b.gguf'}")
        assert named.text == text
        assert named.projector == tmp_path / "mmproj-b.gguf"

    def test_a_header_tells_architecture_and_name(self, tiny: Path) -> None:
        """The header is read without native code."""
        header = read_header(tiny)
        assert (header.architecture, header.name, header.tensors) == ("qwen2", "tiny", 15)

    def test_swapped_files_are_told_apart(self, tiny: Path) -> None:
        """A projector in the place of the model, and the other way round, are refused."""
        eyes = tiny.parent / "mmproj-tiny.gguf"
        with pytest.raises(ModelError, match="a projector, not a text model"):
            parse_files(str(eyes))
        with pytest.raises(ModelError, match="not a projector"):
            parse_files(f"{tiny}+{tiny}")

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda path: None, "no such file"),
            (lambda path: path.mkdir(), "a folder"),
            (lambda path: path.write_bytes(b""), "not a GGUF file"),
            (lambda path: path.write_bytes(b"PK\x03\x04" + b"x" * 99), "not a GGUF file"),
            (lambda path: path.write_bytes(b"GGUF"), "damaged"),
            (lambda path: path.write_bytes(b"GGUF\x07\0\0\0" + b"\0" * 99), "version 7"),
            (lambda path: path.write_bytes(b"GGUF\x03\0\0\0" + b"\xff" * 99), "damaged"),
        ],
    )
    def test_a_foreign_file_is_refused_in_one_line(
        self, make: Callable[[Path], object], said: str, tmp_path: Path
    ) -> None:
        """The line names the file and what is wrong with it."""
        path = tmp_path / "model.gguf"
        make(path)
        with pytest.raises(ModelError, match=said) as caught:
            parse_files(str(path))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_file_cut_short_anywhere_in_its_header_is_refused(
        self, tiny: Path, tmp_path: Path
    ) -> None:
        """Whatever the length, it is ModelError and nothing else."""
        whole, cut = tiny.read_bytes(), tmp_path / "cut.gguf"
        for size in [*range(4, 400, 7), *range(400, 16000, 997)]:
            cut.write_bytes(whole[:size])
            with pytest.raises(ModelError, match="damaged"):
                read_header(cut)

    def test_flipped_bytes_in_the_header_raise_nothing_but_model_errors(
        self, tiny: Path, tmp_path: Path
    ) -> None:
        """The reader survives 300 damaged headers."""
        whole, bad, rng = tiny.read_bytes()[:40000], tmp_path / "bad.gguf", random.Random(5)
        refused = 0
        for _ in range(300):
            data = bytearray(whole)
            for _ in range(3):
                data[rng.randrange(4, 900)] = rng.randrange(256)
            bad.write_bytes(data)
            try:
                read_header(bad)
            except ModelError:
                refused += 1
        assert refused > 0


class TestContent:
    def test_both_forms_of_picture_give_the_same_pixels(self) -> None:
        """LangChain's image block and OpenAI's data address are one."""
        data = base64.b64encode(png()).decode()
        parts: list[str | dict[str, object]] = [
            {"type": "text", "text": "a"},
            {"type": "image", "base64": data, "mime_type": "image/png"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
            picture_part(png()),  # type: ignore[list-item]
            "b",
            {"type": "text", "text": "c"},
        ]
        (line,) = read_messages([HumanMessage(parts)])
        pictures = [p for p in line.parts if isinstance(p, Image.Image)]
        assert [p if isinstance(p, str) else "P" for p in line.parts] == ["a", "P", "P", "P", "bc"]
        assert {p.tobytes() for p in pictures} == {Image.new("RGB", (8, 6), "red").tobytes()}

    @pytest.mark.parametrize(
        "address",
        [
            "http://127.0.0.1:1/a.png",
            "https://example.com/a.png",
            "file:///etc/passwd",
            "FILE:///etc/passwd",
            "/etc/passwd",
            "ftp://x/y",
            "",
        ],
    )
    @pytest.mark.parametrize("form", ["image", "image_url"])
    def test_an_address_is_never_opened(self, address: str, form: str) -> None:
        """Any address but data: is refused."""
        key = "url" if form == "image" else "image_url"
        with pytest.raises(ModelError, match="image part"):
            read_messages([HumanMessage([{"type": form, key: address}])])

    @pytest.mark.parametrize(
        "message",
        [
            HumanMessage([{"type": "image", "base64": "????", "mime_type": "image/png"}]),
            HumanMessage([{"type": "image", "base64": base64.b64encode(b"no").decode()}]),
            HumanMessage([{"type": "image_url", "image_url": "data:image/png,abc"}]),
            HumanMessage([{"type": "audio", "base64": "AAAA"}]),
            ToolMessage("42", tool_call_id="1"),
            AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}]),
        ],
    )
    def test_what_cannot_be_taken_is_refused(self, message: BaseMessage) -> None:
        """Broken pictures, sound and tools are ModelErrors, never dropped."""
        with pytest.raises(ModelError):
            read_messages([message])


class TestTemplate:
    def test_contents_stay_apart_from_markup(self) -> None:
        """What a person writes is a piece of its own, however it looks."""
        lines = [Line("system", ("Be brief.",)), Line("user", ("<|im_end|>{{ 1 }}",))]
        assert ChatTemplate(CHATML).render(lines) == [
            Markup("<|im_start|>system\n"),
            "Be brief.",
            Markup("<|im_end|>\n<|im_start|>user\n"),
            "<|im_end|>{{ 1 }}",
            Markup("<|im_end|>\n<|im_start|>assistant\n"),
        ]

    def test_a_picture_stands_where_it_was_put(self) -> None:
        """Order of words and pictures is kept."""
        picture = Image.new("RGB", (2, 2))
        pieces = ChatTemplate("{{ messages[0].content }}").render(
            [Line("user", ("a", picture, "b"))]
        )
        assert pieces == ["a", picture, "b"]

    def test_a_template_that_wants_lists_of_parts_gets_them(self) -> None:
        """SmolVLM's kind of template, which loses plain strings, is served with parts."""
        source = (
            "{% for m in messages %}{{ m.role }}:{% for line in m['content'] %}"
            "{% if line['type'] == 'text' %}{{ line['text'] }}{% endif %}{% endfor %}{% endfor %}"
        )
        assert ChatTemplate(source).render([Line("user", ("hi",))]) == [Markup("user:"), "hi"]

    def test_a_template_without_a_system_role_gets_it_in_the_users_words(self) -> None:
        """Gemma's kind of template, which refuses system messages, loses nothing."""
        source = (
            "{% for m in messages %}{% if m.role == 'system' %}"
            "{{ raise_exception('no system role') }}{% endif %}[{{ m.content }}]{% endfor %}"
        )
        lines = [Line("system", ("rules",)), Line("user", ("hi",))]
        pieces = ChatTemplate(source).render(lines)
        assert pieces == [Markup("["), "rules", "\n\n", "hi", Markup("]")]

    @pytest.mark.parametrize(
        "source",
        [
            "{{ messages[0].content[:3] }}",
            "nothing at all",
            "{{ messages[0].content.__class__.__mro__ }}",
            "{{ ''.__class__.__base__.__subclasses__() }}{{ messages[0].content }}",
            "{{ 'a' * 99999999999 }}{{ messages[0].content }}",
            "{{ 9 ** 999999999 }}{{ messages[0].content }}",
            "{% for n in range(10 ** 9) %}{% endfor %}{{ messages[0].content }}",
            "{{ raise_exception('no') }}",
            "{{ messages.append(1) }}{{ messages[0].content }}",
        ],
    )
    def test_a_template_that_loses_words_or_breaks_out_is_refused(self, source: str) -> None:
        """Sandbox escapes, bombs and lost contents all end as one line."""
        with pytest.raises(ModelError, match="chat template") as caught:
            ChatTemplate(source, owner="m.gguf").render([Line("user", ("hello",))])
        assert "\n" not in str(caught.value)

    def test_a_template_that_is_no_jinja_is_refused(self) -> None:
        """A syntax error is found when the model is opened."""
        with pytest.raises(ModelError, match=r"m\.gguf: its chat template cannot be read"):
            ChatTemplate("{% for %}", owner="m.gguf")


class TestStreaming:
    @pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
    def test_characters_and_stops_do_not_depend_on_how_bytes_are_cut(self, size: int) -> None:
        """Any cut of the bytes gives the same text, whole characters only."""
        text, stream = "Grüße 😀 an <en alle<end> hidden", TextStream(["<end>", "hid"])
        data = text.encode()
        pieces = [stream.feed(data[n : n + size]) for n in range(0, len(data), size)]
        assert "".join(pieces) + stream.finish() == "Grüße 😀 an <en alle"
        assert stream.stopped
        assert all("\ufffd" not in piece for piece in pieces)

    def test_the_beginning_of_a_stop_string_is_given_in_the_end(self) -> None:
        """What looked like a stop string and was none is not lost."""
        stream = TextStream(["<end>"])
        assert stream.feed(b"a <en") == "a "
        assert stream.finish() == "<en"

    def test_an_unfinished_character_is_dropped(self) -> None:
        """An answer cut at its limit inside an emoji shows no replacement character."""
        stream = TextStream()
        assert stream.feed("ok 😀".encode()[:-1]) + stream.finish() == "ok "


def test_the_pocket_vocabulary_spells_every_byte(pocket: ModuleType) -> None:
    """The tiny tokenizer can write any text, as its users expect."""
    tokens, types, merges = pocket.make_vocabulary()
    assert len(set(tokens)) == len(tokens) == len(types)
    assert set(pocket.byte_alphabet()) <= set(tokens)
    assert all("".join(merge.split(" ")) in tokens for merge in merges)


def test_system_and_user_lines_are_read_in_order() -> None:
    """Roles come out as templates name them."""
    lines = read_messages([SystemMessage("s"), HumanMessage("u"), AIMessage("a")])
    assert [(line.role, line.parts) for line in lines] == [
        ("system", ("s",)),
        ("user", ("u",)),
        ("assistant", ("a",)),
    ]


class Patches:
    """Native code of a model of dynamic resolution: a token for every 28x28 pixels of a picture."""

    trained_on, sees = 8192, True

    def __init__(self, text: Path) -> None:
        self.files = parse_files(str(text))

    def template(self) -> str:
        return CHATML

    def bos(self) -> None:
        return None

    eos = bos

    def adds_bos(self) -> bool:
        return False

    def look(self, image: Image.Image) -> Media:
        tokens = (image.width // 28) * (image.height // 28)
        return Media(None, tokens, tokens, ())

    def forget(self, media: Media) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_picture_is_budgeted_at_the_size_that_is_shown_at_most(tiny: Path) -> None:
    """With dynamic resolution a picture of 1024x1024 costs five times one of 448x448."""
    engine = Engine(cast(Native, Patches(tiny)), 4096)
    try:
        assert engine.picture_tokens == engine.count([Image.new("RGB", (1024, 1024))])
        assert engine.picture_tokens > 5 * engine.count([Image.new("RGB", (448, 448))])
    finally:
        engine.close()

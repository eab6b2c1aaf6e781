"""The parts of the local model that need no model: files, messages, templates, text streams."""

import base64
import io
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from PIL import Image

from bot.errors import ModelError
from bot.models.llama import LocalVisionChat, picture_part
from bot.models.llama.content import Pictures, read_messages
from bot.models.llama.files import parse_files, read_header
from bot.models.llama.process import ModelProcess
from bot.models.llama.streaming import TextStream
from bot.models.llama.template import ChatTemplate, Markup
from bot.models.llama.values import Info, Line, Pixels

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
    def test_every_form_of_picture_gives_the_same_pixels(self) -> None:
        """LangChain's image block, OpenAI's data address, bytes and PIL images are one."""
        data = base64.b64encode(png()).decode()
        image = Image.new("RGB", (8, 6), "red")
        parts: list[Any] = [
            {"type": "text", "text": "a"},
            {"type": "image", "base64": data, "mime_type": "image/png"},
            {"type": "image", "source_type": "base64", "data": data, "mime_type": "image/png"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
            {"type": "image_url", "image_url": f"data:image/png;base64,{data}"},
            {"type": "image", "url": f"DATA:image/png;base64,{data}"},
            {"type": "image", "base64": png(), "mime_type": "image/png"},
            {"type": "image", "image": png()},
            {"type": "image", "image": image},
            {"type": "image", "image": image.convert("RGBA")},
            picture_part(png()),
            "b",
            {"type": "text", "text": "c"},
        ]
        (line,) = read_messages([HumanMessage(parts)], Pictures(64))
        assert [p if isinstance(p, str) else "P" for p in line.parts] == ["a", *"P" * 10, "bc"]
        pictures = {p for p in line.parts if isinstance(p, Pixels)}
        assert pictures == {Pixels(8, 6, image.tobytes())}

    def test_a_picture_is_shrunk_to_what_the_model_uses_and_turned_upright(self) -> None:
        """Its longer side is the model's; smaller ones stay as they are."""
        camera = Image.new("RGB", (400, 100), "red")
        exif = camera.getexif()
        exif[0x0112] = 6  # turn it to see it
        out = io.BytesIO()
        camera.save(out, "JPEG", exif=exif)
        opened = Image.open(io.BytesIO(out.getvalue()))
        for given in (out.getvalue(), opened):
            found = Pictures(64).read(given)
            assert (found.width, found.height, len(found.data)) == (16, 64, 16 * 64 * 3)
        assert Pictures(64).read(png()).width == 8

    def test_a_picture_that_comes_again_is_not_decoded_again(self) -> None:
        """The same bytes give the same value, until others have taken its place."""
        pictures = Pictures(64, most=3 * 8 * 6 * 3)
        first = pictures.read(png("red"))
        assert pictures.read(png("red")) is first
        for colour in ("green", "blue", "white"):
            pictures.read(png(colour))
        assert pictures.read(png("red")) is not first
        assert pictures.read(png("white")) is pictures.read(png("white"))

    def test_tools_are_read_as_calls_and_answers(self) -> None:
        """Calls keep their names, arguments and ids; what was no call is what it said."""
        bad = {"name": "f", "args": "{oops", "id": "2", "error": None, "type": "invalid_tool_call"}
        lines = read_messages(
            [
                AIMessage("so", tool_calls=[{"name": "f", "args": {"x": 1}, "id": "1"}]),
                ToolMessage("42", tool_call_id="1", name="f"),
                AIMessage("", invalid_tool_calls=[bad]),
            ],
            Pictures(64),
        )
        assert lines[0].calls == ({"name": "f", "arguments": {"x": 1}, "id": "1"},)
        assert lines[1] == Line("tool", ("42",), call_id="1", name="f")
        assert lines[2].parts == ('{"name": "f", "arguments": "{oops"}',)

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
    @pytest.mark.parametrize("key", ["url", "image", "image_url"])
    def test_an_address_is_never_opened(self, address: str, key: str) -> None:
        """Any address but data: is refused, and so is a path."""
        kind = "image_url" if key == "image_url" else "image"
        with pytest.raises(ModelError, match="image part"):
            read_messages([HumanMessage([{"type": kind, key: address}])], Pictures(64))

    @pytest.mark.parametrize(
        "message",
        [
            HumanMessage([{"type": "image", "base64": "????", "mime_type": "image/png"}]),
            HumanMessage([{"type": "image", "base64": base64.b64encode(b"no").decode()}]),
            HumanMessage([{"type": "image_url", "image_url": "data:image/png,abc"}]),
            HumanMessage([{"type": "image", "image": Path("/etc/passwd")}]),
            HumanMessage([{"type": "image", "image": 5}]),
            HumanMessage([{"type": "image", "image": Image.new("L", (30_000, 2))}]),
            HumanMessage([{"type": "audio", "base64": "AAAA"}]),
            FunctionMessage(content="42", name="f"),
            ChatMessage(content="hi", role="judge"),
        ],
    )
    def test_what_cannot_be_taken_is_refused(self, message: BaseMessage) -> None:
        """Broken pictures, paths, sound and other roles are ModelErrors, never dropped."""
        with pytest.raises(ModelError) as caught:
            read_messages([message], Pictures(64))
        assert "\n" not in str(caught.value)


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
        picture = Pixels(2, 2, b"x" * 12)
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
            "{{ raise_exception('no') }}",
            "{{ messages.append(1) }}{{ messages[0].content }}",
        ],
    )
    def test_a_template_that_loses_or_changes_words_is_refused(self, source: str) -> None:
        """One line says so."""
        with pytest.raises(ModelError, match="chat template") as caught:
            ChatTemplate(source, owner="m.gguf").render([Line("user", ("hello",))])
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "payload",
        [
            "{{ ''.__class__.__base__.__subclasses__() }}",
            "{% for c in [].__class__.__base__.__subclasses__() %}{% if 'warning' in c.__name__ %}"
            "{{ c()._module.__builtins__['__import__']('os').popen('touch MARK') }}"
            "{% endif %}{% endfor %}",
            "{{ self.__init__.__globals__.__builtins__.open('MARK', 'w') }}",
            "{{ cycler.__init__.__globals__.os.popen('touch MARK').read() }}",
            "{{ namespace.__init__.__globals__['os'].system('touch MARK') }}",
            "{{ joiner['__init__']['__globals__'].os.system('touch MARK') }}",
            "{{ raise_exception.__globals__['datetime'].sys.modules.os.system('touch MARK') }}",
            "{{ tojson.__globals__ }}{{ ('x'|tojson).__class__.__base__.__subclasses__() }}",
            "{{ ['os']|map('attr', '__class__')|list|first }}",
            "{{ ([1]|map(attribute='__class__')|first).__base__.__subclasses__() }}",
            "{{ '{0.__class__.__base__}'.format('x').__class__.__base__ }}",
            "{{ lipsum.__globals__['os'].system('touch MARK') }}",
            "{% include '/etc/passwd' %}",
            "{% import 'os' as os %}{{ os.system('touch MARK') }}",
            "{{ dict(a=1).__class__.__base__.__subclasses__() }}",
        ],
    )
    def test_a_template_cannot_reach_python(
        self, payload: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The payloads of CVE-2024-34359 and their like are refused, and nothing was run."""
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ModelError, match="chat template"):
            ChatTemplate(payload + "{{ messages[0].content }}", owner="m.gguf").render(
                [Line("user", ("hello",))]
            )
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "bomb",
        [
            "{{ 'a' * 99999999999 }}",
            "{{ 9 ** 999999999 }}",
            "{{ '%999999999d' % 1 }}",
            "{{ '{:>999999999}'.format(1) }}",
            "{{ '{:>{}}'.format(1, 999999999) }}",
            "{{ 'a'.ljust(9999999999) }}",
            "{{ 'a'|center(9999999999) }}",
            "{{ 'a'|indent(9999999999, true) }}",
            "{{ strftime_now('%9999999999d') }}",
            "{{ 'a'.replace('a', 'a' * 9999999).replace('a', 'a' * 9999999) }}",
            "{% set a = namespace(x='a') %}{% for n in range(99) %}{% set a.x = a.x ~ a.x %}"
            "{% endfor %}",
            "{% set a = namespace(x='a') %}{% for n in range(99) %}{% set a.x = a.x + a.x %}"
            "{% endfor %}",
            "{% set a = namespace(x=[1]) %}{% for n in range(99) %}{% set a.x = [a.x, a.x] %}"
            "{% endfor %}{{ a.x|tojson }}",
            "{% set a = namespace(x=[1]) %}{% for n in range(99) %}{% set a.x = [a.x, a.x] %}"
            "{% endfor %}{{ a.x }}",
            "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
            "{% endfor %}{% endfor %}{% endfor %}",
            "{% for a in range(99999) %}{% for b in range(99999) %}word{% endfor %}{% endfor %}",
            "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
            "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
            "{{ f(90) }}",
            "{{ range(99999)|map('string')|map('upper')|list|join(',' * 9999) }}",
            "{% for n in range(10 ** 9) %}{% endfor %}",
        ],
    )
    def test_a_template_that_does_not_end_is_ended(self, bomb: str) -> None:
        """Loops and texts that grow are cut off, and the next rendering is not the worse for it."""
        source = (
            "{% if messages[0].role == 'user' %}" + bomb + "{% endif %}{{ messages[0].content }}"
        )
        line = Line("user", ("hello",))
        with pytest.raises(ModelError, match=r"m\.gguf: its chat template") as caught:
            ChatTemplate(source, owner="m.gguf", seconds=0.2).render([line])
        assert "\n" not in str(caught.value)
        assert ChatTemplate(CHATML).render([line])

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
    lines = read_messages([SystemMessage("s"), HumanMessage("u"), AIMessage("a")], Pictures(64))
    assert [(line.role, line.parts) for line in lines] == [
        ("system", ("s",)),
        ("user", ("u",)),
        ("assistant", ("a",)),
    ]


class Patches(ModelProcess):
    """A model of dynamic resolution: a token for every 28x28 pixels of a picture, none for words.

    The real class, but without the process: what it counts is the sizes that it is asked about.
    """

    def __init__(self, side: int) -> None:
        self.info = Info("patches", 8192, True, side, False, True, "")

    def count(self, lines: Any, tools: Any = ()) -> int:
        pictures = [p for line in lines for p in line.parts if isinstance(p, Pixels)]
        return sum((p.width // 28) * (p.height // 28) for p in pictures)


@pytest.mark.parametrize(("side", "tokens"), [(1024, 36 * 36), (448, 16 * 16)])
def test_a_picture_is_budgeted_at_the_size_that_is_shown(side: int, tokens: int) -> None:
    """With dynamic resolution, 1024x1024 costs what the model makes of it, smaller ones less."""
    model = LocalVisionChat(process=Patches(side), model_name="patches")
    assert model.picture_tokens == tokens
    assert model.picture_cost(448, 448) == 16 * 16
    assert model.picture_cost(2 * side, side) == (side // 28) * (side // 2 // 28)
    assert model.max_pictures == min(16, 4096 // tokens)

"""Choosing a model by name, asking what it can do, and the lines that explain its failures."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from bot.errors import ModelError
from bot.models.choose import Capabilities, capabilities, explain, load_model

KEY = "swordfish-4711"


class TestNames:
    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("extractiv", "did you mean extractive"),
            ("Extractive", "did you mean extractive"),
            ("model.gguf", r"did you mean llama:model\.gguf"),
            ("gpt-5", r"a model is extractive, auto, .*llama:MODEL\.gguf, or provider:model"),
            ("qwen3-vl-2b", r"did you mean llama:qwen3-vl-2b\?"),
            ("llama:qwen3-vl-2b", "not on this machine yet; `bifocal models pull qwen3-vl-2b`"),
            ("llama:qwen3-vl-2", "unknown; did you mean qwen3-vl-2b"),
            ("", "a model is extractive"),
            ("openai:", "a model is extractive"),
            ("llama:", "a model is extractive"),
            ("llama:no/such.gguf", r"no/such\.gguf: no such file"),
            ("openia:gpt-5", "unknown provider 'openia'; did you mean openai:"),
            ("lama:x.gguf", "did you mean llama:"),
            ("zzz:x", "unknown provider 'zzz'; known: .*anthropic.*openai"),
        ],
    )
    def test_a_name_that_does_not_do_is_explained(self, name: str, said: str) -> None:
        """One line with the name and what would do."""
        with pytest.raises(ModelError, match=said) as caught:
            load_model(name)
        assert "\n" not in str(caught.value)

    def test_a_missing_package_is_told_with_its_command(self) -> None:
        """An integration that is not installed fails with the pip command for it."""
        packages = {
            "anthropic": "langchain_anthropic",
            "cohere": "langchain_cohere",
            "groq": "langchain_groq",
            "upstage": "langchain_upstage",
        }
        missing = [p for p, m in packages.items() if importlib.util.find_spec(m) is None]
        if not missing:
            pytest.skip("every integration is installed here")
        package = packages[missing[0]].replace("_", "-")
        with pytest.raises(ModelError, match=f"{missing[0]}:x: needs a package; pip install"):
            load_model(f"{missing[0]}:x")
        with pytest.raises(ModelError, match=package):
            load_model(f"{missing[0]}:x", api_key=SecretStr(KEY))

    def test_a_missing_key_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a key anywhere there is nothing to call with."""
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        with pytest.raises(ModelError, match="openai:gpt-4o: needs a key"):
            load_model("openai:gpt-4o")

    def test_an_option_that_does_not_do_is_told(self, tiny: Path) -> None:
        """Options are checked by the model they are for."""
        with pytest.raises(ModelError, match="llama: unknown colour"):
            load_model(f"llama:{tiny}", options={"colour": 1})
        with pytest.raises(ModelError, match="extractive: "):
            load_model("extractive", options={"max_chars": 1})

    def test_no_model_is_imported_before_it_is_chosen(self) -> None:
        """Importing the module loads neither torch, llama_cpp, langchain nor openai."""
        code = (
            "import sys, bot.models.choose\n"
            "heavy = ('torch', 'llama_cpp', 'langchain', 'langchain_core', 'openai', 'jinja2')\n"
            "sys.exit(', '.join(m for m in heavy if m in sys.modules) or 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


class TestCapabilities:
    def test_the_extractive_writer_reads_evidence(self) -> None:
        """It is given the evidence itself, and no pixels."""
        able = capabilities(load_model("extractive"))
        assert able.reads_evidence
        assert not able.pictures

    def test_a_local_model_tells_its_own(self, tiny: Path, blind: Path) -> None:
        """Pictures come with a projector; tokens are counted exactly."""
        model = load_model(f"llama:{tiny}", context_tokens=1024)
        assert capabilities(model) == Capabilities(
            pictures=True,
            context_tokens=1024,
            max_pictures=16,
            counts_tokens=True,
            reads_evidence=False,
            picture_tokens=16,
        )
        model.close()  # type: ignore[attr-defined]
        other = load_model(f"llama:{blind}")
        assert not capabilities(other).pictures
        other.close()  # type: ignore[attr-defined]

    def test_a_known_remote_model_is_described_by_its_profile(self) -> None:
        """LangChain's profile says what gpt-4o takes."""
        able = capabilities(load_model("openai:gpt-4o", api_key=SecretStr(KEY)))
        assert able.pictures
        assert able.max_pictures > 0
        assert able.context_tokens > 100_000
        assert not able.counts_tokens

    def test_an_unknown_remote_model_is_what_the_settings_say(self) -> None:
        """Nothing is guessed from a name: no pictures unless told so."""
        url = "http://127.0.0.1:1/v1"
        plain = capabilities(load_model("openai:llava-vision", base_url=url, context_tokens=9000))
        assert (plain.pictures, plain.max_pictures, plain.context_tokens) == (False, 0, 9000)
        told = load_model("openai:any", base_url=url, options={"pictures": True})
        assert capabilities(told).pictures
        unseeing = load_model("openai:gpt-4o", api_key=SecretStr(KEY), options={"pictures": False})
        assert not capabilities(unseeing).pictures


class TestExplain:
    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (ConnectionRefusedError(111, "Connection refused"), "cannot be reached"),
            (TimeoutError(), "no answer in time"),
            (RuntimeError("something\nelse"), "RuntimeError: something else"),
            (KeyError(), "KeyError: no reason was given"),
            (ValueError("This model's maximum context length is 8 tokens"), "longer than it takes"),
            (ModelError("told already"), "told already"),
        ],
    )
    def test_each_error_is_one_line(self, error: Exception, said: str) -> None:
        """Whatever it is, there is a line for it."""
        line = explain(error, "openai:x")
        assert said in line
        assert "\n" not in line

    @pytest.mark.parametrize(
        ("header", "sent"),
        [
            ("Authorization", f"Bearer {KEY}"),
            ("x-api-key", KEY),
            ("x-goog-api-key", KEY),
            ("Cookie", KEY),
        ],
    )
    def test_a_key_that_the_server_repeats_is_not_shown(self, header: str, sent: str) -> None:
        """Any header that carries a credential is known, and cut out of the server's words."""
        error: Any = RuntimeError(f"bad key {KEY}, and {sent}, and sk-abcdefghijklmnop")
        error.status_code = 500
        error.request = SimpleNamespace(
            headers={header: sent}, url=f"http://me:{KEY}@example.com/v1?key={KEY}"
        )
        line = explain(error, "openai:x")
        assert KEY not in line
        assert "abcdefgh" not in line
        assert "http://example.com failed (500)" in line

    def test_a_chained_cause_is_looked_at(self) -> None:
        """A client that wraps the refusal in its own error is understood."""
        error = RuntimeError("Connection error.")
        error.__cause__ = ConnectionRefusedError(111, "Connection refused")
        assert "cannot be reached" in explain(error, "openai:x")

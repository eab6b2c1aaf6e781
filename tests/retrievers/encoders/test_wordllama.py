"""The embedded text encoder."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from retrievers.encoders.wordllama import MAX_CHARACTERS, TOKENIZER, WEIGHTS, WordLlamaEncoder
from retrievers.errors import EncoderError

TEXTS = [
    "The receipt from the bakery is over fifty euros.",
    "A dog sleeps on the red sofa",
    "Straße, café, 東京",
    "x",
]


@pytest.fixture(scope="module")
def encoder() -> WordLlamaEncoder:
    return WordLlamaEncoder.open()


def test_it_gives_what_wordllama_itself_gives(
    encoder: WordLlamaEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the package sets up the root logger when it is imported: put that back afterwards
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer
    from wordllama import inference

    folder = Path(inference.__file__).parent
    reference = inference.WordLlamaInference(
        load_file(folder / WEIGHTS)["embedding.weight"],
        Tokenizer.from_file(str(folder / TOKENIZER)),
    )
    wanted = reference.embed(TEXTS, norm=True)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), wanted, atol=1e-5)


def test_what_means_the_same_is_nearer_than_what_shares_a_word(encoder: WordLlamaEncoder) -> None:
    question = encoder.encode_texts(["How do I repair a bicycle?"], query=True)
    passages = encoder.encode_texts(
        [
            "Fixing a flat tyre on your bike takes ten minutes.",
            "How do I cook rice?",
            "The parliament voted on the budget.",
        ]
    )
    cosines = (question @ passages.T)[0]
    assert cosines.argmax() == 0
    assert cosines.argmin() == 2


def test_it_reads_a_long_text_up_to_its_cap_and_no_further(encoder: WordLlamaEncoder) -> None:
    long = "apple tree " * (MAX_CHARACTERS // 11 + 1)
    alone, followed = encoder.encode_texts([long, long[:MAX_CHARACTERS] + " submarine" * 1000])
    np.testing.assert_array_equal(alone, followed)


def test_it_needs_neither_torch_nor_the_package_itself() -> None:
    program = (
        "import sys\n"
        "from retrievers.encoders.registry import load_encoder\n"
        "load_encoder('wordllama').encode_texts(['a question'], query=True)\n"
        "heavy = {'torch', 'transformers', 'wordllama', 'huggingface_hub'} & set(sys.modules)\n"
        "print(sorted(heavy))\n"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=root,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("weights", [b"", b"\xff" * 64])
def test_a_damaged_installation_is_named_with_the_way_out(
    weights: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "wordllama"
    for name in (WEIGHTS, TOKENIZER):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_bytes(weights)
    (package / "__init__.py").write_text("")
    monkeypatch.delitem(sys.modules, "wordllama", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EncoderError, match="pip install --force-reinstall wordllama") as caught:
        WordLlamaEncoder.open()
    assert str(package) in str(caught.value)
    assert "\n" not in str(caught.value)

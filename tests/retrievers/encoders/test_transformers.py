"""Text models by ``transformers``: the real all-MiniLM-L6-v2, and what a folder's files say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrievers.encoders.transformers import TransformersEncoder
from retrievers.errors import EncoderError
from retrievers.evidence import Vectors

TEXTS = [
    "A man is eating food.",
    "A man is eating a piece of bread, and " + "a long way on, " * 20 + "he drinks.",
    "The girl is carrying a baby.",
    "Two men pushed carts through the woods.",
]


def hidden(folder: Path, texts: list[str]) -> tuple[Any, Any]:
    """Return token vectors (n, t, h) and the mask (n, t), computed directly."""
    import torch
    from transformers import BertModel, BertTokenizer

    tokens = BertTokenizer.from_pretrained(folder)(
        texts, padding=True, truncation=True, max_length=256, return_tensors="pt"
    )
    model = BertModel.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        return model(**tokens).last_hidden_state, tokens["attention_mask"]


def unit(rows: Any) -> Vectors:
    found: Vectors = rows.numpy()
    result: Vectors = found / np.linalg.norm(found, axis=1, keepdims=True)
    return result


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def add_module(folder: Path, kind: str, name: str, settings: dict[str, Any]) -> None:
    """Add a step to the end of a sentence model's list."""
    listed = json.loads((folder / "modules.json").read_text())
    step = {"idx": len(listed), "name": name, "path": name, "type": f"sentence_transformers.{kind}"}
    write(folder / "modules.json", [*listed, step])
    write(folder / name / "config.json", settings)


@pytest.fixture(scope="module")
def minilm(minilm_folder: Path) -> TransformersEncoder:
    return TransformersEncoder.open(str(minilm_folder), local_files_only=True)


class TestSentenceModel:
    """all-MiniLM-L6-v2, its weights pinned by hash."""

    def test_the_order_of_similarity_is_the_one_its_authors_show(
        self, minilm: TransformersEncoder
    ) -> None:
        question = minilm.encode_texts(["A man is eating pasta."], query=True)
        corpus = [
            "A man is eating food.",
            "A man is eating a piece of bread.",
            "A man is riding a horse.",
            "The girl is carrying a baby.",
            "A cheetah is running behind its prey.",
        ]
        cosines = (question @ minilm.encode_texts(corpus).T)[0]
        assert list(np.argsort(-cosines)[:3]) == [0, 1, 2]
        assert cosines[0] == pytest.approx(0.70, abs=0.02)  # from its documentation
        assert cosines[3:].max() < 0.15

    def test_its_vectors_are_the_mean_over_the_attention_mask(
        self, minilm: TransformersEncoder, minilm_folder: Path
    ) -> None:
        tokens, mask = hidden(minilm_folder, TEXTS)
        shown = mask.unsqueeze(-1).float()
        wanted = unit((tokens * shown).sum(1) / shown.sum(1))
        np.testing.assert_allclose(minilm.encode_texts(TEXTS), wanted, atol=1e-5)

    def test_a_text_is_read_up_to_the_length_its_folder_says(
        self, minilm: TransformersEncoder
    ) -> None:
        start = "word " * 254  # and two marks around them: 256 tokens
        first, second = minilm.encode_texts([start, start + "submarine " * 50])
        np.testing.assert_allclose(first, second, atol=1e-5)

    def test_its_name_tells_the_folder_and_the_weights(self, minilm: TransformersEncoder) -> None:
        kind, _, rest = minilm.name.partition(":")
        label, _, fingerprint = rest.partition("@")
        assert (kind, label, len(fingerprint)) == ("transformers", "model", 12)
        assert minilm.dimension == 384
        assert minilm.dense_weight == 0.5


class TestFolderSettings:
    """What the files beside the weights change."""

    @pytest.mark.parametrize(
        "settings", [{"pooling_mode_cls_token": True}, {"pooling_mode": "cls"}]
    )
    def test_cls_pooling_is_used_when_the_folder_says_so(
        self, settings: dict[str, Any], minilm_copy: Path
    ) -> None:
        write(minilm_copy / "1_Pooling" / "config.json", settings)
        tokens, _ = hidden(minilm_copy, TEXTS)
        found = TransformersEncoder.open(str(minilm_copy)).encode_texts(TEXTS)
        np.testing.assert_allclose(found, unit(tokens[:, 0]), atol=1e-5)

    def test_several_poolings_stand_side_by_side(self, minilm_copy: Path) -> None:
        modes = ["max", "lasttoken", "mean_sqrt_len_tokens"]
        write(minilm_copy / "1_Pooling" / "config.json", {"pooling_mode": modes})
        tokens, mask = hidden(minilm_copy, TEXTS)
        rows = []
        for vectors, count in zip(tokens.numpy(), mask.sum(1).tolist(), strict=True):
            vectors = vectors[:count]
            root = vectors.sum(0) / np.sqrt(count)
            rows.append(np.concatenate([vectors.max(0), vectors[-1], root]))
        wanted = np.stack(rows)
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
        encoder = TransformersEncoder.open(str(minilm_copy))
        assert encoder.dimension == 3 * 384
        np.testing.assert_allclose(encoder.encode_texts(TEXTS), wanted, atol=1e-5)

    def test_a_folder_without_a_list_of_steps_gets_the_mean(
        self, minilm_copy: Path, minilm: TransformersEncoder
    ) -> None:
        (minilm_copy / "modules.json").unlink()
        found = TransformersEncoder.open(str(minilm_copy)).encode_texts(TEXTS)
        np.testing.assert_allclose(found, minilm.encode_texts(TEXTS), atol=1e-5)

    def test_a_dense_step_is_applied(self, minilm_copy: Path, minilm: TransformersEncoder) -> None:
        import torch
        from safetensors.torch import save_file

        torch.manual_seed(2)
        weight, bias = torch.randn(20, 384), torch.randn(20)
        settings = {"activation_function": "torch.nn.modules.activation.Tanh"}
        add_module(minilm_copy, "Dense", "3_Dense", settings)
        save_file(
            {"linear.weight": weight, "linear.bias": bias},
            minilm_copy / "3_Dense" / "model.safetensors",
        )
        tokens, mask = hidden(minilm_copy, TEXTS)
        shown = mask.unsqueeze(-1).float()
        pooled = (tokens * shown).sum(1) / shown.sum(1)
        encoder = TransformersEncoder.open(str(minilm_copy))
        assert encoder.dimension == 20
        wanted = unit(torch.tanh(pooled @ weight.T + bias))
        np.testing.assert_allclose(encoder.encode_texts(TEXTS), wanted, atol=1e-4)
        assert encoder.name.partition("@")[2] != minilm.name.partition("@")[2]

    @pytest.mark.parametrize(
        ("kind", "settings"),
        [
            ("WeightedLayerPooling", {}),
            ("Pooling", {"pooling_mode": "weightedmean"}),
            ("Dense", {"activation_function": "os.system"}),
        ],
    )
    def test_a_step_that_is_not_known_is_refused_and_not_left_out(
        self, kind: str, settings: dict[str, Any], minilm_copy: Path
    ) -> None:
        add_module(minilm_copy, kind, "3_More", settings)
        with pytest.raises(EncoderError, match="is not supported") as caught:
            TransformersEncoder.open(str(minilm_copy))
        assert "\n" not in str(caught.value)

    def test_queries_and_passages_get_the_prompts_of_the_folder(
        self, minilm_copy: Path, minilm: TransformersEncoder
    ) -> None:
        prompts = {"query": "query: ", "passage": "passage: "}
        write(minilm_copy / "config_sentence_transformers.json", {"prompts": prompts})
        encoder = TransformersEncoder.open(str(minilm_copy))
        for query, prompt in ((True, "query: "), (False, "passage: ")):
            wanted = minilm.encode_texts([prompt + text for text in TEXTS])
            found = encoder.encode_texts(TEXTS, query=query)
            np.testing.assert_allclose(found, wanted, atol=1e-5)

    def test_a_default_prompt_goes_before_both(
        self, minilm_copy: Path, minilm: TransformersEncoder
    ) -> None:
        said = {"prompts": {"sts": "compare: "}, "default_prompt_name": "sts"}
        write(minilm_copy / "config_sentence_transformers.json", said)
        encoder = TransformersEncoder.open(str(minilm_copy))
        wanted = minilm.encode_texts(["compare: " + text for text in TEXTS])
        for query in (True, False):
            found = encoder.encode_texts(TEXTS, query=query)
            np.testing.assert_allclose(found, wanted, atol=1e-5)

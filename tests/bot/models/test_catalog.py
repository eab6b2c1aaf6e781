"""The catalogue is whole, and says what a model needs."""

import re
from itertools import pairwise
from urllib.parse import urlsplit

import pytest

from bot.errors import ModelError
from bot.models.catalog import BUFFERS, CATALOG, CONTEXTS, CatalogModel, find, get
from bot.models.store import is_name

every_model = pytest.mark.parametrize("model", CATALOG, ids=lambda model: model.name)


@every_model
def test_both_files_of_a_model_are_pinned_at_one_revision(model: CatalogModel) -> None:
    for file in (model.text, model.projector):
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert re.fullmatch(r"[0-9a-f]{40}", file.revision)
        assert re.fullmatch(r"[\w-]+/[\w.-]+", file.repository)
        assert re.fullmatch(r"[\w.-]+\.gguf", file.name)
        address = urlsplit(file.url())
        assert (address.scheme, address.netloc) == ("https", "huggingface.co")
        assert address.path == f"/{file.repository}/resolve/{file.revision}/{file.name}"
    assert "mmproj" in model.projector.name
    assert "mmproj" not in model.text.name
    assert model.projector.size < model.text.size


@every_model
def test_a_longer_context_needs_more_memory_and_never_less_than_the_files(
    model: CatalogModel,
) -> None:
    needs = [memory for tokens in CONTEXTS if (memory := model.memory(tokens)) is not None]
    assert needs[0] > model.download
    assert all(less < more for less, more in pairwise(needs))


@every_model
def test_a_model_has_a_name_that_the_store_takes_and_a_licence(model: CatalogModel) -> None:
    assert is_name(model.name)
    assert model.name == model.name.lower()
    assert model.licence == "Apache-2.0" or "https://" in model.licence


def test_no_two_models_share_a_name_or_a_text_file() -> None:
    assert len({model.name for model in CATALOG}) == len(CATALOG)
    assert len({model.text.sha256 for model in CATALOG}) == len(CATALOG)


def test_there_are_small_medium_and_large_models_with_the_two_that_were_asked_for() -> None:
    assert {model.size for model in CATALOG} == {"small", "medium", "large"}
    assert {"smolvlm2-500m", "qwen3-vl-2b"} <= {model.name for model in CATALOG}


def test_no_model_whose_class_token_llama_cpp_puts_in_the_wrong_place_is_there() -> None:
    for model in CATALOG:
        assert "llava" not in f"{model.title} {model.text.repository}".lower()


def test_memory_is_weights_and_cache_and_buffers_worked_out_by_hand() -> None:
    model = get("qwen3-vl-2b")  # 28 layers, 8 KV heads of 128, K and V at 2 bytes
    assert model.kv_bytes == 114_688
    assert model.memory(4096) == 1_107_409_952 + 445_053_216 + 2 * 469_762_048 + BUFFERS


def test_beyond_what_a_model_was_trained_on_no_memory_is_told() -> None:
    model = get("smolvlm2-500m")
    assert model.memory(8192) is not None
    assert model.memory(8193) is None


def test_an_unknown_name_is_an_error_with_the_nearest_one() -> None:
    assert find("qwen3-vl-2") is None
    with pytest.raises(ModelError, match=r"^Qwen3-VL-2: not in the catalogue; did you mean qwen3"):
        get("Qwen3-VL-2")
    with pytest.raises(ModelError, match="there are smolvlm2-500m, "):
        get("zzz")

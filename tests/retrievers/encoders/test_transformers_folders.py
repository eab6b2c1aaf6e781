"""Vision models by ``transformers``, and every way in which a model's folder can be wrong."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from retrievers.encoders.transformers import TransformersEncoder
from retrievers.errors import EncoderError


def picture() -> Image.Image:
    """Return a picture that is not the same everywhere."""
    drawn = Image.new("RGB", (50, 50), (30, 90, 160))
    ImageDraw.Draw(drawn).polygon([(5, 40), (25, 4), (44, 33)], fill=(240, 200, 30))
    return drawn


def refused(model: Path | str, **options: Any) -> str:
    """Return the one line with which a model is refused."""
    with pytest.raises(EncoderError) as caught:
        TransformersEncoder.open(str(model), **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.fixture
def copy(vit_folder: Path, tmp_path: Path) -> Path:
    """A ViT's folder that a test may spoil."""
    return Path(shutil.copytree(vit_folder, tmp_path / "spoilt"))


def change_weights(folder: Path, name: str, value: float | None) -> None:
    """Set the first number of a tensor, or drop the tensor when ``value`` is None."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    if value is None:
        del tensors[name]
    else:
        tensors[name].view(-1)[0] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


class TestVisionModels:
    """ResNet and ViT with random weights, compared with the models themselves."""

    def test_a_resnet_gives_the_average_of_its_last_layer(self, resnet_folder: Path) -> None:
        import torch
        from transformers import ConvNextImageProcessorPil, ResNetModel

        pixels = ConvNextImageProcessorPil.from_pretrained(resnet_folder)(
            picture(), return_tensors="pt"
        )
        with torch.inference_mode():
            last = ResNetModel.from_pretrained(resnet_folder)(**pixels).last_hidden_state
        wanted = last.mean(dim=(2, 3)).numpy()
        found = TransformersEncoder.open(str(resnet_folder)).encode_pictures([picture()])
        np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted), atol=1e-5)

    def test_a_vit_without_a_trained_pooler_gives_its_class_token(self, vit_folder: Path) -> None:
        """transformers would fill the pooler with random numbers, others at every start."""
        import torch
        from transformers import ViTImageProcessorPil, ViTModel

        model = ViTModel.from_pretrained(vit_folder, add_pooling_layer=False)
        pixels = ViTImageProcessorPil.from_pretrained(vit_folder)(picture(), return_tensors="pt")
        with torch.inference_mode():
            wanted = model(**pixels).last_hidden_state[:, 0].numpy()
        for seed in (1, 2):
            torch.manual_seed(seed)
            found = TransformersEncoder.open(str(vit_folder)).encode_pictures([picture()])
            np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted), atol=1e-5)

    def test_a_vit_with_a_trained_pooler_gives_what_it_pools(self, tmp_path: Path) -> None:
        import torch
        from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

        config = ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=32,
            patch_size=8,
        )
        model = ViTModel(config).train(False)
        model.save_pretrained(tmp_path)
        processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
        processor.save_pretrained(tmp_path)
        with torch.inference_mode():
            wanted = model(**processor(picture(), return_tensors="pt")).pooler_output.numpy()
        found = TransformersEncoder.open(str(tmp_path)).encode_pictures([picture()])
        np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted), atol=1e-5)


class TestSiglip:
    """A SigLIP was trained on texts padded to one length, without a mask."""

    def test_its_words_are_padded_to_the_full_length(self, siglip_folder: Path) -> None:
        import torch
        from transformers import AutoTokenizer, SiglipModel

        tokens = AutoTokenizer.from_pretrained(siglip_folder)(
            ["a red circle"], padding="max_length", max_length=16, return_tensors="pt"
        )
        model = SiglipModel.from_pretrained(siglip_folder)
        with torch.inference_mode():
            wanted = model.get_text_features(input_ids=tokens["input_ids"]).pooler_output.numpy()
        found = TransformersEncoder.open(str(siglip_folder)).encode_texts(["a red circle"])
        np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted), atol=1e-5)


class TestNames:
    """An index refuses other weights by the encoder's name."""

    def test_one_changed_number_in_the_weights_changes_the_name(
        self, vit_folder: Path, copy: Path
    ) -> None:
        before = TransformersEncoder.open(str(vit_folder)).name.partition("@")[2]
        assert TransformersEncoder.open(str(copy)).name.partition("@")[2] == before
        change_weights(copy, "vit.layernorm.weight", 3.0)
        assert TransformersEncoder.open(str(copy)).name.partition("@")[2] != before

    def test_another_way_of_preparing_pictures_changes_the_name(self, copy: Path) -> None:
        before = TransformersEncoder.open(str(copy)).name
        settings = json.loads((copy / "preprocessor_config.json").read_text())
        settings["do_normalize"] = False
        (copy / "preprocessor_config.json").write_text(json.dumps(settings))
        assert TransformersEncoder.open(str(copy)).name != before


class TestRefusals:
    """One line that names the model and the way out, whatever is wrong with it."""

    def test_a_folder_that_does_not_exist(self, tmp_path: Path) -> None:
        assert "no such folder" in refused(tmp_path / "a" / "b" / "c")

    @pytest.mark.parametrize("local_files_only", [True, False])
    def test_a_hub_name_that_cannot_be_fetched(
        self, local_files_only: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        line = refused("nobody/no-such-model", local_files_only=local_files_only)
        assert "transformers:nobody/no-such-model" in line
        assert "not in the local cache" in line
        assert "give a folder" in line

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        assert "no config.json" in refused(tmp_path)

    def test_pickled_weights_are_refused_unread(self, copy: Path) -> None:
        (copy / "model.safetensors").unlink()

        class Bomb:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (copy / "exploded",))

        (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
        line = refused(copy)
        assert "only pickled weights (pytorch_model.bin)" in line
        assert "safetensors" in line
        assert not (copy / "exploded").exists()

    def test_code_in_a_model_s_folder_is_not_run(self, copy: Path) -> None:
        config = json.loads((copy / "config.json").read_text())
        config["model_type"] = "house-made"
        config["auto_map"] = {"AutoConfig": "evil.C", "AutoModel": "evil.M"}
        (copy / "config.json").write_text(json.dumps(config))
        (copy / "evil.py").write_text(
            f"open({str(copy / 'ran')!r}, 'w').close()\nclass C: ...\nclass M: ...\n"
        )
        assert "cannot be loaded" in refused(copy)
        assert not (copy / "ran").exists()

    def test_weights_that_are_incomplete(self, copy: Path) -> None:
        change_weights(copy, "vit.layernorm.weight", None)
        assert "1 of its weights are missing (layernorm.weight" in refused(copy)

    def test_weights_that_are_not_numbers(self, copy: Path) -> None:
        change_weights(copy, "vit.layernorm.weight", float("nan"))
        encoder = TransformersEncoder.open(str(copy))
        with pytest.raises(EncoderError, match="not finite"):
            encoder.encode_pictures([picture()])

    @pytest.mark.parametrize("keep", [0, 7, 2000])
    def test_weights_that_are_cut_short(self, keep: int, copy: Path) -> None:
        path = copy / "model.safetensors"
        path.write_bytes(path.read_bytes()[:keep])
        assert f"transformers:{copy}" in refused(copy)

    def test_a_config_that_is_not_json(self, copy: Path) -> None:
        (copy / "config.json").write_text("{")
        assert f"transformers:{copy}" in refused(copy)

    def test_a_list_of_weights_that_leads_out_of_the_folder(self, copy: Path) -> None:
        index = {"weight_map": {"x": "../other/model.safetensors"}}
        (copy / "model.safetensors.index.json").write_text(json.dumps(index))
        assert "leads out of its folder" in refused(copy)

    def test_a_picture_model_without_a_word_on_how_to_prepare_pictures(self, copy: Path) -> None:
        (copy / "preprocessor_config.json").unlink()
        assert "cannot be loaded" in refused(copy)

    def test_a_model_of_another_kind(self, tmp_path: Path) -> None:
        from transformers import Wav2Vec2Config, Wav2Vec2Model

        config = Wav2Vec2Config(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            conv_dim=(8, 8),
            conv_stride=(5, 2),
            conv_kernel=(10, 3),
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2,
        )
        Wav2Vec2Model(config).save_pretrained(tmp_path)
        assert "a Wav2Vec2Model is neither a text encoder" in refused(tmp_path)

    def test_a_batch_of_nothing(self, vit_folder: Path) -> None:
        assert "max_batch is 0" in refused(vit_folder, max_batch=0)

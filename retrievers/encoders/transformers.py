"""Any BERT/RoBERTa-family or sentence model, ResNet/ViT, or CLIP/SigLIP, by ``transformers``.

What a model can take is asked of the loaded object: both ``get_text_features`` and
``get_image_features`` mean one space for words and pictures, otherwise ``main_input_name`` says
which it is. Only safetensors weights, no code from a model's folder, pictures prepared with Pillow
alone. Knows nothing of indexes. torch and transformers are imported when a model is opened.
"""

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from retrievers.encoders import Modality
from retrievers.encoders.checkpoint import Checkpoint, find_checkpoint, first_line
from retrievers.encoders.common import clean, no_pictures, no_text, unit
from retrievers.encoders.loading import (
    check_weights,
    load_processor,
    load_tokenizer,
    max_tokens,
    modalities_of,
    quiet,
)
from retrievers.encoders.sentence import Head, make_head
from retrievers.errors import EncoderError
from retrievers.evidence import Vectors

if TYPE_CHECKING:
    from torch import Tensor

FIXED_LENGTH = ("siglip", "siglip2")  # trained on padded texts without an attention mask
CHARACTERS_PER_TOKEN = 32  # a text is cut to this many a token before it is tokenised
MAX_ASPECT = 8.0  # a longer strip is squeezed: a processor would scale it to its short side
PROMPTS = {True: ("query",), False: ("document", "passage", "corpus")}


class TransformersEncoder:
    """An encoder made of a ``transformers`` model; open it with :meth:`open`.

    ``name`` is ``transformers:LABEL@FINGERPRINT``, so an index refuses other weights. Safe to use
    from several threads. ``dense_weight`` is 0.5 for sentence models and 0.3 for the words of a
    CLIP, which was trained on captions and not on passages.
    """

    def __init__(
        self,
        model: Any,
        checkpoint: Checkpoint,
        *,
        modalities: frozenset[Modality],
        tokenizer: Any = None,
        processor: Any = None,
        head: Head | None = None,
        trained_pooler: bool = True,
        max_batch: int = 32,
    ) -> None:
        """Hold what :meth:`open` loaded."""
        self.name = f"transformers:{checkpoint.label}@{checkpoint.fingerprint}"
        self.modalities = modalities
        self.dense_weight = 0.3 if len(modalities) == 2 else 0.5
        self.dimension = 0  # asked of the model by open()
        self._model = model
        self._prompts = checkpoint.prompts
        self._tokenizer = tokenizer
        self._processor = processor
        self._head = head
        self._trained_pooler = trained_pooler
        self._max_batch = max_batch
        self._max_tokens = max_tokens(model, tokenizer, checkpoint) if tokenizer else 0
        self._tokenizing = threading.Lock()  # a fast tokenizer's settings are not thread-safe

    @classmethod
    def open(
        cls,
        model: str,
        *,
        device: str | None = None,
        local_files_only: bool = False,
        max_batch: int = 32,
    ) -> "TransformersEncoder":
        """Load a folder or a hub name; a hub name is fetched once unless ``local_files_only``.

        ``device`` is a torch device; without it CUDA is used where there is one. ``max_batch`` is
        how many texts or pictures go through the model at once. Raises ``EncoderError`` when the
        model is missing, has only pickled weights, is incomplete, or is neither a text nor a
        picture model.
        """
        if max_batch < 1:
            raise EncoderError(f"max_batch is {max_batch}; it must be at least 1")
        checkpoint = find_checkpoint(model, local_files_only=local_files_only)
        with quiet():
            try:
                encoder = cls._load(checkpoint, device, max_batch)
            except EncoderError:
                raise
            except Exception as error:  # transformers raises whatever a damaged file leads to
                raise EncoderError(
                    f"transformers:{model}: cannot be loaded ({first_line(error)}); check that the"
                    " folder is whole and of a kind that transformers knows"
                ) from error
        return encoder

    @classmethod
    def _load(
        cls, checkpoint: Checkpoint, device: str | None, max_batch: int
    ) -> "TransformersEncoder":
        import torch
        from transformers import AutoModel

        # 1 the model
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        folder = str(checkpoint.weights)
        model, info = AutoModel.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        model = model.eval().to(place)
        # 2 what it can do, and whether its weights are all there
        modalities = modalities_of(model, checkpoint.label)
        trained_pooler = check_weights(info["missing_keys"], checkpoint.label)
        # 3 what prepares its input
        encoder = cls(
            model,
            checkpoint,
            modalities=modalities,
            tokenizer=load_tokenizer(checkpoint) if "text" in modalities else None,
            processor=load_processor(checkpoint) if "picture" in modalities else None,
            head=make_head(checkpoint, place) if modalities == {"text"} else None,
            trained_pooler=trained_pooler,
            max_batch=max_batch,
        )
        # 4 its dimension, by a first run
        spaces = {
            kind: int(rows.shape[1])
            for kind, rows in (
                ("text", encoder._texts(["a"]) if "text" in modalities else None),
                ("picture", encoder._pictures([_blank()]) if "picture" in modalities else None),
            )
            if rows is not None
        }
        if len(set(spaces.values())) != 1:
            raise EncoderError(
                f"transformers:{checkpoint.label}: its words and pictures have different"
                f" dimensions ({spaces}); it is not a model of one space"
            )
        encoder.dimension = next(iter(spaces.values()))
        return encoder

    def encode_texts(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        """Return ``(len(texts), dimension)`` float32, L2-normalised.

        The prompts of the model's ``config_sentence_transformers.json`` go before each text: its
        ``query`` prompt when ``query``, otherwise its ``document`` or ``passage`` prompt.
        """
        if "text" not in self.modalities:
            raise no_text(self.name)
        prompt = self._prompt(query)
        whole = [prompt + clean(t, self._max_tokens * CHARACTERS_PER_TOKEN) for t in texts]
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        order = sorted(range(len(whole)), key=lambda i: -len(whole[i]))  # alike in length: less pad
        for start in range(0, len(order), self._max_batch):
            chosen = order[start : start + self._max_batch]
            rows[chosen] = self._texts([whole[i] for i in chosen])
        return unit(rows, self.name)

    def encode_pictures(self, pictures: Sequence[Image.Image]) -> Vectors:
        """Return ``(len(pictures), dimension)`` float32, L2-normalised."""
        if "picture" not in self.modalities:
            raise no_pictures(self.name)
        rows = np.zeros((len(pictures), self.dimension), dtype=np.float32)
        for start in range(0, len(pictures), self._max_batch):
            chosen = [_tame(picture) for picture in pictures[start : start + self._max_batch]]
            rows[start : start + len(chosen)] = self._pictures(chosen)
        return unit(rows, self.name)

    def _prompt(self, query: bool) -> str:
        for name in (*PROMPTS[query], "default"):
            if name in self._prompts:
                return self._prompts[name]
        return ""

    def _texts(self, texts: list[str]) -> Vectors:
        """Run one batch of texts; ``(n, d)`` float32, not normalised."""
        import torch

        fixed = self._model.config.model_type in FIXED_LENGTH
        with self._tokenizing:
            inputs = self._tokenizer(
                texts,
                padding="max_length" if fixed else True,
                truncation=True,
                max_length=self._max_tokens,
                return_tensors="pt",
            )
        if fixed:
            inputs.pop("attention_mask", None)
        inputs = inputs.to(self._model.device)
        with torch.inference_mode():
            if self._head is None:
                found = _pooled(self._model.get_text_features(**inputs))
            else:
                found = self._head(_stack(self._model)(**inputs)[0], inputs["attention_mask"])
        return _numpy(found)

    def _pictures(self, pictures: list[Image.Image]) -> Vectors:
        """Run one batch of RGB pictures; ``(n, d)`` float32, not normalised."""
        import torch

        inputs = self._processor(images=pictures, return_tensors="pt").to(self._model.device)
        with torch.inference_mode():
            if hasattr(self._model, "get_image_features"):
                found = _pooled(self._model.get_image_features(**inputs))
            else:
                found = self._look(self._model(**inputs))
        return _numpy(found)

    def _look(self, out: Any) -> "Tensor":
        """Return (n, d) of a vision model's output: its pooler, its class token, or a mean."""
        pooled = getattr(out, "pooler_output", None)
        if pooled is not None and self._trained_pooler:
            found: Tensor = pooled.flatten(1)
            return found
        last: Tensor = out.last_hidden_state
        if last.dim() == 4:  # (n, channels, height, width)
            return last.mean(dim=(2, 3))
        leading = any(name.endswith("cls_token") for name, _ in self._model.named_parameters())
        return last[:, 0] if leading else last.mean(dim=1)


def _stack(model: Any) -> Callable[..., Any]:
    """Return the part that reads text: the encoder alone of an encoder-decoder."""
    part = model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model
    run: Callable[..., Any] = part
    return run


def _pooled(out: Any) -> "Tensor":
    """Return the features: newer releases wrap them, older ones give the tensor itself."""
    import torch

    found: Tensor = out if isinstance(out, torch.Tensor) else out.pooler_output
    return found


def _numpy(rows: "Tensor") -> Vectors:
    found: Vectors = rows.float().cpu().numpy()
    return found


def _blank() -> Image.Image:
    return Image.new("RGB", (32, 32), "grey")


def _tame(picture: Image.Image) -> Image.Image:
    """Return RGB with at most 8 times as much on one side as on the other, and not tiny."""
    rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
    short = max(4, min(rgb.size))
    size = tuple(int(min(max(side, short), short * MAX_ASPECT)) for side in rgb.size)
    if size == rgb.size:
        return rgb
    return rgb.resize((size[0], size[1]), Image.Resampling.BILINEAR)

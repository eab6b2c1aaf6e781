"""What is asked of a ``transformers`` model while it is loaded, and what prepares its input.

Knows nothing of vectors or of how a model is run. Only the functions import ``transformers``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from retrievers.encoders import Modality
from retrievers.encoders.checkpoint import Checkpoint, read_json
from retrievers.errors import EncoderError

DEFAULT_TOKENS = 512


def modalities_of(model: Any, label: str) -> frozenset[Modality]:
    """Ask a loaded model what it takes."""
    words, pictures = (
        callable(getattr(model, name, None)) for name in ("get_text_features", "get_image_features")
    )
    if words and pictures:
        return frozenset({"text", "picture"})
    if model.main_input_name == "pixel_values" and not words:
        return frozenset({"picture"})
    if model.main_input_name == "input_ids" and not pictures:
        return frozenset({"text"})
    raise EncoderError(
        f"transformers:{label}: a {type(model).__name__} is neither a text encoder, a picture"
        " encoder nor a CLIP-like pair; choose a BERT-like, ResNet/ViT or CLIP/SigLIP model"
    )


def check_weights(missing: Sequence[str], label: str) -> bool:
    """Return whether the pooler was trained; refuse a model of which something else is missing.

    ``transformers`` fills missing weights with random numbers. Poolers are often left out (a
    classifier's checkpoint has none), and are then not used.
    """
    needed = sorted(key for key in missing if "pooler" not in key and "position_ids" not in key)
    if needed:
        raise EncoderError(
            f"transformers:{label}: {len(needed)} of its weights are missing ({needed[0]} …);"
            " fetch the model again"
        )
    return not any("pooler" in key for key in missing)


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """Return the folder's tokenizer, with a padding token."""
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(
        str(checkpoint.weights), trust_remote_code=False, local_files_only=True
    )
    if found.pad_token is None:
        found.pad_token = found.eos_token  # padding is masked, any token will do
    return found


def load_processor(checkpoint: Checkpoint) -> Any:
    """Return the folder's image processor, the one that needs Pillow alone."""
    from transformers import AutoImageProcessor

    processors: Any = AutoImageProcessor  # its methods have no types
    return processors.from_pretrained(
        str(checkpoint.weights), backend="pil", trust_remote_code=False, local_files_only=True
    )


def max_tokens(model: Any, tokenizer: Any, checkpoint: Checkpoint) -> int:
    """Return the most tokens that the model, its tokenizer and its folder allow."""
    config = getattr(model.config, "text_config", model.config)
    limits = [checkpoint.max_tokens, tokenizer.model_max_length]
    limits.append(getattr(config, "max_position_embeddings", None))
    for name, part in model.named_modules():
        if name.endswith("position_embeddings") and getattr(part, "padding_idx", None) is not None:
            limits.append(part.num_embeddings - part.padding_idx - 1)  # RoBERTa's count from there
    stated = [int(limit) for limit in limits if limit and limit > 0]
    return min([*stated, _longest(checkpoint)])


def _longest(checkpoint: Checkpoint) -> int:
    """Return a cap for models of relative positions, which have none of their own."""
    stated = read_json(checkpoint.weights / "tokenizer_config.json").get("model_max_length")
    known = checkpoint.max_tokens or (stated if isinstance(stated, int) else 0)
    return known if 0 < known <= 8192 else DEFAULT_TOKENS


@contextmanager
def quiet() -> Iterator[None]:
    """Keep progress bars and reports of transformers off the terminal while a model loads."""
    from transformers.utils import logging as reports

    logging: Any = reports  # its functions have no types
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()

"""From a text model's token vectors to one vector a text, as the model's folder says.

The steps are those of sentence-transformers (Reimers & Gurevych, EMNLP 2019, arXiv:1908.10084),
read from the folder's ``modules.json``: pooling, dense layers, normalisation. A folder without one
gets the mean over the attention mask. Knows nothing of tokenizers or of where models come from.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrievers.encoders.checkpoint import Checkpoint, SentenceModule
from retrievers.errors import EncoderError

if TYPE_CHECKING:
    from torch import Tensor

Head = Callable[["Tensor", "Tensor"], "Tensor"]
"""Takes token vectors (n, t, h) and the attention mask (n, t); returns (n, d)."""

OLD_NAMES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid")


def make_head(checkpoint: Checkpoint, device: str) -> Head:
    """Return what turns token vectors into text vectors for this model.

    Raises ``EncoderError`` for a step that is not known: leaving it out would give other vectors.
    """
    modes: tuple[str, ...] = ("mean",)
    after: list[Callable[[Tensor], Tensor]] = []
    for step in checkpoint.steps:
        if step.kind == "Pooling":
            modes = _modes(step, checkpoint)
        elif step.kind == "Dense":
            after.append(_dense(step, checkpoint.label, device))
        elif step.kind not in ("Normalize", "Dropout"):
            raise EncoderError(
                f"transformers:{checkpoint.label}: its step {step.kind} is not supported (Pooling,"
                " Dense and Normalize are); choose another sentence model"
            )

    def head(tokens: "Tensor", mask: "Tensor") -> "Tensor":
        found = pool(tokens, mask, modes)
        for layer in after:
            found = layer(found)
        return found

    return head


def pool(tokens: "Tensor", mask: "Tensor", modes: Sequence[str]) -> "Tensor":
    """Return (n, h * len(modes)) of token vectors (n, t, h) under a mask (n, t) of 0 and 1."""
    import torch

    shown = mask.unsqueeze(-1).to(tokens.dtype)
    count = shown.sum(dim=1).clamp(min=1.0)
    rows = torch.arange(len(tokens), device=tokens.device)
    parts = []
    for mode in modes:
        if mode == "mean":
            parts.append((tokens * shown).sum(dim=1) / count)
        elif mode == "mean_sqrt_len_tokens":
            parts.append((tokens * shown).sum(dim=1) / count.sqrt())
        elif mode == "cls":
            parts.append(tokens[rows, mask.int().argmax(dim=1)])
        elif mode == "max":
            parts.append(tokens.masked_fill(shown == 0, float("-inf")).amax(dim=1))
        else:  # lasttoken: the last that is not padding, whichever side the padding is on
            last = mask.shape[1] - 1 - mask.flip(1).int().argmax(dim=1)
            parts.append(tokens[rows, last])
    return torch.cat(parts, dim=1)


def _modes(step: SentenceModule, checkpoint: Checkpoint) -> tuple[str, ...]:
    given = step.settings.get("pooling_mode")
    if given is None:
        known = [mode for key, mode in OLD_NAMES.items() if step.settings.get(key)]
        strange = [
            key
            for key, value in step.settings.items()
            if key.startswith("pooling_mode_") and value is True and key not in OLD_NAMES
        ]
        found = tuple(known + strange) or ("mean",)
    else:
        found = (given,) if isinstance(given, str) else tuple(given)
    unknown = [mode for mode in found if mode not in OLD_NAMES.values()]
    if unknown:
        raise EncoderError(
            f"transformers:{checkpoint.label}: its pooling {unknown[0]!r} is not supported"
            f" ({', '.join(OLD_NAMES.values())} are); choose another sentence model"
        )
    if step.settings.get("include_prompt") is False and any(checkpoint.prompts.values()):
        raise EncoderError(
            f"transformers:{checkpoint.label}: its pooling leaves the prompt out, which is not"
            " supported; choose another sentence model"
        )
    return found


def _dense(step: SentenceModule, label: str, device: str) -> Callable[["Tensor"], "Tensor"]:
    import torch

    settings: dict[str, Any] = step.settings
    name = str(settings.get("activation_function") or "Identity").rpartition(".")[2]
    unusual = settings.get("use_residual") or any(
        settings.get(key) not in (None, "sentence_embedding")
        for key in ("module_input_name", "module_output_name")
    )
    if name not in ACTIVATIONS or unusual:
        raise EncoderError(
            f"transformers:{label}: its dense layer in {step.folder.name} (activation {name}) is"
            " not supported; choose another sentence model"
        )
    weights = _tensors(step.folder / "model.safetensors", label)
    weight, bias = weights.get("linear.weight"), weights.get("linear.bias")
    if weight is None:
        raise EncoderError(
            f"transformers:{label}: {step.folder.name}/model.safetensors holds no linear.weight;"
            " fetch the model again"
        )
    weight = weight.float().to(device)
    bias = bias.float().to(device) if bias is not None else None
    activation = getattr(torch.nn, name)()

    def layer(rows: "Tensor") -> "Tensor":
        found: Tensor = activation(torch.nn.functional.linear(rows, weight, bias))
        return found

    return layer


def _tensors(path: Path, label: str) -> dict[str, "Tensor"]:
    from safetensors.torch import load_file

    try:
        found: dict[str, Tensor] = load_file(path)
    except Exception as error:  # safetensors raises its own bare exception
        raise EncoderError(
            f"transformers:{label}: {path.parent.name}/{path.name} cannot be read ({error});"
            " use a version of the model with safetensors in every step"
        ) from error
    return found

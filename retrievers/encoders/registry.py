"""Encoders by the name that a setting gives. Knows their names, not how they work.

Nothing is kept: the caller holds what it loaded.
"""

import difflib

from retrievers.encoders import Encoder
from retrievers.errors import EncoderError

KNOWN = ("wordllama", "descriptor", "transformers:MODEL")
_PREFIX = "transformers:"


def load_encoder(name: str) -> Encoder:
    """Return the encoder called ``name``.

    ``name`` is ``"wordllama"``, ``"descriptor"``, or ``"transformers:"`` and a folder or a hub
    name.
    Only a hub name that is not in the local cache reaches the network. Raises ``EncoderError``
    for a name that is not known, and for an encoder that cannot be loaded.
    """
    name = name.strip()
    if name == "wordllama":
        from retrievers.encoders.wordllama import WordLlamaEncoder

        return WordLlamaEncoder.open()
    if name in ("descriptor", "descriptor-1"):
        from retrievers.encoders.descriptor import DescriptorEncoder

        return DescriptorEncoder()
    if name.startswith(_PREFIX) and name != _PREFIX:
        from retrievers.encoders.transformers import TransformersEncoder

        return TransformersEncoder.open(name.removeprefix(_PREFIX))
    raise EncoderError(
        f"no encoder is called {name!r}{_nearest(name)}; there are {', '.join(KNOWN)}"
        " (MODEL is a folder or a hub name)"
    )


def _nearest(name: str) -> str:
    head, _, model = name.partition(":")
    near = difflib.get_close_matches(head.lower(), ["wordllama", "descriptor", "transformers"], 1)
    if not near and "/" in name:
        return f", did you mean {_PREFIX + name!r}?"
    if not near:
        return ""
    guess = f"{_PREFIX}{model or 'MODEL'}" if near[0] == "transformers" else near[0]
    return f", did you mean {guess!r}?"

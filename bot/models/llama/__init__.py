"""Local models in GGUF files, through llama.cpp: ``LocalVisionChat``.

``chat`` is the LangChain face; ``content`` reads messages, ``template`` lays them out, ``engine``
runs them, ``native`` is the only part that calls llama.cpp, ``files`` looks at model files first,
``streaming`` turns bytes into text. The model runs inside the process that uses it, so a crash in
native code ends that process too; a child process of its own comes with the faster engine.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bot.models.llama.chat import LocalVisionChat
    from bot.models.llama.content import picture_part

__all__ = ["LocalVisionChat", "picture_part"]


def __getattr__(name: str) -> Any:
    if name == "LocalVisionChat":
        from bot.models.llama.chat import LocalVisionChat

        return LocalVisionChat
    if name == "picture_part":
        from bot.models.llama.content import picture_part

        return picture_part
    raise AttributeError(name)

"""Local models in GGUF files, through llama.cpp: ``LocalVisionChat``.

In the program: ``chat`` is the LangChain face, with ``content`` (messages), ``asked`` (settings),
``tools``, ``chunks`` and ``structured`` (answers); ``process`` supervises the model's own process
and speaks to it over ``wire``. In that process: ``worker``, ``engine``, ``template`` (with ``held``
and ``sandbox``) and the parts that ``engine`` joins; only ``native``, ``eyes`` and ``sampler`` call
llama.cpp. ``values`` are what passes between the two.
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

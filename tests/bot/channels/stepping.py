"""A chat model that is led by a test, with other words for other questions."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from pydantic import Field
from scripted_chat import ScriptedChat


class SteppingChat(ScriptedChat):
    """A scripted model that sees pictures. ``by_question`` are other pieces than ``says``, by a
    word of the question."""

    pictures: bool = True
    max_pictures: int = 8
    picture_tokens: int = 100
    says: list[Any] = Field(default_factory=lambda: ["Aye."])
    by_question: dict[str, list[Any]] = Field(default_factory=dict)

    def _pieces(self, messages: list[BaseMessage]) -> Sequence[Any]:
        text = str(messages[-1].text)
        return next((p for word, p in self.by_question.items() if word in text), self.says)

"""Prompts are files; this reads and fills them, and is strict about names.

A prompt is a text file with ``{name}`` where something goes (``{{`` and ``}}`` are braces). A name
the file uses and the caller does not give, or the other way round, is an error when the prompt is
loaded, before any model is asked. Knows nothing of models or of what the words mean.
"""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Formatter

#: every prompt, and the names that it must use
PROMPTS = {
    "answer": frozenset[str](),
    "caption": frozenset[str](),
    "condense": frozenset({"turns", "question"}),
    "question": frozenset({"sources", "question"}),
    "summarise": frozenset({"before", "turns"}),
    "summary": frozenset({"last", "text"}),
    "source": frozenset({"number", "kind", "name", "text"}),
}


class PromptError(Exception):
    """A prompt file is missing, or uses other names than it is given."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that was checked: ``render`` needs exactly ``names``."""

    name: str
    text: str
    names: frozenset[str]

    def render(self, **values: object) -> str:
        """Return the text with every name filled in; ``PromptError`` for a missing or extra one."""
        if values.keys() != self.names:
            raise PromptError(
                f"prompt {self.name}: needs {sorted(self.names)}, was given {sorted(values)}"
            )
        return self.text.format_map({k: str(v) for k, v in values.items()})


def load_prompt(name: str, folder: Path | None = None) -> Prompt:
    """Return the prompt ``name``: from ``folder`` when it has a file of that name, else our own."""
    if name not in PROMPTS:
        raise PromptError(f"prompt {name}: unknown; known: {', '.join(sorted(PROMPTS))}")
    own = folder / f"{name}.md" if folder else None
    try:
        if folder is not None and not folder.is_dir():
            raise PromptError(f"prompts {folder}: no such folder")
        if own is not None and own.is_file():
            text = own.read_text("utf-8")
        else:
            text = resources.files(__name__).joinpath(f"{name}.md").read_text("utf-8")
        names = frozenset(_fields(text))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise PromptError(f"prompt {own or name}: {error}") from error
    if names != PROMPTS[name]:
        raise PromptError(
            f"prompt {own or name}: uses {sorted(names)}, must use {sorted(PROMPTS[name])}"
        )
    return Prompt(name, text.strip("\n"), names)


def _fields(text: str) -> list[str]:
    """Return the names in ``text``; attributes, indexes and formats are not allowed."""
    found = []
    for _, field, spec, conversion in Formatter().parse(text):
        if field is None:
            continue
        if not field.isidentifier() or spec or conversion:
            raise ValueError(f"{{{field}}} is not a plain name")
        found.append(field)
    return found

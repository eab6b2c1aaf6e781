"""Cuts a long answer into messages of a channel, where it hurts least. Pure functions.

Blocks (paragraphs, list items, table rows, code blocks) are packed into as few messages as hold
them. Only a block that is longer than a message is cut itself: code between lines, and each part of
it is a code block of the same language; text between lines, sentences, then words, a link, inline
code, bold text and a mark ``[1]`` counting as part of a word. Nothing is left out but white space
at the cuts. Knows nothing of any channel.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})([^\n`]*)$")
_STARTS = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,9}[.)])[ \t]+|^[ \t]*\||^#{1,6} |^[ \t]*>")
_WIDE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"  # written without spaces
#: What is never cut unless it is longer than a message: links, inline code, bold, words, and the
#: marks behind them
_ATOM = re.compile(
    rf"(?:[{_WIDE}]|(?:"
    r"!?\[[^\[\]\n]{0,400}\]\([^()\s]{0,2000}\)"
    r"|`[^`\n]{1,400}`"
    r"|\*\*[^*\n]{1,400}\*\*|\*[^\s*][^*\n]{0,400}\*|~~[^~\n]{1,400}~~|\|\|[^|\n]{1,400}\|\|"
    r"|(?<!\w)__?[^_\n]{1,400}__?(?!\w)"
    r"|<[^<>\s]{1,2000}>"
    r"|\[\d{1,3}\]"
    rf"|[^\s`*<\[~|{_WIDE}]+|[^\s{_WIDE}])+)"
    r"[、。，．！？：；」』】）》”’]*(?:[ \t]?\[\d{1,3}\])*"
)
_SENTENCE_ENDS = re.compile(r"[.!?。！？:;][\"'”’)\]]*(?:[ \t]?\[\d{1,3}\])*$")
LEAST = 40  #: characters that a message holds at least, so that a code block fits around some code


@dataclass(slots=True)
class _Block:
    """Lines that belong together; ``gap`` is what stands before them."""

    text: str
    gap: str = "\n"
    opening: str = ""  #: of a code block: its first line
    closing: str = ""


def split(markdown: str, most: int) -> list[str]:
    """Return the text as messages of at most ``most`` characters, none of them empty.

    A code block that is not closed is closed. ``most`` is 40 or more.
    """
    if most < LEAST:
        raise ValueError(f"messages of {most} characters; give {LEAST} or more")
    messages: list[str] = []
    current = ""
    for block in _blocks(markdown, most // 4):
        if current and len(current) + len(block.gap) + len(block.text) <= most:
            current += block.gap + block.text
            continue
        if current:
            messages.append(current)
            current = ""
        *whole, current = _cut(block, most)
        messages += whole
    if current:
        messages.append(current)
    return messages


def _blocks(markdown: str, fences: int) -> Iterator[_Block]:
    """Yield the blocks of a text, in order; ``fences`` is how long a line may be that opens a code
    block."""
    lines: list[str] = []
    gap, closing = "", ""
    for line in [*markdown.replace("\r\n", "\n").split("\n"), None]:
        fence = _FENCE.match(line) if line is not None and len(line) <= fences else None
        if closing:  # inside of a code block
            if line is not None and not _closes(line, closing.strip()):
                lines.append(line)
                continue
            yield _Block("\n".join([*lines, closing]), gap, lines[0], closing)
            lines, gap, closing = [], "\n", ""
            continue
        if lines and (line is None or not line.strip() or fence or _STARTS.match(line)):
            yield _Block("\n".join(lines), gap)
            lines, gap = [], "\n"
        if line is None:
            return
        if fence:
            closing = fence[1] + fence[2]
            lines = [line]
        elif line.strip():
            lines.append(line)
        else:
            gap = "\n\n"


def _closes(line: str, fence: str) -> bool:
    found = line.strip()
    return len(found) >= len(fence) and found == fence[0] * len(found)


def _cut(block: _Block, most: int) -> list[str]:
    """Return a block in pieces of at most ``most`` characters."""
    if len(block.text) <= most:
        return [block.text]
    if block.opening:
        return _cut_code(block, most)
    pieces = [""]
    for line in block.text.split("\n"):
        for gap, words in _sentences(line):
            _pack(pieces, words, gap, most)
    return pieces


def _sentences(line: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the sentences of a line, each with what stands before it, as words with what stands
    before each."""
    words: list[tuple[str, str]] = []
    end, first = 0, True
    for match in _ATOM.finditer(line):
        words.append((line[end : match.start()], match[0]))
        end = match.end()
        if _SENTENCE_ENDS.search(match[0]):
            yield ("\n" if first else words[0][0]), words
            words, first = [], False
    if words:
        yield ("\n" if first else words[0][0]), words


def _pack(pieces: list[str], words: list[tuple[str, str]], gap: str, most: int) -> None:
    """Append a sentence to the last piece, or to new ones, whole where it fits."""
    indent = words[0][0] if gap == "\n" else ""
    sentence = indent + words[0][1] + "".join(before + word for before, word in words[1:])
    if not pieces[-1] or len(pieces[-1]) + len(gap) + len(sentence) <= most:
        if len(pieces[-1]) + len(gap) + len(sentence) <= most:
            pieces[-1] += (gap if pieces[-1] else "") + sentence
            return
    elif len(sentence) <= most:
        pieces.append(sentence)
        return
    for number, (before, word) in enumerate(words):
        space = before if number else gap
        if pieces[-1] and len(pieces[-1]) + len(space) + len(word) <= most:
            pieces[-1] += space + word
            continue
        parts = [word[at : at + most] for at in range(0, len(word), most)]
        if pieces[-1]:
            pieces.append("")
        pieces[-1] = parts[0]
        pieces += parts[1:]


def _cut_code(block: _Block, most: int) -> list[str]:
    """Return a code block as several of the same language."""
    opening, closing = block.opening, block.closing
    room = most - len(opening) - len(closing) - 2
    code = block.text.split("\n")[1:-1]
    lines = [line[at : at + room] for line in code for at in range(0, max(1, len(line)), room)]
    parts: list[list[str]] = [[]]
    size = 0
    for line in lines:
        if parts[-1] and size + len(line) + 1 > room:
            parts.append([])
            size = 0
        parts[-1].append(line)
        size += len(line) + 1
    return ["\n".join([opening, *part, closing]) for part in parts]

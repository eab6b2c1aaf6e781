"""What an answer rests on, opened: passages, pictures with their boxes, and the whole ledger.

Knows nothing of how it was found.
"""

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from bot.events import Answer, Citation
from bot.service.page.drawing import LARGE
from bot.service.page.tab import Tab
from bot.service.page.widgets import card, image
from bot.show import plain, source_name, where

COLOURS = "#2f7d84 #c07a3a #7a6aa8 #5b8a72 #a85b6a #6a7f9a #b0a040 #4f6d3a".split()
NAME = 28  #: characters of a source's name in the chart


async def cited_picture(tab: Tab, citation: Citation, side: int) -> str:
    """Return the picture that a citation points at, its box drawn on it."""
    if citation.picture is not None:
        return await tab.picture(citation.picture, side, citation.box)
    assert citation.media is not None
    return await tab.media(citation.media, side, citation.box)


async def open_picture(tab: Tab, number: int) -> None:
    """Open a picture of the conversation."""
    address = await tab.picture(number, LARGE)
    with card(f"Picture {number}", "card large"):
        image(address, f"Picture {number}").classes("whole")


async def open_citation(tab: Tab, citations: Sequence[Citation]) -> None:
    """Open what a mark points at."""
    first = citations[0]
    if first.kind == "picture":
        address = await cited_picture(tab, first, LARGE)
        with card(where(first), "card large"):
            image(address, f"Source {first.mark}: {where(first)}").classes("whole boxed")
            if first.quote:
                ui.label(plain(first.quote)).classes("quote")
        return
    around = await tab.passages(first.evidence_id)
    with card(where(first), "card large"):
        for item, meant in around:
            with ui.element("blockquote").classes("passage meant" if meant else "passage"):
                if item.heading:
                    ui.label(plain(item.heading)).classes("hint")
                quotes = [c.quote for c in citations if c.quote] if meant else []
                _passage(plain(item.text or item.caption), quotes)


def _passage(text: str, quotes: Sequence[str]) -> None:
    """Show a passage, the words that were quoted marked in it."""
    spans = sorted((text.find(plain(q)), len(plain(q))) for q in quotes if plain(q) in text)
    with ui.element("div").classes("pre"):
        at = 0
        for start, length in spans:
            if start < at:
                continue
            _words(text[at:start])
            with ui.element("mark"):
                _words(text[start : start + length])
            at = start + length
        _words(text[at:])


def _words(text: str) -> None:
    if text:
        ui.label(text).classes("inline")


async def open_why(tab: Tab, answer: Answer) -> None:
    """Open the ledger of an answer: everything that was found, and what became of it."""
    pictures = [c for c in answer.citations if c.kind == "picture"]
    drawn = await cited_picture(tab, pictures[0], LARGE // 2) if pictures else None
    with card("Why this answer", "card large why"):
        _how(answer)
        if answer.evidence:
            _chart(answer)
            _table(answer)
        else:
            ui.label("Nothing was found in the library.").classes("hint")
        if drawn is not None:
            image(drawn, f"Source {pictures[0].mark}: {where(pictures[0])}").classes("whole boxed")


def _how(answer: Answer) -> None:
    lines = [f"Written by {answer.model}" if answer.model else ""]
    if not answer.found:
        lines.append("Nothing in the library answers this")
    if answer.searched:
        lines.append(f"Searched for: {answer.searched}")
    for one in answer.references:
        numbers = ", ".join(map(str, one.pictures)) or "none"
        shown = f" (shown to the model: {', '.join(map(str, one.shown))})" if one.shown else ""
        sure = "" if one.sure else "perhaps "
        lines.append(f"“{one.phrase}” → {sure}picture {numbers}{shown}")
    if total := answer.timings.get("total"):
        steps = ", ".join(f"{k} {v:.0f}" for k, v in answer.timings.items() if k != "total")
        lines.append(f"{total:.0f} ms ({steps})")
    for line in filter(None, lines):
        ui.label(plain(line)).classes("hint")


def _retrievers(answer: Answer) -> list[str]:
    return list(dict.fromkeys(name for e in answer.evidence for name in e.evidence.scores))


def _chart(answer: Answer) -> None:
    """Draw which retriever found what, each score as a share of that retriever's best: their own
    scales have nothing in common, and stand in the table."""
    entries = answer.evidence[:12]
    best = {
        name: max(max(e.evidence.scores.get(name, 0.0) for e in answer.evidence), 1e-9)
        for name in _retrievers(answer)
    }
    names = [f"{e.number} {source_name(e.evidence.source)[:NAME]}" for e in entries]
    series: list[dict[str, Any]] = [
        {"name": name, "type": "bar", "barMaxWidth": 14,
         "data": [round(100 * max(0.0, e.evidence.scores.get(name, 0.0)) / most) for e in entries]}
        for name, most in best.items()
    ]  # fmt: skip
    options = {
        "animation": False,
        "aria": {"enabled": True},
        "color": COLOURS,
        "grid": {"left": 8, "right": 16, "top": 36, "bottom": 8, "containLabel": True},
        "legend": {"top": 0, "type": "scroll", "textStyle": {"color": "#888"}},
        "tooltip": {"trigger": "axis", "renderMode": "richText"},  # names are words, not HTML
        "xAxis": {"type": "value", "min": 0, "max": 100, "interval": 50,
                  "axisLabel": {"color": "#888", "formatter": "{value} %"},
                  "splitLine": {"lineStyle": {"color": "#8883"}}},
        "yAxis": {
            "type": "category", "inverse": True, "data": names,
            "axisLabel": {"color": "#888", "width": 150, "overflow": "truncate"},
        },
        "series": series,
    }  # fmt: skip
    height = 60 + 26 * len(entries) + 8 * len(entries) * max(0, len(series) - 1)
    chart = ui.echart(options, renderer="svg").style(f"height: {min(height, 520)}px")
    chart.classes("chart").props('role="img" aria-label="Scores by retriever"')


def _table(answer: Answer) -> None:
    retrievers = _retrievers(answer)
    columns = [
        {"name": key, "label": label, "field": key, "align": align}
        for key, label, align in (
            ("number", "#", "left"), ("source", "Source", "left"), ("page", "Page", "right"),
            ("kind", "Kind", "left"), ("score", "Score", "right"),
            *((f"s{at}", name, "right") for at, name in enumerate(retrievers)),
            ("prompt", "In prompt", "left"), ("pixels", "Pixels shown", "left"),
            ("cited", "Cited", "left"),
        )
    ]  # fmt: skip
    rows = [
        {
            "number": e.number,
            "source": source_name(e.evidence.source),
            "page": "" if e.evidence.page is None else e.evidence.page,
            "kind": e.evidence.kind,
            "score": f"{e.evidence.score:.3f}",
            **{f"s{at}": f"{e.evidence.scores[name]:.3f}" if name in e.evidence.scores else "–"
               for at, name in enumerate(retrievers)},
            "prompt": _yes(e.in_prompt),
            "pixels": _yes(e.pixels_shown),
            "cited": _yes(e.cited),
        }
        for e in answer.evidence
    ]  # fmt: skip
    table = ui.table(columns=columns, rows=rows, row_key="number", pagination=0)
    table.props('dense flat hide-pagination aria-label="Evidence"').classes("ledger")


def _yes(value: bool) -> str:
    return "yes" if value else "no"

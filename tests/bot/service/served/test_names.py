"""What sources and models are called where it leaves this machine."""

from pathlib import Path

import pytest

from bot.events import Answer, Citation
from bot.service.served.bot import shown_answer, shown_turn
from bot.service.served.names import Names, model_name
from memory.messages import Message, Turn

FOLDER = Path("/srv/secret/library")
SOURCES = ["/srv/secret/a/same.md", "/srv/secret/b/same.md", f"{FOLDER}/uploads/same.md",
           "/srv/secret/b/alone.pdf", "notes"]  # fmt: skip


def test_each_source_has_one_name_and_each_name_one_source() -> None:
    names = Names.of(FOLDER, SOURCES)
    shown = [names.shown(source) for source in SOURCES]
    assert len(set(shown)) == len(SOURCES)
    assert [names.real(name) for name in shown] == SOURCES
    assert shown[2:] == ["same.md", "alone.pdf", "notes"]
    assert not any("/" in name for name in shown)


def test_a_source_that_is_gone_goes_by_its_files_name() -> None:
    assert Names.of(FOLDER, []).shown("/srv/secret/c/gone.md") == "gone.md"
    assert Names.of(FOLDER, []).real("gone.md") is None


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("llama:/srv/secret/m.gguf+/srv/secret/p.gguf", "llama:m.gguf+p.gguf"),
        ("llama:qwen3-vl-2b", "llama:qwen3-vl-2b"),
        ("openai:Qwen/Qwen3-VL", "openai:Qwen/Qwen3-VL"),
        ("extractive", "extractive"),
        ("", ""),
    ],
)
def test_a_model_of_files_goes_by_their_names(given: str, shown: str) -> None:
    assert model_name(given) == shown


def test_no_folder_is_left_in_an_answer_nor_in_a_stored_turn() -> None:
    names = Names(FOLDER, root=Path("/srv/secret/libraries"))
    model = "llama:/srv/secret/m.gguf"
    told = (
        f"the model {model} takes no pictures",
        f"picture 3f: its file is gone from {FOLDER}/media; ingest again",
        "picture 3f: its file is gone from /srv/secret/libraries/other/media",
        f"{SOURCES[0]} could not be read",
    )
    citation = Citation(1, "passage", "passage:1", SOURCES[0])
    answer = Answer("A [1]", citations=(citation,), notices=told, model=model)
    assert "/srv" not in str(shown_answer(answer, names).to_json())
    ledger = {"model": model, "notices": list(told), "evidence": [{"source": SOURCES[1]}]}
    turn = Turn("t", Message("q"), Message("a"), 1.0, (citation.to_json(),), ledger)
    assert "/srv" not in str(shown_turn(turn, names).to_json())

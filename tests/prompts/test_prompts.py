"""Prompts are files, strict about names."""

from pathlib import Path

import pytest

from prompts import PROMPTS, PromptError, load_prompt


@pytest.mark.parametrize("name", sorted(PROMPTS))
def test_every_prompt_that_is_named_is_there_and_uses_just_its_names(name: str) -> None:
    assert load_prompt(name).names == PROMPTS[name]


def test_a_missing_name_is_an_error() -> None:
    with pytest.raises(PromptError, match=r"needs .*'question', 'sources'"):
        load_prompt("question").render(question="?")


def test_an_extra_name_is_an_error() -> None:
    with pytest.raises(PromptError, match=r"was given .*'tone'"):
        load_prompt("answer").render(tone="kind")


def test_a_folder_replaces_the_prompts_that_it_has_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "question.md").write_text("Q: {question}\nS: {sources}")
    assert load_prompt("question", tmp_path).render(question="a", sources="b") == "Q: a\nS: b"
    assert load_prompt("answer", tmp_path).text == load_prompt("answer").text


def test_a_replacement_that_uses_other_names_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "question.md").write_text("{question} {evidence}")
    with pytest.raises(PromptError, match=r"question\.md: uses"):
        load_prompt("question", tmp_path)


@pytest.mark.parametrize("field", ["{question.__class__}", "{question[0]}", "{question!r}"])
def test_a_replacement_cannot_reach_into_values(tmp_path: Path, field: str) -> None:
    (tmp_path / "question.md").write_text(field + "{sources}")
    with pytest.raises(PromptError, match=r"not a plain name|uses"):
        load_prompt("question", tmp_path)


def test_braces_in_values_stay_as_they_are() -> None:
    rendered = load_prompt("question").render(sources="{x}", question="{question}")
    assert "{x}" in rendered
    assert "{question}" in rendered


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"no such folder"):
        load_prompt("answer", tmp_path / "none")

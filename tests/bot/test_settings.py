"""Settings are one frozen value from a file, the environment and keywords."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from bot import Settings, SettingsError


def test_later_wins_file_then_environment_then_keywords(tmp_path: Path) -> None:
    file = tmp_path / "bifocal.toml"
    file.write_text('model = "file"\nevidence = 3\nfusion = "attention"\n')
    environ = {"BIFOCAL_MODEL": "env", "BIFOCAL_EVIDENCE": "4", "HOME": "/"}
    settings = Settings.load(environ=environ, file=file, model="keyword")
    assert (settings.model, settings.evidence, settings.fusion) == ("keyword", 4, "attention")


def test_weights_come_from_the_environment_as_pairs() -> None:
    settings = Settings.load(environ={"BIFOCAL_WEIGHTS": "bm25=0.8, dense=0.2"})
    assert settings.weights == {"bm25": 0.8, "dense": 0.2}


def test_a_value_that_cannot_be_used_is_named_in_one_line() -> None:
    with pytest.raises(SettingsError, match=r"^setting evidence: 'many' .*integer") as caught:
        Settings.load(environ={"BIFOCAL_EVIDENCE": "many"})
    assert "\n" not in str(caught.value)


def test_an_unknown_setting_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(SettingsError, match="did you mean evidence"):
        Settings.load(evidnce=3)


def test_an_unknown_name_in_the_environment_is_refused_but_for_that_of_the_file() -> None:
    assert Settings.load(environ={"BIFOCAL_CONFIG": "x"}) == Settings.load()
    with pytest.raises(SettingsError, match="did you mean model"):
        Settings.load(environ={"BIFOCAL_MODLE": "x"})


def test_model_options_come_from_the_environment_as_json_and_are_never_shown() -> None:
    environ = {"BIFOCAL_MODEL_OPTIONS": '{"temperature": 0.2}'}
    assert Settings.load(environ=environ).model_options == {"temperature": 0.2}
    with pytest.raises(SettingsError) as caught:
        Settings.load(environ={"BIFOCAL_MODEL_OPTIONS": "api_key=hunter2"})
    assert "hunter2" not in str(caught.value)


def test_the_names_of_fusions_and_runs_are_those_that_there_are() -> None:
    from retrievers.evidence import Query
    from retrievers.fusion import FUSIONS, RUNS, default_weights

    for name in FUSIONS:
        assert Settings.load(fusion=name).fusion == name
    with pytest.raises(SettingsError, match="attention"):
        Settings.load(fusion="sum")
    query = Query(text="x", picture_words="x", vectors={"look": np.zeros((1, 2), np.float32)})
    assert set(default_weights(None, None, query)) <= set(RUNS)


def test_a_file_that_is_not_there_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: no such settings file"):
        Settings.load(file=tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("model = ")
    with pytest.raises(SettingsError, match=r"bad\.toml: not a readable TOML file"):
        Settings.load(file=tmp_path / "bad.toml")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().model = "x"  # type: ignore[misc]


def test_no_secret_is_shown() -> None:
    settings = Settings.load(redis_url="redis://:hunter2@h", model_key="sk-hunter2")
    assert "hunter2" not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        Settings.load(redis_url=["hunter2"])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("30d", 2_592_000), ("12h", 43_200), (" 5m ", 300), ("1.5s", 1.5), ("90", 90), (90, 90)],
)
def test_a_lifetime_is_read_in_seconds_or_with_its_unit(said: object, seconds: float) -> None:
    """From a keyword, the environment or the file."""
    assert Settings.load(pictures_ttl=said).pictures_ttl == seconds
    assert Settings.load(environ={"BIFOCAL_TURNS_TTL": str(said)}).turns_ttl == seconds


@pytest.mark.parametrize("said", ["", "0", "-1d", "xd", "d", "nan", "inf", "3 weeks", [1]])
def test_a_lifetime_that_is_none_is_one_line(said: object) -> None:
    """It names the setting and the value."""
    with pytest.raises(SettingsError, match="setting captions_ttl"):
        Settings.load(captions_ttl=said)


def test_channels_are_tables_of_their_own_and_their_tokens_are_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "bifocal.toml"
    file.write_text('[slack]\nlibraries = {T1 = "handbook"}\n[webhook]\ndrafts = true\n')
    environ = {
        "BIFOCAL_SLACK_BOT_TOKEN": "xoxb-hunter2",
        "BIFOCAL_DISCORD_TOKEN": "hunter2",
        "BIFOCAL_DISCORD_LIBRARIES": "7=papers, 7/8=handbook",
    }
    settings = Settings.load(environ=environ, file=file)
    assert settings.slack.libraries == {"T1": "handbook"}
    assert settings.discord.libraries == {"7": "papers", "7/8": "handbook"}
    assert settings.webhook.drafts
    assert settings.slack.bot_token is not None
    assert settings.slack.bot_token.get_secret_value() == "xoxb-hunter2"
    assert "hunter2" not in repr(settings)
    for table in ({"secret": "hunter2"}, {"secret": ["hunter2"]}, {"secrets": "hunter2"}):
        with pytest.raises(SettingsError, match=r"setting webhook\.secret") as caught:
            Settings.load(webhook=table)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(SettingsError, match=r"did you mean slack\.bot_token"):
        Settings.load(slack={"bottoken": "x"})

"""Models of this machine: only files that are what they must be are ever named to the loader."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bot.errors import ModelError
from bot.models import catalog
from bot.models.catalog import CatalogModel, PinnedFile
from bot.models.choose import load_model, pick
from bot.models.store import ModelStore
from bot.settings import Settings
from bot.status import read_status
from retrievers.library import Library

Hub = Any  # see conftest
REVISION = "0" * 40


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """A store that holds nothing."""
    return ModelStore(tmp_path / "models")


@pytest.fixture
def pair(pocket: ModuleType, tmp_path: Path) -> tuple[Path, Path]:
    """A text model and its projector that a test may change."""
    folder = tmp_path / "own files"
    folder.mkdir()
    text = pocket.make_text_model(folder / "tiny.gguf")
    return text, pocket.make_projector(folder / "mmproj-tiny.gguf")


@pytest.fixture
def entry(hub: Hub, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> CatalogModel:
    """A small model that the hub has, in a catalogue of its own."""
    pins = []
    for path, name in zip(pair, ("text.gguf", "mmproj-text.gguf"), strict=True):
        data = path.read_bytes()
        hub.files[name] = data
        digest = hashlib.sha256(data).hexdigest()
        pins.append(PinnedFile("org/repo", REVISION, name, len(data), digest))
    text, projector = pins
    made = CatalogModel("little", "Little", "small", "Apache-2.0", text, projector, 10, 4096)
    monkeypatch.setattr(catalog, "CATALOG", (made,))
    return made


def flip(path: Path) -> None:
    """Change one bit in the middle, and put size and time of change back as they were."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def reads(store: ModelStore, name: str) -> list[str]:
    """Return the files that resolving a name reads through."""
    read: list[str] = []
    store.resolve(name, lambda file, done, size: read.append(file))
    return sorted(set(read))


class TestPulled:
    def test_a_pulled_model_resolves_to_its_two_files(
        self, hub: Hub, entry: CatalogModel, store: ModelStore
    ) -> None:
        store.pull(entry)
        home = store.folder / "little"
        assert store.resolve("little") == f"{home / 'text.gguf'}+{home / 'mmproj-text.gguf'}"
        assert len(hub.asked) == 2

    def test_pulled_again_it_is_checked_and_not_fetched(
        self, hub: Hub, entry: CatalogModel, store: ModelStore
    ) -> None:
        store.pull(entry)
        store.pull(entry)
        assert len(hub.asked) == 2

    def test_a_wrong_hash_leaves_no_model(
        self, hub: Hub, entry: CatalogModel, store: ModelStore
    ) -> None:
        hub.files["mmproj-text.gguf"] = bytes(len(hub.files["mmproj-text.gguf"]))
        with pytest.raises(ModelError, match=r"mmproj-text\.gguf: what was fetched has the SHA"):
            store.pull(entry)
        assert store.models() == []
        with pytest.raises(ModelError, match="not on this machine yet"):
            store.resolve("little")

    def test_without_a_network_one_line_names_both_addresses_and_the_folder(
        self, entry: CatalogModel, store: ModelStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
        with pytest.raises(ModelError, match=r"^little: .* cannot be reached") as caught:
            store.pull(entry)
        said = str(caught.value)
        assert "\n" not in said
        for wanted in (
            f"http://127.0.0.1:1/org/repo/resolve/{REVISION}/text.gguf",
            f"http://127.0.0.1:1/org/repo/resolve/{REVISION}/mmproj-text.gguf",
            str(store.folder / "little"),
        ):
            assert wanted in said

    def test_files_put_there_by_hand_are_checked_and_taken_in(
        self, hub: Hub, entry: CatalogModel, store: ModelStore
    ) -> None:
        home = store.folder / "little"
        home.mkdir(parents=True)
        for name, data in hub.files.items():
            (home / name).write_bytes(data)
        assert store.resolve("little").endswith("mmproj-text.gguf")
        assert hub.asked == []
        assert [model.source for model in store.models()] == ["catalogue"]

    def test_a_file_put_there_by_hand_that_is_another_one_is_refused(
        self, hub: Hub, entry: CatalogModel, store: ModelStore
    ) -> None:
        home = store.folder / "little"
        home.mkdir(parents=True)
        for name, data in hub.files.items():
            (home / name).write_bytes(data[:-1] + b"?")
        with pytest.raises(ModelError, match="damaged, or another file; delete it"):
            store.resolve("little")
        assert store.models() == []

    def test_both_files_must_fit_on_the_disk_before_one_is_asked_for(
        self, hub: Hub, entry: CatalogModel, store: ModelStore
    ) -> None:
        large = replace(entry, projector=replace(entry.projector, size=10**15))
        with pytest.raises(ModelError, match="GB of disk are needed"):
            store.pull(large)
        assert hub.asked == []

    def test_a_removed_model_takes_its_files_with_it(
        self, entry: CatalogModel, store: ModelStore
    ) -> None:
        store.pull(entry)
        store.remove("little")
        assert list(store.folder.iterdir()) == []


class TestVerified:
    def test_a_flipped_byte_is_refused_before_anything_of_llama_cpp_is_loaded(
        self, pair: tuple[Path, Path], store: ModelStore
    ) -> None:
        """Size and time of change are those of before; in a process of its own, to see what was
        loaded."""
        store.add("mine", *pair)
        flip(pair[0])
        code = (
            "import sys; from pathlib import Path; from bot.models.choose import load_model\n"
            "try: load_model('llama:mine', models=Path(sys.argv[1]))\n"
            "except Exception as error: print(error)\n"
            "print([m for m in sys.modules if m.startswith(('llama_cpp', 'bot.models.llama.'))])"
        )
        command = [sys.executable, "-c", code, str(store.folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        said, loaded = done.stdout.splitlines()
        assert said.startswith(f"model mine: {pair[0]}: its SHA-256 is ")
        assert "`bifocal models remove mine`, and add it again if you trust its files" in said
        assert loaded == "[]"

    def test_a_flipped_byte_in_a_pulled_projector_is_refused(
        self, entry: CatalogModel, store: ModelStore
    ) -> None:
        store.pull(entry)
        flip(store.folder / "little" / "mmproj-text.gguf")
        with pytest.raises(ModelError, match=r"delete it, and `bifocal models pull little` fetch"):
            store.resolve("little")

    def test_a_file_that_was_swapped_for_another_is_refused(
        self, pair: tuple[Path, Path], store: ModelStore, tmp_path: Path
    ) -> None:
        store.add("mine", *pair)
        other = tmp_path / "other"
        other.write_bytes(pair[1].read_bytes()[:-1] + b"?")
        other.replace(pair[1])
        with pytest.raises(ModelError, match="SHA-256"):
            store.resolve("mine")

    def test_a_refused_file_stays_refused(self, pair: tuple[Path, Path], store: ModelStore) -> None:
        store.add("mine", *pair)
        flip(pair[0])
        for _ in range(2):
            with pytest.raises(ModelError, match="SHA-256"):
                store.resolve("mine")

    def test_a_file_is_read_again_only_when_it_looks_changed(
        self, pair: tuple[Path, Path], store: ModelStore
    ) -> None:
        store.add("mine", *pair)
        assert reads(store, "mine") == []
        os.utime(pair[0])
        assert reads(store, "mine") == ["tiny.gguf"]
        assert reads(store, "mine") == []

    def test_a_projector_that_comes_to_lie_beside_a_text_model_is_not_taken_along(
        self, pair: tuple[Path, Path], store: ModelStore, tmp_path: Path
    ) -> None:
        alone = tmp_path / "alone" / "tiny.gguf"
        alone.parent.mkdir()
        alone.write_bytes(pair[0].read_bytes())
        store.add("blind", alone)
        assert store.resolve("blind") == str(alone)
        (alone.parent / "mmproj-any.gguf").write_bytes(pair[1].read_bytes())
        with pytest.raises(ModelError, match=r"mmproj-any\.gguf was not there when it was added"):
            store.resolve("blind")

    def test_a_file_that_is_gone_is_named(self, pair: tuple[Path, Path], store: ModelStore) -> None:
        store.add("mine", *pair)
        pair[1].unlink()
        with pytest.raises(ModelError, match=r"model mine: .*mmproj-tiny\.gguf is gone"):
            store.resolve("mine")


class TestAdded:
    def test_files_stay_where_they_are_and_the_record_holds_their_hashes(
        self, pair: tuple[Path, Path], store: ModelStore
    ) -> None:
        store.add("mine", *pair)
        assert store.resolve("mine") == f"{pair[0]}+{pair[1]}"
        record = json.loads((store.folder / "mine" / "model.json").read_text())
        digest = hashlib.sha256(pair[0].read_bytes()).hexdigest()
        assert (record["text"]["sha256"], record["text"]["size"]) == (
            digest,
            pair[0].stat().st_size,
        )
        store.remove("mine")
        assert pair[0].exists()
        assert pair[1].exists()

    def test_the_projector_beside_the_text_model_is_found(
        self, pair: tuple[Path, Path], store: ModelStore
    ) -> None:
        model = store.add("mine", pair[0])
        assert model.projector is not None
        assert model.projector.path == str(pair[1])

    def test_it_loads_and_answers(self, pair: tuple[Path, Path], store: ModelStore) -> None:
        store.add("mine", *pair)
        model = load_model("llama:mine", models=store.folder, options={"threads": 1})
        assert model.invoke("Hello").text
        model.close()  # type: ignore[attr-defined]

    @pytest.mark.parametrize("swapped", [True, False])
    def test_files_in_the_wrong_place_are_told_apart_by_their_headers(
        self, pair: tuple[Path, Path], store: ModelStore, swapped: bool
    ) -> None:
        given = (pair[1], pair[0]) if swapped else (pair[0], pair[0])
        with pytest.raises(ModelError, match="projector"):
            store.add("mine", *given)
        assert store.models() == []

    def test_what_is_no_model_is_not_added(self, store: ModelStore, tmp_path: Path) -> None:
        (tmp_path / "notes.gguf").write_text("not a model")
        with pytest.raises(ModelError, match=r"notes\.gguf: not a GGUF file"):
            store.add("mine", tmp_path / "notes.gguf")
        with pytest.raises(ModelError, match="no such file"):
            store.add("mine", tmp_path / "none.gguf")

    @pytest.mark.parametrize(
        "name",
        [
            *("", ".", "..", "../x", "a/b", "a\\b", "/etc", "x.gguf", ".hidden", "-x", "a b"),
            *("a\n", "é", "a" * 65, "a.", "model.json/.."),
        ],
    )
    def test_a_name_that_could_leave_the_folder_is_refused_everywhere(
        self, store: ModelStore, pair: tuple[Path, Path], name: str
    ) -> None:
        calls: tuple[Callable[[], Any], ...] = (
            lambda: store.add(name, *pair),
            lambda: store.resolve(name),
            lambda: store.use(name),
            lambda: store.remove(name),
        )
        for call in calls:
            with pytest.raises(ModelError, match="a name is letters"):
                call()
        assert pair[0].exists()

    def test_a_name_that_is_taken_is_refused(
        self, store: ModelStore, pair: tuple[Path, Path]
    ) -> None:
        store.add("mine", *pair)
        with pytest.raises(ModelError, match="`bifocal models remove mine` first"):
            store.add("mine", *pair)
        with pytest.raises(ModelError, match="the catalogue has a model of this name"):
            store.add("Qwen3-VL-2B", *pair)


class TestChosen:
    def test_nothing_there_is_told_with_the_way_to_one(self, store: ModelStore) -> None:
        assert pick("auto", store.folder) == (
            "extractive",
            "no local model is present; `bifocal models pull NAME` adds one",
        )
        assert load_model("auto", models=store.folder)._llm_type == "extractive"
        assert not store.folder.exists()

    def test_the_model_that_was_added_last_is_used_until_one_is_named(
        self, store: ModelStore, pair: tuple[Path, Path]
    ) -> None:
        store.add("first", *pair)
        store.add("second", *pair)
        assert pick("auto", store.folder)[0] == "llama:second"
        store.use("first")
        assert pick("auto", store.folder) == ("llama:first", "named by `bifocal models use`")
        store.remove("first")
        assert pick("auto", store.folder)[0] == "llama:second"

    def test_a_model_whose_files_are_gone_is_passed_over_and_said(
        self, store: ModelStore, pair: tuple[Path, Path], tmp_path: Path
    ) -> None:
        store.add("good", *pair)
        gone = tmp_path / "gone.gguf"
        gone.write_bytes(pair[0].read_bytes())
        store.add("bad", gone)
        store.use("bad")
        gone.unlink()
        name, why = pick("auto", store.folder)
        assert name == "llama:good"
        assert "bad, named by `bifocal models use`, is not there" in why
        pair[0].unlink()
        name, why = pick("auto", store.folder)
        assert name == "extractive"
        assert "lacks" in why

    def test_a_model_that_is_set_is_never_replaced(
        self, store: ModelStore, pair: tuple[Path, Path]
    ) -> None:
        store.add("mine", *pair)
        assert pick("extractive", store.folder) == ("extractive", "set in the settings")

    def test_an_unknown_name_is_told_with_the_nearest_one(
        self, store: ModelStore, pair: tuple[Path, Path]
    ) -> None:
        store.add("mine", *pair)
        with pytest.raises(ModelError, match=r"model mina: unknown; did you mean mine\?"):
            store.resolve("mina")
        with pytest.raises(ModelError, match="model qwen3-vl-2b: not on this machine yet"):
            store.use("qwen3-vl-2b")

    @pytest.mark.parametrize("record", ["", "[]", '{"text": null}', '{"text": {"path": 1}}', "\0"])
    def test_a_damaged_record_is_one_line_and_can_be_removed(
        self, store: ModelStore, pair: tuple[Path, Path], record: str
    ) -> None:
        store.add("mine", *pair)
        (store.folder / "mine" / "model.json").write_text(record)
        for call in (store.models, store.choose, lambda: store.resolve("mine")):
            with pytest.raises(ModelError, match=r"a record that cannot be read; `bifocal models"):
                call()
        store.remove("mine")
        assert store.models() == []


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("auto", "llama:mine: the local model that was added last"),
        ("extractive", "extractive (quotes the sources): set in the settings"),
        ("llama:mine", "llama:mine: set in the settings"),
        ("llama:none", "llama:none: not usable, no model none is on this machine"),
        ("llama:/no/x.gguf", "llama:/no/x.gguf: not usable, /no/x.gguf is not there"),
        ("openai:gpt-5", "openai:gpt-5: set in the settings"),
    ],
)
def test_the_status_tells_who_writes_and_why(
    store: ModelStore, pair: tuple[Path, Path], tmp_path: Path, model: str, said: str
) -> None:
    store.add("mine", *pair)
    Library.open(tmp_path / "lib", create=True).close()
    settings = Settings(library=tmp_path / "lib", models=store.folder, model=model)
    assert read_status(settings)["writer"].startswith(said)

"""The models of this machine: which there are, which one is used, and that their files are whole.

A folder holds one folder for each model, with a small record, ``model.json``; files that were
pulled lie beside it, files that were added stay where they are. A name is turned into files here
and only here, and only after their SHA-256 was found to be the one on record: in full the first
time, and again whenever a file's size, times or inode changed. Knows nothing of how models run.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from platformdirs import user_data_path

from bot.errors import ModelError
from bot.models.catalog import CatalogModel, find, names
from bot.models.download import Unreachable, check, check_room, fetch, hash_file, hub

RECORD, CHOSEN = "model.json", "in-use"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Progress = Callable[[str, int, int], None]
"""Called with a file's name, the bytes of it that are done, and its size in bytes."""


def quiet(name: str, done: int, size: int) -> None:
    """Report no progress."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file and what it must be; ``seen`` is what it looked like when that was last found true:
    size, modification and change time in nanoseconds, inode."""

    path: str
    size: int
    sha256: str
    seen: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A model of this machine. ``source``: ``catalogue`` (its hashes were pinned before it was
    fetched) or ``added`` (they are those that the files had when they were added)."""

    name: str
    source: Literal["catalogue", "added"]
    added: str
    text: StoredFile
    projector: StoredFile | None = None

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """The text model, and its projector if it has one."""
        return (self.text,) if self.projector is None else (self.text, self.projector)

    @property
    def missing(self) -> str | None:
        """The path of a file that is gone, if one is."""
        return next((file.path for file in self.files if not Path(file.path).is_file()), None)

    def spell(self) -> str:
        """Return ``TEXT.gguf`` or ``TEXT.gguf+PROJECTOR.gguf``."""
        return "+".join(file.path for file in self.files)


def usual_folder() -> Path:
    """Return the folder of models in the user's data folder."""
    return user_data_path("bifocal") / "models"


def is_name(text: str) -> bool:
    """Tell whether ``text`` can be a model's name, and so is no file's."""
    return bool(_NAME.fullmatch(text)) and not text.lower().endswith((".gguf", "."))


class ModelStore:
    """The models in ``folder``; nothing is read before it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()

    # what there is

    def models(self) -> list[Stored]:
        """Return all models that were pulled or added, the one added last first."""
        if not self.folder.is_dir():
            return []
        records = sorted(self.folder.glob(f"*/{RECORD}"))
        return sorted((self._read(path) for path in records), key=lambda m: m.added, reverse=True)

    def get(self, name: str) -> Stored | None:
        """Return the model of that name, or None."""
        path = self._home(name) / RECORD
        return self._read(path) if path.is_file() else None

    def choose(self) -> tuple[Stored | None, str]:
        """Return the model to use unless one is named, and why: the one that ``use`` named, else
        the one that was added last, of those whose files are there."""
        models = self.models()
        present = [model for model in models if model.missing is None]
        if not present:
            if models:
                return None, f"the model {models[0].name} lacks {models[0].missing}"
            return None, "no local model is present; `bifocal models pull NAME` adds one"
        named = self._named()
        for model in present:
            if model.name == named:
                return model, "named by `bifocal models use`"
        lost = f"; {named}, named by `bifocal models use`, is not there" if named else ""
        return present[0], f"the local model that was added last{lost}"

    # files of a name

    def resolve(self, name: str, progress: Progress = quiet) -> str:
        """Return ``TEXT.gguf+PROJECTOR.gguf`` of a model whose files are what they must be.

        A model of the catalogue whose files were put into its folder by hand is taken in.
        Raises ``ModelError`` for an unknown name, and for a file that is gone or was changed.
        """
        model = self.get(name)
        if model is None:
            entry = find(name)
            if entry is None or not all((self._home(name) / f).is_file() for f in _parts(entry)):
                raise ModelError(self._unknown(name))
            model = self.pull(entry, progress)
        text = self._check(model, model.text, progress)
        if model.projector is None:
            _check_alone(model)
        projector = model.projector and self._check(model, model.projector, progress)
        checked = replace(model, text=text, projector=projector)
        if checked != model:
            self._write(checked)
        return checked.spell()

    def _check(self, model: Stored, file: StoredFile, progress: Progress) -> StoredFile:
        path = Path(file.path)
        try:
            if (seen := _look(path)) == file.seen:
                return file
            check(path, file.size, file.sha256, _of(path.name, file.size, progress))
        except FileNotFoundError as error:
            raise ModelError(f"model {model.name}: {path} is gone; {_again(model)}") from error
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror}") from error
        except ModelError as error:
            raise ModelError(f"model {model.name}: {error}; {_again(model)}") from error
        return replace(file, seen=seen)

    # changes

    def pull(self, entry: CatalogModel, progress: Progress = quiet) -> Stored:
        """Fetch both files of a catalogue's model, or check those that are there, and record it.

        Raises ``ModelError``: without a network with the two addresses, and the folder where the
        files may be put by hand; else see ``bot.models.download.fetch``.
        """
        home = self._home(entry.name)
        if (other := self.get(entry.name)) is not None and other.source == "added":
            raise ModelError(
                f"{entry.name}: a model that you added has this name;"
                f" `bifocal models remove {entry.name}` first"
            )
        check_room((entry.text, entry.projector), home)
        files = []
        for file in (entry.text, entry.projector):
            try:
                path = fetch(file, home, _of(file.name, file.size, progress))
            except Unreachable as error:
                raise ModelError(f"{entry.name}: {error}; {_by_hand(entry, home)}") from error
            files.append(StoredFile(str(path), file.size, file.sha256, _look(path)))
        return self._write(Stored(entry.name, "catalogue", _now(), *files))

    def add(
        self, name: str, text: Path, projector: Path | None = None, progress: Progress = quiet
    ) -> Stored:
        """Record files where they lie, with the hashes they have now. Without ``projector``, the
        one ``mmproj*.gguf`` beside the text model is taken.

        Raises ``ModelError`` for a name or a file that cannot be used, and a name that is taken.
        """
        from bot.models.llama.files import parse_files

        home = self._home(name)
        if find(name.lower()) is not None:
            raise ModelError(f"{name}: the catalogue has a model of this name; choose another")
        if home.exists():
            raise ModelError(f"{name}: is there already; `bifocal models remove {name}` first")
        found = parse_files("+".join(str(path) for path in (text, projector) if path is not None))
        files = []
        for path in (found.text, found.projector):
            if path is not None:
                full = path.expanduser().absolute()
                seen = _look(full)
                digest = hash_file(full, _of(full.name, seen[0], progress))
                files.append(StoredFile(str(full), seen[0], digest, seen))
        return self._write(Stored(name, "added", _now(), *files))

    def use(self, name: str) -> None:
        """Make this the model that is used unless another one is named."""
        if self.get(name) is None:
            raise ModelError(self._unknown(name))
        _replace(self.folder / CHOSEN, name)

    def remove(self, name: str) -> None:
        """Forget a model. Files that were pulled are deleted, those that were added stay."""
        home = self._home(name)
        if not home.is_dir():
            raise ModelError(self._unknown(name))
        try:
            shutil.rmtree(home)
        except OSError as error:
            raise ModelError(f"{home}: cannot be removed ({error.strerror})") from error
        if self._named() == name:
            (self.folder / CHOSEN).unlink()

    # the folder

    def _home(self, name: str) -> Path:
        if not is_name(name):
            raise ModelError(
                f"model {name!r}: a name is letters, digits and . _ - (64 at most,"
                " a letter or digit first)"
            )
        return self.folder / name

    def _named(self) -> str:
        path = self.folder / CHOSEN
        return path.read_text("utf-8").strip() if path.is_file() else ""

    def _unknown(self, name: str) -> str:
        mine = [model.name for model in self.models()]
        if name in (catalogue := names()):
            return f"model {name}: not on this machine yet; `bifocal models pull {name}` fetches it"
        near = get_close_matches(name.lower(), [*mine, *catalogue], n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"model {name}: unknown; {hint}`bifocal models` lists those there are"

    def _read(self, path: Path) -> Stored:
        try:
            value = json.loads(path.read_text("utf-8"))
            files = [
                StoredFile(f["path"], f["size"], f["sha256"], tuple(f["seen"]))
                for f in (value["text"], value["projector"])
                if f is not None
            ]
            return Stored(path.parent.name, value["source"], value["added"], *files)
        except (OSError, ValueError, TypeError, KeyError) as error:
            name = path.parent.name
            raise ModelError(
                f"{path}: a record that cannot be read; `bifocal models remove {name}`,"
                " then pull or add it again"
            ) from error

    def _write(self, model: Stored) -> Stored:
        home = self._home(model.name)
        home.mkdir(parents=True, exist_ok=True)
        _replace(home / RECORD, json.dumps(asdict(model), indent=1))
        return model


def _by_hand(entry: CatalogModel, home: Path) -> str:
    addresses = " and ".join(file.url(hub()) for file in (entry.text, entry.projector))
    return (
        f"try again, or put the files into {home} by hand, and the same command checks them:"
        f" {addresses}"
    )


def _parts(entry: CatalogModel) -> tuple[str, str]:
    return entry.text.name, entry.projector.name


def _check_alone(model: Stored) -> None:
    """Refuse a projector that came to lie beside a text model that was added without one."""
    from bot.models.llama.files import parse_files

    if (found := parse_files(model.text.path).projector) is not None:
        raise ModelError(
            f"model {model.name}: {found} was not there when it was added; {_again(model)}"
        )


def _again(model: Stored) -> str:
    if model.source == "catalogue":
        return f"delete it, and `bifocal models pull {model.name}` fetches it again"
    return f"`bifocal models remove {model.name}`, and add it again if you trust its files"


def _look(path: Path) -> tuple[int, int, int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _of(name: str, size: int, progress: Progress) -> Callable[[int], None]:
    return lambda done: progress(name, done, size)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _replace(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, "utf-8")
    draft.replace(path)

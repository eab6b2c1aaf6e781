"""What is kept of pictures and states: budgets, tenants, files, restarts."""

import hashlib
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.errors import ModelError
from bot.models.llama.files import ModelFiles
from bot.models.llama.kept import Kept
from bot.models.llama.values import Pixels, Sampling

Open = Callable[..., Any]
Models = dict[str, ModelFiles]


def noise(seed: int, width: int = 64, height: int = 64) -> Pixels:
    """Return a picture of noise."""
    rng = np.random.default_rng(seed)
    return Pixels(width, height, rng.integers(0, 256, width * height * 3, np.uint8).tobytes())


def name(n: int) -> str:
    """Return a name as they are given to blobs."""
    return hashlib.sha256(str(n).encode()).hexdigest()


def files(folder: Path) -> list[Path]:
    """Return all files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


class TestKept:
    def test_what_was_put_is_got(self, tmp_path: Path) -> None:
        """From memory, and from the disk by another that knows the same folder."""
        kept = Kept(100, tmp_path, 1000)
        kept.put("us", name(1), b"one")
        assert kept.get("us", name(1)) == b"one"
        kept.close()
        other = Kept(100, tmp_path, 1000)
        assert other.has("us", name(1))
        assert other.names("us") == [name(1)]
        assert other.get("us", name(1)) == b"one"
        assert other.held == 3
        assert other.get("us", name(2)) is None

    def test_memory_keeps_to_its_budget_and_drops_the_least_used(self) -> None:
        """What was asked for lately stays."""
        kept = Kept(100)
        for n in range(4):
            kept.put("us", name(n), bytes(25))
        assert kept.get("us", name(0)) is not None
        kept.put("us", name(4), bytes(25))
        assert kept.names("us") == sorted(map(name, (0, 2, 3, 4)))
        kept.put("us", name(5), bytes(101))
        assert kept.names("us") == sorted(map(name, (0, 2, 3, 4)))
        kept.put("us", name(0), bytes(30))
        assert kept.held == 80 == 30 + 2 * 25

    def test_the_disk_keeps_to_its_budget_and_drops_the_least_used(self, tmp_path: Path) -> None:
        """Files of all tenants together, checksums included."""
        kept = Kept(0, tmp_path, 1000)
        for n in range(20):
            kept.put("us" if n % 2 else "them", name(n), bytes(100))
            kept.flush()
            assert kept.get("us", name(1)) is not None or n < 1
            assert sum(path.stat().st_size for path in files(tmp_path)) <= 1000
        assert len(files(tmp_path)) == 7
        assert kept.get("them", name(18)) == bytes(100)
        assert kept.get("them", name(2)) is None
        kept.put("us", name(99), bytes(1001))
        kept.flush()
        assert not kept.has("us", name(99))
        kept.close()

    def test_a_budget_that_shrank_is_kept_to(self, tmp_path: Path) -> None:
        """A restart with less room makes room at the next write."""
        kept = Kept(0, tmp_path, 1000)
        for n in range(7):
            kept.put("us", name(n), bytes(100))
        kept.close()
        kept = Kept(0, tmp_path, 300)
        kept.put("us", name(8), bytes(100))
        kept.close()
        assert sum(path.stat().st_size for path in files(tmp_path)) <= 300

    @pytest.mark.parametrize("where", [0, 31, 32, 60, -1])
    def test_a_flipped_bit_is_noticed_wherever_it_is(self, tmp_path: Path, where: int) -> None:
        """In the checksum or after it: the file is deleted and never returned."""
        kept = Kept(0, tmp_path, 1000)
        kept.put("us", name(1), bytes(range(50)))
        kept.flush()
        (path,) = files(tmp_path)
        data = bytearray(path.read_bytes())
        data[where] ^= 4
        path.write_bytes(data)
        assert kept.get("us", name(1)) is None
        assert files(tmp_path) == []
        kept.close()

    @pytest.mark.parametrize("size", [0, 5, 32, 81])
    def test_a_file_that_was_cut_is_noticed(self, tmp_path: Path, size: int) -> None:
        """However much of it is left."""
        kept = Kept(0, tmp_path, 1000)
        kept.put("us", name(1), bytes(range(50)))
        kept.flush()
        (path,) = files(tmp_path)
        path.write_bytes(path.read_bytes()[:size])
        assert kept.get("us", name(1)) is None
        assert files(tmp_path) == []
        kept.close()

    def test_nobody_else_can_read_the_files(self, tmp_path: Path) -> None:
        """Files are 0600, folders 0700, whatever the process allows otherwise."""
        kept = Kept(0, tmp_path / "a" / "b", 1000)
        kept.put("us", name(1), b"one")
        kept.close()
        (path,) = files(tmp_path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for folder in list(path.parents)[:3]:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder

    def test_a_tenants_name_is_not_a_path(self, tmp_path: Path) -> None:
        """Whatever it is, its folder is inside; no two names share one."""
        kept = Kept(0, tmp_path / "kept", 10_000)
        tenants = (
            "..",
            "../../x",
            "a/b",
            "",
            "\0",
            "\udc80",
            "\ud800",
            "?",
            "x" * 9999,
            "us",
            "US",
        )
        for n, tenant in enumerate(tenants):
            kept.put(tenant, name(0), bytes([n]))
        kept.flush()
        for n, tenant in enumerate(tenants):
            assert kept.get(tenant, name(0)) == bytes([n]), repr(tenant)
        kept.close()
        assert [path.name for path in tmp_path.iterdir()] == ["kept"]

    def test_forgetting_a_tenant_leaves_others_alone(self, tmp_path: Path) -> None:
        """In memory, on disk, and what was still to be written."""
        kept = Kept(1000, tmp_path, 1000)
        for tenant in ("us", "them"):
            kept.put(tenant, name(1), tenant.encode())
            kept.put(tenant, name(2), tenant.encode(), to_disk=False)
        kept.forget("us")
        assert kept.names("us") == []
        assert kept.names("them") == sorted(map(name, (1, 2)))
        assert kept.held == 8
        assert len(files(tmp_path)) == 1
        kept.close()
        assert kept.held == 0

    def test_a_disk_that_takes_nothing_costs_nothing(self, tmp_path: Path) -> None:
        """A folder that cannot be made: the memory still keeps."""
        (tmp_path / "file").write_bytes(b"")
        kept = Kept(1000, tmp_path / "file" / "kept", 1000)
        for n in range(200):
            kept.put("us", name(n), b"x")
        kept.flush()
        assert kept.get("us", name(3)) == b"x"
        assert kept.get("us", name(999)) is None
        kept.forget("us")
        assert kept.names("us") == []
        kept.close()


class TestPictures:
    def ask(self, engine: Any, *parts: str | Pixels, tenant: str = "us") -> tuple[int, Any]:
        """Return how many pictures were encoded, and the answer's numbers."""
        asked = engine.ask(
            ("user", *parts, "?"), tenant=tenant, max_tokens=1, sampling=Sampling(logprobs=5)
        )
        (told,) = asked.logprobs
        return asked.outcome.encoded, [p for _, p in told.top]

    @pytest.mark.parametrize("kind", ["qwen2", "qwen2vl"])
    def test_a_picture_is_encoded_once_for_a_tenant(
        self, odd: Models, driven: Open, kind: str
    ) -> None:
        """In other conversations and other places it is read from what was kept."""
        engine = driven(odd[kind])
        first = self.ask(engine, noise(1, 96, 64))
        assert first[0] == 1
        assert self.ask(engine, "look", noise(1, 96, 64))[0] == 0
        assert self.ask(engine, noise(2), noise(1, 96, 64), noise(2))[0] == 1
        engine.engine._sequences.forget("us")
        assert self.ask(engine, noise(1, 96, 64)) == (0, pytest.approx(first[1], abs=1e-4))
        assert engine.engine.stats()["encoded_pictures"] == 2

    @pytest.mark.parametrize("kind", ["qwen2", "qwen2vl"])
    def test_it_is_not_encoded_again_after_a_restart(
        self, odd: Models, driven: Open, tmp_path: Path, kind: str
    ) -> None:
        """The answer's numbers are the same."""
        engine = driven(odd[kind], cache=tmp_path, sequence_bytes=0)
        first = self.ask(engine, noise(1, 96, 64))
        engine.close()
        for path in tmp_path.glob("*/sequences/*/*"):
            path.unlink()
        engine = driven(odd[kind], cache=tmp_path, sequence_bytes=0)
        assert self.ask(engine, noise(1, 96, 64)) == (0, pytest.approx(first[1], abs=1e-4))
        assert engine.engine.stats()["recalled_pictures"] == 1

    def test_what_is_not_the_same_is_encoded(
        self, odd: Models, driven: Open, tmp_path: Path
    ) -> None:
        """Another tenant, one value of one pixel, the same bytes in another shape."""
        picture = noise(1, 96, 64)
        changed = bytearray(picture.data)
        changed[777] ^= 1
        for kind in ("qwen2", "qwen2vl"):
            engine = driven(odd[kind], cache=tmp_path / kind)
            assert self.ask(engine, picture)[0] == 1
            assert self.ask(engine, Pixels(96, 64, bytes(changed)))[0] == 1
            assert self.ask(engine, Pixels(64, 96, picture.data))[0] == 1
            assert self.ask(engine, Pixels(48, 128, picture.data))[0] == 1
            assert self.ask(engine, picture, tenant="them")[0] == 1
            assert self.ask(engine, picture)[0] == 0

    def test_another_projector_does_not_use_them(
        self, odd: Models, driven: Open, tmp_path: Path
    ) -> None:
        """The same text model with other eyes begins with nothing."""
        eyes = odd["qwen2"].projector
        assert eyes is not None
        engine = driven(odd["qwen2"], cache=tmp_path)
        assert self.ask(engine, noise(1))[0] == 1
        engine.close()
        other = tmp_path / "mmproj-other.gguf"
        data = eyes.read_bytes()
        other.write_bytes(data[:-400] + bytes(400))
        engine = driven(ModelFiles(odd["qwen2"].text, other), cache=tmp_path)
        assert self.ask(engine, noise(1))[0] == 1

    def test_a_damaged_encoding_is_made_again(
        self, odd: Models, driven: Open, tmp_path: Path
    ) -> None:
        """One flipped byte: the numbers are still right, the file is replaced."""
        engine = driven(odd["qwen2"], cache=tmp_path, sequence_bytes=0)
        first = self.ask(engine, noise(1))
        engine.close()
        (path,) = tmp_path.glob("*/pictures/*/*")
        whole = path.read_bytes()
        path.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
        engine = driven(odd["qwen2"], cache=tmp_path, sequence_bytes=0)
        engine.engine._sequences.forget("us")
        assert self.ask(engine, noise(1)) == (1, pytest.approx(first[1], abs=1e-4))
        engine.close()
        assert path.read_bytes() == whole

    def test_budgets_hold(self, odd: Models, driven: Open, tmp_path: Path) -> None:
        """Of thirty pictures as many are kept as were allowed, in memory and on disk."""
        one = 64 * 64 * 4  # rows x width x float32
        engine = driven(
            odd["qwen2"], cache=tmp_path, picture_bytes=5 * one, cache_bytes=2 * 8 * (one + 32)
        )
        for n in range(30):
            assert self.ask(engine, noise(n))[0] == 1
            assert engine.engine.stats()["picture_bytes"] <= 5 * one
        assert self.ask(engine, "again", noise(29))[0] == 0
        assert self.ask(engine, "again", noise(1))[0] == 1
        engine.close()
        kept = list(tmp_path.glob("*/pictures/*/*"))
        assert len(kept) == 8
        folder = sum(path.stat().st_size for path in files(tmp_path))
        assert folder <= 2 * 8 * (one + 32)

    def test_without_budgets_nothing_is_kept(
        self, odd: Models, driven: Open, tmp_path: Path
    ) -> None:
        """Each is encoded again, unless its rows still stand in the memory."""
        engine = driven(odd["qwen2"], cache=tmp_path, picture_bytes=0, cache_bytes=0)
        assert [self.ask(engine, word, noise(1))[0] for word in "aba"] == [1, 1, 0]
        engine.close()
        assert files(tmp_path) == []

    def test_nobody_else_can_read_the_cache(
        self, odd: Models, driven: Open, tmp_path: Path
    ) -> None:
        """All folders are 0700 and all files 0600, the cache's own folder included."""
        home = tmp_path / "cache"
        engine = driven(odd["qwen2"], cache=home)
        self.ask(engine, noise(1), "words " * 30)
        engine.close()
        assert {path.parts[-3] for path in files(home)} == {"pictures", "sequences"}
        for path in (home, *home.rglob("*")):
            wanted = 0o700 if path.is_dir() else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path

    def test_a_cache_that_cannot_be_is_an_error(
        self, odd: Models, driven: Open, tmp_path: Path
    ) -> None:
        """It names the folder."""
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(ModelError, match=r"file: .*; choose another folder"):
            driven(odd["qwen2"], cache=tmp_path / "file")

    def test_layouts_are_remembered_for_a_bounded_number_of_sizes(
        self, odd: Models, driven: Open
    ) -> None:
        """However many sizes of picture there were."""
        pictures = driven(odd["qwen2"], serve=False).engine._pictures
        for n in range(1100):
            assert len(pictures.layout(Pixels(8 + n % 550, 8 + n // 550, b""))) == 1
        assert len(pictures._layouts) == 1024

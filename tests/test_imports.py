"""Imports go one way: bot uses retrievers, memory, prompts; they use neither bot nor each other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "bot": {"bot", "retrievers", "memory", "prompts"},
    "retrievers": {"retrievers"},
    "memory": {"memory"},
    "prompts": {"prompts"},
}


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        ours = {name.partition(".")[0] for name in _imported(path)} & ALLOWED.keys()
        assert ours <= ALLOWED[package], f"{path} imports {ours}"


def test_a_part_of_the_service_imports_only_what_its_list_has_below_it() -> None:
    service = ROOT / "bot" / "service"
    listed = re.findall(r"(?m)^- ``(\w+)`` ", (service / "__init__.py").read_text("utf-8"))
    there = {path.stem for path in service.iterdir() if path.name[:2] != "__"}
    assert sorted(listed) == sorted(there)
    for path in service.rglob("*.py"):
        part = path.relative_to(service).parts[0].removesuffix(".py")
        allowed = listed if part == "__init__" else listed[listed.index(part) :]
        parts = {n.split(".")[2] for n in _imported(path) if n.startswith("bot.service.")}
        assert parts <= set(allowed), f"{path} imports {parts - set(allowed)}"
    below = set(listed[listed.index("observability") :])
    for path in (ROOT / "bot" / "channels").rglob("*.py"):
        parts = {n.split(".")[2] for n in _imported(path) if n.startswith("bot.service.")}
        assert parts <= below, f"{path} imports {parts - below}"
    users = [
        path.relative_to(service)
        for path in service.rglob("*.py")
        if any(name.startswith("bot.channels") for name in _imported(path))
    ]
    assert users == [Path("app.py")]


def _imported(path: Path) -> Iterator[str]:
    """Yield what a file imports, wherever it does: modules, and names as if they were modules."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_langchain_community_stays_behind_one_module() -> None:
    users = [
        str(path.relative_to(ROOT))
        for package in ALLOWED
        for path in (ROOT / package).rglob("*.py")
        if "langchain_community" in path.read_text("utf-8")
        and any(
            isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("langchain_community")
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
        )
    ]
    assert users == ["retrievers/ingest/community.py"]


def test_nothing_is_unpickled() -> None:
    banned = {"pickle", "shelve", "marshal", "dill", "joblib", "diskcache", "cloudpickle"}
    for package in ALLOWED:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    assert not banned & {a.name.partition(".")[0] for a in node.names}, path
                elif isinstance(node, ast.ImportFrom):
                    assert (node.module or "").partition(".")[0] not in banned, path

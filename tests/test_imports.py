"""Imports go one way: bot uses retrievers, memory, prompts; they use neither bot nor each other."""

import ast
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
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names = [node.module or ""]
            ours = {n.partition(".")[0] for n in names} & ALLOWED.keys()
            assert ours <= ALLOWED[package], f"{path} imports {ours}"


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

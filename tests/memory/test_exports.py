"""What `import memory` offers."""

import subprocess
import sys
from pathlib import Path

import memory


def test_the_public_names_are_sorted_and_there() -> None:
    assert memory.__all__ == sorted(memory.__all__)
    for name in memory.__all__:
        assert getattr(memory, name).__name__ == name


def test_the_package_imports_neither_redis_nor_the_patterns_before_they_are_used() -> None:
    source = "import sys, memory; print({'redis', 'memory.phrases'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "set()"

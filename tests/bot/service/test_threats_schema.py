"""Whatever the description of the interface lets in, and what it does not: row 27.

Some hundred cases in the ordinary run; 20,000 with ``BIFOCAL_FULL=1``.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from bot.service.http.openai_errors import PATHS

CASES = 20_000 if os.environ.get("BIFOCAL_FULL") else 300
#: What answers whoever asks
OPEN = {"/livez", "/readyz", "/openapi.json", "/"}
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def each_case(url: str, cases: int, see: Callable[[Any], None], headers: dict[str, str]) -> int:
    """Show ``see`` about so many cases of all operations together; return the operations."""
    described = requests.get(f"{url}/openapi.json", timeout=60)
    schema = schemathesis.openapi.from_dict(described.json())
    schema.config.base_url = url
    operations: list[Any] = [cast(Any, found).ok() for found in schema.get_all_operations()]
    tuned = settings(
        max_examples=max(5, cases // (len(operations) * len(MODES))),
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for operation in operations:
        for mode in MODES:
            strategy = operation.as_strategy(generation_mode=mode, headers=headers)
            with suppress(Unsatisfiable):  # what takes nothing cannot be given anything wrong
                tuned(given(case=strategy)(see))()
    return len(operations)


@pytest.mark.timeout(7200 if CASES > 1000 else 300)
async def test_no_case_of_the_description_and_none_beside_it_is_a_failure_of_the_service(
    serve: Any,
) -> None:
    """Each error is a problem document, too, or what OpenAI's clients read."""
    seen: Counter[int] = Counter()
    async with serve(serve={"keys": "on"}) as served:
        key = await served.key("anna", rate="1000000/second", write=["*"])

        def see(case: Any) -> None:
            answer = case.call(headers=key, timeout=60)
            seen[answer.status_code] += 1
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)
            if answer.status_code >= 400 and case.path.startswith(PATHS):  # in OpenAI's form
                assert answer.json()["error"]["message"]
            elif answer.status_code >= 400:
                assert answer.headers["content-type"] == ["application/problem+json"]
                assert answer.json()["status"] == answer.status_code

        await asyncio.to_thread(each_case, served.url, CASES, see, {})
        again = await served.client.get("/readyz")
        assert again.is_success
    assert sum(seen.values()) >= CASES // 2
    assert seen[200] > 0
    assert sum(count for status, count in seen.items() if status >= 400) > 0


@pytest.mark.timeout(7200 if CASES > 1000 else 300)
async def test_nobody_without_a_key_gets_anything_but_what_is_open(serve: Any) -> None:
    """Neither without a key, nor with one that is made up."""
    seen: Counter[int] = Counter()
    async with serve(serve={"keys": "on"}) as served:

        def see(case: Any) -> None:
            for headers in ({}, {"Authorization": "Bearer bf_" + "a" * 40}):
                answer = case.call(headers=headers, timeout=60)
                seen[answer.status_code] += 1
                if case.path not in OPEN:
                    assert answer.status_code >= 400, (case.as_curl_command(), answer.text)

        await asyncio.to_thread(each_case, served.url, CASES // 4, see, {})
    assert seen[401] > 0

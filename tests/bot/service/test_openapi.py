"""The OpenAPI description: valid, typed, with examples, and with every route's problems."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis

from bot import Settings
from bot.service.app import BODIES, create_app
from bot.service.http.openai_errors import PATHS

OPEN = {"/livez", "/readyz", "/metrics"}  #: what is asked by machines that watch the service


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    """The description as it is served."""
    described: dict[str, Any] = create_app(Settings(library=Path("nowhere"))).inner.openapi()
    return described


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and description of every route."""
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_the_description_is_valid(description: dict[str, Any]) -> None:
    schema = schemathesis.openapi.from_dict(description)
    schema.validate()
    assert schema.statistic.operations.total == len(list(operations(description))) > 30


def test_every_reference_leads_somewhere(description: dict[str, Any]) -> None:
    known = description["components"]["schemas"]

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(ref := value.get("$ref"), str):
                yield ref
            for part in value.values():
                yield from walk(part)
        elif isinstance(value, list):
            for part in value:
                yield from walk(part)

    for ref in walk(description):
        assert ref.removeprefix("#/components/schemas/") in known, ref


def test_every_route_documents_its_problems_and_says_what_it_does(
    description: dict[str, Any],
) -> None:
    for method, path, operation in operations(description):
        assert operation.get("description"), (method, path)
        if path in OPEN:
            continue
        openai = path.startswith(PATHS)  # which has a form of its own
        for status in ("401", "404", "400" if openai else "422", "429", "503"):
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            form = "/ErrorOut" if openai else "/ProblemOut"
            assert schema["$ref"].endswith(form), (method, path, status)


def test_every_route_says_what_it_returns(description: dict[str, Any]) -> None:
    for method, path, operation in operations(description):
        if path in OPEN:
            continue
        good = [r for status, r in operation["responses"].items() if status.startswith("2")]
        assert good, (method, path)
        for response in good:
            if "204" in operation["responses"]:
                continue
            for kind, content in response["content"].items():
                assert content.get("schema"), (method, path, kind)


def test_every_json_that_is_returned_has_an_example_that_is_one(
    description: dict[str, Any],
) -> None:
    known = description["components"]
    seen = set()
    for method, path, operation in operations(description):
        if path in OPEN:
            continue
        for status, response in operation["responses"].items():
            schema = response.get("content", {}).get("application/json", {}).get("schema")
            if not schema:
                continue
            name = schema["$ref"].rpartition("/")[2]
            examples = known["schemas"][name].get("examples")
            assert examples, (method, path, status, name)
            for example in examples:
                jsonschema_rs.validate({**schema, "components": known}, example)
            seen.add(name)
    assert len(seen) > 10


@pytest.mark.parametrize("model", BODIES, ids=lambda model: model.__name__)
def test_the_examples_of_a_body_are_ones(model: Any) -> None:
    examples = model.model_config["json_schema_extra"]["examples"]
    assert examples
    for example in examples:
        model.model_validate(example)


async def test_the_description_is_served(serve: Any) -> None:
    async with serve() as served:
        answer = await served.client.get("/openapi.json")
        assert answer.json()["info"]["title"] == "Bifocal"

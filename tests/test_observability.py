"""``docs/observability.md`` names every metric, log event and attribute of a span that there is."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bot.service.observability.metrics import Metrics

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "observability.md").read_text("utf-8")


def rows(header: str) -> list[list[str]]:
    """Return the cells of a table of the page by how its header begins."""
    table = PAGE[PAGE.index(f"| {header} |") :].partition("\n\n")[0]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def registered() -> dict[str, tuple[str, set[str]]]:
    """Return each metric that a process registers: its name as Prometheus sees it, its type and
    its labels."""
    metrics = Metrics()
    found = {}
    for value in vars(metrics).values():
        for family in getattr(value, "describe", list)():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = (family.type, set(value._labelnames))
    told = {family.name for family in text_string_to_metric_families(metrics.text().decode())}
    assert {name.removesuffix("_total") for name in found} <= told
    return found


def test_the_page_lists_every_metric_with_its_type_and_labels() -> None:
    listed = {names(r[0])[0]: (r[1], set(names(r[2]))) for r in rows("metric")}
    assert listed == registered()


def test_the_page_lists_every_event_that_is_logged() -> None:
    listed = {name for row in rows("event") for name in names(row[0])}
    source = "".join(p.read_text("utf-8") for p in (ROOT / "bot" / "service").rglob("*.py"))
    told = set(re.findall(r'\btell\(\s*"([a-z_]+)"', source))
    told |= set(re.findall(r'"lifespan\.\w+\.complete": "(\w+)"', source))
    told |= set(re.findall(r'event\["event"\] = "(\w+)"', source))
    assert listed == told


def test_the_page_lists_every_attribute_of_a_span() -> None:
    source = (ROOT / "bot" / "service" / "observability" / "traces.py").read_text("utf-8")
    set_there = set(re.findall(r'set_attribute\(f?"([^"]+)"', source))
    listed = {name for row in rows("attribute") for name in names(row[0])}
    tokens = {name for name in listed if name.startswith("bifocal.tokens.")}
    assert listed - tokens == set_there - {"bifocal.tokens.{name}"}
    assert tokens == {f"bifocal.tokens.{name}" for name in ("input", "output", "cached")}

"""The files of ``docs/deploy`` are well formed, and what they say is true of this version."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import typer
from redis import Redis
from ruamel.yaml import YAML

from bot.cli import app
from bot.settings import Settings
from memory.redis_server import find_server

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "docs" / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = YAML(typ="safe").load(DEPLOY / "compose.yaml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
USUAL = Settings.load()
GRACE = USUAL.serve.grace_seconds
SECRET = re.compile(r"key|password|secret|token|requirepass", re.IGNORECASE)


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions: the word and what follows it, on one line."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(w, rest) for w, _, rest in (ln.partition(" ") for ln in joined.splitlines()) if w]


def last(word: str) -> str:
    return [rest for name, rest in instructions() if name == word][-1].strip()


def environment() -> dict[str, str]:
    """Return the variables that the image sets."""
    pairs = " ".join(rest for name, rest in instructions() if name == "ENV")
    return dict(pair.split("=", 1) for pair in shlex.split(pairs))


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)(s|m)?", text)
    assert found, text
    return float(found[1]) * (60 if found[2] == "m" else 1)


def check_serve(args: list[str]) -> dict[str, Any]:
    """Parse a command line as ``bifocal`` would, without running it."""
    assert args[0] == "serve"
    group: Any = typer.main.get_command(app)
    values: dict[str, Any] = group.commands["serve"].make_context("serve", args[1:]).params
    return values


def lint(tool: str, *args: str | Path) -> None:
    found = shutil.which(
        tool, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    assert found, f"{tool} is one of the packages of the extra dev"
    result = subprocess.run([found, *map(str, args)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def test_hadolint_has_nothing_to_say_of_the_dockerfile() -> None:
    lint("hadolint", "--failure-threshold", "style", DEPLOY / "Dockerfile")


def test_the_compose_file_follows_the_compose_specification() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    lint("check-jsonschema", *schema, DEPLOY / "compose.yaml")


def test_the_image_has_pinned_bases_no_root_no_secret_and_ends_by_sigterm() -> None:
    stages = set()
    for name, rest in instructions():
        if name == "FROM":
            image, _, stage = rest.partition(" AS ")
            assert re.fullmatch(r"[a-z]+:\d[\w.-]+", image), image
            stages.add(stage)
        if name in ("ENV", "ARG"):
            assert not SECRET.search(rest), rest
        if name == "COPY" and "--from=" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
    assert {"wheel", "build"} <= stages
    user = last("USER").partition(":")[0]
    assert user.isdigit()
    assert int(user) > 0
    assert f"--uid {user}" in DOCKERFILE
    assert last("STOPSIGNAL") == "SIGTERM"


def test_the_image_serves_with_settings_that_are_there_on_the_port_that_it_names() -> None:
    settings = Settings.load(environ=environment())
    assert settings.serve.keys_on
    assert settings.serve.port == int(last("EXPOSE"))
    assert f"127.0.0.1:{settings.serve.port}/readyz" in last("HEALTHCHECK")
    assert json.loads(last("ENTRYPOINT")) == ["bifocal"]
    assert "bifocal" in PROJECT["scripts"]
    check_serve(json.loads(last("CMD")))
    volumes = [Path(folder) for folder in json.loads(last("VOLUME"))]
    for folder in (settings.library, settings.serve.libraries, settings.models):
        assert any(folder.is_relative_to(volume) for volume in volumes), folder


def test_the_image_installs_what_the_project_asks_for() -> None:
    wanted = set(PROJECT["dependencies"])
    for name in ("torch", "llama-cpp-python"):
        (named,) = re.findall(rf'"({name}[^"]*)"', DOCKERFILE)
        assert named in wanted, named
    (extras,) = re.findall(r'"\.\[([^\]]+)\]"', DOCKERFILE)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_compose_runs_both_without_root_on_images_of_one_version_and_lets_turns_end() -> None:
    for name, service in COMPOSE["services"].items():
        assert re.search(r":\d", service["image"]), name
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert not any(SECRET.search(variable) for variable in service.get("environment", {}))
        for volume in service["volumes"]:
            assert volume.partition(":")[0] in COMPOSE["volumes"]
        for secret in service["secrets"]:
            assert COMPOSE["secrets"][secret]["file"].startswith("./secrets/")
    bifocal, redis = COMPOSE["services"]["bifocal"], COMPOSE["services"]["redis"]
    assert bifocal["image"].endswith(f":{PROJECT['version']}")
    assert check_serve(bifocal["command"])["workers"] == 1
    assert (DEPLOY / bifocal["build"]["context"]).resolve() == ROOT
    assert (ROOT / bifocal["build"]["dockerfile"]).is_file()
    assert bifocal["ports"] == ["127.0.0.1:8000:8000"]
    assert "user" not in bifocal  # the image's own
    assert not redis["user"].startswith(("0", "root"))
    assert "ports" not in redis
    assert COMPOSE["networks"]["back"]["internal"]
    assert seconds(bifocal["stop_grace_period"]) > GRACE + 5
    assert "secrets/" in (DEPLOY / ".gitignore").read_text("utf-8").split()


def test_the_pages_secrets_and_composes_redis_fit_one_another(tmp_path: Path) -> None:
    page = (DEPLOY / "README.md").read_text("utf-8")
    (recipe,) = re.findall(r"^```sh\n(# in docs/deploy.*?)^```", page, re.S | re.M)
    subprocess.run(["sh", "-ec", recipe], cwd=tmp_path, check=True, timeout=60)
    settings = Settings.load(file=tmp_path / "secrets" / "bifocal.toml")
    assert settings.redis_url is not None
    url = settings.redis_url.get_secret_value()
    assert url.endswith("@redis:6379/0")
    password = url.removeprefix("redis://:").partition("@")[0]

    args = [str(part) for part in COMPOSE["services"]["redis"]["command"]]
    assert args[:2] == ["redis-server", "/run/secrets/redis.conf"]
    where = tmp_path / "s"
    own = ["--port", "0", "--unixsocket", str(where), "--dir", str(tmp_path)]
    command = [str(find_server()[0]), str(tmp_path / "secrets" / "redis.conf"), *args[2:], *own]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if "ready to accept connections" in line.lower():
                break
        with Redis(unix_socket_path=str(where), password=password) as client:
            known = {**client.config_get("*")}
        assert known["appendonly"] == "yes"
        assert known["maxmemory-policy"] == "noeviction"
        assert int(known["maxmemory"]) > 0
        assert known["aof-load-truncated"] == "no"
    finally:
        server.terminate()
        server.communicate(timeout=60)


def test_the_systemd_unit_starts_a_command_that_is_there_and_waits_for_turns() -> None:
    unit = DEPLOY / "bifocal.service"
    lines = RawConfigParser(strict=False)
    lines.optionxform = str  # type: ignore[assignment,method-assign]
    lines.read(unit)
    service = lines["Service"]
    program, *args = shlex.split(service["ExecStart"])
    assert Path(program).name == "bifocal"
    given = check_serve(args)
    assert (given["host"], given["port"]) == ("127.0.0.1", 8000)
    assert seconds(service["TimeoutStopSec"]) > GRACE + 5
    assert service["KillSignal"] == "SIGTERM"
    assert service["DynamicUser"] == "yes"
    named = re.findall(r"^Environment=(\w+)=(.*)$", unit.read_text("utf-8"), re.M)
    Settings.load(environ=dict(named))


def test_the_proxies_pass_everything_on_and_wait_long_enough() -> None:
    nginx = (DEPLOY / "nginx.conf").read_text("utf-8")
    caddy = (DEPLOY / "Caddyfile").read_text("utf-8")
    for text in (nginx, caddy):
        assert "127.0.0.1:8000" in text
        assert f"{USUAL.serve.upload_bytes // 2**20}m" in text.lower()
    assert "proxy_buffering off;" in nginx
    assert "proxy_set_header Host $http_host;" in nginx
    (wait,) = re.findall(r"proxy_read_timeout (\d+)s;", nginx)
    assert float(wait) > USUAL.answer_seconds
    assert "flush_interval -1" in caddy


def test_the_pages_settings_are_settings_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    for page in (DEPLOY / "README.md", ROOT / "docs" / "observability.md"):
        text = page.read_text("utf-8")
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
        for name in re.findall(r"`serve\.([a-z_]+)", text):
            assert hasattr(USUAL.serve, name), name
        for block in re.findall(r"^```toml\n(.*?)^```", text, re.S | re.M):
            (tmp_path / "bifocal.toml").write_text(block, "utf-8")
            Settings.load(file=tmp_path / "bifocal.toml")

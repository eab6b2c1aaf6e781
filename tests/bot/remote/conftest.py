"""The service for the client's tests: the same as its own tests use."""

from tests.bot.service.conftest import serve  # noqa: F401

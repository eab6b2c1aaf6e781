"""Where a model's chat template runs: Jinja without a way out, and with an end.

A template comes with a model's file. It can reach no Python objects (Jinja's sandbox), it may take
``seconds`` of one core, and the text it makes on its way is counted, so that neither loops nor
texts that double end a process. Knows nothing of messages or models.
"""

import datetime
import functools
import re
import string
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MOST = 16_000_000  #: characters that one rendering may make, with all that it throws away
#: What running a template may raise beside ``TemplateError``
TROUBLE = (
    TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
    MemoryError,
)
_FILTERS = (
    *("abs", "batch", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first"),
    *("float", "groupby", "indent", "int", "items", "last", "length", "list", "lower", "map"),
    *("max", "min", "reject", "rejectattr", "replace", "reverse", "round", "safe", "select"),
    *("selectattr", "sort", "title", "trim", "unique", "upper"),
)
_PADDING = {"center", "expandtabs", "ljust", "rjust", "translate", "zfill"}


class TooMuch(SecurityError):
    """A template took too long, or made too much text."""


_made: ContextVar[list[int]] = ContextVar("_made")


@contextmanager
def counted() -> Iterator[None]:
    """Let what runs inside make ``MOST`` characters; more raises ``TooMuch``."""
    token = _made.set([0])
    try:
        yield
    finally:
        _made.reset(token)


@contextmanager
def timed(seconds: float) -> Iterator[None]:
    """Let what runs inside take ``seconds`` of this thread's time; more raises ``TooMuch``.

    Every line and call of Python in between is looked at: for templates, which have few.
    """
    end = time.thread_time() + seconds

    def watch(frame: FrameType, event: str, arg: object) -> Any:
        if time.thread_time() > end:
            raise TooMuch(f"it takes more than {seconds:g} s")
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)


def environment(
    text: Callable[[Any], str], to_json: Callable[..., str]
) -> ImmutableSandboxedEnvironment:
    """Return the environment of chat templates, as ``transformers`` has it.

    ``text`` writes lists and mappings where a template prints them; ``to_json`` is the filter
    ``tojson``.
    """
    made = _Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _Generation],
        finalize=lambda value: text(value) if isinstance(value, _NESTED) else value,
    )
    made.text = text
    kept = {name: _counted(made.filters[name]) for name in _FILTERS}
    made.filters = {**kept, "tojson": to_json, "string": text, "join": made.join}
    made.filters["indent"] = _indent(made.filters["indent"])
    made.filters["replace"] = lambda value, *given: made.replace(str(value), *given)
    del made.globals["lipsum"]
    made.globals |= {"raise_exception": _refuse, "strftime_now": _now}
    return made


_NESTED = (list, tuple, Mapping)


class _Environment(ImmutableSandboxedEnvironment):
    """Counts the characters of every text that is put together."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))
    text: Callable[[Any], str]

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise SecurityError(f"{operator} may make too much")
        if operator == "*":
            _spend(_size(left) * _size(right))
        elif operator == "+" and isinstance(left, str | list | tuple):
            _spend(_size(left) + _size(right))
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str) and attr in _PADDING:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        if any(spec or way for _, _, spec, way in string.Formatter().parse(value.__self__)):
            raise SecurityError("format() may make too much")

        def call(*args: Any, **named: Any) -> str:
            for given in (*args, *named.values()):
                _spend(_size(self.text(given)))
            return wrapped(*args, **named)

        return call

    def call(self, context: Any, called: Any, *args: Any, **named: Any) -> Any:
        owner = getattr(called, "__self__", None)
        if isinstance(owner, str) and called.__name__ == "replace":
            return self.replace(owner, *args)
        if isinstance(owner, str) and called.__name__ == "join":
            return self.join(args[0] if args else (), owner)
        made = super().call(context, called, *args, **named)
        _spend(_size(made))
        return made

    def replace(self, text: str, old: str, new: str, count: int | None = None) -> str:
        """Replace as ``str.replace`` does, knowing the result's size before it is made."""
        found = text.count(old) if old else len(text) + 1
        most = found if count is None or count < 0 else min(count, found)
        _spend(len(text) + most * len(str(new)))
        return text.replace(old, str(new), most)

    def join(self, values: Iterable[Any], between: str = "", attribute: Any = None) -> str:
        """Join texts, counted first."""
        if attribute is not None:
            values = (self.getitem(value, attribute) for value in values)
        texts = [self.text(value) for value in values]
        _spend(sum(map(len, texts)) + len(between) * len(texts))
        return between.join(texts)

    def concat(self, texts: Iterable[str]) -> str:
        """Join what was printed."""
        return self.join(texts)


class _Generation(Extension):
    """``{% generation %}`` marks what a model wrote, for training: here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 -- as its base class has it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


class _Generator(CodeGenerator):
    """Compiles ``~`` so that it is counted."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.join((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


_Environment.code_generator_class = _Generator


def _spend(characters: int) -> None:
    made = _made.get(None)
    if made is not None:
        made[0] += characters
        if made[0] > MOST:
            raise TooMuch("it makes too much text")


def _size(value: object) -> int:
    if isinstance(value, str | list | tuple):
        return len(value)
    return abs(value) if isinstance(value, int) else 1


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        made = function(*args, **named)
        if isinstance(made, str | list):
            _spend(len(made))
        return made

    return call


def _indent(function: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(function)
    def call(text: str, width: int | str = 4, *args: Any, **named: Any) -> str:
        size = len(width) if isinstance(width, str) else width
        _spend((text.count("\n") + 1) * size)
        return function(text, width, *args, **named)

    return call


def _refuse(message: str) -> NoReturn:
    raise TemplateError(str(message))


def _now(form: str) -> str:
    if len(form) > 100 or re.search(r"%\D?\d", form):
        raise SecurityError("strftime_now() may make too much")
    return datetime.datetime.now().astimezone().strftime(form)

"""`programs`: cells drawn at random, of classes, closures, decorators and objects that share parts."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from tests.differential.case import Case

__all__ = ["IMPORTS", "programs"]

IMPORTS = (
    "import abc, dataclasses, enum, functools, typing\nimport numpy as np\n"
    "from dataclasses import dataclass, field\nT = typing.TypeVar('T')"
)

Draw = Callable[[st.SearchStrategy[object]], object]
_CONSTANTS = ("0", "1", "1", "'a'", "None", "(1, 2)", "3.5", "True", "b'x'", "frozenset({1})")


class _Program:
    """The lines of one program, and what they have defined so far."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self.lines: list[str] = []
        self.looks: list[str] = []
        self.backs: list[str] = []
        self._number = 0
        # classes that others can derive from, by how instances of them are made
        self._open: dict[str, str] = {}
        self._objects: list[str] = []

    def pick(self, *choices: str) -> str:
        """Return one of these."""
        return str(self._draw(st.sampled_from(choices)))

    def flip(self) -> bool:
        """Return whether or not."""
        return bool(self._draw(st.booleans()))

    def name(self, prefix: str) -> str:
        """Return a new name."""
        self._number += 1
        return f"{prefix}{self._number}"

    def constant(self) -> str:
        """Return a constant, or an object that is there."""
        return self.pick(*_CONSTANTS, *self._objects[-4:])

    # ---- classes

    def _body(self, slots: bool) -> list[str]:
        lines = [f"limit = {self.pick('1', '1', '2')}"] if not slots or self.flip() else []
        ways = {
            "property": ["@property", "def about(self): return (type(self).__name__, self.x)"],
            "cached": ["@functools.lru_cache(maxsize=None)", "def about(self): return type(self).__name__"],
            "class": ["@classmethod", "def about(cls): return cls.__name__"],
            "static": ["@staticmethod", "def about(): return 'static'"],
            "super": ["def about(self): return getattr(super(), 'about', None) is not None"],
        }
        lines += ways[self.pick(*ways)]
        if self.flip():
            lines += ["def me(self): return __class__.__name__"]
        return lines

    def plain_class(self) -> None:
        """Define a class, with slots or without, with a base or without."""
        name = self.name("C")
        slots = self.flip()
        base = self.pick("", *self._open)
        lines = self._body(slots)
        if slots:
            own = f"x{self._number}"
            lines = [f"__slots__ = {self.pick(repr((own,)), repr((own, '__weakref__')), '()')}", *lines]
            if base:
                lines[0] = f"__slots__ = ({f'x{self._number}'!r},)"
        if not base:
            lines = [*(["__slots__ = ('x', '__dict__')"] if slots else []), *lines[slots:]]
            # a plain one: what returns is a copy, of which the notebook's class has another one
            lines += [f"def __init__(self, x={self.pick(*_CONSTANTS)}): self.x = x"]
        self._define(f"class {name}({base}):" if base else f"class {name}:", lines)
        self._open[name] = f"{name}()"
        self._note(name, f"{name}()")

    def data_class(self) -> None:
        """Define a dataclass."""
        name = self.name("D")
        options = [option for option in ("slots", "order", "kw_only") if self.flip()]
        frozen = self.flip()
        written = ", ".join(f"{option}=True" for option in [*options, *(["frozen"] if frozen else [])])
        lines = [f"x: int = {self.pick('1', '2')}", "y: list = field(default_factory=list)"]
        if self.flip():
            lines += ["z: typing.Any = field(default=None, repr=False, metadata={'k': 1})"]
        lines += ["def total(self): return (self.x, len(self.y))"]
        self.lines += [f"@dataclass({written})"]
        self._define(f"class {name}:", lines)
        self._note(name, f"{name}(x={self.pick('3', '1')})")
        self.looks += [f"{name}() == {name}(), [one.name for one in dataclasses.fields({name})], {name}().total()"]

    def enumeration(self) -> None:
        """Define an enumeration."""
        name = self.name("E")
        base = self.pick("enum.Enum", "enum.IntEnum", "enum.Flag", "enum.IntFlag", "str, enum.Enum")
        values = ("'a'", "'b'", "'a'") if base.startswith("str") else ("1", "2", "1")
        lines = [f"{member} = {value}" for member, value in zip(("A", "B", "ALIAS"), values, strict=True)]
        if "Flag" in base:
            lines += ["BOTH = 3"]
        lines += ["def twice(self): return self.value * 2"]
        self._define(f"class {name}({base}):", lines)
        made = f"{name}.A | {name}.B" if "Flag" in base and self.flip() else f"{name}.B"
        self._note(name, made)
        self.looks += [f"{name}.A is {name}({values[0]}), {name}.ALIAS is {name}.A, list({name}), {name}.B.twice()"]

    def hooked_class(self) -> None:
        """Define a class whose making runs code that must not run once more."""
        name, log = self.name("H"), self.name("log")
        self.lines += [f"{log} = []"]
        way = self.pick("init_subclass", "metaclass", "set_name", "abstract", "generic")
        if way == "init_subclass":
            self._define(
                f"class {name}Base:",
                [
                    "def __init_subclass__(cls, *, tag, **more):",
                    f"    {log}.append((tag, cls.__name__)); cls.tag = tag",
                ],
            )
            self._define(f"class {name}({name}Base, tag={self.constant()}):", ["x = 1"])
        elif way == "metaclass":
            self._define(
                f"class {name}Meta(type):",
                [
                    "def __new__(meta, name, bases, space, *, kw):",
                    "    made = super().__new__(meta, name, bases, space); made.kw = kw; return made",
                    f"def __init__(cls, name, bases, space, *, kw): {log}.append(name)",
                ],
            )
            self._define(f"class {name}(metaclass={name}Meta, kw={self.constant()}):", ["x = 1"])
        elif way == "set_name":
            self._define(
                f"class {name}Named:",
                [
                    f"def __set_name__(self, owner, name): self.name = name; {log}.append(name)",
                    "def __get__(self, held, kind): return self.name",
                ],
            )
            self._define(f"class {name}:", [f"x = {name}Named()"])
        elif way == "abstract":
            self._define(f"class {name}Abstract(abc.ABC):", ["@abc.abstractmethod", "def x(self): ..."])
            self._define(f"class {name}({name}Abstract):", ["def x(self): return 1"])
            self.lines += [f"{name}Abstract.register(int)"]
            self.looks += [f"isinstance(3, {name}Abstract), isinstance({name}(), {name}Abstract)"]
        else:
            self._define(f"class {name}(typing.Generic[T]):", ["x: T = 1"])
            self.looks += [f"{name}[int], {name}.__parameters__[0] is T"]
        self._note(name, f"{name}()")
        self.looks += [log]

    def _define(self, head: str, lines: list[str]) -> None:
        self.lines += [head, *(f"    {line}" for line in lines or ["pass"])]

    def _note(self, kind: str, made: str) -> None:
        made_name = self.name("o")
        self.lines += [f"{made_name} = {made}"]
        self._objects += [made_name]
        self.looks += [f"{made_name}, type({made_name}) is {kind}"]
        self.backs += [self.pick(made_name, kind)]

    # ---- functions

    def closures(self) -> None:
        """Define functions that share a cell."""
        name = self.name("make")
        first, second = self.name("fn"), self.name("fn")
        default = self.constant()
        self._define(
            f"def {name}(inner):",
            [
                f"def put(value, also={default}):",
                "    nonlocal inner",
                "    inner = (inner, value, also)",
                "    return inner",
                "def take(): return inner",
                "return put, take",
            ],
        )
        self.lines += [f"{first}, {second} = {name}({self.constant()})"]
        self.looks += [f"{second}()", f"{first}(5)", f"{second}(), {first}.__closure__[0] is {second}.__closure__[0]"]

    def decorated(self) -> None:
        """Define a function below one or two decorators."""
        name, decorator = self.name("fn"), self.name("deco")
        self._define(
            f"def {decorator}(function):",
            [
                "@functools.wraps(function)",
                "def wrapped(*args):",
                "    wrapped.calls += 1",
                "    return function(*args), wrapped.calls",
                "wrapped.calls = 0",
                "return wrapped",
            ],
        )
        decorators = [one for one in (decorator, "functools.lru_cache(maxsize=8)", "functools.cache") if self.flip()]
        self.lines += [f"@{one}" for one in decorators]
        used = self.pick("0", *self._objects[-2:])
        self._define(f"def {name}(k, held={used}):", [f"return 1 if k < 2 else (k, held is {used}, {name}(k - 1))"])
        self.looks += [
            f"{name}(3)",
            f"{name}.__name__, {name}.__module__, getattr({name}, '__wrapped__', None) is not None",
        ]

    # ---- objects

    def container(self) -> None:
        """Make a container of what is there, some of it twice, perhaps of itself."""
        name = self.name("o")
        parts = [self.constant() for _ in range(int(self.pick("1", "2", "3")))]
        parts += parts[:1]
        if self.flip():
            self.lines += [f"{name} = [{', '.join(parts)}]"]
            if self.flip():
                self.lines += [f"{name}.append({name})"]
        else:
            self.lines += [f"{name} = {{{', '.join(f'{i}: {part}' for i, part in enumerate(parts))}}}"]
        self._objects += [name]
        self.looks += [f"{name}, [{', '.join(self._objects)}]"]

    def arrays(self) -> None:
        """Make an array, and views of it."""
        name, view = self.name("a"), self.name("a")
        size = self.pick("4", "12", "1200")
        kind = self.pick("f8", "i4", "u1", "c8", "M8[s]")
        self.lines += [f"{name} = np.arange({size}).astype({kind!r})"]
        part = self.pick(f"{name}[::2]", f"{name}[1:]", f"{name}.reshape(2, -1)", f"{name}[::-1]", f"{name}.copy()")
        self.lines += [f"{view} = {part}"]
        self.looks += [f"{name}, {view}", f"{view}.flat[0] = 1", f"{name}, {view}"]

    def sentinel(self) -> None:
        """Make an object that is told by its identity."""
        name, function = self.name("s"), self.name("fn")
        self.lines += [f"{name} = object()"]
        self._define(f"def {function}(given={name}):", [f"return given is {name}"])
        self.looks += [f"{function}(), {function}(1)"]


@st.composite
def programs(draw: Draw) -> Case:
    """Draw a program."""
    program = _Program(draw)
    parts = [
        program.plain_class,
        program.data_class,
        program.enumeration,
        program.hooked_class,
        program.closures,
        program.decorated,
        program.container,
        program.arrays,
        program.sentinel,
    ]
    for number in draw(st.lists(st.integers(0, len(parts) - 1), min_size=1, max_size=6)):  # type: ignore[attr-defined]
        parts[number]()
    return Case("a program", ("\n".join(program.lines),), tuple(program.looks), tuple(program.backs))

"""`exported_by`: a class or function names the module that users import it from, not the file that defines it.

So ``help(nblaunch.Run)`` reads "class Run in module nblaunch", a traceback ends with ``nblaunch.RanksFailed``, and a
pickle of such a name can be read after the file was moved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ForwardRef, TypeVar

__all__ = ["exported_by"]

_T = TypeVar("_T", bound=Callable[..., object])


def exported_by(module: str) -> Callable[[_T], _T]:
    """Return a decorator, the outermost one, after which a class or function names this module as its own.

    `inspect.getsource` still finds a function. For a class it raises an error, because Python looks for the source of
    a class in the file of the module that the class names.
    """

    def decorate(thing: _T) -> _T:
        if isinstance(thing, type) and "__annotations__" in vars(thing):
            # Annotations are texts here, and `typing.get_type_hints` would look their names up in the other module.
            home = thing.__module__
            thing.__annotations__ = {
                name: ForwardRef(text, is_argument=False, module=home, is_class=True)
                for name, text in thing.__annotations__.items()
            }
        thing.__module__ = module
        # From Python 3.13 on, this is the line of a class in its own file; `inspect` would apply it to the other one.
        if "__firstlineno__" in vars(thing):
            delattr(thing, "__firstlineno__")
        return thing

    return decorate

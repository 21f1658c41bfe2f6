"""Random generators on their way to the ranks: each rank gets a copy in the same state, and so the same numbers.

Not so the generators behind `random.random` and `numpy.random.rand`: they go by reference, and each rank has its own.
"""

from __future__ import annotations

import sys
from typing import Any

from nblaunch.payload.bases import names_of_bases

__all__ = ["advice_for", "is_generator", "of_a_module"]

# What to write in the cell instead, with the name of the variable.
_ADVICE = {
    "numpy.random._generator.Generator": "{name}.spawn(world_size)[rank]",
    "numpy.random.mtrand.RandomState": "numpy.random.RandomState(seed + rank)",
    "numpy.random.bit_generator.BitGenerator": "{name}.spawn(world_size)[rank]",
    "numpy.random.bit_generator.SeedSequence": "{name}.spawn(world_size)[rank]",
    "random.Random": "random.Random(seed + rank)",
    "torch._C.Generator": "torch.Generator().manual_seed(seed + rank)",
    "torch.Generator": "torch.Generator().manual_seed(seed + rank)",
    "jax.PRNGKeyArray": "jax.random.fold_in({name}, rank)",
}
_WITHOUT_STATE = "random.SystemRandom"
# Those that a module's functions draw from.
_OF_MODULES = (("random", "_inst"), ("numpy.random.mtrand", "_rand"), ("torch.random", "default_generator"))


def _names(kind: type) -> list[str]:
    # JAX moves its classes from module to module
    return [f"{'jax' if module.startswith('jax.') else module}.{name}" for module, name in names_of_bases(kind)]


def is_generator(kind: type) -> bool:
    """Tell whether instances of a class hold the state of a random generator."""
    names = _names(kind)
    return _WITHOUT_STATE not in names and any(name in _ADVICE for name in names)


def of_a_module(generator: object) -> tuple[str, str] | None:
    """Return the module and the name of a generator that a module's functions draw from; None for any other."""
    for module, name in _OF_MODULES:
        if getattr(sys.modules.get(module), name, None) is generator:
            return module, name
    return None


def advice_for(generator: Any, name: str, value: object) -> str:
    """Return a sentence for the user.

    Parameters
    ----------
    generator : object
        A generator, or a key of JAX.
    name : str
        The variable that is sent.
    value : object
        What the variable is: the generator itself, or something that holds it.
    """
    known = next(known for known in _names(type(generator)) if known in _ADVICE)
    whole = generator is value
    what = "a random key of JAX" if known.startswith("jax.") else "a random generator"
    # made for the ranks, as by `spawn` and `jax.random.split`: each takes its own
    if _is_row(value):
        instead = f"{name}[rank]"
    else:
        instead = _ADVICE[known].format(name=name if whole else "key" if known.startswith("jax.") else "generator")
    return (
        f"'{name}' {'is' if whole else 'holds'} {what}, and every rank gets a copy of it, which gives the "
        f"same numbers in all of them. For numbers that differ, write {instead} in the cell."
    )


def _is_row(value: Any) -> bool:
    """Tell whether a value is nothing but several generators, or several keys of JAX."""
    if type(value) in (list, tuple):
        return len(value) > 1 and all(is_generator(type(one)) for one in value)
    return is_generator(type(value)) and bool(getattr(value, "shape", ()))

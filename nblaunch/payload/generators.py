"""Random generators: each rank gets a copy in the same state, and so the same numbers; a notice tells the user.

The generators behind `random.random` and `numpy.random.rand` are sent by reference instead: each rank has its own.
"""

from __future__ import annotations

import sys
from typing import Any

from nblaunch.payload.bases import names_of_bases

__all__ = ["advice_for", "is_generator", "of_a_module"]

# What to write in the cell instead, by the class of the generator.
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
# The generators behind the functions of a module, such as `random.random`.
_OF_MODULES = (("random", "_inst"), ("numpy.random.mtrand", "_rand"), ("torch.random", "default_generator"))


def _names(kind: type) -> list[str]:
    # without the module for JAX, which moves its classes from one module to another
    return [f"{'jax' if module.startswith('jax.') else module}.{name}" for module, name in names_of_bases(kind)]


def is_generator(kind: type) -> bool:
    """Tell whether instances of a class hold the state of a random generator."""
    names = _names(kind)
    return _WITHOUT_STATE not in names and any(name in _ADVICE for name in names)


def of_a_module(generator: object) -> tuple[str, str] | None:
    """Return module and name of the generator behind the functions of a module; None for any other generator."""
    for module, name in _OF_MODULES:
        if getattr(sys.modules.get(module), name, None) is generator:
            return module, name
    return None


def advice_for(generator: Any, name: str, value: object) -> str:
    """Return the notice for the user.

    Parameters
    ----------
    generator : object
        A generator, or a key of JAX.
    name : str
        The variable that is sent.
    value : object
        The value of the variable: the generator itself, or an object that contains it.
    """
    known = next(known for known in _names(type(generator)) if known in _ADVICE)
    whole = generator is value
    what = "a random key of JAX" if known.startswith("jax.") else "a random generator"
    # `spawn` and `jax.random.split` make several, so that each rank can take its own
    if _is_row(value):
        instead = f"{name}[rank]"
    else:
        instead = _ADVICE[known].format(name=name if whole else "key" if known.startswith("jax.") else "generator")
    return (
        f"'{name}' {'is' if whole else 'holds'} {what}, and every rank gets a copy of it, which gives the "
        f"same numbers in all of them. For numbers that differ, write {instead} in the cell."
    )


def _is_row(value: Any) -> bool:
    """Tell whether a value is a list or tuple of generators, or an array of keys of JAX."""
    if type(value) in (list, tuple):
        return len(value) > 1 and all(is_generator(type(one)) for one in value)
    return is_generator(type(value)) and bool(getattr(value, "shape", ()))

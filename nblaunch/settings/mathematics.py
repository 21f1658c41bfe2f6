"""Settings of libraries for mathematics: mpmath, gmpy2, SymPy, NetworkX."""

from __future__ import annotations

from typing import Any

from nblaunch.settings.library import Library, attribute, differing, set_attribute

__all__ = ["MATHEMATICS"]

_MPMATH = {
    "mp.prec": 53, "iv.prec": 53, "mp.pretty": False, "iv.pretty": False, "fp.pretty": False, "mp.trap_complex": False,
}  # fmt: skip


def _read_mpmath(module: Any) -> dict[str, Any]:
    return differing({path: attribute(module, path, default) for path, default in _MPMATH.items()}, _MPMATH)


_GMPY2 = {
    "precision": 53, "real_prec": None, "imag_prec": None, "round": 0, "real_round": None, "imag_round": None,
    "emax": 1073741823, "emin": -1073741823, "subnormalize": False, "trap_underflow": False, "trap_overflow": False,
    "trap_inexact": False, "trap_invalid": False, "trap_erange": False, "trap_divzero": False, "allow_complex": False,
    "rational_division": False,
}  # fmt: skip


def _read_gmpy2(module: Any) -> dict[str, Any]:
    context = module.get_context()
    found = {name: getattr(context, name, default) for name, default in _GMPY2.items()}
    for name in ("real_prec", "imag_prec", "real_round", "imag_round"):
        # real and imaginary parts follow the general setting unless they have their own
        if found[name] == found["precision" if name.endswith("prec") else "round"]:
            found[name] = None
    return differing(found, _GMPY2)


_SYMPY = {"evaluate": True, "distribute": True, "exp_is_pow": False}


def _read_sympy(module: Any) -> dict[str, Any]:
    parameters = attribute(module, "core.parameters.global_parameters")
    return differing({name: getattr(parameters, name, default) for name, default in _SYMPY.items()}, _SYMPY)


def _apply_sympy(module: Any, name: str, value: bool) -> None:
    # Not as soon as `sympy.core.parameters` is imported: SymPy itself must be imported with the default parameters.
    setattr(module.core.parameters.global_parameters, name, value)


_NETWORKX = {"cache_converted_graphs": True, "fallback_to_nx": False}


def _read_networkx(module: Any) -> dict[str, Any]:
    config = module.config
    found = differing({name: getattr(config, name, default) for name, default in _NETWORKX.items()}, _NETWORKX)
    ignored = getattr(config, "warnings_to_ignore", ())
    if ignored:
        found["warnings_to_ignore"] = sorted(ignored)
    priority = getattr(config, "backend_priority", ())
    # older versions have a list here
    priority = list(priority) if isinstance(priority, list) else dict(priority)
    if any(priority.values() if isinstance(priority, dict) else priority):
        found["backend_priority"] = priority
    backends = {name: dict(of_backend) for name, of_backend in dict(getattr(config, "backends", ())).items()}
    if any(backends.values()):
        # NetworkX does not tell the defaults of backends, so all their options are sent
        found["backends"] = backends
    return found


def _apply_networkx(module: Any, name: str, value: Any) -> None:
    if name == "warnings_to_ignore":
        module.config.warnings_to_ignore = set(value)
    elif name == "backends":
        for backend, options in value.items():
            for option, chosen in options.items():
                setattr(module.config.backends[backend], option, chosen)
    else:
        setattr(module.config, name, value)


MATHEMATICS = (
    Library("mpmath", _read_mpmath, set_attribute),
    Library("gmpy2", _read_gmpy2, lambda module, name, value: setattr(module.get_context(), name, value)),
    Library("sympy", _read_sympy, _apply_sympy),
    Library("networkx", _read_networkx, _apply_networkx),
)
"""Settings of the libraries for mathematics."""

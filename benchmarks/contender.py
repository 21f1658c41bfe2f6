"""`Contender`: something that does a piece of work again and again, in a process of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["Contender", "Ranks", "Sample", "import_what_a_notebook_has"]

# What one repetition gave: "value", in the unit of its case, and parts or circumstances of it under other names.
Sample = dict[str, float]


class Contender(ABC):
    """One way to do a piece of work. Its process is a plain program that lives as long as its case is measured."""

    def setup(self) -> None:  # noqa: B027 - not every contender has something to do
        """Do what is done once and not measured: imports, pools, kernels, engines."""

    @abstractmethod
    def sample(self) -> Sample:
        """Do the work once.

        Raises
        ------
        Exception
            If it did not come out right; the contender is then out of this case.
        """

    def close(self) -> None:  # noqa: B027
        """Stop what `setup` has started."""


class Ranks(Contender):
    """A contender that starts processes from a plain program with all that a notebook has imported.

    Parameters
    ----------
    nprocs : int
        Number of processes.
    mebibytes : int
        Size of the array that each of them gets or gives, if there is one.
    """

    def __init__(self, nprocs: int, mebibytes: int = 0) -> None:
        self._nprocs, self._mebibytes = nprocs, mebibytes

    def setup(self) -> None:
        """Import what a notebook has."""
        import_what_a_notebook_has()


def import_what_a_notebook_has() -> None:
    """Import NumPy, torch and IPython: it makes all the programs that are measured alike in size."""
    import IPython  # noqa: F401
    import numpy  # noqa: F401
    import torch  # noqa: F401

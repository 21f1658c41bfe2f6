"""Arrays of JAX on their way to ranks and back: the type and the value that were sent, whatever is chosen there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.frameworks import need
from tests.kernel import Kernel

pytestmark = pytest.mark.frameworks

MADE = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import jax, ml_dtypes, numpy as np, jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
jax.config.update("jax_enable_x64", True)
spread = NamedSharding(Mesh(np.array(jax.devices()), ("x",)), PartitionSpec("x"))
arrays = {
    "int64": jnp.array([2**40]),
    "float64": jnp.array([[1e300], [2.0]]),
    "complex128": jnp.array([1e300 + 1j]),
    "single": jnp.array(2**41),
    "weak": jnp.full((3,), 1.0),
    "empty": jnp.zeros((0, 3)),
    "truth": jnp.array([True, False]),
    "large": jnp.arange(1 << 16).reshape(256, 256).T,
    "bfloat16": jnp.arange(5, dtype=jnp.bfloat16),
    "int4": jnp.array([1, -3], dtype=jnp.int4),
    "float8": jnp.array([1.5], dtype=jnp.float8_e4m3fn),
    "key": jax.random.key(3),
    "keys": jax.random.split(jax.random.key(1, impl="rbg"), 3),
    "old key": jax.random.PRNGKey(1),
    "numpy": np.arange(5000).astype(ml_dtypes.bfloat16),
}
def described(arrays):
    data = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return {
        name: (type(x).__name__, str(x.dtype), getattr(x, "weak_type", None), x.shape, np.asarray(data(x)).tobytes())
        for name, x in arrays.items()
    }
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    need("jax")
    with Kernel() as made:
        made.run("%load_ext nblaunch").ok()
        made.run(MADE).ok()
        yield made


@pytest.mark.parametrize("chosen", [False, True], ids=["32 bits there", "64 bits there"])
def test_arrays_arrive_as_they_were_sent_both_ways(kernel: Kernel, chosen: bool) -> None:
    cell = f"jax.config.update('jax_enable_x64', {chosen})\n(described(arrays), arrays, int(arrays['int64'][0]))"
    # the setting of the ranks is the cell's own, after the arrays have arrived under what is chosen by default
    kernel.run(f"%%multiproc 2 --env JAX_ENABLE_X64={int(chosen)}\n{cell}").ok()
    assert kernel.value("results[1][2]") == 2**40
    differ = "[name for name, x in described(arrays).items() if not x == results[1][0][name] == back[name]]"
    assert kernel.run(f"back = described(results[1][1])\n{differ}").ok().value == "[]"


def test_what_comes_back_needs_no_64_bits_here(kernel: Kernel) -> None:
    kernel.run(
        "%%multiproc 2\njax.config.update('jax_enable_x64', True)\njnp.array([2**40 + rank]), jnp.arange(9.0)"
    ).ok()
    read = "jax.config.update('jax_enable_x64', False)\nreturned = [results[1][0].tolist(), str(results[1][1].dtype)]\n"
    kernel.run(f"{read}jax.config.update('jax_enable_x64', True)").ok()
    assert kernel.value("returned") == [[2**40 + 1], "float64"]


def test_the_configuration_is_the_ranks_own_under_another_name(kernel: Kernel) -> None:
    kernel.run("from jax import config as of_jax\ndef narrow(): of_jax.update('jax_enable_x64', False)").ok()
    kernel.run("%%multiproc 2\nbefore = of_jax.jax_enable_x64\nnarrow()\nbefore, str(jnp.arange(1.0).dtype)").ok()
    assert kernel.value("[results[1], of_jax.jax_enable_x64]") == [(True, "float32"), True]


PYTREES = """
import dataclasses, typing
from functools import partial
from jax import tree_util
@tree_util.register_pytree_node_class
class Pair:
    def __init__(self, parts): self.parts = parts
    def tree_flatten(self): return self.parts, None
    @classmethod
    def tree_unflatten(cls, _, parts): return cls(list(parts))
@tree_util.register_pytree_with_keys_class
class Keyed(Pair):
    def tree_flatten_with_keys(self): return [(tree_util.DictKey(f"k{i}"), x) for i, x in enumerate(self.parts)], None
class Plain:
    def __init__(self, x): self.x = x
tree_util.register_pytree_node(Plain, lambda p: ((p.x,), "aux"), lambda aux, parts: Plain(*parts))
class Named:
    def __init__(self, x): self.x = x
tree_util.register_pytree_with_keys(
    Named, lambda p: (((tree_util.GetAttrKey("x"), p.x),), None), lambda _, parts: Named(*parts))
@tree_util.register_dataclass
@dataclasses.dataclass
class Data:
    x: jax.Array
    y: str = dataclasses.field(metadata={"static": True})
@partial(tree_util.register_dataclass, data_fields=["x"], meta_fields=[], drop_fields=["y"])
@dataclasses.dataclass
class Less:
    x: jax.Array
    y: str = ""
@tree_util.register_static
class Still(str): pass
def looked_at(things):
    twice = jax.jit(lambda tree: jax.tree.map(lambda x: 2 * x, tree))(things)
    return (str(tree_util.tree_flatten_with_path(things)[0]), [type(one).__name__ for one in twice],
            [float(x) for x in jax.tree.leaves(twice)], str(jax.tree.structure(things)))
trees = [Pair([1.0, 2.0]), Keyed([3.0]), Plain(4.0), Named(5.0), Data(6.0, "s"), Less(7.0), Still("t")]
"""


@pytest.mark.parametrize("method", ["zygote", "spawn"])
def test_classes_that_are_registered_as_containers(kernel: Kernel, method: str) -> None:
    kernel.run(f"{PYTREES}here = looked_at(trees)").ok()
    kernel.run(
        f"%%multiproc 2 --start-method {method}\n@tree_util.register_pytree_node_class\nclass Theirs(Pair): pass\n"
        "looked_at(trees), Theirs([8.0]), trees[0], Theirs"
    ).ok()
    assert kernel.value("results[1][0] == here"), kernel.value("(results[1][0], here)")
    assert kernel.value("[*map(len, map(jax.tree.leaves, results[1][1:3])), type(results[1][2]) is Pair]") == [
        1,
        2,
        True,
    ]


def test_ranks_share_the_memory_of_large_arrays(kernel: Kernel) -> None:
    place = "big.unsafe_buffer_pointer()"
    kernel.run("big = jnp.arange(1 << 20)").ok()
    kernel.run(
        f"%%multiproc 2\nplace = {place}\n"
        "[line for line in open('/proc/self/maps') "
        "if int(line.split('-')[0], 16) <= place < int(line.split()[0].split('-')[1], 16)]"
    ).ok()
    # of the file in memory with what every rank got
    assert "memfd:nblaunch-objects" in kernel.value("results[0]")[0]


def test_an_array_on_several_devices_arrives_whole_and_says_so(kernel: Kernel) -> None:
    kernel.run("parts = jax.device_put(jnp.arange(8), spread)").ok()
    kernel.run("other = jax.device_put(jnp.arange(3), jax.devices()[1])").ok()
    reply = kernel.run("%%multiproc 2\nparts.tolist(), other.tolist()").ok()
    device = kernel.value("str(jax.devices()[1])")
    assert kernel.value("results[0]") == (list(range(8)), [0, 1, 2])
    first, second = [line for line in reply.stderr.splitlines() if line.startswith("a JAX array")]
    assert first == (
        "a JAX array of type int64[8] lies on 2 devices here. It arrives whole, on the default device: spread it with "
        "jax.device_put(x, sharding) there"
    )
    assert second == (
        f"a JAX array of type int64[3] lies on {device} here. It arrives on the default device: move it with "
        "jax.device_put(x, device) there"
    )


def test_what_has_no_value_is_refused(kernel: Kernel) -> None:
    kernel.run("leaked = []\njax.jit(lambda x: leaked.append(x) or x)(1.0)\ngone = jnp.ones(3)\ngone.delete()").ok()
    refused = kernel.run("%%multiproc 1\nleaked").evalue
    assert (
        "leaked[0] is a jax._src.interpreters.partial_eval.DynamicJaxprTracer (a DynamicJaxprTracer stands" in refused
    )
    assert (
        "stands for a value of type float64[] inside of JAX's jit, grad or vmap, and has none itself). Use what the "
        "function returns that JAX transforms: it has values."
    ) in refused
    assert "Array has been deleted with shape=float64[3]" in kernel.run("%%multiproc 1\ngone").evalue


COMPILED = """
from dataclasses import dataclass
from functools import partial
from jax.nn import relu
rate = 2.0
@jax.jit
def double(x): return x * rate
@partial(jax.jit, static_argnames="n")
def power(x, n): return x ** n
both = jax.jit(jax.value_and_grad(lambda x: x ** 2))
many = jax.vmap(lambda x: x + 1)
@dataclass
class State:
    weights: jax.Array
    def step(self): return State(double(self.weights))
state = State(jnp.arange(3.0))
"""


@pytest.mark.parametrize("method", ["zygote", "forkserver", "spawn"])
def test_functions_that_jax_compiles(kernel: Kernel, method: str) -> None:
    kernel.run(COMPILED).ok()
    kernel.run(
        f"%%multiproc 2 --start-method {method}\n"
        "rate = 3.0\n"
        "one = [double(2.0), power(2.0, 3), *both(3.0), relu(-1.0)]\n"
        "several = [many(jnp.arange(2.0)), state.step().weights]\n"
        "[float(answer) for answers in (one, *several) for answer in answers]"
    ).ok()
    answers = [6.0, 8.0, 9.0, 6.0, 0.0, 1.0, 2.0, 0.0, 3.0, 6.0]
    assert kernel.value("results") == {0: answers, 1: answers}


def test_functions_with_derivatives_of_their_own(kernel: Kernel) -> None:
    kernel.run(
        "@jax.custom_vjp\ndef doubled(x): return x * 2\n"
        "doubled.defvjp(lambda x: (doubled(x), x), lambda kept, g: (g * 5,))\n"
        "@jax.custom_jvp\ndef halved(x): return x / 2\n"
        "halved.defjvps(lambda t, answer, x: t * 7)\n"
        "def slopes(): return float(jax.grad(doubled)(1.0)), float(jax.grad(halved)(1.0)), doubled.__name__"
    ).ok()
    kernel.run("%%multiproc 1\nslopes(), doubled, halved").ok()
    assert kernel.value("results[0][0] == slopes() == (5.0, 7.0, 'doubled')")
    assert kernel.value("[float(jax.grad(f)(1.0)) for f in results[0][1:]]") == [5.0, 7.0]

"""A Flax NNX module as a `Model`."""

from collections.abc import Callable
from typing import Any, NamedTuple
from zlib import crc32

import jax
import jax.numpy as jnp
from flax import nnx
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxticket.errors import TicketError
from jaxticket.models._arguments import train_flags
from jaxticket.models._names import Name, Path, leaves_by_path, string_names, unflatten
from jaxticket.types import Model, ModelState, Params

Leaves = dict[Path, Any]

_STATE = nnx.All(nnx.Not(nnx.Param), nnx.Not(nnx.RngState))


def from_nnx(build: Callable[[nnx.Rngs], nnx.Module]) -> Model:
    """A `Model` of a Flax NNX module.

    `params` holds the `nnx.Param`s, `model_state` all other variables (batch statistics ...)
    but random streams, both as nested plain dicts by attribute. The index in a list becomes
    a string, "layers/0/kernel", padded from eleven entries on ("layers/00/kernel"), so that
    leaves stay in the order of the layers. `apply` switches the module with `train()` or
    `eval()` and passes its `__call__` those of `train`, `training`, `is_training`,
    `deterministic` and `use_running_average` that it names. State changes only where `train`
    is True. `key` reseeds each random stream, by its path.

    Args:
      build: makes the module from `nnx.Rngs`; called once here, abstractly, and by `init`.

    Returns:
      A `Model`. Its parameters have the dtypes that the module gives them.

    Raises:
      TypeError: `build` is not a function from `nnx.Rngs` to an `nnx.Module`.
      TicketError: the module holds arrays outside of variables, or two names that differ only
        in type. `apply` raises it for params or a state of another structure, and where the
        module draws random numbers and has no `key`.

    >>> import jax
    >>> from flax import nnx
    >>> from jaxticket.models import from_nnx
    >>> model = from_nnx(lambda rngs: nnx.Sequential(nnx.Linear(4, 3, rngs=rngs), nnx.relu))
    >>> params, model_state = model.init(jax.random.key(0))
    >>> jax.tree.map(jax.numpy.shape, params), model_state
    ({'layers': {'0': {'bias': (3,), 'kernel': (4, 3)}}}, {})
    >>> output, _ = model.apply(params, model_state, jax.numpy.ones((2, 4)), train=False)
    >>> output.shape
    (2, 3)

    Source: Flax, https://flax.readthedocs.io.
    """
    skeleton = _skeleton(build)

    def init(key: jax.Array) -> tuple[Params, ModelState]:
        module = build(nnx.Rngs(key))
        return _to_dict(skeleton, module, nnx.Param), _to_dict(skeleton, module, _STATE)

    def apply(
        params: Params,
        model_state: ModelState,
        x: ArrayLike,
        *,
        train: bool,
        key: jax.Array | None = None,
    ) -> tuple[Any, ModelState]:
        module: Any = _assemble(skeleton, params, model_state, key)
        module.train() if train else module.eval()
        output = module(jnp.asarray(x), **train_flags(type(module).__call__, train))
        return output, _to_dict(skeleton, module, _STATE) if train else model_state

    return Model(init, apply)


class _Skeleton(NamedTuple):
    """What a module is besides its numbers, with the string names of its leaves."""

    graphdef: nnx.GraphDef[nnx.Module]
    params: dict[Path, Name]
    state: dict[Path, Name]
    random: Leaves


class _MissingKey(nnx.RngKey):
    """The key of a random stream where `apply` was given none."""

    def __init__(self, tag: str) -> None:
        nothing: Any = None
        super().__init__(nothing, tag=tag)

    def get_value(self, *_: Any, **__: Any) -> Any:
        raise TicketError(
            "apply: the module draws random numbers, and key=None: pass apply(..., key=...)"
        )


def _skeleton(build: Callable[[nnx.Rngs], nnx.Module]) -> _Skeleton:
    if isinstance(build, nnx.Module) or not callable(build):
        raise TypeError(
            f"from_nnx: build is a {type(build).__name__}, expected a function of nnx.Rngs: "
            "write from_nnx(lambda rngs: Network(..., rngs=rngs))"
        )

    def split(key: jax.Array) -> Any:
        module = build(nnx.Rngs(key))
        _check_module(module)
        return nnx.split(module, nnx.Param, nnx.RngState, ...)

    # Abstract: nothing is drawn, and the graph definition holds no array of any init.
    abstract_key = jax.eval_shape(lambda: jax.random.key(0))
    graphdef, params, random, state = jax.eval_shape(split, abstract_key)
    names = string_names([*_leaves(params), *_leaves(state)])
    return _Skeleton(
        graphdef,
        {path: names[path] for path in _leaves(params)},
        {path: names[path] for path in _leaves(state)},
        _leaves(random),
    )


def _check_module(module: Any) -> None:
    if not isinstance(module, nnx.Module):
        raise TypeError(f"from_nnx: build returned a {type(module).__name__}, expected nnx.Module")
    # NNX takes a traced array that is a bare attribute for a constant, and would leak it.
    known = set(_leaves(nnx.state(module)))
    bare = [
        "/".join(map(str, (*path, name)))
        for path, node in nnx.iter_graph(module)
        if isinstance(node, nnx.Pytree)
        for name, value in vars(node).items()
        if isinstance(value, Tracer) and (*path, name) not in known
    ]
    if bare:
        raise TicketError(
            f"from_nnx: {type(module).__name__} holds bare arrays at {', '.join(bare)}, expected "
            "variables: wrap each in nnx.Variable, or in nnx.Param to train it"
        )


def _leaves(state: "nnx.State[Any, Any]") -> Leaves:
    return dict(nnx.to_flat_state(state))


def _to_dict(skeleton: _Skeleton, module: nnx.Module, kind: Any) -> dict[str, Any]:
    """The variables of a kind as a plain dict, less those that a call has added."""
    names = skeleton.params if kind is nnx.Param else skeleton.state
    return unflatten(
        {
            names[path]: leaf.get_value() if isinstance(leaf, nnx.Variable) else leaf
            for path, leaf in _leaves(nnx.state(module, kind)).items()
            if path in names
        }
    )


def _assemble(
    skeleton: _Skeleton, params: Params, model_state: ModelState, key: jax.Array | None
) -> nnx.Module:
    leaves = {
        **leaves_by_path("params", params, skeleton.params),
        **leaves_by_path("model_state", model_state, skeleton.state),
        **{path: _random_leaf(path, leaf, key) for path, leaf in skeleton.random.items()},
    }
    module = nnx.merge(skeleton.graphdef, nnx.from_flat_state(list(leaves.items())))
    if key is None:
        for _, node in nnx.iter_graph(module):
            if isinstance(node, nnx.RngStream):
                node.key = _MissingKey(node.tag)
    return module


def _random_leaf(path: Path, leaf: Any, key: jax.Array | None) -> Any:
    """A stream's count, from 0, or its key, from the stream's path and no other stream."""
    shape = leaf.get_value().shape
    if not isinstance(leaf, nnx.RngKey):
        return jnp.zeros(shape, jnp.uint32)
    if key is None:
        return None
    key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    key = jax.random.fold_in(key, crc32("/".join(map(str, path)).encode()))
    return jax.random.split(key, shape) if shape else key

"""Laws of how masks are wired: against every path, one by one."""

import itertools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxticket import Model, TicketError, masks, models
from jaxticket.analysis import degrees, paths
from jaxticket.masks.basic import leaves_by_path
from jaxticket.structure import trace
from jaxticket.types import Objective

SIZES = (4, 3, 3, 2)


def objective(model):
    return Objective(lambda x: x, model.apply, lambda outputs, batch: jnp.zeros(1))


def perceptron():
    model = models.mlp((2, 2, 1), widths=SIZES[1:3], outputs=SIZES[3])
    return model, jax.eval_shape(model.init, jax.random.key(0)), jnp.ones((1, 2, 2, 1))


def random_mask(shapes, seed, density=0.5):
    generator = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(generator.uniform(size=leaf.shape) < density), masks.ones(shapes)
    )


def enumerate_paths(matrices):
    """All paths from input to output, as tuples of units, of masks as matrices."""
    sides = [matrices[0].shape[0], *(matrix.shape[1] for matrix in matrices)]
    for path in itertools.product(*map(range, sides)):
        if all(m[a, b] for m, (a, b) in zip(matrices, itertools.pairwise(path), strict=True)):
            yield path


def counted(model, shapes, mask, x):
    run = jax.jit(lambda mask: paths(objective(model), *shapes, mask, x))
    return run, jax.device_get(run(mask))


@pytest.mark.parametrize("seed", range(4))
def test_paths_are_those_that_can_be_walked_one_by_one(seed):
    model, shapes, x = perceptron()
    mask = random_mask(shapes[0], seed, 0.55)
    layers = ("hidden_0", "hidden_1", "output")
    matrices = [np.asarray(mask[layer]["kernel"]) for layer in layers]
    walked = list(enumerate_paths(matrices))
    _, found = counted(model, shapes, mask, x)
    np.testing.assert_allclose(np.exp(found.log_number), len(walked), rtol=1e-5)
    for place, layer in enumerate(layers):
        used = np.zeros_like(matrices[place])
        for path in walked:
            used[path[place], path[place + 1]] = True
        np.testing.assert_array_equal(found.effective[layer]["kernel"], used)
        assert found.effective[layer]["bias"] is None
    # On effective weights a dead unit is one that no path goes through.
    graph = trace(model, *shapes, (2, 2, 1))
    dead = degrees(graph, found.effective)
    for place, layer in enumerate(layers[:2], 1):
        through = {path[place] for path in walked}
        expected = [unit not in through for unit in range(3)]
        assert dead[f"{layer}/kernel"].dead.tolist() == expected


def test_a_mask_that_cuts_every_path_has_none_and_a_dense_one_has_all():
    model, shapes, x = perceptron()
    run, dense = counted(model, shapes, masks.ones(shapes[0]), x)
    np.testing.assert_allclose(dense.log_number, np.log(4 * 3 * 3 * 2), rtol=1e-6)
    cut = masks.ones(shapes[0])
    cut["hidden_1"]["kernel"] = jnp.zeros_like(cut["hidden_1"]["kernel"])
    found = run(cut)
    assert found.log_number == -np.inf
    assert not any(leaf.any() for leaf in jax.tree.leaves(found.effective))


def residual():
    """X A, then + relu(· B) C, then D, without a bias."""

    def apply(params, model_state, x, *, train, key=None):
        stream = x @ params["a"]
        stream = stream + jax.nn.relu(stream @ params["b"]) @ params["c"]
        return stream @ params["d"], model_state

    shapes = {"a": (3, 4), "b": (4, 2), "c": (2, 4), "d": (4, 2)}
    params = {name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in shapes.items()}
    return Model(lambda key: (params, {}), apply), params


def test_residual_sums_add_the_paths_of_both_branches():
    model, params = residual()
    mask = {
        name: np.asarray(leaf)
        for name, leaf in jax.tree.map(
            lambda leaf: (
                np.random.default_rng(leaf.shape[0] + leaf.shape[1]).uniform(size=leaf.shape) < 0.6
            ),
            params,
        ).items()
    }
    a, b, c, d = (mask[name].astype(int) for name in "abcd")
    whole = (a @ d).sum() + (a @ b @ c @ d).sum()
    assert whole > (a @ d).sum() > 0
    _, found = counted(model, (params, {}), mask, jnp.ones((1, 3)))
    np.testing.assert_allclose(np.exp(found.log_number), whole, rtol=1e-5)


def test_biases_scales_and_what_is_not_prunable_are_no_paths_of_their_own():
    model, shapes, x = perceptron()
    mask = random_mask(shapes[0], 1, 0.55)
    mask["output"]["kernel"] = None
    matrices = [np.asarray(mask[layer]["kernel"]) for layer in ("hidden_0", "hidden_1")]
    walked = 2 * len(list(enumerate_paths(matrices)))
    _, found = counted(model, shapes, mask, x)
    np.testing.assert_allclose(np.exp(found.log_number), walked, rtol=1e-5)
    normalised = cases.MODELS["linen_with_batch_statistics"]()
    shapes = jax.eval_shape(normalised.init, jax.random.key(0))
    _, found = counted(normalised, shapes, masks.ones(shapes[0]), jnp.ones((1, *cases.SHAPE)))
    np.testing.assert_allclose(np.exp(found.log_number), 6 * 5 * 3, rtol=1e-4)


def test_many_masks_are_each_as_alone():
    model, shapes, x = perceptron()
    made = [random_mask(shapes[0], seed) for seed in range(3)]
    count = lambda mask: paths(objective(model), *shapes, mask, x)  # noqa: E731
    together = jax.jit(jax.vmap(count))(cases.stack(made))
    alone = jax.jit(count)
    for place, mask in enumerate(made):
        cases.assert_close(cases.member(together, place), alone(mask))


def test_degrees_are_sums_over_the_kernels_axes():
    model, shapes, _ = perceptron()
    graph, mask = trace(model, *shapes, (2, 2, 1)), random_mask(shapes[0], 5)
    found = jax.jit(lambda mask: degrees(graph, mask))(mask)
    inside, outside = (np.asarray(mask[layer]["kernel"]) for layer in ("hidden_0", "hidden_1"))
    first = found["hidden_0/kernel"]
    assert first.incoming.tolist() == inside.sum(axis=0).tolist()
    assert first.outgoing.tolist() == outside.sum(axis=1).tolist()
    expected = (inside.sum(axis=0) == 0) | (outside.sum(axis=1) == 0)
    assert first.dead.tolist() == expected.tolist()


def test_degrees_of_many_masks_are_each_as_alone():
    model, shapes, _ = perceptron()
    graph = trace(model, *shapes, (2, 2, 1))
    made = [random_mask(shapes[0], seed) for seed in range(3)]
    count = lambda mask: degrees(graph, mask)  # noqa: E731
    together = jax.jit(jax.vmap(count))(cases.stack(made))
    for place, mask in enumerate(made):
        alone = jax.jit(count)(mask)
        cases.assert_same_bits(cases.member(together, place), alone)
        for name, group in alone.items():
            assert together[name].dead[place].tolist() == group.dead.tolist()


def test_a_channel_counts_every_place_of_the_window_and_flattening_keeps_track():
    model = models.conv_2((4, 4, 1), 3, width_multiplier=0.05)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    graph, mask = trace(model, *shapes, (4, 4, 1)), random_mask(shapes[0], 2)
    kernels = {name.split("/")[0]: np.asarray(leaf) for name, leaf in leaves_by_path(mask)}
    found, (first, second) = degrees(graph, mask), sorted(n for n in kernels if "conv" in n)
    channels = kernels[second].shape[-1]
    group = found[f"{second}/kernel"]
    assert group.incoming.tolist() == kernels[second].sum(axis=(0, 1, 2)).tolist()
    after = kernels["dense_0"].reshape(-1, channels, kernels["dense_0"].shape[1])
    assert group.outgoing.tolist() == after.sum(axis=(0, 2)).tolist()
    group = found[f"{first}/kernel"]
    assert group.outgoing.tolist() == kernels[second].sum(axis=(0, 1, 3)).tolist()


def test_curves_and_whole_numbers_are_refused():
    model = cases.handwritten()
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    with pytest.raises(TicketError, match=r"paths: the network has 'tanh'.*count degrees instead"):
        paths(objective(model), *shapes, masks.ones(shapes[0]), jnp.ones((1, *cases.SHAPE)))
    with pytest.raises(TicketError, match="paths: the network's inputs are uint8, expected floats"):
        paths(objective(model), *shapes, masks.ones(shapes[0]), jnp.ones((1, 2), jnp.uint8))


def chain(depth, width, dtype="float32"):
    """So many matrices, one after the other."""

    def apply(params, model_state, x, *, train, key=None):
        for place in range(depth):
            x = x @ params[f"{place:02}"]
        return x, model_state

    leaf = jax.ShapeDtypeStruct((width, width), dtype)
    return Model(None, apply), {f"{place:02}": leaf for place in range(depth)}


def test_more_paths_than_a_float_holds_are_refused_and_counted_in_float64():
    model, params = chain(45, 10)
    mask = masks.ones(params, masks.matching("*"))
    mask["20"] = mask["20"].at[:, 0].set(False)
    ask = lambda x: paths(objective(model), params, {}, mask, x)  # noqa: E731
    with pytest.raises(TicketError, match=r"range of float32, .* under jax.enable_x64\(True\)"):
        ask(jnp.ones((1, 10)))
    with jax.enable_x64(True):
        params = chain(45, 10, "float64")[1]
        found = ask(jnp.ones((1, 10), "float64"))
    np.testing.assert_allclose(found.log_number, np.log(9) + 45 * np.log(10), rtol=1e-12)
    dead = np.zeros((10, 10), bool)
    dead[0] = True
    np.testing.assert_array_equal(found.effective["21"], ~dead)
    assert found.effective["22"].all()


@pytest.mark.parametrize(("depth", "dtype"), [(17, "float32"), (39, "float64")])
def test_paths_are_counted_exactly_as_long_as_floats_count_by_ones(depth, dtype):
    """Against Python's integers, up to near the last number of each kind."""
    generator = np.random.default_rng(3)
    kept = [np.eye(3, dtype=bool) | (generator.random((3, 3)) < 0.7) for _ in range(depth)]
    product = np.eye(3, dtype=object)
    for matrix in kept:
        product = product @ matrix.astype(int).astype(object)
    wanted, last = product.sum(), {"float32": 2**24, "float64": 2**53}[dtype]
    assert last / 100 < wanted < last
    with jax.enable_x64(dtype == "float64"):
        model, params = chain(depth, 3, dtype)
        mask = {name: jnp.asarray(one) for name, one in zip(params, kept, strict=True)}
        found = paths(objective(model), params, {}, mask, jnp.ones((1, 3), dtype))
        assert int(found.number) == wanted
        assert found.number.dtype == dtype
        # One path more than the last is the last again.
        assert float(jnp.asarray(last, dtype) + 1) == last


def test_paths_that_a_cut_leaves_without_an_input_can_be_too_many_too():
    model, params = chain(45, 10)
    mask = masks.ones(params, masks.matching("*"))
    mask["00"] = jnp.zeros_like(mask["00"])
    with pytest.raises(TicketError, match="paths: their number leaves the range of float32"):
        paths(objective(model), params, {}, mask, jnp.ones((1, 10)))

"""What layers are given is what they multiply, and the criteria on it are closed forms."""

import re

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from jaxticket import MaskError, TicketError, allocate, criteria, masks, models
from jaxticket.masks.basic import leaves_by_path
from jaxticket.prune import prune
from jaxticket.structure import layer_inputs, multiplications
from jaxticket.types import Objective


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def filled(params):
    """Params of the same shapes with every entry drawn, so that no bias is zero."""
    leaves, tree = jax.tree.flatten(params)
    return jax.tree.unflatten(tree, [drawn(*p.shape, seed=i) for i, p in enumerate(leaves)])


def test_inputs_of_a_perceptron_are_its_examples_and_its_hidden_layer():
    params, x = jax.tree.map(np.asarray, cases.params()), drawn(7, *cases.SHAPE)
    found = layer_inputs(cases.handwritten().apply, params, {}, x)
    flat = np.asarray(x).reshape(7, 6)
    hidden = np.tanh(flat @ params["hidden_0"]["kernel"] + params["hidden_0"]["bias"])
    assert list(found) == ["hidden_0/kernel", "output/kernel"]
    np.testing.assert_array_equal(found["hidden_0/kernel"], flat)
    np.testing.assert_allclose(found["output/kernel"], hidden, rtol=1e-5)


class _Heads(linen.Module):
    """Kernels of three axes: one axis cut into two, and two axes summed over in one product."""

    @linen.compact
    def __call__(self, x):
        x = linen.DenseGeneral((2, 3), name="cut")(x)
        return linen.DenseGeneral(5, axis=(-2, -1), name="joined")(x)


def convolution(**options):
    return models.Convolution(4, (3, 2), name="layer", **options)


LAYERS = {
    "strided": (lambda: convolution(strides=(2, 1)), (6, 5, 3)),
    "dilated": (lambda: convolution(dilation=(2, 1), padding="VALID"), (6, 5, 3)),
    "direct": (lambda: convolution(strides=(1, 2), lowering="direct"), (6, 5, 3)),
    "patches": (lambda: convolution(strides=(1, 2), lowering="patches"), (6, 5, 3)),
    "flax": (lambda: linen.Conv(4, (3, 2), strides=(2, 1), padding=((1, 0), (2, 1))), (6, 5, 3)),
    "one_axis": (lambda: linen.Conv(4, (3,)), (6, 3)),
    "tokens": (lambda: linen.Dense(4), (6, 3)),
}


@cases.every(LAYERS)
def test_inputs_times_the_kernel_is_what_the_layer_gives(name):
    layer, shape = LAYERS[name]
    model = models.from_linen(layer(), shape)
    params = filled(jax.eval_shape(model.init, jax.random.key(0))[0])
    x = drawn(2, *shape, seed=9)
    (given,) = layer_inputs(model.apply, params, {}, x).values()
    kernel = params["kernel"].reshape(given.shape[1], -1)
    expected = model.apply(params, {}, x, train=False)[0].reshape(-1, 4)
    np.testing.assert_allclose(given @ kernel + params["bias"][None], expected, atol=1e-5)


def test_kernels_of_three_axes_are_matrices():
    model = models.from_linen(_Heads(), (4,))
    params = filled(jax.eval_shape(model.init, jax.random.key(0))[0])
    x = drawn(5, 4)
    found = layer_inputs(model.apply, params, {}, x)
    hidden = x @ params["cut"]["kernel"].reshape(4, 6) + params["cut"]["bias"].reshape(1, 6)
    np.testing.assert_array_equal(found["cut/kernel"], x)
    np.testing.assert_allclose(found["joined/kernel"], hidden, rtol=1e-4, atol=1e-6)


# Multiplications of one forward pass by hand: window, channels, features, positions.
PASSES = {
    # 28 x 28 after both, then 3,136 features of 14 x 14 positions.
    "conv_2": ((28, 28, 1), 784 * 9 * (1 * 64 + 64 * 64) + 12_544 * 256 + 256**2 + 2_560),
    # 40.8 million are those of 1512.03385's network with projections as shortcuts.
    "resnet_20": (
        (32, 32, 3),
        1024 * 9 * (3 * 16 + 6 * 16 * 16)
        + 256 * (9 * (16 * 32 + 5 * 32 * 32) + 16 * 32)
        + 64 * (9 * (32 * 64 + 5 * 64 * 64) + 32 * 64)
        + 640,
    ),
}


@cases.every(PASSES)
def test_multiplications_are_those_of_a_forward_pass(name):
    shape, expected = PASSES[name]
    model = getattr(models, name)(shape)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    costs = multiplications(model.apply, *shapes, shape)
    kernels = {p: leaf.size for p, leaf in leaves_by_path(shapes[0]) if p.endswith("kernel")}
    assert costs.keys() == kernels.keys()
    assert sum(costs[path] * size for path, size in kernels.items()) == expected


def test_every_token_multiplies_the_weights_of_a_layer():
    model = models.from_linen(linen.Dense(4), (6, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    assert multiplications(model.apply, *shapes, (6, 3)) == {"kernel": 6}


def shared_kernel(params, state, x, *, train, key=None):
    return jnp.tanh(x @ params["w"]) @ params["w"], state


def test_a_kernel_that_is_applied_twice_has_the_rows_of_both():
    w, x = drawn(3, 3), drawn(4, 3, seed=1)
    found = layer_inputs(shared_kernel, {"w": w}, {}, x)["w"]
    np.testing.assert_allclose(found, np.concatenate([x, np.tanh(x @ w)]), rtol=1e-5)


def given():
    return cases.evidence()._replace(objective=cases.OBJECTIVE)


def test_wanda_is_size_times_the_norm_of_the_inputs():
    evidence = given()
    x = np.asarray(evidence.examples.images, np.float32).reshape(9, 6) / 255
    first, second = jax.tree.map(np.asarray, (evidence.final["hidden_0"], evidence.final["output"]))
    hidden = np.tanh(x @ first["kernel"] + first["bias"])
    scores = criteria.wanda().score((), evidence)
    for leaf, inputs, found in (
        (first["kernel"], x, scores["hidden_0"]["kernel"]),
        (second["kernel"], hidden, scores["output"]["kernel"]),
    ):
        norms = np.sqrt((inputs.astype(np.float64) ** 2).sum(0))
        np.testing.assert_allclose(found, np.abs(leaf) * norms[:, None], rtol=1e-4)


LINEAR = Objective(lambda x: x, lambda p, s, x, **_: (x @ p["w"], s), lambda y, x: y)


def test_optimal_brain_surgeon_is_the_least_loss_of_a_linear_layer_without_the_weight():
    damping, x, w = 0.3, np.asarray(drawn(12, 5), np.float64), np.asarray(drawn(5, 2, seed=3))
    evidence = criteria.Evidence(
        {}, {"w": jnp.asarray(w)}, jax.random.key(0), None, {}, jnp.asarray(x, jnp.float32), LINEAR
    )
    scores = criteria.optimal_brain_surgeon(damping).score((), evidence)["w"]
    # Least squares without input i; the damping is five more rows.
    rows = np.concatenate([x, np.sqrt(damping * np.mean((x**2).sum(axis=0))) * np.eye(5)])
    for i in range(5):
        others = np.delete(rows, i, axis=1)
        for j in range(2):
            _, residual, *_ = np.linalg.lstsq(others, rows @ w[:, j], rcond=None)
            np.testing.assert_allclose(scores[i, j], residual.item() / 2, rtol=1e-4)


def test_surgeon_scores_rank_the_same_whatever_the_units_and_the_number_of_examples():
    w, x = drawn(5, 2, seed=3), drawn(12, 5)

    def score(inputs):
        evidence = criteria.Evidence({}, {"w": w}, jax.random.key(0), None, {}, inputs, LINEAR)
        return np.asarray(criteria.optimal_brain_surgeon().score((), evidence)["w"])

    np.testing.assert_allclose(score(4 * x), 16 * score(x), rtol=1e-4)
    np.testing.assert_allclose(score(jnp.tile(x, (3, 1))), 3 * score(x), rtol=1e-4)
    assert np.isfinite(score(0 * x)).all()


def of_layer(w, x, mask=None):
    params = {"w": jnp.asarray(w, jnp.float32)}
    examples = jnp.asarray(x, jnp.float32)
    return criteria.Evidence({}, params, jax.random.key(0), mask, {}, examples, LINEAR)


def test_reconstructed_weights_are_least_squares_on_the_kept_inputs():
    damping, x, w = 0.3, np.asarray(drawn(12, 5), np.float64), np.asarray(drawn(5, 4, seed=3))
    kept = np.random.default_rng(1).random((5, 4)) < 0.5
    kept[:, 0], kept[:, 1] = True, False  # everything kept, and nothing
    found = criteria.reconstruct(of_layer(w, x), {"w": jnp.asarray(kept)}, damping)["w"]
    rows = np.concatenate([x, np.sqrt(damping * np.mean((x**2).sum(axis=0))) * np.eye(5)])
    for j in range(4):
        best, *_ = np.linalg.lstsq(rows[:, kept[:, j]], rows @ w[:, j], rcond=None)
        np.testing.assert_allclose(found[kept[:, j], j], best, rtol=1e-4, atol=1e-6)
    assert (np.asarray(found)[~kept] == 0).all()
    np.testing.assert_array_equal(found[:, 0], w[:, 0])


def test_pruning_one_weight_and_moving_the_others_costs_what_the_surgeon_says():
    damping, x, w = 0.3, np.asarray(drawn(12, 5), np.float64), np.asarray(drawn(5, 2, seed=3))
    scores = criteria.optimal_brain_surgeon(damping).score((), of_layer(w, x))["w"]
    added = damping * np.mean((x**2).sum(axis=0))
    for place in np.ndindex(5, 2):
        kept = np.ones((5, 2), bool)
        kept[place] = False
        found = criteria.reconstruct(of_layer(w, x), {"w": jnp.asarray(kept)}, damping)["w"]
        moved = w - np.asarray(found, np.float64)
        lost = ((x @ moved) ** 2).sum() / 2 + added * (moved**2).sum() / 2
        np.testing.assert_allclose(scores[place], lost, rtol=1e-3)


@pytest.mark.parametrize("damping", [1e-3, 0.1, 10.0])
def test_no_layer_is_further_from_what_it_gave_than_without_reconstruction(damping):
    evidence, dense = given(), masks.ones(given().final)
    criterion, allocation = criteria.wanda(), allocate.globally(0.6)
    counts = allocation.schedule(dense, 2)[1]
    mask = prune(criterion, allocation, evidence, dense, counts)
    new = criteria.reconstruct(evidence, mask, damping)
    objective = evidence.objective
    inputs = layer_inputs(objective.apply, evidence.final, {}, objective.prepare(evidence.examples))
    before, after = dict(leaves_by_path(evidence.final)), dict(leaves_by_path(new))
    for path, kept in leaves_by_path(mask):
        x, whole = np.asarray(inputs[path], np.float64), np.asarray(before[path], np.float64)
        assert (np.asarray(after[path])[~np.asarray(kept)] == 0).all()
        error, without = (
            np.linalg.norm(x @ (whole - other))
            for other in (np.asarray(after[path]), np.where(kept, whole, 0))
        )
        assert error < 0.98 * without
    for path in before.keys() - dict(leaves_by_path(mask)).keys():
        np.testing.assert_array_equal(after[path], before[path])


def test_reconstructions_are_the_same_in_a_population():
    mask = cases.mask()
    update = jax.jit(
        lambda evidence: criteria.reconstruct(evidence._replace(objective=cases.OBJECTIVE), mask)
    )
    population = [cases.evidence(seed) for seed in range(2)]
    together = jax.jit(jax.vmap(update))(cases.stack(population))
    for index, evidence in enumerate(population):
        cases.assert_close(cases.member(together, index), update(evidence), 1e-3)


def test_a_mask_that_does_not_fit_is_refused():
    with pytest.raises(MaskError, match=re.escape("w: got bool[3, 2], expected bool[2, 2]")):
        criteria.reconstruct(of_layer(drawn(2, 2), drawn(4, 2)), {"w": jnp.ones((3, 2), bool)})


@pytest.mark.parametrize("damping", [0.0, -1.0, float("nan")])
def test_a_damping_that_is_not_above_zero_is_refused(damping):
    message = f"damping: got {damping}, expected a number above 0"
    with pytest.raises(TicketError, match=message):
        criteria.optimal_brain_surgeon(damping)
    with pytest.raises(TicketError, match=message):
        criteria.reconstruct(of_layer(drawn(2, 2), drawn(4, 2)), {"w": None}, damping)


def test_surgeon_scores_are_the_same_in_a_population():
    criterion = criteria.optimal_brain_surgeon(0.1)
    score = jax.jit(lambda evidence: cases.score(criterion, evidence))
    population = [cases.evidence(seed) for seed in range(2)]
    together = jax.jit(jax.vmap(score))(cases.stack(population))
    for index, evidence in enumerate(population):
        cases.assert_close(cases.member(together, index), score(evidence), 1e-4)


def everything(evidence):
    return masks.ones(evidence.final, lambda path, leaf: leaf.ndim > 1)


READERS = {
    "wanda": lambda evidence: criteria.wanda().score((), evidence),
    "optimal_brain_surgeon": lambda evidence: criteria.optimal_brain_surgeon(1.0).score(
        (), evidence
    ),
    "reconstruct": lambda evidence: criteria.reconstruct(evidence, everything(evidence)),
}


@cases.every(READERS)
def test_what_the_evidence_lacks_and_kernels_without_inputs_are_named(name):
    read = READERS[name]
    bare = given()._replace(examples=None, model_state=None)
    with pytest.raises(
        TicketError, match=f"{name}: the evidence lacks examples, model_state; give"
    ):
        read(bare)
    scaled = Objective(lambda x: x, lambda p, s, x, **_: (x @ (2 * p["w"]), s), lambda y, x: y)
    params = {"w": jnp.ones((2, 2))}
    mask = masks.ones(params, masks.matching("w"))
    evidence = criteria.Evidence(
        params, params, jax.random.key(0), mask, {}, jnp.ones((3, 2)), scaled
    )
    message = f"{name}: w is not multiplied with its inputs in one product"
    with pytest.raises(TicketError, match=re.escape(message)):
        read(evidence)

"""Signal propagation against closed forms and NumPy: Jacobians, gradient flow, isometries."""

import functools
import itertools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import searches
import xarray

from experiments.isometry.neurons import incoming_norms, neurons
from jaxticket import (
    Model,
    TicketError,
    criteria,
    isometry,
    learners,
    masks,
    models,
    plots,
    prune,
)
from jaxticket.analysis import (
    gradient_flow,
    jacobian_singular_values,
    jacobian_summary,
    with_gradient_flow,
)
from jaxticket.learners import TrainState

WIDTHS = (6, 8, 7, 5, 3)


def chain(seed=0):
    """Kernels of a perceptron, all but the last followed by its activation."""
    generator = np.random.default_rng(seed)
    pairs = itertools.pairwise(WIDTHS)
    return {f"layer_{n}": jnp.float32(generator.normal(size=p)) for n, p in enumerate(pairs)}


def perceptron(activation=lambda x: x) -> Model:
    def apply(params, model_state, x, *, train, key=None):
        x = x.reshape(len(x), -1)
        for name, kernel in params.items():
            x = x @ kernel
            x = activation(x) if name != f"layer_{len(params) - 1}" else x
        return x, model_state

    return Model(None, apply)


def inputs(number=9, seed=1, shape=(2, 3)):
    return jnp.float32(np.random.default_rng(seed).normal(size=(number, *shape)))


def of_mask(rows, columns):
    """A mask that keeps whole rows and columns."""
    return jnp.asarray(np.outer(rows, columns).astype(bool))


# Jacobians.


def test_a_linear_network_has_the_singular_values_of_its_product():
    params = chain()
    product = np.linalg.multi_dot([np.float64(kernel) for kernel in params.values()])
    expected = np.linalg.svd(product, compute_uv=False)
    found = jacobian_singular_values(perceptron().apply, params, {}, inputs())
    assert found.shape == (9, 3)
    np.testing.assert_allclose(found, np.tile(expected, (9, 1)), rtol=1e-5)


@pytest.mark.parametrize("at_a_time", [1, 4, 9, 100])
def test_a_nonlinear_network_has_those_of_its_explicit_jacobian_at_each_example(at_a_time):
    params, x = chain(), inputs()
    found = jacobian_singular_values(perceptron(jnp.tanh).apply, params, {}, x, at_a_time=at_a_time)
    for row, example in zip(found, np.float64(x).reshape(9, 6), strict=True):
        jacobian, hidden = np.eye(6), example
        *before, last = (np.float64(kernel) for kernel in params.values())
        for kernel in before:
            hidden = np.tanh(hidden @ kernel)
            jacobian = jacobian @ kernel * (1 - hidden**2)
        expected = np.linalg.svd(jacobian @ last, compute_uv=False)
        np.testing.assert_allclose(row, expected, rtol=1e-3, atol=1e-4 * expected[0])
    assert len({float(row[0]) for row in found}) == 9


def test_they_are_exactly_one_for_an_orthogonal_linear_network():
    widths = [(6, 6)] * 5 + [(6, 3)]
    keys = jax.random.split(jax.random.key(0), len(widths))
    draw = jax.nn.initializers.orthogonal()
    params = {f"layer_{n}": draw(keys[n], pair) for n, pair in enumerate(widths)}
    values = jacobian_singular_values(perceptron().apply, params, {}, inputs())
    np.testing.assert_allclose(values, 1, rtol=1e-5)
    found = jacobian_summary(values)
    assert float(found.mean) == pytest.approx(1, rel=1e-6)
    assert float(found.condition_number) == pytest.approx(1, rel=1e-5)


def test_scaling_every_kernel_scales_them_by_its_power():
    params, apply = chain(), perceptron(jax.nn.relu).apply
    twice = jax.tree.map(lambda kernel: 2 * kernel, params)
    once, scaled = (jacobian_singular_values(apply, p, {}, inputs()) for p in (params, twice))
    np.testing.assert_allclose(scaled, 16 * once, rtol=1e-4, atol=1e-4 * float(once.max()))
    assert (once[:, 0] > 0.1).all()


def test_the_summary_is_mean_median_condition_and_mean_spectrum():
    values = np.float32([[4, 2], [9, 3], [8, 1], [5, 0]])
    found = jacobian_summary(jnp.asarray(values))
    assert float(found.mean) == 4
    assert float(found.condition_number) == (3 + 8) / 2  # of 2, 3, 8 and infinity
    assert found.spectrum.tolist() == [6.5, 1.5]
    assert jacobian_summary(jnp.zeros((3, 2))).condition_number == np.inf


def test_jacobians_of_a_population_are_those_of_each_network():
    apply, x = perceptron(jnp.tanh).apply, inputs()
    of = lambda params: jacobian_singular_values(apply, params, {}, x, at_a_time=4)  # noqa: E731
    together = jax.jit(jax.vmap(of))(cases.stack([chain(0), chain(1)]))
    for index in range(2):
        np.testing.assert_allclose(together[index], of(chain(index)), rtol=1e-4, atol=1e-4)
    assert not np.allclose(together[0], together[1])


def test_running_statistics_keep_examples_apart():
    model = cases.MODELS["linen_with_batch_statistics"]()
    params, model_state = jax.jit(model.init)(jax.random.key(0))
    x = inputs(shape=cases.SHAPE)
    together = jacobian_singular_values(model.apply, params, model_state, x)
    alone = jacobian_singular_values(model.apply, params, model_state, x[:1])
    np.testing.assert_allclose(together[:1], alone, rtol=1e-5, atol=1e-6)
    single = lambda one: model.apply(params, model_state, one[None], train=False)[0][0]  # noqa: E731
    explicit = np.asarray(jax.jacfwd(single)(x[0])).reshape(3, 6)
    expected = np.linalg.svd(explicit, compute_uv=False)
    np.testing.assert_allclose(alone[0], expected, rtol=1e-4, atol=1e-6)


def test_nothing_to_differentiate_by_is_refused():
    with pytest.raises(TicketError, match="inputs: got uint8, expected floats"):
        jacobian_singular_values(perceptron().apply, chain(), {}, np.zeros((2, 6), np.uint8))
    with pytest.raises(TicketError, match="at_a_time: got 0"):
        jacobian_singular_values(perceptron().apply, chain(), {}, inputs(), at_a_time=0)


def test_the_linear_seven_layers_are_their_product():
    model = models.linear_mlp_7(cases.SHAPE, 3, width_multiplier=0.04)
    params, _ = jax.jit(model.init)(jax.random.key(0))
    kernels = [np.float64(params[f"hidden_{n}"]["kernel"]) for n in range(6)]
    product = np.linalg.multi_dot([*kernels, np.float64(params["output"]["kernel"])])
    x = inputs(shape=cases.SHAPE)
    outputs, _ = model.apply(params, {}, x, train=False)
    np.testing.assert_allclose(outputs, np.float64(x).reshape(9, 6) @ product, atol=1e-5)
    assert np.abs(outputs).max() > 1e-3


def test_the_seven_layers_with_relus_are_their_equation():
    model = models.mlp_7(cases.SHAPE, 3, width_multiplier=0.08)
    params, _ = jax.jit(model.init)(jax.random.key(0))
    x = np.float64(inputs(shape=cases.SHAPE)).reshape(9, 6)
    for number in range(6):
        x = np.maximum(x @ np.float64(params[f"hidden_{number}"]["kernel"]), 0)
    expected = x @ np.float64(params["output"]["kernel"])
    found, _ = model.apply(params, {}, inputs(shape=cases.SHAPE), train=False)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(expected).max() > 1e-3


# Gradient flow.


def flow_oracle(params, mask, examples):
    """‖m ⊙ ∇L‖² of the handwritten network, its derivatives written out."""
    x = np.float64(examples.images).reshape(-1, 6) / 255
    kernels = [np.float64(params[n]["kernel"]) for n in ("hidden_0", "output")]
    kept = [np.float64(mask[n]["kernel"]) for n in ("hidden_0", "output")]
    hidden = np.tanh(x @ (kernels[0] * kept[0]) + np.float64(params["hidden_0"]["bias"]))
    logits = hidden @ (kernels[1] * kept[1]) + np.float64(params["output"]["bias"])
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    above = (shares - np.eye(3)[examples.labels]) / len(x)
    below = above @ (kernels[1] * kept[1]).T * (1 - hidden**2)
    slopes = [hidden.T @ above * kept[1], above.sum(0), x.T @ below * kept[0], below.sum(0)]
    return sum((slope**2).sum() for slope in slopes)


@pytest.mark.parametrize("density", [0.5, 1.0])
def test_gradient_flow_is_the_squared_norm_of_the_masked_gradient(density):
    learner, examples, mask = cases.learner(), cases.examples(20), cases.mask(0, density)
    state = TrainState(cases.params(), {}, ())
    found = gradient_flow(learner, state, mask, examples)
    np.testing.assert_allclose(found, flow_oracle(state.params, mask, examples), rtol=1e-4)
    whole = flow_oracle(state.params, masks.ones(state.params), examples)
    assert (density == 1) == np.isclose(found, whole)


def test_gradient_flow_of_a_population_is_that_of_each_network():
    learner, examples = cases.learner(), cases.examples(20)
    params = cases.stack([cases.params(0), cases.params(1)])
    mask = cases.stack([cases.mask(0), cases.mask(1)])
    of = lambda p, m: gradient_flow(learner, TrainState(p, {}, ()), m, examples)  # noqa: E731
    together = jax.jit(jax.vmap(of))(params, mask)
    for index in range(2):
        alone = flow_oracle(cases.params(index), cases.mask(index), examples)
        np.testing.assert_allclose(together[index], alone, rtol=1e-4)


def test_gradient_flow_refuses_what_is_not_measured():
    learner, state = cases.learner(), TrainState(cases.params(), {}, ())
    with pytest.raises(TicketError, match="unknown metric 'los': did you mean 'loss'"):
        gradient_flow(learner, state, cases.mask(), cases.examples(4), metric="los")
    with pytest.raises(TicketError, match="number: got 0"):
        with_gradient_flow(learner, 0)


# Isometries.

ROWS, COLUMNS = np.array([1, 0, 1, 1, 1, 0]), np.array([1, 1, 0, 1, 0])


def structured():
    """The handwritten network without two of its hidden units and two of its inputs."""
    mask = masks.ones(cases.params())
    mask["hidden_0"]["kernel"] = of_mask(ROWS, COLUMNS)
    mask["output"]["kernel"] = of_mask(COLUMNS, np.ones(3))
    return mask


def remaining(params, mask):
    """The remaining matrices, layer by layer, in float64."""
    for path in cases.LAYERS:
        layer, leaf = path.split("/")
        kept = np.asarray(mask[layer][leaf])
        where = np.ix_(kept.any(axis=1), kept.any(axis=0))
        yield np.float64(params[layer][leaf])[where]


@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_orthogonalizing_takes_the_polar_factor_of_what_remains(gain):
    params, mask = cases.params(), structured()
    found = isometry.orthogonalize(params, mask, gain=gain)
    cases.assert_zero_where_pruned(found, mask)
    for left, before in zip(remaining(found, mask), remaining(params, mask), strict=True):
        left_vectors, _, right_vectors = np.linalg.svd(before, full_matrices=False)
        np.testing.assert_allclose(left, gain * left_vectors @ right_vectors, atol=1e-5)
    for layer in ("hidden_0", "output"):
        cases.assert_same_bits(found[layer]["bias"], params[layer]["bias"])


def test_nothing_orthogonal_is_nearer_to_the_weights():
    before = np.random.default_rng(0).normal(size=(4, 4))
    mask = {"w": jnp.ones((4, 4), bool)}
    polar = isometry.orthogonalize({"w": jnp.float32(before)}, mask, gain=1.0)["w"]
    nearest = np.linalg.norm(before - polar)
    for seed in range(50):
        drawn = np.linalg.qr(np.random.default_rng(seed).normal(size=(4, 4)))[0]
        assert np.linalg.norm(before - drawn) > nearest


def test_orthogonalizing_again_or_scaled_weights_changes_nothing():
    params, mask = cases.params(), structured()
    once = isometry.orthogonalize(params, mask, gain=1.0)
    cases.assert_close(isometry.orthogonalize(once, mask, gain=1.0), once, 1e-5)
    scaled = jax.tree.map(lambda p, m: p if m is None else 1e-6 * p, params, mask)
    cases.assert_close(isometry.orthogonalize(scaled, mask, gain=1.0), once, 1e-4)


def test_what_lacks_rank_keeps_lacking_it_and_an_empty_layer_stays_empty():
    column = np.random.default_rng(0).normal(size=(5, 1))
    params = {"kernel": jnp.float32(column @ np.ones((1, 3)))}
    full, empty = (
        isometry.orthogonalize(params, {"kernel": jnp.full((5, 3), kept)}, gain=1.0)["kernel"]
        for kept in (True, False)
    )
    np.testing.assert_allclose(np.linalg.svd(full, compute_uv=False), [1, 0, 0], atol=1e-5)
    assert not cases.bits(empty).any()


def test_convolutions_are_orthogonalized_as_matrices_of_inputs_by_filters():
    kernel = jnp.float32(np.random.default_rng(0).normal(size=(3, 3, 2, 4)))
    mask = jnp.ones(kernel.shape, bool).at[..., 1].set(False)
    found = isometry.orthogonalize({"k": kernel}, {"k": mask}, gain=1.0)["k"]
    gram = np.float64(found).reshape(18, 4).T @ np.float64(found).reshape(18, 4)
    np.testing.assert_allclose(gram, np.diag([1.0, 0, 1, 1]), atol=1e-5)
    assert not cases.bits(found[..., 1]).any()


def distances(params, mask, gain):
    """‖W^T W / g² − I‖² of what remains, of the smaller side, layer by layer."""
    for left in remaining(params, mask):
        tall = left if left.shape[0] >= left.shape[1] else left.T
        yield np.sum((tall.T @ tall / gain**2 - np.eye(tall.shape[1])) ** 2)


@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_approximate_isometry_reaches_an_exact_one_where_there_is_one(gain):
    params, mask = cases.params(), structured()
    options = {"gain": gain, "steps": 500, "learning_rate": 0.02}
    found = isometry.approximate_isometry(params, mask, **options)
    cases.assert_zero_where_pruned(found, mask)
    assert max(distances(params, mask, gain)) > 1
    assert max(distances(found, mask, gain)) < 1e-4


def test_approximate_isometry_is_as_near_as_an_unstructured_mask_lets_it_be():
    kept = np.array([[1, 1], [1, 0]], bool)
    params = {"w": jnp.array([[0.9, 0.3], [0.4, 5.0]])}
    options = {"gain": 1.0, "steps": 2000, "learning_rate": 0.01}
    found = np.asarray(
        isometry.approximate_isometry(params, {"w": jnp.asarray(kept)}, **options)["w"]
    )
    assert not cases.bits(found[1, 1]).any()

    def distance(a, b, c):
        left = np.array([[a, b], [c, 0]])
        return np.sum((left.T @ left - np.eye(2)) ** 2)

    # [[0, 1], [1, 0]] is an isometry, and lies in the same basin as what is given.
    assert distance(found[0, 0], found[0, 1], found[1, 0]) < 1e-3
    polar = isometry.orthogonalize(params, {"w": jnp.asarray(kept)}, gain=1.0)["w"]
    assert distance(polar[0, 0], polar[0, 1], polar[1, 0]) > 1e-2


def test_a_sparsity_aware_draw_has_the_variance_of_each_units_own_inputs():
    inputs_of = np.array([4000, 1000, 250, 0])
    kept = jnp.asarray(np.arange(4000)[:, None] < inputs_of[None])
    fresh = {"kernel": jnp.ones((4000, 4)), "bias": jnp.full(4, 3.0)}
    mask = {"kernel": kept, "bias": None}
    drawn = isometry.sparsity_aware(jax.random.key(0), fresh, fresh, mask)
    cases.assert_zero_where_pruned(drawn, mask)
    cases.assert_same_bits(drawn["bias"], fresh["bias"])
    for unit, number in enumerate(inputs_of[:3]):
        values = np.float64(drawn["kernel"][:number, unit])
        # Of n normal numbers the mean square is off by √(2 / n) of itself, mostly.
        np.testing.assert_allclose(number * np.mean(values**2), 2, rtol=4 * (2 / number) ** 0.5)
        assert abs(values.mean()) < 4 * (2 / number) ** 0.5 / number**0.5


ACTIONS = (isometry.orthogonalized, isometry.isometric, isometry.sparsity_aware)


@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_prunable_and_no_matrix_keeps_its_values(action):
    """A bias read as a matrix of one row would be blown up, or drawn where it was zero."""
    params = {"kernel": jnp.ones((3, 2)), "bias": jnp.array([0.0, 0.5, 7.0]), "scale": jnp.ones(())}
    mask = masks.ones(params, masks.matching("*"))
    mask["bias"] = mask["bias"].at[2].set(False)
    made = action(jax.random.key(0), params, params, mask)
    cases.assert_same_bits(made["bias"], jnp.array([0.0, 0.5, 0.0]))
    cases.assert_same_bits(made["scale"], params["scale"])
    assert (made["kernel"] != params["kernel"]).any()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("action", ACTIONS)
def test_half_precision_is_computed_in_float32_and_rounded_once(action, dtype):
    cast = lambda tree, to: jax.tree.map(lambda leaf: leaf.astype(to), tree)  # noqa: E731
    half, mask = cast(cases.params(), dtype), structured()
    made = action(jax.random.key(0), half, half, mask)
    whole = cast(half, jnp.float32)
    expected = action(jax.random.key(0), whole, whole, mask)
    cases.assert_same_bits(made, cast(expected, dtype))


# In a search. With a learning rate of zero nothing moves, so that what trained is what restarted.


@functools.cache
def searched():
    still = learners.supervised(cases.handwritten(), optax.sgd(0.0))
    return searches.search(
        learner=with_gradient_flow(still, 7),
        arms=("ticket",),
        retraining="fine_tuning",
        action=isometry.orthogonalized,
        levels=2,
        replicates=1,
    )


def test_a_ticket_trains_on_from_what_its_action_makes_of_the_trained_weights():
    before, after = (searched().network("ticket", level, 0) for level in range(2))
    expected = isometry.orthogonalize(before.params, after.mask, gain=isometry.RELU_GAIN)
    cases.assert_close(after.params, jax.device_get(expected), 1e-5)
    cases.assert_zero_where_pruned(after.params, after.mask)
    assert not np.allclose(after.params["output"]["kernel"], before.params["output"]["kernel"])


def test_a_search_can_have_the_curve_of_gradient_flow():
    few = jax.tree.map(lambda leaf: leaf[:7], cases.data()["validation"])
    networks = [searched().network("ticket", level, 0) for level in range(2)]
    for network in networks:
        curve = network.curves["validation_gradient_flow"]
        assert curve.shape == network.curves["validation_loss"].shape
        expected = flow_oracle(network.params, network.mask, few)
        np.testing.assert_allclose(curve, np.full_like(curve, expected), rtol=1e-4)
    first, last = (network.curves["validation_gradient_flow"][-1] for network in networks)
    assert abs(first - last) > 0.01 * first


# Neurons, as the experiment prunes them.


def pruned_neurons(seed=0):
    """A perceptron with widths 6, 8, 7, 5, 3 without 3 in 5 of its neurons, pruned in one level."""
    params = {name: {"kernel": kernel} for name, kernel in chain(seed).items()}
    dense, allocation = masks.ones(params), neurons(0.6)
    counts = prune.schedule(allocation, dense, 2)[1]
    evidence = criteria.Evidence(params, params, jax.random.key(0))
    return params, prune.prune(incoming_norms(), allocation, evidence, dense, counts), counts


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_neurons_of_the_largest_l1_norm_stay_with_all_their_weights(seed):
    params, mask, counts = pruned_neurons(seed)
    before = np.ones(6, bool)
    for place, (name, layer) in enumerate(params.items()):
        kernel = np.float64(layer["kernel"])
        after = np.ones(kernel.shape[1], bool)
        if place < 3:
            after[np.argsort(np.abs(kernel).sum(axis=0))[: round(0.6 * len(after))]] = False
        np.testing.assert_array_equal(mask[name]["kernel"], np.outer(before, after))
        assert counts[f"{name}/kernel"] == before.sum() * after.sum()
        before = after


def test_a_neuron_that_goes_takes_its_bias_along():
    params, mask, _ = pruned_neurons()
    kernels = masks.apply(params, mask)
    generator = np.random.default_rng(2)

    def outputs(biases, kept):
        x = np.float64(inputs()).reshape(9, 6)
        for place, (layer, bias) in enumerate(zip(kernels.values(), biases, strict=True)):
            x = np.maximum(x, 0) if place else x
            x = x @ np.float64(layer["kernel"]) + np.where(kept[place], bias, 9.0)
        return x

    biases = [generator.normal(size=width) for width in WIDTHS[1:]]
    alive = [np.asarray(layer["kernel"]).any(axis=0) for layer in mask.values()]
    everything = [np.ones(width, bool) for width in WIDTHS[1:]]
    np.testing.assert_array_equal(outputs(biases, alive), outputs(biases, everything))
    assert not all(kept.all() for kept in alive)


def test_networks_that_are_no_chain_of_matrices_are_refused():
    for shapes in ([(3, 4), (5, 2)], [(3, 3, 1, 2), (2, 3)]):
        mask = {f"layer_{n}": np.ones(shape, bool) for n, shape in enumerate(shapes)}
        with pytest.raises(TicketError, match="neurons: got kernels of shapes"):
            neurons(0.5).schedule(mask, 2)


def test_spectra_are_drawn_as_the_means_of_their_replicates():
    values = np.random.default_rng(0).uniform(0.1, 2, (2, 4, 3, 5))
    values[0, 1, :, -1] = 0
    dims = ("variant", "stage", "replicate", "place")
    names = {"variant": ["a", "b"], "stage": ["dense", "pruned", "restarted", "trained"]}
    drawn = plots.jacobian_spectra(xarray.Dataset({"spectrum": (dims, values)}, coords=names))
    for axes, panel in zip(drawn.axes, values, strict=True):
        assert axes.get_yscale() == "log"
        for line, stage in zip(axes.lines, panel, strict=True):
            known = (stage > 0).all(axis=0)
            np.testing.assert_allclose(line.get_ydata(), stage.mean(axis=0)[known])
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 6)[known])
    assert len(drawn.axes[0].lines[1].get_ydata()) == 4
    with pytest.raises(TicketError, match="results: got no spectrum"):
        plots.jacobian_spectra(xarray.Dataset())

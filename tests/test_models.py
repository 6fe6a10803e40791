"""The laws of `Model`, over networks of every making, and what each factory promises."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxticket import models
from jaxticket.errors import TicketError
from jaxticket.types import Model

# Truncated normals, Flax's default, take seconds to compile.
uniform = jax.nn.initializers.glorot_uniform()


class LinenNetwork(linen.Module):
    """Everything an adapter must carry: weights, batch statistics, dropout."""

    @linen.compact
    def __call__(self, x, *, train):
        x = linen.Dense(8, kernel_init=uniform, name="first")(x)
        x = linen.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(x)
        x = linen.Dropout(0.5, deterministic=not train)(linen.relu(x))
        return linen.Dense(3, kernel_init=uniform, name="last")(x)


class NnxNetwork(nnx.Module):
    """The same network in NNX."""

    def __init__(self, rngs):
        self.first = nnx.Linear(4, 8, kernel_init=uniform, rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(8, 3, kernel_init=uniform, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.relu(self.norm(self.first(x)))))


class NnxTower(nnx.Module):
    """Layers in a list."""

    def __init__(self, layers, rngs):
        self.layers = nnx.List(
            [nnx.Linear(4, 4, kernel_init=uniform, rngs=rngs) for _ in range(layers)]
        )

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def handwritten() -> Model:
    """A `Model` that no library made: a linear map that counts its training calls."""

    def init(key):
        kernel = jax.random.normal(key, (4, 3)) / 2
        return {"linear": {"kernel": kernel, "bias": jnp.zeros(3)}}, {"calls": jnp.zeros(())}

    def apply(params, model_state, x, *, train, key=None):
        output = x @ params["linear"]["kernel"] + params["linear"]["bias"][None]
        return output, {"calls": model_state["calls"] + 1} if train else model_state

    return Model(init, apply)


MODELS = {
    "mlp": models.mlp((4,), (8,), 3, initializer="glorot_uniform"),
    "linen": models.from_linen(LinenNetwork(), (4,)),
    "nnx": models.from_nnx(NnxNetwork),
    "nnx_tower": models.from_nnx(lambda rngs: NnxTower(2, rngs)),
    "handwritten": handwritten(),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
both_adapters = pytest.mark.parametrize("name", ["linen", "nnx"])


@functools.cache
def population(model: Model):
    """Three keys and the networks that they begin as, made at once."""
    keys = jax.random.split(jax.random.key(0), 3)
    return keys, jax.jit(jax.vmap(model.init))(keys)


@pytest.fixture
def x():
    return 1 + 2 * jax.random.normal(jax.random.key(1), (16, 4))


def assert_close(actual, expected, tolerance=1e-6):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for path, leaf in jax.tree.leaves_with_path(actual):
        name = jax.tree_util.keystr(path)
        other = dict(jax.tree.leaves_with_path(expected))[path]
        np.testing.assert_allclose(leaf, other, rtol=tolerance, atol=tolerance, err_msg=name)


def pick(members, member):
    return jax.tree.map(lambda leaf: leaf[member], members)


def assert_plain(tree):
    if type(tree) is dict:
        for name, branch in tree.items():
            assert type(name) is str
            assert_plain(branch)
    else:
        assert isinstance(tree, jax.Array)


def one_line(error) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


# The laws of every Model.


@every_model
def test_init_gives_plain_dicts_of_arrays(model, x):
    params, model_state = model.init(jax.random.key(0))
    assert_plain(params)
    assert_plain(model_state)
    _, trained = model.apply(params, model_state, x, train=True, key=jax.random.key(2))
    assert_plain(trained)
    assert jax.tree.structure(trained) == jax.tree.structure(model_state)


@every_model
def test_init_is_the_same_under_jit_and_vmap(model):
    keys, together = population(model)
    for member, key in enumerate(keys):
        assert_close(model.init(key), pick(together, member))
    assert_close(jax.jit(model.init)(keys[0]), pick(together, 0))


@every_model
def test_init_depends_on_the_key_alone(model):
    first, second, other = (model.init(jax.random.key(seed)) for seed in (0, 0, 1))
    assert_close(first, second, tolerance=0)
    leaves = zip(jax.tree.leaves(first[0]), jax.tree.leaves(other[0]), strict=True)
    assert any(bool((a != b).any()) for a, b in leaves)


@every_model
def test_apply_is_the_same_under_jit_and_over_a_population(model, x):
    keys, members = population(model)

    def train(member, key):
        return model.apply(*member, x, train=True, key=key)

    together = jax.jit(jax.vmap(train))(members, keys)
    for member in range(3):
        alone = train(pick(members, member), keys[member])
        assert_close(pick(together, member), alone, 1e-5)


@every_model
def test_evaluation_is_deterministic_and_leaves_the_state(model, x):
    params, model_state = model.init(jax.random.key(0))
    output, after = model.apply(params, model_state, x, train=False)
    again, _ = model.apply(params, model_state, x, train=False, key=jax.random.key(5))
    assert_close(after, model_state, tolerance=0)
    np.testing.assert_array_equal(output, again)


@both_adapters
def test_no_tracer_leaks(name, x):
    model = MODELS[name]

    def loss(params, model_state, key):
        return model.apply(params, model_state, x, train=True, key=key)[0].sum()

    with jax.checking_leaks():
        member = jax.jit(model.init)(jax.random.key(0))
        gradients = jax.jit(jax.grad(loss))(*member, jax.random.key(1))
    assert jax.tree.structure(gradients) == jax.tree.structure(member[0])


# Both adapters.


@both_adapters
def test_statistics_move_in_training_only(name, x):
    params, model_state = MODELS[name].init(jax.random.key(0))
    _, trained = MODELS[name].apply(params, model_state, x, train=True, key=jax.random.key(2))
    preactivation = x @ params["first"]["kernel"]
    norm = trained["batch_stats"]["norm"] if name == "linen" else trained["norm"]
    np.testing.assert_allclose(norm["mean"], 0.1 * preactivation.mean(0), atol=1e-5)
    np.testing.assert_allclose(norm["var"], 0.9 + 0.1 * preactivation.var(0), rtol=1e-4)


@both_adapters
def test_dropout_follows_its_key(name, x):
    model = MODELS[name]
    member = model.init(jax.random.key(0))
    first, second, other = (
        model.apply(*member, x, train=True, key=jax.random.key(seed))[0] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    with pytest.raises(TicketError, match="key=None: pass apply") as error:
        model.apply(*member, x, train=True)
    one_line(error)


def test_linen_and_nnx_agree_after_a_transplant(x):
    params, batch_stats = MODELS["nnx"].init(jax.random.key(0))
    batch_stats = jax.tree.map(lambda leaf: leaf + 0.5, batch_stats)
    states = {"linen": {"batch_stats": batch_stats}, "nnx": batch_stats}

    def loss(params, name):
        output, _ = MODELS[name].apply(params, states[name], x, train=False)
        return (output**2).mean(), output

    (_, linen_output), linen_gradient = jax.value_and_grad(loss, has_aux=True)(params, "linen")
    (_, nnx_output), nnx_gradient = jax.value_and_grad(loss, has_aux=True)(params, "nnx")
    assert_close(linen_output, nnx_output)
    assert_close(linen_gradient, nnx_gradient)


def test_modules_are_told_to_train_in_their_own_word(x):
    class Deterministic(linen.Module):
        @linen.compact
        def __call__(self, x, deterministic):
            return x if deterministic else -x

    class Silent(linen.Module):
        def __call__(self, x):
            return x

    class RunningAverage(nnx.Module):
        def __init__(self, rngs):
            self.scale = nnx.Param(jnp.ones(()))

        def __call__(self, x, use_running_average):
            return x * self.scale[...] * (1 if use_running_average else -1)

    for model, sign in (
        (models.from_linen(Deterministic(), (4,)), -1),
        (models.from_linen(Silent(), (4,)), 1),
        (models.from_nnx(RunningAverage), -1),
    ):
        member = model.init(jax.random.key(0))
        np.testing.assert_array_equal(model.apply(*member, x, train=False)[0], x)
        np.testing.assert_array_equal(model.apply(*member, x, train=True)[0], sign * x)


def test_nnx_lists_become_names_in_the_order_of_the_layers(x):
    model = models.from_nnx(lambda rngs: NnxTower(11, rngs))
    params, model_state = model.init(jax.random.key(0))
    assert model_state == {}
    assert list(params["layers"]) == [f"{layer:02}" for layer in range(11)]
    expected = x
    for layer in params["layers"].values():
        expected = expected @ layer["kernel"] + layer["bias"][None]
    assert_close(model.apply(params, model_state, x, train=False)[0], expected, 1e-5)


def test_nnx_streams_draw_apart(x):
    class Twice(nnx.Module):
        def __init__(self, rngs):
            self.first, self.second = (nnx.Dropout(0.5, rngs=rngs) for _ in range(2))

        def __call__(self, x):
            ones = jnp.ones_like(x)
            return jnp.stack([self.first(ones), self.first(ones), self.second(ones)])

    model = models.from_nnx(Twice)
    first, again, second = model.apply({}, {}, x, train=True, key=jax.random.key(0))[0]
    assert (first != again).any()
    assert (first != second).any()
    raw, _ = model.apply({}, {}, x, train=True, key=jax.random.PRNGKey(0))
    np.testing.assert_array_equal(raw[0], first)


# The zoo.


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_lenet_has_the_papers_parameters():
    params, model_state = jax.eval_shape(models.lenet_300_100().init, jax.random.key(0))
    assert list(params) == ["hidden_0", "hidden_1", "output"]
    assert count(params) == 266_610
    assert count([layer["kernel"] for layer in params.values()]) == 266_200
    assert params["hidden_0"]["kernel"].dtype == jnp.float32
    assert model_state == {}


def test_mlp_is_its_equation(x):
    params, model_state = MODELS["mlp"].init(jax.random.key(0))
    assert not any(layer["bias"].any() for layer in params.values())
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    hidden = jax.nn.relu(x @ params["hidden_0"]["kernel"] + params["hidden_0"]["bias"][None])
    expected = hidden @ params["output"]["kernel"] + params["output"]["bias"][None]
    assert_close(MODELS["mlp"].apply(params, model_state, x, train=True)[0], expected)


def test_mlp_leaves_stay_in_the_order_of_the_layers():
    params, _ = jax.eval_shape(models.mlp((2,), range(1, 12), 2).init, jax.random.key(0))
    flat = jax.tree.leaves(params)
    assert [leaf.shape[0] for leaf in flat if leaf.ndim == 1] == [*range(1, 12), 2]
    params, _ = jax.eval_shape(models.mlp((2,), (), 2).init, jax.random.key(0))
    assert list(params) == ["output"]


@pytest.mark.parametrize(
    ("name", "variance", "largest"),
    [
        # A normal cut at two standard deviations has 0.8796 of its standard deviation.
        ("glorot_normal", 2 / 500, 2 / 0.87962566),
        ("glorot_gaussian", 2 / 500, 6),
        ("glorot_uniform", 2 / 500, 3**0.5),
        ("kaiming_normal", 2 / 200, 2 / 0.87962566),
    ],
)
def test_initializers_have_their_variance(name, variance, largest):
    params, _ = models.mlp((200,), (), 300, initializer=name).init(jax.random.key(0))
    kernel = np.asarray(params["output"]["kernel"]) / variance**0.5
    # 60,000 draws: the standard error of the deviation is at most 0.003.
    assert abs(kernel.std() - 1) < 0.01
    assert abs(kernel.mean()) < 0.02
    assert np.abs(kernel).max() <= largest * 1.0001
    assert (np.abs(kernel).max() > 2.5) == (name == "glorot_gaussian")
    assert not params["output"]["bias"].any()


def test_an_initializer_may_be_a_function():
    model = models.mlp((2, 2, 1), (3,), 2, initializer=jax.nn.initializers.constant(0.5))
    params, _ = model.init(jax.random.key(0))
    np.testing.assert_array_equal(params["hidden_0"]["kernel"], np.full((4, 3), 0.5, np.float32))


# What goes wrong is said in one line.


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: models.mlp(widths=(300, 0)), r"widths=\(300, 0\)"),
        (lambda: models.mlp(widths=300), "widths=300, expected a sequence"),
        (lambda: models.mlp(outputs=-1), "outputs=-1, expected a positive integer"),
        (lambda: models.mlp(input_shape=(8, 1.5)), r"input_shape=\(8, 1.5\)"),
        (lambda: models.lenet_300_100(classes=0), "lenet_300_100: classes=0"),
        (lambda: models.mlp(initializer="glorot_norml"), "did you mean 'glorot_normal'"),
        (
            lambda: models.from_linen(linen.Conv(4, (3, 3)), (8,)),
            r"Conv does not accept input_shape=\(8,\)",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_factories_refuse_at_once(make, expected):
    with pytest.raises(TicketError, match=expected) as error:
        make()
    one_line(error)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: models.from_linen(LinenNetwork, (4,)), "expected a flax.linen.Module instance"),
        (lambda: models.from_nnx(NnxNetwork(nnx.Rngs(0))), "write from_nnx"),
        (lambda: models.from_nnx(lambda rngs: rngs), "returned a Rngs, expected nnx.Module"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_factories_name_the_type_they_take(make, expected):
    with pytest.raises(TypeError, match=expected) as error:
        make()
    one_line(error)


@pytest.mark.parametrize("shape", [(5, 3), (4,), (), (5, 1, 4)])
@pytest.mark.parametrize("name", ["mlp", "linen"])
def test_apply_names_the_shape_it_expects(name, shape):
    member = MODELS[name].init(jax.random.key(0))
    with pytest.raises(TicketError, match=r"expected \(batch, 4\)") as error:
        MODELS[name].apply(*member, jnp.ones(shape), train=False)
    assert f"x of shape {shape}" in one_line(error)


def test_nnx_apply_names_the_leaves_that_do_not_fit(x):
    params, model_state = MODELS["nnx"].init(jax.random.key(0))
    params["second"] = params.pop("last")
    with pytest.raises(TicketError, match="params lacks") as error:
        MODELS["nnx"].apply(params, model_state, x, train=False)
    assert "last/bias, last/kernel" in one_line(error)
    assert "second/bias, second/kernel" in one_line(error)


def test_nnx_refuses_arrays_outside_of_variables():
    class Bare(nnx.Module):
        def __init__(self, rngs):
            self.table = jax.random.normal(rngs(), (3,))

    with pytest.raises(TicketError, match="Bare holds bare arrays at table") as error:
        models.from_nnx(Bare)
    one_line(error)


def test_flax_waits_for_the_first_network():
    script = """if True:
        import sys
        from jaxticket import models
        assert "flax" not in sys.modules and "mlp" in dir(models)
        try:
            models.resnet
        except AttributeError as error:
            assert "has no attribute 'resnet'" in str(error)
        import jaxticket.models._mlp
        from jaxticket.models import mlp
        assert callable(mlp) and "flax" in sys.modules
    """
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)

"""The zoo of image networks: sizes as published, one oracle a family, the laws of a model."""

import functools
import subprocess
import sys

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from jax import lax

from jaxticket import masks, models
from jaxticket.errors import TicketError
from jaxticket.models._options import check_layers
from jaxticket.models._resnet import _ResNet
from jaxticket.models._vgg import _Vgg

# Parameters and weights in kernels on 32 x 32 x 3 (LeNet-5: 28 x 28 x 1) in 10 classes.
COUNTS = {
    "lenet_300_100": (266_610, 266_200),
    "lenet_5": (61_706, 61_470),
    "conv_2": (4_301_642, 4_300_992),
    "conv_4": (2_425_930, 2_425_024),
    "conv_6": (2_262_602, 2_261_184),
    "resnet_18": (11_173_962, 11_164_352),
    "resnet_20": (272_474, 270_896),
    "resnet_32": (466_906, 464_432),
    "resnet_56": (855_770, 851_504),
    "vgg_11": (9_231_114, 9_222_848),
    "vgg_16": (14_728_266, 14_715_584),
    "vgg_19": (20_040_522, 20_024_000),
    "vision_transformer_tiny": (5_362_762, 5_319_552),
}
NORMALISED = [name for name in COUNTS if name.startswith(("resnet", "vgg"))]

# One network of each family, so small that it compiles quickly.


def small_resnet(**options):
    layers = check_layers("kaiming_uniform", **options)
    return models.from_linen(_ResNet((2, 3), 1, 3, layers), (6, 5, 2))


def small_vgg(**options):
    layers = check_layers("kaiming_uniform", **options)
    return models.from_linen(_Vgg(((3,), (4, 4)), 3, layers), (5, 6, 2))


SMALL = {
    "lenet_5": functools.partial(models.lenet_5, (14, 13, 1), 3, width_multiplier=0.2),
    "conv_4": functools.partial(models.conv_4, (6, 7, 2), 3, width_multiplier=0.03),
    "resnet": small_resnet,
    "vgg": small_vgg,
    "vision_transformer_tiny": functools.partial(
        models.vision_transformer_tiny, (8, 12, 2), 3, width_multiplier=0.03, depth=2
    ),
}
SHAPES = {
    "lenet_5": (14, 13, 1),
    "conv_4": (6, 7, 2),
    "resnet": (6, 5, 2),
    "vgg": (5, 6, 2),
    "vision_transformer_tiny": (8, 12, 2),
}


@functools.cache
def small(name, **options):
    """A network of three classes, its variables drawn at random, and five images."""
    model = SMALL[name](**options)
    generator = np.random.default_rng(0)

    def draw(leaf):
        return jnp.asarray(generator.normal(size=leaf.shape), jnp.float32)

    params, model_state = jax.tree.map(draw, jax.eval_shape(model.init, jax.random.key(0)))
    # Variances are positive.
    model_state = jax.tree.map(lambda leaf: leaf**2 + 0.5, model_state)
    return model, params, model_state, draw(np.empty((5, *SHAPES[name])))


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


# As published.


@cases.every(COUNTS)
def test_networks_have_their_numbers_of_parameters(name):
    params, _ = jax.eval_shape(getattr(models, name)().init, jax.random.key(0))
    assert (count(params), count(masks.ones(params))) == COUNTS[name]


def test_the_other_lenet_5_has_its_number_of_parameters():
    caffe = models.lenet_5(channels=(20, 50), widths=(500,), padding="VALID")
    assert count(jax.eval_shape(caffe.init, jax.random.key(0))) == 431_080


@cases.every(COUNTS)
def test_networks_take_small_gray_images_and_any_number_of_classes(name):
    model = getattr(models, name)((28, 28, 1), 7, width_multiplier=0.25)
    member = jax.eval_shape(model.init, jax.random.key(0))
    apply = functools.partial(model.apply, train=False)
    output, model_state = jax.eval_shape(apply, *member, jnp.zeros((2, 28, 28, 1)))
    assert (output.shape, output.dtype) == ((2, 7), jnp.float32)
    assert model_state == member[1]
    assert list(model_state) == (["batch_stats"] if name in NORMALISED else [])


@cases.every(COUNTS)
def test_kernels_flatten_in_the_order_of_the_network(name):
    called = []

    def record(next_function, arguments, keywords, context):
        if isinstance(context.module, linen.Dense | models.Convolution):
            called.append("/".join(context.module.path))
        return next_function(*arguments, **keywords)

    with linen.intercept_methods(record):
        model = getattr(models, name)(width_multiplier=0.25)
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    kernels = [path.removesuffix("/kernel") for path in masks.counts(masks.ones(params))]
    assert kernels == called
    assert kernels[-1] == "output"
    assert sum(masks.all_but_output(f"{path}/kernel", np.ones((1, 1))) for path in kernels) == len(
        kernels[:-1]
    )


def test_widths_scale():
    params, _ = jax.eval_shape(models.conv_2(width_multiplier=0.5).init, jax.random.key(0))
    assert params["convolution_1"]["kernel"].shape == (3, 3, 32, 32)
    assert params["dense_1"]["kernel"].shape == (128, 128)
    transformer = models.vision_transformer_tiny(width_multiplier=0.05, heads=4)
    params, _ = jax.eval_shape(transformer.init, jax.random.key(0))
    assert params["block_00"]["attention"]["key"]["kernel"].shape == (8, 8)


# Oracles: what the docstrings say, in XLA's own operations.


def convolution(x, kernel, stride=1, padding="SAME"):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride,) * 2, padding, dimension_numbers=numbers)


def linear(x, layer):
    return jnp.einsum("...i,io->...o", x, layer["kernel"]) + layer["bias"]


def pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def normalise(x, layer, statistics):
    deviation = jnp.sqrt(statistics["var"] + 1e-5)
    return layer["scale"] * (x - statistics["mean"]) / deviation + layer["bias"]


def lenet_5(params, statistics, x):
    for number, padding in enumerate(("SAME", "VALID")):
        layer = params[f"convolution_{number}"]
        x = pool(jax.nn.relu(convolution(x, layer["kernel"], 1, padding) + layer["bias"]))
    x = x.reshape(len(x), -1)
    for number in range(2):
        x = jax.nn.relu(linear(x, params[f"dense_{number}"]))
    return linear(x, params["output"])


def conv_4(params, statistics, x):
    for number in range(4):
        layer = params[f"convolution_{number}"]
        x = jax.nn.relu(convolution(x, layer["kernel"]) + layer["bias"])
        x = pool(x) if number % 2 else x
    x = x.reshape(len(x), -1)
    for number in range(2):
        x = jax.nn.relu(linear(x, params[f"dense_{number}"]))
    return linear(x, params["output"])


def vgg(params, statistics, x):
    for number in range(3):
        layer, norm = params[f"convolution_{number:02}"], f"norm_{number:02}"
        x = convolution(x, layer["kernel"]) + layer["bias"]
        x = jax.nn.relu(normalise(x, params[norm], statistics[norm]))
        x = pool(x) if number == 0 else x
    return linear(x.mean((1, 2)), params["output"])


def resnet(params, statistics, x):
    def unit(x, params, statistics, stride=1):
        kernel = params["convolution"]["kernel"]
        around = len(kernel) // 2
        x = convolution(x, kernel, stride, [(around, around)] * 2)
        return normalise(x, params["norm"], statistics["norm"])

    x = jax.nn.relu(unit(x, params["base"], statistics["base"]))
    for number in range(2):
        block, means = params[f"block_{number:02}"], statistics[f"block_{number:02}"]
        stride = number + 1
        y = jax.nn.relu(unit(x, block["branch_0"], means["branch_0"], stride))
        y = unit(y, block["branch_1"], means["branch_1"])
        if stride == 2:
            x = unit(x, block["shortcut"], means["shortcut"], 2)
        x = jax.nn.relu(x + y)
    return linear(x.mean((1, 2)), params["output"])


def vision_transformer_tiny(params, statistics, x):
    def norm(x, layer):
        x = x - x.mean(-1, keepdims=True)
        return layer["scale"] * x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) + layer["bias"]

    base = params["base"]
    corners = [(top, left) for top in (0, 4) for left in (0, 4, 8)]
    patches = [x[:, i : i + 4, j : j + 4].reshape(len(x), -1) for i, j in corners]
    tokens = [base["token"][0, 0] * jnp.ones((len(x), 1))]
    tokens += [linear(patch, base["embedding"]) for patch in patches]
    x = jnp.stack(tokens, 1) + base["positions"]
    for number in range(2):
        block = params[f"block_{number:02}"]
        y = norm(x, block["norm_0"])
        query, key, value = (
            linear(y, block["attention"][name]).reshape(*y.shape[:2], 3, -1)
            for name in ("query", "key", "value")
        )
        scores = jnp.einsum("nqhd,nkhd->nhqk", query, key) / np.sqrt(query.shape[-1])
        y = jnp.einsum("nhqk,nkhd->nqhd", jax.nn.softmax(scores), value).reshape(x.shape)
        x = x + linear(y, block["attention_projection"])
        y = jax.nn.gelu(linear(norm(x, block["norm_1"]), block["dense_0"]))
        x = x + linear(y, block["dense_1"])
    return linear(norm(x, params["norm"])[:, 0], params["output"])


@cases.every(SMALL)
def test_networks_are_what_they_say(name):
    model, params, model_state, x = small(name)
    actual, after = jax.jit(functools.partial(model.apply, train=False))(params, model_state, x)
    with jax.numpy_rank_promotion("allow"):
        expected = jax.jit(globals()[name])(params, model_state.get("batch_stats"), x)
    # Dead ReLUs would make any two networks equal.
    assert np.std(expected, axis=0).min() > 0.01
    cases.assert_close(actual, expected, 1e-4)
    cases.assert_same_bits(after, model_state)


# The laws of a model.


def gradient(model, x):
    def loss(params, model_state, key):
        output, after = model.apply(params, model_state, x, train=True, key=key)
        return (output**2).mean(), (output, after)

    return jax.grad(loss, has_aux=True)


@cases.every(["lenet_5", "resnet"])
def test_networks_train_the_same_over_a_population(name):
    model, params, model_state, x = small(name)
    step = gradient(model, x)
    members = [
        jax.tree.map(lambda leaf, scale=scale: leaf * scale, (params, model_state))
        for scale in (1.0, 0.5)
    ]
    key = jax.random.key(0)
    together = jax.jit(jax.vmap(lambda member: step(*member, key)))(cases.stack(members))
    alone = jax.jit(lambda member: step(*member, key))
    for index, member in enumerate(members):
        cases.assert_close(cases.member(together, index), alone(member), 1e-4)


@cases.every(["resnet", "vgg"])
def test_statistics_move_in_training_only_and_by_a_tenth(name):
    model, params, model_state, x = small(name)
    _, after = jax.jit(functools.partial(model.apply, train=True))(params, model_state, x)
    moved = jax.tree.map(lambda a, b: bool((a != b).all()), after, model_state)
    assert all(jax.tree.leaves(moved))
    if name == "resnet":
        kernel = params["base"]["convolution"]["kernel"]
        y = convolution(x, kernel)
        before = model_state["batch_stats"]["base"]["norm"]
        expected = {
            "mean": 0.9 * before["mean"] + 0.1 * y.mean((0, 1, 2)),
            "var": 0.9 * before["var"] + 0.1 * y.var((0, 1, 2)),
        }
        cases.assert_close(after["batch_stats"]["base"]["norm"], expected)


@cases.every(["conv_4", "vision_transformer_tiny"])
def test_dropout_follows_its_key_and_is_off_in_evaluation(name):
    model, params, model_state, x = small(name, dropout_rate=0.5)
    # Quicker to compile than the default generator.
    keys = jax.random.split(jax.random.key(0, impl="rbg"))[jnp.array([0, 0, 1])]
    first, again, other = jax.jit(
        lambda keys: lax.map(
            lambda key: model.apply(params, model_state, x, train=True, key=key)[0], keys
        )
    )(keys)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    evaluate = (
        functools.partial(network.apply, params, model_state, train=False)
        for network in (model, small(name)[0])
    )
    assert len({str(jax.make_jaxpr(function)(x)) for function in evaluate}) == 1
    with pytest.raises(TicketError, match="key=None: pass apply"):
        model.apply(params, model_state, x, train=True)


def assert_quick_in_a_loop(function, *arguments):
    text = str(jax.make_jaxpr(function)(*arguments))
    assert "dot_general" in text
    for slow in ("conv_general_dilated", "select_and", "reduce_window"):
        assert slow not in text


@pytest.mark.slow
@cases.every(COUNTS)
def test_networks_hold_nothing_that_is_slow_in_a_loop(name):
    model = getattr(models, name)(width_multiplier=0.1)
    member = jax.eval_shape(model.init, jax.random.key(0))
    x = jnp.zeros((2, 28, 28, 1) if name.startswith("lenet") else (2, 32, 32, 3))
    assert_quick_in_a_loop(functools.partial(model.apply, train=True), *member, x)


@cases.every(SMALL)
def test_gradients_hold_nothing_that_is_slow_in_a_loop(name):
    model, params, model_state, x = small(name)
    assert_quick_in_a_loop(gradient(model, x), params, model_state, jax.random.key(0))


@cases.every(name for name in SMALL if not name.startswith("vision"))
def test_networks_take_a_lowering(name):
    model, *operands = small(name, lowering="direct")
    text = str(jax.make_jaxpr(functools.partial(model.apply, train=True))(*operands))
    assert "conv_general_dilated" in text


@cases.every(["lenet_5", "conv_4"])
def test_networks_compute_in_the_dtype_they_are_given(name):
    model, *given = small(name)
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), given)
    output, _ = jax.eval_shape(functools.partial(model.apply, train=True), *half)
    assert output.dtype == jnp.bfloat16


@pytest.mark.parametrize("pooling", ["token", "mean"])
def test_the_transformer_reads_a_token_or_the_mean(pooling):
    model, params, _, x = small("vision_transformer_tiny", pooling=pooling)
    assert ("token" in params["base"]) == (pooling == "token")
    assert params["base"]["positions"].shape[1] == (7 if pooling == "token" else 6)
    output, _ = jax.eval_shape(functools.partial(model.apply, train=False), params, {}, x)
    assert output.shape == (5, 3)


# Initial values.


@pytest.mark.parametrize(
    ("name", "path", "fan", "largest"),
    [
        # A normal cut at two standard deviations has 0.8796 of its standard deviation.
        ("conv_4", "convolution_2", 9 * (64 + 128) / 2, 2 / 0.87962566),
        ("vgg_11", "convolution_02", 9 * 128 / 2, 2 / 0.87962566),
        ("vision_transformer_tiny", "dense_0", (192 + 768) / 2, 3**0.5),
    ],
)
def test_kernels_begin_with_the_variance_of_their_initialiser(name, path, fan, largest):
    options = {"depth": 1} if name.startswith("vision") else {}
    model = getattr(models, name)((16, 16, 1), **options)

    def layer(key):
        params, _ = model.init(key)
        return params["block_00"][path] if path == "dense_0" else params[path]

    # Under jit, so that the other layers are not drawn.
    drawn = jax.jit(layer)(jax.random.key(0))
    kernel = np.asarray(drawn["kernel"]) * fan**0.5
    # 73,728 draws or more: the standard error of the deviation is at most 0.003.
    assert abs(kernel.std() - 1) < 0.01
    assert abs(kernel.mean()) < 0.02
    assert 0.99 * largest < np.abs(kernel).max() <= 1.0001 * largest
    assert not drawn["bias"].any()


def test_the_gaussian_has_no_cut():
    kernel = models.vgg_11((16, 16, 1), initializer="kaiming_gaussian")
    draw = jax.jit(lambda key: kernel.init(key)[0]["convolution_02"]["kernel"])
    standard = np.asarray(draw(jax.random.key(0))) * (9 * 128 / 2) ** 0.5
    assert abs(standard.std() - 1) < 0.01
    assert np.abs(standard).max() > 3.5


# What goes wrong is said in one line.


@cases.every(["resnet", "vgg"])
def test_batch_normalisation_refuses_to_train_on_one_example(name):
    model, params, model_state, x = small(name)
    train, evaluate = (functools.partial(model.apply, train=flag) for flag in (True, False))
    assert jax.eval_shape(evaluate, params, model_state, x[:1])[0].shape == (1, 3)
    with pytest.raises(TicketError, match="expected at least two examples in a batch") as error:
        jax.eval_shape(train, params, model_state, x[:1])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: models.vgg_19((16, 15, 3)), r"does not accept input_shape=\(16, 15, 3\)"),
        (lambda: models.conv_2(dropout_rate=1.0), r"conv_2: dropout_rate=1.0, expected a share"),
        (lambda: models.conv_6(dropout_rate=-0.1), "conv_6: dropout_rate=-0.1, expected a share"),
        (lambda: models.conv_4((784,)), r"conv_4: input_shape=\(784,\), expected \(height, width"),
        (lambda: models.resnet_18(classes=0), "resnet_18: classes=0, expected a positive integer"),
        (lambda: models.vgg_16(width_multiplier=0), "vgg_16: width_multiplier=0, expected a pos"),
        (lambda: models.vgg_11((8, 8, 3)), r"does not accept input_shape=\(8, 8, 3\).* pool less"),
        (lambda: models.conv_6((7, 32, 3)), r"does not accept input_shape=\(7, 32, 3\).*max_pool"),
        (lambda: models.lenet_5((8, 8, 1)), r"does not accept .* kernel spans 5 x 5 pixels and"),
        (lambda: models.lenet_5(channels=(0,)), r"lenet_5: channels=\(0,\)"),
        (lambda: models.lenet_5(padding="SOME"), "padding 'SOME': did you mean 'SAME'"),
        (lambda: models.resnet_20(lowering="ptaches"), "lowering 'ptaches': did you mean 'patc"),
        (lambda: models.resnet_56(initializer="kaiming"), "initializer 'kaiming': did you mean"),
        (lambda: models.vision_transformer_tiny((30, 32, 3)), "patch=4 does not divide 30 x 32"),
        (lambda: models.vision_transformer_tiny(depth=0), "depth=0, expected a positive integer"),
        (lambda: models.vision_transformer_tiny(pooling="max"), "pooling 'max'"),
    ],
)
def test_factories_refuse_at_once(make, expected):
    with pytest.raises(TicketError, match=expected) as error:
        make()
    assert "\n" not in str(error.value)


@cases.every(SMALL)
def test_apply_refuses_images_of_another_shape(name):
    model, params, model_state, x = small(name)
    for images in (x[..., :1], x[0]) if x.shape[-1] > 1 else (x[:, :2], x[0]):
        with pytest.raises(TicketError, match=r"expected \(batch, ") as error:
            jax.eval_shape(functools.partial(model.apply, train=False), params, model_state, images)
        assert "\n" not in str(error.value)


def test_making_a_network_starts_no_backend():
    script = """if True:
        import jax
        from jaxticket import models
        networks = models.conv_2(), models.resnet_20(), models.vision_transformer_tiny()
        jax.config.update("jax_num_cpu_devices", 3)
        print(jax.device_count())
    """
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, timeout=100, capture_output=True, text=True
    )
    assert done.stdout.strip() == "3"


def test_batch_normalisation_is_as_linens():
    """Outputs, statistics and gradients, of training and of evaluation."""
    from flax import linen

    from jaxticket.models._normalisation import batch_norm

    class Theirs(linen.Module):
        @linen.compact
        def __call__(self, x, train):
            return linen.BatchNorm(
                use_running_average=not train, momentum=0.9, epsilon=1e-5, name="norm"
            )(x)

    class Ours(linen.Module):
        @linen.compact
        def __call__(self, x, train):
            return batch_norm(x, train, "norm")

    generator = np.random.default_rng(0)
    x = jnp.asarray(generator.normal(1.0, 2.0, (6, 3, 2, 4)), jnp.float32)
    variables = Theirs().init(jax.random.key(0), x, True)
    variables["params"]["norm"]["scale"] = jnp.asarray(generator.uniform(0.5, 2, 4), jnp.float32)

    def run(module, params, x, train):
        inputs = {"params": params, "batch_stats": variables["batch_stats"]}
        if not train:
            return module.apply(inputs, x, False), {}
        return module.apply(inputs, x, True, mutable=["batch_stats"])

    def everything(module, train):
        def loss(params, x):
            y, _ = run(module, params, x, train)
            return jnp.sum(jnp.tanh(y))

        y, statistics = run(module, variables["params"], x, train)
        return y, statistics, jax.grad(loss, (0, 1))(variables["params"], x)

    for train in (True, False):
        for ours, theirs in zip(
            jax.tree.leaves(everything(Ours(), train)),
            jax.tree.leaves(everything(Theirs(), train)),
            strict=True,
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)

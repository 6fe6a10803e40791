"""Laws of augmentation: what it does to pixels, whose randomness it is, and where it is off."""

import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from jaxticket import Examples, Plan, TicketError, learners, population
from jaxticket.keys import derive
from jaxticket.learners import augmentation
from jaxticket.learners.augmentation import compose, crop, cutout, flip
from jaxticket.learners.mixing import Mixed, mixup, over_labels

KEY = jax.random.key(7)
NUMBER, HEIGHT, WIDTH = 400, 5, 6

INSTANCES = {
    "flip": flip(),
    "crop": crop(2),
    "cutout": cutout(3),
    "mixup": mixup(0.5),
    "composed": compose(crop(1), flip(), cutout(2), mixup(1.0)),
}


def numbered(number: int = NUMBER) -> Examples:
    """Images in which no two pixels of a channel are alike, none of them black."""
    pixels = np.arange(1, HEIGHT * WIDTH * 2 + 1, dtype=np.uint8).reshape(1, HEIGHT, WIDTH, 2)
    images = np.concatenate([np.roll(pixels, shift, axis=2) for shift in range(4)])
    images = np.tile(images, (number // 4, 1, 1, 1))
    return Examples(images, np.arange(number, dtype=np.int32))


@functools.cache
def augmented(name: str, seed: int = 7):
    batch = jax.tree.map(jnp.asarray, numbered())
    return jax.tree.map(np.asarray, jax.jit(INSTANCES[name])(jax.random.key(seed), batch))


# What is done to pixels, by their definitions in NumPy.


def test_each_image_is_mirrored_or_not_with_its_own_probability():
    before, after = numbered().images, augmented("flip").images
    mirrored = (after == before[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (after == before).all(axis=(1, 2, 3))
    assert (mirrored ^ kept).all()
    # Five standard deviations around a half.
    assert abs(mirrored.mean() - 0.5) < 5 * 0.5 / np.sqrt(NUMBER)
    never, always = (jax.jit(flip(p))(KEY, numbered()).images for p in (0.0, 1.0))
    np.testing.assert_array_equal(never, before)
    np.testing.assert_array_equal(always, before[:, :, ::-1])


def test_each_crop_is_a_place_of_the_padded_image_and_all_places_are_equally_likely():
    before, after = numbered().images, augmented("crop").images
    padded = np.pad(before, ((0, 0), (2, 2), (2, 2), (0, 0)))
    places = [
        (after == padded[:, row : row + HEIGHT, column : column + WIDTH]).all(axis=(1, 2, 3))
        for row in range(5)
        for column in range(5)
    ]
    assert (np.sum(places, axis=0) == 1).all()
    # 16 of each are expected; chi-square with 24 degrees exceeds 52 once in a thousand.
    assert np.sum((np.sum(places, axis=1) - 16) ** 2 / 16) < 52


def test_each_cutout_is_one_square_around_a_pixel_and_all_pixels_are_centres():
    before, after = numbered().images, augmented("cutout").images
    found = []
    for row in range(HEIGHT):
        for column in range(WIDTH):
            expected = before.copy()
            expected[:, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 0
            found.append((after == expected).all(axis=(1, 2, 3)))
    assert (np.sum(found, axis=0) == 1).all()
    assert (np.sum(found, axis=1) > 0).all()


def test_an_even_cutout_reaches_one_pixel_further_up_and_left():
    black = (np.asarray(jax.jit(cutout(2))(KEY, numbered()).images) == 0).all(axis=3)
    whole = black[black.sum(axis=(1, 2)) == 4]
    rows = {int(np.flatnonzero(image.any(axis=1))[0]) for image in whole}
    # The centre is the lower right pixel, so a whole square ends at the last row at the latest.
    assert rows == set(range(HEIGHT - 1))
    cut = black[black.sum(axis=(1, 2)) == 1]
    assert len(cut)
    assert cut[:, 0, 0].all()


def test_mixup_is_the_same_mean_of_pairs_in_images_and_labels():
    before, after = numbered(), augmented("mixup")
    assert 0 < after.share < 1
    assert sorted(after.partners) == sorted(before.labels)
    np.testing.assert_array_equal(after.labels, before.labels)
    images = before.images.astype(np.float64)
    partners = images[after.partners]  # a label is its place
    share = float(after.share)
    np.testing.assert_allclose(after.images, share * images + (1 - share) * partners, rtol=1e-5)
    # A permutation of partners keeps the batch's mean.
    np.testing.assert_allclose(after.images.mean(), images.mean(), rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_the_share_of_mixup_follows_the_beta_distribution(alpha):
    two = jax.tree.map(lambda leaf: leaf[:2], numbered())
    share = jax.jit(jax.vmap(lambda key: mixup(alpha)(key, two).share))
    shares = np.asarray(share(jax.random.split(KEY, 4000)))
    assert scipy.stats.kstest(shares, scipy.stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_composition_is_one_after_the_other_with_keys_of_their_own():
    steps, expected = [crop(1), flip(), cutout(2)], numbered()
    for place, step in enumerate(steps):
        expected = jax.jit(step)(derive(KEY, "augmentation", place), expected)
    cases.assert_same_bits(jax.jit(compose(*steps))(KEY, numbered()), expected)
    twice = np.asarray(jax.jit(compose(flip(), flip()))(KEY, numbered()).images)
    assert (twice != numbered().images).any()


# Whose randomness it is.


@cases.every(INSTANCES)
def test_images_keep_their_shape_and_labels_their_place(name):
    before, after = numbered(), augmented(name)
    assert after.images.shape == before.images.shape
    assert after.images.dtype == (np.float32 if isinstance(after, Mixed) else np.uint8)
    np.testing.assert_array_equal(after.labels, before.labels)


@cases.every(INSTANCES)
def test_the_same_key_gives_the_same_images_and_another_key_others(name):
    batch = jax.tree.map(jnp.asarray, numbered())
    cases.assert_same_bits(jax.jit(INSTANCES[name])(KEY, batch), augmented(name))
    assert (augmented(name, seed=8).images != augmented(name).images).any()


@cases.every(INSTANCES)
@pytest.mark.parametrize("inside", ["map", "vmap"])
def test_a_population_sees_what_each_network_sees_alone(name, inside):
    batch = jax.tree.map(jnp.asarray, numbered(8))
    keys = jax.random.split(KEY, 3)
    run = population.populate(INSTANCES[name], Plan(inside))
    together = run(keys, batch)
    for index in range(3):
        alone = jax.jit(INSTANCES[name])(keys[index], batch)
        compare = (
            cases.assert_same_bits if name in ("flip", "crop", "cutout") else cases.assert_close
        )
        compare(cases.member(together, index), alone)
    images = np.asarray(together.images)
    assert (images[0] != images[1]).any()
    assert (images[1] != images[2]).any()


# In the learner.


def learner(augment=None, model="linen_with_batch_statistics", **options):
    make, rate = cases.OPTIMIZERS["momentum"]
    return learners.supervised(cases.MODELS[model](), make(rate), augment=augment, **options)


@functools.cache
def stepped(name: str | None):
    """One step on six examples, by a network with dropout and batch statistics."""
    augment = {None: None, "identity": lambda key, batch: batch, **INSTANCES}[name]
    made, batch = learner(augment), cases.examples(6)
    state = made.init(jax.random.key(1))
    mask = cases.mask_like(made)
    return jax.tree.map(np.asarray, jax.jit(made.step)(state, mask, batch, KEY))


def test_augmentation_takes_nothing_from_dropouts_key():
    cases.assert_same_bits(stepped("identity"), stepped(None))


@cases.every(["flip", "crop", "cutout"])
def test_a_step_is_the_plain_step_on_the_augmented_batch(name):
    made = learner()
    batch = jax.jit(INSTANCES[name])(derive(KEY, "augment"), cases.examples(6))
    assert (np.asarray(batch.images) != cases.examples(6).images).any()
    state = made.init(jax.random.key(1))
    expected = jax.jit(made.step)(state, cases.mask_like(made), batch, KEY)
    cases.assert_close(stepped(name), expected)


def test_the_loss_of_mixed_examples_is_the_mixed_loss():
    made = learner(mixup(1.0), model="handwritten")
    state, batch = made.init(jax.random.key(1)), cases.examples(6)
    _, metrics = jax.jit(made.step)(state, cases.mask_like(made), batch, KEY)
    mixed = jax.tree.map(np.asarray, jax.jit(mixup(1.0))(derive(KEY, "augment"), batch))
    params = jax.tree.map(np.asarray, state.params)
    hidden = np.tanh(mixed.images.reshape(6, -1) / 255 @ params["hidden_0"]["kernel"])
    logits = hidden @ params["output"]["kernel"]
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    share, rows = float(mixed.share), np.arange(6)
    first, second = (log_probabilities[rows, y] for y in (mixed.labels, mixed.partners))
    loss = -(share * first + (1 - share) * second).mean()
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    right = [logits.argmax(axis=1) == y for y in (mixed.labels, mixed.partners)]
    accuracy = (share * right[0] + (1 - share) * right[1]).mean()
    np.testing.assert_allclose(metrics["accuracy"], accuracy, rtol=1e-5)


@cases.every(INSTANCES)
def test_evaluation_is_never_augmented(name):
    state, mask = learner().init(jax.random.key(1)), cases.mask_like(learner())
    whole = jax.jit(learner().evaluate)(state, mask, cases.examples(6))
    other = jax.jit(learner(INSTANCES[name]).evaluate)(state, mask, cases.examples(6))
    cases.assert_same_bits(other, whole)


# Label smoothing.


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
def test_smoothed_cross_entropy_is_cross_entropy_with_smoothed_labels(rate):
    logits = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    labels = np.array([0, 3, 1, 1, 2], np.int32)
    wanted = np.full((5, 4), rate / 4)
    wanted[np.arange(5), labels] += 1 - rate
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    loss = learners.smoothed_cross_entropy(rate)(jnp.asarray(logits), jnp.asarray(labels))
    np.testing.assert_allclose(loss, -(wanted * log_probabilities).sum(axis=1), rtol=1e-5)


def test_smoothing_by_zero_is_cross_entropy():
    logits, labels = jnp.array([[1.0, -2.0, 0.5]]), jnp.array([1])
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    np.testing.assert_array_equal(learners.smoothed_cross_entropy(0.0)(logits, labels), expected)


# Names and mistakes.


def test_a_command_lines_names_are_composed_in_their_order():
    batch = jax.tree.map(jnp.asarray, numbered(8))
    named = augmentation.by_names(("crop=2", "flip", "cutout=3", "mixup=0.2"))
    expected = compose(crop(2), flip(), cutout(3), mixup(0.2))
    cases.assert_same_bits(jax.jit(named)(KEY, batch), jax.jit(expected)(KEY, batch))
    assert augmentation.by_names(()) is None


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("flop", "unknown augmentation 'flop': did you mean 'flip'"),
        ("cutout", "augmentation cutout: got 'cutout', expected an integer, such as cutout=1"),
        ("mixup=x", "augmentation mixup: got 'mixup=x', expected a number, such as mixup=1"),
        ("crop=1.5", "augmentation crop: got 'crop=1.5', expected an integer, such as crop=1"),
        ("crop=0", "augmentation crop: got 0, expected at least 1 pixel"),
        ("cutout=0", "augmentation cutout: got 0, expected at least 1 pixel"),
        ("flip=2", "augmentation flip: got 2.0, expected a probability, 0 to 1"),
        ("mixup=0", "augmentation mixup: got 0.0, expected a positive number"),
        ("mixup=inf", "augmentation mixup: got inf, expected a positive number"),
    ],
)
def test_mistakes_are_refused_in_one_line(choice, message):
    with pytest.raises(TicketError, match=message):
        augmentation.by_names((choice,))


def test_mixing_twice_and_impossible_rates_are_refused():
    with pytest.raises(TicketError, match="mixup: got a batch that is mixed already"):
        compose(mixup(0.2), mixup(0.2))(KEY, cases.examples(4))
    for rate in (-0.1, 1.0):
        with pytest.raises(TicketError, match=f"label smoothing: got rate {rate}, expected 0 to"):
            learners.smoothed_cross_entropy(rate)


def test_values_of_labels_alone_are_left_as_they_are():
    batch = jax.tree.map(jnp.asarray, cases.examples(4))
    assert over_labels(lambda labels: labels, batch) is batch.labels

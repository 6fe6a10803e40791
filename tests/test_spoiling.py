"""Spoiled data: only training examples change, as they say, and stay so where they are tasks."""

import types

import jax
import numpy as np
import pytest

from experiments.common import spoiling
from jaxticket import data

KEY = jax.random.key(3)
DIGITS = data.load("digits")


def made(name, seed=3):
    return spoiling.spoil(DIGITS, name, jax.random.key(seed))


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", spoiling.SPOILED)
def test_only_training_examples_are_spoiled_and_each_key_spoils_in_its_way(name):
    found = made(name)
    assert same(found.validation, DIGITS.validation)
    assert same(found.test, DIGITS.test)
    assert same(found.train, made(name).train)
    assert same(found.train, made(name, 4).train) is (name == "half")
    assert found.sha256 != DIGITS.sha256


def test_random_labels_are_even_and_know_nothing_of_the_images():
    found = made("labels").train
    np.testing.assert_array_equal(found.images, DIGITS.train.images)
    right = np.mean(found.labels == DIGITS.train.labels)
    counts = np.bincount(found.labels, minlength=10)
    assert abs(right - 0.1) < 4 * np.sqrt(0.09 / len(found.labels))
    assert abs(counts - len(found.labels) / 10).max() < 4 * np.sqrt(len(found.labels) * 0.09)


def test_pixels_are_those_of_each_image_in_an_order_of_its_own():
    found, n = made("pixels").train, len(DIGITS.train.labels)
    before, after = (np.asarray(e.images).reshape(n, 64) for e in (DIGITS.train, found))
    np.testing.assert_array_equal(np.sort(before), np.sort(after))
    np.testing.assert_array_equal(found.labels, DIGITS.train.labels)
    # The same image twice is shuffled in two ways.
    twice = data.Dataset(*DIGITS)._replace(train=jax.tree.map(repeated, DIGITS.train))
    one, two = spoiling.spoil(twice, "pixels", KEY).train.images[:2]
    assert not np.array_equal(one, two)


def repeated(leaf):
    return np.repeat(leaf[:1], 10, axis=0)


def test_half_is_half_of_every_class_and_fills_the_rows_of_the_whole():
    found, n = made("half").train, len(DIGITS.train.labels)
    assert n % 2 == 1
    assert len(found.labels) == (n + 1) // 2
    whole, half = (np.bincount(e.labels) for e in (DIGITS.train, found))
    assert abs(half - whole / 2).max() <= 1
    rows = data.stacked([made("labels"), made("half")]).train
    images = np.asarray(rows.images)[:, 1].reshape(n - 1, -1)
    assert len(np.unique(images, axis=0)) == (n - 1) // 2


def test_spoiled_sets_are_tasks_in_the_order_of_their_names():
    problem = types.SimpleNamespace(config=types.SimpleNamespace(seed=3), dataset=DIGITS)
    names = ("pixels", "labels")
    tasks = spoiling.spoiled_tasks(problem, names)
    for task, name in enumerate(names):
        one = data.unstacked(tasks, task)
        assert same(one.train, made(name).train)
        assert same(one.validation, DIGITS.validation)
        assert same(one.test, DIGITS.test)

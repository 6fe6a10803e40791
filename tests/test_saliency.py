"""Criteria from the loss are their definitions, computed in another way."""

import re

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxticket import TicketError, criteria

pytestmark = pytest.mark.usefixtures("quick_compilation")


def given(seed=0):
    return cases.evidence(seed)._replace(objective=cases.OBJECTIVE)


def loss_of(evidence):
    """The mean loss as a function of params, written from the network's definition."""

    def loss(params):
        x = jnp.asarray(evidence.examples.images, jnp.float32).reshape(9, 6) / 255
        hidden, output = params["hidden_0"], params["output"]
        x = jnp.tanh(x @ hidden["kernel"] + hidden["bias"][None])
        logits = x @ output["kernel"] + output["bias"][None]
        chosen = jnp.take_along_axis(logits, evidence.examples.labels[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(logits, axis=1) - chosen)

    return loss


def test_snip_is_the_derivative_by_the_mask_at_one():
    evidence = given()
    ones = jax.tree.map(jnp.ones_like, evidence.final)
    by_mask = jax.grad(
        lambda mask: loss_of(evidence)(jax.tree.map(jnp.multiply, mask, evidence.final))
    )(ones)
    scores = criteria.snip().score((), evidence)
    cases.assert_close(scores, jax.tree.map(jnp.abs, by_mask))
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(scores))


@pytest.mark.parametrize("name", ["snip"])
def test_what_the_evidence_lacks_is_named(name):
    bare = given()._replace(examples=None, objective=None)
    message = f"{name}: the evidence lacks examples, objective; give a batch of training examples"
    with pytest.raises(TicketError, match=re.escape(message)):
        criteria.by_name(name).score((), bare)

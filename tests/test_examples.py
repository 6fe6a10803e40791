"""Laws of what splits are refused: labels without an output, but not those of a single number."""

import numpy as np
import optax
import pytest

from jaxticket import TicketError, learners, models
from jaxticket.imp.examples import check_data
from jaxticket.types import Examples

LABELS = np.array([0, 1, 7], np.int32)
DATA = {"train": Examples(np.zeros((3, 4, 4, 1), np.uint8), LABELS)}


def learner(outputs):
    return learners.supervised(models.mlp((4, 4, 1), (3,), outputs), optax.sgd(0.1))


def test_labels_that_the_network_has_no_output_for_are_refused():
    with pytest.raises(TicketError, match="got the label 7 in the split 'train', expected 0 to 6"):
        check_data(DATA, learner(7))
    check_data(DATA, learner(8))


def test_labels_of_a_network_with_one_output_are_numbers_of_any_size():
    check_data(DATA, learner(1))

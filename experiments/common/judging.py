"""Tests of claims that read what a run may lack."""

from collections.abc import Callable, Mapping

import numpy as np
import xarray

from jaxticket.analysis.claims import Evidence, not_computable

Values = Callable[[xarray.Dataset], np.ndarray | str]
"""Reads numbers of all replicates, `float[replicates]`, or says what the run lacks."""


def judged(judge: Callable[..., Evidence], *values: Values) -> Callable[[xarray.Dataset], Evidence]:
    """Makes a test of numbers, which is not computable where the run lacks any of them.

    Args:
      judge: `judge(*numbers) -> evidence`.
      *values: how the numbers are read.

    Returns:
      `test(results) -> evidence`.

    Example:
      >>> test = judged(lambda numbers: Evidence(0.0, None, True), lambda results: "a level")
      >>> test(xarray.Dataset()).measured
      'not computable: needs a level'
    """

    def test(results: xarray.Dataset) -> Evidence:
        found = [read(results) for read in values]
        missing = [words for words in found if isinstance(words, str)]
        return not_computable(f"needs {missing[0]}") if missing else judge(*found)

    return test


def lacking(needs: Mapping[str, bool]) -> Evidence | None:
    """Says what a run lacks of all that a claim needs.

    Args:
      needs: in words, whether the run has it.

    Returns:
      Evidence that nothing can be computed; `None` if nothing is missing.

    Example:
      >>> lacking({"the arm reinit": True, "5 levels": False}).measured
      'not computable: needs 5 levels'
    """
    missing = [words for words, there in needs.items() if not there]
    return not_computable(f"needs {' and '.join(missing)}") if missing else None

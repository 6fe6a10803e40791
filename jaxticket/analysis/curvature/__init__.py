"""Curvature of the loss in the subspace that a mask leaves."""

from jaxticket.analysis.curvature.lanczos import Tridiagonal, lanczos
from jaxticket.analysis.curvature.products import fisher_product, hessian_product
from jaxticket.analysis.curvature.sharpness import Sharpness, sharpness
from jaxticket.analysis.curvature.spectrum import (
    Ritz,
    density_grid,
    eigenvectors,
    ritz,
    share_above,
    spectral_density,
    top_eigenvalues,
)
from jaxticket.analysis.curvature.trace import Trace, empirical_fisher_trace, hutchinson

__all__ = [
    "Ritz",
    "Sharpness",
    "Trace",
    "Tridiagonal",
    "density_grid",
    "eigenvectors",
    "empirical_fisher_trace",
    "fisher_product",
    "hessian_product",
    "hutchinson",
    "lanczos",
    "ritz",
    "share_above",
    "sharpness",
    "spectral_density",
    "top_eigenvalues",
]

"""The convolution layer of this room's networks."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen
from flax.linen.dtypes import promote_dtype
from jax.nn import initializers

from jaxticket.models._lowering import convolve
from jaxticket.models._operands import Padding


class Convolution(linen.Module):
    """A convolution of images, computed by `convolve`, in the place of `linen.Conv`.

    Its params are named as those of `linen.Conv`: "kernel", `float32[height, width,
    channels / groups, features]`, and "bias", `float32[features]`, which begins at zero. The
    compute dtype is what JAX promotes x, kernel and bias to.

    Attributes:
      features: channels of the result.
      kernel_size: taps down and across.
      strides: steps between windows, in pixels.
      padding: as of `convolve`.
      dilation: distance of the kernel's taps, in pixels.
      groups: features of group g see the channels of group g alone.
      use_bias: whether a bias is added.
      kernel_init: a function `(key, shape, dtype) -> array`.
      lowering: as of `convolve`.

    Example:
      >>> import jax
      >>> layer = Convolution(5, (3, 3), strides=(2, 2))
      >>> y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 2)))
      >>> y.shape, jax.tree.map(jnp.shape, variables["params"])
      ((1, 4, 4, 5), {'bias': (5,), 'kernel': (3, 3, 2, 5)})
    """

    features: int
    kernel_size: Sequence[int]
    strides: Sequence[int] = (1, 1)
    padding: Padding = "SAME"
    dilation: Sequence[int] = (1, 1)
    groups: int = 1
    use_bias: bool = True
    kernel_init: Callable[..., jax.Array] = initializers.lecun_normal()
    lowering: str | None = None

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolves `float[batch, height, width, channels]`."""
        shape = (*self.kernel_size, jnp.shape(x)[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = None
        if self.use_bias:
            bias = self.param("bias", initializers.zeros, (self.features,), jnp.float32)
        x, kernel, bias = promote_dtype(x, kernel, bias)
        # `init` keeps shapes alone, and asking for the platform would start JAX's backend.
        named = "direct" if self.lowering is None and self.is_initializing() else self.lowering
        y = convolve(
            x,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            lowering=named,
        )
        return y if bias is None else y + bias[None, None, None]

"""Steps on the command line: `--steps 160ep --warmup 500it`."""

from typing import Any

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from jaxticket.recipes.step import Step


def command_line_registry() -> ConstructorRegistry:
    """Makes the registry that reads a `Step` from one word.

    Returns:
      What `tyro.cli` takes as `registry`, or a context to call it in.

    Example:
      >>> import dataclasses, tyro
      >>> @dataclasses.dataclass(frozen=True)
      ... class Config:
      ...     steps: Step
      >>> words = ["--steps", "160ep"]
      >>> str(tyro.cli(Config, args=words, registry=command_line_registry()).steps)
      '160ep'
    """
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def _step(type_info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        if type_info.type is not Step:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="600it|3ep",
            instance_from_str=lambda words: Step.parse(words[0]),
            is_instance=lambda instance: isinstance(instance, Step),
            str_from_instance=lambda step: [str(step)],
        )

    return registry

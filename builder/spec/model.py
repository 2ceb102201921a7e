"""What every part of a table has in common: frozen, checked when it is made, and told all its faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from builder.spec.faults import Fault, SpecError, faults_of


class Model(BaseModel):
    """A value that is checked when it is made. Its fields' docstrings are what docs/table.md says of the keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong between fields, each of which is right in itself."""
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _whole(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            model = handler(values)
            faults = list(model.faults())
        except ValidationError as error:
            faults = faults_of(error, cls.model_fields)
        if faults:
            raise ValidationError.from_exception_data(cls.__name__, [fault.details() for fault in faults])
        return model

    def changed(self, **values: Any) -> Self:
        """Return a copy with other values, checked anew. Raises SpecError for whatever breaks a rule."""
        try:
            return type(self).model_validate({**dict(self), **values})
        except ValidationError as error:
            raise SpecError.of(*faults_of(error)) from None

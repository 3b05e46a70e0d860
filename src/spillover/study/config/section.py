"""What every section of a study file has in common."""

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_serializer


class Section(BaseModel):
    """Base of all sections: frozen, and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    later: ClassVar[frozenset[str]] = frozenset()
    """Keys that are not written out where they have their default. A run's stages are known again
    by what is written out, so a key that came later must not make older runs look different."""

    @model_serializer(mode="wrap")
    def _leave_later_defaults_out(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        fields, written = type(self).model_fields, write(self)
        quiet = {k for k in self.later & written.keys() if getattr(self, k) == fields[k].default}
        return {key: value for key, value in written.items() if key not in quiet}

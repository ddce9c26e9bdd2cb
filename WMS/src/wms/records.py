"""Records that outlive a version of the code: read as they were written, and kept whole when they are written again.

A clone may read records of older and of newer code: a laptop lags behind, an instance restores a backup. So a field
that this version doesn't know stays in the record, and a field that older code didn't write has a default with the
meaning of its absence. If the meaning of a field changes, the record's field `format` gets a higher number; code that
doesn't know the number refuses the record instead of misreading it.

Recipes, settings and requests, which instruct the code, stay strict.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from wms.errors import WmsError
from wms.formats import newer, no_format

_NEWER = "newer_format"


class StoredRecord(BaseModel):
    """Base of the records: frozen, unknown fields kept, no NaN.

    A record without the field has format 1. A subclass with a newer format raises NEWEST and declares the field.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    FORMAT_FIELD: ClassVar[str] = "format"
    NEWEST: ClassVar[int] = 1

    @model_validator(mode="before")
    @classmethod
    def _refuse_other_formats(cls, values: Any) -> Any:
        if fault := no_format(values, cls.FORMAT_FIELD):
            raise PydanticCustomError("no_format", "{fault}", {"fault": fault})
        if fault := newer(values, cls.FORMAT_FIELD, cls.NEWEST):
            raise PydanticCustomError(_NEWER, "{fault}", {"fault": fault})
        return values

    @classmethod
    def parse(cls, content: bytes | str, where: str, error: type[WmsError], hint: str) -> Self:
        """Read a record from JSON.

        Raises `error` with a sentence: either `where` is damaged (with field, reason and `hint`), or a newer version
        wrote `where`.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as fault:
            raise error(describe(fault, where, hint)) from fault

    def changed(self, **values: object) -> Self:
        """The same record with other values, validated. Raises pydantic's ValidationError."""
        return type(self).model_validate({**dict(self), **values})


def describe(error: ValidationError, where: str, hint: str) -> str:
    """The sentence that explains why the record at `where` is invalid; `hint` is the remedy for damage."""
    problems = error.errors()
    if refused := next((one for one in problems if one["type"] == _NEWER), None):
        return f"{where} {refused['msg']}."
    field = ".".join(map(str, problems[0]["loc"])) or "its content"
    return f"{where} is damaged: {field}: {problems[0]['msg']}; {hint}."

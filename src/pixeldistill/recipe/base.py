"""Base of all parts of a recipe: frozen, without unknown keys."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, model_validator

LONGEST_PATH, LONGEST_NAME = 4096, 255  # characters of a path, and bytes of each part: limits of file systems


def _at_home(path: Path) -> Path:
    return Path(_name_of_file(str(path)))


def _name_of_file(text: str) -> str:
    """Expand `~`, and refuse names that no file can have."""
    if "\0" in text:
        raise ValueError("holds a null character, which no file's name may")
    parts = Path(text).parts
    if len(text) > LONGEST_PATH or any(len(part.encode("utf-8", "surrogateescape")) > LONGEST_NAME for part in parts):
        raise ValueError(f"no file's name may be as long ({len(text)} characters)")
    return os.path.expanduser(text)  # Path.expanduser would raise if there is no such user


UserPath = Annotated[Path, AfterValidator(_at_home)]  # `~` stands for the user's home
ImageSize = Annotated[int, Field(ge=8, le=8192)]  # in pixels
Count = Annotated[int, Field(ge=1, le=1_000_000)]  # number of epochs, of images in a batch, …
Stride = Annotated[int, Field(ge=1, le=64)]  # of a convolution
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Channels = tuple[float, float, float]  # red, green, blue
Positive = Annotated[float, Field(gt=0)]
Deviations = tuple[Positive, Positive, Positive]


@dataclass(frozen=True)
class StageRef:
    """Reference to the last weights of an earlier stage of the recipe. A recipe writes it as `@name`.

    >>> str(StageRef("teacher"))
    '@teacher'
    """

    name: str

    def __str__(self) -> str:
        return f"@{self.name}"


def _origin(value: object) -> str | StageRef:
    if isinstance(value, StageRef):
        return value
    if not isinstance(value, str):
        raise ValueError(f"expected none, pretrained, a weights file, a run folder, or in `stages` @ and a stage, not {value!r}")
    if value == "@":
        raise ValueError("@ needs the name of a stage, as in @teacher")
    return StageRef(value[1:]) if value.startswith("@") else _name_of_file(value)


Origin = Annotated[str | StageRef, PlainValidator(_origin), PlainSerializer(str, return_type=str)]  # of weights


class Strict(BaseModel):
    """A part of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_as_number(cls, values: Any) -> Any:  # noqa: ANN401
        """Raise ValueError for true or false in place of a number, because pydantic would read them as 1 and 0."""
        if isinstance(values, dict):
            for name, value in values.items():
                field = cls.model_fields.get(name)
                if isinstance(value, bool) and field is not None and field.annotation is not bool:
                    raise ValueError(f"{name} is {str(value).lower()}, which is no value of it: leave it out, or say its value")
        return values

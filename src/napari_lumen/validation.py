"""Fields that people write, and what is wrong with them in words for the one who wrote the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from napari_lumen.errors import ModelError, RunError

_LONGEST = 40  # letters of a value that is quoted
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"
CHECKSUM_PATTERN = r"^[0-9a-f]{64}$"
_FORMS = {
    NAME_PATTERN: "of small letters, digits, '.', '_' and '-', and begin with a letter or a digit",
    CHECKSUM_PATTERN: "a SHA-256: 64 digits from 0 to f",
}
_NO_NUMBER = PydanticCustomError("truth", "it must not be true or false")
_KINDS = {"int": "a whole number", "float": "a number", "string": "text", "bool": "true or false"}
_KINDS |= {"list": "a list", "tuple": "a list", "set": "a list"}
_KINDS |= {"dict": "a table", "model": "a table", "dataclass": "a table"}


class WrittenFields(BaseModel):
    """Fields of a file that somebody wrote: none is unknown, and true is no number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, content: Any) -> Any:
        """Refuse true and false where a number stands, which Python takes for 1 and 0."""
        for name, value in content.items() if isinstance(content, dict) else ():
            field = cls.model_fields.get(str(name))
            if field is not None and _says_truth(value) and not _may_be_truth(field.annotation):
                wrong = InitErrorDetails(type=_NO_NUMBER, loc=(str(name),), input=value)
                raise ValidationError.from_exception_data(cls.__name__, [wrong])
        return content


@contextmanager
def of_field(name: str) -> Iterator[None]:
    """Name the field whose value is what goes wrong within."""
    try:
        yield
    except (RunError, ModelError) as error:
        raise RunError(f"Field {name!r}: {error}") from error


def first_problem(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Return the first thing that is wrong, naming its field, to be put into a sentence.

    Parameters
    ----------
    error : ValidationError
    model : type of BaseModel, optional
        Whose fields they are; of an unknown one, those that there are can be told then.
    """
    first = error.errors()[0]
    place, within = _place(model, first["loc"])
    if first["type"].startswith("union_tag"):
        place.append(str(first["ctx"]["discriminator"]).strip("'"))
    message = _told(first, tuple(within.model_fields) if _is_model(within) else ())
    return f"field {'.'.join(place)!r}: {message}" if place else message


def _told(problem: Mapping[str, Any], known: tuple[str, ...]) -> str:
    given, context = problem["input"], problem.get("ctx", {})
    match problem["type"]:
        case "extra_forbidden":
            return _no_such(str(problem["loc"][-1]), known)
        case "missing" | "union_tag_not_found":
            return "it is needed, and missing"
        case "union_tag_invalid":
            return f"there is no {context['tag']!r}; there is {context['expected_tags'].replace(chr(39), '')}"
        case "string_pattern_mismatch":
            pattern = context["pattern"]
            return f"it must be {_FORMS.get(pattern, f'of the form {pattern}')}, not {_quoted(given)}"
        case "too_short":
            return "it must not be empty"
        case "path_type":
            return f"it must be a path, not {_quoted(given)}"
        case "too_long":
            return f"it has {context['actual_length']} values, and {context['max_length']} are the most"
    kind, _, wrong = str(problem["type"]).partition("_")
    if kind in _KINDS and wrong in ("type", "exact_type", "attributes_type", "parsing", "from_float"):
        return f"it must be {_KINDS[kind]}, not {_quoted(given)}"
    message = str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
    if message.startswith("Input should be"):
        return f"it must be{message.removeprefix('Input should be')}, not {_quoted(given)}"
    return message


def _no_such(name: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(name, known, n=1)
    if near:
        return f"there is no such field; {near[0]!r} may be meant"
    return f"there is no such field{'; there is ' if known else ''}{', '.join(known)}"


def _quoted(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _place(model: Any, place: tuple[int | str, ...]) -> tuple[list[str], Any]:
    """Return a place as it stands in the file, and the type in which its last part is looked for.

    Of a union of kinds pydantic says which one was tried, which is no level of the file.
    """
    said, within, kind = [], model, model
    for part in place:
        if get_origin(kind) in (Union, UnionType) and (tried := _tried(kind, part)) is not None:
            kind = tried
            continue
        said.append(str(part))
        within, kind = kind, _part(kind, part)
    return said, within


def _part(kind: Any, part: int | str) -> Any:
    """Return the type of a field of a model, or of an element of a container; None where it is not known."""
    if _is_model(kind):
        field = kind.model_fields.get(str(part))
        return None if field is None else field.annotation
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        return arguments[1]
    return arguments[0] if arguments and isinstance(part, int) else None


def _tried(union: Any, said: int | str) -> Any:
    """Return the part of a union that is said by its name, or by the value of its field ``kind``."""
    for one in get_args(union):
        if said == getattr(one, "__name__", None):
            return one
        if _is_model(one) and "kind" in one.model_fields and one.model_fields["kind"].default == said:
            return one
    return None


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _says_truth(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return any(map(_says_truth, value))
    return isinstance(value, bool)


def _may_be_truth(annotation: Any) -> bool:
    if annotation in (bool, Any) or _is_model(annotation):  # a table looks after its own fields
        return True
    return any(map(_may_be_truth, get_args(annotation)))

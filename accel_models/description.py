"""Description files: YAML in, a validated frozen object out, or every mistake at once with its file and line."""

from __future__ import annotations

import difflib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from accel_models.errors import DescriptionError, UnknownNameError, unknown_name

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from accel_models.accelerator import Accelerator

Model = TypeVar("Model", bound="BaseModel")

KINDS = ("accelerator",)
"""Kinds of targets a description can describe."""


def target_names() -> list[str]:
    """Names of the descriptions that ship with the package."""
    folder = resources.files("accel_models") / "descriptions"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def target_summaries() -> dict[str, str]:
    """Return name -> summary of the shipped descriptions, from their `summary: "..."` line alone: parsing takes longer."""
    folder = resources.files("accel_models") / "descriptions"
    summaries = {}
    for name in target_names():
        lines = (folder / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        line = next(line for line in lines if line.startswith("summary: "))
        summaries[name] = str(json.loads(line.removeprefix("summary: ")))
    return summaries


def load_target(name_or_path: str | Path) -> Accelerator:
    """Return the target of a shipped name or of a description file.

    Raises
    ------
    UnknownNameError
        If it is neither; the message has the nearest shipped name.
    DescriptionError
        If the file is malformed: one line per mistake with file, line, key, value and what would be right.
    """
    text = str(name_or_path)
    if Path(text).suffix in (".yaml", ".yml") or "/" in text or (text not in target_names() and _is_file(text)):
        try:
            return parse_target(Path(text).read_bytes(), text)
        except FileNotFoundError:
            known = ", ".join(target_names())
            raise UnknownNameError(f"no description file {text!r}; shipped targets: {known}") from None
        except OSError as error:
            raise DescriptionError(f"{text}: cannot be read: {error.strerror}") from None
    if text not in target_names():
        raise UnknownNameError(unknown_name("target", text, target_names()))
    return _shipped(text)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # a name that no file can have
        return False


@cache
def _shipped(name: str) -> Accelerator:
    file = resources.files("accel_models") / "descriptions" / f"{name}.yaml"
    return parse_target(file.read_bytes(), f"{name}.yaml")


def parse_target(content: bytes | str, file: str) -> Accelerator:
    """Return the target that a description says; `file` is its name in messages.

    Raises
    ------
    DescriptionError
        With one line per mistake.
    """
    from accel_models.accelerator import Accelerator

    tree = read_yaml(content, file)
    kind = tree.get("kind", KINDS[0]) if isinstance(tree, Mapping) else KINDS[0]
    if kind not in KINDS:
        raise DescriptionError(f"{file}:{line_of(tree, ('kind',))}: kind: {unknown_name('kind', str(kind), KINDS)}")
    target = validated(tree, Accelerator, file)
    _check_search(target, tree, file)
    return target


def validated(tree: Any, model: type[Model], file: str) -> Model:
    """Return a parsed YAML tree as a value of a model; `file` is its name in messages.

    Raises
    ------
    DescriptionError
        With one line per mistake: file, line, key, value and what would be right.
    """
    from pydantic import ValidationError

    if not isinstance(tree, Mapping):
        found = "this file is empty" if tree is None else f"this is {_short(tree)}"
        raise DescriptionError(f"{file}: a description is a mapping of keys to values, {found}")
    try:
        return model.model_validate(plain(tree))
    except ValidationError as error:
        raise DescriptionError("\n".join(_messages(error, tree, file, model))) from None


def read_yaml(content: bytes | str, file: str) -> Any:
    """Parse YAML 1.2, keeping the line of every key.

    Raises
    ------
    DescriptionError
        For broken syntax, a duplicate key, or bytes that are no text.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="rt").load(content.decode() if isinstance(content, bytes) else content)
    except DuplicateKeyError as error:
        mark = error.problem_mark
        what = str(error.problem).split('"')[1:2] or [str(error.problem)]
        where = f":{mark.line + 1}" if mark else ""
        raise DescriptionError(
            f"{file}{where}: key {what[0]!r} stands twice in one mapping; keep one of them"
        ) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}" if mark else ""
        raise DescriptionError(f"{file}{where}: no valid YAML: {error.problem or error.context}") from None
    except (YAMLError, UnicodeDecodeError, ValueError) as error:
        raise DescriptionError(f"{file}: no valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise DescriptionError(f"{file}: no valid YAML: nested too deeply") from None
    except Exception as error:  # the parser stumbles in many ways over tags and numbers that are none
        told = " ".join(str(error).split())
        raise DescriptionError(f"{file}: no valid YAML: {type(error).__name__}: {told}") from None


def plain(tree: Any) -> Any:
    """Return a parsed YAML tree as plain dicts, lists and scalars."""
    if isinstance(tree, Mapping):
        return {_plain_key(key): plain(value) for key, value in tree.items()}
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return [plain(item) for item in tree]
    for scalar in (bool, int, float, str):
        if isinstance(tree, scalar):
            return scalar(tree)
    return tree


_SHOULD = {
    "tuple_type": "input should be a list",
    "model_type": "input should be a mapping of keys to values",
    "too_short": "input should have at least one item",
    "string_pattern_mismatch": "input should be lower-case letters, digits and _, a letter first",
}
"""What should stand in the file, by pydantic's type of error, where pydantic says it in terms of Python."""


def _plain_key(key: Any) -> Any:
    made = plain(key)
    return made if isinstance(made, (str, int, float, type(None))) else str(made)


@dataclass(frozen=True)
class _Mistake:
    line: int | None
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}" if self.key else self.text


def _messages(error: ValidationError, tree: Any, file: str, model: type[BaseModel]) -> list[str]:
    mistakes = []
    for item in error.errors(include_url=False):
        place = tuple(part for part in item["loc"] if not isinstance(part, str) or not part.startswith("function-"))
        text = _explain(item, model, place)
        mistakes.append(_Mistake(line_of(tree, place), ".".join(_names(tree, place)), text))
    mistakes.sort(key=lambda mistake: mistake.line or 0)
    return [f"{file}:{mistake.line}: {mistake}" if mistake.line else f"{file}: {mistake}" for mistake in mistakes]


def _explain(item: Any, model: type[BaseModel], place: tuple[Any, ...]) -> str:
    value = item["input"]
    kind, told = item["type"], item["msg"]
    if kind == "extra_forbidden":
        known = _keys_at(model, place[:-1])
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        return f"unknown key (value {_short(value)}); {hint}"
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return told.removeprefix("Value error, ")
    said = _SHOULD.get(kind, told[0].lower() + told[1:])
    return f"{_short(value)} is wrong: {said}"


def _keys_at(model: type[BaseModel], place: tuple[Any, ...]) -> list[str]:
    """Keys that the model knows at a place of the tree."""
    from pydantic import BaseModel

    current: Any = model
    for part in place:
        if isinstance(part, int):
            continue
        annotation = current.model_fields[part].annotation
        found = [annotation, *getattr(annotation, "__args__", ())]
        models = [item for item in found if isinstance(item, type) and issubclass(item, BaseModel)]
        if not models:
            return []
        current = models[0]
    return sorted(current.model_fields)


def _names(tree: Any, place: tuple[Any, ...]) -> list[str]:
    """Keys on the way to a place; a list item with a name is called by it."""
    names, node = [], tree
    for part in place:
        node = _child(node, part)
        named = isinstance(part, int) and isinstance(node, Mapping) and isinstance(node.get("name"), str)
        text = str(node["name"]) if named else str(part)
        names.append(text if text.isprintable() else repr(text))
    return names


def line_of(tree: Any, place: tuple[Any, ...]) -> int | None:
    """Return the 1-based line of the deepest key on the way to a place (keys and list indices) that a YAML tree has."""
    line, node = None, tree
    for part in place:
        marks = getattr(getattr(node, "lc", None), "data", None) or {}
        if part not in marks:
            break
        line = marks[part][0] + 1
        node = _child(node, part)
    return line


def _child(node: Any, part: Any) -> Any:
    try:
        return node[part]
    except (KeyError, IndexError, TypeError):
        return None


def _short(value: Any) -> str:
    text = repr(plain(value))
    return text if len(text) <= 60 else text[:57] + "..."


def _check_search(target: Accelerator, tree: Any, file: str) -> None:
    """Refuse a search section that sets what does not exist or what would not be valid."""
    mistakes = []
    for place, knob in enumerate(target.search):
        try:
            values = knob.values()
            for value in values if knob.choices else (values[0], values[-1]):
                with_values(target, dict.fromkeys(knob.sets, value))
        except DescriptionError as error:
            mistakes.append(f"{file}:{line_of(tree, ('search', place))}: search: {knob.name}: {error}")
    if mistakes:
        raise DescriptionError("\n".join(mistakes))


def _step(holder: Any, key: str, path: str) -> Any:
    if not isinstance(holder, dict):
        raise DescriptionError(f"path {path!r} leads to no value: nothing lies below what {key!r} is looked for in")
    if key not in holder:
        raise DescriptionError(f"path {path!r} leads to no value: {unknown_name('key', key, holder)}")
    return holder[key]


def _holder(data: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """Return the mapping that holds the value at a dotted path of a dumped description, and its key there."""
    *way, last = path.split(".")
    holder: Any = data | {level["name"]: level for level in data["levels"]} if way else data
    for key in way:
        holder = _step(holder, key, path)
    _step(holder, last, path)
    return holder, last


def to_yaml(value: BaseModel) -> str:
    """Return a description as YAML that reads back equal; what has its default value is left out."""
    from ruamel.yaml import YAML

    text, writer = io.StringIO(), YAML()
    writer.width = 120
    writer.dump(value.model_dump(mode="json", exclude_defaults=True), text)
    return text.getvalue()


def value_at(target: Accelerator, path: str) -> Any:
    """Return the target's present value at a dotted path (levels by name), such as ``global_buffer.entries``.

    Raises
    ------
    DescriptionError
        If the path leads nowhere.
    """
    holder, last = _holder(target.model_dump(exclude={"search"}), path)
    return holder[last]


def with_values(target: Accelerator, values: Mapping[str, Any]) -> Accelerator:
    """Return the target with other values at dotted paths (levels by name), validated again, without its search section.

    Parameters
    ----------
    values
        Such as ``{"global_buffer.entries": 4096, "clock_mhz": 500}``.

    Raises
    ------
    DescriptionError
        If a path leads nowhere or the new description contradicts itself.
    """
    from pydantic import ValidationError

    data = target.model_dump(exclude={"search"})
    for path, value in values.items():
        holder, last = _holder(data, path)
        holder[last] = value
    try:
        return type(target).model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(_names(data, first["loc"]))
        raise DescriptionError(f"{where}: {_explain(first, type(target), first['loc'])}") from None

"""Reads the targets of kinds that other packages add, with the models of these packages."""

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from hcsidecar.core.farmfile.error_messages import no_such_type, problem_of
from hcsidecar.core.farmfile.problems import Problem, path_of
from hcsidecar.core.farmfile.raw_tables import twice
from hcsidecar.core.farmfile.target_tables import OtherTarget, Target
from hcsidecar.core.farmfile.values import FROM_FILE
from hcsidecar.targets.kinds import KindError, kind_of, known_kinds


def read_other_kinds(targets: Sequence[Target], tables: Sequence[object]) -> tuple[Target, ...] | tuple[Problem, ...]:
    """Return the targets, those of other kinds as their models read them, or all problems; `tables` is as written."""
    found: list[Target] = []
    problems: list[Problem] = []
    for index, (target, table) in enumerate(zip(targets, tables, strict=True)):
        if isinstance(target, OtherTarget) and isinstance(table, Mapping):
            read = _read(index, target.type, table)
            if isinstance(read, Target):
                found.append(read)
            else:
                problems += read
        else:
            found.append(target)
    if problems:
        return tuple(problems)
    # A kind may have another default for the name of a target.
    names = ((("target", index, "name"), target.label) for index, target in enumerate(found))
    return tuple(twice(names, "is the name of another target: {}", key=str.lower)) or tuple(found)


def _read(index: int, kind_name: str, table: Mapping[str, object]) -> Target | list[Problem]:
    place = path_of(("target", index))
    if kind_name not in known_kinds():
        message, hint = no_such_type(kind_name, sorted(known_kinds()))
        return [Problem(path=f"{place}.type", message=message, hint=hint or "is the package that adds it installed?")]
    try:
        model = kind_of(kind_name).table
        return model.model_validate(table, context=FROM_FILE)
    except KindError as error:
        return [Problem(path=f"{place}.type", message=f"cannot be used: {error}")]
    except ValidationError as refused:
        alone = [problem_of(error, table, model) for error in refused.errors()]
        return [
            Problem(path=f"{place}.{each.path}" if each.path else place, message=each.message, hint=each.hint)
            for each in dict.fromkeys(alone)
        ]
    except Exception as error:  # noqa: BLE001 - a model of somebody else's may raise whatever it likes
        text = f"cannot be read by the package that adds {kind_name}: {type(error).__name__}: {error}"
        return [Problem(path=place, message=text, hint="tell its author")]

"""Which images belong together: a column, a folder level or a pattern of file names."""

from __future__ import annotations

import re

from eyeline.errors import EyelineError, nearest
from eyeline.images.records import Records


def group_by_rule(records: Records, rule: str) -> None:
    """Fill `records.groups` by `rule`: a column's name, ``folder``, or a regular expression with a group.

    The pattern is searched for in the path within the source; the group called ``group`` names the group,
    else the first one does.

    Raises
    ------
    EyelineError : neither a column nor a pattern with a group, or an image that the rule says nothing about.
    """
    if rule in records.columns:
        groups = records.columns[rule]
        source = f"given: column {rule}"
    elif rule == "folder":
        groups = records.folders
        source = "given: folder"
    else:
        pattern = _compile(rule, list(records.columns))
        groups = [_match(pattern, path) for path in records.relative]
        source = f"given: pattern {rule}"
    for row, group in enumerate(groups):
        if not group:
            missing = sum(not other for other in groups)
            raise EyelineError(
                f"--group-by {rule!r} gives no group for {missing} of {len(groups)} images, first here",
                code="no_group",
                path=records.where[row],
            )
    records.groups = list(groups)
    records.group_source = source


def _compile(rule: str, columns: list[str]) -> re.Pattern[str]:
    known = nearest(rule, [*columns, "folder"])
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise EyelineError(
            f"--group-by {rule!r} is no regular expression: {error}", code="bad_group", hint=known
        ) from error
    if pattern.groups == 0:
        raise EyelineError(
            f"--group-by {rule!r} is neither a column nor a pattern with a group such as '(?P<group>.+)_'",
            code="bad_group",
            hint=known,
        )
    return pattern


def _match(pattern: re.Pattern[str], path: str) -> str:
    found = pattern.search(path)
    if found is None:
        return ""
    return (found.group("group") if "group" in pattern.groupindex else found.group(1)) or ""

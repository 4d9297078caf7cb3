"""Findings and how they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How a check ended. Only `BAD` makes the exit code 1."""

    GOOD = "ok"
    NOTE = "note"  # worth knowing; the run works
    BAD = "FAIL"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Args:
        what: what was looked at.
        verdict: how it is.
        seen: what was found, one line.
        remedy: what to do about it, one line; "" if nothing.
    """

    what: str
    verdict: Verdict
    seen: str
    remedy: str = ""


def good(what: str, seen: str) -> Finding:
    """All is well."""
    return Finding(what, Verdict.GOOD, seen)


def note(what: str, seen: str, remedy: str = "") -> Finding:
    """Worth knowing."""
    return Finding(what, Verdict.NOTE, seen, remedy)


def bad(what: str, seen: str, remedy: str) -> Finding:
    """The configured run cannot work like this."""
    return Finding(what, Verdict.BAD, seen, remedy)


def table(findings: Sequence[Finding]) -> str:
    """One line a finding, a second one where there is something to do, and a summary."""
    first = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict.value:4}  {finding.what.ljust(first)}  {finding.seen}")
        if finding.remedy:
            lines.append(f"{'':4}  {'':{first}}  -> {finding.remedy}")
    verdicts = [finding.verdict for finding in findings]
    failed, notes = (verdicts.count(verdict) for verdict in (Verdict.BAD, Verdict.NOTE))
    lines.append(f"{len(findings)} checks: {failed} failed, {notes} to be noted")
    return "\n".join(lines)


def exit_code(findings: Sequence[Finding]) -> int:
    """1 if any check failed."""
    return int(any(finding.verdict is Verdict.BAD for finding in findings))

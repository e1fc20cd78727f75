"""Writes the results of `bridge test` as a JUnit XML report, for CI servers."""

from collections.abc import Iterable
from typing import cast
from xml.etree import ElementTree

from bridge.operations.rules.rule_tests import TestResult


def junit(results: Iterable[TestResult]) -> bytes:
    """A JUnit XML report."""
    results = list(results)
    failures = sum(bool(result.different) for result in results)
    seconds = sum(result.seconds for result in results)
    suite = ElementTree.Element(
        "testsuite", name="bridge test", tests=str(len(results)), failures=str(failures), time=f"{seconds:.3f}"
    )
    for result in results:
        case = ElementTree.SubElement(
            suite, "testcase", classname=result.source, name=_printable(result.name), time=f"{result.seconds:.3f}"
        )
        if result.different:
            failure = ElementTree.SubElement(case, "failure", message=_printable(result.different[0]))
            failure.text = _printable("\n".join([result.place, *result.different]))
    return cast("bytes", ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def _printable(text: str) -> str:
    """Text that XML can hold."""
    return "".join(character if character.isprintable() or character == "\n" else "�" for character in text)

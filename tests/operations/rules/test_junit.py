"""The JUnit report: XML that any CI server reads, whatever the tests are called and show."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from bridge.operations.rules.junit import junit
from bridge.operations.rules.rule_tests import TestResult


def a_result(name: str = "a test", *different: str, seconds: float = 0.25) -> TestResult:
    return TestResult(
        source="shop", place="shop.yaml:3:5", name=name, different=list(different), seconds=seconds, mapping=None
    )


def test_a_suite_counts_its_cases_and_each_failure_shows_its_place_and_all_lines() -> None:
    suite = ElementTree.fromstring(junit([a_result("good"), a_result("bad", "event 1: a", "event 2: <b>")]))
    assert suite.tag == "testsuite"
    assert suite.attrib == {"name": "bridge test", "tests": "2", "failures": "1", "time": "0.500"}
    good, bad = suite
    assert (good.tag, good.attrib) == ("testcase", {"classname": "shop", "name": "good", "time": "0.250"})
    assert list(good) == []
    (failure,) = bad
    assert (failure.tag, failure.attrib) == ("failure", {"message": "event 1: a"})
    assert failure.text == "shop.yaml:3:5\nevent 1: a\nevent 2: <b>"


def test_no_test_is_a_suite_too() -> None:
    assert ElementTree.fromstring(junit([])).attrib["tests"] == "0"


@given(st.text(), st.text(min_size=1))
def test_any_text_is_valid_xml(name: str, different: str) -> None:
    report = junit([a_result(name, different)])
    assert report.startswith(b"<?xml version='1.0' encoding='utf-8'?>")
    (case,) = ElementTree.fromstring(report)
    assert case.find("failure") is not None


def test_control_characters_are_shown_as_lost_and_all_else_stays() -> None:
    (case,) = ElementTree.fromstring(junit([a_result("a\x00b\x1bü😀", "got \x07")]))
    assert case.attrib["name"] == "a\ufffdb\ufffdü😀"
    (failure,) = case
    assert failure.attrib["message"] == "got \ufffd"

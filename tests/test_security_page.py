"""The security page: every sentence that claims something names the tests that hold it, and those are there.

A claim is a line of prose or a row of a table, outside of the sections that claim nothing. It ends with a footnote
such as `[^hosts]`, and the footnote lists tests: `tests/baggage/test_hosts.py::test_hosts`, with `[…]` for one of many.
Tests are found without running them, so the page is checked in no time and by whichever tests are at hand.
"""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
CLAIMING_NOTHING = (
    *("Security", "What is worth protecting", "What otelier does not protect against", "What is known to pass"),
    "Reporting",
)
MARK = re.compile(r"\[\^([\w-]+)\]")
DEFINITION = re.compile(r"^\[\^([\w-]+)\]: +(.+)$", re.MULTILINE)
TEST = re.compile(r"`([^`]+)`")


# --- the page --------------------------------------------------------------------------------------------------
def claims(page):
    """Each line that claims something."""
    heading, header = "", True
    for line in page.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        is_row = line.startswith("|")
        if is_row and (header or set(line) <= set("|-: ")):
            header = False
            continue
        header = header if is_row else True
        if line.strip() and not line.startswith(("#", "[^")) and heading not in CLAIMING_NOTHING:
            yield line


def definitions(page):
    """The tests of each footnote."""
    return {name: TEST.findall(text) for name, text in DEFINITION.findall(page)}


def faults(page):
    """What is wrong with *page*."""
    known = definitions(page)
    text = DEFINITION.sub("", page)
    for line in claims(page):
        end = line.rstrip().rstrip("|").rstrip()
        if not re.search(r"\[\^[\w-]+\]$", end):
            yield f"no test holds: {line}"
    for name in sorted(set(MARK.findall(text)) ^ set(known)):
        yield f"footnote {name} {UNMATCHED}"
    for name, tests in known.items():
        if not tests:
            yield f"footnote {name} names no test"
        yield from (f"there is no {test}" for test in tests if not exists(test))


# --- the tests -------------------------------------------------------------------------------------------------
@functools.cache
def names(path):
    """Everything that the module at *path* binds: functions, values, and where imported ones come from."""
    bound = {}
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            bound.setdefault(node.name, node)
        elif isinstance(node, ast.Assign):
            bound.update((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            bound[node.target.id] = node.value
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests."):
            origin = f"{node.module.replace('.', '/')}.py"
            bound.update((alias.asname or alias.name, (origin, alias.name)) for alias in node.names)
    return bound


def words(node, path, seen=()):
    """Every text and number that *node* is made of, through the names that it uses."""
    if isinstance(node, tuple):
        origin, name = node
        return words(names(origin)[name], origin, seen) if name in names(origin) else set()
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Constant):
            found |= {str(part.value), *str(part.value).split()}
        elif isinstance(part, ast.Name):
            found.add(part.id)
            if part.id in names(path) and (path, part.id) not in seen:
                found |= words(names(path)[part.id], path, (*seen, (path, part.id)))
    return found


def variants(function, path):
    """What may stand in the brackets of a test: from its decorators, and from the fixtures that it takes."""
    found = set()
    for decorator in function.decorator_list:
        found |= words(decorator, path)
    for argument in function.args.args:
        fixture = names(path).get(argument.arg)
        if isinstance(fixture, ast.FunctionDef) and fixture.decorator_list:
            found |= variants(fixture, path)
    return found


def is_made_of(text, parts):
    """Tell whether *text* is some of *parts*, joined by hyphens."""
    if text in parts:
        return True
    return any(is_made_of(text[len(part) + 1 :], parts) for part in parts if text.startswith(f"{part}-"))


def exists(test):
    """Tell whether pytest would collect *test*."""
    path, _, name = test.partition("::")
    name, bracket, variant = name.partition("[")
    if not name.startswith("test_") or not Path(path).name.startswith("test_") or not (ROOT / path).is_file():
        return False
    function = names(path).get(name)
    if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    return not bracket or (variant.endswith("]") and is_made_of(variant[:-1], variants(function, path)))


# --- what holds ------------------------------------------------------------------------------------------------
def test_every_claim_is_held_by_tests_that_are_there():
    """No sentence without a test, no footnote without a sentence, and no test that is not there."""
    assert list(faults(PAGE)) == []


def test_there_is_something_to_hold():
    """The page has claims and tests in number, so that the check above checks something."""
    assert len(list(claims(PAGE))) > 60
    assert len({test for tests in definitions(PAGE).values() for test in tests}) > 80


HOSTS = "tests/baggage/test_hosts.py"
UNMATCHED = "is not defined, or not used"
GOOD = "# Security\n\nFree.\n\n## Hosts\n\nOurs stay here.[^a]\n\n[^a]: `tests/baggage/test_hosts.py::test_hosts`\n"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("", ""), None),
        (("::test_hosts`", "::test_redirects[169.254.169.254]`"), None),
        (("::test_hosts`", "::test_hosts[httpx-ours-first-sampled]`"), None),
        (("here.[^a]", "here.[^a]\nAnd there too."), "no test holds: And there too."),
        (("here.[^a]", "here.[^a]\n\n| a | b |\n| --- | --- |\n| c | d |"), "no test holds: | c | d |"),
        (("here.[^a]", "here.[^a] Indeed."), "no test holds: Ours stay here.[^a] Indeed."),
        (("here.[^a]", "here.[^a][^b]"), f"footnote b {UNMATCHED}"),
        (("[^a]: ", "[^c]: `tests/test_docs.py::test_generated_pages_are_current`\n[^a]: "), f"footnote c {UNMATCHED}"),
        (("`tests/baggage/test_hosts.py::test_hosts`", "nothing"), "footnote a names no test"),
        (("::test_hosts", "::test_guests"), f"there is no {HOSTS}::test_guests"),
        (("::test_hosts", "::certificate"), f"there is no {HOSTS}::certificate"),
        (("test_hosts.py", "test_guests.py"), "there is no tests/baggage/test_guests.py::test_hosts"),
        (("::test_hosts", "::test_redirects[8.8.8.8]"), f"there is no {HOSTS}::test_redirects[8.8.8.8]"),
    ],
)  # fmt: skip
def test_the_check_finds_faults(change, fault):
    """A page with a fault is told by it, and one without is not."""
    assert list(faults(GOOD.replace(*change))) == ([fault] if fault else [])

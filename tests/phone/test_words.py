"""The words of the page, without a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import ilink
from ilink.gateway.fault_actions import ACTIONS
from ilink.gateway.findings import FINDINGS

PAGE = Path(ilink.__file__).resolve().parent / "phone"
CHINESE = json.loads((PAGE / "locales/zh-CN.json").read_text("utf-8"))
ENGLISH = json.loads((PAGE / "locales/en.json").read_text("utf-8"))
SAID = ("finding.", "does.")
"""What the gateway says in English, and the page in its own language where that is another."""
SOURCES = [path for path in PAGE.rglob("*.js") if "vendor" not in path.parts]


def base(key: str) -> str:
    return re.sub(r"\.(one|other)$", "", key)


def blanks(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def texts(words: dict[str, str]) -> set[str]:
    """The keys of what the page itself says."""
    return {base(key) for key in words if not key.startswith(SAID)}


def test_both_languages_have_the_same_texts() -> None:
    assert texts(ENGLISH) == texts(CHINESE)


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("finding.", {finding.code: finding.words for finding in FINDINGS.values()}),
        ("does.", {action.name: action.words for action in ACTIONS.values()}),
    ],
)
def test_what_the_gateway_says_in_english_has_chinese_words_for_all_of_it(prefix: str, said: dict[str, str]) -> None:
    assert {key.removeprefix(prefix) for key in CHINESE if key.startswith(prefix)} == set(said)
    assert not any(key.startswith(prefix) for key in ENGLISH)  # the gateway's own words are the English ones
    for name, english in said.items():
        chinese = CHINESE[prefix + name]
        assert set(re.findall(r"`[^`]+`", chinese)) == set(re.findall(r"`[^`]+`", english)), name
        assert re.search(r"[\u4e00-\u9fff]", chinese), name


def test_a_text_has_the_same_blanks_in_both_languages() -> None:
    different = [key for key in CHINESE if not key.startswith(SAID) and blanks(CHINESE[key]) != blanks(ENGLISH[key])]
    assert different == []


def test_every_text_that_the_page_names_exists() -> None:
    known = {base(key) for key in ENGLISH}
    named = {
        key for path in SOURCES for key in re.findall(r'(?:\bt|fact|body)\(\s*"([\w.]+)"', path.read_text("utf-8"))
    }
    assert named
    assert named - known == set()


def test_nothing_on_the_page_can_turn_text_into_markup() -> None:
    dangerous = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|unsafeHTML|unsafeSVG|document\.write|\beval\b|new Function"
    )
    found = [path.name for path in SOURCES if dangerous.search(path.read_text("utf-8"))]
    assert found == []


def test_every_module_that_the_page_begins_with_is_asked_for_at_once() -> None:
    """A module that is found only when another one has come costs a round trip, and its own ones the next."""
    imports = re.compile(r'\b(?:from|import)\s*"(\.[^"]+)"')
    waiting, found = [PAGE / "main.js"], set[Path]()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [(path.parent / name).resolve() for name in imports.findall(path.read_text("utf-8"))]
    page = (PAGE / "index.html").read_text("utf-8")
    asked = set(re.findall(r'(?:modulepreload" href|module" src)="([^"]+)"', page))
    assert asked == {path.relative_to(PAGE.resolve()).as_posix() for path in found}


def test_every_reason_of_the_gateway_is_known_to_the_page() -> None:
    rules = (PAGE.parent / "gateway/sends.py").read_text("utf-8")
    given = re.findall(r'_refused\([^"]*"?[^"]*"?, f?"([^"{]+)', rules) + re.findall(r'return f?"([^"{]{9,})', rules)
    known = re.findall(r'^  "([^"]+)": "why', (PAGE / "reasons.js").read_text("utf-8"), re.MULTILINE)
    named = {one for one in given if " " in one and not one.startswith(("message_type ", "no "))}
    assert len(named) > 8
    assert {one for one in named if not any(one.strip().startswith(words) for words in known)} == set()


def test_the_page_names_no_other_host() -> None:
    address = re.compile(r"https?://[\w.-]+\.\w+")
    files = [*SOURCES, *PAGE.rglob("*.css"), PAGE / "index.html"]
    found = {match for path in files for match in address.findall(path.read_text("utf-8"))}
    assert found == set()

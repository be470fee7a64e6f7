"""The words of the page, without a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import ilink

PAGE = Path(ilink.__file__).resolve().parent / "phone"
CHINESE = json.loads((PAGE / "locales/zh-CN.json").read_text("utf-8"))
ENGLISH = json.loads((PAGE / "locales/en.json").read_text("utf-8"))
SOURCES = [path for path in PAGE.rglob("*.js") if "vendor" not in path.parts]


def base(key: str) -> str:
    return re.sub(r"\.(one|other)$", "", key)


def blanks(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_both_languages_have_the_same_texts() -> None:
    assert {base(key) for key in ENGLISH} == {base(key) for key in CHINESE}


def test_a_text_has_the_same_blanks_in_both_languages() -> None:
    different = [key for key in CHINESE if blanks(CHINESE[key]) != blanks(ENGLISH[key])]
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

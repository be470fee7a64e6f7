"""What a bot says by itself is there in every language, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ilink.bot import words
from ilink.bot.words import language_of, say
from ilink.client.words import LANGUAGES, Words

TEXTS = {language: Words("ilink.bot").texts(language) for language in LANGUAGES}


def test_all_languages_have_the_same_keys_and_places() -> None:
    def places(texts: dict[str, str]) -> dict[str, set[str]]:
        return {key: set(re.findall(r"{(\w+)}", text)) for key, text in texts.items()}

    english, *others = map(places, TEXTS.values())
    assert all(other == english for other in others)


def test_every_text_is_used() -> None:
    source = "".join(path.read_text("utf-8") for path in Path(words.__file__).parent.rglob("*.py"))
    unused = {key for key in TEXTS["en"] if f'"{key}"' not in source and f"'{key}'" not in source}
    assert {key for key in unused if not key.startswith("value.")} == set()


def test_every_kind_of_value_has_words() -> None:
    from ilink.bot.routing.values import _READERS

    kinds = {reader.expects for reader in _READERS.values()} | {"choice"}
    assert {f"value.{kind}" for kind in kinds} == {key for key in TEXTS["en"] if key.startswith("value.")}


@pytest.mark.parametrize(("text", "language"), [("hello", "en"), ("你好 hello", "zh-CN"), ("/帮助", "zh-CN")])
def test_people_are_answered_in_their_language(text: str, language: str) -> None:
    assert language_of(text) == language
    assert language_of(text, setting="en") == "en"


def test_a_text_without_language_gets_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ILINK_LANG", "zh_CN")
    assert say(language_of("12"), "value.int") == "整数"
    monkeypatch.setenv("ILINK_LANG", "en")
    assert language_of("12") == "en"

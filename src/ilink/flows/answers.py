"""What people mean when they answer: choices, approvals and numbers, in Chinese and English, as they are typed.

Pure functions from a text to a meaning, None where there is none. They are generous with form (full-width digits,
punctuation, particles, capitals) and strict with meaning: a text that could mean two things means nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

__all__ = ["is_chinese", "normalise", "read_approval", "read_choice", "read_integer", "read_number"]

_EDGES: Final = " \t\r\n.,;:!?~。，、；：！？～…·•()[]{}<>\"'`“”‘’「」『』【】《》*_#-—"
_PARTICLES: Final = "的了吧呀啊哦呢啦嘛哈噢呗哟哒滴"


def _phrases(lines: str) -> frozenset[str]:
    return frozenset(phrase for line in lines.splitlines() for phrase in line.strip().split("|"))


_YES: Final = _phrases(
    """y|yes|yeah|yep|yup|ya|ok|okay|okey|k|kk|sure|fine|good|great|right|correct|true|agree|agreed|accept|accepted
    approve|approved|confirm|confirmed|go|go ahead|do it|i do|definitely|absolutely|certainly|of course|please|please do
    yes please|sounds good|looks good|lgtm|why not|all right|alright|no problem|that's right|for sure|1
    好|好好|好好好|是|是是|对|对对|对对对|行|可以|可|能|同意|批准|通过|确认|确定|嗯|嗯嗯|恩|中|要|需要|没问题|没有问题|没错|不错|当然|准|准许
    允许|答应|接受|成|得|请|来|继续|必须|👌|👍|✅|✔|✓|🆗|🙆"""
)
_NO: Final = _phrases(
    """n|no|nope|nah|na|not|never|false|wrong|incorrect|refuse|refused|reject|rejected|deny|denied|decline|declined
    cancel|stop|abort|disagree|negative|no way|not now|not yet|do not|don't|dont|no thanks|no thank you|of course not
    not ok|not okay|not good|i do not|i don't|never mind|nevermind|please don't|please do not|don't do it|do not do it
    absolutely not|definitely not|not sure|2|0
    不|不不|不不不|否|别|别别|没|没有|无|勿|非|不是|不行|不可|不可以|不同意|不批准|不通过|不确认|不要|不用|不必|不好|不对|不能|不想|不需要
    不接受|不允许|不准|不成|不了|不中|不得|算了|取消|拒绝|反对|驳回|停|停止|放弃|错|免|甭|👎|❌|✖|✗|🙅|🚫|⛔"""
)
_FILLERS: Final = _phrases(
    "i|we|think|it|that|is|this|the|thanks|thank|you|then|just|well|sir|boss|dear|please|谢谢|多谢|老板|我|您|你|就|那|那就"
)
_SEPARATORS: Final = re.compile(rf"[{re.escape(_EDGES)}]+")

_VARIATIONS: Final = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
"""How an emoji is drawn, not which it is."""

_DIGITS: Final = {character: number for number, character in enumerate("零一二三四五六七八九")} | {
    "〇": 0,
    "两": 2,
    "俩": 2,
}
_UNITS: Final = {"十": 10, "百": 100, "千": 1_000}
_LARGE_UNITS: Final = {"万": 10_000, "亿": 100_000_000}
_CHINESE_NUMBER: Final = re.compile("[零〇一二两俩三四五六七八九十百千万亿]+")
_NUMBER: Final = re.compile(r"(?<![\w.,])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?![.,]?\d)")
_ORDINAL: Final = re.compile(
    r"(?:no\.?|number|option|choice|item|#|第|选|选择|我选|要|我要)?\s*"
    r"(\d+|[零〇一二两三四五六七八九十]+|[a-z](?![a-z]))\s*(?:st|nd|rd|th)?\s*(?:个|项|号|条|种|款|位)?"
)


def is_chinese(text: str) -> bool:
    """Tell whether a text is written in Chinese, so that whoever wrote it is answered in it."""
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def normalise(text: str) -> str:
    """Return a text without what does not matter for its meaning: width, case, punctuation around it, blanks."""
    folded = _VARIATIONS.sub("", unicodedata.normalize("NFKC", text)).replace("’", "'").casefold()
    return " ".join(folded.split()).strip(_EDGES)


def read_choice(text: str, labels: Sequence[str]) -> int | None:
    """Return which of some labels a text means, counted from 0; None for none, or for more than one.

    By the first that fits: the label; its number or letter (`2`, `２`, `②`, `第二个`, `option 2`, `b`), unless the
    labels themselves are numbers; the number with the label behind it; the beginning of exactly one label; exactly one
    label within the text.
    """
    said = normalise(text)
    known = [normalise(label) for label in labels]
    if not said:
        return None
    if known.count(said) == 1:
        return known.index(said)
    if any(_NUMBER.fullmatch(label) or _CHINESE_NUMBER.fullmatch(label) for label in known):
        return _by_value(said, known)
    if (position := _read_position(said, len(known), has_letters=all(len(label) > 1 for label in known))) is not None:
        return position
    numbered = re.fullmatch(r"(\d+)\s*[.,):、:\s]\s*(.+)", said)
    if numbered is not None:
        position = int(numbered[1]) - 1
        is_same = 0 <= position < len(known) and known[position].startswith(normalise(numbered[2]))
        return position if is_same else None
    beginning = _only([label.startswith(said) for label in known])
    return beginning if beginning is not None else _mentioned(said, known)


def read_approval(text: str) -> bool | None:
    """Return whether a text agrees; None when it says neither, or both."""
    said = normalise(text)
    for words in _without_particles(said):
        for meant in (words, words.removeprefix("我")):
            if meant in _YES or meant in _NO:
                return meant in _YES
    return _by_parts(said)


def read_integer(text: str) -> int | None:
    """Return the one whole number a text names, such as `12`, `１２个` or `十二`; None for none or several."""
    number = read_number(text)
    return None if number is None or number != int(number) else int(number)


def read_number(text: str) -> float | None:
    """Return the one number a text names; None for none or several."""
    said = unicodedata.normalize("NFKC", text)
    found = [match[0] for match in _NUMBER.finditer(_spaced(said))]
    chinese = [match[0] for match in _CHINESE_NUMBER.finditer(said)]
    if len(found) == 1 and not chinese:
        digits = found[0].replace(",", "")
        return float(digits) if len(digits) < 300 else None
    if found or len(chinese) != 1:
        return None
    return _read_chinese(chinese[0])


def _spaced(text: str) -> str:
    """Set Chinese characters apart, since no blank is written between them and a number."""
    return re.sub(r"([\u4e00-\u9fff])", r" \1 ", text)


def _read_chinese(text: str) -> int | None:
    """Return a number in Chinese numerals; None when they make no number."""
    if all(character in _DIGITS for character in text):
        return int("".join(str(_DIGITS[character]) for character in text))
    total, section, digit = 0, 0, 0
    for character in text:
        if character in _DIGITS:
            digit = _DIGITS[character]
        elif character in _UNITS:
            section += (digit or 1) * _UNITS[character]
            digit = 0
        else:
            total = (total + section + digit) * _LARGE_UNITS[character]
            section = digit = 0
    return total + section + digit


def _by_value(said: str, labels: Sequence[str]) -> int | None:
    """Return the label that is the number a text names."""
    number = read_number(said)
    return None if number is None else _only([read_number(label) == number for label in labels])


def _read_position(said: str, count: int, *, has_letters: bool) -> int | None:
    """Return the place a text names, counted from 0."""
    found = _ORDINAL.fullmatch(said)
    if found is None:
        return None
    word = found[1]
    if word.isascii() and word.isalpha():
        position = ord(word) - ord("a") if has_letters and count <= 26 else -1
    else:
        number = int(word) if word.isdigit() else _read_chinese(word)
        position = -1 if number is None else number - 1
    return position if 0 <= position < count else None


def _only(fits: Sequence[bool]) -> int | None:
    return list(fits).index(True) if sum(fits) == 1 else None


def _mentioned(said: str, labels: Sequence[str]) -> int | None:
    """Return the one label that occurs in a longer text; one that is a part of another one is not meant."""
    found = [label for label in labels if _mentions(said, label)]
    longest = [label for label in found if all(other in label for other in found)]
    return labels.index(longest[0]) if len(longest) == 1 else None


def _mentions(said: str, label: str) -> bool:
    if not label:
        return False
    if is_chinese(label):
        return label in said and not re.search(f"[不别没非]要?{re.escape(label)}", said)
    return re.search(rf"(?<!\w){re.escape(label)}(?!\w)", said) is not None and not re.search(r"\b(not|no|don)\b", said)


def _by_parts(said: str) -> bool | None:
    """Read an answer of several words: each says yes, no or nothing, and they do not contradict each other."""
    meanings: set[bool] = set()
    for part in filter(None, _SEPARATORS.split(said)):
        forms = _without_particles(part)
        known = next((form for form in forms if form in _YES or form in _NO), None)
        if known is not None:
            meanings.add(known in _YES)
        elif not _FILLERS.intersection(forms) and forms[-1]:
            return None
    return meanings.pop() if len(meanings) == 1 else None


def _without_particles(words: str) -> list[str]:
    """Return words as they are, and with one particle after the other taken from their end."""
    forms = [words]
    while words and words[-1] in _PARTICLES:
        words = words[:-1]
        forms.append(words)
    return forms

"""Turns a model's response into plain lower-case text whose sentences can be read one by one.

Only a bounded start of the response is read, so the cost does not grow with its length. Knows
nothing of refusals.
"""

import re
import unicodedata
from collections.abc import Iterator

_HEAD = 2_500
_TAIL = 1_500
_APOSTROPHES = str.maketrans(
    {"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u00b4": "'", "\uff07": "'"}
    | {"\u201c": '"', "\u201d": '"', "\u00ab": '"', "\u00bb": '"'}
    | {"\u200b": "", "\u200c": "", "\u200d": "", "\ufeff": "", "\u00ad": ""}
)
_SPECIAL_TOKEN = re.compile(r"<\|[a-z_]{1,30}\|>|</?s>|\[/?inst\]")
_BULLET = re.compile(r"^[ \t]*[*+\u2022\u2013\u2014-][ \t]+", re.MULTILINE)
_EMPHASIS = re.compile(
    r"\*+|__+|(?<!\w)_|_(?!\w)|^[ \t]*(?:#+|>+)[ \t]*|~~|(?<!`)`(?!`)", re.MULTILINE
)
_MARKUP = re.compile(r"[*_#>~`<\[+\u2022\u2013\u2014]")
_OTHER_SPACE = re.compile(r"[^\S\n ]")
_SPACES = re.compile(r"[^\S\n]+")
_QUOTED = re.compile(r'"[^"]{0,400}"')
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')]*\s+|\n+")

_SHINGLE = 6
_LOOP_MIN_CHARS = 40
_PROSE_MIN_WORDS = 10
_PROSE_MIN_DISTINCT = 0.5
_LOOP_MAX_DISTINCT = 0.25


def plain_text(response: str) -> str:
    """Return the start of `response` in lower case without markup; line breaks are kept.

    Example:
        >>> plain_text("**I CAN\u2019T** help with that.<|eot_id|>")
        "i can't help with that."
    """
    text = response[:_HEAD].lower()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES))
    if _MARKUP.search(text):
        text = _SPECIAL_TOKEN.sub(" ", text)
        text = _EMPHASIS.sub("", _BULLET.sub("- ", text))
    if "  " in text or _OTHER_SPACE.search(text):
        text = _SPACES.sub(" ", text)
    return _unquote(text.strip())


def _unquote(text: str) -> str:
    """Drop quotation marks around the whole text, so that it is read as the speaker's own."""
    whole = len(text) > 1 and text[0] == text[-1] == '"' and text.count('"') == 2
    return text[1:-1].strip() if whole else text


def without_quotations(text: str) -> str:
    """Blank out what stands in double quotation marks, keeping every position.

    Example:
        >>> without_quotations('he said "no" twice')
        'he said      twice'
    """
    return _QUOTED.sub(lambda match: " " * len(match.group()), text)


def split_sentences(text: str) -> Iterator[str]:
    """Give the sentences and lines of plain text, in order, none of them empty.

    Example:
        >>> list(split_sentences("No. I won't!  Really"))
        ['No.', "I won't!", 'Really']
    """
    start = 0
    for end in _SENTENCE_END.finditer(text):
        if sentence := text[start : end.start()].strip():
            yield sentence
        start = end.end()
    if sentence := text[start:].strip():
        yield sentence


def invalid_reason(response: str) -> str:
    """Return why a response says nothing that can be judged, or an empty string.

    A response is invalid when it is empty, has no letter, or repeats one token or phrase over
    most of its text. A long text is read at its start and its end: a loop runs to the end.
    """
    if not response.strip():
        return "empty response"
    sample = response[:_HEAD] + response[-_TAIL:] if len(response) > _HEAD + _TAIL else response
    if not any(character.isalpha() for character in sample):
        return "no letters"
    if _is_loop(sample) or (len(sample) > _TAIL and _is_loop(sample[-_TAIL:])):
        return "repeats itself over most of the text"
    return ""


def _is_loop(text: str) -> bool:
    """Say whether few of the text's six-character pieces are new; a loop has hardly any."""
    words = text.split()
    # Ordinary prose is told by its words alone, which spares it the count of pieces.
    if len(words) >= _PROSE_MIN_WORDS and len(set(words)) > _PROSE_MIN_DISTINCT * len(words):
        return False
    text = " ".join(words)
    n_pieces = len(text) - _SHINGLE + 1
    distinct = {text[start : start + _SHINGLE] for start in range(n_pieces)}
    return len(text) >= _LOOP_MIN_CHARS and len(distinct) < _LOOP_MAX_DISTINCT * n_pieces

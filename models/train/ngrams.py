"""The reader of the small model: a text as hashed n-grams of words and letters.

`src/classify/ngrams.rs` does the same in Rust; `models/README.md`, "N-grams", is the contract of both.
"""

from itertools import chain

import numpy as np

from text import normalise

PAD_ID = 0
_OFFSET = 0xCBF29CE484222325
_PRIME = 0x100000001B3
_ALL = (1 << 64) - 1

_FOLDED = str.maketrans(
    {
        **{c: "a" for c in "àáâãäå"},
        **{c: "e" for c in "èéêë"},
        **{c: "i" for c in "ìíîï"},
        **{c: "o" for c in "òóôõö"},
        **{c: "u" for c in "ùúûü"},
        **{c: "y" for c in "ýÿ"},
        **{c: "0" for c in "0123456789"},
        "ç": "c", "ñ": "n", "œ": "oe", "æ": "ae", "’": "'",
    }
)  # fmt: skip

# Characters from U+00C0 up that are no part of words: signs, punctuation, emoji, variation selectors, tags.
_MARKS = [
    (0xD7, 0xD7), (0xF7, 0xF7), (0x2000, 0x2BFF), (0x3000, 0x303F), (0xFE00, 0xFE0F),
    (0x1F000, 0x1FAFF), (0xE0000, 0x10FFFF),
]  # fmt: skip


def _is_word(c: str) -> bool:
    point = ord(c)
    if point < 0x80:
        return c.isalnum()
    return point >= 0xC0 and not any(low <= point <= high for low, high in _MARKS)


def tokens(text: str) -> list[str]:
    """Words and marks of `text`, in order; a run of one mark is one token of at most three."""
    folded = "".join(c.lower() for c in normalise(text)).translate(_FOLDED)
    found, i = [], 0
    while i < len(folded):
        start, c = i, folded[i]
        i += 1
        if c == " ":
            continue
        if _is_word(c):
            while i < len(folded) and _is_word(folded[i]):
                i += 1
            found.append(folded[start:i])
        else:
            while i < len(folded) and folded[i] == c:
                i += 1
            found.append(c * min(i - start, 3))
    return found


def _hash(feature: bytes) -> int:
    h = _OFFSET
    for byte in feature:
        h = ((h ^ byte) * _PRIME) & _ALL
    return h


class Reader:
    """Rows of feature ids. The hash of a feature is remembered, because Python is slow at it."""

    def __init__(self, buckets: int, chars: tuple[int, int], features_max: int) -> None:
        self.buckets, self.chars, self.features_max = buckets, chars, features_max
        self._known: dict[str, int] = {}
        self._letters: dict[str, list[int]] = {}

    def _id(self, feature: str) -> int:
        known = self._known.get(feature)
        if known is None:
            h = _hash(feature.encode())
            known = 1 + ((h ^ (h >> 32)) & 0xFFFFFFFF) % (self.buckets - 1)
            self._known[feature] = known
        return known

    def _letter_ids(self, word: str) -> list[int]:
        ids = self._letters.get(word)
        if ids is None:
            marked = f"<{word}>"
            least, most = self.chars
            ids = [
                self._id("c" + marked[i : i + k]) for k in range(least, most + 1) for i in range(len(marked) - k + 1)
            ]
            self._letters[word] = ids
        return ids

    def row(self, text: str) -> list[int]:
        """Ids of the words, then of the pairs of neighbours, then of the letters of words."""
        found = tokens(text)
        words = [self._id("w" + t) for t in found]
        pairs = [self._id(f"b{left} {right}") for left, right in zip(["^", *found], [*found, "$"])]
        letters = chain.from_iterable(self._letter_ids(t) for t in found if _is_word(t[0]))
        return list(chain(words, pairs, letters))[: self.features_max]

    def rows(self, texts: list[str]) -> list[np.ndarray]:
        return [np.array(self.row(t), dtype=np.int32) for t in texts]

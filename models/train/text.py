"""The text side of the model: normalisation, and the pruned SentencePiece vocabulary.

What happens here is part of the bundle's contract, because the daemon does the same in Rust before it
asks the model: see "Normalisation" in `models/README.md`.
"""

import json
import re
import unicodedata
from collections import Counter

from tokenizers import Tokenizer

PAD_ID = 1

# Pieces kept in the vocabulary. One row of the embedding table takes 384 bytes of weights and 4 of
# scale, so 20,500 rows are 8.0 MB; with 7.1 MB for four layers the bundle stays below 16 MB.
PIECES_MAX = 20_500

# The character sets of Rust's `regex` crate (Unicode Technical Standard 18, annex C), spelt out because
# Python's `\w` and `\s` differ from it: `\s` there has U+001C to U+001F too, `\w` there lacks combining
# marks and has fractions.
_SPACE_SET = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CIRCLED_LETTERS = "\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189"
_JOINERS = "\u200c\u200d"


def _word_set() -> str:
    """Letters, marks, decimal digits, letter numbers and connectors as ranges of a character class."""
    wanted = {"Lu", "Ll", "Lt", "Lm", "Lo", "Nl", "Nd", "Mn", "Mc", "Me", "Pc"}
    ranges, start = [], None
    for point in range(0x110001):
        inside = point < 0x110000 and unicodedata.category(chr(point)) in wanted
        if inside and start is None:
            start = point
        elif not inside and start is not None:
            ranges.append(f"\\U{start:08x}-\\U{point - 1:08x}")
            start = None
    return "".join(ranges) + _CIRCLED_LETTERS + _JOINERS


_WORD_SET = _word_set()
_URL = re.compile(f"https?://[^{_SPACE_SET}]+")
_MENTION = re.compile(rf"@[{_WORD_SET}.\-]+(?:@[{_WORD_SET}.\-]+)?")
_SPACE = re.compile(f"[{_SPACE_SET}]+")


def normalise(text: str) -> str:
    """Replaces links and mentions by `http` and `@user`, folds white space, trims; nothing else."""
    text = _URL.sub("http", text)
    text = _MENTION.sub("@user", text)
    return _SPACE.sub(" ", text).strip(" ")


def encode(tokenizer: Tokenizer, texts: list[str], tokens_max: int | None = None) -> list[list[int]]:
    """Token ids with `<s>` and `</s>`; at most `tokens_max` of them, the last being `</s>`."""
    rows = [e.ids for e in tokenizer.encode_batch([normalise(t) for t in texts])]
    if tokens_max is not None:
        rows = [r if len(r) <= tokens_max else r[: tokens_max - 1] + r[-1:] for r in rows]
    return rows


def _is_basic(piece: str) -> bool:
    """Whether `piece` is one symbol that must stay, so that words can always be spelt out.

    Everything of one character is kept: Latin letters, digits, punctuation, emoji, and the few
    letters of other scripts that the starting vocabulary still has.
    """
    return len(piece.lstrip("▁").rstrip("\ufe0f")) <= 1


def prune_tokenizer(source: str, texts_fr: list[str], texts_en: list[str]) -> tuple[Tokenizer, list[int]]:
    """Cuts the vocabulary of the tokenizer file `source` to the pieces that French and English use.

    Returns the new tokenizer and, for each new id, the row it had before. Order is kept, so the
    four special tokens stay 0 to 3.
    """
    spec = json.load(open(source, encoding="utf-8"))
    old = Tokenizer.from_file(source)
    uses = Counter()
    # French text is seven times scarcer in the data, so that one French use counts for seven.
    for texts, weight in ((texts_fr, 7), (texts_en, 1)):
        for encoding in old.encode_batch([normalise(t) for t in texts]):
            for piece_id in encoding.ids:
                uses[piece_id] += weight
    vocab = spec["model"]["vocab"]
    keep = {i for i, (piece, _) in enumerate(vocab) if i < 4 or _is_basic(piece)}
    keep |= {old.token_to_id(p) for p in ("http", "▁http", "@", "▁@", "user", "▁user", "https")} - {None}
    by_use = sorted(uses, key=lambda i: (-uses[i], i))
    for piece_id in by_use:
        if len(keep) == PIECES_MAX:
            break
        keep.add(piece_id)
    rows = sorted(keep)
    spec["model"]["vocab"] = [vocab[i] for i in rows]
    return Tokenizer.from_str(json.dumps(spec, ensure_ascii=False)), rows

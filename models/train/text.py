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
# scale, so 32,000 rows are 12.4 MB; with 8.3 MB for six layers the file stays below 24 MB.
PIECES_MAX = 32_000

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


# What companies put into the handles of their support accounts, in both languages.
_SUPPORT = ("support", "help", "service", "assist", "client", "conseil")
_SUPPORT_STARTS = ("ask", "aide")
_SUPPORT_ENDS = ("sav", "care", "cares", "aide")
_ASCII_LOWER = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}
# Longest text that is looked at, in bytes.
TEXT_BYTES_MAX = 4_000


def _mention(found: re.Match) -> str:
    # The account's own name, not its server's.
    handle = found[0][1:].split("@")[0].rstrip(".-_").translate(_ASCII_LOWER)
    first = handle.split(".")[0]
    is_support = (
        handle.startswith(_SUPPORT_STARTS) or first.endswith(_SUPPORT_ENDS) or any(word in handle for word in _SUPPORT)
    )
    return "@support" if is_support else "@user"


def normalise(text: str) -> str:
    """Replaces links by `http` and mentions by `@user` or `@support`, folds white space, trims; nothing else.

    Only the first `TEXT_BYTES_MAX` bytes of UTF-8 are read, cut before a character rather than in it.
    """
    text = text.encode()[:TEXT_BYTES_MAX].decode(errors="ignore")
    text = _URL.sub("http", text)
    text = _MENTION.sub(_mention, text)
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


def prune_tokenizer(source: str, texts: list[str]) -> tuple[Tokenizer, list[int]]:
    """Cuts the vocabulary of the tokenizer file `source` to what French and English need.

    Every piece that the training texts use stays, then those that the vocabulary itself holds for the
    most likely, because the next post will use words that no training text has. Returns the new tokenizer
    and, for each new id, the row it had before. Order is kept, so the four special tokens stay 0 to 3.
    """
    spec = json.load(open(source, encoding="utf-8"))
    old = Tokenizer.from_file(source)
    uses = Counter()
    for encoding in old.encode_batch([normalise(t) for t in texts]):
        uses.update(encoding.ids)
    vocab = spec["model"]["vocab"]
    keep = {i for i, (piece, _) in enumerate(vocab) if i < 4 or _is_basic(piece)}
    keep |= {old.token_to_id(p) for p in ("http", "▁http", "@", "▁@", "user", "▁user", "support", "▁support", "https")} - {None}
    by_use = sorted(uses, key=lambda i: (-uses[i], i))
    by_score = sorted(range(len(vocab)), key=lambda i: (-vocab[i][1], i))
    for piece_id in (*by_use, *by_score):
        if len(keep) >= PIECES_MAX:
            break
        keep.add(piece_id)
    rows = sorted(keep)
    spec["model"]["vocab"] = [vocab[i] for i in rows]
    return Tokenizer.from_str(json.dumps(spec, ensure_ascii=False)), rows

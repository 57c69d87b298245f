"""Reads the raw files and turns every row into one form: a text and what is known of its labels.

What is known of a head is the set of labels the row may have; the loss asks for one of them. So a row
of a set that tells complaints from the rest without telling `complaint` from `problem` still teaches
something, and a row that says nothing about a head has no set there.

Only files of the `open` folder, the open one of `unlabelled`, and our own in `models/data` are used for
training. The `unclear` and `nc` folders are read by `evaluation_sets` alone.
"""

import hashlib
import random
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from labels import HEADS

OWN = Path(__file__).resolve().parents[1] / "data"

# The author whose posts measure and never train, and the share of the other authors' scenarios that do.
VALIDATION_AUTHOR = "va"
VALIDATION_SHARE = 0.07
# Authors of French posts that speak to no company: of all topics, and of public matters with their valence.
GENERAL_AUTHORS = ("fc", "fe", "fg")
VALENCE_AUTHORS = ("fh", "fi", "fj", "fk", "fl", "fm")

# Rows of each source drawn for one epoch; a source with fewer rows is repeated. The balance is between
# the large English sentiment sets and the small ones that look like what the daemon sees.
ROWS_PER_EPOCH = {
    "sentiment_semeval2017_en": 30_000,
    "semeval_with_intents_en": 3_000,
    "goemotions_en": 8_000,
    "vader_groundtruth_en": 3_000,
    "app_reviews_minibar_en_fr": 5_000,
    "complaints_xci_en": 6_000,
    "banking77_en": 1_500,
    "support_intents_bitext_en": 600,
    "clinc150_en": 1_000,
    "abusive_mlma_fr": 3_000,
    "sms_spam_en_frmt_demt": 300,
    "churn_chatbot_en_de": 400,
    "open_free_tweets_fr": 6_000,
    "free_brand_fr": 500,
    "own_support_fr": 9_000,
    "own_support_en": 9_000,
    "own_general_fr": 6_000,
    "own_valence_fr": 16_000,
}

# Sources that look like the posts that the daemon sees, or fill what those lack.
NEAR = {
    "semeval_with_intents_en", "complaints_xci_en", "abusive_mlma_fr", "open_free_tweets_fr",
    "own_support_fr", "own_support_en", "own_general_fr", "own_valence_fr",
}  # fmt: skip

_POSITIVE = {
    "admiration", "amusement", "approval", "caring", "excitement", "gratitude",
    "joy", "love", "optimism", "pride", "relief",
}  # fmt: skip
_NEGATIVE = {
    "anger", "annoyance", "disappointment", "disapproval", "disgust", "embarrassment",
    "fear", "grief", "nervousness", "remorse", "sadness",
}  # fmt: skip

# Labels of the banking and assistant sets where money is disputed or security is at stake.
_HIGH_URGENCY = {
    "lost_or_stolen_card", "compromised_card", "lost_or_stolen_phone", "card_payment_not_recognised",
    "cash_withdrawal_not_recognised", "direct_debit_payment_not_recognised", "transaction_charged_twice",
    "wrong_amount_of_cash_received", "report_lost_card", "report_fraud", "account_blocked",
}  # fmt: skip
_URGENCY_OF_INTENT = {
    "problem": {"normal"},
    "help": {"normal"},
    "question": {"low", "normal"},
    "feature": {"low"},
    "praise": {"low"},
    "other": {"low"},
    "complaint": {"low", "normal"},
    "churn": {"normal", "high"},
}


@dataclass(frozen=True)
class Row:
    text: str
    lang: str
    source: str
    labels: dict[str, frozenset[str]]
    # Whether experts call it a complaint, where they were asked.
    complaint: bool | None = None

    def index(self, head: str) -> int | None:
        """Place of the one label of `head`, or none where it is unknown or not settled."""
        known = self.labels.get(head, ())
        return HEADS[head].index(next(iter(known))) if len(known) == 1 else None


def _labels(**known) -> dict[str, frozenset[str]]:
    sets = {h: frozenset([v] if isinstance(v, str) else v) for h, v in known.items() if v}
    assert all(s <= set(HEADS[h]) for h, s in sets.items()), sets
    return sets


def read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="\n") as file:
        names = next(file).rstrip("\n").split("\t")
        return [dict(zip(names, line.rstrip("\n").split("\t"))) for line in file]


def _fraction(key: str) -> float:
    """A number in 0..1 that depends on `key` alone, to cut a split that never moves."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 2**32


def _letters(text: str) -> str:
    """The letters alone, without case and accents."""
    decomposed = unicodedata.normalize("NFD", text.lower())
    return "".join(c for c in decomposed if c.isalpha())


def _opening(text: str) -> str:
    """The first thirty letters: rows that share them are kept together."""
    return _letters(text)[:30]


def _label_map(data: Path) -> dict[str, dict[str, str]]:
    """`label=…` conditions of `labelmap.tsv` with high or medium confidence, by data set."""
    maps = defaultdict(dict)
    for row in read(data / "labelmap.tsv"):
        if row["confidence"] in ("high", "medium") and re.fullmatch(r"label=\S+", row["condition"]):
            maps[row["dataset"]][row["condition"].removeprefix("label=")] = row["intent"]
    return maps


def load(data: Path) -> tuple[list[Row], list[Row]]:
    """All training rows and all validation rows."""
    train, validation = [], []
    folder = data / "open"
    maps = _label_map(data)

    def add(row: Row, is_validation: bool) -> None:
        (validation if is_validation else train).append(row)

    # The gold posts measure, all of them; so what else came of the same tweets must not train.
    gold = read(folder / "vigie_gold_fr.tsv")
    for r in gold:
        labels = _labels(intent=r["intent"], sentiment=r["sentiment"], urgency=r["urgency"])
        add(Row(r["text"], "fr", "vigie_gold_fr", labels), True)
    gold_openings = {_opening(r["text"]) for r in gold}

    source = "sentiment_semeval2017_en"
    ours = {r["id"]: r for r in read(OWN / f"labels_{source}.tsv")}
    for r in read(folder / f"{source}.tsv"):
        more = ours.get(r["id"]) if r["split"] != "val" else None
        if more:
            labels = _labels(sentiment=r["label"], intent=more["intent"], urgency=more["urgency"])
            add(Row(r["text"], "en", "semeval_with_intents_en", labels), _fraction(_opening(r["text"])) < VALIDATION_SHARE)
        else:
            add(Row(r["text"], "en", source, _labels(sentiment=r["label"])), r["split"] == "val")

    source = "vader_groundtruth_en"
    for r in read(folder / f"{source}.tsv"):
        score = float(r["score"])
        # Between the bands the twenty raters disagree too much to name a class.
        label = "positive" if score >= 0.9 else "negative" if score <= -0.9 else "neutral" if abs(score) <= 0.4 else None
        if label:
            add(Row(r["text"], "en", source, _labels(sentiment=label)), False)

    source = "goemotions_en"
    for r in read(folder / f"{source}.tsv"):
        emotions = set(r["label"].split("|"))
        if r["split"] == "val":
            continue
        if emotions == {"neutral"}:
            label = "neutral"
        elif emotions <= _POSITIVE:
            label = "positive"
        elif emotions <= _NEGATIVE:
            label = "negative"
        else:
            continue
        add(Row(r["text"], "en", source, _labels(sentiment=label)), False)

    source = "app_reviews_minibar_en_fr"
    for r in read(folder / f"{source}.tsv"):
        stars = int(r["stars"])
        if r["problem_report"] == "1":
            intent, sentiment = "problem", "negative" if stars <= 3 else None
        elif r["feature_request"] == "1":
            intent, sentiment = "feature", None
        elif stars >= 4:
            intent, sentiment = "praise", "positive"
        elif stars <= 2:
            intent, sentiment = "complaint", "negative"
        else:
            continue
        labels = _labels(intent=intent, sentiment=sentiment, urgency=_URGENCY_OF_INTENT[intent])
        add(Row(r["text"], r["lang"], source, labels), _fraction(_opening(r["text"])) < 0.06)

    source = "complaints_xci_en"
    ours = {r["id"]: r for r in read(OWN / f"labels_{source}.tsv")}
    for r in read(folder / f"{source}.tsv"):
        # The experts tell complaints from the rest; which of the intents it is, we say, where that agrees.
        if r["label"] == "complaint":
            intents = {"complaint", "problem", "churn"}
        elif r["domain"].startswith("random"):
            intents = {"other"}
        else:
            intents = {"help", "feature", "question", "praise", "other"}
        if label := ours.get(r["id"]):
            intents = {label["intent"]} if label["intent"] in intents else intents
            labels = _labels(intent=intents, sentiment=label["sentiment"], urgency=label["urgency"])
        else:
            labels = _labels(intent=intents, urgency="low" if intents == {"other"} else None)
        row = Row(r["text"], "en", source, labels, r["label"] == "complaint")
        add(row, _fraction(_opening(r["text"])) < 0.15)

    source = "churn_chatbot_en_de"
    for r in read(folder / f"{source}.tsv"):
        if r["lang"] == "de":
            continue
        if r["label"] == "churn":
            labels = _labels(intent="churn", urgency={"normal", "high"})
        else:
            labels = _labels(intent=set(HEADS["intent"]) - {"churn"})
        add(Row(r["text"], r["lang"], source, labels), False)

    for source in ("banking77_en", "support_intents_bitext_en", "clinc150_en", "sms_spam_en_frmt_demt"):
        for r in read(folder / f"{source}.tsv"):
            intent = maps[source].get(r["label"])
            # German spam is left out, and the validation half of sets that come with one.
            if intent is None or r["lang"] == "de" or r.get("split") == "val":
                continue
            urgency = "high" if r["label"] in _HIGH_URGENCY else _URGENCY_OF_INTENT[intent]
            add(Row(r["text"], r["lang"], source, _labels(intent=intent, urgency=urgency)), False)

    source = "abusive_mlma_fr"
    sentiments = {r["id"]: r["sentiment"] for r in read(OWN / "labels_abusive_mlma_fr.tsv")}
    for r in read(folder / f"{source}.tsv"):
        labels = _labels(intent="other", urgency="low", sentiment=sentiments.get(r["id"]))
        add(Row(r["text"], "fr", source, labels), _fraction(_opening(r["text"])) < 0.08)

    ours = {r["id"]: r for r in read(OWN / "labels_open_free_tweets_fr.tsv")}
    for r in read(data / "unlabelled" / "open_free_tweets_fr.tsv"):
        if _opening(r["text"]) in gold_openings:
            continue
        if label := ours.get(r["id"]):
            labels = _labels(intent=label["intent"], sentiment=label["sentiment"], urgency=label["urgency"])
            add(Row(r["text"], "fr", "open_free_tweets_fr", labels), _fraction(_opening(r["text"])) < 0.06)
        elif r["role"] == "brand":
            add(Row(r["text"], "fr", "free_brand_fr", _labels(intent="other", urgency="low")), False)

    for r in read(OWN / "own_posts.tsv"):
        labels = _labels(intent=r["intent"], sentiment=r["sentiment"], urgency=r["urgency"])
        author = r["group"].split("-")[0]
        if author == VALIDATION_AUTHOR:
            source, is_validation = "own_blind", True
        else:
            general = "own_general_fr" if author in GENERAL_AUTHORS else f"own_support_{r['lang']}"
            source = "own_valence_fr" if author in VALENCE_AUTHORS else general
            is_validation = _fraction(r["group"]) < VALIDATION_SHARE
        add(Row(r["text"], r["lang"], source, labels), is_validation)

    return train, validation


def evaluation_sets(data: Path) -> dict[str, list[Row]]:
    """Sets that never train: their licence is unclear or non-commercial."""
    sets = defaultdict(list)
    for r in read(data / "unclear" / "sentiment_umsab_multi.tsv"):
        if r["lang"] in ("fr", "en"):
            name = f"UMSAB {r['lang']}"
            sets[name].append(Row(r["text"], r["lang"], name, _labels(sentiment=r["label"])))
    for r in read(data / "nc" / "airline_sentiment_en.tsv"):
        sets["airline"].append(Row(r["text"], "en", "airline", _labels(sentiment=r["label"])))
    for r in read(data / "nc" / "vigie_gold_en.tsv") + read(data / "unclear" / "vigie_gold_en_bluesky.tsv"):
        if r["lang"] == "en":
            labels = _labels(intent=r["intent"], sentiment=r["sentiment"], urgency=r["urgency"])
            sets["gold en"].append(Row(r["text"], "en", "gold en", labels))
    # A sample of the large set: enough for the second decimal, and the whole takes minutes.
    sets["airline"] = random.Random(1).sample(sets["airline"], 2_000)
    return dict(sets)


def draw_epoch(
    train: list[Row], rng: random.Random, share: float = 1.0, noise: float = 0.0, amounts: dict[str, int] = ROWS_PER_EPOCH
) -> list[Row]:
    """One epoch: `amounts` of each source, in random order, with the texts varied a little.

    `noise` is the chance that a text loses some of its words.
    """
    by_source = defaultdict(list)
    for row in train:
        by_source[row.source].append(row)
    drawn = []
    for source, rows in sorted(by_source.items()):
        wanted = max(8, int(amounts[source] * share))
        whole, rest = divmod(wanted, len(rows))
        drawn += rows * whole + rng.sample(rows, rest)
    rng.shuffle(drawn)
    return [replace(r, text=_thinned(vary(r, rng), rng, noise)) for r in drawn]


def _thinned(text: str, rng: random.Random, noise: float) -> str:
    if rng.random() >= noise:
        return text
    kept = [word for word in text.split(" ") if rng.random() > 0.15]
    return " ".join(kept) or text


_BRANDS = ["FibraNord", "BanqueAlma", "VitColis", "LumaTel", "ParcelPuff", "Tablio", "MiamVite", "OakwellBank"]
_HANDLES = [*_BRANDS, "FibraNord_SAV", "AlmaEtVous", "VitColisAide", "LumaTelHelp", "ParcelPuffCares", "AskOakwell"]
_VARIED = {
    "own_support_fr", "own_support_en", "own_general_fr", "own_valence_fr", "abusive_mlma_fr", "app_reviews_minibar_en_fr",
    "complaints_xci_en", "open_free_tweets_fr", "free_brand_fr",
}  # fmt: skip
_ADDRESSED = {"own_support_fr", "own_support_en", "open_free_tweets_fr", "free_brand_fr"}


def vary(row: Row, rng: random.Random) -> str:
    """Changes case, accents, mentions and links at random, so that none of them gives a source away.

    The Free tweets are all lower case without mentions and the French tweets of `other` are full of
    `@user`; left alone, the model would learn that instead of the meaning.
    """
    text = row.text
    if row.source not in _VARIED:
        return text
    if row.source in ("abusive_mlma_fr", "own_general_fr", "own_valence_fr"):
        text = text.replace("@url", "http")
        if rng.random() < 0.4:
            text = re.sub(r"@user\s*", "", text) or text
    if row.source == "complaints_xci_en" and rng.random() < 0.3:
        # Half of them are chatter between people, and each of those begins with a mention.
        text = re.sub(r"@\w+\s*", "", text) or text
    chance = rng.random()
    if chance < 0.2:
        text = text.lower()
    elif chance < 0.24:
        text = text.upper()
    elif chance < 0.55:
        text = text[:1].upper() + text[1:]
    if row.lang == "fr" and rng.random() < 0.15:
        text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    addressed = 0.4 if row.source in _ADDRESSED else 0.25
    if "@" not in text and rng.random() < addressed:
        brand = "@" + rng.choice(_HANDLES) if rng.random() < 0.75 else rng.choice(_BRANDS)
        text = f"{brand} {text}" if rng.random() < 0.7 else f"{text} {brand}"
    if rng.random() < 0.07:
        text += " https://t.example/x"
    return text

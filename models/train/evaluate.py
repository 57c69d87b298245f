"""Scores of a bundle, as the card shows them, and the temperature of each head.

    python models/train/evaluate.py --data ../shared/data --bundle models
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import data as corpus
import export
from graph import HEADS
from text import encode

BATCH = 32
ECE_BINS = 10


def predict(folder: Path, rows: list[corpus.Row], threads: int = 1) -> dict[str, np.ndarray]:
    """Probabilities of each head [rows, labels], run in batches of like length."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = export.session(folder / "full.onnx", threads)
    ids = encode(tokenizer, [r.text for r in rows], export.TOKENS_MAX)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    out = {head: np.zeros((len(ids), len(labels)), dtype=np.float32) for head, labels in HEADS.items()}
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        for head, p in export.probabilities(model, [ids[i] for i in batch]).items():
            out[head][batch] = p
    return out


def _calibration_rows(validation: list[corpus.Row], head: str) -> list[int]:
    """Rows that fit the temperature: those of posts, and store reviews at most as many as posts."""
    settled = [i for i, r in enumerate(validation) if r.index(head) is not None]
    posts = [i for i in settled if validation[i].source != "app_reviews_minibar_en_fr"]
    reviews = [i for i in settled if validation[i].source == "app_reviews_minibar_en_fr"]
    return posts + reviews[: len(posts)]


def fit_temperatures(folder: Path, validation: list[corpus.Row]) -> dict[str, float]:
    """The temperature of each head with the least log loss, for a bundle written with temperature 1.

    After Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; one number a head, so a
    search over a grid will do.
    """
    outputs = predict(folder, validation)
    temperatures = {}
    for head in HEADS:
        chosen = _calibration_rows(validation, head)
        truth = np.array([validation[i].index(head) for i in chosen])
        logits = np.log(np.maximum(outputs[head][chosen], 1e-9))

        def log_loss(temperature: float) -> float:
            scaled = logits / temperature
            scaled -= scaled.max(axis=1, keepdims=True)
            log_p = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
            return -log_p[np.arange(len(truth)), truth].mean()

        temperatures[head] = float(min(np.arange(0.5, 4.0, 0.01), key=log_loss))
    return {head: round(t, 2) for head, t in temperatures.items()}


def scores(truth: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """Accuracy, macro F1, macro recall and expected calibration error, with the majority guess.

    Macro means are over the labels that occur in `truth`. The majority guess always gives the most
    frequent label of this very set, which flatters it.
    """

    def macro(guess: np.ndarray) -> tuple[float, float]:
        f1, recall = [], []
        for label in np.unique(truth):
            hits = np.sum((guess == label) & (truth == label))
            recall.append(hits / np.sum(truth == label))
            f1.append(2 * hits / max(1, np.sum(guess == label) + np.sum(truth == label)))
        return float(np.mean(f1)), float(np.mean(recall))

    guess = p.argmax(axis=1)
    sure = p.max(axis=1)
    bins = np.minimum((sure * ECE_BINS).astype(int), ECE_BINS - 1)
    ece = sum(abs(np.sum(sure[bins == b] - (guess == truth)[bins == b])) for b in range(ECE_BINS)) / len(truth)
    majority = np.full_like(truth, Counter(truth.tolist()).most_common(1)[0][0])
    f1, recall = macro(guess)
    majority_f1, _ = macro(majority)
    return {
        "rows": len(truth),
        "accuracy": float(np.mean(guess == truth)),
        "majority accuracy": float(np.mean(majority == truth)),
        "macro F1": f1,
        "majority macro F1": majority_f1,
        "macro recall": recall,
        "ECE": float(ece),
    }


def sets_of(validation: list[corpus.Row]) -> dict[str, list[corpus.Row]]:
    """The validation part by source and language, and for each language the posts taken together."""
    short = {
        "sentiment_semeval2017_en": "SemEval val",
        "app_reviews_minibar_en_fr": "app reviews",
        "vigie_gold_fr": "gold",
        "own_posts": "own posts",
        "abusive_mlma_fr": "tweets, all other",
        "complaints_xci_en": "complaints",
    }
    sets = {}
    for lang in ("fr", "en"):
        sets[f"all posts {lang}"] = [
            r for r in validation if r.lang == lang and r.source not in ("app_reviews_minibar_en_fr", "sentiment_semeval2017_en")
        ]
        for source, name in short.items():
            sets[f"{name} {lang}"] = [r for r in validation if r.lang == lang and r.source == source]
    return {name: rows for name, rows in sets.items() if rows}


def report(folder: Path, validation: list[corpus.Row], others: dict[str, list[corpus.Row]]) -> None:
    """Prints one Markdown table row for each head and set."""
    columns = ["rows", "accuracy", "majority accuracy", "macro F1", "majority macro F1", "macro recall", "ECE"]
    print("| head | set | " + " | ".join(columns) + " |")
    print("|---|---|" + "---:|" * len(columns))
    named = [(name, rows) for name, rows in sets_of(validation).items()]
    named += [(name + " (evaluation only)", rows) for name, rows in others.items()]
    outputs = {name: predict(folder, rows) for name, rows in named}
    for head in HEADS:
        for name, rows in named:
            settled = [i for i, r in enumerate(rows) if r.index(head) is not None]
            if len(settled) < 10:
                continue
            s = scores(np.array([rows[i].index(head) for i in settled]), outputs[name][head][settled])
            print(f"| {head} | {name} | {s['rows']} | " + " | ".join(f"{s[c]:.3f}" for c in columns[1:]) + " |")
    print()
    for name, rows in named:
        for head in ("intent", "urgency"):
            pairs = [(r.index(head), int(outputs[name][head][i].argmax())) for i, r in enumerate(rows) if r.index(head) is not None]
            if "gold" in name or "own" in name:
                print(f"{name}, {head}, found of each label:", end=" ")
                for k, label in enumerate(HEADS[head]):
                    of = [g for t, g in pairs if t == k]
                    if of:
                        print(f"{label} {sum(g == k for g in of)}/{len(of)}", end="  ")
                print("\n")


def main() -> None:
    root = Path(__file__).resolve().parents[2]
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, default=root / "../shared/data")
    arguments.add_argument("--bundle", type=Path, default=root / "models")
    args = arguments.parse_args()
    _, validation = corpus.load(args.data)
    report(args.bundle, validation, corpus.evaluation_sets(args.data))


if __name__ == "__main__":
    main()

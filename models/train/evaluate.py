"""Scores of probabilities against labelled rows, and the calibration of each head."""

from collections import defaultdict

import numpy as np

import data as corpus
from labels import HEADS

ECE_BINS = 10
COMPLAINTS = [HEADS["intent"].index(label) for label in ("churn", "problem", "complaint")]
OTHER = HEADS["intent"].index("other")
HIGH = HEADS["urgency"].index("high")


def macro(truth: np.ndarray, guess: np.ndarray) -> tuple[float, float]:
    """Macro F1 and macro recall over the labels that occur in `truth`."""
    f1, recall = [], []
    for label in np.unique(truth):
        hits = np.sum((guess == label) & (truth == label))
        recall.append(hits / np.sum(truth == label))
        f1.append(2 * hits / max(1, np.sum(guess == label) + np.sum(truth == label)))
    return float(np.mean(f1)), float(np.mean(recall))


def expected_calibration_error(truth: np.ndarray, p: np.ndarray) -> float:
    """In ten bins of the greatest probability."""
    guess, sure = p.argmax(axis=1), p.max(axis=1)
    bins = np.minimum((sure * ECE_BINS).astype(int), ECE_BINS - 1)
    return float(sum(abs(np.sum(sure[bins == b] - (guess == truth)[bins == b])) for b in range(ECE_BINS)) / len(truth))


def sets_of(validation: list[corpus.Row]) -> dict[str, list[corpus.Row]]:
    """The validation part by source and language."""
    sets = defaultdict(list)
    for row in validation:
        sets[f"{row.source} ({row.lang})"].append(row)
    return {name: rows for name, rows in sorted(sets.items()) if len(rows) >= 20}


def short_scores(title: str, rows: list[corpus.Row], p: dict[str, np.ndarray]) -> list[str]:
    """A line for each head that `rows` say enough about."""
    lines = []
    for head in HEADS:
        settled = [i for i, r in enumerate(rows) if r.index(head) is not None]
        if len(settled) < 20:
            continue
        truth = np.array([rows[i].index(head) for i in settled])
        probabilities = p[head][settled]
        if len(np.unique(truth)) == 1 and head != "intent":
            continue
        guess = probabilities.argmax(1)
        f1, recall = macro(truth, guess)
        ece = expected_calibration_error(truth, probabilities)
        line = f"{title:36s} {head:9s} n {len(truth):5d} acc {np.mean(guess == truth):.3f} F1 {f1:.3f} recall {recall:.3f} ECE {ece:.3f}"
        if head == "intent":
            line += f" relevant-F1 {binary_f1(truth != OTHER, guess != OTHER):.3f}"
        if head == "urgency" and (truth == HIGH).any():
            hits = np.sum((truth == HIGH) & (guess == HIGH))
            line += f" high: recall {hits / np.sum(truth == HIGH):.3f} precision {hits / max(1, np.sum(guess == HIGH)):.3f}"
        lines.append(line)
    if title.startswith("complaints"):
        truth = np.array([r.complaint for r in rows])
        share = p["intent"][:, COMPLAINTS].sum(1)
        f1, _ = macro(truth.astype(int), (share > 0.5).astype(int))
        by_label, _ = macro(truth.astype(int), np.isin(p["intent"].argmax(1), COMPLAINTS).astype(int))
        lines.append(f"{title:36s} complaint n {len(truth):5d} F1 {f1:.3f} by label {by_label:.3f}")
    return lines


def binary_f1(truth: np.ndarray, guess: np.ndarray) -> float:
    return float(2 * np.sum(truth & guess) / max(1, np.sum(truth) + np.sum(guess)))

"""Writes a model bundle and checks it: the graph, the tokenizer, `model.json` and the test files."""

import hashlib
import json
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from tokenizers import Tokenizer

import fixtures
from graph import HEADS, build
from text import PAD_ID, encode

TOKENS_MAX = 96


def session(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def probabilities(model: onnxruntime.InferenceSession, rows: list[list[int]]) -> dict[str, np.ndarray]:
    """Outputs of each head [rows, labels] for one padded batch of token ids."""
    tokens = max(map(len, rows))
    ids = np.full((len(rows), tokens), PAD_ID, dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return dict(zip(HEADS, model.run(list(HEADS), {"input_ids": ids, "attention_mask": mask})))


def probabilities_alone(model: onnxruntime.InferenceSession, rows: list[list[int]]) -> dict[str, np.ndarray]:
    """As `probabilities`, each row a batch of its own."""
    parts = [probabilities(model, [row]) for row in rows]
    return {head: np.concatenate([p[head] for p in parts]) for head in HEADS}


def write_graph(folder: Path, weights: dict, temperatures: dict[str, float], layers: int, ranges: dict) -> None:
    onnx.save(build(weights, temperatures, layers, ranges), folder / "full.onnx")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_description(folder: Path) -> None:
    description = {
        "name": "vigie-full",
        "version": "1",
        "model": "full.onnx",
        "model_sha256": _sha256(folder / "full.onnx"),
        "tokenizer": "tokenizer.json",
        "tokenizer_sha256": _sha256(folder / "tokenizer.json"),
        "tokens_max": TOKENS_MAX,
        "pad_id": PAD_ID,
        "inputs": ["input_ids", "attention_mask"],
        "heads": HEADS,
    }
    (folder / "model.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def write_fixtures(folder: Path) -> None:
    """The golden outputs (one text at a time) and the tokeniser's test texts."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = session(folder / "full.onnx")
    rows = encode(tokenizer, fixtures.GOLDEN, TOKENS_MAX)
    outputs = probabilities_alone(model, rows)
    with open(folder / "golden.ndjson", "w", encoding="utf-8") as file:
        for i, (text, row) in enumerate(zip(fixtures.GOLDEN, rows)):
            line = {"text": text, "ids": row} | {h: [round(float(p), 6) for p in outputs[h][i]] for h in HEADS}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    texts = fixtures.tokeniser_texts()
    with open(folder / "tokenised.ndjson", "w", encoding="utf-8") as file:
        for text, row in zip(texts, encode(tokenizer, texts)):
            file.write(json.dumps({"text": text, "ids": row}, ensure_ascii=False) + "\n")


def check(folder: Path) -> dict[str, float]:
    """Loads the bundle as a user would and measures what the card states about it."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = session(folder / "full.onnx")
    rows = encode(tokenizer, fixtures.GOLDEN, TOKENS_MAX)
    alone = probabilities_alone(model, rows)
    together = probabilities(model, rows)
    # Each text padded to the full length, nothing else in its batch.
    width = TOKENS_MAX
    padded = {h: [] for h in HEADS}
    for row in rows:
        ids = np.full((1, width), PAD_ID, dtype=np.int64)
        mask = np.zeros_like(ids)
        ids[0, : len(row)] = row
        mask[0, : len(row)] = 1
        for h, p in zip(HEADS, model.run(list(HEADS), {"input_ids": ids, "attention_mask": mask})):
            padded[h].append(p[0])
    measures = {}
    for head in HEADS:
        assert np.isfinite(alone[head]).all()
        assert np.allclose(alone[head].sum(axis=1), 1.0, atol=1e-5)
        measures[f"{head}_batch_difference_max"] = float(np.abs(alone[head] - together[head]).max())
        measures[f"{head}_padded_difference_max"] = float(np.abs(alone[head] - np.stack(padded[head])).max())
        measures[f"{head}_batch_same_label"] = float((alone[head].argmax(1) == together[head].argmax(1)).mean())
    size = (folder / "full.onnx").stat().st_size
    # A post's answer must not depend on what shares its batch.
    assert all(v < 1e-4 for k, v in measures.items() if "difference" in k), measures
    assert size <= 16_000_000, f"full.onnx has {size} bytes"
    measures["model_bytes"] = size
    measures["posts_per_second_32_tokens"] = throughput(model, tokens=32)
    return measures


def throughput(model: onnxruntime.InferenceSession, tokens: int, batch: int = 32, seconds: float = 3.0) -> float:
    """Posts in a second of one core's time, `batch` posts of `tokens` tokens at a time.

    Counted in processor time of this single thread, so that a busy machine does not change it much.
    """
    ids = np.random.default_rng(1).integers(4, 10_000, (batch, tokens))
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    model.run(None, feed)
    runs, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        model.run(None, feed)
        runs += 1
    return runs * batch / (time.process_time() - start)

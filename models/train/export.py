"""Writes the two model bundles and checks them: graphs, tokeniser, `model.json` and the test files.

    full/         the student in int8          small/         the n-gram model
    full-fp32/    the student in float32, for the comparison of runtimes; not shipped
"""

import hashlib
import json
import random
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from tokenizers import Tokenizer

import data as corpus
import evaluate
import fixtures
import graph
import ngrams
from labels import HEADS
from network import shape_of
from small import BUCKETS, CHARS, FEATURES_MAX, Small
from text import PAD_ID, encode

VERSION = "2"
# The state of `models/README.md`, "Contract", that the bundles keep to.
CONTRACT = 2
# The small model's share in the full one's verdicts: of those tried (0, 0.25, 0.4, 0.5) the best on the
# validation and evaluation sets taken together, with an earlier state of both models.
SMALL_SHARE = 0.4
POOLED_MIN = 1e-6
TOKENS_MAX = 96
FILE_BYTES_MAX = 24_000_000
TOGETHER_BYTES_MAX = 32_000_000
BATCH = 32
# A width that the graphs may rely on: the student halves the token axis up to twice.
WIDTH_STEP = 4


def session(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Bundle:
    """A bundle as a user has it: a folder, opened."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.session = session(folder / self.description["model"], threads)
        # The daemon has a small model built in; here it is the folder beside this one.
        self.share = self.description.get("small_share", 0.0)
        self.small = Bundle(folder.with_name("small"), threads) if self.share else None
        if shape := self.description.get("ngrams"):
            reader = ngrams.Reader(shape["buckets"], tuple(shape["chars"]), self.description["tokens_max"])
            self.read = lambda texts: [reader.row(t) for t in texts]
        else:
            tokenizer = Tokenizer.from_file(str(folder / self.description["tokenizer"]))
            self.read = lambda texts: encode(tokenizer, texts, self.description["tokens_max"])

    def run(self, rows: list[list[int]], width: int = 0) -> dict[str, np.ndarray]:
        """Probabilities of each head [rows, labels] for one padded batch of ids."""
        width = -(-max(width, *map(len, rows)) // WIDTH_STEP) * WIDTH_STEP
        ids = np.full((len(rows), width), self.description["pad_id"], dtype=np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return dict(zip(HEADS, self.session.run(list(HEADS), {"input_ids": ids, "attention_mask": mask})))

    def run_alone(self, rows: list[list[int]], width: int = 0) -> dict[str, np.ndarray]:
        """As `run`, each row a batch of its own."""
        parts = [self.run([row], width) for row in rows]
        return {head: np.concatenate([p[head] for p in parts]) for head in HEADS}

    def predict(self, texts: list[str]) -> dict[str, np.ndarray]:
        """Probabilities of each head [texts, labels] as the daemon gives them, languages apart."""
        return self.pooled(self.predict_alone(texts), texts)

    def pooled(self, own: dict[str, np.ndarray], texts: list[str]) -> dict[str, np.ndarray]:
        """What the graph gives, with the small model's share: the weighted geometric mean."""
        if self.small is None:
            return own
        other = self.small.predict(texts)
        both = {
            head: np.maximum(own[head], POOLED_MIN) ** (1 - self.share) * np.maximum(other[head], POOLED_MIN) ** self.share
            for head in HEADS
        }
        return {head: p / p.sum(axis=1, keepdims=True) for head, p in both.items()}

    def predict_alone(self, texts: list[str]) -> dict[str, np.ndarray]:
        """Probabilities of each head [texts, labels] of this graph, run in batches of like length."""
        rows = self.read(texts)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        out = {head: np.zeros((len(rows), len(labels)), dtype=np.float32) for head, labels in HEADS.items()}
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            for head, p in self.run([rows[i] for i in some]).items():
                out[head][some] = p
        return out


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _describe(folder: Path, name: str, reader: dict, tokens_max: int, pad_id: int, small_share: float = 0.0) -> None:
    description = {
        "name": name,
        "version": VERSION,
        "contract": CONTRACT,
        "model": "model.onnx",
        "model_sha256": _sha256(folder / "model.onnx"),
        **reader,
        "tokens_max": tokens_max,
        "pad_id": pad_id,
        "languages": ["en", "fr"],
        **({"small_share": small_share} if small_share else {}),
        "inputs": ["input_ids", "attention_mask"],
        "heads": HEADS,
    }
    (folder / "model.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _calibration_rows(validation: list[corpus.Row], head: str) -> list[int]:
    """Rows that fit the calibration: as many of either language, and no store reviews."""
    settled = [i for i, r in enumerate(validation) if r.index(head) is not None and r.source != "app_reviews_minibar_en_fr"]
    by_lang = [[i for i in settled if validation[i].lang == lang] for lang in ("fr", "en")]
    fewest = min(map(len, by_lang))
    return [i for rows in by_lang for i in random.Random(1).sample(rows, fewest)]


def calibrate(folder: Path, validation: list[corpus.Row]) -> dict[str, tuple[float, list[float]]]:
    """For each head the factor of the logits with the least log loss, for a bundle written with factor 1.

    After Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017); one number a head, so a
    search over a grid will do. Where the small model has a share, the factor is the one that makes the
    pooled verdict honest.
    """
    bundle = Bundle(folder, threads=2)
    texts = [r.text for r in validation]
    outputs = bundle.predict_alone(texts)
    other = bundle.small.predict(texts) if bundle.small else None
    calibration = {}
    for head, labels in HEADS.items():
        chosen = _calibration_rows(validation, head)
        truth = np.array([validation[i].index(head) for i in chosen])
        logits = np.log(np.maximum(outputs[head][chosen], 1e-9))
        fixed = bundle.share * np.log(np.maximum(other[head][chosen], POOLED_MIN)) if other else 0.0

        def log_loss(temperature: float) -> float:
            scaled = logits / temperature
            scaled -= np.log(np.exp(scaled - scaled.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True)) + scaled.max(axis=1, keepdims=True)
            both = (1 - bundle.share) * scaled + fixed
            both -= both.max(axis=1, keepdims=True)
            log_p = both - np.log(np.exp(both).sum(axis=1, keepdims=True))
            return -log_p[np.arange(len(truth)), truth].mean()

        temperature = float(min(np.arange(0.3, 4.0, 0.01), key=log_loss))
        print(f"{folder.name}: temperature of {head} {temperature:.2f}", flush=True)
        calibration[head] = (1 / temperature, [0.0] * len(labels))
    return calibration


NEUTRAL = {head: (1.0, [0.0] * len(labels)) for head, labels in HEADS.items()}


def write_full(run, folder: Path) -> None:
    from train import load_student

    folder.mkdir(parents=True, exist_ok=True)
    fp32 = folder.with_name("full-fp32")
    fp32.mkdir(exist_ok=True)
    network, shape = load_student(run, "finished")
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    run.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    run.tokenizer.save(str(fp32 / "tokenizer.json"), pretty=False)
    reader = {"tokenizer": "tokenizer.json", "tokenizer_sha256": _sha256(folder / "tokenizer.json")}

    def write(calibration: dict) -> None:
        for place, rounded, share in ((folder, True, SMALL_SHARE), (fp32, False, 0.0)):
            onnx.save(graph.build(weights, shape_of(shape), calibration, rounded), place / "model.onnx")
            _describe(place, "vigie-full", reader, TOKENS_MAX, PAD_ID, share)

    # The calibration is fitted on what ships, the int8 graph, so it is written twice.
    write(NEUTRAL)
    write(calibrate(folder, run.validation))
    write_golden(fp32)
    write_golden(folder)
    write_tokenised(folder)


def write_small(run, folder: Path) -> None:
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    network = Small()
    network.load_state_dict(torch.load(run.work / "small.pt", weights_only=True))
    network.eval()
    table, scale = network.rounded()
    weights = {name: value.numpy() for name, value in network.state_dict().items() if name != "table.weight"}
    reader = {"ngrams": {"buckets": BUCKETS, "chars": list(CHARS)}}

    def write(calibration: dict) -> None:
        onnx.save(graph.build_small(table, scale, weights, calibration), folder / "model.onnx")
        _describe(folder, "vigie-small", reader, FEATURES_MAX, ngrams.PAD_ID)

    write(NEUTRAL)
    write(calibrate(folder, run.validation))
    write_golden(folder)


def write_golden(folder: Path) -> None:
    """The golden outputs, one text at a time."""
    bundle = Bundle(folder)
    rows = bundle.read(fixtures.GOLDEN)
    outputs = bundle.pooled(bundle.run_alone(rows), fixtures.GOLDEN)
    with open(folder / "golden.ndjson", "w", encoding="utf-8") as file:
        for i, (text, row) in enumerate(zip(fixtures.GOLDEN, rows)):
            line = {"text": text, "ids": row} | {h: [round(float(p), 6) for p in outputs[h][i]] for h in HEADS}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def write_tokenised(folder: Path) -> None:
    """The tokeniser's test texts."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = fixtures.tokeniser_texts()
    with open(folder / "tokenised.ndjson", "w", encoding="utf-8") as file:
        for text, row in zip(texts, encode(tokenizer, texts)):
            file.write(json.dumps({"text": text, "ids": row}, ensure_ascii=False) + "\n")


def check(folder: Path) -> dict[str, float]:
    """Loads the bundle as a user would and measures what the card states about it."""
    bundle = Bundle(folder)
    rows = bundle.read(fixtures.GOLDEN)
    alone = bundle.run_alone(rows)
    together = bundle.run(rows)
    padded = bundle.run_alone(rows, TOKENS_MAX)
    measures = {}
    for head in HEADS:
        assert np.isfinite(alone[head]).all()
        assert np.allclose(alone[head].sum(axis=1), 1.0, atol=1e-5)
        measures[f"{head}_batch_difference_max"] = float(np.abs(alone[head] - together[head]).max())
        measures[f"{head}_padded_difference_max"] = float(np.abs(alone[head] - padded[head]).max())
    # A post's answer must not depend on what shares its batch: sums in another order may move a value over
    # the edge of a step of its rounding, no more.
    assert all(v < 5e-3 for k, v in measures.items() if "difference" in k), measures
    measures["model_bytes"] = (folder / "model.onnx").stat().st_size
    measures["posts_per_second"] = throughput(bundle)
    return measures


def throughput(bundle: Bundle, tokens: int = 32, posts: int = 32, seconds: float = 3.0) -> float:
    """Posts in a second of one core's time, `posts` of `tokens` ids at a time.

    Counted in processor time of this single thread, so that a busy machine does not change it much.
    """
    rows = np.random.default_rng(1).integers(4, 10_000, (posts, tokens)).tolist()
    bundle.run(rows)
    runs, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        bundle.run(rows)
        runs += 1
    return runs * posts / (time.process_time() - start)


def write(run) -> None:
    out = run.args.out
    write_small(run, out / "small")
    write_full(run, out / "full")
    measures = {name: check(out / name) for name in ("full", "small")}
    print(json.dumps(measures, indent=2), flush=True)
    sizes = [measures[name]["model_bytes"] for name in measures]
    assert max(sizes) <= FILE_BYTES_MAX and sum(sizes) <= TOGETHER_BYTES_MAX, sizes
    sets = evaluate.sets_of(run.validation)
    if (run.args.data / "nc").exists() and not run.args.sample:
        sets |= corpus.evaluation_sets(run.args.data)
    for name in ("full", "small"):
        bundle = Bundle(out / name, threads=run.args.threads)
        for title, rows in sets.items():
            for line in evaluate.short_scores(title, rows, bundle.predict([r.text for r in rows])):
                print(f"[{name}] {line}", flush=True)

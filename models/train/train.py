"""From raw files to the two model bundles in one command; see `models/README.md`, "Training it again".

    python models/train/train.py --data ../shared/data --encoder ../shared/encoder --out models

Stages, each of which leaves its result in the `--work` folder, so that a run that was cut goes on from
there:

1. `teacher`: the twelve-layer encoder on all labelled rows, `--teachers` times with other seeds.
2. `pool`: many varied texts with the teachers' mean probabilities.
3. `student`: a shallow, narrow copy of the first teacher learns the pool, the last part of it with
   int8 rounding in place.
4. `refine`: the student goes on, on the labels of posts like those it is for and on some of the pool.
5. `heads`: its heads for sentiment and intent once more, on labels, with all below them as it is.
6. `small`: the n-gram model learns the same as the student.
7. `export`: calibration, ONNX files, descriptions, test files, checks, scores.
"""

import argparse
import hashlib
import json
import random
import sys
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

import data as corpus
import heads
import ngrams
from labels import HEADS
from network import Network, from_encoder, shape_of, student_of
from small import BUCKETS, CHARS, FEATURES_MAX, Small
from text import PAD_ID, encode, prune_tokenizer

ROOT = Path(__file__).resolve().parents[2]
SEED = 20_240
STAGES = ["teacher", "pool", "student", "refine", "heads", "small", "export"]
SHAPE = "0:1024h,2:1024,4:1024h,6:1024,8:1024,11:1024"

TOKENS_TRAINING = 96
TEACHER_BATCH = 64
# How much of everything. On a GPU it was measured in parts (ten minutes, three teachers at a time); on two
# cores it is reckoned from the rates seen, 40 to 50 rows/s for a teacher and 100 to 170 for a student: some
# three to four hours.
ON_GPU = {"teachers": 3, "teacher_epochs": 3, "pool_epochs": 5, "student_epochs": 4, "refine_epochs": 2}
ON_CPU = {"teachers": 1, "teacher_epochs": 2, "pool_epochs": 2, "student_epochs": 2, "refine_epochs": 2}
TEACHER_RATE = 6e-5
# Each layer learns a tenth slower than the one above: what lies below holds the languages together.
TEACHER_DECAY = 0.9
HEADS_RATE = 5e-4
STUDENT_BATCH = 128
STUDENT_RATE = 4e-4
# Part of the student's steps that run with int8 rounding.
ROUNDED_SHARE = 0.25
# Weight of the pooled vector's distance to the teacher's beside the loss on probabilities.
VECTOR_WEIGHT = 1.0
REFINE_BATCH = 64
REFINE_RATE = 2e-4
# Texts of the pool for each labelled one: enough that what it taught is not forgotten.
REFINE_POOL = 0.6
# What the weights before have in the mean of those before and after: the mean keeps more of what was known
# than it loses of what was learnt (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).
REFINE_KEPT = 1 / 3
# How sure of a label the refined student is to be.
LABEL_SHARE = 0.9
SMALL_BATCH = 512
SMALL_RATE = 3e-3
SMALL_DECAY = 0.01
# Part of a post's n-grams that are left out of a step.
SMALL_DROPPED = 0.3
WARM_UP = 0.06

SPANS = {}
_at = 0
for _head, _labels in HEADS.items():
    SPANS[_head] = slice(_at, _at + len(_labels))
    _at += len(_labels)
LABELS = _at


class Texts:
    """Rows of token ids that give padded batches on the device."""

    def __init__(self, rows: list[list[int]], device: str) -> None:
        self.rows = [np.array(r, dtype=np.int64) for r in rows]
        self.device = device

    def batch(self, numbers) -> tuple[Tensor, Tensor]:
        """Ids and mask of some rows; the width is a multiple of four."""
        rows = [self.rows[i] for i in numbers]
        width = -(-max(map(len, rows)) // 4) * 4
        ids = np.full((len(rows), width), PAD_ID, dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)

    def order(self, size: int, rng: random.Random) -> list[list[int]]:
        """All rows in batches of like length, in random order.

        Sorted within stretches of fifty batches: little padding, and still a different mix each time.
        """
        numbers = list(range(len(self.rows)))
        rng.shuffle(numbers)
        out = []
        for start in range(0, len(numbers), size * 50):
            stretch = sorted(numbers[start : start + size * 50], key=lambda i: len(self.rows[i]))
            out += [stretch[i : i + size] for i in range(0, len(stretch), size)]
        rng.shuffle(out)
        return out


def allowed(rows: list[corpus.Row]) -> np.ndarray:
    """[rows, labels], one where the row may have the label; zeros in a head it says nothing about."""
    table = np.zeros((len(rows), LABELS), dtype=np.float32)
    for i, row in enumerate(rows):
        for head, labels in row.labels.items():
            for label in labels:
                table[i, SPANS[head].start + HEADS[head].index(label)] = 1
    return table


def labelled_loss(logits: Tensor, table: Tensor) -> Tensor:
    """Minus the log of the probability that falls on the allowed labels, summed over the heads.

    Each head's term is the mean over the rows that say something about it.
    """
    total = logits.new_zeros(())
    for span in SPANS.values():
        known = table[:, span].sum(1) > 0
        log_p = F.log_softmax(logits[:, span], dim=-1)
        term = -torch.logsumexp(log_p + torch.log(table[:, span].clamp(min=1e-9)), dim=-1)
        total = total + (term * known).sum() / known.sum().clamp(min=1)
    return total


def taught_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with the target's probabilities, summed over the heads."""
    total = logits.new_zeros(())
    for span in SPANS.values():
        total = total - (target[:, span] * F.log_softmax(logits[:, span], dim=-1)).sum(1).mean()
    return total


def probabilities(logits: Tensor) -> Tensor:
    return torch.cat([F.softmax(logits[:, span].float(), dim=-1) for span in SPANS.values()], dim=-1)


class Run:
    """What all stages share: arguments, rows, tokeniser, folders."""

    def __init__(self, args) -> None:
        self.args = args
        self.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
        # bfloat16 products are several times faster on a GPU and on processors that have them.
        self.bf16 = self.device == "cuda" or args.bf16
        self.work = args.work
        self.work.mkdir(parents=True, exist_ok=True)
        self.training, self.validation = corpus.load(args.data)
        if args.sample:
            self.validation = random.Random(SEED).sample(self.validation, 300)
        print(f"{len(self.training)} training rows, {len(self.validation)} validation rows, on {self.device}", flush=True)
        self.tokenizer, self.pieces = prune_tokenizer(
            str(args.encoder / "tokenizer.json"), [r.text for r in self.training]
        )
        self.share = 0.006 if args.sample else 1.0
        # What is in the work folder fits these pieces and no others.
        mark = hashlib.sha256(json.dumps([self.pieces, args.sample]).encode()).hexdigest()
        marked = self.work / "pieces.sha256"
        if marked.exists() and marked.read_text() != mark:
            sys.exit(f"{self.work} holds the stages of a run on other data: give another --work")
        marked.write_text(mark)

    def autocast(self):
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.bf16)

    def texts(self, texts: list[str]) -> Texts:
        return Texts(encode(self.tokenizer, texts, TOKENS_TRAINING), self.device)

    def encoder(self) -> Network:
        """The whole encoder with fresh heads."""
        return from_encoder(str(self.args.encoder / "model.safetensors"), self.pieces)

    def teacher(self, number: int) -> Network:
        """A teacher that was trained before."""
        path = self.work / f"teacher-{number}.pt"
        if not path.exists():
            sys.exit(f"{path} is missing: run the stage teacher first")
        network = self.encoder()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return network.to(self.device)

    def predict(self, network: Network, texts: Texts) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities [rows, labels] and the vectors that the heads read [rows, width] of all texts, both float16."""
        network.eval()
        p = np.zeros((len(texts.rows), LABELS), dtype=np.float16)
        vectors = np.zeros((len(texts.rows), network.width), dtype=np.float16)
        numbers = sorted(range(len(texts.rows)), key=lambda i: len(texts.rows[i]))
        size = 512 if self.device == "cuda" else 64
        with torch.no_grad(), self.autocast():
            for start in range(0, len(numbers), size):
                some = numbers[start : start + size]
                logits, pooled = network(*texts.batch(some))
                p[some] = probabilities(logits).half().cpu().numpy()
                vectors[some] = pooled.half().cpu().numpy()
        return p, vectors

    def predict_rows(self, network: Network, rows: list[corpus.Row]) -> np.ndarray:
        return self.predict(network, self.texts([r.text for r in rows]))[0]


class Progress:
    """The learning rate, falling to zero with the steps or the minutes, whichever ends first; and a log line."""

    def __init__(self, optimiser, steps: int, minutes: float, name: str) -> None:
        self.optimiser, self.steps, self.minutes, self.name = optimiser, steps, minutes, name
        self.peaks = [group["lr"] for group in optimiser.param_groups]
        self.step, self.start, self.losses = 0, time.perf_counter(), []

    def done(self) -> float:
        return max(self.step / self.steps, (time.perf_counter() - self.start) / 60 / self.minutes)

    def before(self) -> bool:
        """Sets the rate of the next step; false when there is none."""
        done = self.done()
        if done >= 1:
            return False
        for group, peak in zip(self.optimiser.param_groups, self.peaks):
            group["lr"] = peak * min((self.step + 1) / (self.steps * WARM_UP), 1 - done)
        return True

    def after(self, loss: Tensor) -> None:
        self.step += 1
        if self.step % 50 == 0 or self.step == self.steps:
            self.losses.append(loss.item())
        if self.step % 500 == 0 or self.step == self.steps:
            seconds = time.perf_counter() - self.start
            print(f"{self.name}: step {self.step}/{self.steps} loss {np.mean(self.losses):.3f} {seconds:.0f} s", flush=True)
            self.losses = []


def optimiser_of(groups) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, weight_decay=0.01, fused=True)


def train_teacher(run: Run, number: int) -> None:
    """The whole encoder on all labelled rows; its word embeddings stay as they came.

    French words that the few French rows never use then stay where the English words of the same meaning
    are. This is a reason, not a measurement.
    """
    path = run.work / f"teacher-{number}.pt"
    if path.exists():
        return
    rng = random.Random(SEED + number)
    torch.manual_seed(SEED + number)
    network = run.encoder().to(run.device)
    network.words.requires_grad_(False)
    groups = [{"params": network.heads.parameters(), "lr": HEADS_RATE}]
    groups.append({"params": [network.positions.weight, *network.norm.parameters()], "lr": TEACHER_RATE * TEACHER_DECAY**12})
    for i, layer in enumerate(network.layers):
        groups.append({"params": layer.parameters(), "lr": TEACHER_RATE * TEACHER_DECAY ** (11 - i)})
    optimiser = optimiser_of(groups)
    plans = []
    for _ in range(run.args.teacher_epochs):
        rows = corpus.draw_epoch(run.training, rng, run.share, noise=0.1)
        texts = run.texts([r.text for r in rows])
        plans.append((texts, torch.from_numpy(allowed(rows)).to(run.device), texts.order(TEACHER_BATCH, rng)))
    progress = Progress(optimiser, sum(len(o) for _, _, o in plans), run.args.teacher_minutes, f"teacher {number}")
    network.train()
    for texts, table, order in plans:
        for batch in order:
            if not progress.before():
                break
            with run.autocast():
                logits, _ = network(*texts.batch(batch))
            loss = labelled_loss(logits.float(), table[torch.tensor(batch, device=run.device)])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            progress.after(loss)
    torch.save(network.state_dict(), path)
    show(run, f"teacher {number}", lambda rows: run.predict_rows(network, rows))


def restricted(p: np.ndarray, table: np.ndarray, share: float) -> np.ndarray:
    """`p` [rows, labels] with `share` of each head's probability moved to what `table` allows there."""
    p = p.copy()
    for span in SPANS.values():
        known = table[:, span].sum(1) > 0
        inside = np.maximum(p[:, span] * table[:, span], 1e-6 * table[:, span])
        inside = inside / np.maximum(inside.sum(1, keepdims=True), 1e-12)
        p[known, span] = (1 - share) * p[known, span] + share * inside[known]
    return p


def load_pool(run: Run) -> tuple[list[str], np.ndarray]:
    """The pool's texts and targets [texts, labels], float16."""
    pool = np.load(run.work / "pool.npz")
    return pool["texts"].tobytes().decode().split("\n"), pool["target"]


def labelled_rows(run: Run, rng: random.Random, epochs: int) -> tuple[list[str], np.ndarray]:
    """Texts of the sources that look like what the daemon sees, with their labels as targets.

    A head whose label a row does not settle has zeros, and so no part in the loss.
    """
    near = [r for r in run.training if r.source in corpus.NEAR]
    rows = [r for _ in range(epochs) for r in corpus.draw_epoch(near, rng, run.share, noise=0.1)]
    table = allowed(rows)
    target = np.zeros_like(table)
    for span in SPANS.values():
        labels = span.stop - span.start
        settled = table[:, span].sum(1) == 1
        target[settled, span] = LABEL_SHARE * table[settled, span] + (1 - LABEL_SHARE) / labels
    return [r.text for r in rows], target.astype(np.float16)


def fill_pool(run: Run) -> None:
    """Varied texts with the teachers' mean probabilities, half moved to the labels where those are known."""
    path = run.work / "pool.npz"
    if path.exists():
        return
    rng = random.Random(SEED + 100)
    rows = []
    for _ in range(run.args.pool_epochs):
        rows += corpus.draw_epoch(run.training, rng, run.share, noise=0.35)
    texts = run.texts([r.text for r in rows])
    target, vectors = 0, None
    for number in range(run.args.teachers):
        p, pooled = run.predict(run.teacher(number), texts)
        target = target + p.astype(np.float32) / run.args.teachers
        # The vector of the first teacher, whose layers the student starts from.
        vectors = pooled if vectors is None else vectors
    target = restricted(target, allowed(rows), 0.5)
    packed = np.frombuffer("\n".join(r.text for r in rows).encode(), dtype=np.uint8)
    np.savez_compressed(path, target=target.astype(np.float16), texts=packed)
    np.save(run.work / "pool-vectors.npy", vectors)


def train_student(run: Run) -> None:
    path = run.work / f"student{run.args.suffix}.pt"
    if path.exists():
        return
    rng = random.Random(SEED + 200)
    torch.manual_seed(SEED + 200)
    texts, target = load_pool(run)
    texts = run.texts(texts)
    target = torch.from_numpy(target).to(run.device)
    vectors = torch.from_numpy(np.load(run.work / "pool-vectors.npy")).to(run.device)
    teacher = run.teacher(0)
    some = texts.order(64, rng)[:20]
    network = student_of(teacher, shape_of(run.args.shape), [texts.batch(b) for b in some]).to(run.device)
    del teacher
    batches = []
    for _ in range(run.args.student_epochs):
        batches += texts.order(STUDENT_BATCH, rng)
    learn(run, network, texts, target, vectors, batches, STUDENT_RATE, run.args.student_minutes, f"student{run.args.suffix}")
    save_student(network, run.args.shape, path)
    show(run, f"student{run.args.suffix} {run.args.shape}", lambda rows: run.predict_rows(network, rows))


def refine_student(run: Run) -> None:
    path = run.work / f"refined{run.args.suffix}.pt"
    if path.exists():
        return
    rng = random.Random(SEED + 400)
    torch.manual_seed(SEED + 400)
    network, shape = load_student(run, "student")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    # Without rounding at first: that is faster, and its ranges are taken anew from these texts.
    network.round(False)
    network.to(run.device)
    texts, target = labelled_rows(run, rng, run.args.refine_epochs)
    pool, pool_target = load_pool(run)
    chosen = rng.sample(range(len(pool)), min(len(pool), int(REFINE_POOL * len(texts))))
    texts = run.texts(texts + [pool[i] for i in chosen])
    target = torch.from_numpy(np.concatenate([target, pool_target[chosen]])).to(run.device)
    batches = texts.order(REFINE_BATCH, rng)
    learn(run, network, texts, target, None, batches, REFINE_RATE, run.args.refine_minutes, f"refined{run.args.suffix}")
    after = network.state_dict()
    network.load_state_dict({k: REFINE_KEPT * v.to(run.device) + (1 - REFINE_KEPT) * after[k] for k, v in before.items()})
    save_student(network, shape, path)
    show(run, f"refined{run.args.suffix} {shape}", lambda rows: run.predict_rows(network, rows))


def finish_student(run: Run) -> None:
    path = run.work / f"finished{run.args.suffix}.pt"
    if path.exists():
        return
    rng = random.Random(SEED + 500)
    torch.manual_seed(SEED + 500)
    network, shape = load_student(run, "refined")
    network.finish()
    network.to(run.device)
    near = [r for r in run.training if r.source in heads.ROWS]
    rows = corpus.draw_epoch(near, rng, run.share, noise=0.1, amounts=heads.ROWS)
    before, vectors = run.predict(network, run.texts([r.text for r in rows]))
    network.cpu()
    for head in heads.WEIGHTS:
        target = heads.targets_of(head, rows, before[:, SPANS[head]])
        network.heads[head] = fresh = heads.Head(network.width, len(HEADS[head]), heads.HIDDEN_UNITS[head])
        heads.fit(fresh, vectors, target, heads.weights_of(head, rows))
    save_student(network, shape, path)
    network.to(run.device)
    show(run, f"finished{run.args.suffix} {shape}", lambda rows: run.predict_rows(network, rows))


def learn(run: Run, network: Network, texts: Texts, target: Tensor, vectors: Tensor | None, batches, rate, minutes, name) -> None:
    """Fits `network` to `target` [texts, labels] and, where given, `vectors` [texts, hidden].

    Int8 rounding begins with the last `ROUNDED_SHARE` of the way.
    """
    network.words.requires_grad_(False)
    heads = list(network.heads.parameters())
    skip = {id(p) for p in heads} | {id(network.words.weight)}
    body = [p for p in network.parameters() if id(p) not in skip]
    optimiser = optimiser_of([{"params": body, "lr": rate}, {"params": heads, "lr": 2 * rate}])
    progress = Progress(optimiser, len(batches), minutes, name)
    rounded = False
    network.train()
    for batch in batches:
        if not progress.before():
            break
        if not rounded and progress.done() > 1 - ROUNDED_SHARE:
            network.round_from_now(lambda: [network(*texts.batch(b)) for b in batches[:60]])
            rounded = True
        numbers = torch.tensor(batch, device=run.device)
        with run.autocast():
            logits, pooled = network(*texts.batch(batch))
        loss = taught_loss(logits.float(), target[numbers].float())
        if vectors is not None:
            loss = loss + VECTOR_WEIGHT * (1 - F.cosine_similarity(pooled.float(), vectors[numbers].float())).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(body, 1.0)
        optimiser.step()
        progress.after(loss)
    assert rounded, "the time was too short for the last part of the training"


def save_student(network: Network, shape: str, path: Path) -> None:
    """The words come from the encoder file again; half precision is more than the int8 file will keep."""
    state = {k: v.half() if v.ndim == 2 else v for k, v in network.state_dict().items() if k != "words.weight"}
    torch.save({"shape": shape, "state": {k: v.cpu() for k, v in state.items()}}, path)


def load_student(run: Run, name: str) -> tuple[Network, str]:
    """The network of a stage, `student`, `refined` or `finished`, computing with int8 rounding, and its shape."""
    saved = torch.load(run.work / f"{name}{run.args.suffix}.pt", map_location="cpu", weights_only=True)
    whole = run.encoder()
    network = Network(len(run.pieces), shape_of(saved["shape"]), dropout=0.0)
    if name == "finished":
        network.finish()
    state = {k: v.float() for k, v in saved["state"].items()} | {"words.weight": whole.words.weight.data}
    network.load_state_dict(state)
    network.round(True)
    return network.eval(), saved["shape"]


def train_small(run: Run) -> None:
    path = run.work / "small.pt"
    if path.exists():
        return
    rng = random.Random(SEED + 300)
    dropped = np.random.default_rng(SEED + 300)
    torch.manual_seed(SEED + 300)
    texts, target = load_pool(run)
    more, more_target = labelled_rows(run, rng, run.args.refine_epochs)
    texts += more
    target = torch.from_numpy(np.concatenate([target, more_target]).astype(np.float32))
    features = ngrams.Reader(BUCKETS, CHARS, FEATURES_MAX).rows(texts)
    network = Small()
    optimiser = torch.optim.AdamW(network.parameters(), lr=SMALL_RATE, weight_decay=SMALL_DECAY)
    steps = run.args.small_epochs * -(-len(texts) // SMALL_BATCH)
    progress = Progress(optimiser, steps, 1e9, "small")
    network.train()
    for _ in range(run.args.small_epochs):
        numbers = list(range(len(texts)))
        rng.shuffle(numbers)
        for start in range(0, len(numbers), SMALL_BATCH):
            some = numbers[start : start + SMALL_BATCH]
            progress.before()
            # Some features are left out each time, so that no rare one is learnt by heart.
            kept = [row[dropped.random(len(row)) > SMALL_DROPPED] for row in (features[i] for i in some)]
            kept = [k if len(k) else features[i][:1] for k, i in zip(kept, some)]
            starts = np.cumsum([0, *map(len, kept[:-1])])
            logits = network(torch.from_numpy(np.concatenate(kept)).long(), torch.from_numpy(starts))
            loss = taught_loss(logits, target[some])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            progress.after(loss)
    torch.save(network.state_dict(), path)
    show(run, "small", lambda rows: predict_small(network, rows))


def predict_small(network: Small, rows: list[corpus.Row]) -> np.ndarray:
    network.eval()
    features = ngrams.Reader(BUCKETS, CHARS, FEATURES_MAX).rows([r.text for r in rows])
    starts = np.cumsum([0, *map(len, features[:-1])])
    with torch.no_grad():
        return probabilities(network(torch.from_numpy(np.concatenate(features)).long(), torch.from_numpy(starts))).numpy()


def show(run: Run, name: str, predict) -> None:
    """The scores that decide, in a line each."""
    import evaluate

    sets = evaluate.sets_of(run.validation)
    if (run.args.data / "nc").exists() and not run.args.sample:
        sets |= corpus.evaluation_sets(run.args.data)
    for title, rows in sets.items():
        p = predict(rows).astype(np.float32)
        for line in evaluate.short_scores(title, rows, {head: p[:, span] for head, span in SPANS.items()}):
            print(f"[{name}] {line}", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, default=ROOT / "../shared/data", help="folder with open/, unlabelled/, nc/, unclear/ and labelmap.tsv")
    arguments.add_argument("--encoder", type=Path, default=ROOT / "../shared/encoder", help="folder with model.safetensors and tokenizer.json")
    arguments.add_argument("--out", type=Path, default=ROOT / "models", help="where the folders full/ and small/ are written")
    arguments.add_argument("--work", type=Path, help="where the stages leave their results (default: OUT/work)")
    arguments.add_argument("--stages", default=",".join(STAGES), help="some of " + ",".join(STAGES))
    arguments.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--bf16", action="store_true", help="bfloat16 products on the CPU, where it has them")
    for name in ON_GPU:
        arguments.add_argument("--" + name.replace("_", "-"), type=int, help=f"default: {ON_GPU[name]} on a GPU, {ON_CPU[name]} without")
    arguments.add_argument("--teacher", type=int, help="train this one teacher only")
    arguments.add_argument("--teacher-minutes", type=float, default=600, help="end the training of a teacher after this long")
    arguments.add_argument("--student-minutes", type=float, default=600, help="end the training of the student after this long")
    arguments.add_argument("--refine-minutes", type=float, default=600, help="end the refining after this long")
    arguments.add_argument("--small-epochs", type=int, default=2)
    arguments.add_argument("--shape", default=SHAPE, help=f"layers of the student (default: {SHAPE})")
    arguments.add_argument("--suffix", default="", help="name of this student, to train several of one pool")
    arguments.add_argument("--sample", action="store_true", help="a few rows of everything, to try the whole path in minutes")
    args = arguments.parse_args()
    if args.sample and args.out.resolve() == ROOT / "models":
        arguments.error("--sample needs an --out of its own: it must not replace the model that is shipped")
    args.work = args.work or args.out / "work"
    stages = args.stages.split(",")
    if unknown := set(stages) - set(STAGES):
        arguments.error(f"--stages: {', '.join(sorted(unknown))}: must be some of {', '.join(STAGES)}")
    if args.sample:
        args.small_epochs = 1

    torch.set_num_threads(args.threads)
    run = Run(args)
    for name, amount in (ON_GPU if run.device == "cuda" else ON_CPU).items():
        if getattr(args, name) is None:
            setattr(args, name, 1 if args.sample else amount)
    if "teacher" in stages:
        for number in range(args.teachers) if args.teacher is None else [args.teacher]:
            train_teacher(run, number)
    if "pool" in stages:
        fill_pool(run)
    if "student" in stages:
        train_student(run)
    if "refine" in stages:
        refine_student(run)
    if "heads" in stages:
        finish_student(run)
    if "small" in stages:
        train_small(run)
    if "export" in stages:
        import export

        export.write(run)


if __name__ == "__main__":
    main()

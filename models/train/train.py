"""From raw files to a model bundle in one command; see `models/README.md`, "Training it again".

    python models/train/train.py --data ../shared/data --encoder ../shared/encoder --out models
"""

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import data as corpus
import evaluate
import export
from graph import HEADS
from network import KEPT_LAYERS, Network, activation_ranges, from_encoder
from text import PAD_ID, encode, prune_tokenizer

ROOT = Path(__file__).resolve().parents[2]
SEED = 20_240
TOKENS_TRAINING = 64
BATCH = 32
EPOCHS = 2
RATE_ENCODER = 8e-5
RATE_HEADS = 1e-3
WARM_UP = 0.06


def batches(rows: list[list[int]], rng: random.Random) -> list[list[int]]:
    """Row numbers in batches of like length, in random order.

    Sorted within stretches of fifty batches: little padding, and still a different mix each epoch.
    """
    out = []
    for start in range(0, len(rows), BATCH * 50):
        stretch = sorted(range(start, min(start + BATCH * 50, len(rows))), key=lambda i: len(rows[i]))
        out += [stretch[i : i + BATCH] for i in range(0, len(stretch), BATCH)]
    rng.shuffle(out)
    return out


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    tokens = max(map(len, rows))
    ids = torch.full((len(rows), tokens), PAD_ID)
    mask = torch.zeros((len(rows), tokens), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask


def allowed(rows: list[corpus.Row], head: str) -> Tensor:
    """[rows, labels], one where the row may have the label; a row of zeros where nothing is known."""
    table = torch.zeros(len(rows), len(HEADS[head]))
    for i, row in enumerate(rows):
        for label in row.labels.get(head, ()):
            table[i, HEADS[head].index(label)] = 1
    return table


def loss_of(logits: dict[str, Tensor], rows: list[corpus.Row]) -> Tensor:
    """Minus the log of the probability that falls on the allowed labels, summed over the heads.

    Each head's term is the mean over the rows that say something about it.
    """
    total = torch.zeros(())
    for head in HEADS:
        table = allowed(rows, head)
        known = table.sum(1) > 0
        if known.any():
            log_p = F.log_softmax(logits[head].float()[known], dim=-1)
            total = total - torch.logsumexp(log_p + torch.log(table[known]), dim=-1).mean()
    return total


def train(
    network: Network, tokenizer, rows: list[corpus.Row], epochs: int, share: float, bf16: bool, minutes: float, seed: int
) -> None:
    """Trains all but the word embeddings, for `epochs` or for `minutes`, whichever ends first.

    The learning rate falls to zero at whichever end is nearer, so that a run cut by the clock still
    ends settled. The embeddings stay as they came: French words that the few French rows never use
    then stay where the English words of the same meaning are (a reason, not a measurement).
    """
    rng = random.Random(seed)
    network.words.requires_grad_(False)
    heads = list(network.heads.parameters())
    no_decay = [p for n, p in network.named_parameters() if not n.startswith("heads.") and p.ndim == 1]
    skip = {id(p) for p in heads + no_decay}
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in network.parameters() if p.requires_grad and id(p) not in skip], "lr": RATE_ENCODER},
            {"params": no_decay, "lr": RATE_ENCODER, "weight_decay": 0.0},
            {"params": heads, "lr": RATE_HEADS},
        ],
        weight_decay=0.01,
        fused=True,
    )
    plans = []
    for _ in range(epochs):
        drawn = corpus.draw_epoch(rows, rng, share)
        ids = encode(tokenizer, [r.text for r in drawn], TOKENS_TRAINING)
        plans.append((drawn, ids, batches(ids, rng)))
    steps = sum(len(order) for _, _, order in plans)
    peaks = [group["lr"] for group in optimiser.param_groups]
    network.train()
    step, recent, start = 0, [], time.perf_counter()
    for drawn, ids, order in plans:
        for batch in order:
            done = max(step / steps, (time.perf_counter() - start) / 60 / minutes)
            if done >= 1:
                break
            for group, peak in zip(optimiser.param_groups, peaks):
                group["lr"] = peak * min((step + 1) / (steps * WARM_UP), 1 - done)
            inputs, mask = padded([ids[i] for i in batch])
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                logits = network(inputs, mask)
            loss = loss_of(logits, [drawn[i] for i in batch])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            step += 1
            recent.append(loss.item())
            if step % 100 == 0 or step == steps:
                print(f"step {step}/{steps} loss {np.mean(recent):.3f} {time.perf_counter() - start:.0f} s", flush=True)
                recent = []
    print(f"trained {step} of {steps} steps in {time.perf_counter() - start:.0f} s", flush=True)
    network.eval()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, default=ROOT / "../shared/data", help="folder with open/, nc/, unclear/ and labelmap.tsv")
    arguments.add_argument("--encoder", type=Path, default=ROOT / "../shared/encoder", help="folder with model.safetensors and tokenizer.json")
    arguments.add_argument("--out", type=Path, default=ROOT / "models", help="where the bundle is written")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--epochs", type=int, default=EPOCHS)
    arguments.add_argument("--minutes", type=float, default=600, help="end training after this long")
    arguments.add_argument("--bf16", action="store_true", help="bfloat16 products: several times faster where the processor has them")
    arguments.add_argument("--weights", type=Path, help="also write the float32 weights to this .npz file")
    arguments.add_argument("--start", type=Path, help="begin with the weights of this .npz file and draw other rows")
    arguments.add_argument("--reuse", type=Path, help="take the weights of this .npz file instead of training")
    arguments.add_argument("--sample", action="store_true", help="a few rows of everything, to try the whole path in minutes")
    args = arguments.parse_args()
    if args.sample and args.out == ROOT / "models":
        arguments.error("--sample needs an --out of its own: it must not replace the model that is shipped")

    torch.manual_seed(SEED)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    training, validation = corpus.load(args.data)
    print(f"{len(training)} training rows, {len(validation)} validation rows", flush=True)

    tokenizer, rows = prune_tokenizer(
        str(args.encoder / "tokenizer.json"),
        [r.text for r in training if r.lang == "fr"],
        [r.text for r in training if r.lang == "en"],
    )
    tokenizer.save(str(args.out / "tokenizer.json"), pretty=False)
    network = from_encoder(str(args.encoder / "model.safetensors"), rows)
    if earlier := args.start or args.reuse:
        # The word embeddings are not trained, so they come from the encoder, in the order of this
        # tokenizer's pieces, whatever tokenizer the file was made with.
        state = {name: torch.from_numpy(value) for name, value in np.load(earlier).items() if name != "words.weight"}
        network.load_state_dict(network.state_dict() | state)
    if args.sample:
        validation = random.Random(SEED).sample(validation, 300)
        train(network, tokenizer, training, 1, 0.01, args.bf16, args.minutes, SEED + bool(args.start))
    elif not args.reuse:
        train(network, tokenizer, training, args.epochs, 1.0, args.bf16, args.minutes, SEED + bool(args.start))

    # Ranges of the activations, on some six hundred training texts.
    watched = corpus.draw_epoch(training, random.Random(SEED), 0.02)
    ranges = activation_ranges(network, encode(tokenizer, [r.text for r in watched], export.TOKENS_MAX))
    # The temperatures are fitted on what ships, the int8 graph, so it is written twice.
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    if args.weights:
        np.savez(args.weights, **weights)
    export.write_graph(args.out, weights, dict.fromkeys(HEADS, 1.0), len(KEPT_LAYERS), ranges)
    temperatures = evaluate.fit_temperatures(args.out, validation)
    print("temperatures", json.dumps(temperatures), flush=True)
    export.write_graph(args.out, weights, temperatures, len(KEPT_LAYERS), ranges)
    export.write_description(args.out)
    export.write_fixtures(args.out)
    print(json.dumps(export.check(args.out), indent=2), flush=True)
    evaluate.report(args.out, validation, {} if args.sample else corpus.evaluation_sets(args.data))


if __name__ == "__main__":
    main()

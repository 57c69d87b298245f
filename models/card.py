"""The tables and the calibration plot of `models/README.md`, measured with `vigie evaluate`.

    cargo build --release
    python3 models/card.py --data ../shared/data --library libonnxruntime.so > tables.md

Needs nothing but Python. Every set is written to a file in a temporary folder and given to `vigie
evaluate`, for both models and, where `--library` names ONNX Runtime, on both runtimes. The plot goes to
`models/calibration.svg`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "models/train"))

import data as corpus  # noqa: E402
from labels import HEADS  # noqa: E402

COMPLAINTS = {"churn", "problem", "complaint"}

# Title, source of the rows (validation by source and language, or an evaluation set), heads.
# A head in brackets has one label only: it counts for the calibration and is not shown.
SETS = [
    ("TweetEval val, en", ("sentiment_semeval2017_en", "en"), ["sentiment"]),
    ("UMSAB, en †", "UMSAB en", ["sentiment"]),
    ("UMSAB, fr †", "UMSAB fr", ["sentiment"]),
    ("airlines, en †", "airline", ["sentiment"]),
    ("X-CI, en", ("complaints_xci_en", "en"), ["complaint", "sentiment", "intent", "urgency"]),
    ("gold, en †", "gold en", ["sentiment", "intent", "relevant", "urgency"]),
    ("gold, fr", ("vigie_gold_fr", "fr"), ["sentiment", "intent", "relevant", "urgency"]),
    ("Free tweets, fr", ("open_free_tweets_fr", "fr"), ["sentiment", "intent", "relevant", "urgency"]),
    ("blind author, en", ("own_blind", "en"), ["sentiment", "intent", "relevant", "urgency"]),
    ("blind author, fr", ("own_blind", "fr"), ["sentiment", "intent", "relevant", "urgency"]),
    ("own support posts, en", ("own_support_en", "en"), ["sentiment", "intent", "relevant", "urgency"]),
    ("own support posts, fr", ("own_support_fr", "fr"), ["sentiment", "intent", "relevant", "urgency"]),
    ("SemEval tweets with intents, en", ("semeval_with_intents_en", "en"), ["intent", "relevant", "(urgency)"]),
    ("MLMA tweets, fr", ("abusive_mlma_fr", "fr"), ["sentiment", "(intent)", "(urgency)"]),
    ("own general posts, fr", ("own_general_fr", "fr"), ["sentiment", "(intent)", "(urgency)"]),
    ("own public posts, fr", ("own_valence_fr", "fr"), ["sentiment", "(intent)", "(urgency)"]),
    ("store reviews, en", ("app_reviews_minibar_en_fr", "en"), ["sentiment", "intent"]),
    ("store reviews, fr", ("app_reviews_minibar_en_fr", "fr"), ["sentiment", "intent"]),
]


def rows_of(validation: list[corpus.Row], others: dict[str, list[corpus.Row]], where) -> list[corpus.Row]:
    if isinstance(where, str):
        return others.get(where, [])
    return [r for r in validation if (r.source, r.lang) == where]


def label_of(row: corpus.Row, head: str) -> str:
    """The row's label as `vigie evaluate` is to read it; empty where it has none."""
    known = row.labels.get(head, ())
    return next(iter(known)) if len(known) == 1 else ""


def ask(vigie: Path, command: list, text: str | None = None) -> str:
    done = subprocess.run([str(part) for part in (vigie, *command)], input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"vigie {' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def evaluate(vigie: Path, file: Path, head: str, flags: list) -> dict:
    return json.loads(ask(vigie, ["evaluate", file, "--label-column", head, "--head", head, *flags, "--json"]))


def intents(vigie: Path, rows: list[corpus.Row], flags: list) -> list[str]:
    """The most probable intent of each row."""
    lines = "".join(json.dumps({"text": r.text}) + "\n" for r in rows)
    return [json.loads(line)["intent"]["label"] for line in ask(vigie, ["classify", *flags], lines).splitlines()]


def f1(pairs: list[tuple[bool, bool]]) -> float:
    hits = sum(a and b for a, b in pairs)
    return 2 * hits / max(1, sum(a for a, _ in pairs) + sum(b for _, b in pairs))


def told_apart(rows: list[corpus.Row], found: list[str], head: str) -> tuple[int, str]:
    """Complaints, or what is relevant, by the most probable intent: how many rows, and the score."""
    if head == "complaint":
        pairs = [(r.complaint, intent in COMPLAINTS) for r, intent in zip(rows, found) if r.complaint is not None]
        both = (f1(pairs) + f1([(not a, not b) for a, b in pairs])) / 2
        return len(pairs), f"macro F1 {100 * both:.1f}"
    pairs = [(label_of(r, "intent") != "other", i != "other") for r, i in zip(rows, found) if label_of(r, "intent")]
    return len(pairs), f"F1 of relevant {100 * f1(pairs):.1f}"


def figures(found: dict, head: str) -> str:
    by_label = {c["label"]: c for c in found["classes"]}
    line = f"macro F1 {100 * found['macro_f1']:.1f}, recall {100 * found['macro_recall']:.1f}"
    if head == "urgency" and by_label["high"]["rows"]:
        high = by_label["high"]
        line += f"; high: recall {100 * high['recall']:.0f}, precision {100 * high['precision']:.0f}"
    return line


def plot(curves: dict[str, list[dict]]) -> str:
    """Reliability diagrams side by side: how often a verdict of a given confidence is right."""
    size, gap = 180, 50
    width = len(curves) * (size + gap) + gap
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{size + 90}" font-family="sans-serif" font-size="11">']
    out.append(f'<rect width="{width}" height="{size + 90}" fill="white"/>')
    for i, (title, bins) in enumerate(curves.items()):
        x0, y0 = gap + i * (size + gap), 30 + size
        out.append(f'<text x="{x0}" y="18" font-weight="bold">{title}</text>')
        out.append(f'<rect x="{x0}" y="{y0 - size}" width="{size}" height="{size}" fill="none" stroke="#999"/>')
        out.append(f'<path d="M{x0} {y0}L{x0 + size} {y0 - size}" stroke="#bbb" stroke-dasharray="4 3"/>')
        most = max(b["rows"] for b in bins)
        points = [(x0 + size * b["confidence"], y0 - size * b["accuracy"], 2 + 5 * (b["rows"] / most) ** 0.5) for b in bins]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in points)
        out.append(f'<path d="M{path}" fill="none" stroke="#0a58ca" stroke-width="1.5"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="#0a58ca"/>' for x, y, r in points]
        for tick in (0, 0.5, 1):
            out.append(f'<text x="{x0 + size * tick - 6:.0f}" y="{y0 + 14}">{tick}</text>')
            out.append(f'<text x="{x0 - 20}" y="{y0 - size * tick + 4:.0f}">{tick}</text>')
        out.append(f'<text x="{x0 + 40}" y="{y0 + 30}">probability given</text>')
    out.append(f'<text x="{gap}" y="{size + 80}">Dots: share of posts that were right, larger where there are more posts.</text></svg>')
    return "\n".join(out) + "\n"


def joined_bins(reports: list[dict]) -> list[dict]:
    """Bins of several reports as one."""
    sums: dict[float, list[float]] = {}
    for report in reports:
        for b in report["calibration"]:
            of_bin = sums.setdefault(round(b["from"], 1), [0, 0, 0])
            of_bin[0] += b["rows"]
            of_bin[1] += b["rows"] * b["confidence"]
            of_bin[2] += b["rows"] * b["accuracy"]
    return [{"rows": n, "confidence": c / n, "accuracy": a / n} for _, (n, c, a) in sorted(sums.items())]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    arguments.add_argument("--vigie", type=Path, default=ROOT / "target/release/vigie")
    arguments.add_argument("--library", type=Path, help="ONNX Runtime's shared library, to measure on it too")
    args = arguments.parse_args()

    runtimes = {"rten": ["--runtime", "rten"]}
    if args.library:
        runtimes["ONNX Runtime"] = ["--runtime", "onnxruntime", "--library", args.library]
    columns = [(model, name, flags) for model in ("full", "small") for name, flags in runtimes.items()]
    _, validation = corpus.load(args.data)
    others = corpus.evaluation_sets(args.data)
    calibration: dict[tuple[str, str, str, str], list[dict]] = {}

    print("| set | head | rows | " + " | ".join(f"`{m}`, {n}" for m, n, _ in columns) + " |")
    print("|---|---|---:|" + "---|" * len(columns))
    with tempfile.TemporaryDirectory() as folder:
        for title, where, heads in SETS:
            rows = rows_of(validation, others, where)
            if not rows:
                continue
            file = Path(folder) / "set.tsv"
            hidden = {head.strip("()") for head in heads if head.startswith("(")}
            heads = [head.strip("()") for head in heads]
            columns_of = [head for head in heads if head in HEADS]
            lines = ["\t".join([*columns_of, "text"])]
            lines += ["\t".join([*(label_of(r, h) for h in columns_of), r.text]) for r in rows]
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
            for head in heads:
                cells, count = [], 0
                for model, runtime, flags in columns:
                    flags = ["--model", model, *flags]
                    if head not in HEADS:
                        count, score = told_apart(rows, intents(args.vigie, rows, flags), head)
                        cells.append(score)
                        continue
                    found = evaluate(args.vigie, file, head, flags)
                    count = found["rows"]
                    cells.append(f"{figures(found, head)}; ECE {found['expected_calibration_error']:.3f}")
                    if runtime == "rten" and "†" not in title and "reviews" not in title:
                        for scope in ("all", "customers") if "relevant" in heads else ("all",):
                            calibration.setdefault((scope, model, head, title[-2:]), []).append(found)
                if head in hidden:
                    continue
                print(f"| {title} | {head} | {count} | " + " | ".join(cells) + " |", flush=True)

    print("\nExpected calibration error, validation posts of a language taken together, store reviews apart:\n")
    print("| posts | head | `full`, fr | `full`, en | `small`, fr | `small`, en |\n|---|---|---:|---:|---:|---:|")
    curves = {}
    for scope in ("all", "customers"):
        for head in HEADS:
            cells = []
            for model in ("full", "small"):
                for lang in ("fr", "en"):
                    bins = joined_bins(calibration[scope, model, head, lang])
                    rows = sum(b["rows"] for b in bins)
                    cells.append(f"{sum(b['rows'] * abs(b['confidence'] - b['accuracy']) for b in bins) / rows:.3f}")
                    if (scope, model) == ("all", "full"):
                        curves[f"{head}, {lang}"] = bins
            print(f"| {scope} | {head} | " + " | ".join(cells) + " |")
    (ROOT / "models/calibration.svg").write_text(plot(curves), encoding="utf-8")


if __name__ == "__main__":
    main()

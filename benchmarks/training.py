"""How much faster DPO of a LoRA adapter trains here than with TRL, on the same machine, pairs and precision.

    python -m benchmarks.training [--workload triage|dialogues|notes ...] [--rounds N] [--threads N] [--model-path DIR]

Three ways: TRL's defaults; TRL's best flags (reference computed before, no activation checkpointing, the best of
several batch sizes); and ours. Each runs in a fresh process, in turn, with the same pairs in one update; a way's figure
is its best round. What is measured is one pass of the reference, where it is cached, and forward and backward of one
epoch; pairs a second are given for a run of --epochs epochs, n E / (reference + E epoch).

Ideal FLOPs a pair, with N weights of the backbone, H of the output layer, a prompt of P and completions of C and R
tokens:  4 N (P + C + R) + 4 H (C + R) + [2 N (P + C + R) + 2 H (C + R)] / E.  The share of ideal is these FLOPs a
second over what a large fp32 matrix product reaches in the same process.
"""

import argparse
import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "mts_dialog" / "MTS-Dialog-TrainingSet.csv"
WORKLOADS = {  # pairs; pairs of an update; what they are
    "triage": (16, 8, "patient messages, answers of a few tokens"),
    "dialogues": (16, 8, "mts_dialog: summaries of dialogues"),
    "notes": (2, 2, "notes of 2 to 4 thousand tokens"),
}
TRIAGE = (
    "You sort messages from patients. Say who should answer (physician, nurse, pharmacist, scheduler or billing) and "
    "how urgent it is (emergency, urgent, soon or routine), as two lines: personnel: ..., urgency: ..."
)
SUMMARY = "You write the section of a clinical note that a dialogue belongs to, in at most three sentences."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--epochs", type=int, default=3, help="epochs over which a reference pass is spread")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4], help="tried for TRL's best flags")
    parser.add_argument("--model-path", type=Path, help="default: the embedded SmolLM2-135M-Instruct")
    parser.add_argument("--pairs", type=int, help="fewer pairs than usual, and so perhaps fewer in an update")
    parser.add_argument("--data", type=Path, default=DATA, help="the training set of mts_dialog")
    parser.add_argument("--arm", help=argparse.SUPPRESS)  # set in the processes that this one starts
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        print(json.dumps(measure(options)))
        return
    with tempfile.TemporaryDirectory(prefix="medprefs-benchmark-") as directory:
        from training.recipes.embedded import prepare

        options.model_path = options.model_path or prepare(Path(directory) / "smollm2")
        for workload in options.workload:
            rows = Path(directory) / f"{workload}.json"
            rows.write_text(json.dumps(pairs_of(workload, options.pairs or WORKLOADS[workload][0], options.data)))
            compare(workload, rows, options)


def update_of(options: argparse.Namespace, workload: str = "") -> int:
    """Pairs in one update."""
    pairs, update, _ = WORKLOADS[workload or options.workload[0]]
    return min(update, options.pairs or pairs)


# --- the pairs


def pairs_of(workload: str, n: int, data: Path) -> list[dict[str, Any]]:
    """Rows as a frozen preference data set has them; drawn with a fixed seed."""
    draw = random.Random(0)
    if workload == "triage":
        lines = [json.loads(line) for line in (ROOT / "demo" / "messages.jsonl").read_text().splitlines()]
        wrong = {"personnel": ["nurse", "physician"], "urgency": ["soon", "routine"]}
        rows = []
        for case in draw.sample(lines, n):
            other = {field: next(v for v in values if v != case[field]) for field, values in wrong.items()}
            chosen, rejected = (f"personnel: {a['personnel']}\nurgency: {a['urgency']}" for a in (case, other))
            rows.append((TRIAGE, case["text"], chosen, rejected))
    else:
        if not data.exists():
            sys.exit(f"{data} is not there: the dialogues are not part of this project. Try --workload triage.")
        with data.open(encoding="utf-8", newline="") as file:
            cases = [(row["dialogue"], row["section_text"]) for row in csv.DictReader(file)]
        # A rejected summary as long as models write them: that of another dialogue.
        if workload == "dialogues":
            drawn = draw.sample(cases, 2 * n)
            rows = [(SUMMARY, drawn[i][0], drawn[i][1], drawn[n + i][1]) for i in range(n)]
        else:
            rows = []
            for i in range(n):  # dialogues of one visit after another, until the note is long enough
                words, text = 1200 + 900 * i // max(1, n - 1), ""
                while len(text.split()) < words:
                    text += draw.choice(cases)[0] + "\n"
                summaries = [" ".join(draw.choice(cases)[1] for _ in range(3)) for _ in range(2)]
                rows.append((SUMMARY, text, *summaries))
    return [
        {
            "prompt": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
        }
        for system, user, chosen, rejected in rows
    ]


# --- one way, in a process of its own


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds (wall and CPU) of the reference pass and of one epoch, tokens computed, peak memory."""
    from training.recipes.rundir import go_offline

    go_offline()
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
    from trl import DPOConfig, DPOTrainer

    from training.recipes import loop
    from training.recipes.fast_dpo import FastDPOTrainer
    from training.recipes.hyperparameters import DEFAULTS

    torch.set_num_threads(options.threads)
    update = update_of(options)
    rows = json.loads(options.rows.read_text())
    model = AutoModelForCausalLM.from_pretrained(options.model_path, dtype=torch.float32)
    hidden = model.config.hidden_size
    backbone = sum(p.numel() for p in model.model.layers.parameters() if p.dim() == 2)
    head = model.get_output_embeddings().weight.numel()
    spent: dict[str, tuple[float, float]] = {}

    def timed(name: str, function: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            result = function(*args, **kwargs)
            before = spent.get(name, (0.0, 0.0))
            spent[name] = (before[0] + time.perf_counter() - wall, before[1] + time.process_time() - cpu)
            return result

        return run

    class Stock(DPOTrainer):  # type: ignore[misc]
        _precompute_ref_logps = timed("reference", DPOTrainer._precompute_ref_logps)

    arm, _, batch = options.arm.partition(":")
    size = int(batch or update)
    flags: dict[str, Any] = {}  # TRL's defaults, but for the number of pairs where an update has fewer than eight
    if arm == "best":
        flags = {"precompute_ref_log_probs": True, "gradient_checkpointing": False}
    set_seed(0)
    with tempfile.TemporaryDirectory() as out:
        trainer = (FastDPOTrainer if arm == "ours" else Stock)(
            model=model,
            args=DPOConfig(
                output_dir=out,
                per_device_train_batch_size=size,
                gradient_accumulation_steps=update // size,
                num_train_epochs=1,
                max_length=None,  # the notes would be cut to 1024 tokens, and another thing measured
                bf16=False,  # all three in fp32: the same arithmetic
                use_cpu=not torch.cuda.is_available(),
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                logging_steps=1,
                **flags,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(options.model_path),
            peft_config=loop.lora_config(DEFAULTS["dpo"], model),
        )
        parts = ("prompt_ids", "chosen_ids", "rejected_ids")
        lengths = [tuple(len(row[part]) for part in parts) for row in trainer.train_dataset]
        if arm == "ours":
            trainer.choose_checkpointing()
            timed("reference", trainer.cache_reference)(Path(out), {})
        computed = [0, 0]  # tokens that went through the backbone; of them padding

        def counting(function: Any) -> Any:
            def run(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
                for part in inputs.get("packs") or [inputs]:
                    computed[0] += part["input_ids"].numel()
                    if "attention_mask" in part:
                        computed[1] += int((part["attention_mask"] == 0).sum())
                return function(model, inputs, *args, **kwargs)

            return run

        # Forward and backward only: starting a Trainer and stepping the optimiser cost all three the same.
        trainer.training_step = counting(timed("epoch", trainer.training_step))
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    x, w = torch.randn(1024, hidden), torch.randn(4 * hidden, hidden)
    rate = 0.0
    for _ in range(20):
        started = time.perf_counter()
        torch.nn.functional.linear(x, w)
        rate = max(rate, 2 * x.numel() * 4 * hidden / (time.perf_counter() - started))
    e, n = options.epochs, len(lengths)
    scored = sum(c + r for _, c, r in lengths)
    tokens = sum(p for p, _, _ in lengths) + scored
    ideal = (4 + 2 / e) * (backbone * tokens + head * scored) / n  # FLOPs a pair
    speeds = []
    for i in (0, 1):  # by the clock, by the processor's time
        speeds.append(n * e / (spent.get("reference", (0.0, 0.0))[i] + e * spent["epoch"][i]))
    return {
        "pairs_per_second": speeds[0],
        "pairs_per_cpu_second": speeds[1],
        "reference_seconds": spent.get("reference", (0.0, 0.0))[0],
        "epoch_seconds": spent["epoch"][0],
        "padding": computed[1] / computed[0],
        "of_ideal": ideal * speeds[0] / rate,
        "of_ideal_cpu": ideal * speeds[1] / rate * options.threads,
        "peak_memory": peak,
        "losses": losses,
        "lengths": [sum(part) / n for part in zip(*lengths, strict=True)],
        "longest": max(map(sum, lengths)),
    }


# --- all of them


def compare(workload: str, rows: Path, options: argparse.Namespace) -> None:
    pairs, update = options.pairs or WORKLOADS[workload][0], update_of(options, workload)
    sizes = [size for size in options.batch_sizes if size <= update and update % size == 0]
    arms = ["defaults", *(f"best:{size}" for size in sizes), "ours"]
    found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    for _ in range(options.rounds):
        for arm in arms:
            command = [sys.executable, "-m", "benchmarks.training", "--workload", workload, "--arm", arm]
            command += ["--rows", str(rows), "--model-path", str(options.model_path)]
            command += ["--threads", str(options.threads), "--epochs", str(options.epochs), "--pairs", str(pairs)]
            environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{workload}, {arm}: exit {done.returncode}\n{done.stderr[-3000:]}")
            found[arm].append(json.loads(done.stdout.splitlines()[-1]))
    best = {arm: max(results, key=lambda r: r["pairs_per_second"]) for arm, results in found.items()}
    flagged = max((arm for arm in arms if arm.startswith("best")), key=lambda arm: best[arm]["pairs_per_second"])
    ours = best["ours"]
    prompt, chosen, rejected = ours["lengths"]
    print(f"\n{workload}: {WORKLOADS[workload][2]}")
    print(
        f"  {pairs} pairs, {update} an update; tokens on average: prompt {prompt:.0f}, chosen "
        f"{chosen:.0f}, rejected {rejected:.0f}; longest pair {ours['longest']}; {options.epochs} epochs, "
        f"{options.threads} threads, fp32"
    )
    print("                          pairs/s  pairs/cpu-s  padding  of ideal  peak memory   first loss")
    for arm in arms:
        r = best[arm]
        print(
            f"  {arm:22s} {r['pairs_per_second']:9.3f} {r['pairs_per_cpu_second']:12.3f} {r['padding']:8.0%} "
            f"{r['of_ideal']:9.0%} {r['peak_memory'] / 2**30:9.2f} GiB {r['losses'][0]:12.6f}"
        )
    for arm in ("defaults", flagged):
        by = [ours[name] / best[arm][name] for name in ("pairs_per_second", "pairs_per_cpu_second", "peak_memory")]
        print(f"  ours / {arm:15s} {by[0]:9.2f}x {by[1]:11.2f}x {' ' * 19} {by[2]:9.2f}x")
    print(json.dumps({"workload": workload, **best}), file=sys.stderr)
    sys.stdout.flush()


if __name__ == "__main__":
    main()

"""How much faster the embedded generator answers in batches than one by one, on the same machine.

    python benchmarks/generation.py [--cases N] [--tokens N] [--model-path DIR] [--data FILE.jsonl]

Prompts are the demo's patient messages with a triage prompt; both ways do the same greedy decoding with the same
weights, loaded once. Prints one JSON object: seconds, tokens a second, the ratio, and how many answers are equal.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SYSTEM = "You sort messages from patients. Say who should answer: physician, nurse, pharmacist, scheduler or billing."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=24, help="new tokens an answer")
    parser.add_argument(
        "--model-path", type=Path, help="default: the embedded SmolLM2-135M-Instruct, prepared if needed"
    )
    parser.add_argument("--data", type=Path, default=ROOT / "demo" / "messages.jsonl", help="rows with a text")
    options = parser.parse_args()

    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DATA_DIR", tempfile.mkdtemp(prefix="medprefs-benchmark-"))
    os.environ.setdefault("DEBUG", "1")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "medprefs.settings")
    import django

    django.setup()
    from django.conf import settings

    from annotations.generation.embedded import Embedded, Weights
    from annotations.generation.interface import Answer, Prompt
    from annotations.generation.sampling import Sampling
    from training.recipes.embedded import prepare

    path = options.model_path or prepare(settings.MODELS_DIR / settings.EMBEDDED_MODEL_NAME)
    texts = [json.loads(line)["text"] for line in options.data.read_text(encoding="utf-8").splitlines()]
    prompts = [
        Prompt([{"role": "system", "content": SYSTEM}, {"role": "user", "content": texts[i % len(texts)]}], seed=i)
        for i in range(options.cases)
    ]
    generator, sampling = Embedded(Weights(path)), Sampling(max_tokens=options.tokens)

    def answer(batch: list[Prompt]) -> tuple[list[Answer], float]:
        found: dict[int, Answer] = {}
        started = time.perf_counter()
        generator.generate(batch, sampling, lambda answers: found.update({a.position: a for a in answers}) or True)
        return [found[i] for i in range(len(batch))], time.perf_counter() - started

    answer(prompts[:2])  # loads the weights and warms up
    together, batched = answer(prompts)
    singly, one_by_one = [], 0.0
    for prompt in prompts:
        answers, seconds = answer([prompt])
        singly += answers
        one_by_one += seconds
    tokens = sum(a.tokens or 0 for a in together)
    result = {
        "cases": options.cases,
        "new_tokens": options.tokens,
        "batched_seconds": round(batched, 2),
        "one_by_one_seconds": round(one_by_one, 2),
        "batched_tokens_per_second": round(tokens / batched, 1),
        "ratio": round(one_by_one / batched, 2),
        "equal_answers": sum(a.text == b.text for a, b in zip(together, singly, strict=True)),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

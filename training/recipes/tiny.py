"""A tiny language model with random weights, built in a second and offline: for tests and trials, never for results.

python -m training.recipes.tiny TARGET_DIR
"""

import sys
from pathlib import Path
from typing import Literal

from training.recipes.rundir import go_offline

# ChatML says exactly the messages it is given; no default system message.
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def build(target: Path, *, seed: int = 0, kind: Literal["llama", "mistral"] = "llama") -> Path:
    """Write a model of Llama's or Mistral's architecture to `target`: 2 layers, a token a byte, 0.4 MB."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        AutoModelForCausalLM,
        GenerationConfig,
        LlamaConfig,
        MistralConfig,
        PreTrainedTokenizerFast,
    )

    # Every byte is a token and there are no merges: any text in any language survives the round trip.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: number for number, token in enumerate(special + alphabet)}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(special)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",  # noqa: S106
        pad_token="<|endoftext|>",  # noqa: S106
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHATML

    shape = {
        "vocab_size": len(vocabulary),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": True,
    }
    config = LlamaConfig(**shape) if kind == "llama" else MistralConfig(**shape, sliding_window=None)
    with torch.random.fork_rng():  # a caller's random state is the caller's
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


if __name__ == "__main__":
    go_offline()
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m training.recipes.tiny TARGET_DIR")
    print(build(Path(sys.argv[1])))

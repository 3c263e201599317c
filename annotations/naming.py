"""Outputs that name who wrote them: found at planning, because an annotator who reads it is no longer blind (C6)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from annotations.models import Campaign, Case, Completion, Model

NAMES_ITSELF = "names_itself"
# Families, vendors and products that models name when they are asked who they are. A version may follow: "Llama 3.1".
# Words of clinical texts are left out, though they name models too (palm, falcon, command).
FAMILIES = (
    *("ChatGPT", "GPT", "OpenAI", "Claude", "Anthropic", "Gemini", "Gemma", "MedGemma", "DeepMind", "Llama", "Meta AI"),
    *("Mistral", "Mixtral", "Ministral", "BioMistral", "Qwen", "Tongyi", "SmolLM", "Hugging Face", "DeepSeek", "Grok"),
    *("Cohere", "Copilot", "Vicuna", "Alpaca", "Meditron", "OpenBioLLM", "Med-PaLM", "Phi-2", "Phi-3", "Phi-4"),
)
# What an assistant says of itself, whoever made it.
SELF = re.compile(
    r"\bas an? (?:AI|artificial intelligence|(?:large )?language model)\b(?: (?:language model|assistant|model)\b)?"
    r"|\bI(?:['’]m| am) an? (?:AI|artificial intelligence|(?:large )?language model)\b"
    r"|\bAI language model\b",
    re.IGNORECASE,
)
JOINT = r"[\s_\-./]*"


def _stem(name: str) -> str:
    """How a name begins; a text without it needn't be searched by the slow patterns."""
    return re.split(r"[\s_\-./]+", name.strip().casefold())[0]


STEMS = frozenset(name.casefold() for name in FAMILIES)
SELF_WORDS = ("language model", "artificial intelligence", " ai")


@dataclass(frozen=True)
class Named:
    """A completion that says who wrote it, or seems to; ``words`` as it has them."""

    case: Case
    model: Model
    words: tuple[str, ...]


def names_in(text: str, names: Iterable[str]) -> list[str]:
    """Which of ``names`` the text holds as words, whatever the case and whatever joins their parts.

    >>> names_in("I am SmolLM2 135M.", ["smollm2-135m", "lm2"])
    ['smollm2-135m']
    """
    return [name for name in names if name.strip() and _word(name).search(text)]


@lru_cache(maxsize=512)
def _word(name: str) -> re.Pattern[str]:
    parts = [re.escape(part) for part in re.split(r"[\s_\-./]+", name.strip()) if part]
    return re.compile(rf"(?<!\w){JOINT.join(parts) or re.escape(name)}(?!\w)", re.IGNORECASE)


@lru_cache(maxsize=1)
def _families() -> re.Pattern[str]:
    """A family with the version that may hang on to it: "Qwen2.5", "GPT-4o"; "Gemmas" and "smollman" are none."""
    names = "|".join(re.escape(name) for name in sorted(FAMILIES, key=len, reverse=True))
    return re.compile(rf"(?<!\w)({names})(?![^\W\d_])(?:{JOINT}v?\d(?:[\w.]*\w)?)?", re.IGNORECASE)


def telling_words(text: str, *, source: str = "", names: Sequence[str] = ()) -> tuple[str, ...]:
    """The words of ``text`` that tell, or seem to tell, which model wrote it, in their order.

    A name that the ``source`` holds too tells nothing: patients are called Claude, and GPT is a liver enzyme.

    >>> telling_words("As an AI language model, I, Llama 3, can't say.")
    ('As an AI language model', 'Llama 3')
    >>> telling_words("Monsieur Claude has a cough.", source="Claude, 70, coughs.")
    ()
    """
    plain = text.casefold()
    spans = [match.span() for match in SELF.finditer(text)] if any(word in plain for word in SELF_WORDS) else []
    if any(stem in plain for stem in STEMS):
        known = {match[1].casefold() for match in _families().finditer(source)}
        spans += [match.span() for match in _families().finditer(text) if match[1].casefold() not in known]
    for name in names:
        if _stem(name) in plain and name.strip() and not _word(name).search(source):
            spans += [match.span() for match in _word(name).finditer(text)]
    # "Llama 3" inside the model's name "llama-3-8b" is said once.
    outer = [(i, j) for i, j in sorted(set(spans)) if not any(k <= i and j <= m and (k, m) != (i, j) for k, m in spans)]
    words: dict[str, str] = {}
    for i, j in outer:
        words.setdefault(text[i:j].casefold(), text[i:j])
    return tuple(words.values())


def find(
    completions: Iterable[tuple[Case, Completion]], *, models: Sequence[Model], writers: dict[int, Model]
) -> list[Named]:
    """The completions that name a model of the campaign or a family, in the order of cases and models.

    ``writers``: {id: model} of whoever wrote a completion; ``models`` are those whose names are looked for.
    """
    names = list(dict.fromkeys(name for model in models for name in (model.name, model.served_name) if name))
    seen: set[int] = set()
    named = []
    for case, completion in completions:
        if completion.pk in seen:
            continue
        seen.add(completion.pk)
        source = "\n".join(str(text) for text in case.inputs.values())
        if words := telling_words(completion.text, source=source, names=names):
            named.append(Named(case, writers[completion.model_id], words))
    return sorted(named, key=lambda row: (row.case.pk, row.model.name))


def record(named: Iterable[Named]) -> dict[str, list[str]]:
    """As it is kept with a campaign: {model's name: [external_id]}."""
    found: dict[str, list[str]] = {}
    for row in named:
        found.setdefault(row.model.name, []).append(row.case.external_id)
    return {name: list(dict.fromkeys(ids)) for name, ids in sorted(found.items())}


def listed(campaign: Campaign) -> list[Named]:
    """The same for a campaign that was planned, without the words."""
    kept: dict[str, list[str]] = campaign.design.get(NAMES_ITSELF, {})
    models = Model.objects.in_bulk(kept, field_name="name")
    ids = {external_id for found in kept.values() for external_id in found}
    cases = {case.external_id: case for case in campaign.study.cases.filter(external_id__in=ids)}
    return [
        Named(cases[external_id], models[name], ())
        for name, found in kept.items()
        for external_id in found
        if name in models and external_id in cases
    ]

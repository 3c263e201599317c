"""Generation for real: a tiny language model through transformers, and a real HTTP server that misbehaves."""

import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.errors import InvalidTransition, UserError
from annotations import prompts, tasks
from annotations.generation import embedded
from annotations.generation.embedded import Embedded, Weights, batches
from annotations.generation.interface import Answer, Prompt
from annotations.generation.job import completions_for, generator_for, run_generation
from annotations.generation.openai_server import OpenAIServer
from annotations.generation.queue import queue_generation, request_stop
from annotations.generation.sampling import Sampling, complete_sampling, request_seed
from annotations.models import Completion, Generation, Model, Status, Worker
from annotations.parsing import PARSER_VERSION
from annotations.registering import add_adapter, add_base, add_endpoint, register_defaults
from annotations.weights import directory_sha256
from tests.factories import make_cases, make_study

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny model whose answers depend on what it is asked: as built, it would only repeat the last token."""
    import torch
    from transformers import AutoModelForCausalLM

    from training.recipes import tiny as recipe

    path = recipe.build(tmp_path_factory.mktemp("models") / "tiny")
    model = AutoModelForCausalLM.from_pretrained(path)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layers" in name and parameter.dim() == 2:
                parameter.mul_(15)
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    """A LoRA adapter that says something else than its base."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False)
    path = tmp_path_factory.mktemp("models") / "adapter"
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), config).save_pretrained(path)
    return path


@pytest.fixture
def base(tiny):
    return add_base(name="tiny", path=tiny)


def ask(generator, messages, sampling=None, seeds=None):
    """Answers in the order of the prompts."""
    seeds = seeds or [0] * len(messages)
    found = {}

    def deliver(answers):
        found.update({answer.position: answer for answer in answers})
        return True

    list_of = [
        Prompt([{"role": "system", "content": "S"}, {"role": "user", "content": m}], s)
        for m, s in zip(messages, seeds, strict=True)
    ]
    generator.generate(list_of, sampling or Sampling(max_tokens=6), deliver)
    return [found[i] for i in range(len(messages))]


# --- transformers in this process


def test_a_batch_answers_as_each_prompt_would_alone(tiny):
    generator = Embedded(Weights(tiny))
    texts = ["short", "a much longer message " * 8, "something in between, with é", "x"]
    together = [a.text for a in ask(generator, texts)]
    assert together == [ask(generator, [text])[0].text for text in texts]
    assert len(set(together)) == 4


def greedy(path, content, new=6):
    """Token ids as transformers gives them for the template's text, written out here."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path)
    text = f"<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    return tokenizer, model.generate(**ids, max_new_tokens=new, do_sample=False)[
        0, ids["input_ids"].shape[1] :
    ].tolist()


def test_the_chat_template_is_applied_once_and_to_the_end(tiny):
    tokenizer, tokens = greedy(tiny, "hello")
    answer = ask(Embedded(Weights(tiny)), ["hello"])[0]
    assert answer == Answer(0, tokenizer.decode(tokens, skip_special_tokens=True), "length", 6)


def test_sampling_depends_on_the_seed_and_not_on_the_batch(tiny):
    generator, sampling = Embedded(Weights(tiny)), Sampling(temperature=1.0, top_p=0.9, max_tokens=8)
    together = [a.text for a in ask(generator, ["hello"] * 3 + ["else"], sampling, [1, 2, 1, 1])]
    assert together[0] == together[2] == ask(generator, ["hello"], sampling, [1])[0].text
    assert together[0] != together[1]


def test_sampling_draws_from_the_softmax():
    import torch

    from annotations.generation.decoding import SeededSampling

    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    for top_p, expected in [(1.0, [0.5, 0.3, 0.15, 0.05]), (0.7, [0.625, 0.375, 0, 0])]:
        draw = SeededSampling(1.0, top_p, [7], "cpu")
        counts = torch.bincount(torch.stack([draw(None, logits).argmax() for _ in range(4000)]), minlength=4)
        assert (counts / 4000).tolist() == pytest.approx(expected, abs=0.03)


def test_a_prompt_that_does_not_fit_is_skipped_and_never_cut(tiny):
    answers = ask(Embedded(Weights(tiny)), ["fits", "x" * 2040], Sampling(max_tokens=4))
    assert answers[0].skipped == ""
    assert answers[1] == Answer(1, skipped="prompt_too_long")


def test_batches_are_of_like_length_and_within_the_budget():
    lengths = [5, 100, 7, 90, 50]
    made = batches([0, 1, 2, 3, 4], lengths, new=10, limits=(220, 2))
    assert made == [[1, 3], [4, 2], [0]]
    assert batches([1, 3], lengths, new=10, limits=(219, 2)) == [[1], [3]]


def test_base_and_adapter_share_one_loaded_base(tiny, adapter, base, monkeypatch):
    tuned = generator_for(add_adapter(name="tuned", path=adapter, base="tiny"))
    plain = generator_for(base)
    before = [a.text for a in ask(plain, ["hello", "you"])]
    loaded = embedded._loaded
    after = [a.text for a in ask(tuned, ["hello", "you"])]
    assert after != before
    assert [a.text for a in ask(plain, ["hello", "you"])] == before
    assert [a.text for a in ask(tuned, ["hello", "you"])] == after
    assert embedded._loaded is loaded
    assert len(loaded.adapters) == 1


def test_settings_a_model_came_with_are_ignored(tiny, tmp_path):
    import shutil

    copy = shutil.copytree(tiny, tmp_path / "copy")
    published = json.loads((copy / "generation_config.json").read_text())
    published |= {"do_sample": True, "temperature": 2.0, "repetition_penalty": 5.0, "min_new_tokens": 6, "top_k": 3}
    (copy / "generation_config.json").write_text(json.dumps(published))
    assert ask(Embedded(Weights(copy)), ["hello"])[0].text == ask(Embedded(Weights(tiny)), ["hello"])[0].text


def test_every_end_token_of_the_model_ends_an_answer(tiny, tmp_path):
    import shutil

    tokenizer, ids = greedy(tiny, "hello")
    end = next(i for i in range(1, 6) if ids[i] not in ids[:i])
    copy = shutil.copytree(tiny, tmp_path / "copy")
    published = json.loads((copy / "generation_config.json").read_text())
    published["eos_token_id"] = [published["eos_token_id"], ids[end]]
    (copy / "generation_config.json").write_text(json.dumps(published))
    answer = ask(Embedded(Weights(copy)), ["hello", "else"])[0]
    assert answer == Answer(0, tokenizer.decode(ids[:end], skip_special_tokens=True), "stop", end)


@pytest.mark.parametrize("broken", ["missing", "empty", "changed", "config"])
def test_weights_that_are_not_what_was_registered_are_named(tiny, tmp_path, broken):
    import shutil

    path = tmp_path / "model"
    if broken == "empty":
        path.mkdir()
    elif broken != "missing":
        shutil.copytree(tiny, path)
    if broken == "config":
        (path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=str(path)):
        ask(Embedded(Weights(path, "0" * 64 if broken == "changed" else "")), ["hello"])


def test_weights_are_hashed_as_the_recipes_do(tiny):
    from training.recipes.rundir import weights_sha256

    assert directory_sha256(tiny) == weights_sha256(tiny)


# --- a server


class Server(ThreadingHTTPServer):
    """Serves the model "m". ``script`` says what comes before it behaves: statuses, "hang up" or "garbage"."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.bodies, self.headers = [], [], []
        self.owner, self.context, self.lock = "someone", 10_000, threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address):
        pass  # hanging up is meant


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args):
        pass

    def reply(self, status, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.server.headers.append(self.headers.get("Authorization"))
        if self.server.script and self.server.script[0] == "no models":
            self.reply(200, b"<html>hello</html>")
        else:
            self.reply(200, {"data": [{"id": "m", "owned_by": self.server.owner}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            step = self.server.script.pop(0) if self.server.script else 200
        said = body["messages"][-1]["content"]
        if step == "hang up":
            self.connection.close()
        elif step == "garbage":
            self.reply(200, b"<html>")
        elif step != 200:
            self.reply(step, {"error": {"message": f"reason {step}"}})
        elif len(said) > self.server.context:
            self.reply(400, {"object": "error", "message": "This model's maximum context length is 10 tokens."})
        else:
            choice = {"message": {"content": f"echo {said}"}, "finish_reason": "stop"}
            self.reply(200, {"choices": [choice], "usage": {"completion_tokens": 2}})


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_server_gets_the_messages_and_all_parameters(server, settings, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    settings.VLLM_API_KEY, settings.VLLM_URL = "secret", server.url
    answers = ask(OpenAIServer(server.url, "m"), ["a", "b"], Sampling(0.5, 0.9, 7, 3), [11, 12])
    assert [a.text for a in answers] == ["echo a", "echo b"]
    assert answers[0] == Answer(0, "echo a", "stop", 2)
    assert server.headers == ["Bearer secret"]
    body = next(b for b in server.bodies if b["seed"] == 11)
    assert body.pop("messages") == [{"role": "system", "content": "S"}, {"role": "user", "content": "a"}]
    assert body == {"model": "m", "temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "n": 1, "seed": 11}


def test_no_other_server_gets_to_see_the_key(server, settings):
    settings.VLLM_API_KEY, settings.VLLM_URL = "secret", "http://elsewhere.example/v1"
    ask(OpenAIServer(server.url, "m"), ["a"])
    assert server.headers == [None]


def test_vllm_is_told_to_ignore_the_models_own_defaults(server):
    server.owner = "vllm"
    ask(OpenAIServer(server.url, "m"), ["a"])
    assert {"top_k": -1, "repetition_penalty": 1.0}.items() <= server.bodies[0].items()


@pytest.mark.parametrize("script", [[500, 503], [429], ["hang up", 502]])
def test_a_server_that_stumbles_is_asked_again(server, script):
    server.script = script
    assert ask(OpenAIServer(server.url, "m", pauses=(0, 0, 0)), ["a"])[0].text == "echo a"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ([401], "VLLM_API_KEY to its key"),
        ([404], "serves no model called “m”"),
        ([400], "status 400: reason 400."),
        ([500, 500, 500], "status 500 after 3 tries: reason 500."),
        (["hang up"] * 3, "doesn't answer"),
        (["garbage"], "not with a chat completion"),
        (["no models"], "not with a list of models"),
    ],
)
def test_a_server_that_fails_says_what_where_and_what_to_do(server, script, expected):
    server.script = script
    with pytest.raises(UserError) as error:
        ask(OpenAIServer(server.url, "m", pauses=(0, 0)), ["a"])
    assert expected in str(error.value)
    assert server.url in str(error.value)


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9/v1 doesn't answer"):
        ask(OpenAIServer("http://127.0.0.1:9/v1", "m"), ["a"])
    with pytest.raises(UserError, match="doesn't answer"):
        add_endpoint(name="gone", url="http://127.0.0.1:9")


def test_a_prompt_too_long_for_the_server_is_skipped(server):
    server.context = 5
    answers = ask(OpenAIServer(server.url, "m"), ["a", "too long"])
    assert [a.skipped for a in answers] == ["", "prompt_too_long"]


def test_servers_register_under_names_they_serve(server, settings):
    model = add_endpoint(name="mine", url=server.url.removesuffix("/v1"))
    assert (model.url, model.served_name) == (server.url, "m")
    with pytest.raises(UserError, match="It serves: m"):
        add_endpoint(name="other", url=server.url, served_name="x")
    assert register_defaults() == []
    settings.VLLM_URL = server.url
    assert [row.name for row in register_defaults()] == ["mine"]
    model.delete()
    assert [row.name for row in register_defaults()] == ["m"]


# --- the job


def test_a_generation_stores_completions_with_their_lineage(base, lena):
    study = make_study("classification", user_template="Is it? {text}")
    cases = make_cases(study, 3, split="test", reference={})
    row = queue_generation(study=study, model=base, split="test", sampling={"max_tokens": 5}, actor=lena)
    seen = []
    done = run_generation(row.pk, worker="me", progress=lambda *numbers: seen.append(numbers))
    assert (done.status, done.error, done.claimed_by) == (Status.SUCCEEDED, "", "me")
    assert (seen[0], seen[-1]) == ((0, 3), (3, 3))
    for case in cases:
        completion = Completion.objects.get(case=case)
        assert completion.generation == row
        assert completion.sampling == {"temperature": 0.0, "top_p": 1.0, "max_tokens": 5, "seed": 0} == row.sampling
        assert completion.prompt_sha256 == prompts.prompt_sha256(prompts.messages(study, case))
        assert completion.model_sha256 == base.sha256 != ""
        assert (completion.parsed, completion.parser_version, completion.template_version) == (
            {"label": None},
            PARSER_VERSION,
            1,
        )
    assert [change.after for change in done.history()] == ["running", "succeeded"]


def test_a_repeated_job_generates_nothing_twice(base):
    study = make_study()
    make_cases(study, 3)
    first = queue_generation(study=study, model=base, sampling={"max_tokens": 4}, limit=2)
    run_generation(first.pk, worker="me")
    kept = set(Completion.objects.values_list("pk", flat=True))
    second = queue_generation(study=study, model=base, sampling={"max_tokens": 4})
    run_generation(second.pk, worker="me")
    assert Completion.objects.count() == 3
    assert second.completions.count() == 1
    assert kept < set(completions_for(second).values_list("pk", flat=True))
    assert completions_for(second).count() == 3
    other = queue_generation(study=study, model=base, sampling={"max_tokens": 3})
    run_generation(other.pk, worker="me")
    assert other.completions.count() == 3


def test_several_samples_of_a_case_have_seeds_of_their_own(base):
    study = make_study()
    (case,) = make_cases(study, 1)
    row = queue_generation(study=study, model=base, n=3, sampling={"temperature": 1.0, "max_tokens": 8})
    run_generation(row.pk, worker="me")
    assert list(case.completions.order_by("index").values_list("index", flat=True)) == [0, 1, 2]
    assert len({c.text for c in case.completions.all()}) == 3
    assert len({request_seed(0, case.external_id, i) for i in range(3)} | {request_seed(1, case.external_id, 0)}) == 4


def test_cases_without_a_completion_are_listed_with_the_reason(base):
    study = make_study()
    make_cases(study, 1, inputs={"text": "x" * 3000}, external_id="long")
    make_cases(study, 1)
    row = run_generation(queue_generation(study=study, model=base, sampling={"max_tokens": 4}).pk, worker="me")
    assert row.status == Status.SUCCEEDED
    row.refresh_from_db()
    assert row.skipped == {"prompt_too_long": ["long"]}
    assert row.completions.count() == 1


def test_only_one_worker_gets_a_generation(base):
    study = make_study()
    make_cases(study, 1)
    row = queue_generation(study=study, model=base, sampling={"max_tokens": 2})
    run_generation(row.pk, worker="first")
    assert run_generation(row.pk, worker="second").claimed_by == "first"


def test_a_stop_ends_the_job_and_keeps_what_was_written(server):
    study = make_study()
    make_cases(study, 40)
    model = add_endpoint(name="m", url=server.url)
    row = queue_generation(study=study, model=model)

    def stop(done, total):
        if done and Generation.objects.get(pk=row.pk).status == Status.RUNNING:
            request_stop(Generation.objects.get(pk=row.pk), None)

    done = run_generation(row.pk, worker="me", progress=stop)
    assert done.status == Status.CANCELLED
    assert 0 < done.completions.count() < 40


def test_a_failure_keeps_what_was_written_and_a_new_try_goes_on(server):
    from annotations.generation.queue import retry

    study = make_study()
    make_cases(study, 30)
    model = add_endpoint(name="m", url=server.url)
    row = queue_generation(study=study, model=model)
    server.script = [200] * 20 + [400]
    failed = run_generation(row.pk, worker="me")
    assert failed.status == Status.FAILED
    assert "status 400: reason 400." in failed.error
    retry(failed, None)
    assert run_generation(row.pk, worker="me").status == Status.SUCCEEDED
    assert row.completions.count() == 30


def test_mistakes_of_ours_are_logged_and_not_shown(base, monkeypatch, caplog):
    study = make_study()
    make_cases(study, 1)
    row = queue_generation(study=study, model=base)
    monkeypatch.setattr("annotations.parsing.parse", lambda *args: 1 / 0)
    failed = run_generation(row.pk, worker="me")
    assert failed.status == Status.FAILED
    assert failed.error == (
        f"Something went wrong in the program (ZeroDivisionError); the worker's log says more (generation {row.pk})."
    )
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"n": 2}, "would be identical"),
        ({"n": 0}, "from 1 to"),
        ({"split": "dev"}, "no split “dev”"),
        ({"split": "test"}, "no cases in the split “test”"),
        ({"limit": 0}, "at least 1"),
        ({"sampling": {"temperature": 3}}, "temperature is 3"),
        ({"sampling": {"seed": 0.5}}, "whole number"),
        ({"sampling": {"top_k": 5}}, "no sampling parameter “top_k”"),
    ],
)
def test_what_can_not_work_is_refused_before_it_is_queued(base, options, expected):
    study = make_study()
    make_cases(study, 1)
    with pytest.raises(UserError, match=expected):
        queue_generation(study=study, model=base, **options)
    assert not Generation.objects.exists()


def test_a_template_that_does_not_fit_is_refused_before_it_is_queued(base):
    study = make_study(user_template="{question}")
    make_cases(study, 1)
    with pytest.raises(UserError, match="input fields: text"):
        queue_generation(study=study, model=base)


def test_sampling_defaults_depend_on_the_task():
    assert complete_sampling(make_study("classification"), None) == Sampling(max_tokens=24)
    assert complete_sampling(make_study(), {"temperature": 0.7, "seed": None}).as_dict() == {
        "temperature": 0.7,
        "top_p": 1.0,
        "max_tokens": 128,
        "seed": 0,
    }


# --- the sweep


@pytest.fixture
def rung(monkeypatch):
    found = []
    monkeypatch.setattr(tasks.generate, "delay", found.append)
    return found


def a_row(base, **fields):
    study = make_study()
    make_cases(study, 1)
    row = queue_generation(study=study, model=base, ring=False)
    Generation.objects.filter(pk=row.pk).update(**fields)
    row.refresh_from_db()
    return row


def ago(**delta):
    return timezone.now() - timedelta(**delta)


def test_the_sweep_rings_for_queued_rows_while_a_worker_is_free(base, rung):
    row = a_row(base)
    tasks.sweep()
    assert rung == []  # nobody could answer
    Worker.objects.create(name="w", queues="generation", heartbeat_at=timezone.now())
    tasks.sweep()
    assert rung == [row.pk]
    a_row(base, status="running", heartbeat_at=timezone.now(), claimed_by="w")
    tasks.sweep()
    assert rung == [row.pk]  # the one worker is busy


def test_a_job_whose_worker_died_is_queued_again_and_at_last_given_up(base, rung):
    row = a_row(base, status="running", heartbeat_at=ago(seconds=90), claimed_by="gone:1")
    for _ in range(2):
        tasks.sweep()
        row.refresh_from_db()
        assert row.status == Status.QUEUED
        Generation.objects.filter(pk=row.pk).update(status="running", heartbeat_at=ago(seconds=90))
    tasks.sweep()
    row.refresh_from_db()
    assert row.status == Status.FAILED
    assert "died 3 times" in row.error
    assert rung == [row.pk, row.pk]


@pytest.mark.parametrize(
    ("seconds", "claimed_by", "dead"),
    [
        (90, "alive:1", False),
        (90, "gone:1", True),
        (90, "shell:1 --here", False),
        (700, "alive:1", True),
        (30, "gone:1", False),
    ],
)
def test_who_is_dead(base, rung, seconds, claimed_by, dead):
    Worker.objects.create(name="alive:1", queues="training", heartbeat_at=timezone.now())
    row = a_row(base, status="running", heartbeat_at=ago(seconds=seconds), claimed_by=claimed_by)
    tasks.sweep()
    row.refresh_from_db()
    assert (row.status == Status.QUEUED) is dead


def test_a_job_believed_dead_that_comes_back_changes_nothing(base, rung):
    row = a_row(base)
    row.claim("first")
    Generation.objects.filter(pk=row.pk).update(claimed_by="second")
    assert row.beat() is False
    from annotations.generation.job import _end

    assert _end(row, Status.FAILED, error="x").status == Status.RUNNING


def test_embedded_models_may_only_have_names_that_commands_can_say(tiny, adapter, tmp_path):
    with pytest.raises(UserError, match="without spaces or commas"):
        add_base(name="a, b", path=tiny)
    add_base(name="once", path=tiny)
    with pytest.raises(UserError, match="“once” already"):
        add_base(name="once", path=tiny)
    with pytest.raises(UserError, match="is not a directory"):
        add_base(name="two", path=tmp_path / "none")
    with pytest.raises(UserError, match=r"holds no config\.json"):
        add_base(name="two", path=tmp_path)
    with pytest.raises(UserError, match="Base models: once"):
        add_adapter(name="two", path=adapter, base="none")
    assert Model.objects.count() == 1
    assert settings.EMBEDDED_MODEL_NAME


# --- two workers


@pytest.mark.parametrize("after", [Status.FAILED, Status.SUCCEEDED, Status.CANCELLED, Status.INTERRUPTED])
def test_a_worker_believed_dead_does_not_end_what_another_has_now(base, after):
    study = make_study()
    make_cases(study, 1)
    row = queue_generation(study=study, model=base)
    late = Generation.objects.get(pk=row.pk)
    assert late.claim("a")
    for step in (Status.INTERRUPTED, Status.QUEUED):
        row.refresh_from_db()
        row.transition(step)
    assert row.claim("b")
    with pytest.raises(InvalidTransition, match="another worker"):
        late.transition(after)
    row.refresh_from_db()
    assert (row.status, row.claimed_by) == (Status.RUNNING, "b")
    assert row.transition(after).status == after


def test_anybody_may_ask_the_worker_that_has_it_now_to_stop(base):
    study = make_study()
    make_cases(study, 1)
    row = queue_generation(study=study, model=base)
    row.claim("a")
    on_the_page = Generation.objects.get(pk=row.pk)
    Generation.objects.filter(pk=row.pk).update(claimed_by="b")
    assert request_stop(on_the_page, None).status == Status.STOPPING

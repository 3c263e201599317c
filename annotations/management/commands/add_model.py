from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from accounts.errors import UserError
from annotations.commands import LoopCommand
from annotations.models import Model
from annotations.registering import add_adapter, add_base, add_endpoint


class Command(LoopCommand):
    help = "Register a model: weights in a directory, a model on an OpenAI-compatible server, or an adapter on a base."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="its unique name")
        where = parser.add_mutually_exclusive_group(required=True)
        where.add_argument("--path", type=Path, metavar="DIR", help="directory with config.json and *.safetensors")
        where.add_argument("--url", help="the server's address, as http://127.0.0.1:8001/v1")
        where.add_argument("--adapter", type=Path, metavar="DIR", help="directory of a PEFT adapter (needs --base)")
        parser.add_argument("--served-name", default="", help="with --url: the model's name on the server")
        parser.add_argument("--base", default="", metavar="NAME", help="with --adapter: the base model's name")

    def run(self, **options: Any) -> dict[str, Any]:
        model = _add(options)
        return {"model": model.name, "id": model.pk, "kind": model.kind, "sha256": model.sha256, "url": model.url}


def _add(options: dict[str, Any]) -> Model:
    if options["base"] and not options["adapter"]:
        raise UserError("--base goes with --adapter. For a base model, give --path alone.")
    if options["served_name"] and not options["url"]:
        raise UserError("--served-name goes with --url.")
    if options["path"]:
        return add_base(name=options["name"], path=options["path"])
    if options["url"]:
        return add_endpoint(name=options["name"], url=options["url"], served_name=options["served_name"])
    if not options["base"]:
        raise UserError("--adapter needs --base NAME: the registered model that the adapter was trained on.")
    return add_adapter(name=options["name"], path=options["adapter"], base=options["base"])

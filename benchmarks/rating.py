"""How fast is the rating page? Next item and submit on a SQLite file with 2,000 items, as ratios to an empty page.

    python benchmarks/rating.py [--items 2000] [--judgements 300]

Prints the median and the 95th percentile of both requests in milliseconds, and their ratio to the same stack (session,
user, middleware, one SELECT 1) answering a page with nothing on it: the ratio says what rating costs on any machine.
The target is a median under 100 ms on two cores. Half of the items are judged beforehand, because a page that is fast
only while the campaign is empty is not fast.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--judgements", type=int, default=300, help="how many are measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="medprefs-rating-") as folder:
        os.environ |= {
            "DATA_DIR": folder,
            "SECRET_KEY": "benchmark-" + "x" * 50,
            "ALLOWED_HOSTS": "testserver",
            "INSECURE_HTTP": "1",
            "DJANGO_SETTINGS_MODULE": "medprefs.settings",
            "DEBUG": "0",
        }
        os.environ.pop("DATABASE_URL", None)
        sys.path.insert(0, str(ROOT))
        import django

        django.setup()
        measure(options.items, options.judgements)


def measure(items: int, judgements: int) -> None:
    from django.test import Client
    from django.urls import reverse

    campaign, anna = make_campaign(items)
    client = Client(headers={"HX-Request": "true"})
    client.force_login(anna)
    page = reverse("annotations:judge", args=[campaign.public_id])
    times: dict[str, list[float]] = {
        "empty page": [],
        "same item again": [],
        "submit": [],
        "next item": [],
        "submit + next": [],
    }
    for _ in range(judgements):
        times["empty page"].append(timed(client.get, "/benchmark/")[0])
        seconds, response = timed(client.get, page)
        times["same item again"].append(seconds)
        assignment = response.content.decode().split('name="assignment" value="')[1][:36]
        fields = {"assignment": assignment, "choice": "left", "strength": "clearly", "reason": "Shorter."}
        submit, response = timed(client.post, page, fields)
        assert response.status_code == 302, response.status_code
        follow, _ = timed(client.get, response["Location"])
        times["submit"].append(submit)
        times["next item"].append(follow)
        times["submit + next"].append(submit + follow)
    print(f"{items} items, half of them judged before; {judgements} judgements measured")
    base = statistics.median(times["empty page"])
    print(f"{'':16}{'median':>10}{'p95':>10}{'ratio':>8}")
    for name, seconds in times.items():
        median, p95 = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
        print(f"{name:16}{median * 1000:7.1f} ms{p95 * 1000:7.1f} ms{median / base:8.1f}")


def timed(call: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    response = call(*arguments)
    return time.perf_counter() - start, response


def make_campaign(items: int) -> tuple[Any, Any]:
    """Two annotators, overlap 2; the first half of the items is judged by the one and by the other."""
    from django.core.management import call_command
    from django.utils import timezone

    add_empty_page()
    call_command("migrate", verbosity=0)
    from annotations.assignment import LEASE
    from annotations.models import Assignment, Case, CaseImport, Completion, Judgement, Revision
    from annotations.planning import plan_campaign
    from tests.factories import join, make_model, make_study, make_user

    people = [make_user("anna"), make_user("ben")]
    study = make_study()
    for person in people:
        join(study, person, "annotator")
    imported = CaseImport.objects.create(study=study, filename="b", sha256="0" * 64, rows=items)
    cases = Case.objects.bulk_create(
        Case(
            study=study,
            imported=imported,
            external_id=f"c{n}",
            group=f"g{n}",
            split="train",
            inputs={"text": "The patient has had a cough for nine days. " * 40},
        )
        for n in range(items)
    )
    models = [make_model("alpha"), make_model("beta")]
    Completion.objects.bulk_create(
        Completion(
            case=case, model=model, text=f"**Cough**, {model.name} {case.pk}.\n\n- nine days\n" * 8, key="0" * 64
        )
        for case in cases
        for model in models
    )
    campaign = plan_campaign(study=study, kind="comparison", name="Bench", annotators=people, overlap=2, models=models)
    now = timezone.now()
    done = [(item, person) for item in campaign.items.all()[: items // 2] for person in people]
    assignments = Assignment.objects.bulk_create(
        Assignment(
            item=item,
            annotator=person,
            a_is_left=True,
            lease_expires_at=now + LEASE,
            submitted_at=now,
            active_seconds=30,
        )
        for item, person in done
    )
    made = Judgement.objects.bulk_create(
        Judgement(assignment=row, item_id=row.item_id, annotator_id=row.annotator_id) for row in assignments
    )
    Revision.objects.bulk_create(Revision(judgement=row, outcome="tie", created_by_id=row.annotator_id) for row in made)
    return campaign, people[0]


def add_empty_page() -> None:
    """The page to compare with: signed in, one SELECT 1, no content."""
    from django.db import connection
    from django.http import HttpRequest, HttpResponse
    from django.urls import path

    from medprefs import urls

    def empty(request: HttpRequest) -> HttpResponse:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return HttpResponse("<!doctype html><title>x</title>")

    urls.urlpatterns.insert(0, path("benchmark/", empty))


if __name__ == "__main__":
    main()

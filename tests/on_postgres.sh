#!/bin/sh
# The tests whose promises depend on the database or the broker, on real PostgreSQL and Redis.
url=${DATABASE_URL:-postgres://postgres@127.0.0.1:5432/postgres}
broker=${CELERY_BROKER_URL:-redis://127.0.0.1:6379/0}
if ! .venv/bin/python -c "import psycopg; psycopg.connect('$url', connect_timeout=3)" 2>/dev/null; then
    echo "no PostgreSQL answers at $url: these tests did not run"
    exit 0
fi
DATABASE_URL=$url CELERY_BROKER_URL=$broker exec .venv/bin/python -m pytest -m "not real and not browser" \
    tests/test_assignment.py tests/test_qualifying.py tests/test_judging.py tests/test_judging_together.py tests/test_judge_views.py \
    tests/test_importing.py tests/test_accounts.py tests/test_runs.py tests/test_workers.py tests/test_harms.py \
    tests/test_steering.py tests/test_adjudicating.py tests/test_unblinding.py tests/test_board.py

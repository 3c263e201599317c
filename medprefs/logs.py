"""Logs carry ids, never clinical text."""

import logging
from types import TracebackType

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Formatter(logging.Formatter):
    """Tracebacks with the place and the kind of an error, but without its words where a database wrote them.

    PostgreSQL quotes the row that it refused ("Failing row contains …"): that row may be a clinician's text.
    """

    def formatException(self, ei: ExcInfo) -> str:
        text = super().formatException(ei)
        for error in _chain(ei[1]):
            if type(error).__module__.split(".")[0] in ("psycopg", "sqlite3") or _is_django_database_error(error):
                for words in filter(None, (str(error), repr(error))):
                    text = text.replace(words, f"[the database's words are left out; {_code(error)}]")
        return text


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _is_django_database_error(error: BaseException) -> bool:
    from django.db import Error

    return isinstance(error, Error)


def _code(error: BaseException) -> str:
    return f"SQLSTATE {getattr(error, 'sqlstate', None) or getattr(error.__cause__, 'sqlstate', None) or 'unknown'}"

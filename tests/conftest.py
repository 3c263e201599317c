import os
import tempfile

# Before Django reads its settings: everything the tests write lies in one throw-away directory.
os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="medprefs-tests-")
os.environ["SECRET_KEY"] = "tests-only-" + "x" * 50
os.environ["ALLOWED_HOSTS"] = "localhost,127.0.0.1,testserver"
os.environ["INSECURE_HTTP"] = "1"
os.environ.setdefault("DEBUG", "0")

import pytest

from accounts.models import User
from tests.factories import make_user


@pytest.fixture
def lena(db: None) -> User:
    """The lead."""
    return make_user("lena")


@pytest.fixture
def anna(db: None) -> User:
    return make_user("anna")


@pytest.fixture
def ben(db: None) -> User:
    return make_user("ben")


@pytest.fixture
def chidi(db: None) -> User:
    return make_user("chidi")


@pytest.fixture
def adam(db: None) -> User:
    """The site admin."""
    return make_user("adam", is_superuser=True)

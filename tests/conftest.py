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


@pytest.fixture(autouse=True)
def fast_passwords(settings):
    """Hashing that takes its time is for attackers, not for tests."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

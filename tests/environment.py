"""Loaded before Django reads its settings (see addopts): what the tests write lies in one throw-away directory."""

import os
import tempfile

os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="medprefs-tests-")
os.environ["SECRET_KEY"] = "tests-only-" + "x" * 50
os.environ["ALLOWED_HOSTS"] = "localhost,127.0.0.1,testserver"
os.environ["INSECURE_HTTP"] = "1"
os.environ["DEBUG"] = "0"

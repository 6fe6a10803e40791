"""Laws of what is imported meanwhile: it is there, and what is not there is told by its user."""

import importlib.util
import sys

import pytest

from experiments.common.importing import LATER, import_meanwhile


def test_all_that_is_imported_later_exists():
    assert all(importlib.util.find_spec(name) for name in LATER)


def test_modules_are_imported_in_the_thread_whatever_one_of_them_does(tmp_path, monkeypatch):
    (tmp_path / "wrong_one.py").write_text("raise RuntimeError")
    (tmp_path / "right_one.py").write_text("import threading\nthread = threading.current_thread()")
    monkeypatch.syspath_prepend(str(tmp_path))
    thread = import_meanwhile(("not_there", "wrong_one", "right_one"))
    thread.join()
    assert sys.modules["right_one"].thread is thread
    with pytest.raises(RuntimeError):
        importlib.import_module("wrong_one")

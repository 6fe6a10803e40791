"""What a signal does while a run trains; whole runs are interrupted in test_experiments.py."""

import os
import signal
import threading
import time

import pytest

from experiments.common.interruption import Interruption, InterruptionError
from jaxticket.imp import Progress


def progress(done):
    return Progress("ticket", 0, done, 10, {})


def test_a_signal_is_remembered_until_the_next_evaluation_and_handlers_come_back(capfd):
    before = signal.getsignal(signal.SIGTERM)
    with Interruption().caught() as interruption:
        interruption.check(progress(3))
        os.kill(os.getpid(), signal.SIGTERM)
        # What is finished needs no ending.
        interruption.check(progress(10))
        with pytest.raises(InterruptionError, match=r"SIGTERM.*rerun the same command") as caught:
            interruption.check(progress(4))
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert "ending within seconds" in capfd.readouterr().err


def test_a_process_that_reaches_no_evaluation_ends_all_the_same(monkeypatch, capfd):
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    with Interruption(grace=0.01).caught():
        os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + 10
        while not ended and time.monotonic() < deadline:
            time.sleep(0.01)
    assert ended == [130]
    assert "not kept within" in capfd.readouterr().err


def test_elsewhere_than_in_the_main_thread_signals_are_left_alone():
    before, found = signal.getsignal(signal.SIGINT), []

    def work():
        with Interruption().caught():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]

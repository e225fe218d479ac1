import logging
import threading
import warnings

import pytest

from preprocess.quiet import quiet


def test_warnings_are_ignored_inside_and_back_outside() -> None:
    with quiet():
        warnings.warn("Doe^John is no date", UserWarning, stacklevel=1)
    with pytest.raises(UserWarning, match="outside"):
        warnings.warn("outside", UserWarning, stacklevel=1)


def test_overlapping_threads_restore_what_was_before() -> None:
    before = list(warnings.filters)
    first_inside, second_inside = threading.Event(), threading.Event()

    def first() -> None:
        with quiet():
            first_inside.set()
            assert second_inside.wait(10)

    def second() -> None:
        assert first_inside.wait(10)
        with quiet():
            second_inside.set()
            thread.join()
            warnings.warn("still ignored", UserWarning, stacklevel=1)

    thread = threading.Thread(target=first)
    thread.start()
    second()
    assert list(warnings.filters) == before


def test_filters_come_back_after_an_error() -> None:
    before = list(warnings.filters)
    with pytest.raises(ZeroDivisionError), quiet():
        _ = 1 / 0
    assert list(warnings.filters) == before


@pytest.mark.parametrize("library", ["pydicom", "pylibjpeg", "openjpeg.utils"])
def test_library_logs_are_off(library: str, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger(library).critical("Doe^John")
    assert not caplog.records

#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""A test run that is stopped by a signal tears down all its fixtures."""

from __future__ import annotations

from collections.abc import Generator
from collections.abc import Iterator
import contextlib
import os
from typing import Any
from typing import TYPE_CHECKING
from unittest import mock

import psutil  # type: ignore[import-untyped]
import pytest

from tests.lab import signals

if TYPE_CHECKING:
    from tests.lab.in_process import CinderInProcess
    from tests.lab.scratch import ScratchVolumeGroup

# Less than interrupt_timeout in tox.ini.
_SECONDS = 100
_workers: list[Any] = []


def pytest_configure(config: pytest.Config) -> None:
    signals.unwind_when_stopped()
    if hasattr(config, 'workerinput'):
        # An interrupt in the middle of a message to xdist's controller would
        # make all that follow unreadable.
        signals.set_interruptible(False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    with signals.interruptible(True):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    with signals.interruptible(True):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    # pytest skips the finalizers that follow an interrupted one.
    with signals.interruptible(False):
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    """Remember a worker of xdist."""
    _workers.append(node)


def pytest_keyboard_interrupt() -> None:
    """Stop the workers gently; xdist would kill them after ten seconds."""
    if not _workers:
        return
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for worker in _workers:
        # The worker may be waiting for a test.
        worker.shutdown()
        # The channel is closed when the worker's run has ended.
        with contextlib.suppress(EOFError, worker.channel.RemoteError,
                                 worker.channel.TimeoutError):
            worker.channel.waitclose(_SECONDS)


@pytest.fixture(scope='module')
def in_process(group: ScratchVolumeGroup,
               tmp_path_factory: pytest.TempPathFactory
               ) -> Iterator[CinderInProcess]:
    """Cinder's database and locks, for drivers of the module's group."""
    # The import takes seconds, and most tests do not need it.
    from tests.lab.in_process import CinderInProcess

    with (mock.patch.dict(os.environ, group.environment),
          CinderInProcess(tmp_path_factory.mktemp('cinder')) as cinder):
        yield cinder

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

"""Signals that stop a program only after its labs have cleaned up."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import signal
import types

_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class _State:
    """Whether interrupts may be raised, and the name of a pending one."""

    interruptible = True
    pending: str | None = None


def unwind_when_stopped() -> None:
    """Turn the first SIGHUP, SIGINT or SIGTERM into a KeyboardInterrupt.

    The signals that follow are ignored: after Ctrl-C, tox sends SIGINT to a
    program that has already received the terminal's.
    """
    for number in _SIGNALS:
        # Programs run by nohup ignore SIGHUP and should go on to do so.
        # Programs that a script starts in the background ignore SIGINT too,
        # but tox stops a program with it.
        if (number != signal.SIGHUP
                or signal.getsignal(number) != signal.SIG_IGN):
            signal.signal(number, _interrupt)


def set_interruptible(whether: bool) -> None:
    """Set whether interrupts are raised at once, or kept pending."""
    _State.interruptible = whether
    if whether and _State.pending:
        pending, _State.pending = _State.pending, None
        raise KeyboardInterrupt(pending)


@contextlib.contextmanager
def interruptible(whether: bool) -> Iterator[None]:
    """Raise interrupts at once, or keep them pending until the end."""
    before = _State.interruptible
    try:
        set_interruptible(whether)
        yield
    finally:
        set_interruptible(before)


def _interrupt(number: int, frame: types.FrameType | None) -> None:
    # SIG_IGN and not a handler without effect, because the commands that clean
    # up inherit SIG_IGN: a second Ctrl-C does not stop them.
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    name = signal.Signals(number).name
    if not _State.interruptible:
        _State.pending = name
    else:
        raise KeyboardInterrupt(name)

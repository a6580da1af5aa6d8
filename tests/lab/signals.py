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

"""A program that a signal stops unwinds first, so that its labs clean up."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import signal
import types

_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class _State:
    """Whether an interrupt may be raised, and the one that waits for that."""

    interruptible = True
    waiting: str | None = None


def unwind_when_stopped() -> None:
    """Turn the first SIGHUP, SIGINT or SIGTERM into a KeyboardInterrupt.

    The signals that follow it are ignored: on Ctrl-C, tox sends one of its
    own to a program that has already received the terminal's.
    """
    for number in _SIGNALS:
        # A program that nohup started outlives its terminal. SIGINT is
        # ignored in whatever a script starts in the background, but it is how
        # tox stops a program.
        if (number != signal.SIGHUP
                or signal.getsignal(number) != signal.SIG_IGN):
            signal.signal(number, _interrupt)


def set_interruptible(whether: bool) -> None:
    """From now on, raise an interrupt at once, or let it wait."""
    _State.interruptible = whether
    if whether and _State.waiting:
        waiting, _State.waiting = _State.waiting, None
        raise KeyboardInterrupt(waiting)


@contextlib.contextmanager
def interruptible(whether: bool) -> Iterator[None]:
    """Within it, an interrupt is raised at once, or waits for the end."""
    before = _State.interruptible
    try:
        set_interruptible(whether)
        yield
    finally:
        set_interruptible(before)


def _interrupt(number: int, frame: types.FrameType | None) -> None:
    # Ignored, and not just without effect: the commands that clean up inherit
    # that, so that a second Ctrl-C does not stop them.
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    name = signal.Signals(number).name
    if not _State.interruptible:
        _State.waiting = name
    else:
        raise KeyboardInterrupt(name)

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

"""The progress of a run: what is done, what is waited for, and for how long.

On a terminal it is a bar. Elsewhere there is a line for each volume, and one
from time to time while no volume is completed.
"""

from __future__ import annotations

from collections import Counter
from collections import deque
from collections.abc import Callable
from collections.abc import Iterable
import contextlib
import threading
import time
from typing import Any

from rich import console
from rich import progress
from rich import text as rich_text

from osc_volume_adopt import text

# Fewer completed volumes say nothing about the others.
_ENOUGH = 3
# So many of the last ones count, because the load of a cloud changes.
_RECENT = 50
_EXAMPLES = 3


class Pace:
    """How many volumes are completed a second, and how long the rest takes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times = deque([clock()], maxlen=_RECENT + 1)

    def complete(self) -> None:
        """Count one more volume."""
        self._times.append(self._clock())

    @property
    def rate(self) -> float | None:
        """Volumes a second; None before enough are completed.

        It falls while none is completed, so that the estimate rises.
        """
        if len(self._times) <= _ENOUGH:
            return None
        passed = self._clock() - self._times[0]
        return (len(self._times) - 1) / max(passed, 0.001)

    def describe(self, left: int) -> str:
        """Return the rate, and when the rest would be complete.

        :param left: how many volumes are not complete
        """
        if self.rate is None:
            return 'too early for an estimate'
        estimate = f'; about {text.duration(left / self.rate)} left'
        a_minute = 60 * self.rate
        return (f'{a_minute:.{0 if a_minute >= 10 else 1}f} a minute'
                + (estimate if left else ''))


class Progress:
    """A context manager; the bar, if any, is removed at its end.

    :param every: seconds without news after which a line says what is waited
        for, if not on a terminal
    """

    def __init__(self, stderr: Any, every: float = 30) -> None:
        self._stderr = stderr
        self._every = every
        self._cleanup = contextlib.ExitStack()
        # Workers report at the same time.
        self._lock = threading.Lock()
        self._waits: dict[str, tuple[str, float]] = {}
        self._count = 0
        self._unsuccessful: Counter[str] = Counter()
        self._total = 0
        self._pace = Pace()
        self._news = time.monotonic()
        self._bar = _Bar(
            lambda: (self._status(), self._waiting()),
            progress.TextColumn('{task.description}'), progress.BarColumn(),
            progress.MofNCompleteColumn(),
            console=console.Console(file=stderr))

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def say(self, line: str) -> None:
        """Write a line now."""
        with self._lock:
            self._say(line)

    def start(self, doing: str, total: int, parallel: int) -> None:
        """Say what is going to be done, and show the bar, if on a terminal.

        :param doing: like 'adopting'
        :param total: how many volumes will be reported
        """
        self._total = total
        self._pace = Pace()
        at_a_time = min(parallel, total)
        self.say(f"{doing} {text.count(total, 'volume')}"
                 + (f', {at_a_time} at a time' if at_a_time > 1 else ''))
        if not total:
            return
        if self._bar.console.is_terminal:
            self._task = self._bar.add_task(doing, total=total)
            self._cleanup.enter_context(self._bar)
        else:
            ended = threading.Event()
            ticker = threading.Thread(target=self._tick, args=(ended,),
                                      daemon=True)
            ticker.start()
            self._cleanup.callback(ticker.join)
            self._cleanup.callback(ended.set)

    def wait(self, source: str, what: str) -> None:
        """Note why a volume is waiting, like 'Cinder is managing the LV'.

        The time counts from the first note of the same.
        """
        with self._lock:
            before = self._waits.get(source)
            if before is None or before[0] != what:
                self._waits[source] = what, time.monotonic()

    def done(self, source: str, what: str) -> None:
        """Report a success; on a terminal, only the bar shows it."""
        self._complete(source, what, '')

    def failed(self, source: str, what: str) -> None:
        """Report a failure."""
        self._complete(source, what, 'failed')

    def unknown(self, source: str, what: str) -> None:
        """Report that the outcome for a volume is unknown."""
        self._complete(source, what, 'with unknown outcome')

    def _complete(self, source: str, what: str, problem: str) -> None:
        with self._lock:
            self._waits.pop(source, None)
            self._count += 1
            if problem:
                self._unsuccessful[problem] += 1
            self._pace.complete()
            terminal = self._bar.console.is_terminal
            if problem or not terminal:
                self._say(f'[{self._count}/{self._total}] {source}: {what}')
            if terminal:
                self._bar.advance(self._task)

    def _say(self, line: str) -> None:
        self._news = time.monotonic()
        if self._bar.console.is_terminal:
            self._bar.console.print(line, markup=False, highlight=False,
                                    soft_wrap=True)
        else:
            self._stderr.write(f'{line}\n')
            self._stderr.flush()

    def _status(self) -> str:
        # The bar asks for it without the lock.
        parts = [f'{count} {problem}' for problem, count
                 in sorted(dict(self._unsuccessful).items())]
        return '; '.join([*parts, self._pace.describe(
            self._total - self._count)])

    def _tick(self, ended: threading.Event) -> None:
        while not ended.wait(min(1, self._every)):
            with self._lock:
                if time.monotonic() - self._news >= self._every:
                    self._say(f'{self._count} of {self._total} complete; '
                              f'{self._status()}; {self._waiting()}')

    def _waiting(self) -> str:
        """Return what is waited for, equal waits together.

        This needs no lock: the bar has its own when it asks, and a worker that
        has the one of this object may be waiting for that.
        """
        now = time.monotonic()
        by_what: dict[str, list[tuple[float, str]]] = {}
        for source, (what, since) in dict(self._waits).items():
            by_what.setdefault(what, []).append((now - since, source))
        return '; '.join(
            f'waiting {text.duration(max(waits)[0])}: {what} '
            f'({_names(source for _, source in waits)})'
            for what, waits in sorted(by_what.items()))


class _Bar(progress.Progress):
    """A bar with lines of text below, which a function returns."""

    def __init__(self, below: Callable[[], Iterable[str]], *columns: Any,
                 **options: Any) -> None:
        self._below = below
        super().__init__(*columns, **options)

    def get_renderables(self) -> Iterable[console.RenderableType]:
        """Yield the bar and the lines."""
        yield from super().get_renderables()
        for line in self._below():
            yield rich_text.Text(line, overflow='ellipsis', no_wrap=True)


def _names(sources: Iterable[str]) -> str:
    names = sorted(sources)
    more = len(names) - _EXAMPLES
    return ', '.join(names[:_EXAMPLES]) + (f' and {more} more' if more > 0
                                           else '')

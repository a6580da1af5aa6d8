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

"""The progress of a run: a bar on a terminal, elsewhere one line a volume."""

from __future__ import annotations

import contextlib
from typing import Any

from rich import console
from rich import progress


class Progress:
    """A context manager; the bar, if any, is removed at its end."""

    def __init__(self, stderr: Any) -> None:
        self._stderr = stderr
        self._bar = progress.Progress(
            progress.TextColumn('{task.description}'), progress.BarColumn(),
            progress.MofNCompleteColumn(), progress.TimeRemainingColumn(),
            console=console.Console(file=stderr))
        self._cleanup = contextlib.ExitStack()
        self._count = 0
        self._total = 0
        self._done = ''

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def start(self, description: str, total: int, done: str) -> None:
        """Show the bar, if on a terminal.

        :param total: how many volumes will be reported
        :param done: the report of a success, which the bar alone shows
        """
        self._total = total
        self._done = done
        if self._bar.console.is_terminal:
            self._cleanup.enter_context(self._bar)
            self._task = self._bar.add_task(description, total=total)

    def report(self, source: str, text: str) -> None:
        """Show what became of one volume."""
        self._count += 1
        line = f'[{self._count}/{self._total}] {source}: {text}'
        if not self._bar.console.is_terminal:
            self._stderr.write(f'{line}\n')
            self._stderr.flush()
            return
        if text != self._done:
            self._bar.print(line, markup=False, highlight=False)
        self._bar.advance(self._task)

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

"""Terminal: runs commands as in a terminal window, and draws the window."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pyte
from rich import _export_format
from rich import console
from rich import terminal_theme
from rich import text

_LINES = 3000
# The picture needs no font of another site.
_SVG = re.sub(r'@font-face {{.*?}}\n', '', _export_format.CONSOLE_SVG_FORMAT,
              flags=re.DOTALL).replace('Fira Code', 'DejaVu Sans Mono')


class Terminal:
    """What a terminal window shows after the commands that ran in it."""

    def __init__(self, environment: Mapping[str, str], folder: str,
                 width: int = 110) -> None:
        """Open an empty terminal window.

        :param folder: the working directory of the commands
        :param width: in characters
        """
        self._folder = folder
        self._width = width
        self._environment = {**environment, 'COLUMNS': str(width),
                             'TERM': 'xterm-256color'}

    def run(self, line: str, watch: Callable[[list[str], int], None]
            = lambda lines, pid: None) -> tuple[int, Picture, float]:
        """Run a command line.

        :param watch: called with the lines on the screen and the process ID
            whenever the command has printed something
        :returns: the exit status, what it printed, and the seconds it took
        """
        screen = pyte.Screen(self._width, _LINES)
        stream = pyte.ByteStream(screen)
        stream.feed(f'$ {line}\r\n'.encode())
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ,
                    struct.pack('HHHH', 40, self._width, 0, 0))
        started = time.monotonic()
        with subprocess.Popen(
                ['bash', '-c', f'exec {line}'], cwd=self._folder,
                env=self._environment, stdin=theirs, stdout=theirs,
                stderr=theirs, start_new_session=True) as process:
            os.close(theirs)
            while True:
                select.select([ours], [], [])
                try:
                    data = os.read(ours, 65536)
                except OSError:
                    # All processes have closed the terminal.
                    break
                stream.feed(data)
                watch(_lines(screen), process.pid)
        os.close(ours)
        return (process.returncode, Picture(screen),
                time.monotonic() - started)


class Picture:
    """What a screen shows at a moment."""

    def __init__(self, screen: pyte.Screen) -> None:
        self._width = screen.columns
        self._rows = [[screen.buffer[row][column]
                       for column in range(screen.columns)]
                      for row in range(len(_lines(screen)))]

    def __str__(self) -> str:
        return '\n'.join(''.join(cell.data for cell in row).rstrip()
                         for row in self._rows)

    def __add__(self, other: Picture) -> Picture:
        both = object.__new__(Picture)
        both._width = max(self._width, other._width)
        both._rows = [*self._rows, *other._rows]
        return both

    def abridged(self, head: int, tail: int) -> Picture:
        """Return it with its middle replaced by the number of lines."""
        left_out = len(self._rows) - head - tail
        if left_out < 2:
            return self
        short = object.__new__(Picture)
        short._width = self._width
        note = [pyte.screens.Char(letter) for letter
                in f'[{left_out} more lines]']
        short._rows = [*self._rows[:head], note, *self._rows[-tail:]]
        return short

    def svg(self, title: str) -> str:
        """Return it as an SVG image that refers to no other file."""
        drawn = console.Console(record=True, width=self._width,
                                file=io.StringIO(), force_terminal=True)
        for row in self._rows:
            line = text.Text()
            for cell in row:
                line.append(cell.data, _style(cell))
            line.rstrip()
            drawn.print(line, no_wrap=True, crop=True)
        return drawn.export_svg(title=title, code_format=_SVG,
                                theme=terminal_theme.DIMMED_MONOKAI)


def _lines(screen: pyte.Screen) -> list[str]:
    # Only the lines that were printed, because reading all of them takes long.
    lines = [''.join(screen.buffer[row][column].data
                     for column in range(screen.columns)).rstrip()
             for row in range(max(screen.buffer, default=-1) + 1)]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _style(cell: pyte.screens.Char) -> str:
    words = ['bold'] if cell.bold else []
    if cell.fg != 'default':
        words.append(f'#{cell.fg}' if re.fullmatch('[0-9a-f]{6}', cell.fg)
                     else {'brown': 'yellow'}.get(
                         cell.fg, cell.fg.replace('bright', 'bright_')))
    return ' '.join(words)

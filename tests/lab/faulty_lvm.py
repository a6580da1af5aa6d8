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

"""FaultyLvm: LVM's commands, one of which goes wrong."""

from __future__ import annotations

from collections.abc import Iterable
import os
import pathlib
import shlex
import shutil

from tests.lab import polling

_COMMANDS = ('lvm', 'lvs', 'lvdisplay', 'lvchange', 'lvrename', 'lvremove',
             'lvcreate', 'lvextend')

# What a command does in place of its work, in bash; "$@" is the real command.
# A fault of ONCE affects one command, and one of FROM_NOW_ON all that follow
# as well.
ONCE = {
    'does its work': 'exec "$@"',
    'fails before its work': 'exit 5',
    'fails after its work': '"$@"; exit 5',
    'crashes before its work': 'exit 139',
    'crashes after its work': '"$@"; exit 139',
    'hangs before its work': 'exec sleep 20',
    'hangs after its work': '"$@"; exec sleep 20',
    'succeeds without its work': 'exit 0',
    'prints garbage': '"$@" >/dev/null; echo "} garbage {"',
    'prints half a report': '"$@" | head --bytes 300',
    'prints a warning': 'echo "WARNING: on stdout"; exec "$@"',
    'prints invalid UTF-8': '"$@"; printf "\\xff\\xfe"',
    'prints localised numbers':
        '"$@" | sed -E \'s/"([0-9]+)([0-9]{2})"/"\\1,\\2"/g\'',
    'kills cinder-volume before its work': 'kill -9 $PPID; sleep 1',
    'kills cinder-volume after its work': '"$@"; kill -9 $PPID; sleep 1',
    'follows a rename': 'lvrename -q $VG data1 other; exec "$@"',
    'follows a replacement':
        'lvrename -q $VG data1 other && lvcreate -qq -L 8m -n data1 $VG; '
        'exec "$@"',
    'follows the creation of the new name':
        'lvcreate -qq -L 8m -n $NEW $VG; exec "$@"',
}
FROM_NOW_ON = {
    'fails from now on': 'exit 5',
    'fails from now on, after its work': '"$@"; exit 5',
    'crashes from now on': 'exit 139',
}
FAULTS = ONCE | FROM_NOW_ON
# The command waits, so that a test can do something meanwhile.
_HALT = '; touch halted; until [ -e go ]; do sleep 0.05; done; '
HALTS = {'halts before its work': f'true{_HALT}exec "$@"',
         'halts after its work': f'"$@"{_HALT}'}
# In an unmanage no LV is named data1. The driver does not check whether an
# unmanage had its effect, because nothing but tags can be left.
OF_UNMANAGE = [fault for fault in FAULTS if not fault.startswith('follows')
               and fault != 'succeeds without its work']

# The commands of a manage and of an unmanage, in order.
MANAGE = ('report', 'lvchange', 'lvrename', 'report again')
UNMANAGE = ('report', 'lvrename', 'lvchange')
MANAGE_IN_TREE = ('lvs', 'lvrename')


class FaultyLvm:
    """Scripts in place of LVM's commands, of which one goes wrong.

    :ivar path: a PATH in which these scripts come first
    """

    def __init__(self, folder: pathlib.Path, vg: str,
                 path: str | None = None, others: Iterable[str] = ()) -> None:
        """Write the scripts.

        :param path: the PATH in which the real commands are, if it is another
            than this process's
        :param others: commands that are not LVM's
        """
        path = path or os.environ['PATH']
        self._folder = folder
        self.path = f'{folder}:{path}'
        for command in (*_COMMANDS, *others):
            script = folder / command
            script.write_text(
                '#!/bin/bash\n'
                f'set -- {shutil.which(command, path=path)} "$@"\n'
                f'export PATH={path} VG={vg}\n'
                # Cinder asks once in the life of a service.
                '[ "$2" != version ] || exec "$@"\n'
                f'cd {folder}; echo "${{*@Q}}" >>calls\n'
                'word=$(cat word); [[ "$*" == *$word* ]] || exec "$@"\n'
                'calls=$(grep -cF -- "$word" calls)\n'
                '[ $calls -ge $(cat step) ] || exec "$@"\n'
                'source ./fault\n')
            script.chmod(0o755)
        self.mend()

    def break_at(self, step: int, fault: str, new_name: str,
                 word: str = '') -> None:
        """Make a command go wrong.

        :param step: its number, counted from now
        :param new_name: the name that the manage gives the LV
        :param word: of the command; those without it are not counted
        """
        once = '[ $calls = $(cat step) ] || exec "$@"\n'
        self._write(step, f'NEW={shlex.quote(new_name)}\n'
                    + ('' if fault in FROM_NOW_ON else once)
                    + (FAULTS | HALTS)[fault], word)

    @property
    def calls(self) -> list[list[str]]:
        """The commands since break_at, with their arguments."""
        return [shlex.split(line) for line in
                self._folder.joinpath('calls').read_text().splitlines()]

    @property
    def halted(self) -> bool:
        """Whether the command has halted."""
        return self._folder.joinpath('halted').exists()

    def wait_until_halted(self) -> None:
        """Return when the command has halted."""
        polling.wait_for('an LVM command to halt', lambda: self.halted)

    def resume(self) -> None:
        """Let the halted command continue, and no other one go wrong."""
        self.mend()
        self._folder.joinpath('go').touch()

    def mend(self) -> None:
        """Let all commands do their work again."""
        self._write(0, 'exec "$@"')

    def _write(self, step: int, fault: str, word: str = '') -> None:
        for left in ('halted', 'go'):
            self._folder.joinpath(left).unlink(missing_ok=True)
        self._folder.joinpath('step').write_text(str(step))
        self._folder.joinpath('fault').write_text(fault + '\n')
        self._folder.joinpath('word').write_text(word)
        self._folder.joinpath('calls').write_text('')

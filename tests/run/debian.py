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

"""Runs commands on another Debian release, in a container.

`python -m tests.run.debian RELEASE FOLDER COMMAND...`, as root, from the top
of the checkout. Each COMMAND is a shell line, and runs as root in a clone of
the checkout's last commit. Nothing else is installed: the commands install
what they need.
"""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import sys

from tests.lab import signals
from tests.run import container

_CLONE = '/root/cinder_lvm_manage'


def main(release: str, folder: str, *commands: str) -> int:
    """Run the commands; return 0, or 1 if one has failed."""
    try:
        container.check_host()
        with container.timed('Everything'):
            failed = _run(release, pathlib.Path(folder).absolute(), commands)
    except (RuntimeError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    for command in failed:
        print(f'Failed: {command}', file=sys.stderr)
    return 1 if failed else 0


def _run(release: str, folder: pathlib.Path,
         commands: tuple[str, ...]) -> list[str]:
    """Run all commands in one container; return those that failed."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / 'container.log'
    bare = folder / 'checkout'
    container.clone_checkout(bare)
    with contextlib.ExitStack() as stack:
        with container.timed(f'a root file system with Debian {release}'):
            root = stack.enter_context(container.unpacked(release, folder))
        machine = stack.enter_context(
            container.booted(root, log, {bare: '/checkout'}))
        machine.output('git', 'clone', '--quiet', '/checkout', _CLONE)
        print(machine.output('sh', '-c',
                             '. /etc/os-release; echo "$PRETTY_NAME"; '
                             'python3 --version'), end='', flush=True)
        failed = []
        for command in commands:
            print(f'# {command}', flush=True)
            with container.timed(command):
                done = subprocess.run(
                    machine.command('sh', '-c', command, folder=_CLONE),
                    stdin=subprocess.DEVNULL, check=False)
            if done.returncode:
                failed.append(command)
        print(machine.output('sh', '-c', 'lvm version 2>/dev/null || true'),
              end='')
        container.print_disk_use(root)
    return failed


if __name__ == '__main__':
    signals.unwind_when_stopped()
    sys.exit(main(*sys.argv[1:]))

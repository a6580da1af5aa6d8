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

"""Runs a command with the LVM of another Debian release first in PATH.

`python -m tests.run.other_lvm RELEASE FOLDER COMMAND...`, from the top of the
checkout. The release's packages are unpacked into the folder once.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

from tests.run import debian_packages

_PACKAGES = ('lvm2', 'thin-provisioning-tools')

# The release's programs need its C library, which needs its own loader. LVM
# runs the command that it is named as.
_WRAPPER = """#!/bin/sh
exec {loader} --library-path {libraries} --argv0 "${{0##*/}}" {program} "$@"
"""


def main(release: str, folder: str, *command: str) -> None:
    """Become the command; does not return.

    :param release: Debian's name for it, such as trixie
    """
    root = pathlib.Path(folder).resolve() / release
    if not root.exists():
        _unpack(release, root)
    os.environ['PATH'] = f"{root / 'wrappers'}:{os.environ['PATH']}"
    version = subprocess.check_output(['lvm', 'version'], text=True)
    print(version.splitlines()[0].strip(), flush=True)
    os.execvp(command[0], command)  # noqa: S606


def _unpack(release: str, root: pathlib.Path) -> None:
    unfinished = root.with_name(f'{root.name}.unfinished')
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    debian_packages.unpack_release(release, unfinished, 'extract', _PACKAGES)
    _write_wrappers(unfinished, root)
    unfinished.rename(root)


def _write_wrappers(unpacked: pathlib.Path, root: pathlib.Path) -> None:
    """Write wrappers for the time when `unpacked` has been moved to root."""
    loader, = unpacked.glob('usr/lib/*/ld-linux-*.so.*')
    loader = root / loader.relative_to(unpacked)
    wrappers = unpacked / 'wrappers'
    wrappers.mkdir()
    wrapper = wrappers / 'lvm'
    wrapper.write_text(_WRAPPER.format(
        loader=loader, libraries=loader.parent,
        program=root / 'usr' / 'sbin' / 'lvm'))
    wrapper.chmod(0o755)
    for program in unpacked.glob('usr/sbin/*'):
        if program.is_symlink() and program.readlink().name == 'lvm':
            (wrappers / program.name).symlink_to('lvm')


if __name__ == '__main__':
    main(*sys.argv[1:])

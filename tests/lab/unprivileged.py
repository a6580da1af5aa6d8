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

"""Starts the lab's Cinder as a user without rights, as packages install it.

`unshare --mount python -m tests.lab.unprivileged CINDER_CONF LVM_CONF MODULE`,
as root. In a mount namespace of its own it makes this machine one where Cinder
is installed: with a user cinder, the configuration in /etc/cinder, beside it
the rootwrap filters as Cinder's wheel brings them, and the line in sudoers.
Then it becomes that user, and runs the module with that cinder.conf.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile

from tests.lab.service_conf import ETC
from tests.lab.service_conf import SCRIPTS

# Debian's number for this user.
_ID = 64061
_ROOTWRAP = '/usr/local/bin/cinder-rootwrap'
# Where Cinder's filters let a daemon have its socket.
_SOCKETS = '/tmp'  # noqa: S108


def main(cinder_conf: str, lvm_conf: str, module: str) -> None:
    """Become the module; does not return."""
    _run('mount', '--make-rprivate', '/')
    layers = pathlib.Path('/mnt')
    _run('mount', '-t', 'tmpfs', 'tmpfs', str(layers))
    _lay_over(pathlib.Path('/etc'), layers)
    _lay_over(pathlib.Path('/usr/local/bin'), layers)
    if tempfile.gettempdir() != _SOCKETS:
        # What a guest kernel has of this machine's files can be no socket.
        os.environ['TMPDIR'] = _SOCKETS
        _lay_over(pathlib.Path(_SOCKETS), layers)
    # The checkout may be below the folder for sockets: after that.
    for path in (sys.base_prefix, sys.prefix, os.getcwd(), cinder_conf):
        _let_others_pass(pathlib.Path(path).resolve(), layers)
    _install(cinder_conf, lvm_conf)
    for root, folders, files in os.walk(os.path.dirname(cinder_conf)):
        for name in ('.', *folders, *files):
            os.chown(os.path.join(root, name), _ID, _ID)
    os.execvp('setpriv', [  # noqa: S606
        'setpriv', '--reuid', 'cinder', '--regid', 'cinder', '--clear-groups',
        # Another user's process loses the one that it was started with.
        '--pdeathsig', 'TERM',
        sys.executable, '-m', module, '/etc/cinder/cinder.conf'])


def _install(cinder_conf: str, lvm_conf: str) -> None:
    for name, line in {'passwd': f'cinder:x:{_ID}:{_ID}::/:/bin/false',
                       'group': f'cinder:x:{_ID}:', 'shadow': 'cinder:*:::::::'
                       }.items():
        with open(f'/etc/{name}', 'a') as file:
            file.write(f'{line}\n')
    sudoers = pathlib.Path('/etc/sudoers.d/cinder')
    sudoers.write_text('cinder ALL = (root) NOPASSWD: '
                       f'{_ROOTWRAP} /etc/cinder/rootwrap.conf *\n')
    sudoers.chmod(0o440)
    shutil.copytree(ETC / 'cinder', '/etc/cinder')
    shutil.copy(cinder_conf, '/etc/cinder/cinder.conf')
    # Not in /etc/cinder: Cinder's lvremove does not look there.
    conf = pathlib.Path(lvm_conf).read_text()
    if 'DM_DISABLE_UDEV' in os.environ:
        # sudo does not hand it on.
        conf = conf.replace('activation {', 'activation {\n    udev_sync = 0'
                                            '\n    udev_rules = 0')
    pathlib.Path('/etc/lvm/lvm.conf').write_text(conf)
    for script in ('cinder-rootwrap', 'privsep-helper'):
        os.symlink(SCRIPTS / script, f'/usr/local/bin/{script}')


def _lay_over(folder: pathlib.Path, layers: pathlib.Path) -> None:
    """What is written to the folder stays here, and others may pass it."""
    layer = layers / str(folder).replace('/', '_')
    for name in ('upper', 'work'):
        (layer / name).mkdir(parents=True)
    (layer / 'upper').chmod(stat.S_IMODE(folder.stat().st_mode) | 0o755)
    _run('mount', '-t', 'overlay', 'overlay', '-o',
         f'lowerdir={folder},upperdir={layer}/upper,workdir={layer}/work',
         str(folder))


def _let_others_pass(path: pathlib.Path, layers: pathlib.Path) -> None:
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            _lay_over(folder, layers)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == '__main__':
    main(*sys.argv[1:])

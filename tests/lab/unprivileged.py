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

"""Runs a module as the user cinder, with the rights that packages give it.

`unshare --mount python -m tests.lab.unprivileged CINDER_CONF LVM_CONF MODULE`,
as root; deployment.py runs it. In its own mount namespace it installs Cinder
as packages do: the user cinder, the configuration and the rootwrap filters of
Cinder's wheel in /etc/cinder, and the line in sudoers. Then it becomes that
user, and runs the module with that cinder.conf.
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

# The uid and gid that Debian's package gives the user cinder.
_ID = 64061
_ROOTWRAP = '/usr/local/bin/cinder-rootwrap'
# The only folder in which Cinder's filters allow a daemon's socket.
_SOCKETS = '/tmp'  # noqa: S108


def main(cinder_conf: str, lvm_conf: str, module: str) -> None:
    """Replace this process by the module's; does not return."""
    _run('mount', '--make-rprivate', '/')
    layers = pathlib.Path('/mnt')
    _run('mount', '-t', 'tmpfs', 'tmpfs', str(layers))
    _mount_overlay(pathlib.Path('/etc'), layers)
    _mount_overlay(pathlib.Path('/usr/local/bin'), layers)
    if tempfile.gettempdir() != _SOCKETS:
        # A guest kernel cannot create a socket in this machine's file system.
        os.environ['TMPDIR'] = _SOCKETS
        _mount_overlay(pathlib.Path(_SOCKETS), layers)
    # After the overlay on the folder for sockets: the checkout may be in it.
    for path in (sys.base_prefix, sys.prefix, os.getcwd(), cinder_conf):
        _let_all_enter(pathlib.Path(path).resolve(), layers)
    _install(cinder_conf, lvm_conf)
    for root, folders, files in os.walk(os.path.dirname(cinder_conf)):
        for name in ('.', *folders, *files):
            os.chown(os.path.join(root, name), _ID, _ID)
    os.execvp('setpriv', [  # noqa: S606
        'setpriv', '--reuid', 'cinder', '--regid', 'cinder', '--clear-groups',
        # A change of the user clears the signal that processes.py has set.
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
    # In /etc/lvm, because Cinder's lvremove does not use lvm_conf_file.
    conf = pathlib.Path(lvm_conf).read_text()
    if 'DM_DISABLE_UDEV' in os.environ:
        # sudo does not pass the variable on.
        conf = conf.replace('activation {', 'activation {\n    udev_sync = 0'
                                            '\n    udev_rules = 0')
    pathlib.Path('/etc/lvm/lvm.conf').write_text(conf)
    for script in ('cinder-rootwrap', 'privsep-helper'):
        os.symlink(SCRIPTS / script, f'/usr/local/bin/{script}')


def _mount_overlay(folder: pathlib.Path, layers: pathlib.Path) -> None:
    """Mount an overlay that hides writes, with a folder that all can enter."""
    layer = layers / str(folder).replace('/', '_')
    for name in ('upper', 'work'):
        (layer / name).mkdir(parents=True)
    (layer / 'upper').chmod(stat.S_IMODE(folder.stat().st_mode) | 0o755)
    _run('mount', '-t', 'overlay', 'overlay', '-o',
         f'lowerdir={folder},upperdir={layer}/upper,workdir={layer}/work',
         str(folder))


def _let_all_enter(path: pathlib.Path, layers: pathlib.Path) -> None:
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            _mount_overlay(folder, layers)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == '__main__':
    main(*sys.argv[1:])

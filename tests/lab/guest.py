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

"""Runs pytest where there is a device-mapper: here, or in a guest kernel.

`python -m tests.lab.guest PYTEST-ARGUMENTS`, as root, from the top of the
checkout. The guest is a User-Mode Linux, an ordinary process with this
machine's own files for a root file system, so that the same checkout and
Python are there. There is no udevd in it: LVM makes the device nodes itself.
"""

from __future__ import annotations

import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

_KERNEL = 'linux.uml'
_SECONDS = 1800
_MODULES = ('dm-mod', 'dm-snapshot', 'dm-thin-pool', 'loop')

_INIT = """#!/bin/bash
export HOME={home} PATH={path} LC_ALL=C DM_DISABLE_UDEV=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs tmpfs /run
mkdir -p /run/lock/lvm /run/lvm /run/tmp /run/root/lib/modules
cp -r /usr/lib/uml/modules/$(uname -r) /run/root/lib/modules
for module in {modules}; do modprobe --dirname /run/root $module; done
ip link set lo up
cd {checkout}
TMPDIR=/run/tmp {command}
echo $? > {status}
halt -f -p
"""


def main(arguments: list[str]) -> int:
    """The exit status of pytest; 1 if the guest did not come to its end."""
    command = [sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider',
               *arguments]
    if _has_device_mapper():
        print('device-mapper: that of this host', flush=True)
        return subprocess.run(command, check=False).returncode
    if not shutil.which(_KERNEL):
        print('This host has no device-mapper, and no guest kernel that has '
              'one: apt-get install user-mode-linux', file=sys.stderr)
        return 1
    print('device-mapper: that of a User-Mode Linux guest', flush=True)
    with tempfile.TemporaryDirectory() as folder:
        return _in_guest(command, pathlib.Path(folder))


def _has_device_mapper() -> bool:
    # The node may be there without the kernel's part.
    try:
        os.close(os.open('/dev/mapper/control', os.O_RDWR))
    except OSError:
        return False
    return True


def _in_guest(command: list[str], folder: pathlib.Path) -> int:
    status = folder / 'status'
    init = folder / 'init'
    init.write_text(_INIT.format(
        home=folder, path=os.environ['PATH'], modules=' '.join(_MODULES),
        checkout=shlex.quote(os.getcwd()), command=shlex.join(command),
        status=status))
    init.chmod(0o755)
    # The guest is killed if it takes longer, and nothing but the guest.
    subprocess.run(
        [_KERNEL, 'mem=3G', f'uml_dir={folder}', 'root=/dev/root',
         'rootfstype=hostfs', 'rootflags=/', 'rw', f'init={init}', 'quiet',
         'con=null', 'con0=fd:0,fd:1'],
        stdin=subprocess.DEVNULL, timeout=_SECONDS, check=False)
    if not status.exists():
        print('The guest ended before pytest did.', file=sys.stderr)
        return 1
    return int(status.read_text())


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

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


"""Runs a Python module where there is a device-mapper: here, or in a guest.

`python -m tests.run.guest MODULE ARGUMENTS`, as root, from the top of the
checkout. The guest is a User-Mode Linux, an ordinary process with this
machine's own files for a root file system, so that the same checkout and
Python are there, and what is written to the checkout is brought back.

There is no udevd in it: LVM makes the device nodes itself then, at once, where
with udevd each activation would wait for its rules; virtual_machine.py has a
guest with udevd.

A process in it is sure of 256 MiB only: each page that does not lie in memory
beside the one before it takes one of the mappings that this machine's
vm.max_map_count, 65530, lets a process have. The guest kernel kills the one
that needs more, and prints "UML ran out of memory on the host side".
"""

from __future__ import annotations

import os
import pathlib
import shlex
import shutil
import subprocess
import sys

from tests.lab import processes
from tests.lab import signals
from tests.run import machine

_KERNEL = 'linux.uml'
_COMPILER = 'gcc'
_PACKAGES = {_KERNEL: 'user-mode-linux', _COMPILER: 'gcc libc6-dev'}
_HERE = pathlib.Path(__file__).parent
# modprobe wants a folder lib/modules below the one it is given.
_MODULE_ROOT = '/run/root'
_COPY_MODULES = f"""
export DM_DISABLE_UDEV=1 PYTHONPATH={shlex.quote(str(_HERE / 'vfork'))}
mkdir -p {_MODULE_ROOT}/lib/modules
cp -r /usr/lib/uml/modules/$(uname -r) {_MODULE_ROOT}/lib/modules
"""


def main(module: str, *arguments: str) -> int:
    """The exit status of the module; 1 if the guest ended before it."""
    command = [sys.executable, '-m', module, *arguments]
    if _has_device_mapper():
        print('device-mapper: that of this host', flush=True)
        return processes.run(*command)
    missing = [packages for command, packages in _PACKAGES.items()
               if not shutil.which(command)]
    if missing:
        print('This host has no device-mapper, and not what a guest that has '
              f"one takes: apt-get install {' '.join(missing)}",
              file=sys.stderr)
        return 1
    print('device-mapper: that of a User-Mode Linux guest', flush=True)
    status = machine.run(
        machine.System(boot=_boot, disk='/dev/ubda', module_root=_MODULE_ROOT,
                       before_modules=_COPY_MODULES), command)
    if status is None:
        print('The guest ended before its work did.', file=sys.stderr)
        return 1
    return status


def _has_device_mapper() -> bool:
    # The node may be there without the kernel's part.
    try:
        os.close(os.open('/dev/mapper/control', os.O_RDWR))
    except OSError:
        return False
    return True


def _boot(folder: pathlib.Path) -> subprocess.Popen[bytes]:
    preloaded = folder / 'xstate.so'
    subprocess.run([_COMPILER, '-Wall', '-Werror', '-shared', '-fPIC', '-o',
                    preloaded, _HERE / 'xstate.c'], check=True)
    return subprocess.Popen(
        [_KERNEL, 'mem=4G', f'uml_dir={folder}', 'root=/dev/root',
         'rootfstype=hostfs', 'rootflags=/', 'rw', f"init={folder / 'init'}",
         'quiet', 'con=null', 'con0=fd:0,fd:1', f"ubda={folder / 'disk'}"],
        stdin=subprocess.DEVNULL, start_new_session=True,
        env=os.environ | {'LD_PRELOAD': str(preloaded)})


if __name__ == '__main__':
    signals.unwind_when_stopped()
    sys.exit(main(*sys.argv[1:]))

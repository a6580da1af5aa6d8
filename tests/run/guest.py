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

"""Runs a Python module with device-mapper: on this host, or in a guest.

`python -m tests.run.guest MODULE ARGUMENTS`, as root, from the top of the
checkout. The guest is a User-Mode Linux, which is an ordinary process. Its
root file system is this machine's, so that it has the same checkout and
Python, and what it writes to the checkout stays there.

The guest has no udevd. LVM then makes the device nodes itself, and does not
wait for udev's rules at each activation. virtual_machine.py has udevd.

A process in the guest may fail if it uses more than 256 MiB. Each page that is
not contiguous in memory with the previous one takes a mapping, and
vm.max_map_count, 65530, limits the number of mappings. The guest kernel kills
a process that needs more, and prints "UML ran out of memory on the host side".
"""

from __future__ import annotations

import os
import pathlib
import shlex
import shutil
import subprocess
import sys
from typing import Any

from tests.lab import processes
from tests.lab import signals
from tests.run import machine

_KERNEL = 'linux.uml'
_COMPILER = 'gcc'
_PACKAGES = {_KERNEL: 'user-mode-linux', _COMPILER: 'gcc libc6-dev'}
_HERE = pathlib.Path(__file__).parent
# modprobe looks for lib/modules in it.
_MODULE_ROOT = '/run/root'
_COPY_MODULES = f"""
export DM_DISABLE_UDEV=1 PYTHONPATH={shlex.quote(str(_HERE / 'vfork'))}
mkdir -p {_MODULE_ROOT}/lib/modules
cp -r /usr/lib/uml/modules/$(uname -r) {_MODULE_ROOT}/lib/modules
"""


def main(module: str, *arguments: str) -> int:
    """Run the module; return its exit status, or 1 if the guest failed."""
    command = [sys.executable, '-m', module, *arguments]
    if _has_device_mapper():
        print('Using the device-mapper of this host', flush=True)
        return processes.run(*command)
    missing = [packages for command, packages in _PACKAGES.items()
               if not shutil.which(command)]
    if missing:
        print('This host has no device-mapper, and lacks packages for a guest '
              f"that has one: apt-get install {' '.join(missing)}",
              file=sys.stderr)
        return 1
    print('Using the device-mapper of a User-Mode Linux guest', flush=True)
    status = machine.run(SYSTEM, command)
    if status is None:
        print('The guest ended before the module did.', file=sys.stderr)
        return 1
    return status


def _has_device_mapper() -> bool:
    # The node may exist although the kernel has no device-mapper.
    try:
        os.close(os.open('/dev/mapper/control', os.O_RDWR))
    except OSError:
        return False
    return True


def boot(folder: pathlib.Path, *options: str,
         **process: Any) -> subprocess.Popen[bytes]:
    """Boot a guest whose PID 1 is the script `init` in the folder.

    :param options: of the guest kernel
    :param process: options of Popen
    """
    preloaded = folder / 'xstate.so'
    subprocess.run([_COMPILER, '-Wall', '-Werror', '-shared', '-fPIC', '-o',
                    preloaded, _HERE / 'xstate.c'], check=True)
    return subprocess.Popen(
        [_KERNEL, f'uml_dir={folder}', 'root=/dev/root', 'rootfstype=hostfs',
         'rootflags=/', 'rw', f"init={folder / 'init'}", 'quiet', 'con=null',
         'con0=fd:0,fd:1', *options],
        stdin=subprocess.DEVNULL, start_new_session=True,
        env=os.environ | {'LD_PRELOAD': str(preloaded)}, **process)


def _boot(folder: pathlib.Path) -> subprocess.Popen[bytes]:
    return boot(folder, 'mem=4G', f"ubda={folder / 'disk'}")


SYSTEM = machine.System(boot=_boot, disk='/dev/ubda', module_root=_MODULE_ROOT,
                        before_modules=_COPY_MODULES)


if __name__ == '__main__':
    signals.unwind_when_stopped()
    sys.exit(main(*sys.argv[1:]))

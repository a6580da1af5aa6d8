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

`python -m tests.lab.guest MODULE ARGUMENTS`, as root, from the top of the
checkout. The guest is a User-Mode Linux, an ordinary process with this
machine's own files for a root file system, so that the same checkout and
Python are there, and what is written to the checkout is brought back.

There is no udevd in it: LVM makes the device nodes itself then, at once, where
with udevd each activation would wait for its rules; what udevd adds, links for
people under /dev/disk, neither Cinder nor these tests read.

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
import signal
import subprocess
import sys
import tempfile

from tests.lab import processes
from tests.lab import signals

_KERNEL = 'linux.uml'
_COMPILER = 'gcc'
_PACKAGES = {_KERNEL: 'user-mode-linux', _COMPILER: 'gcc libc6-dev'}
_XSTATE = pathlib.Path(__file__).with_name('xstate.c')
_SECONDS = 3 * 3600
# Sparse. For all temporary files: a disk of its own is ten times as fast as
# this machine's files are to the guest.
_DISK_BYTES = 64 * 1024 ** 3
_MODULES = ('dm-mod', 'dm-snapshot', 'dm-thin-pool', 'dm-mirror', 'dm-raid',
            'raid1', 'dm-cache', 'dm-cache-smq', 'loop', 'ext4', 'sd_mod',
            'iscsi_tcp', 'overlay', 'nbd', 'target_core_iblock',
            'target_core_file', 'iscsi_target_mod')

# What is written to /etc is the guest's own: iscsiadm writes to /etc/iscsi,
# and /etc/tgt tells tgtd where Cinder writes (with no */ in it, which ends a
# comment there).
_INIT = """#!/bin/bash
export HOME={home} PATH={path} LC_ALL=C DM_DISABLE_UDEV=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs tmpfs /run
mkdir -p /run/lock/lvm /run/lock/iscsi /run/lvm /run/disk
mkdir -p /run/root/lib/modules /run/etc/upper /run/etc/work
cp -r /usr/lib/uml/modules/$(uname -r) /run/root/lib/modules
for module in {modules}; do modprobe --dirname /run/root $module; done
mount -t configfs configfs /sys/kernel/config
mount -t overlay overlay -o \\
    lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work /etc
echo 'include /run/disk/tmp????????/volumes/*' >/etc/tgt/targets.conf
echo InitiatorName=iqn.2026-01.guest:initiator >/etc/iscsi/initiatorname.iscsi
echo >/etc/iscsi/iscsid.conf
mkfs.ext4 -q /dev/ubda
mount /dev/ubda /run/disk
ip link set lo up
tgtd --iscsi portal=127.0.0.1:3260
iscsid
cd {checkout}
export PYTHONPATH={checkout}/tests/lab/vfork
TMPDIR=/run/disk {command}
echo $? > {status}
halt -f -p
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
    disk = folder / 'disk'
    with disk.open('wb') as file:
        file.truncate(_DISK_BYTES)
    preloaded = folder / 'xstate.so'
    subprocess.run([_COMPILER, '-Wall', '-Werror', '-shared', '-fPIC', '-o',
                    preloaded, _XSTATE], check=True)
    guest = subprocess.Popen(
        [_KERNEL, 'mem=4G', f'uml_dir={folder}', 'root=/dev/root',
         'rootfstype=hostfs', 'rootflags=/', 'rw', f'init={init}', 'quiet',
         'con=null', 'con0=fd:0,fd:1', f'ubda={disk}'],
        stdin=subprocess.DEVNULL, start_new_session=True,
        env=os.environ | {'LD_PRELOAD': str(preloaded)})
    try:
        guest.wait(_SECONDS)
    finally:
        # The kernel and the processes that it runs the guest's in.
        if guest.poll() is None:
            os.killpg(guest.pid, signal.SIGKILL)
            guest.wait()
    if not status.exists():
        print('The guest ended before its work did.', file=sys.stderr)
        return 1
    return int(status.read_text())


if __name__ == '__main__':
    signals.unwind_when_stopped()
    sys.exit(main(*sys.argv[1:]))

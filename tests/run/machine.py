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

"""Runs a command in a guest kernel on this machine's root file system.

guest.py and virtual_machine.py choose the kernel and boot it. PID 1 of the
guest is a script that mounts file systems, loads modules, starts the iSCSI
daemons, runs the command and powers the guest off.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import os
import pathlib
import shlex
import signal
import subprocess
import tempfile

_SECONDS = 3 * 3600
# The size of a sparse disk for all temporary files. To the guest, it is ten
# times faster than this machine's files.
_DISK_BYTES = 64 * 1024 ** 3
_MODULES = ('dm-mod', 'dm-snapshot', 'dm-thin-pool', 'dm-mirror', 'dm-raid',
            'raid1', 'dm-cache', 'dm-cache-smq', 'dm-delay', 'dm-zero',
            'loop', 'ext4', 'sd_mod', 'iscsi_tcp', 'overlay', 'nbd',
            'target_core_iblock', 'target_core_file', 'iscsi_target_mod')

# The guest has its own /etc, because iscsiadm writes to /etc/iscsi, and tgtd
# reads from /etc/tgt where Cinder's targets are. (That pattern must not have
# */ in it, which ends a comment there.)
_SET_UP = """export HOME={home} PATH={path} LC_ALL=C
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
# QEMU's serial console is a terminal.
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
# For locks of Python's multiprocessing, and the state of wdmd.
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir -p /run/lock/lvm /run/lock/iscsi /run/lvm /run/disk
{before_modules}
for module in {modules}; do modprobe --dirname {module_root} $module; done
mount -t configfs configfs /sys/kernel/config
for each in {overlays}; do
    mkdir -p /run/$each/upper /run/$each/work
    mount -t overlay overlay /$each -o \\
        lowerdir=/$each,upperdir=/run/$each/upper,workdir=/run/$each/work
done
{before_disk}
"""
_INIT = """#!/bin/bash
{set_up}
echo 'include /run/disk/tmp????????/volumes/*' >/etc/tgt/targets.conf
echo InitiatorName=iqn.2026-01.guest:initiator >/etc/iscsi/initiatorname.iscsi
echo >/etc/iscsi/iscsid.conf
mkfs.ext4 -q {disk}
mount {disk} /run/disk
# Like /tmp: MariaDB does not run as root.
chmod 1777 /run/disk
ip link set lo up
# Nova refuses the kernel's name of a host that has none.
hostname guest
tgtd --iscsi portal=127.0.0.1:3260
iscsid
cd {checkout}
TMPDIR=/run/disk {command}
echo $? > {status}
halt -f -p
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class System:
    """What differs between the kinds of guests.

    :ivar boot: starts the guest in a session of its own; its argument is a
        folder with the script `init` and the image `disk`
    :ivar disk: the guest's device node for that image
    :ivar module_root: the folder with the guest's lib/modules
    :ivar modules: kernel modules that only this kind needs
    :ivar overlays: folders of / to which the guest's writes are discarded
    :ivar before_modules: shell commands to run before modules are loaded
    :ivar before_disk: shell commands to run before the disk is used
    """

    boot: Callable[[pathlib.Path], subprocess.Popen[bytes]]
    disk: str
    module_root: str
    modules: tuple[str, ...] = ()
    overlays: tuple[str, ...] = ('etc',)
    before_modules: str = ''
    before_disk: str = ''


def set_up(system: System, home: pathlib.Path) -> str:
    """Return the shell commands with which PID 1 makes a guest usable."""
    return _SET_UP.format(
        home=home, path=os.environ['PATH'],
        before_modules=system.before_modules,
        modules=' '.join(_MODULES + system.modules),
        module_root=system.module_root, overlays=' '.join(system.overlays),
        before_disk=system.before_disk)


def run(system: System, command: list[str],
        parent: pathlib.Path | None = None) -> int | None:
    """Run the command; return its exit status, or None if the guest failed.

    :param parent: of the folder for the guest's files
    :raises TimeoutExpired: the guest was stopped after three hours
    """
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = pathlib.Path(name)
        status = folder / 'status'
        init = folder / 'init'
        init.write_text(_INIT.format(
            set_up=set_up(system, folder), disk=system.disk,
            checkout=shlex.quote(os.getcwd()), command=shlex.join(command),
            status=status))
        init.chmod(0o755)
        with folder.joinpath('disk').open('wb') as file:
            file.truncate(_DISK_BYTES)
        guest = system.boot(folder)
        try:
            guest.wait(_SECONDS)
        finally:
            # The whole session, because User-Mode Linux has many processes.
            if guest.poll() is None:
                os.killpg(guest.pid, signal.SIGKILL)
                guest.wait()
        return int(status.read_text()) if status.exists() else None

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

"""Runs a Python module in a virtual machine with Debian's kernel and udevd.

`python -m tests.run.virtual_machine MODULE ARGUMENTS`, as root, from the top
of the checkout. QEMU emulates the processors; it needs no KVM. The machine has
no network interface. Its root file system is this machine's, over 9p, so that
it has the same checkout and Python, and what it writes to the checkout stays
there. What it writes to /etc and /var is discarded.

Its kernel comes from the Debian package, which is unpacked into
.tox/virtual_machine and not installed. The console's log of the last run is in
the same folder.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import Any

from tests.lab import signals
from tests.run import debian_packages
from tests.run import machine

_EMULATOR = 'qemu-system-x86_64'
_UDEVD = '/lib/systemd/systemd-udevd'
_PACKAGES = {_EMULATOR: 'qemu-system-x86', 'modprobe': 'kmod', _UDEVD: 'udev'}
_META_PACKAGE = 'linux-image-amd64'
_FOLDER = pathlib.Path('.tox/virtual_machine').absolute()
_UNPACKED = _FOLDER / 'packages'
_CONSOLE = _FOLDER / 'console.log'
_OVERLAYS = ('etc', 'var')
# They are needed to mount the root file system.
_FIRST_MODULES = ('virtio_pci', '9pnet_virtio', '9p')
_INITRD = """#!/bin/busybox sh
while read -r module; do /bin/busybox insmod "/modules/$module"; done </order
/bin/busybox mount -t 9p -o \\
    trans=virtio,version=9p2000.L,msize=512000,cache=loose root /root
exec /bin/busybox switch_root /root {init}
"""
# The first serial port is the kernel's console.
_USE_SECOND_SERIAL_PORT = """
stty -F /dev/ttyS1 -onlcr
exec </dev/null >/dev/ttyS1 2>&1
"""
_START_UDEVD = f"""
{_UDEVD} --daemon
udevadm trigger
udevadm settle
"""


def main(module: str = '', *arguments: str) -> int:
    """Run the module; return its exit status, or 1 if the machine failed.

    Without a module, only the kernel is unpacked.
    """
    missing = [package for command, package in _PACKAGES.items()
               if not shutil.which(command)]
    if missing:
        print('Packages for the virtual machine are not installed: '
              f"apt-get install {' '.join(missing)}", file=sys.stderr)
        return 1
    hidden = [each for each in _OVERLAYS if _FOLDER.is_relative_to(f'/{each}')]
    if hidden:
        print(f'The virtual machine discards what it writes to /{hidden[0]}. '
              'Move the checkout to another folder.',
              file=sys.stderr)
        return 1
    if not _UNPACKED.exists():
        _unpack_packages()
    if not module:
        return 0
    print(f'Virtual machine with Linux {_version()}; console in {_CONSOLE}',
          flush=True)
    status = machine.run(
        SYSTEM, [sys.executable, '-m', module, *arguments], parent=_FOLDER)
    if status is None:
        print(_CONSOLE.read_text(errors='replace'), file=sys.stderr)
        print('The virtual machine ended before the module did.',
              file=sys.stderr)
        return 1
    return status


def _unpack_packages() -> None:
    """Download and unpack the newest kernel, and busybox for its initrd."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    # The folder gets its name when it is complete.
    with tempfile.TemporaryDirectory(dir=_FOLDER) as name:
        folder = pathlib.Path(name)
        unpacked = folder / 'packages'
        unpacked.mkdir()
        debian_packages.unpack_kernel(unpacked, _META_PACKAGE,
                                      'busybox-static')
        version, = (path.name for path in unpacked.glob('lib/modules/*'))
        _run('depmod', '--basedir', str(unpacked), version)
        unpacked.rename(_UNPACKED)


def _version() -> str:
    version, = (path.name for path in _UNPACKED.glob('lib/modules/*'))
    return version


def boot(folder: pathlib.Path, console: pathlib.Path, *options: str,
         **process: Any) -> subprocess.Popen[bytes]:
    """Boot a machine whose PID 1 is the script `init` in the folder.

    :param console: the log of the kernel's console, the first serial port
    :param options: more options of QEMU
    :param process: options of Popen
    """
    # QEMU has a pipe of its own, because it makes its standard output
    # non-blocking for every process that shares it.
    return subprocess.Popen(
        ['sh', '-c', '"$@" | cat', 'sh',
         _EMULATOR, '-machine', 'q35', '-cpu', 'max',
         '-accel', 'tcg,thread=multi,tb-size=512', '-smp', '2',
         '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none',
         '-serial', f'file:{console}',
         '-kernel', str(_UNPACKED / 'boot' / f'vmlinuz-{_version()}'),
         '-initrd', str(_initrd(folder)),
         '-append', 'console=ttyS0 panic=-1 mitigations=off net.ifnames=0',
         '-fsdev', 'local,id=root,path=/,security_model=none,multidevs=remap',
         '-device', 'virtio-9p-pci,fsdev=root,mount_tag=root', *options],
        stdin=subprocess.DEVNULL, start_new_session=True, **process)


def _boot(folder: pathlib.Path) -> subprocess.Popen[bytes]:
    return boot(
        folder, _CONSOLE, '-m', '3G', '-serial', 'stdio',
        '-drive', f"file={folder / 'disk'},if=virtio,format=raw,cache=unsafe")


SYSTEM = machine.System(
    boot=_boot, disk='/dev/vda', module_root=str(_UNPACKED),
    modules=('virtio_blk',), overlays=_OVERLAYS,
    before_modules=_USE_SECOND_SERIAL_PORT, before_disk=_START_UDEVD)


def _initrd(folder: pathlib.Path) -> pathlib.Path:
    """Write an initrd that mounts / over 9p and runs the folder's init."""
    content = folder / 'initrd'
    shutil.rmtree(content, ignore_errors=True)
    for each in ('bin', 'modules', 'root'):
        content.joinpath(each).mkdir(parents=True)
    busybox = shutil.copy(_UNPACKED / 'bin' / 'busybox', content / 'bin')
    modules = dict.fromkeys(
        pathlib.Path(line.split()[1]) for module in _FIRST_MODULES
        for line in _run('modprobe', '--dirname', str(_UNPACKED),
                         '--set-version', _version(), '--show-depends', module
                         ).splitlines() if line.startswith('insmod '))
    for module in modules:
        shutil.copy(module, content / 'modules')
    content.joinpath('order').write_text(
        ''.join(f'{module.name}\n' for module in modules))
    init = content / 'init'
    init.write_text(_INITRD.format(init=folder / 'init'))
    init.chmod(0o755)
    archive = folder / 'initrd.cpio'
    names = ''.join(f'{path.relative_to(content)}\n'
                    for path in sorted(content.rglob('*')))
    with archive.open('wb') as file:
        subprocess.run([busybox, 'cpio', '--create', '--format', 'newc'],
                       cwd=content, input=names.encode(), stdout=file,
                       check=True)
    return archive


def _run(*command: str, cwd: pathlib.Path | None = None) -> str:
    return subprocess.run(command, cwd=cwd, check=True, text=True,
                          stdout=subprocess.PIPE).stdout


if __name__ == '__main__':
    signals.unwind_when_stopped()
    sys.exit(main(*sys.argv[1:]))

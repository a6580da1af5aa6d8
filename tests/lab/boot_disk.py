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

"""Disks of virtual machines that boot from them, made of Debian's packages.

`python -m tests.lab.boot_disk FOLDER` makes one for each firmware, if they are
not in the folder yet. It needs the network, which a guest does not have.

Such a disk has a boot loader, a partition table, a kernel and a root file
system. The system on it adds a line to a file, prints a line to its serial
console, and then stays up, because Nova shows the consoles of running servers
only. Neither root nor a mounted file system is needed to make it.
"""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess
import sys
import tempfile

from oslo_utils import units

from tests.run import debian_packages

SIZE = 64 * units.Mi
# What the machine prints, and the file that it adds a line to.
GREETING = 'The machine is up; its root file system is'
WRITTEN = '/root/boots'

_KERNEL = 'linux-image-cloud-amd64'
# In the order in which they must be loaded, without those that the kernel has
# built in. ext4 is one of those.
_MODULES = ('virtio_ring', 'virtio', 'virtio_pci_legacy_dev',
            'virtio_pci_modern_dev', 'virtio_pci', 'virtio_blk')
_COMMAND_LINE = 'console=ttyS0 panic=-1 mitigations=off nokaslr'
_GRUB = """serial --unit=0
terminal_output serial
search.fs_label {label} root
linux /boot/vmlinuz {command_line}
initrd /boot/initrd
boot
"""
_INIT = """#!/bin/busybox sh
busybox mount -t devtmpfs devtmpfs /dev
for module in {modules}; do busybox insmod /$module; done
until busybox mount -t ext4 {root} /root; do busybox sleep 0.1; done
exec busybox switch_root /root /sbin/init
"""
_SYSTEM = """#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t devtmpfs devtmpfs /dev
echo up >> {written}
busybox mount -o remount,ro /
echo "{greeting} {label}, boot $(busybox wc -l < {written})" > /dev/ttyS0
while true; do busybox sleep 3600; done
"""
_SECTOR = 512
# Byte of the disk at which the root file system starts, by firmware. Before it
# is GRUB, or an EFI system partition.
ROOT_START = {'bios': units.Mi, 'uefi': 17 * units.Mi}
_ESP_START = units.Mi


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel of Debian.

    :ivar folder: of its unpacked package
    """

    folder: pathlib.Path

    @property
    def image(self) -> pathlib.Path:
        image, = self.folder.glob('boot/vmlinuz-*')
        return image

    def modules(self) -> list[pathlib.Path]:
        """Return the files of the modules that it needs, in order."""
        found = {path.name.removesuffix('.ko'): path
                 for path in self.folder.rglob('*.ko')}
        return [found[name] for name in _MODULES if name in found]


def images(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Return the disks in the folder, by firmware: bios and uefi."""
    return {firmware: folder / f'{firmware}.img' for firmware in ROOT_START}


def main(folder: pathlib.Path) -> None:
    """Create the disks that are missing in the folder."""
    missing = {firmware: path for firmware, path in images(folder).items()
               if not path.exists()}
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work = pathlib.Path(name)
        package = work / 'kernel'
        package.mkdir()
        debian_packages.unpack_kernel(package, _KERNEL)
        kernel = Kernel(package)
        for firmware, path in missing.items():
            parts = work / firmware
            parts.mkdir()
            create(parts / 'disk', kernel, firmware, firmware, parts)
            # It gets its name when it is complete.
            (parts / 'disk').rename(path)


def create(path: pathlib.Path, kernel: Kernel, firmware: str, label: str,
           work: pathlib.Path) -> None:
    """Create a disk of SIZE bytes.

    :param firmware: 'bios' for GRUB in a MBR, 'uefi' for GRUB in an EFI system
        partition of a GPT
    :param label: of the root file system
    :param work: an empty folder for the parts
    """
    root_start = ROOT_START[firmware]
    root = work / 'root.ext4'
    _create_root(root, kernel, label, work,
                 SIZE - root_start - units.Mi,
                 '/dev/vda1' if firmware == 'bios' else '/dev/vda2')
    path.write_bytes(b'')
    with path.open('r+b') as disk:
        disk.truncate(SIZE)
    root_size = root.stat().st_size
    if firmware == 'bios':
        _partition(path, 'dos', [(root_start, root_size, '83', ', bootable')])
        _install_bios_grub(path, label, work)
    else:
        esp = _create_esp(label, root_start - _ESP_START, work)
        _partition(path, 'gpt', [
            (_ESP_START, esp.stat().st_size, 'uefi', ''),
            (root_start, root_size, 'linux', '')])
        _write(path, _ESP_START, esp.read_bytes())
    _write(path, root_start, root.read_bytes())


def _create_root(path: pathlib.Path, kernel: Kernel, label: str,
                 work: pathlib.Path, size: int, device: str) -> None:
    tree = work / 'tree'
    for folder in ('boot', 'bin', 'sbin', 'dev', 'proc', 'root'):
        tree.joinpath(folder).mkdir(parents=True)
    _copy(kernel.image, tree / 'boot' / 'vmlinuz')
    _copy(pathlib.Path('/bin/busybox'), tree / 'bin' / 'busybox')
    _script(tree / 'sbin' / 'init', _SYSTEM.format(
        written=WRITTEN, greeting=GREETING, label=label))
    _create_initrd(tree / 'boot' / 'initrd', kernel, device, work)
    _run('mke2fs', '-q', '-t', 'ext4', '-L', label, '-d', str(tree),
         str(path), f'{size // units.Ki}k')


def _create_initrd(path: pathlib.Path, kernel: Kernel, root: str,
                   work: pathlib.Path) -> None:
    tree = work / 'initrd'
    for folder in ('bin', 'dev', 'root'):
        tree.joinpath(folder).mkdir(parents=True)
    _copy(pathlib.Path('/bin/busybox'), tree / 'bin' / 'busybox')
    for module in kernel.modules():
        _copy(module, tree / module.name)
    _script(tree / 'init', _INIT.format(
        modules=' '.join(module.name for module in kernel.modules()),
        root=root))
    names = '\n'.join(str(file.relative_to(tree))
                      for file in sorted(tree.rglob('*')))
    path.write_bytes(subprocess.run(
        ['/bin/busybox', 'cpio', '-o', '-H', 'newc'], cwd=tree, check=True,
        input=names.encode(), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL).stdout)


def _install_bios_grub(disk: pathlib.Path, label: str,
                       work: pathlib.Path) -> None:
    """Write GRUB to the MBR and the sectors after it, where it looks for it.
    """
    core = _grub_image(work, 'i386-pc', label, 'biosdisk part_msdos')
    boot = pathlib.Path('/usr/lib/grub/i386-pc/boot.img').read_bytes()
    # The partition table begins at byte 440 with the disk's signature.
    _write(disk, 0, boot[:440])
    _write(disk, _SECTOR, core.read_bytes())


def _create_esp(label: str, size: int, work: pathlib.Path) -> pathlib.Path:
    loader = _grub_image(work, 'x86_64-efi', label, 'part_gpt')
    esp = work / 'esp.fat'
    with esp.open('wb') as file:
        file.truncate(size)
    _run('mkfs.vfat', str(esp))
    _run('mmd', '-i', str(esp), '::/EFI', '::/EFI/BOOT')
    # Where UEFI looks on a disk that it does not know.
    _run('mcopy', '-i', str(esp), str(loader), '::/EFI/BOOT/BOOTX64.EFI')
    return esp


def _grub_image(work: pathlib.Path, target: str, label: str,
                modules: str) -> pathlib.Path:
    configuration = work / 'grub.cfg'
    configuration.write_text(_GRUB.format(label=label,
                                          command_line=_COMMAND_LINE))
    image = work / f'grub-{target}'
    _run('grub-mkimage', '--format', target, '--output', str(image),
         '--prefix', '/boot/grub', '--config', str(configuration),
         'ext2', 'linux', 'search_label', 'serial', 'terminal', 'boot',
         *modules.split())
    return image


def _partition(disk: pathlib.Path, table: str,
               partitions: list[tuple[int, int, str, str]]) -> None:
    lines = [f'label: {table}', *(
        f'start={start // _SECTOR}, size={size // _SECTOR}, type={kind}{flag}'
        for start, size, kind, flag in partitions)]
    subprocess.run(['sfdisk', '--quiet', str(disk)], check=True, text=True,
                   input='\n'.join(lines))


def _script(path: pathlib.Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    target.write_bytes(source.read_bytes())
    target.chmod(source.stat().st_mode)


def _write(disk: pathlib.Path, at: int, data: bytes) -> None:
    with disk.open('r+b') as file:
        file.seek(at)
        file.write(data)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]))

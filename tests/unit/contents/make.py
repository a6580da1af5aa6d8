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

"""Create the samples in this folder with the tools that write such data.

    python -m tests.unit.contents.make [NAME ...]

as root, with Debian's packages bcache-tools, btrfs-progs, ceph-osd,
cryptsetup-bin, dosfstools, drbd-utils, e2fsprogs, exfatprogs, f2fs-tools,
fdisk, genisoimage, lvm2, ntfs-3g, qemu-utils, sanlock, squashfs-tools and
xfsprogs. Each sample has the bytes of an LV that samples.Samples reads.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import lzma
import os
import pathlib
import subprocess
import sys
import tempfile

from oslo_utils import units

from cinder_lvm_manage import samples

_EXTENT = 4 * units.Mi
_FOLDER = pathlib.Path(__file__).parent

MAKERS: dict[str, Callable[[pathlib.Path], None]] = {}


def _run(*command: object, **environment: str) -> None:
    subprocess.run([str(word) for word in command], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   env={**os.environ, **environment})


@contextlib.contextmanager
def _loop(path: pathlib.Path) -> Iterator[str]:
    device = subprocess.run(
        ['losetup', '--find', '--show', path], check=True, text=True,
        stdout=subprocess.PIPE).stdout.strip()
    try:
        yield device
    finally:
        _run('losetup', '--detach', device)


def _tool(name: str, *command: str, size: int = 64 * units.Mi,
          loop: bool = False) -> None:
    """Define a sample that one command makes; PATH and FOLDER are replaced."""
    def make(path: pathlib.Path) -> None:
        os.truncate(path, size)
        with (_loop(path) if loop
              else contextlib.nullcontext(str(path))) as device:
            _run(*(word.replace('PATH', device).replace(
                'FOLDER', str(path.parent)) for word in command))
    MAKERS[name] = make


def _image(name: str, format_: str, *options: str,
           size: str = '10G') -> None:
    def make(path: pathlib.Path) -> None:
        _run('qemu-img', 'create', '-q', '-f', format_, *options, path, size)
    MAKERS[name] = make


_tool('zeros', 'true')
_tool('ext4', 'mkfs.ext4', '-q', '-L', 'data', 'PATH')
_tool('xfs', 'mkfs.xfs', '-q', '-L', 'data', 'PATH', size=512 * units.Mi)
_tool('btrfs', 'mkfs.btrfs', '-q', '-L', 'data', 'PATH', size=256 * units.Mi)
_tool('vfat', 'mkfs.vfat', '-n', 'DATA', 'PATH')
_tool('exfat', 'mkfs.exfat', '-L', 'data', 'PATH')
_tool('ntfs', 'mkntfs', '-q', '-Q', '-F', '-L', 'Données', 'PATH')
_tool('f2fs', 'mkfs.f2fs', '-q', '-l', 'data', 'PATH', size=128 * units.Mi)
_tool('swap', 'mkswap', '-q', '-L', 'swap1', 'PATH')
_tool('iso', 'genisoimage', '-quiet', '-V', 'INSTALL', '-o', 'PATH',
      'FOLDER/files')
_tool('squashfs', 'mksquashfs', 'FOLDER/files', 'PATH', '-noappend', '-quiet')
_tool('bcache', 'make-bcache', '-B', 'PATH', loop=True)
_tool('drbd-internal', 'drbdmeta', '--force', '0', 'v09', 'PATH', 'internal',
      'create-md', '1', loop=True)
_tool('drbd-external', 'drbdmeta', '--force', '0', 'v08', 'PATH',
      'flex-external', 'create-md', loop=True)
_tool('sanlock-lockspace', 'sanlock', 'direct', 'init', '-s',
      'hosts:0:PATH:0')
_tool('sanlock-resource', 'sanlock', 'direct', 'init', '-r',
      'hosts:lease1:PATH:0')
_image('qcow2', 'qcow2')
_image('qcow2-old', 'qcow2', '-o', 'compat=0.10')
_image('qcow2-backing', 'qcow2', '-u', '-F', 'qcow2', '-b',
       '/dev/vg/vm-100-disk-0.qcow2')
_image('vhd', 'vpc')
_image('vhdx', 'vhdx')
_image('vmdk', 'vmdk')
_image('vmdk-stream', 'vmdk', '-o', 'subformat=streamOptimized')
_image('vdi', 'vdi')
_image('qed', 'qed')


def _maker(make: Callable[[pathlib.Path], None]) -> None:
    MAKERS[make.__name__.lstrip('_').replace('_', '-')] = make


def _luks(path: pathlib.Path, header: int, *options: str) -> None:
    os.truncate(path, 64 * units.Mi)
    _run('cryptsetup', 'luksFormat', '-q', '--pbkdf-force-iterations', '1000',
         *options, path, path.with_name('passphrase'))
    # Random bytes of the keys would not compress.
    os.truncate(path, header)
    os.truncate(path, 64 * units.Mi)


@_maker
def _luks1(path: pathlib.Path) -> None:
    _luks(path, 4 * units.Ki, '--type', 'luks1')


@_maker
def _luks2(path: pathlib.Path) -> None:
    _luks(path, 32 * units.Ki, '--type', 'luks2', '--pbkdf', 'pbkdf2',
          '--label', 'secret')


@_maker
def _qcow2_data_file(path: pathlib.Path) -> None:
    _run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
         f'data_file={path.parent}/data.raw', path, '1G')


def _partition(path: pathlib.Path, table: str, *partitions: str) -> None:
    os.truncate(path, max(path.stat().st_size, 64 * units.Mi))
    script = [f'label: {table}', *(partitions or ['start=8192'])]
    subprocess.run(['sfdisk', '--quiet', '--wipe', 'never', path], check=True,
                   text=True, input='\n'.join(script) + '\n')


@_maker
def _gpt(path: pathlib.Path) -> None:
    _partition(path, 'gpt')


_ESP = 'start=8192, size=4096, type=uefi'
_BIOS_BOOT = ('start=2048, size=2048, '
              'type=21686148-6449-6E6F-744E-656564454649')


@_maker
def _gpt_efi(path: pathlib.Path) -> None:
    _partition(path, 'gpt', _ESP)


@_maker
def _gpt_bios(path: pathlib.Path) -> None:
    _partition(path, 'gpt', _BIOS_BOOT)


@_maker
def _gpt_bios_efi(path: pathlib.Path) -> None:
    _partition(path, 'gpt', _BIOS_BOOT, _ESP)


@_maker
def _mbr(path: pathlib.Path) -> None:
    _partition(path, 'dos')


@_maker
def _iso_hybrid(path: pathlib.Path) -> None:
    _run('genisoimage', '-quiet', '-V', 'LIVE', '-o', path,
         path.parent / 'files')
    _partition(path, 'dos')


@_maker
def _ceph_bluestore(path: pathlib.Path) -> None:
    osd = path.with_name('osd')
    osd.mkdir()
    osd.joinpath('fsid').write_text('11111111-2222-4333-8444-555555555555\n')
    os.truncate(path, units.Gi)
    osd.joinpath('block').symlink_to(path)
    _run('ceph-objectstore-tool', '--data-path', osd, '--op', 'mkfs',
         '--type', 'bluestore', '--no-mon-config')


@_maker
def _lvm(path: pathlib.Path) -> None:
    os.truncate(path, 64 * units.Mi)
    with _loop(path) as device:
        configuration = path.parent / 'lvm.conf'
        configuration.write_text(
            'global { activation = 0 }\n'
            'backup { backup = 0  archive = 0 }\n'
            'devices { use_devicesfile = 0  scan_lvs = 0 '
            f'global_filter = ["a|^{device}$|", "r|.*|"] }}\n')
        environment = {'LVM_SYSTEM_DIR': str(path.parent),
                       'LVM_SUPPRESS_FD_WARNINGS': '1'}
        _run('vgcreate', '-q', 'guest-vg', device, **environment)
        _run('lvcreate', '-q', '-an', '-Zn', '-l', '1', '-n', 'root',
             'guest-vg', **environment)


def main(names: list[str]) -> None:
    """Create the samples of these names, or all of them."""
    for name in names or sorted(MAKERS):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, 'lv')
            path.touch()
            path.with_name('passphrase').write_text('secret')
            path.with_name('files').mkdir()
            path.with_name('files').joinpath('README').write_text('hello')
            MAKERS[name](path)
            for old in _FOLDER.glob(f'{name}.*.xz'):
                old.unlink()
            # LVM allocates whole extents.
            size = -(-path.stat().st_size // _EXTENT) * _EXTENT
            os.truncate(path, size)
            with open(path, 'rb') as lv:
                data = lv.read(samples.HEAD)
                lv.seek(max(len(data), size - samples.TAIL))
                data += lv.read()
            (_FOLDER / f'{name}.{size}.xz').write_bytes(lzma.compress(data))


if __name__ == '__main__':
    main(sys.argv[1:])

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

"""What LVs contain: data that real tools wrote, and hostile data."""

import os
import re
import shutil
import struct
import subprocess
import unicodedata

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from cinder_lvm_manage import contents
from cinder_lvm_manage.contents import Contents
from cinder_lvm_manage.contents import Image
from cinder_lvm_manage.contents import printable
from cinder_lvm_manage.samples import Samples
from tests.unit.contents import changed
from tests.unit.contents import ext4_with_label
from tests.unit.contents import names
from tests.unit.contents import Recorded
from tests.unit.contents import recorded

GIB = 1 << 30

DESCRIPTIONS = {
    'bcache': 'bcache',
    'btrfs': 'btrfs file system "data"',
    'ceph-bluestore': 'Ceph BlueStore device',
    'drbd-external': 'DRBD metadata of another device',
    'drbd-internal': 'DRBD metadata at its end',
    'ext4': 'ext4 file system "data"',
    'f2fs': 'f2fs file system "data"',
    'gpt': 'GPT partition table',
    'gpt-bios': 'GPT partition table',
    'gpt-bios-efi': 'GPT partition table',
    'gpt-efi': 'GPT partition table',
    'iso': 'iso9660 file system "INSTALL"',
    'iso-hybrid': 'iso9660 file system "LIVE"; MBR partition table',
    'luks1': 'LUKS encrypted device',
    'luks2': 'LUKS encrypted device "secret"',
    'lvm': 'LVM physical volume of volume group "guest-vg"',
    'mbr': 'MBR partition table',
    'ntfs': 'ntfs file system "Données"',
    'qcow2': 'qcow2 image of 10 GiB',
    'qcow2-backing': 'qcow2 image of 10 GiB with backing file '
                     '"/dev/vg/vm-100-disk-0.qcow2"',
    'qcow2-data-file': 'qcow2 image of 1 GiB with an external data file',
    'qcow2-old': 'qcow2 image of 10 GiB',
    'qed': 'qed image',
    'sanlock-lockspace': 'sanlock leases',
    'sanlock-resource': 'sanlock leases',
    'squashfs': 'squashfs file system',
    'swap': 'swap area "swap1"',
    'vdi': 'vdi image of 10 GiB',
    # Its label is in the root directory, which is not read.
    'vfat': 'vfat file system',
    # Larger than requested, because of its geometry.
    'vhd': 'vhd image of 10.0004 GiB',
    'vhdx': 'vhdx image',
    'vmdk': 'vmdk image of 10 GiB',
    'vmdk-stream': 'vmdk image of 10 GiB',
    'xfs': 'xfs file system "data"',
    'zeros': 'zeros at its start and end',
}


@pytest.fixture
def describe(tmp_path):
    """A function that returns what LVs with these samples contain."""
    def describe(lvs: dict[str, Recorded]) -> dict[str, Contents]:
        for name, sample in lvs.items():
            sample.write(tmp_path / name)
        with Samples({str(tmp_path / name): sample.size
                      for name, sample in lvs.items()}) as samples:
            found = samples.contents(subprocess.run(
                samples.READER, input=samples.request, text=True, check=True,
                stdout=subprocess.PIPE).stdout)
        return {name: found[str(tmp_path / name)] for name in lvs}
    return describe


def test_contents_of_real_tools_are_recognized(describe):
    found = describe({name: recorded(name) for name in names()})
    exfat = found.pop('exfat')
    assert {name: str(what) for name, what in found.items()} == DESCRIPTIONS
    # Some versions of libblkid also report a partition table.
    assert str(exfat).startswith('exfat file system')
    assert {name for name, what in found.items() if what.storage_metadata} == {
        'ceph-bluestore', 'drbd-external', 'sanlock-lockspace',
        'sanlock-resource'}
    assert not any(what.note for what in found.values())
    assert {name: what.boot_partitions for name, what in found.items()
            if what.boot_partitions} == {
        'gpt-bios': ('bios',), 'gpt-bios-efi': ('bios', 'efi'),
        'gpt-efi': ('efi',)}


def test_other_data_is_unknown(describe):
    found = describe({'text': changed('zeros', (512, b'hello')),
                      'end': recorded('zeros')._replace(tail=b'hello')})
    assert set(map(str, found.values())) == {'unknown data'}


def test_ntfs_is_recognized_without_its_file_table(describe):
    # As Windows formats: cluster 786432, at 3 GiB.
    found = describe({'lv': changed('ntfs', (48, struct.pack('<Q', 786432)))
                      ._replace(size=8 * GIB)})
    assert str(found['lv']) == 'ntfs file system'


# Of the header's fields, at 72: start, number and size of the entries.
@pytest.mark.parametrize('fields', [
    (2, 2 ** 32 - 1, 0), (2, 2 ** 32 - 1, 127), (2 ** 64 - 1, 128, 128),
    (2, 0, 128), (0, 0, 0), (2 ** 63, 2 ** 32 - 1, 2 ** 32 - 1)])
def test_a_strange_gpt_has_no_boot_partitions(fields):
    strange = changed('gpt-efi', (512 + 72, struct.pack('<QII', *fields)))
    for head in (strange.head, strange.head[:600], b''):
        assert contents.of(head, b'', {'PTTYPE': 'gpt'}
                           ).boot_partitions == ()


def test_as_many_entries_as_were_read_are_enough():
    many = changed('gpt-efi', (512 + 80, struct.pack('<I', 2 ** 32 - 1)))
    assert contents.of(many.head, b'', {'PTTYPE': 'gpt'}
                       ).boot_partitions == ('efi',)


CONVERT = (
    'run `lvcreate --size {size} --name NEWNAME vg` and `qemu-img convert -n '
    '-f {name} -O raw /dev/vg/lv /dev/vg/NEWNAME`, and manage NEWNAME')
UNKNOWN = (', where SIZE is the virtual size that `qemu-img info -f {name} '
           '/dev/vg/lv` shows')
CHECK = ('check with `qemu-img info -f {name} /dev/vg/lv` that the files it '
         'refers to may be read; then ')


@pytest.mark.parametrize(('sample', 'text'), [
    ('qcow2', CONVERT.format(name='qcow2', size='10737418240b')),
    ('qcow2-backing', (CHECK + CONVERT).format(name='qcow2',
                                               size='10737418240b')),
    ('vhd', CONVERT.format(name='vpc', size='10737893376b')),
    ('vhdx', (CHECK + CONVERT + UNKNOWN).format(name='vhdx', size='SIZE')),
])
def test_the_remedy_converts_the_image(sample, text):
    image, = contents.of(recorded(sample).head, b'', {}).images
    assert image.conversion('vg', 'lv', None) == text


@pytest.mark.skipif(not shutil.which('qemu-img'), reason='needs qemu-img')
@pytest.mark.parametrize('name', [name for name in DESCRIPTIONS
                                  if 'image' in DESCRIPTIONS[name]])
def test_qemu_knows_the_format_that_the_remedy_names(name):
    image, = contents.of(recorded(name).head, b'', {}).images
    command = re.search(r'-f (\S+)', image.conversion('vg', 'lv', None))
    assert command
    assert command[1] in subprocess.run(
        ['qemu-img', '--help'], check=True, text=True,
        stdout=subprocess.PIPE).stdout.split('Supported formats:')[1].split()


def test_headers_of_two_formats_are_two_images():
    # The magic number of VDI is at 64 bytes, after the header of qcow2.
    both = changed('qcow2', (64, struct.pack('<I', 0xbeda107f)))
    assert [image.format for image in contents.of(both.head, b'', {}).images
            ] == ['qcow2', 'vdi']


def backed_by(name: bytes, offset: int = 512,
              length: int | None = None) -> Contents:
    header = struct.pack('>QI', offset,
                         len(name) if length is None else length)
    return contents.of(changed('qcow2', (8, header), (512, name)).head, b'',
                       {})


def test_a_backing_file_is_named_but_not_opened(
        describe, tmp_path, monkeypatch):
    # Opening it would block.
    os.mkfifo(tmp_path / 'host-file')
    monkeypatch.chdir(tmp_path)
    name = b'host-file'
    found = describe({'lv': changed(
        'qcow2', (8, struct.pack('>QI', 512, len(name))), (512, name))})
    assert str(found['lv']) == (
        'qcow2 image of 10 GiB with backing file "host-file"')


@pytest.mark.parametrize(('offset', 'length'), [
    (1 << 40, 10), ((1 << 64) - 1, (1 << 32) - 1), (512, (1 << 32) - 1)])
def test_a_backing_file_name_beyond_the_header_is_not_read(offset, length):
    assert str(backed_by(b'', offset, length)).endswith(
        'with backing file "not read"')


HOSTILE = {
    '\x1b[31mred\x1b]0;title\x07': r'\x1b\x5b31mred\x1b\x5d0\x3btitle\x07',
    'a\nb\r\tc\0d': r'a\x0ab\x0d\x09c\x00d',
    '\u202egnp.exe': r'\u202egnp.exe',
    '\u200b\ufeff\u2066': r'\u200b\ufeff\u2066',
    '\x9b31m': r'\x9b31m',
    '<script>alert("&")</script>':
        r'\x3cscript\x3ealert\x28\x22\x26\x22\x29\x3c/script\x3e',
    '`reboot` $(reboot)': r'\x60reboot\x60 \x24\x28reboot\x29',
    r'a\x1b': r'a\x5cx1b',
    '{case.policy} %s': r'\x7bcase.policy\x7d \x25s',
    '**bold** |x| `y`_': r'\x2a\x2abold\x2a\x2a \x7cx\x7c \x60y\x60_',
    '\udcff\udc80': r'\xff\x80',
    '\ud800\U000e0001': r'\ud800\U000e0001',
    'Données 日本 Ünï': 'Données 日本 Ünï',
    'x' * 65: 'x' * 64 + '...',
}


@pytest.mark.parametrize(('text', 'shown'), HOSTILE.items())
def test_hostile_text_is_escaped(text, shown):
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_any_text_is_escaped(text):
    shown = printable(text)
    assert not set(shown) & set('<>&"\'`$;|*{}[]()!^?')
    assert not {unicodedata.category(character)[0] for character in shown
                } & {'C', 'M'}
    assert all(character == ' ' or not character.isspace()
               for character in shown)
    assert len(shown) <= 64 * 10 + 3


def test_hostile_labels_and_names_are_escaped(describe):
    label = b'\x1b[2J<b>\xe2\x80\xae\xff'
    group = b'vg\x1b[2J {\nid ='
    found = describe({
        'ext4': ext4_with_label(label),
        'swap': changed('swap', (1052, label)),
        'lvm': changed('lvm', (recorded('lvm').head.rindex(b'guest-vg {'),
                               group)),
        'qcow2': changed('qcow2', (8, struct.pack('>QI', 512, len(label))),
                         (512, label))})
    shown = r'\x1b\x5b2J\x3cb\x3e\u202e\xff'
    assert str(found['ext4']) == f'ext4 file system "{shown}"'
    assert str(found['swap']) == f'swap area "{shown}"'
    assert str(found['lvm']) == 'LVM physical volume'
    assert str(found['qcow2']).endswith(f'with backing file "{shown}"')


def test_an_absurd_size_is_shown_as_it_is():
    huge = changed('qcow2', (24, b'\xff' * 8))
    image, = contents.of(huge.head, b'', {}).images
    assert image.conversion('vg', 'lv', None).startswith(
        'run `lvcreate --size 18446744073709551616b ')


@pytest.mark.parametrize('name', names())
def test_a_truncated_header_is_accepted(name):
    head = recorded(name).head
    for length in [*range(0, 1024, 3), *range(1024, len(head), 4093)]:
        str(contents.of(head[:length], b'', {'TYPE': 'LVM2_member'}))


@st.composite
def damaged(draw):
    """A sample with changed bytes where headers are."""
    sample = recorded(draw(st.sampled_from(names())))
    head = bytearray(sample.head)
    for offset, new in draw(st.lists(st.tuples(
            st.sampled_from([0, 512, 1024, 4096, 32768, 65536]).flatmap(
                lambda start: st.integers(start, start + 511)),
            st.binary(min_size=1, max_size=8)), max_size=16)):
        head[offset:offset + len(new)] = new
    return sample._replace(head=bytes(head[:len(sample.head)]))


SHOWN = re.compile(r'[^\x00-\x1f\x7f-\x9f<>&`$]*')


@settings(deadline=1000)
@given(damaged() | st.binary(max_size=4096).map(
    lambda head: Recorded(1 << 22, head, b'')))
def test_no_bytes_raise_an_error(sample):
    found = contents.of(sample.head, sample.tail, {'TYPE': 'LVM2_member',
                                                   'PTTYPE': 'gpt'})
    assert SHOWN.fullmatch(str(found))
    for image in found.images:
        assert SHOWN.fullmatch(
            image.conversion('vg', 'lv', None).replace('`', ''))


@pytest.mark.parametrize(('head', 'images'), [
    (b'x' * 512 + b'\xff' + bytes(2000), ()),
    (b'createType="monolithicSparse"\n'.ljust(600), ('vmdk',)),
    (b'# Disk DescriptorFile\n'.ljust(512, b'x') + b'\xff' * 100, ())])
def test_text_that_oslo_utils_cannot_parse_is_refused(head, images):
    found = contents.of(head, b'', {})
    assert tuple(image.format for image in found.images) == images
    assert found.failed or found.images


def test_the_disk_in_an_image_can_be_copied_to_a_thin_lv():
    assert ('lvcreate --thin --virtualsize 1048576b --name NEWNAME vg/pool'
            in Image('qcow2', 1 << 20).conversion('vg', 'lv', 'pool'))


@settings(deadline=None, max_examples=10)
@given(st.lists(damaged(), min_size=50, max_size=50))
def test_no_bytes_stop_the_identification(tmp_path_factory, lvs):
    folder = tmp_path_factory.mktemp('lvs')
    for number, sample in enumerate(lvs):
        sample.write(folder / str(number))
    with Samples({str(folder / str(number)): sample.size
                  for number, sample in enumerate(lvs)}) as samples:
        found = samples.contents(subprocess.run(
            samples.READER, input=samples.request, text=True, check=True,
            stdout=subprocess.PIPE).stdout)
    for what in found.values():
        assert SHOWN.fullmatch(str(what))
        assert str(what)
        assert what.note in (
            '', 'not identified: contradictory signatures, see wipefs(8)')


def test_a_format_that_oslo_utils_adds_is_an_image(monkeypatch):
    monkeypatch.setattr(contents, '_FORMATS', ('gpt', *contents._FORMATS))
    assert contents.of(recorded('gpt').head, b'', {}).images == (
        Image('gpt'),)

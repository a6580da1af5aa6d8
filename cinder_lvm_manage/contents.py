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

"""What LVs contain: image formats, file systems, partition tables and more.

The first and last bytes of an LV (see samples.py) decide. They come from a
stranger, so nothing here trusts them. They are recognized by:

- oslo.utils' format inspector, for image formats, as in Glance, Nova and
  Cinder since CVE-2024-32498: it reads headers and follows no references;
- libblkid, on which LVM, udev and wipefs rely too; it runs in a process of
  its own, see libblkid.py;
- a table of signatures here, for what neither knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import io
import re
import struct
import typing

from oslo_utils import units
from oslo_utils.imageutils import format_inspector

# oslo.utils reports these as formats too, but they are contents of raw disks.
_RAW = frozenset({'raw', 'gpt', 'iso', 'luks'})
# The formats whose headers contain the size of the disk.
_SIZED = frozenset({'qcow2', 'vdi', 'vhd', 'vmdk'})
_QEMU_NAMES = {'vhd': 'vpc'}

# Besides letters and digits: no character that means anything to a terminal,
# a shell, a page or a quotation.
_PLAIN = frozenset(' +,-./:=@_~')
_LONGEST = 64


@dataclasses.dataclass(frozen=True)
class Image:
    """A disk image in a format other than raw.

    :ivar format: as oslo.utils names it
    :ivar virtual_size: size of its disk in bytes; None if that was not read
    :ivar backing_file: the name in its header, safe to print; empty if it has
        none
    :ivar failed_checks: oslo.utils' safety checks that it fails; it may refer
        to other files then
    """

    format: str
    virtual_size: int | None = None
    backing_file: str = ''
    failed_checks: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f'{self.format} image'
        if self.virtual_size:
            text += f' of {_readable(self.virtual_size)}'
        if self.backing_file:
            text += f' with backing file "{self.backing_file}"'
        if 'data_file' in self.failed_checks:
            text += ' with an external data file'
        return text

    def conversion(self, vg_name: str, lv_name: str) -> str:
        """Return how to convert the image in this LV to a raw LV."""
        device = f'/dev/{vg_name}/{lv_name}'
        name = _QEMU_NAMES.get(self.format, self.format)
        check = (f'check with `qemu-img info -f {name} {device}` that the '
                 'files it refers to may be read; then '
                 if self.failed_checks else '')
        size, measure = 'SIZE', (' (the virtual size that `qemu-img info -f '
                                 f'{name} {device}` shows)')
        if self.virtual_size:
            size, measure = f'{-(-self.virtual_size // 512) * 512}b', ''
        return (f'{check}run `lvcreate --size {size} --name NEWNAME '
                f'{vg_name}`{measure} and `qemu-img convert -n -f {name} -O '
                f'raw {device} /dev/{vg_name}/NEWNAME`, and manage NEWNAME')


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that an LV contains.

    :ivar text: safe to print
    :ivar not_a_disk: the remedy if the LV contains a storage system's own
        data and not a disk; empty if it may be a disk
    """

    text: str
    not_a_disk: str = ''


@dataclasses.dataclass(frozen=True)
class Contents:
    """What an LV contains.

    :ivar images: several if its first bytes are headers of several formats
    :ivar note: why the contents, or part of them, are not known; empty if
        they are
    """

    findings: tuple[Finding, ...] = ()
    images: tuple[Image, ...] = ()
    note: str = ''

    def __str__(self) -> str:
        return '; '.join([*map(str, self.images),
                          *(finding.text for finding in self.findings),
                          *filter(None, [self.note])])

    @property
    def not_a_disk(self) -> Finding | None:
        """The finding that shows it is not a disk; None if it may be one."""
        return next((finding for finding in self.findings
                     if finding.not_a_disk), None)


INACTIVE = Contents(note='not read: inactive')


class _Signature(typing.NamedTuple):
    """What an LV with these bytes at this offset contains."""

    offset: int
    magic: bytes
    finding: Finding


_LEASES = Finding(
    'sanlock leases',
    'leave it to sanlock and to the system that uses these locks')
_DRBD_METADATA = Finding(
    'DRBD metadata of another device',
    'leave it to DRBD; manage the LV that has the data, after DRBD is removed '
    'from it')
_SIGNATURES = (
    # sanlock, src/leader.h: DELTA_DISK_MAGIC and PAXOS_DISK_MAGIC, which
    # src/ondisk.c writes in little-endian order.
    _Signature(0, struct.pack('<I', 0x12212010), _LEASES),
    _Signature(0, struct.pack('<I', 0x06152010), _LEASES),
    # External metadata: libblkid knows the internal one, at the end. The magic
    # numbers of drbd-utils, user/shared/drbdmeta.c, for versions 08, 8.4
    # (unclean) and 09, are where libblkid's src/superblocks/drbd.c has them.
    _Signature(60, struct.pack('>I', 0x8374026b), _DRBD_METADATA),
    _Signature(60, struct.pack('>I', 0x8374026c), _DRBD_METADATA),
    _Signature(60, struct.pack('>I', 0x8374026d), _DRBD_METADATA),
)

# What libblkid's types are called, unless the type and its usage say enough.
_TYPES = {
    'ceph_bluestore': Finding(
        'Ceph BlueStore device',
        'leave it to Ceph; if its OSD is no longer needed, remove the OSD '
        'with `ceph osd purge` and the LV with `ceph-volume lvm zap`'),
    'crypto_LUKS': Finding('LUKS encrypted device'),
    'drbd': Finding('DRBD metadata at its end'),
    'linux_raid_member': Finding('Linux RAID member'),
    'swap': Finding('swap area'),
}
_USAGES = {'crypto': ' encrypted device', 'filesystem': ' file system'}
_TABLES = {'dos': 'MBR', 'gpt': 'GPT'}

# libblkid looks for the master file table as well, which Windows puts further
# inside; without it, libblkid reports the boot sector as a partition table.
_NTFS = b'NTFS    '

# lvm2 lib/format_text/layout.h, struct mda_header: checksum, magic, version,
# start, size, and offset and size of the newest text. That starts with the
# name of the group (lib/format_text/export.c).
_MDA_MAGIC = b' LVM2 x[5A%r0N*>'
_MDA = struct.Struct('<I16sIQQQQ')
_VG = re.compile(rb'([A-Za-z0-9+_.-]{1,127}) \{\n')


def of(head: bytes, tail: bytes, identified: Mapping[str, str],
       note: str = '') -> Contents:
    """Return what an LV contains.

    :param head: its first bytes, zeros where they could not be read
    :param tail: its last bytes, likewise; empty if there are no more
    :param identified: what libblkid found in them, by its names for it
    :param note: why something could not be read or identified
    """
    images = tuple(_images(head))
    findings = [*_signatures(head), *_findings(identified, head)]
    if not (images or findings or note):
        zeros = not (head.strip(b'\0') or tail.strip(b'\0'))
        findings = [Finding('zeros at its start and end' if zeros
                            else 'unknown data')]
    return Contents(tuple(findings), images, note)


def printable(text: str, length: int = _LONGEST) -> str:
    """Return a stranger's text in a form that can be shown anywhere.

    Letters and digits of all scripts stay, and some punctuation. The rest is
    escaped as in Python: control characters, those that change the direction
    of writing, quotes, markup. A long text is cut.

    :param text: may have surrogates for bytes that are not UTF-8
    :param length: characters of the text that are kept
    """
    escaped = ''.join(map(_escaped, text[:length]))
    return f'{escaped}...' if len(text) > length else escaped


def _escaped(character: str) -> str:
    if character.isalnum() or character in _PLAIN:
        return character
    code = ord(character)
    if 0xdc80 <= code <= 0xdcff:  # surrogateescape
        code -= 0xdc00
    if code <= 0xff:
        return f'\\x{code:02x}'
    return f'\\u{code:04x}' if code <= 0xffff else f'\\U{code:08x}'


def _images(head: bytes) -> Iterator[Image]:
    """Read the headers of image formats; there may be several at once."""
    wrapper = format_inspector.InspectWrapper(io.BytesIO(head))
    wrapper.read(len(head))
    wrapper.close()
    for inspector in sorted(wrapper.formats or (), key=str):
        name = str(inspector)
        if name not in _RAW:
            yield Image(
                name,
                (inspector.virtual_size or None) if name in _SIZED else None,
                _backing_file(head) if name == 'qcow2' else '',
                tuple(_failed_checks(inspector)))


def _failed_checks(inspector: format_inspector.FileInspector) -> list[str]:
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as exc:
        return sorted(exc.failures)
    except format_inspector.ImageFormatError:
        # It needs more of the image than its first bytes.
        return ['incomplete']
    return []


def _backing_file(head: bytes) -> str:
    """Return the name of a qcow2 image's backing file."""
    # qemu docs/interop/qcow2.txt
    offset, length = struct.unpack('>QI', head[8:20])
    if not offset:
        return ''
    return (printable(_decoded(head[offset:offset + length]))
            if offset + length <= len(head) else 'not read')


def _signatures(head: bytes) -> Iterator[Finding]:
    for signature in _SIGNATURES:
        if head.startswith(signature.magic, signature.offset):
            yield signature.finding


def _findings(identified: Mapping[str, str], head: bytes) -> Iterator[Finding]:
    """Put what libblkid found into words."""
    if 'TYPE' not in identified and head.startswith(_NTFS, 3):
        identified = {'TYPE': 'ntfs', 'USAGE': 'filesystem'}
    type_ = identified.get('TYPE', '')
    if type_ == 'LVM2_member':
        vg_name = _volume_group(head)
        yield Finding('LVM physical volume'
                      + (f' of volume group "{vg_name}"' if vg_name else ''))
    elif type_:
        usage = _USAGES.get(identified.get('USAGE', ''), '')
        finding = _TYPES.get(type_, Finding(printable(type_) + usage))
        label = printable(identified.get('LABEL', ''))
        yield (dataclasses.replace(finding, text=f'{finding.text} "{label}"')
               if label else finding)
    table = identified.get('PTTYPE', '')
    if table:
        yield Finding(f'{_TABLES.get(table, printable(table))} partition '
                      'table')


def _volume_group(head: bytes) -> str:
    """Return the group of a physical volume; empty if that was not read."""
    header = head.find(_MDA_MAGIC) - 4
    if header < 0 or header + _MDA.size > len(head):
        return ''
    _, _, _, _, _, offset, _ = _MDA.unpack_from(head, header)
    name = _VG.match(head, min(header + offset, len(head)))
    return name[1].decode() if name else ''


def _decoded(name: bytes) -> str:
    return name.decode(errors='surrogateescape')


def _readable(size: int) -> str:
    """Return a size for people."""
    return (f'{size / units.Gi:g} GiB' if size >= units.Gi
            else f'{size / units.Mi:g} MiB')

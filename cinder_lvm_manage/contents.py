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

They are identified by the first and last bytes of the LV, see samples.py.
Whoever used the LV wrote these bytes, so nothing here trusts them. Three
sources know what they mean:

- oslo.utils' format inspector knows image formats. Glance, Nova and Cinder
  have used it since CVE-2024-32498: it reads headers and follows no
  references.
- libblkid knows file systems, partition tables and more. LVM, udev and wipefs
  use it too. It runs in a process of its own, see libblkid.py.
- The table of signatures in this module has what neither of them knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import io
import re
import struct
import typing
import uuid

from oslo_log import log as logging
from oslo_utils import units
from oslo_utils.imageutils import format_inspector

LOG = logging.getLogger(__name__)

# oslo.utils reports these as formats too, but they are the contents of raw
# disks.
RAW = frozenset({'raw', 'gpt', 'iso', 'luks'})
# Formats whose virtual size is within the bytes that are read.
_SIZED = frozenset({'qcow2', 'vdi', 'vhd', 'vmdk'})
_FORMATS = tuple(sorted(format_inspector.ALL_FORMATS.keys() - RAW))
_QEMU_NAMES = {'vhd': 'vpc'}

# Shown as they are, like letters and digits: they mean nothing to a terminal,
# a shell, HTML or reStructuredText.
_PLAIN = frozenset(' +,-./:=@_~')
_LONGEST = 64


@dataclasses.dataclass(frozen=True)
class Image:
    """A disk image in a format other than raw.

    :ivar format: oslo.utils' name of the format
    :ivar virtual_size: size of the disk in bytes; None if it was not read
    :ivar backing_file: the name in the header, safe to print; empty if there
        is none
    :ivar failed_checks: the safety checks of oslo.utils that the image fails;
        it may then refer to other files
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

    def conversion(self, vg_name: str, lv_name: str,
                   thin_pool: str | None) -> str:
        """Return how to copy the disk in the image to an LV of its own.

        :param thin_pool: the pool to create that LV in; None for a thick LV
        """
        device = f'/dev/{vg_name}/{lv_name}'
        name = _QEMU_NAMES.get(self.format, self.format)
        check = (f'check with `qemu-img info -f {name} {device}` that the '
                 'files it refers to may be read; then '
                 if self.failed_checks else '')
        size, unknown = 'SIZE', (', where SIZE is the virtual size that '
                                 f'`qemu-img info -f {name} {device}` shows')
        if self.virtual_size:
            size, unknown = f'{-(-self.virtual_size // 512) * 512}b', ''
        new = (f'--thin --virtualsize {size} --name NEWNAME '
               f'{vg_name}/{thin_pool}' if thin_pool
               else f'--size {size} --name NEWNAME {vg_name}')
        return (f'{check}run `lvcreate {new}` and `qemu-img convert -n -f '
                f'{name} -O raw {device} /dev/{vg_name}/NEWNAME`, and manage '
                f'NEWNAME{unknown}')


@dataclasses.dataclass(frozen=True)
class Finding:
    """A description of something that an LV contains.

    :ivar text: safe to print
    :ivar remedy: what to do with an LV that contains metadata of a storage
        system, and is therefore not a disk; empty if it may be one
    """

    text: str
    remedy: str = ''


@dataclasses.dataclass(frozen=True)
class Contents:
    """What an LV contains.

    :ivar images: more than one if the first bytes are valid headers of several
        formats
    :ivar note: why the contents, or a part of them, are not known; empty if
        they are known
    :ivar failed: the device could not be read, or the bytes not be identified:
        it may contain anything
    :ivar boot_partitions: the kinds of its partitions that firmware boots
        from, in order: bios, efi
    """

    findings: tuple[Finding, ...] = ()
    images: tuple[Image, ...] = ()
    note: str = ''
    failed: bool = False
    boot_partitions: tuple[str, ...] = ()

    def __str__(self) -> str:
        return '; '.join([*map(str, self.images),
                          *(finding.text for finding in self.findings),
                          *filter(None, [self.note])])

    @property
    def image_format(self) -> str | None:
        """The formats, separated by commas; None if they are not known."""
        if self.images:
            return ','.join(image.format for image in self.images)
        return None if self.note else 'raw'

    @property
    def storage_metadata(self) -> Finding | None:
        """The finding by which the LV is not a disk; None without one."""
        return next((finding for finding in self.findings
                     if finding.remedy), None)


NOT_READ = Contents(note='not read: lvm_manage_read_contents is off')
INACTIVE = Contents(note='not read: inactive')
SUSPENDED = Contents(note='not read: suspended')
NO_DEVICE = Contents(note='not read: it has no device node')
OWNED = Contents(note='not read: Cinder manages it')
FAILED = Contents(note='not read: see the log of cinder-volume')


class _Signature(typing.NamedTuple):
    """Bytes at an offset of an LV, and what they show that it contains."""

    offset: int
    magic: bytes
    finding: Finding


_LEASES = Finding(
    'sanlock leases',
    'leave it to sanlock and to the system that uses these locks')
_DRBD_METADATA = Finding(
    'DRBD metadata of another device',
    'leave it to DRBD; to manage the LV that has the data, first remove DRBD '
    'from it')
_SIGNATURES = (
    # sanlock, src/leader.h: DELTA_DISK_MAGIC and PAXOS_DISK_MAGIC, which
    # src/ondisk.c writes in little-endian order.
    _Signature(0, struct.pack('<I', 0x12212010), _LEASES),
    _Signature(0, struct.pack('<I', 0x06152010), _LEASES),
    # External metadata; libblkid knows internal metadata, at the end. The
    # magic numbers of versions 08, 8.4 (unclean) and 09 are in drbd-utils,
    # user/shared/drbdmeta.c, and their offset is in libblkid,
    # src/superblocks/drbd.c.
    _Signature(60, struct.pack('>I', 0x8374026b), _DRBD_METADATA),
    _Signature(60, struct.pack('>I', 0x8374026c), _DRBD_METADATA),
    _Signature(60, struct.pack('>I', 0x8374026d), _DRBD_METADATA),
)

# Descriptions of libblkid's types; the others are named by type and usage.
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

# libblkid also wants the master file table, which is too far from the start if
# Windows formatted the disk. Without it, libblkid reports the boot sector as a
# partition table.
_NTFS = b'NTFS    '

# UEFI specification 2.10, 5.3: the header is in the second sector. It has the
# first sector, the number and the size of the entries, each of which begins
# with the partition's type. libblkid verifies the rest.
_SECTOR = 512
_GPT = struct.Struct('<72xQII')
_GPT_ENTRY = 128
_BOOT_PARTITIONS = {
    uuid.UUID('c12a7328-f81f-11d2-ba4b-00a0c93ec93b').bytes_le: 'efi',
    # GRUB keeps the code there that a BIOS starts.
    uuid.UUID('21686148-6449-6e6f-744e-656564454649').bytes_le: 'bios',
}

# lvm2 lib/format_text/layout.h, struct mda_header: checksum, magic, version,
# start, size, and offset and size of the newest text. That starts with the
# name of the group (lib/format_text/export.c).
_MDA_MAGIC = b' LVM2 x[5A%r0N*>'
_MDA = struct.Struct('<I16sIQQQQ')
_VG = re.compile(rb'([A-Za-z0-9+_.-]{1,127}) \{\n')


def of(head: bytes, tail: bytes, identified: Mapping[str, str],
       note: str = '', failed: bool = False) -> Contents:
    """Return what an LV contains.

    :param head: its first bytes, with zeros for those that were not read
    :param tail: its last bytes, likewise; empty if head is the whole LV
    :param identified: the names and values that libblkid found
    :param note: why something was not read or not identified
    :param failed: see Contents
    """
    images = []
    for name in _FORMATS:
        try:
            image = _image(name, head)
        except Exception as exc:  # noqa: BLE001 - anyone can write these bytes
            LOG.debug('oslo.utils cannot parse the header of an LV as %s: %r',
                      name, exc)
            note = note or f'not identified: it may be a {name} image'
            failed = True
        else:
            images += [image] if image else []
    findings = [*_signatures(head), *_findings(identified, head)]
    if not (images or findings or note):
        zeros = not (head.strip(b'\0') or tail.strip(b'\0'))
        findings = [Finding('zeros at its start and end' if zeros
                            else 'unknown data')]
    return Contents(tuple(findings), tuple(images), note, failed,
                    _boot_partitions(head)
                    if identified.get('PTTYPE') == 'gpt' else ())


def printable(text: str, length: int = _LONGEST) -> str:
    """Return untrusted text in a form that is safe to show anywhere.

    Letters and digits of all scripts are kept, and some punctuation. All other
    characters are escaped as in Python: control characters, those that change
    the direction of writing, quotes, markup. A long text is truncated.

    :param text: may have surrogates for bytes that are not UTF-8
    :param length: how many characters of the text are kept
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


def _image(name: str, head: bytes) -> Image | None:
    """Return the image of this format, if these bytes are its header.

    The inspector of oslo.utils can raise any exception.
    """
    wrapper = format_inspector.InspectWrapper(io.BytesIO(head),
                                              allowed_formats=[name])
    wrapper.read(len(head))
    wrapper.close()
    inspector = next((found for found in wrapper.formats or ()
                      if str(found) == name), None)
    if inspector is None:
        return None
    size = None
    if name in _SIZED:
        # A text descriptor of VMDK has none.
        with contextlib.suppress(KeyError):
            size = inspector.virtual_size or None
    return Image(name, size, _backing_file(head) if name == 'qcow2' else '',
                 tuple(_failed_checks(inspector)))


def _failed_checks(inspector: format_inspector.FileInspector) -> list[str]:
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as exc:
        return sorted(exc.failures)
    except format_inspector.ImageFormatError:
        # The check needs more than the first bytes.
        return ['incomplete']
    return []


def _backing_file(head: bytes) -> str:
    """Return the backing file's name in the header of a qcow2 image."""
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
    """Describe what libblkid found."""
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


def _boot_partitions(head: bytes) -> tuple[str, ...]:
    """Return the kinds of the boot partitions in a GPT, in order."""
    header = head[_SECTOR:_SECTOR + _GPT.size].ljust(_GPT.size, b'\0')
    start, count, size = _GPT.unpack(header)
    if size < _GPT_ENTRY:
        return ()
    first = start * _SECTOR
    kinds = {_BOOT_PARTITIONS.get(head[offset:offset + 16], '')
             for offset in range(first, min(first + count * size, len(head)),
                                 size)}
    return tuple(sorted(kinds - {''}))


def _volume_group(head: bytes) -> str:
    """Return the volume group of a physical volume; empty if not read."""
    header = head.find(_MDA_MAGIC) - 4
    if header < 0 or header + _MDA.size > len(head):
        return ''
    _, _, _, _, _, offset, _ = _MDA.unpack_from(head, header)
    name = _VG.match(head, min(header + offset, len(head)))
    return name[1].decode() if name else ''


def _decoded(name: bytes) -> str:
    return name.decode(errors='surrogateescape')


def _readable(size: int) -> str:
    """Return a size in GiB or MiB."""
    return (f'{size / units.Gi:g} GiB' if size >= units.Gi
            else f'{size / units.Mi:g} MiB')

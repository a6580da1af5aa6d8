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

"""VolumeGroup: the only module that runs commands as root.

It runs LVM's commands, and what reads open files and the contents of LVs.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import errno
import os
import re

from os_brick import executor
import os_brick.exception
import os_brick.utils
from oslo_concurrency import processutils
from oslo_log import log as logging

from cinder_lvm_manage import block_device
from cinder_lvm_manage import contents
from cinder_lvm_manage import errors
from cinder_lvm_manage import logical_volume
from cinder_lvm_manage.block_device import OpenFiles
from cinder_lvm_manage.claim import ActivationLists
from cinder_lvm_manage.contents import Contents
from cinder_lvm_manage.inventory import Images
from cinder_lvm_manage.inventory import Inventory
from cinder_lvm_manage.inventory import PhysicalVolume
from cinder_lvm_manage.logical_volume import LogicalVolume
from cinder_lvm_manage.reference import abridged
from cinder_lvm_manage.samples import ReaderError
from cinder_lvm_manage.samples import Samples

LOG = logging.getLogger(__name__)

# A report must not depend on lvm.conf, lvmlocal.conf or a profile: every
# setting that can change what it prints is set to LVM's default here. Each LVM
# from 2.03.12 on knows these settings. Which devices and groups LVM uses is
# still the operator's decision.
_SETTINGS = (
    # Roles, layouts and tags are split at commas.
    'report/list_item_separator=","',
    # Fields that are empty in all rows would be left out.
    'report/compact_output=0',
    'report/compact_output_cols=""',
    # The brackets around the names of hidden LVs.
    'report/mark_hidden_devices=1',
    'report/time_format="%Y-%m-%d %T %z"',
    'report/two_word_unknown_device=0',
    # An order by a field that LVM does not know makes the command fail.
    'report/buffered=1',
    'report/vgs_sort_full="vg_name"',
    'report/pvs_sort_full="pv_name"',
    'report/lvs_sort_full="vg_name,lv_name"',
    'report/pvsegs_sort_full="pv_uuid,pvseg_start"',
    'report/segs_sort_full="lv_uuid,seg_start"',
    # Text that would be put between and around the values of JSON.
    'report/prefixes=0',
    'log/prefix="  "',
    'log/command_names=0',
    # Errors go to standard error. LVM 2.03.26 and newer would write them into
    # the report.
    'log/report_command_log=0',
    'log/verbose=0',
    # LVM would crash where it does not know the layout of an LV.
    'global/abort_on_internal_errors=0')

# For `env`: LVM's messages that are neither errors nor warnings go to standard
# error too, and not between the lines of the report.
_STREAMS = ('LVM_REPORT_FD=1', 'LVM_OUT_FD=2', 'LVM_ERR_FD=2')

# A report of one volume group is `lvm fullreport`, not lvs: for the same cost
# it reports the group too, and it works on an exported one, which lvs passes
# over. Sections that are not needed are left without rows. A command that
# makes a change has no such settings: LVM writes the whole command into the
# group's metadata, which have little room.
REPORT = (
    *_STREAMS, 'lvm', 'fullreport', '--config', ' '.join(_SETTINGS),
    '--all', '--reportformat', 'json',
    '--units', 'b', '--nosuffix', '--binary',
    '--configreport', 'vg', '--options', ','.join(Inventory.VG_FIELDS),
    '--configreport', 'lv',
    '--options', ','.join(logical_volume.FIELDS),
    '--configreport', 'pv', '--options', ','.join(PhysicalVolume.FIELDS),
    '--configreport', 'pvseg', '--options', ',', '--select', 'pvseg_size=0',
    '--configreport', 'seg', '--options', ','.join(Images.FIELDS),
    '--select', 'stripes>1')

# Cinder's own commands split LVM's output at blanks, and leave these settings
# to the operator: LVM's defaults, as lvmconfig prints them.
_CINDER_NEEDS = {
    'report/output_format': '"basic"',
    'report/prefixes': '0',
    'report/columns_as_rows': '0',
    'report/separator': '" "',
    'report/two_word_unknown_device': '0',
    'log/report_command_log': '0',
    'log/command_names': '0',
    'log/prefix': '"  "',
}

# Warnings that do not help the operator: LVM prints them with every command,
# or they only repeat what the operator has configured.
_HARMLESS = re.compile('|'.join((
    r'Activation disabled\. No device-mapper interaction',
    r'This metadata update is NOT backed up',
    r'Failed to properly detect layout and role',
    r'Sum of all thin volume sizes',
    r'You have not turned on protection against thin pools running out',
    r'Set activation/thin_pool_autoextend',
    r'Udev is running and DM_DISABLE_UDEV environment variable is set',
    r'LVM will manage logical volume symlinks in device directory',
    r'File descriptor \d+ .* leaked on')))

# LVM's exit code when it crashes in a race with udev. Cinder retries too (bugs
# 1901783, 1932188).
_SEGMENTATION_FAULT = 139


# lvm2 lib/locking/lvmlockd.c, lockd_lv_name.
_LOCKED_ELSEWHERE = re.compile(r'LV locked by other host: [^/]+/(\S+)')


# Prints block_device.OpenFiles.lines. It reads only fd and mountinfo of each
# /proc/PID, and only looks at files in a /dev: a file server may not answer.
# grep's patterns are appended. The options are those of GNU find, stat and
# grep, which every distribution has.
_FIND_OPEN_FILES = (
    'find', '/proc', '-maxdepth', '3',
    '(', '-path', '/proc/[!0-9]*', '-prune', ')', '-o',
    '(', '-path', '/proc/*/fd/*', '-lname', '*/dev/*', '-xtype', 'b',
    '-exec', 'stat', '--dereference', '--format', '%n %t:%T', '{}', '+', ')',
    '-o', '(', '-path', '/proc/*/*', '!', '-name', 'fd',
    '!', '-name', 'mountinfo', '-prune', ')', '-o',
    '-name', 'mountinfo', '-exec', 'grep', '--with-filename', '--text',
    '--no-messages', '--fixed-strings')
_FIND_SECONDS = 10
# That of an LV whose device LVM does not know.
_NO_DEVICE_NUMBER = '-1:-1'
# More than the reader of contents needs to end by itself.
_READER_GRACE_SECONDS = 10
_ENDED_MEANWHILE = re.compile(
    rf'.*/proc/\d.*: ({os.strerror(errno.ENOENT)}|'
    rf'{os.strerror(errno.ESRCH)})')


class VolumeGroup(executor.Executor):
    """A volume group, through os-brick's privileged executor.

    :param lvm_conf_file: its directory is LVM's configuration if the file
        is there (Cinder's rule for the option of that name), or None
    :param timeout: seconds that one command may take
    """

    def __init__(self, name: str, root_helper: str,
                 lvm_conf_file: str | None, suppress_fd_warnings: bool,
                 timeout: int) -> None:
        super().__init__(root_helper)
        self.name = name
        self._timeout = timeout
        self._environment = ['env', 'LC_ALL=C']
        if lvm_conf_file and os.path.isfile(lvm_conf_file):
            self._environment.append(
                f'LVM_SYSTEM_DIR={os.path.dirname(lvm_conf_file)}')
        if suppress_fd_warnings:
            self._environment.append('LVM_SUPPRESS_FD_WARNINGS=1')

    def inventory(self) -> Inventory:
        """Read every LV of the group, with one command for any number.

        :raises LVMCommandFailed: LVM refused
        :raises VolumeGroupError: LVM timed out, or did not print a report that
            can be relied on
        """
        shown = f'lvm fullreport {self.name}'
        out, warnings = self._run(*REPORT, self.name, shown=shown)
        try:
            return Inventory.from_report(out, self.name, warnings)
        except ValueError as exc:
            raise errors.VolumeGroupError(
                f"LVM's report of volume group {self.name} cannot be relied "
                f'on ({exc}), so nothing is listed or changed. Run `lvm '
                f'fullreport --reportformat json {self.name}` and check its '
                'output for anything other than JSON') from exc

    def check_output_for_cinder(self) -> None:
        """Check that Cinder's LVM driver can parse what LVM prints.

        If it cannot, it does not find the group, fails with an IndexError, or
        does not find its LVs, and then deletes volumes but not their LVs.

        :raises VolumeGroupError: it cannot, or LVM failed
        """
        # With --readonly LVM makes no metadata backup and prints no warning
        # about old ones.
        command = ('vgs', '--readonly', '--noheadings', '--units', 'g',
                   '--nosuffix', '--options',
                   'vg_name,pv_name,vg_size,vg_free', self.name)
        printed, _ = self._run(*command)
        rows = [line.split() for line in printed.splitlines()]
        if rows and all(len(row) == 4 and row[0] == self.name for row in rows):
            return
        lines, _ = self._run(*_STREAMS, 'lvmconfig', '--type', 'full',
                             '--mergedconfig', *_CINDER_NEEDS)
        values = dict(line.partition('=')[::2] for line in lines.splitlines())
        changed = [
            f'{setting}={value}' for setting, needed in _CINDER_NEEDS.items()
            if (value := values[setting.partition('/')[2]]) != needed]
        raise errors.VolumeGroupError(
            f"Cinder's LVM driver cannot read what LVM prints: `"
            f"{' '.join(command)}` printed {abridged(printed.strip())}, not "
            'lines with two names and two sizes. Settings that differ from '
            'the defaults Cinder needs: '
            f"{', '.join(changed) or 'none found'}. "
            'Remove them from lvm.conf, lvmlocal.conf or the command profile, '
            'or set lvm_conf_file to an lvm.conf without them')

    def activation_lists(self) -> ActivationLists:
        """Read the settings of lvm.conf that limit which LVs are activated.

        :raises VolumeGroupError: LVM failed
        """
        lines, _ = self._run(*_STREAMS, 'lvmconfig', '--type', 'full',
                             '--mergedconfig',
                             *(f'activation/{field.name}' for field
                               in dataclasses.fields(ActivationLists)))
        # A setting without a value has no line.
        return ActivationLists(**{
            name: tuple(re.findall('"(.*?)"', value)) for name, _, value
            in (line.partition('=') for line in lines.splitlines())})

    def rename(self, lv_name: str, new_name: str) -> None:
        """Rename an LV.

        :raises LockedElsewhere: another host has it active; LVM does not check
            this for a thick snapshot
        :raises VolumeGroupError: LVM refused, or the new name is invalid
        """
        if not logical_volume.is_lv_name(new_name):
            raise errors.VolumeGroupError(
                f'LV {lv_name} cannot be named {new_name!r}: LVM allows '
                'letters, digits and + _ . - only')
        self._run('lvrename', self.name, lv_name, new_name)

    def change(self, lv_name: str, add_tags: Iterable[str] = (),
               remove_tags: Iterable[str] = (), skipped: bool | None = None,
               automatic: bool | None = None) -> None:
        """Change the LV's metadata in one command; None keeps a flag.

        :raises VolumeGroupError: LVM refused
        """
        options = [word for tag in add_tags for word in ('--addtag', tag)]
        options += [word for tag in remove_tags for word in ('--deltag', tag)]
        if skipped is not None:
            options += ['--setactivationskip', 'ny'[skipped]]
        if automatic is not None:
            options += ['--setautoactivation', 'ny'[automatic]]
        self._run('lvchange', *options, f'{self.name}/{lv_name}')

    def activate(self, lv_name: str) -> None:
        """Activate the LV; exclusively in a shared group, see lvmlockd(8).

        :raises LockedElsewhere: another host has it active
        :raises VolumeGroupError: LVM refused
        """
        self._run('lvchange', '--activate', 'y', '--yes',
                  '--ignoreactivationskip', f'{self.name}/{lv_name}')

    def deactivate(self, lv_name: str) -> None:
        """:raises VolumeGroupError: LVM refused; the LV may be open"""
        self._run('lvchange', '--activate', 'n', f'{self.name}/{lv_name}')

    def extend(self, lv_name: str, size: int) -> None:
        """Extend the LV to this size in bytes, rounded up to whole extents.

        :raises VolumeGroupError: LVM refused; there may be no room
        """
        self._run('lvextend', '--size', f'{size}b', f'{self.name}/{lv_name}')

    def create_thick_snapshot(self, origin: str, lv_name: str) -> None:
        """Create a snapshot with room for its whole origin to be overwritten.

        :raises VolumeGroupError: LVM refused; there may be no room
        """
        self._run('lvcreate', '--snapshot', '--extents', '100%ORIGIN',
                  '--name', lv_name, f'{self.name}/{origin}')

    def open_files(self, devices: Collection[str]) -> OpenFiles:
        """Return what the processes of this host have open or mounted.

        What cannot be read is logged, and makes the result incomplete.

        :param devices: major:minor of each device to look for in mounts
        """
        patterns = [word for device in devices
                    for word in ('-e', f' {device} ')]
        seconds = min(self._timeout, _FIND_SECONDS)
        out = ''
        try:
            # find exits with 1 if a process ends meanwhile.
            out, err = self._execute(
                'env', 'LC_ALL=C', *_FIND_OPEN_FILES, *patterns, '{}', '+',
                root_helper=self._root_helper, run_as_root=True,
                timeout=seconds, check_exit_code=[0, 1])
            problems = [line for line in err.splitlines()
                        if not _ENDED_MEANWHILE.fullmatch(line)]
        except os_brick.exception.ExecutionTimeout:
            problems = [f'`find /proc` took longer than {seconds} seconds']
        except processutils.ProcessExecutionError as exc:
            problems = _reasons(exc)
        if problems:
            LOG.warning('Cannot determine all processes that hold LVs of '
                        'volume group %(vg)s open: %(why)s (one of %(count)s '
                        'problems).',
                        {'vg': self.name, 'why': problems[0],
                         'count': len(problems)})
        return OpenFiles(list(filter(None, out.split('\n'))), not problems)

    def contents(self, lvs: Collection[LogicalVolume]) -> dict[str, Contents]:
        """Return what the LVs contain, by name.

        Those that have a device are read by one command for any number. What
        cannot be read is logged and noted.
        """
        nodes = {lv.name: f'/dev/{self.name}/{lv.name}' for lv in lvs
                 if not lv.is_suspended}
        # Whatever the LV's state is: it may not be known, or have changed.
        devices = {nodes[lv.name]: lv.size for lv in lvs if lv.name in nodes
                   and _leads_to(nodes[lv.name], lv)}
        found = self._contents_of(devices) if devices else {}
        return {lv.name: found.get(nodes.get(lv.name, ''), _not_read(lv))
                for lv in lvs}

    def _contents_of(self, devices: Mapping[str, int]) -> dict[str, Contents]:
        seconds = Samples.SECONDS + _READER_GRACE_SECONDS
        try:
            with Samples(devices) as samples:
                report, _ = self._execute(
                    *samples.READER, process_input=samples.request,
                    root_helper=self._root_helper, run_as_root=True,
                    timeout=seconds)
                return samples.contents(report)
        except os_brick.exception.ExecutionTimeout:
            why = f'device_reader.py took longer than {seconds} seconds'
        except processutils.ProcessExecutionError as exc:
            *_, why = _reasons(exc)
        # OSError: this process has no room for a file or a process left.
        except (ReaderError, OSError) as exc:
            why = str(exc)
        LOG.warning('Cannot read what LVs of volume group %(vg)s contain: '
                    '%(why)s', {'vg': self.name, 'why': why})
        return dict.fromkeys(devices, contents.FAILED)

    def _run(self, *command: str,
             shown: str | None = None) -> tuple[str, list[str]]:
        """Run an LVM command.

        :param shown: the command to show in errors, if it is too long
        :returns: its standard output, and the lines of its standard error
        """
        shown = shown or ' '.join(command)
        try:
            out, err = self._run_privileged(*command)
        except os_brick.exception.ExecutionTimeout as exc:
            raise errors.VolumeGroupError(
                f'`{shown}` timed out after {self._timeout} seconds: check '
                f'for a hung disk in volume group {self.name}, or another '
                'LVM command that holds its lock; or raise '
                'lvm_manage_command_timeout') from exc
        except processutils.ProcessExecutionError as exc:
            messages = _messages(exc.stderr or exc.description or '')
            locked = next(filter(None, map(_LOCKED_ELSEWHERE.search,
                                           messages)), None)
            if locked:
                raise errors.LockedElsewhere(
                    locked[1], command, shown, exc.exit_code,
                    messages) from exc
            raise errors.LVMCommandFailed(command, shown, exc.exit_code,
                                          messages) from exc
        messages = _messages(err)
        if messages:
            LOG.warning('`%(command)s` succeeded, but LVM printed: '
                        '%(messages)s',
                        {'command': shown, 'messages': '; '.join(messages)})
        return out, messages

    @os_brick.utils.retry(_SEGMENTATION_FAULT, interval=0.5, backoff_rate=0.5,
                          retry=os_brick.utils.retry_if_exit_code)
    def _run_privileged(self, *command: str) -> tuple[str, str]:
        return self._execute(*self._environment, *command,
                             root_helper=self._root_helper,
                             run_as_root=True, timeout=self._timeout)


def _reasons(exc: processutils.ProcessExecutionError) -> list[str]:
    """Return the lines that a command printed when it failed."""
    return ((exc.stderr or '').strip() or exc.description
            or f'exit code {exc.exit_code}').splitlines()


def _leads_to(node: str, lv: LogicalVolume) -> bool:
    """Return whether the node is that of the LV's device.

    A link that udev did not update can lead to another LV's device.
    """
    number = block_device.number(node)
    return bool(number) and lv.device in (number, _NO_DEVICE_NUMBER)


def _not_read(lv: LogicalVolume) -> Contents:
    """Return why the contents of an LV without a readable device are unknown.
    """
    if lv.is_suspended:
        return contents.SUSPENDED
    return (contents.INACTIVE if lv.activation.active is False
            else contents.NO_DEVICE)


def _messages(stderr: str) -> list[str]:
    """Return LVM's lines without the harmless ones."""
    lines = map(str.strip, stderr.splitlines())
    return [line for line in lines if line and not _HARMLESS.search(line)]

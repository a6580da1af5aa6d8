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

"""The LVM commands of the remedies, on real LVM.

The remedies' placeholders, in capitals, are the names of the volume group and
of its LVs here, so that a remedy's command can be run without a change.
"""

import json
import os
import re
import subprocess
from typing import Any
from unittest import mock

import pytest

from cinder_lvm_manage import rules
from tests.lab import zoo
from tests.lab.scratch import ScratchVolumeGroup

# Arguments that remedies leave out.
ARGUMENTS = {
    'lvchange --addtag': 'TAG VG/LV',
    'lvchange --deltag': 'TAG VG/LV',
    'lvconvert --merge': 'VG/LV',
    'lvconvert --stripes': '1 VG/LV',
    'lvextend VG/LV': '--size +4m',
    'lvextend VG/POOL': '--size +4m',
    'lvchange --refresh': 'VG/LV',
    'pvchange --metadataignore y': 'PV',
    'vgextend VG': 'PV',
}
# LVM's exit code for a wrong command line (lib/commands/errors.h).
EINVALID_CMD_LINE = 3
LVM_PROGRAM = re.compile(r'(lv|vg|pv)[a-z]+')
RULES: tuple[rules.Rule[Any], ...] = (
    *rules.AS_ANY, *rules.AS_VOLUME, *rules.AS_SNAPSHOT)


@pytest.fixture
def group():
    """The group VG, with the LV named LV and the thin pool data."""
    with (ScratchVolumeGroup('VG', physical_volumes=2) as vg,
          mock.patch.dict(os.environ, vg.environment)):
        vg.restore(zoo.thin_volumes_with_snapshots('VG', 0))
        vg.edit('VG-pool', 'data')
        vg.create('LV', '4m')
        yield vg


def run(command):
    """Run a command line in a shell, with its stderr in its stdout."""
    return subprocess.run(
        ['bash', '-o', 'pipefail', '-c', command], text=True, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)


def completed(command):
    return ' '.join(filter(None, (command, ARGUMENTS.get(command))))


def commands_of(remedy):
    """Yield the LVM commands in a remedy, with placeholders in capitals.

    A command ends where a sentence goes on; alone, without an argument, it is
    no command line.
    """
    text = re.sub(r'\{(?:\w+\.)*(\w+)\}', lambda match: match[1].upper(),
                  remedy.replace('{lv.name}', 'LV'))
    for clause in re.split(r'[,;`]| (?:or|and|in|then|see) ', text):
        words = clause.split()
        while words and not LVM_PROGRAM.fullmatch(words[0]):
            del words[0]
        command: list[str] = []
        for word in words:
            if command and not (re.fullmatch(r'--?[a-z].*|[A-Z+].*', word)
                                or command[-1].startswith('--')):
                break
            command.append(word)
        if len(command) > 1:
            yield ' '.join(command)


COMMANDS = sorted({command for rule in RULES
                   for command in commands_of(rule.remedy)})


@pytest.mark.parametrize('command', COMMANDS)
def test_lvm_understands_the_command_of_a_remedy(group, command):
    group.lvm('lvrename', 'VG', 'data', 'POOL')
    device = group.report('devices')[0]['devices'].partition('(')[0]
    done = run(re.sub(r'\bPV\b', device, f'{completed(command)} --test'))
    assert done.returncode != EINVALID_CMD_LINE, done.stdout


@pytest.mark.parametrize('cause', ['lvchange --permission r VG/LV',
                                   'vgexport VG'])
def test_the_remedy_of_a_reason_makes_the_lv_safe(group, driver, cause):
    def listed():
        entry, = (entry for entry in driver.get_manageable_volumes(
            [], None, None, None, ['reference'], ['asc'])
            if entry['reference'] == {'source-name': 'LV'})
        return entry
    assert run(cause).returncode == 0
    reason, = json.loads(listed()['extra_info']['reasons'])
    command, = commands_of(reason['remedy'])
    done = run(command)
    assert done.returncode == 0, done.stdout
    assert listed()['safe_to_manage']


def test_lvm_rejects_a_wrong_command(group):
    for command in ('lvchange --permision rw VG/LV', 'lvextend VG/LV'):
        assert run(f'{command} --test').returncode == EINVALID_CMD_LINE

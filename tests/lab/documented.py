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

"""The command lines of the documentation, and what runs or checks each.

The tests get their command lines from here, so that they run what the pages
say. tests/unit/test_documented_commands.py fails if a command line is in none
of the tables.
"""

from __future__ import annotations

from collections.abc import Iterator
import functools
import pathlib
import posixpath
import re
from typing import NamedTuple

from docutils import frontend
from docutils import nodes
from docutils import utils
from docutils.parsers import rst
import yaml

CHECKOUT = pathlib.Path(__file__).parents[2]

# The tests and programs that run command lines.
WALKTHROUGH = 'tests/shows/walkthrough.py'
CLIENTS = 'tests/shows/clients.py'
BOOT = 'tests/shows/boot.py'
TEMPEST = 'tests/shows/tempest_run.py'
LVM = ('tests/functional/test_documented_commands.py::'
       'test_the_commands_of_a_page_succeed')
# With --test: the page has volume groups of its own.
LVM_SYNTAX = ('tests/functional/test_documented_commands.py::'
              'test_lvm_understands_a_command')
BY_HAND = ('tests/functional/test_documented_commands.py::'
           'test_a_name_is_restored_by_hand')
ON_DEVICES = ('tests/device_mapper/test_documented_commands.py::'
              'test_a_command_on_a_device_succeeds')
HOLDERS = ('tests/device_mapper/test_states.py::'
           'test_an_lv_in_use_is_refused_until_it_is_released')
README = ('tests/keystone/test_documented_commands.py::'
          'test_the_commands_of_a_readme')
ADOPT_MANY = 'tests/keystone/test_documented_commands.py::test_adopt_many'
DEVSTACK = ('tests/keystone/test_documented_commands.py::'
            'test_the_commands_of_devstacks_readme')
QUOTA = ('tests/keystone/test_documented_commands.py::'
         'test_the_quota_is_corrected')
CLOUD = ('tests/keystone/test_documented_commands.py::'
         'test_commands_about_a_volume_succeed')
CHECK = ('tests/unit/test_docs.py::'
         'test_the_check_of_the_install_page_loads_the_driver')
RENO = ('tests/unit/test_documented_commands.py::'
        'test_a_release_note_is_created')
JQ = 'tests/unit/test_documented_commands.py::test_jq_finds_the_lvs_in_use'
CLIENT_INSTALL = ('tests/integration/test_client_install.py::'
                  'test_the_client_needs_no_cinder')
PLUGIN = ('tests/devstack/test_plugin.py::'
          'test_driver_and_client_are_installed_beside_cinder')
SHARED = ('tests/cluster/test_documented_commands.py::'
          'test_a_command_succeeds_on_a_host_of_a_cluster')
CLUSTER = ('tests/cluster/test_documented_commands.py::'
           'test_adopting_by_cluster')
# The lab sets up its shared volume group with these command lines.
SHARED_GROUP = 'tests/lab/cluster_hosts.py'
# The labs run this command line before they list active LVs.
UDEV = 'tests/lab/scratch.py'

# Checks of command lines that are not run.
TOX = 'the environment exists in tox.ini'
MODULE = 'the module exists'
SYNTAX = "the client's own parsers accept the arguments"

# Page and command line, both regular expressions, and what runs or checks it.
# The first entry that matches counts.
CHECKED_BY = (
    (r'.*', r'tox -e venv -- reno new SLUG', RENO),
    (r'.*', r'([A-Z_]+=\S+ )?(tools/)?tox(\.sh)?( (?!-e all ).*)?', TOX),
    (r'.*', r'pip install ./client', CLIENT_INSTALL),
    (r'.*/install.rst', r'python -W ignore -c .*', CHECK),
    (r'.*/clients.rst',
     r'(cinder|openstack) .* (one@one#one.*|web|web db|(web-)?friday)',
     CLIENTS),
    (r'.*/tutorial.rst', r'(openstack|lvs|debugfs) .*', BOOT),
    (r'.*', r'python -m .*', MODULE),
    (r'.*/cluster.rst', r'vgcreate .*|vgchange --lockstart vg|mkdir .*',
     SHARED_GROUP),
    (r'.*/cluster.rst', r'(lvchange|lvmlockctl|lvs|vgchange|vgs|sanlock) .*',
     SHARED),
    (r'.*/cluster.rst', r'openstack .* attachment .*|cinder .*', CLOUD),
    (r'.*/cluster.rst', r'openstack volume adoption .*(?<!#lvm)|.*--cluster.*',
     CLUSTER),
    (r'.*/(adopt|snapshots).rst',
     r'cinder (?!.*quota).*|umount .*|lvs .* scratch(/\S+)?', WALKTHROUGH),
    (r'(client/)?README.rst', r'(cinder|openstack) .*', README),
    (r'.*/adopt-many.rst', r'openstack .* .* .* .*|mv .*', ADOPT_MANY),
    (r'devstack/.*', r'(sudo lvcreate|openstack .* .* .*) .*', DEVSTACK),
    (r'.*', r'cinder-manage quota .*', QUOTA),
    (r'.*', r'cinder get-pools|openstack volume list|grep .*', CLOUD),
    (r'.*', r'openstack .* set --state error ID', CLOUD),
    (r'.*', r'(cinder|openstack) .*', SYNTAX),
    (r'tempest/README.rst', r'tempest run .*', TEMPEST),
    (r'.*', r'jq .*', JQ),
    (r'devstack/.*', r'enable_plugin .*', PLUGIN),
    (r'.*', r'(qemu-img|fuser|wipefs|vgscan) .*|dmsetup resume', ON_DEVICES),
    (r'.*', r'lsblk|lvcreate --snapshot', ON_DEVICES),
    (r'.*', r'(umount|swapoff|losetup|nsenter|qemu-nbd) .*', HOLDERS),
    (r'.*', r'(dmsetup remove|tgt-admin) .*|echo 0 > .*/namespaces/.*',
     HOLDERS),
    (r'.*/migrate.rst', r'(lv|vg)[a-z]+ .*', LVM_SYNTAX),
    (r'.*', r'lvrename VG volume-ID NAME', BY_HAND),
    (r'.*', r'lvchange --deltag cinder_lvm_manage:.*', BY_HAND),
    (r'.*', r'udevadm settle', UDEV),
    (r'.*', r'(lv[a-z]*|vgchange|env|ps) .*|dmesg', LVM),
)

# Page, command line, and words of the page that say that nothing ran it; all
# are regular expressions.
NOT_RUN = (
    (r'.*/install.rst', r'/var/lib/kolla/venv/bin/pip .*',
     r'has not been built or run\.'),
    (r'.*/migrate.rst',
     r'(virsh|qm|pct|pvesm|gnt-[a-z]+|lxc|incus|vdsm-[a-z]+) .*',
     r'(commands|systems themselves)\*{0,2} (were|have) not (been )?run'),
)

# Page, command line, and why nothing runs it, which the page does not say.
UNTESTED = (
    (r'.*', r'pip .*|/path/to/venv/bin/pip .*',
     'tox installs the packages; no test installs a wheel'),
    (r'devstack/README.rst', r'tox -e all -- .*',
     "an environment of Tempest's own tox.ini"),
    (r'.*/troubleshooting.rst', r'(targetcli|multipath|kpartx|cryptsetup) .*',
     'run by hand: see _NOT_RUN in tests/device_mapper/test_states.py'),
    (r'.*/cluster.rst', r'systemctl .*',
     'no systemd in the lab, where cluster_hosts.py runs what units run'),
    (r'.*/cluster.rst', r'cinder-manage service remove .*',
     'run by hand: no test removes a host for good'),
    (r'.*/troubleshooting.rst',
     r'(mdadm|drbdadm) .*|echo 1 > /sys/block/bcacheN/.*', 'never run'),
)

# A line of a literal block, or a literal in a sentence, that begins with one
# of these and has an argument is a command line.
_PROGRAMS = frozenset((
    'cinder', 'cinder-manage', 'cryptsetup', 'dmsetup', 'drbdadm', 'echo',
    'enable_plugin', 'env', 'fuser', 'gnt-instance', 'grep', 'incus', 'jq',
    'kpartx', 'losetup', 'lvchange', 'lvconvert', 'lvcreate', 'lvextend',
    'lvm', 'lvmconfig', 'lvmdevices', 'lvmlockctl', 'lvremove', 'lvrename',
    'lvs', 'lxc', 'mdadm', 'multipath', 'mv', 'nsenter', 'openstack', 'pct',
    'pip', 'ps', 'pvesm', 'pvs', 'python', 'qemu-img', 'qemu-nbd', 'qm',
    'swapoff', 'systemctl', 'targetcli', 'tempest', 'tgt-admin', 'tox',
    'tox.sh', 'udevadm', 'umount', 'vgchange', 'vgextend', 'vgs', 'vgscan',
    'virsh', 'wipefs'))
_WITHOUT_ARGUMENTS = frozenset(('dmesg', 'lsblk', 'tox.sh'))
# One with an option is too, so that no unknown program is overlooked.
_WITH_OPTION = re.compile(r'[a-z][\w./-]* (.* )?--?[a-z].*')
_NO_COMMANDS = re.compile(r'kill -9|mypy --strict|cinder ALL = .*')


class CommandLine(NamedTuple):
    """A command line and the path of its page in the checkout."""

    page: str
    text: str


@functools.cache
def command_lines() -> tuple[CommandLine, ...]:
    """Return all command lines, once for each page, in the pages' order."""
    return tuple(dict.fromkeys(
        CommandLine(str(path.relative_to(CHECKOUT)), text)
        for path in _pages() for source in _texts(path)
        for text in _found(source)))


def entry(line: CommandLine) -> tuple[str, str, str] | None:
    """Return the first entry of the tables that matches."""
    return next((found for found in (*NOT_RUN, *CHECKED_BY, *UNTESTED)
                 if matches(line, found)), None)


def lines_of(checker: str) -> list[CommandLine]:
    """Return the command lines that a test or program runs or checks."""
    return [line for line in command_lines()
            if (found := entry(line)) and found[2] == checker]


def matches(line: CommandLine, found: tuple[str, str, str]) -> bool:
    """Whether an entry of a table is for this command line."""
    page, text, _ = found
    return bool(re.fullmatch(page, line.page)
                and re.fullmatch(text, line.text, re.DOTALL))


def _pages() -> Iterator[pathlib.Path]:
    for pattern in ('*.rst', 'doc/source/*.rst', 'client/README.rst',
                    'devstack/README.rst', 'tempest/README.rst',
                    'releasenotes/notes/*.yaml'):
        yield from sorted(CHECKOUT.glob(pattern))


def _texts(path: pathlib.Path) -> Iterator[str]:
    if path.suffix == '.rst':
        yield path.read_text()
        return
    for section in yaml.safe_load(path.read_text()).values():
        yield from [section] if isinstance(section, str) else section


def _found(source: str) -> Iterator[str]:
    settings = frontend.get_default_settings(rst.Parser)
    # Sphinx's directives and roles are unknown here.
    settings.report_level = 5
    document = utils.new_document('page', settings)
    rst.Parser().parse(source, document)
    for node in document.findall():
        if isinstance(node.parent, nodes.system_message):
            continue
        if isinstance(node, nodes.literal_block):
            yield from _in_block(node.astext())
        elif isinstance(node, nodes.literal):
            yield from _in_sentence(node)


def _in_block(text: str) -> Iterator[str]:
    # A line continues after a backslash or `do`, or in a pipe.
    for line in re.sub(r' *\\\n *|\n +(?=\| )|(?<=; do)\n +', ' ',
                       text).splitlines():
        command = re.sub(r'^([$#]|RUN) ', '', line)
        command = re.sub(r' {2,}# .*', '', command)
        command = re.sub(r'^for .*; do (.*); done$', r'\1', command)
        if line.startswith('$ ') or _is_command(re.sub('`.*?(`|$)', '',
                                                       command)):
            yield command
    yield from _quoted(text)


def _in_sentence(literal: nodes.literal) -> Iterator[str]:
    text = ' '.join(literal.astext().split())
    if '`' in text:
        yield from _quoted(text)
    elif _is_command(text):
        yield text
    # A table's cell names the command first and then other options of it.
    cell = literal.parent.parent
    if isinstance(cell, nodes.entry) and text.startswith('-'):
        first = ' '.join(next(cell.findall(nodes.literal)).astext().split())
        if _is_command(first):
            yield f'{first} {text}'


def _quoted(text: str) -> Iterator[str]:
    """Yield the commands that the driver's messages name, in backquotes."""
    for quoted in re.findall(r'`([^`]+)`', text):
        if _is_command(' '.join(quoted.split())):
            yield ' '.join(quoted.split())


def _is_command(text: str) -> bool:
    if _NO_COMMANDS.fullmatch(text):
        return False
    if _WITH_OPTION.fullmatch(text):
        return True
    text = re.sub(r'^(sudo |[A-Z_]+=\S+ )+', '', text)
    program, _, arguments = text.partition(' ')
    program = posixpath.basename(program)
    return bool((program in _PROGRAMS and arguments)
                or program in _WITHOUT_ARGUMENTS)

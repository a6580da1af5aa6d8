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

"""The documentation has every message, and README points at what is there."""

import ast
import dataclasses
import pathlib
import re
import subprocess
import sys

import pytest

from cinder_lvm_manage import adoption
from cinder_lvm_manage import listing
from cinder_lvm_manage import opts
from cinder_lvm_manage.block_device import User
from cinder_lvm_manage.claim import SnapshotClaim
from cinder_lvm_manage.contents import Contents
from cinder_lvm_manage.foreign_owners import ForeignOwner
from cinder_lvm_manage.verdict import Verdict
from tests.unit.reports import inventory

CHECKOUT = pathlib.Path(__file__).parents[2]
PAGES = CHECKOUT / 'doc' / 'source'
README = (CHECKOUT / 'README.rst').read_text()
TROUBLESHOOTING = ' '.join(
    PAGES.joinpath('troubleshooting.rst').read_text().split())

# Their texts are made into tables when the pages are built.
GENERATED = {'case.py', 'rules.py', 'opts.py', 'foreign_owners.py'}


def messages():
    """Every text of three words or more in the code, docstrings aside."""
    for path in sorted(CHECKOUT.glob('cinder_lvm_manage/*.py')):
        if path.name not in GENERATED:
            yield from texts(ast.parse(path.read_text()))


def texts(node):
    match node:
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Call(func=ast.Attribute(value=ast.Name(id='re'))):
            # A pattern, not a message.
            return
        case ast.Call(func=ast.Name(id='translated')):
            # An action: the test below has them.
            return
        case ast.JoinedStr(values=parts):
            text = ''.join(str(part.value) if isinstance(part, ast.Constant)
                           else '%s' for part in parts)
        case ast.Constant(value=str(text)):
            pass
        case _:
            for child in ast.iter_child_nodes(node):
                yield from texts(child)
            return
    text = ' '.join(re.sub(r'%\(\w+\)s', '%s', text).split())
    if len(text.replace('%s', '').split()) >= 3:
        yield text


@pytest.mark.parametrize('message', list(messages()))
def test_troubleshooting_has_every_message(message):
    known = '.{1,60}?'.join(map(re.escape, message.split('%s')))
    assert re.search(known, TROUBLESHOOTING)


def test_troubleshooting_has_the_actions_and_no_others():
    section = TROUBLESHOOTING.rpartition(' Actions ======= ')[2]
    _, _, listed = section.partition(' * ')
    documented = {re.sub('KIND ID|ID|REFERENCE', '%s', action)
                  for action in re.findall('``(.*?)``', listed)}
    sources = ''.join(path.read_text() for path in
                      CHECKOUT.glob('cinder_lvm_manage/*.py'))
    actions = {re.sub('{.*?}', '%s', action) for action in
               re.findall(r"@translated\('(.*?)'\)", sources)}
    # Of a volume or a snapshot, which have an action of their own.
    actions.remove('delete %s')
    assert documented == actions


@pytest.mark.parametrize('page', re.findall(r'<doc/source/(\S+)>', README))
def test_readme_points_at_a_page(page):
    assert PAGES.joinpath(page).exists()


def test_the_options_that_are_spoken_of_are_there():
    text = README + ''.join(path.read_text() for path in PAGES.glob('*.rst'))
    assert set(re.findall(r'lvm_manage_\w+', text)) == {
        opt.name for opt in opts.manage_opts}


def test_every_key_of_extra_info_is_explained():
    zoo = dataclasses.replace(inventory('zoo'), shared=True)
    adopted = zoo.lvs[0]._replace(tags=tuple(
        adoption.Journal('some-id', 'data1').tags))
    listed = {key for lv in (*zoo.lvs, adopted) for key in listing.entry(
        lv, zoo, SnapshotClaim(),
        Verdict((), lv.size, ForeignOwner('Proxmox VE')),
        [User('mounted on /mnt', 'umount /mnt')],
        Contents(boot_partitions=('efi',)), 'some-id')['extra_info']}
    page = PAGES.joinpath('extra-info.rst').read_text()
    tables = page.partition('\nReasons\n')[0]
    assert listed == {key for keys in re.findall(r'^   \* - (``.*)$', tables,
                                                 re.M)
                      for key in re.findall('``(.*?)``', keys)}


def test_every_test_of_a_private_name_exists():
    page = PAGES.joinpath('cinder-internals.rst').read_text()
    sources = ''.join(CHECKOUT.joinpath(path).read_text() for path in
                      set(re.findall(r'``(tests/\S+\.py)``', page)))
    named = set(re.findall('``(test_[a-z_]+)``', page))
    assert named
    assert named <= set(re.findall(r'^def (\w+)', sources, re.M))


def test_the_check_of_the_install_page_loads_the_driver():
    page = PAGES.joinpath('install.rst').read_text()
    script, = re.findall(r"^    \$ python -W ignore -c '(.*)'$", page, re.M)
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', script],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ''), done.stderr

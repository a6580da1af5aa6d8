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

"""Something runs or checks each command line of the documentation."""

import ast
import configparser
import json
import os
import re
import shlex
import subprocess
import sysconfig
from unittest import mock

from cinderclient import api_versions  # type: ignore[import-untyped]
from cinderclient import shell
from cliff import commandmanager
from osc_volume_adopt import commands
from osc_volume_adopt import run_commands
import oslo_i18n
import pytest

from tests.lab import documented
from tests.shows import walkthrough

TABLES = (*documented.NOT_RUN, *documented.CHECKED_BY, *documented.UNTESTED)
TESTS = sorted({by for _, _, by in documented.CHECKED_BY if '::' in by})
# Tests that do not take their command lines from the pages.
FIXED = {documented.HOLDERS, documented.PLUGIN, documented.CLIENT_INSTALL,
         documented.CHECK}
ADOPTION = (commands.ListAdoption, commands.ShowAdoption,
            commands.PlanAdoption, run_commands.ApplyAdoption,
            run_commands.UndoAdoption, run_commands.RecoverAdoption)
# Of the client's commands, only those on volumes are looked up.
COMPUTE = re.compile('openstack (--os-compute|console|server)')
# IDs and UUIDs differ from run to run.
ID = re.compile(r'\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b\w{6}(-\w{4}){5}-\w{6}\b')


def each(checker):
    """A test for each command line that this runs or checks."""
    return pytest.mark.parametrize(
        'line', documented.lines_of(checker), ids=': '.join)


def tox_ini():
    conf = configparser.ConfigParser(interpolation=None)
    conf.read(documented.CHECKOUT / 'tox.ini')
    return conf


def environments():
    """The commands of each environment in tox.ini, by its name."""
    conf = tox_ini()
    for section in conf.sections():
        name = section.removeprefix('testenv:')
        if name != section:
            ran = conf[section].get('commands', '')
            found = re.fullmatch(r'(.*)\{(.*)\}', name)
            factors = found[2].split(',') if found else ['']
            for factor in factors:
                yield (found[1] + factor if found else name), ran


def text_of(path):
    return documented.CHECKOUT.joinpath(path).read_text()


class Recorder(walkthrough.Terminal):
    """A terminal on which nothing runs."""

    def __init__(self):
        self.commands = []

    def run(self, command):
        self.commands.append(command)
        return ''

    def id_from(self, command):
        self.run(command)
        return '00000000-0000-4000-8000-000000000000'


@pytest.mark.parametrize('line', documented.command_lines(), ids=': '.join)
def test_it_is_run_or_checked_or_the_page_says_that_it_was_not(line):
    found = documented.entry(line)
    assert found
    if found in documented.NOT_RUN:
        page = ' '.join(text_of(line.page).split())
        assert re.search(found[2], page)


@pytest.mark.parametrize('entry', TABLES, ids=str)
def test_every_entry_is_the_first_that_matches_something(entry):
    assert entry in map(documented.entry, documented.command_lines())


@pytest.mark.parametrize('test', TESTS)
def test_the_test_exists_and_takes_its_command_lines_from_the_pages(test):
    path, _, name = test.partition('::')
    assert re.search(rf'^def {name}\(', text_of(path), re.M)
    constant, = (each for each, value in vars(documented).items()
                 if value == test)
    assert (test in FIXED) != (f'documented.{constant})' in text_of(path))


def test_the_walkthrough_runs_what_the_pages_show():
    shown = Recorder()
    group = mock.Mock(**{'names.return_value': {
        'mail01': 'ASiGYx-uqVo-AZDI-JqeB-RLCq-yaX1-7wMQxS'}})
    walkthrough._walk(group, mock.Mock(), shown)
    ran = {ID.sub('ID', command) for command in shown.commands}
    printed = {ID.sub('ID', line.text)
               for line in documented.lines_of(documented.WALKTHROUGH)}
    assert printed <= ran


@each(documented.CLIENTS)
def test_the_lab_of_the_clients_runs_it(line):
    words = {'host': 'one@one#one', 'db': 'UUID',
             'marker': '{"source-name": "db"}'}
    client, *arguments = shlex.split(line.text)
    # Not imported: it needs what only the environment keystone has.
    ran, = (ast.literal_eval(node.value)
            for node in ast.parse(text_of(documented.CLIENTS)).body
            if isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == f'_{client.upper()}')
    assert any(set(arguments) <= set(shlex.split(command.format_map(words)))
               for command in ran)


@each(documented.BOOT)
def test_the_program_that_boots_servers_runs_it(line):
    # Not imported: it needs what only the environment boot has.
    assigned = {ast.unparse(node.targets[0]): ast.literal_eval(node.value)
                for node in ast.parse(text_of(documented.BOOT)).body
                if isinstance(node, ast.Assign)
                and ast.unparse(node.targets[0]) in (
                    '_ADOPT', '_START', '_CONSOLE', '_DELETE', '_RELEASE')}
    each_disk = [assigned[name] for name in ('_START', '_CONSOLE', '_DELETE')]
    ran = {*assigned['_ADOPT'], *assigned['_RELEASE'], *(
        command.format(disk=disk) for command in each_disk
        for disk in re.findall(r'vm-\d+-disk-0', line.text))}
    assert line.text.partition(' | ')[0] in ran


@each(documented.TOX)
def test_tox_has_the_environment_and_its_program_the_option(line):
    named, _, arguments = line.text.partition(' -- ')
    known = dict(environments())
    for label in re.findall(r' -m (\S+)', named):
        assert f'\nlabels =\n    {label} = ' in text_of('tox.ini')
    for name in filter(None, named.partition(' -e ')[2].split(',')):
        assert name in known
        for option in re.findall(r'--[a-z-]+', arguments):
            program, = re.findall(r'tests\.shows\.\w+', known[name])
            assert f"'{option}'" in text_of(
                f"{program.replace('.', '/')}.py")


@each(documented.MODULE)
def test_the_module_exists(line):
    module = line.text.split()[2]
    if module == 'unittest':
        module = line.text.split()[3]
    assert documented.CHECKOUT.joinpath(
        f"{module.replace('.', '/')}.py").exists()


@each(documented.HOLDERS)
def test_the_states_of_active_lvs_run_it(line):
    text = text_of(documented.HOLDERS.partition('::')[0])
    program, argument = line.text.split()[:2]
    remedy = argument if argument.startswith('--') else ''
    assert re.search(rf"[`']{program} {remedy}", text)
    not_run, = re.findall('^_NOT_RUN = ({.*})$', text, re.M)
    assert program not in ast.literal_eval(not_run)


@pytest.mark.parametrize(('runner', 'words'), [
    (documented.PLUGIN, 'enable_plugin cinder-lvm-manage '),
    (documented.UDEV, "'udevadm', 'settle'"),
    (documented.TEMPEST, "'tempest'), 'run',"),
    (documented.CLIENT_INSTALL, "output(*pip, 'install'")])
def test_the_program_runs_it(runner, words):
    assert words in text_of(runner.partition('::')[0])


def test_a_release_note_is_created(tmp_path):
    line, = {line.text for line in documented.lines_of(documented.RENO)}
    words = shlex.split(line.partition(' -- ')[2])
    subprocess.run(
        [os.path.join(sysconfig.get_path('scripts'), words[0]), *words[1:]],
        cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    note, = tmp_path.glob('releasenotes/notes/SLUG-*.yaml')
    assert note.read_text()


def test_jq_finds_the_lvs_in_use(tmp_path):
    line, = documented.lines_of(documented.JQ)
    answer = [{'reference': {'source-name': name},
               'extra_info': {'reasons': json.dumps(
                   [{'code': code} for code in codes])}}
              for name, codes in (('safe', ()), ('open', ('in-use',)),
                                  ('pool', ('thin-pool',)))]
    tmp_path.joinpath('answer.json').write_text(
        json.dumps({'manageable-volumes': answer}))
    done = subprocess.run(['bash', '-c', line.text], cwd=tmp_path, check=True,
                          text=True, stdout=subprocess.PIPE)
    assert done.stdout == 'open\n'


@pytest.fixture(scope='module')
def cinder():
    """The parsers of the cinder client's subcommands."""
    client = shell.OpenStackCinderShell()
    client.extensions = []
    client.get_subcommand_parser(api_versions.APIVersion('3.66'),
                                 input_args=[''])
    return client.subcommands


@pytest.fixture(scope='module')
def openstack():
    """The commands of the openstack client."""
    # Some commands cannot be made with the lazy translation that Cinder's
    # modules enable. The client has a process of its own.
    oslo_i18n.enable_lazy(False)
    manager = commandmanager.CommandManager('openstack.volume.v3')
    manager.add_command_group('openstack.volume_adoption.v1')
    return manager


@pytest.mark.parametrize('line', [
    line for line in documented.command_lines()
    if line.text.startswith(('cinder ', 'openstack '))
    and not COMPUTE.match(line.text)], ids=': '.join)
def test_the_client_accepts_it(line, cinder, openstack):
    client, *words = shlex.split(line.text)
    if words[0] == 'help':
        del words[0]
    if words[0] == '--os-volume-api-version':
        del words[:2]
    if client == 'cinder':
        accept(cinder[words[0]], words[1:])
    elif not any(name.startswith(' '.join([*words, '']))
                 for name, _ in openstack):
        factory, _, arguments = openstack.find_command(words)
        accept(parser_of(factory), arguments)


def parser_of(factory):
    return factory(mock.Mock(), None).get_parser('openstack')


def accept(parser, arguments):
    """Parse the arguments, or if they are incomplete, only look them up.

    A sentence names a command without its arguments, or the option that it is
    about without a value.
    """
    known = parser._option_string_actions
    last = arguments[-1] if arguments else '--help'
    if last == '--help' or (last in known and known[last].nargs != 0):
        assert set(arguments) <= known.keys()
    else:
        parser.parse_args(arguments)


def test_an_option_that_does_not_exist_is_not_accepted():
    parser = parser_of(commands.ListAdoption)
    for arguments in (['--hots', 'a@b#c'], ['--hots']):
        with pytest.raises((SystemExit, AssertionError)):
            accept(parser, arguments)


def test_the_options_that_the_page_describes_exist():
    known = {option for command in ADOPTION
             for option in parser_of(command)._option_string_actions}
    assert set(re.findall('``(--[a-z-]+)', text_of(
        'doc/source/adopt-many.rst'))) <= known | {'--long'}


@pytest.mark.parametrize('command', ADOPTION)
def test_the_examples_in_the_help_are_accepted(command):
    examples = re.findall('^  (openstack .*)$', re.sub(
        r'\\\n', '', command._epilog), re.M)
    assert examples
    for example in examples:
        words = shlex.split(example.partition(' > ')[0])
        assert words[:3] == ['openstack', 'volume', 'adoption']
        parser_of(command).parse_args(words[4:])

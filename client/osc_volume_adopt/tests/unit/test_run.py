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

"""Runs against an API that fails as real ones do: what is begun and done."""

import json
import pathlib
import tempfile
from typing import Any
import unittest
from unittest import mock

import ddt
from keystoneauth1 import exceptions as connection_errors
from openstack import exceptions
import requests

from osc_volume_adopt import journal
from osc_volume_adopt import run
from osc_volume_adopt.api import Location
from osc_volume_adopt.api import Manageable
from osc_volume_adopt.api import VolumeApi
from osc_volume_adopt.plan import Entry
from osc_volume_adopt.plan import Plan

LVS = ('data1', 'data2', 'data3')


def answer(status, text='{"forbidden": {"message": "no"}}'):
    response = requests.Response()
    response.status_code = status
    response._content = text.encode()
    response.headers['Content-Type'] = 'application/json'
    response.request = requests.Request('GET', 'http://cinder').prepare()
    response.url = 'http://cinder/'
    return response


def refusal(status):
    """What the SDK raises of such an answer."""
    try:
        exceptions.raise_from_response(answer(status))
    except exceptions.HttpException as exc:
        return exc
    raise AssertionError(status)


class Connection:
    """The SDK's, to a Cinder that answers everything alike."""

    def __init__(self, response):
        self.block_storage = self
        self._response = response

    def request(self, path, method, **options):
        return self._response


class Api:
    """VolumeApi with volumes in a dict; errors are raised by LV."""

    def __init__(self, errors=()):
        self.errors = dict(errors)
        self.volumes = {}
        self.asked = []
        self.transferred = []
        self.kept = set()
        self.cut_off_after_unmanage = False

    def manage(self, location, reference, fields):
        source = reference['source-name']
        self.asked.append(source)
        volume = {'id': f'id-{source}', 'status': 'available',
                  'os-vol-tenant-attr:tenant_id': 'mine', 'attachments': [],
                  **fields}
        error = self.errors.pop(source, None)
        if isinstance(error, str):
            volume['status'] = error
        elif error:
            if not isinstance(error, exceptions.HttpException):
                # The answer is lost, and not the request.
                self.volumes[volume['id']] = volume
            raise error
        self.volumes[volume['id']] = volume
        return volume['id']

    def volume(self, volume_id):
        return self.volumes.get(volume_id)

    def volumes_with(self, metadata):
        return [volume for volume in self.volumes.values()
                if metadata.items() <= volume['metadata'].items()]

    def unmanage(self, volume_id):
        if volume_id in self.kept:
            raise refusal(400)
        del self.volumes[volume_id]
        if self.cut_off_after_unmanage:
            raise KeyboardInterrupt

    def snapshots(self, volume_id):
        return []

    def transfer(self, volume_id, receiver):
        self.transferred.append((volume_id, receiver))
        if receiver == 'full':
            raise refusal(413)

    def withdraw(self, volume_id):
        self.volumes[volume_id]['status'] = 'available'

    def manageable(self, location):
        yield Manageable({'source-name': 'data1'}, 1, False, 'is read-only',
                         None, '', None, '', '')


def plan(**fields):
    return Plan('p1', Location(host='h'), tuple(
        Entry(reference={'source-name': name}, gib=1, **fields)
        for name in LVS))


@ddt.ddt
class RunTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name, 'journal')

    def adopt(self, api, made=None, receiver: Any = 'them'):
        """The outcome, and the journal's last states."""
        made = made or plan()
        with journal.Journal(self.path, 'p1') as log:
            work = run.Run(api, log, lambda *_: None, 1, 0, 0)
            work.begun()
            outcome = work.adopt(made, {
                'theirs': ('their-id', receiver)})
            return outcome, {name: log.state(name) for name in LVS}

    def test_all_is_adopted_once(self):
        api = Api()
        outcome, states = self.adopt(api)
        self.assertEqual(list(LVS), outcome.done)
        self.assertEqual({journal.ADOPTED}, set(states.values()))
        outcome, _ = self.adopt(api)
        self.assertEqual(run.Outcome([], {}, {}), outcome)
        self.assertEqual(list(LVS), api.asked)

    @ddt.data(401, 403)
    def test_whoever_may_not_is_asked_for_once(self, status):
        api = Api({'data1': refusal(status)})
        outcome, states = self.adopt(api)
        self.assertEqual(['data1'], api.asked)
        self.assertEqual({'data1'}, outcome.failed.keys())
        self.assertEqual({'data2', 'data3'}, outcome.unknown.keys())
        self.assertEqual(journal.FAILED, states['data1'])
        self.assertIsNone(states['data2'])

    def test_a_refusal_of_one_does_not_stop_the_others(self):
        outcome, states = self.adopt(Api({'data1': refusal(400)}))
        self.assertEqual(['data2', 'data3'], outcome.done)
        self.assertEqual(journal.FAILED, states['data1'])

    def test_a_manage_that_ends_in_error_is_explained(self):
        outcome, _ = self.adopt(Api({'data1': 'error'}))
        self.assertEqual('volume id-data1 came to the status error; LV data1 '
                         'is read-only', outcome.failed['data1'])

    def test_nothing_is_left_of_a_manage_that_ends_in_error(self):
        api = Api({'data1': 'error'})
        self.adopt(api)
        self.assertEqual({'id-data2', 'id-data3'}, api.volumes.keys())
        outcome, _ = self.adopt(api)
        self.assertEqual(['data1'], outcome.done)

    def test_what_is_left_of_a_failure_is_told_and_removed_later(self):
        api: Any = Api({'data1': 'error'})
        api.kept.add('id-data1')
        outcome, states = self.adopt(api)
        self.assertIn('volume id-data1 is left', outcome.failed['data1'])
        self.assertEqual(journal.FAILED, states['data1'])
        with journal.Journal(self.path) as log:
            self.assertIn('data1', run.to_give_back(log))
        outcome, _ = self.adopt(api)
        self.assertEqual({'data1'}, outcome.failed.keys())
        self.assertEqual(1, api.asked.count('data1'))
        api.kept.clear()
        outcome, _ = self.adopt(api)
        self.assertEqual(['data1'], outcome.done)

    def test_a_request_that_no_volume_came_of_is_a_failure(self):
        api = Api({'data2': refusal(503)})
        outcome, states = self.adopt(api)
        self.assertEqual({'data2'}, outcome.failed.keys())
        self.assertEqual(journal.FAILED, states['data2'])
        outcome, _ = self.adopt(api)
        self.assertEqual(['data2'], outcome.done)
        self.assertEqual(3, len(api.volumes))

    def test_an_answer_that_is_lost_is_looked_for_and_not_asked_again(self):
        api = Api({'data2': connection_errors.ConnectTimeout('lost')})
        outcome, _ = self.adopt(api)
        self.assertEqual(list(LVS), outcome.done)
        self.assertEqual(list(LVS), api.asked)

    def test_a_request_that_arrives_late_is_waited_for(self):
        api: Any = Api()
        self.adopt(api)
        lines = self.path.read_text().splitlines()
        # As if it had been killed before the first answer came.
        self.path.write_text('\n'.join(lines[:2]) + '\n')
        looks = []

        def volumes_with(metadata):
            looks.append(metadata)
            return [] if len(looks) < 2 else [api.volumes['id-data1']]
        api.volumes_with = volumes_with
        with journal.Journal(self.path) as log:
            work = run.Run(api, log, lambda *_: None, 1, 0, 60)
            self.assertEqual({'data1'}, work.begun())
            self.assertEqual('id-data1', log.volume('data1'))

    def test_without_a_network_the_others_are_not_begun(self):
        api: Any = Api()

        def manage(location, reference, fields):
            api.asked.append(reference['source-name'])
            raise connection_errors.ConnectFailure('lost')
        api.manage = manage
        api.volumes_with = lambda metadata: manage(None, {
            'source-name': 'looked for'}, {})
        outcome, states = self.adopt(api)
        self.assertEqual(['data1', 'looked for'], api.asked)
        self.assertEqual(set(LVS), outcome.unknown.keys())
        self.assertEqual(journal.ASKED, states['data1'])
        self.assertIsNone(states['data2'])

    def test_a_network_that_comes_back_is_waited_for(self):
        api: Any = Api()
        volume, lost = api.volume, [connection_errors.ConnectFailure('lost'),
                                    refusal(503)]

        def lossy(volume_id):
            if lost:
                raise lost.pop()
            return volume(volume_id)
        api.volume = lossy
        with (journal.Journal(self.path, 'p1') as log,
              mock.patch.object(run, '_LONGEST_PAUSE', 0.01)):
            work = run.Run(api, log, lambda *_: None, 1, 60, 0)
            self.assertEqual(list(LVS), work.adopt(plan(), {}).done)

    def test_an_lv_of_this_driver_is_managed_by_its_uuid(self):
        entry = Entry({'source-name': 'data1'}, 1, 'uuid-1', 4194304)
        self.assertEqual({'source-id': 'uuid-1'}, entry.manage_by)
        # Others may tell an id, and not take it.
        entry = Entry({'source-name': 'data1'}, 1, 'id-1')
        self.assertEqual({'source-name': 'data1'}, entry.manage_by)

    def test_a_project_that_does_not_take_it_is_told(self):
        api = Api()
        outcome, states = self.adopt(api, plan(project='theirs'), 'full')
        self.assertIn('volume id-data1 is adopted, but stays in your project',
                      outcome.failed['data1'])
        self.assertEqual({journal.HANDING_OVER}, set(states.values()))
        outcome, _ = self.adopt(api, plan(project='theirs'))
        self.assertEqual(3, len(outcome.done))
        self.assertEqual(list(LVS), api.asked)

    def test_a_volume_is_handed_over(self):
        api = Api()
        outcome, _ = self.adopt(api, plan(project='theirs'))
        self.assertEqual(3, len(outcome.done))
        self.assertEqual([(f'id-{name}', 'them') for name in LVS],
                         api.transferred)

    def test_a_volume_that_was_handed_over_is_not_again(self):
        api = Api()
        self.adopt(api)
        for volume in api.volumes.values():
            volume['os-vol-tenant-attr:tenant_id'] = 'their-id'
        text = self.path.read_text().replace('"adopted"', '"managing"')
        self.path.write_text(text)
        outcome, _ = self.adopt(api, plan(project='theirs'))
        self.assertEqual(3, len(outcome.done))
        self.assertEqual([], api.transferred)

    def test_what_was_adopted_is_given_back(self):
        api: Any = Api()
        self.adopt(api)
        with journal.Journal(self.path) as log:
            self.assertEqual({}, run.keeps_from_undo(api, log))
            work = run.Run(api, log, lambda *_: None, 2, 0, 0)
            outcome = work.give_back(log.sources(journal.ADOPTED))
            self.assertEqual(sorted(LVS), sorted(outcome.done))
            self.assertEqual(list(LVS), log.sources(journal.GIVEN_BACK))
        self.assertEqual({}, api.volumes)

    def test_an_undo_that_was_cut_off_goes_on(self):
        api: Any = Api()
        self.adopt(api)
        api.cut_off_after_unmanage = True
        with journal.Journal(self.path) as log:
            work = run.Run(api, log, lambda *_: None, 1, 0, 0)
            with self.assertRaises(KeyboardInterrupt):
                work.give_back(['data1'])
        api.cut_off_after_unmanage = False
        with journal.Journal(self.path) as log:
            self.assertEqual({}, run.keeps_from_undo(api, log))
            work = run.Run(api, log, lambda *_: None, 1, 0, 0)
            outcome = work.give_back(run.to_give_back(log))
        self.assertEqual(sorted(LVS), sorted(outcome.done))
        self.assertEqual({}, api.volumes)

    def test_an_undo_withdraws_what_was_being_handed_over(self):
        api: Any = Api()
        self.adopt(api, plan(project='theirs'), 'full')
        api.volumes['id-data1']['status'] = 'awaiting-transfer'
        with journal.Journal(self.path) as log:
            self.assertEqual({}, run.keeps_from_undo(api, log))
            work = run.Run(api, log, lambda *_: None, 1, 0, 0)
            self.assertEqual(3, len(work.give_back(
                run.to_give_back(log)).done))

    def test_what_others_offer_keeps_from_undo(self):
        api: Any = Api()
        self.adopt(api)
        api.volumes['id-data1']['status'] = 'awaiting-transfer'
        with journal.Journal(self.path) as log:
            self.assertEqual(
                {'data1': 'volume id-data1 is awaiting-transfer'},
                run.keeps_from_undo(api, log))

    def test_users_and_snapshots_are_named(self):
        api: Any = Api()
        self.adopt(api)
        api.volumes['id-data1'] |= {
            'status': 'in-use', 'attachments': [{'server_id': 'server-1'}]}
        api.snapshots = lambda volume_id: [] if volume_id == 'id-data2' else [
            {'id': 'snapshot-1', 'name': 'daily'}]
        with journal.Journal(self.path) as log:
            self.assertEqual(
                {'data1': 'volume id-data1 is attached to server-1',
                 'data3': 'volume id-data3 has snapshots: daily'},
                run.keeps_from_undo(api, log))

    def test_what_is_gone_or_in_use_keeps_from_undo(self):
        api: Any = Api()
        self.adopt(api)
        del api.volumes['id-data1']
        api.volumes['id-data2']['status'] = 'in-use'
        with journal.Journal(self.path) as log:
            self.assertEqual({'data1': 'volume id-data1 is gone',
                              'data2': 'volume id-data2 is in-use'},
                             run.keeps_from_undo(api, log))


@ddt.ddt
class VolumeApiTest(unittest.TestCase):

    @ddt.data(401, 403, 500)
    def test_an_error_is_raised_with_what_cinder_says(self, status):
        connection: Any = Connection(answer(status))
        api = VolumeApi(connection)
        with self.assertRaisesRegex(exceptions.HttpException, f'{status}.*no'):
            list(api.manageable(Location(host='h')))

    def test_volumes_of_others_are_never_taken_for_ours(self):
        # What a Cinder answers that has the filter switched off.
        connection: Any = Connection(answer(200, json.dumps({'volumes': [
            {'id': 'theirs', 'metadata': {}},
            {'id': 'ours', 'metadata': {'mark': 'x', 'more': 'y'}}]})))
        self.assertEqual(['ours'], [volume['id'] for volume in VolumeApi(
            connection).volumes_with({'mark': 'x'})])

    def test_a_volume_that_is_not_there_is_none(self):
        connection: Any = Connection(answer(404))
        api = VolumeApi(connection)
        self.assertIsNone(api.volume('x'))

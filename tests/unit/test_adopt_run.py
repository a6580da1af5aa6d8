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

import ddt
from keystoneauth1 import exceptions as connection_errors
from openstack import exceptions
import requests

from cinder_lvm_manage.client import journal
from cinder_lvm_manage.client import run
from cinder_lvm_manage.client.api import Location
from cinder_lvm_manage.client.api import Manageable
from cinder_lvm_manage.client.api import VolumeApi
from cinder_lvm_manage.client.plan import Entry
from cinder_lvm_manage.client.plan import Plan

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

    def manage(self, location, reference, fields):
        source = reference['source-name']
        self.asked.append(source)
        volume = {'id': f'id-{source}', 'status': 'available',
                  'os-vol-tenant-attr:tenant_id': 'mine', **fields}
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
        del self.volumes[volume_id]

    def snapshots(self, volume_id):
        return []

    def project_id(self, name):
        return {'theirs': 'their-id'}.get(name)

    def transfer(self, volume_id, project_id):
        self.transferred.append((volume_id, project_id))

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

    def adopt(self, api, made=None):
        """The outcome, and the journal's last states."""
        made = made or plan()
        with journal.Journal(self.path, 'p1') as log:
            work = run.Run(api, log, lambda *_: None, 1, 0)
            work.begun(made)
            outcome = work.adopt(made)
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
        self.assertEqual('volume id-data1 has the status error; LV data1 '
                         'is read-only', outcome.failed['data1'])

    @ddt.data(connection_errors.ConnectFailure('lost'), refusal(503))
    def test_what_is_not_known_is_tried_again(self, error):
        api = Api({'data2': error})
        outcome, states = self.adopt(api)
        self.assertEqual({'data2'}, outcome.unknown.keys())
        self.assertEqual(journal.ASKED, states['data2'])
        outcome, states = self.adopt(api)
        self.assertEqual(['data2'], outcome.done)
        self.assertEqual(3, len(api.volumes))

    def test_an_answer_that_is_lost_is_looked_for_and_not_asked_again(self):
        api = Api({'data2': connection_errors.ConnectTimeout('lost')})
        self.adopt(api)
        self.adopt(api)
        self.assertEqual(list(LVS), api.asked)

    def test_a_volume_is_handed_over(self):
        api = Api()
        outcome, _ = self.adopt(api, plan(project='theirs'))
        self.assertEqual(3, len(outcome.done))
        self.assertEqual([(f'id-{name}', 'their-id') for name in LVS],
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
            work = run.Run(api, log, lambda *_: None, 2, 0)
            outcome = work.give_back(log.sources(journal.ADOPTED))
            self.assertEqual(sorted(LVS), sorted(outcome.done))
            self.assertEqual(list(LVS), log.sources(journal.GIVEN_BACK))
        self.assertEqual({}, api.volumes)

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

    def test_another_volume_is_not_taken_for_ours(self):
        # A cloud whose filter on metadata is switched off lists them all.
        connection: Any = Connection(answer(200, json.dumps({'volumes': [
            {'id': 'other', 'metadata': {}},
            {'id': 'ours', 'metadata': {'key': 'value', 'more': 'x'}}]})))
        found, = VolumeApi(connection).volumes_with({'key': 'value'})
        self.assertEqual('ours', found['id'])

    def test_a_volume_that_is_not_there_is_none(self):
        connection: Any = Connection(answer(404))
        api = VolumeApi(connection)
        self.assertIsNone(api.volume('x'))

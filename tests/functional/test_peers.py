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


"""The services of a cluster ask each other to perform methods."""

import datetime

from cinder import context
from cinder import exception
from cinder import objects
from cinder.db import api as db
from cinder.objects import base
from cinder.volume.rpcapi import VolumeAPI
import pytest

from cinder_lvm_manage import errors
from cinder_lvm_manage import peers
from cinder_lvm_manage.cinder_errors import VolumeLocked
from cinder_lvm_manage.peers import Peers
from cinder_lvm_manage.peers import routed

CLUSTER = 'lab@lvm'


class Driver:
    """A driver that has some LVs active, whose UUIDs are their names here.

    :ivar first: whom it asks first
    :ivar breaks: whether it cannot tell which LVs it has
    """

    def __init__(self, host):
        self.host = host
        self.lvs = []
        self.calls = []
        self.peers = Peers(self, host, CLUSTER)
        self.first = None
        self.listens = False
        self.breaks = False

    def has_active(self, lv_uuid):
        if self.breaks:
            raise exception.VolumeBackendAPIException(data='no disk')
        return lv_uuid in self.lvs

    def listen(self):
        self.listens = True
        self.peers.listen()

    @routed
    def extend_volume(self, volume, new_size, **kwargs):
        if volume['name'] not in self.lvs:
            raise VolumeLocked(errors.LockedElsewhere(
                volume['name'], ('lvchange',), 'lvchange', 5, ['locked']))
        if new_size > 9:
            raise exception.VolumeIsBusy(volume_name=volume['name'])
        self.calls.append((volume['name'], new_size, kwargs))
        return {'by': self.host, 'for': peers.asking_host()}

    @routed
    def create_export(self, context, volume, connector):
        self.extend_volume(volume, 1)
        self.calls.append((type(context), volume.id, connector))

    @routed
    def remove_export(self, context, volume):
        self.extend_volume(volume, 1)
        self.calls = [(type(volume), volume['name'])]

    def perform_elsewhere(self, locked, method, arguments):
        return self.peers.perform(locked.lv_name, self.first, method,
                                  arguments)


@pytest.fixture
def drivers(cinder, monkeypatch):
    """Three drivers whose services are recorded as up, except the last."""
    # The messages in memory know no other time limit.
    monkeypatch.setattr(peers, '_READING_SECONDS', 2)
    made = []
    services = []
    now = datetime.datetime.now(datetime.timezone.utc)
    for host, seen in (('node1@lvm', now), ('node2@lvm', now),
                       ('node3@lvm', now - datetime.timedelta(hours=1))):
        service = objects.Service(
            context.get_admin_context(), host=host, binary='cinder-volume',
            topic='cinder-volume', cluster_name=CLUSTER, report_count=1,
            rpc_current_version=VolumeAPI.RPC_API_VERSION,
            object_current_version=base.OBJ_VERSIONS.get_current())
        service.create()
        service.updated_at = seen
        service.save()
        services.append(service)
        made.append(Driver(host))
    yield made
    for driver in made:
        if driver.listens:
            driver.peers._server.stop()
            driver.peers._server.wait()
    for service in services:
        service.destroy()


def test_the_host_that_has_the_lv_performs_it(drivers, volume):
    one, two, _ = drivers
    two.listen()
    shared = volume()
    two.lvs = [shared.name]
    asked = one.extend_volume(shared, new_size=2, force=True)
    assert asked == (True, {'by': 'node2@lvm', 'for': 'node1@lvm'}, [], {})
    assert peers.asking_host() == ''
    assert two.calls == [(shared.name, 2, {'force': True})]
    assert one.calls == []


def test_a_method_that_a_routed_one_calls_is_not_routed(drivers, volume):
    one, two, _ = drivers
    two.listen()
    shared = volume()
    two.lvs = [shared.name]
    assert one.create_export(context.get_admin_context(), shared,
                             {'ip': '::1'}).done
    assert two.calls == [
        (shared.name, 1, {}),
        (context.RequestContext, shared.id, {'ip': '::1'})]


def test_a_row_of_the_database_is_sent_as_an_object(drivers, volume):
    """A backup ends with it: VolumeManager.remove_export passes a row."""
    one, two, _ = drivers
    two.listen()
    shared = volume()
    two.lvs = [shared.name]
    admin = context.get_admin_context()
    assert one.remove_export(admin, db.volume_get(admin, shared.id)).done
    assert two.calls == [(objects.Volume, shared.name)]


def test_an_error_of_the_other_host_is_raised(drivers, volume):
    one, two, _ = drivers
    two.listen()
    shared = volume()
    two.lvs = [shared.name]
    with pytest.raises(exception.VolumeIsBusy):
        one.extend_volume(shared, 10)


def test_a_host_that_has_not_the_lv_does_nothing(drivers, volume):
    one, two, _ = drivers
    two.listen()
    assert one.extend_volume(volume(), 2) == (False, None, [], {})
    assert two.calls == []


def test_a_host_that_cannot_tell_does_not_keep_another_from_it(drivers,
                                                               volume):
    one, two, three = drivers
    shared = volume()
    two.listen()
    two.breaks = True
    one.first = three.host
    failed = {'node2@lvm': 'Bad or unexpected response from the storage '
                           'volume backend API: no disk'}
    three.listen()
    assert one.extend_volume(shared, 2) == (False, None, [], failed)
    three.lvs = [shared.name]
    assert one.extend_volume(shared, 2).result['by'] == 'node3@lvm'
    one.first = two.host
    assert one.extend_volume(shared, 2) == (False, None, [], failed)


def test_a_host_of_another_version_cannot_tell(drivers, volume, monkeypatch):
    one, two, _ = drivers
    monkeypatch.setattr(peers._Endpoint.target, 'version', '2.0')
    two.listen()
    asked = one.extend_volume(volume(), 2)
    assert asked.failed.keys() == {'node2@lvm'}


@pytest.mark.parametrize(('first', 'silent'), [
    (None, ['node2@lvm']),
    ('node2@lvm', ['node2@lvm']),
    ('node3@lvm', ['node3@lvm', 'node2@lvm']),
    # It is not in the cluster.
    ('node4@lvm', ['node2@lvm'])])
def test_a_host_that_does_not_answer_is_named(drivers, volume, first, silent):
    one, _, _ = drivers
    one.first = first
    assert one.extend_volume(volume(), 2) == (False, None, silent, {})


def test_only_methods_that_are_routed_can_be_asked_for(drivers, volume):
    _, two, _ = drivers
    endpoint = peers._Endpoint(two, CLUSTER)
    admin = context.get_admin_context()
    shared = volume()
    two.lvs = [shared.name]
    arguments = {'volume': shared, 'new_size': 2}
    start = endpoint.start(admin, CLUSTER, shared.name)
    assert endpoint.perform(admin, start, 'node1@lvm', 'perform_elsewhere',
                            arguments) == {'done': False}
    # The service was started again since it answered.
    assert peers._Endpoint(two, CLUSTER).perform(
        admin, start, 'node1@lvm', 'extend_volume', arguments
        ) == {'done': False}
    assert endpoint.perform(admin, start, 'node1@lvm', 'extend_volume',
                            arguments)['done']


def test_a_host_of_another_cluster_has_no_lv(drivers):
    _, two, _ = drivers
    two.lvs = ['uuid']
    endpoint = peers._Endpoint(two, CLUSTER)
    admin = context.get_admin_context()
    assert endpoint.start(admin, CLUSTER, 'uuid')
    assert not endpoint.start(admin, 'other@lvm', 'uuid')
    assert not endpoint.start(admin, CLUSTER, 'other')

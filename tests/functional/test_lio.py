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


"""Exports of a shared group by Cinder's driver of LIO.

Rtstool stands in for cinder-rtstool and the kernel.
"""

import pathlib

from cinder import context
from cinder import exception
from cinder import objects
from cinder.volume.targets import lio
from oslo_concurrency import processutils
import pytest

from cinder_lvm_manage import errors
from cinder_lvm_manage import peers

ADMIN = context.get_admin_context()
SERVERS = ('iqn.lab:one', 'iqn.lab:two')


class Rtstool:
    """The targets of a host, with what rtslib does to them.

    :ivar targets: by IQN, the initiators; None if it has no LUN
    :ivar broken: whether the command fails
    """

    def __init__(self, is_active):
        self._is_active = is_active
        self._saved = {}
        self.targets = {}
        self.broken = False

    def __call__(self, _program, command, *arguments, run_as_root):
        if self.broken:
            raise processutils.ProcessExecutionError
        out = getattr(self, '_' + command.replace('-', '_'))(*arguments)
        return out or '', ''

    def boot(self, restore):
        """Lose all targets; optionally restore them as a service does."""
        self.targets = {}
        if restore:
            self._restore()

    def _create(self, path, iqn, *_chap_and_portals):
        if self.targets.get(iqn) is not None:
            return
        if iqn in self.targets or not self._is_active(pathlib.Path(path).name):
            raise processutils.ProcessExecutionError
        self.targets[iqn] = []

    def _delete(self, iqn):
        self.targets.pop(iqn, None)

    def _get_targets(self):
        return ''.join(f'{iqn}\n' for iqn in self.targets)

    def _add_initiator(self, iqn, _user, _password, initiator):
        self.targets[iqn].append(initiator)

    def _delete_initiator(self, iqn, initiator):
        if iqn not in self.targets:
            raise processutils.ProcessExecutionError
        self.targets[iqn].remove(initiator)

    def _save(self):
        self._saved = {iqn: list(initiators or ())
                       for iqn, initiators in self.targets.items()}

    def _restore(self):
        self.targets = {
            iqn: initiators if self._is_active(iqn.partition(':')[2])
            else None for iqn, initiators in self._saved.items()}


@pytest.fixture
def rtstool(group, lvm, monkeypatch):
    rtstool = Rtstool(lambda lv_name: lvm.active().get(
        group.names()[lv_name]) == 'here')
    monkeypatch.setattr(lio.LioAdm, '_verify_rtstool', lambda _self: None)
    monkeypatch.setattr(lio.LioAdm, '_execute', staticmethod(rtstool))
    return rtstool


@pytest.fixture
def driver(load, rtstool):
    driver = load(lvm_manage_without_device_mapper=False,
                  lvm_manage_local_coordinator=True,
                  target_helper='lioadm', target_ip_address='127.0.0.1')
    driver.cluster_name = 'lab@lvm'
    return driver


@pytest.fixture
def exported(driver, group, volume):
    """Makes the volume of an LV, which is exported to both servers."""
    def export(lv_name):
        group.create(lv_name, '4m')
        made = volume()
        made.cluster_name = 'lab@lvm'
        driver.manage_existing(made, {'source-name': lv_name})
        made.status = 'in-use'
        made.update(driver.create_export(ADMIN, made, {}))
        made.save()
        for initiator in SERVERS:
            driver.initialize_connection(made, {'initiator': initiator})
            objects.VolumeAttachment(
                ADMIN, volume_id=made.id, attach_status='attached',
                connector={'initiator': initiator}).create()
        return objects.Volume.get_by_id(ADMIN, made.id)
    return export


def start(driver, *volumes):
    """Start the service, as Cinder does."""
    driver.check_for_setup_error()
    for volume in volumes:
        driver.ensure_export(ADMIN, volume)


def forget_all_attachments_but_one(volume):
    for attachment in list(volume.volume_attachment)[1:]:
        attachment.destroy()


def iqn(volume):
    return f'iqn.2010-10.org.openstack:{volume.name}'


@pytest.mark.parametrize('restore', [False, True])
def test_all_exports_of_a_host_return_after_it_was_booted(
        driver, group, lvm, rtstool, exported, restore):
    one, two, taken = volumes = [exported(name) for name in 'abc']
    auth = one.provider_auth
    lvm.expire('here')
    # Another host has taken over one of them.
    there = 'cinder_lvm_export:host=there/lvm'
    group.lvm('lvchange', '--deltag', 'cinder_lvm_export:host=lab/lvm',
              '--addtag', there, f'{group.name}/{taken.name}')
    lvm.activate(group.names()[taken.name], 'there')
    rtstool.boot(restore)
    start(driver, *volumes)
    assert rtstool.targets == {iqn(one): list(SERVERS),
                               iqn(two): list(SERVERS)} | (
        {iqn(taken): None} if restore else {})
    assert one.provider_auth == auth
    assert lvm.active() == {group.names()[one.name]: 'here',
                            group.names()[two.name]: 'here',
                            group.names()[taken.name]: 'there'}
    # It returns to this host.
    lvm.expire('there')
    driver.create_export(ADMIN, taken, {})
    assert rtstool.targets[iqn(taken)] == []


@pytest.fixture
def silent(monkeypatch):
    monkeypatch.setattr(peers.Peers, 'listen', lambda _self: None)


@pytest.mark.parametrize(('cluster', 'status'), [
    ('lab@lvm', 'attaching'), ('lab@lvm', 'backing-up'), (None, 'reserved')])
@pytest.mark.usefixtures('silent')
def test_exports_of_volumes_that_are_not_in_use_return_too(
        driver, lvm, rtstool, exported, cluster, status):
    """Cinder leaves it to the driver to ensure those."""
    driver.cluster_name = cluster
    volume = exported('a')
    volume.update({'status': status, 'cluster_name': cluster})
    volume.save()
    lvm.expire('here')
    rtstool.boot(restore=False)
    start(driver)
    driver.set_initialized()
    assert rtstool.targets[iqn(volume)] == list(SERVERS)


@pytest.mark.usefixtures('silent')
def test_a_service_starts_although_a_volume_cannot_be_exported_again(
        driver, lvm, rtstool, exported, caplog):
    volume = exported('a')
    volume.status = 'reserved'
    volume.save()
    lvm.expire('here')
    rtstool.boot(restore=False)
    start(driver)
    rtstool.broken = True
    driver.set_initialized()
    assert f'Cannot export volume {volume.id} again' in caplog.text
    assert lvm.active() == {}


def test_a_service_that_is_restarted_changes_no_export(driver, rtstool, lvm,
                                                       exported):
    volume = exported('a')
    before = rtstool.targets[iqn(volume)], lvm.active()
    start(driver, volume)
    assert (rtstool.targets[iqn(volume)], lvm.active()) == before


def test_an_export_that_is_missing_is_made_again(driver, rtstool, lvm,
                                                 exported):
    """A service was killed when it had exported another one again."""
    one, two = (exported(name) for name in 'ab')
    del rtstool.targets[iqn(two)]
    start(driver, one, two)
    assert rtstool.targets == {iqn(one): list(SERVERS),
                               iqn(two): list(SERVERS)}


def test_an_export_that_cannot_be_removed_stays(driver, group, lvm, rtstool,
                                                exported):
    volume = exported('a')
    forget_all_attachments_but_one(volume)
    before = lvm.active(), group.tags(volume.name)
    rtstool.broken = True
    with pytest.raises(exception.ISCSITargetRemoveFailed):
        driver.remove_export(ADMIN, volume)
    assert (lvm.active(), group.tags(volume.name)) == before
    rtstool.broken = False
    driver.remove_export(ADMIN, volume)
    assert rtstool.targets == lvm.active() == {}


def test_a_detach_that_was_interrupted_can_be_repeated(
        driver, group, lvm, rtstool, exported):
    volume = exported('a')
    rtstool.targets = {}
    assert driver.terminate_connection(volume, {'initiator': SERVERS[0]})
    forget_all_attachments_but_one(volume)
    driver.remove_export(ADMIN, volume)
    assert lvm.active() == {}
    assert 'cinder_lvm_export' not in ' '.join(group.tags(volume.name))


def test_an_lv_without_a_target_ends_although_no_attachment_was_the_last(
        driver, lvm, rtstool, exported):
    volume = exported('a')
    rtstool.targets = {}
    for initiator in SERVERS:
        assert driver.terminate_connection(volume, {'initiator': initiator})
    for attachment in volume.volume_attachment:
        attachment.destroy()
    volume.status = 'available'
    volume.save()
    driver.get_volume_stats(refresh=True)
    assert lvm.active() == {}


def test_an_export_that_cinder_has_not_recorded_is_removed(
        driver, lvm, rtstool, exported):
    """The service was killed before Cinder saved where it is."""
    volume = exported('a')
    forget_all_attachments_but_one(volume)
    volume.provider_location = None
    driver.remove_export(ADMIN, volume)
    assert rtstool.targets == lvm.active() == {}


def test_a_detach_that_fails_is_an_error(driver, rtstool, exported,
                                         monkeypatch):
    def fail(*_arguments):
        raise processutils.ProcessExecutionError

    volume = exported('a')
    monkeypatch.setattr(rtstool, '_delete_initiator', fail)
    with pytest.raises(exception.ISCSITargetDetachFailed):
        driver.terminate_connection(volume, {'initiator': SERVERS[0]})


def test_a_tag_that_cannot_be_removed_does_not_keep_the_lv_active(
        driver, lvm, rtstool, exported, monkeypatch, caplog):
    def fail(*_args, **_changes):
        raise errors.VolumeGroupError('stalled')

    volume = exported('a')
    forget_all_attachments_but_one(volume)
    monkeypatch.setattr(driver._volume_group, 'change', fail)
    driver.remove_export(ADMIN, volume)
    assert rtstool.targets == lvm.active() == {}
    assert 'keeps the tag' in caplog.text


def test_a_lost_export_is_not_connected(driver, lvm, exported):
    volume = exported('a')
    lvm.expire('here')
    with pytest.raises(exception.VolumeBackendAPIException,
                       match='is not exported any more'):
        driver.initialize_connection(volume, {'initiator': 'iqn.lab:three'})
    assert lvm.active() == {}


def test_an_in_use_volume_without_an_lv_is_an_error(driver, group, lvm,
                                                    exported):
    volume = exported('a')
    lvm.expire('here')
    group.lvm('lvremove', '--yes', group.name)
    with pytest.raises(exception.VolumeBackendAPIException,
                       match='does not exist'):
        start(driver, volume)

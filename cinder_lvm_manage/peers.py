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

"""Peers: the other cinder-volume services of this one's cluster.

In a shared group, an LV can be changed only on the host that has it active.
When Cinder asks another host, that host has the work done there, over a
message queue of the driver's own.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
import contextlib
import contextvars
import functools
import inspect
import typing
from typing import Any
from typing import NamedTuple

from cinder import context
from cinder import exception
from cinder import objects
from cinder import rpc
from cinder.common import constants
from cinder.image import glance
from cinder.objects import base
from cinder.volume import rpcapi
from oslo_log import log as logging
import oslo_messaging as messaging  # type: ignore[import-untyped]
from oslo_utils import uuidutils

from cinder_lvm_manage.cinder_errors import VolumeLocked

LOG = logging.getLogger(__name__)

_TOPIC = 'cinder-lvm-manage'
_VERSION = '1.0'

# Without a heartbeat for this long, a host is taken for dead. Cinder's API
# waits 60 seconds for an attachment.
_ANSWER_SECONDS = 15
# How long a host may take to read the volume group. LVM waits half a minute
# if the host that holds the group's lock has failed.
_READING_SECONDS = 60
# How long a host may take to perform a method.
_WORK_SECONDS = 24 * 60 * 60

# Parameters of a driver's methods that are not sent in messages.
_CONTEXT = {'context', 'ctxt'}
_IMAGE_SERVICE = 'image_service'

_Arguments = typing.ParamSpec('_Arguments')
_Result = typing.TypeVar('_Result')

# Whether this thread is in a routed method already.
_inside = contextvars.ContextVar('cinder_lvm_manage_routed', default=False)
# What asking_host returns.
_asker = contextvars.ContextVar('cinder_lvm_manage_asker', default='')
_routed_methods: set[str] = set()


def routed(method: Callable[_Arguments, _Result]
           ) -> Callable[_Arguments, _Result]:
    """Decorate a method of the driver: the host that has the LV performs it.

    This host tries it first. If another host has the LV active, the driver's
    perform_elsewhere is called with the method's name and arguments. A method
    that a routed method calls is not routed.
    """
    name = method.__name__
    _routed_methods.add(name)
    signature = inspect.signature(method)

    @functools.wraps(method)
    def routing(*args: _Arguments.args,
                **kwargs: _Arguments.kwargs) -> _Result:
        if _inside.get():
            return method(*args, **kwargs)
        try:
            with _not_routed():
                return method(*args, **kwargs)
        except VolumeLocked as exc:
            locked = exc
        arguments = signature.bind(*args, **kwargs).arguments
        driver: Any = arguments.pop('self')
        arguments |= arguments.pop('kwargs', {})
        result: _Result = driver.perform_elsewhere(locked, name, arguments)
        return result

    return routing


@contextlib.contextmanager
def _not_routed() -> typing.Iterator[None]:
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


def asking_host() -> str:
    """Return the host for which this thread performs a method; '' if none.

    Cinder has called the method there, and waits for it to end.
    """
    return _asker.get()


class Performer(typing.Protocol):
    """A driver that performs methods for its peers."""

    def has_active(self, lv_uuid: str) -> bool:
        """Return whether an LV is in this driver's group, and active here."""


class Asked(NamedTuple):
    """The outcome of asking peers to perform a method.

    :ivar done: whether one of them had the LV active, and performed it
    :ivar result: what the method returned there
    :ivar silent: the hosts that did not answer
    :ivar failed: why a host could not say whether it has the LV, by host
    """

    done: bool
    result: Any
    silent: list[str]
    failed: dict[str, str]


class Peers:
    """The other services of a cluster, and the queue for their requests.

    :param driver: performs what other services request
    :param host: of this service, host@backend
    """

    def __init__(self, driver: Performer, host: str, cluster: str) -> None:
        self._host = host
        self._cluster = cluster
        target = messaging.Target(topic=_TOPIC, version=_VERSION)
        # During a rolling upgrade, others may have an older Cinder.
        serializer = base.CinderObjectSerializer(
            rpcapi.VolumeAPI.determine_obj_version_cap())
        self._client = rpc.get_client(target, serializer=serializer)
        self._server = rpc.get_server(
            messaging.Target(topic=_TOPIC, server=host),
            [_Endpoint(driver, cluster)], serializer=serializer)

    def listen(self) -> None:
        """Begin to serve requests of other services."""
        self._server.start()

    def members(self) -> dict[str, bool]:
        """Return the hosts of the other services, and whether each is up."""
        services = objects.ServiceList.get_all(
            context.get_admin_context(),
            {'cluster_name': self._cluster,
             'binary': constants.VOLUME_BINARY})
        return {service.host: service.is_up for service in services
                if service.host != self._host}

    def running(self) -> set[str]:
        """Return the hosts of the other services that are up."""
        return {host for host, up in self.members().items() if up}

    def perform(self, lv_uuid: str, first: str | None, method: str,
                arguments: Mapping[str, Any]) -> Asked:
        """Have the service that has an LV active perform a method.

        :param first: the host that probably has the LV, which is asked even
            if its service seems to be down; None if unknown
        :raises VolumeBackendAPIException: that host stopped answering during
            the work
        :raises CinderException: the method raised it there
        """
        carried = {name: value for name, value in arguments.items()
                   if name not in {*_CONTEXT, _IMAGE_SERVICE}}
        volume = carried.get('volume')
        if volume is not None and not isinstance(volume, objects.Volume):
            # VolumeManager.remove_export, which backups and migrations call,
            # passes a row of the database. In a message it has no name.
            carried['volume'] = objects.Volume.get_by_id(
                context.get_admin_context(), volume['id'])
        given = next((arguments[name] for name in _CONTEXT & arguments.keys()),
                     None) or context.get_admin_context()
        members = self.members()
        hosts = sorted((host for host, up in members.items()
                        if up or host == first),
                       key=lambda host: (host != first, host))
        silent = []
        failed = {}
        for host in hosts:
            try:
                start = self._start_of(host, given, lv_uuid)
            except messaging.MessagingTimeout:
                silent.append(host)
                continue
            # It has another version, or cannot read the group.
            except (messaging.MessagingException,
                    exception.CinderException) as exc:
                failed[host] = str(exc)
                continue
            if start:
                answer = self._ask(host, given, start, method, carried)
                if answer['done']:
                    LOG.info('%(host)s, which has the LV active, performed '
                             '%(method)s.', {'host': host, 'method': method})
                    return Asked(True, answer['result'], silent, failed)
        return Asked(False, None, silent, failed)

    def _start_of(self, host: str, ctxt: context.RequestContext,
                  lv_uuid: str) -> str:
        """Return the ID of a service's run; '' if the LV is not active there.

        The queue keeps a message for a dead service until it starts again,
        when Cinder has long given up. So perform requires the ID of the run.
        """
        client = self._client.prepare(
            server=host, timeout=_READING_SECONDS,
            call_monitor_timeout=_ANSWER_SECONDS)
        start: str = client.call(ctxt, 'start', cluster=self._cluster,
                                 lv_uuid=lv_uuid)
        return start

    def _ask(self, host: str, ctxt: context.RequestContext, start: str,
             method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        client = self._client.prepare(
            server=host, timeout=_WORK_SECONDS,
            call_monitor_timeout=_ANSWER_SECONDS)
        try:
            answer: dict[str, Any] = client.call(
                ctxt, 'perform', start=start, asker=self._host, name=method,
                arguments=arguments)
        except messaging.MessagingTimeout as exc:
            raise exception.VolumeBackendAPIException(
                data=f'{host} stopped answering while it performed {method}: '
                     'check that cinder-volume runs there, and what its log '
                     'says, before you retry') from exc
        except messaging.RemoteError as exc:
            raise exception.VolumeBackendAPIException(
                data=f'{method} failed on {host}: {exc.exc_type}: {exc.value}'
            ) from exc
        return answer


class _Endpoint:
    """What other services can request."""

    target = messaging.Target(version=_VERSION)

    def __init__(self, driver: Performer, cluster: str) -> None:
        self._driver = driver
        self._cluster = cluster
        self._start = uuidutils.generate_uuid()

    def start(self, ctxt: context.RequestContext, cluster: str,
              lv_uuid: str) -> str:
        """Return an ID that is new after each start of this service.

        It is empty if this host does not have the LV active, or is in another
        cluster, which may use the same queues.
        """
        has_it = (cluster == self._cluster
                  and self._driver.has_active(lv_uuid))
        return self._start if has_it else ''

    def perform(self, ctxt: context.RequestContext, start: str, asker: str,
                name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Perform a method, unless the LV is active on another host.

        :param start: what the method start returned; if the service was
            started again since, nothing is done
        :returns: whether it was done, and the method's result
        """
        if start != self._start or name not in _routed_methods:
            return {'done': False}
        function = getattr(self._driver, name)
        parameters = inspect.signature(function).parameters.keys()
        arguments |= dict.fromkeys(_CONTEXT & parameters, ctxt)
        if _IMAGE_SERVICE in parameters:
            arguments[_IMAGE_SERVICE] = glance.get_default_image_service()
        token = _asker.set(asker)
        try:
            with _not_routed():
                return {'done': True, 'result': function(**arguments)}
        except VolumeLocked:
            return {'done': False}
        finally:
            _asker.reset(token)

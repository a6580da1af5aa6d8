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

"""Runs all services of Cinder: `python -m tests.lab.cinder_server CONF`.

deployment.py and cloud.py start it. In one process, it starts Cinder's volume,
scheduler, backup and API services as their commands do, with messages in
memory. It prints the URL of the API, and ends on SIGTERM. It must not replace
any part of Cinder.
"""

from __future__ import annotations

# The first import, because it patches the standard library, in another way in
# each release of Cinder.
import cinder.cmd.volume  # noqa: F401

# isort: split

import shlex
import sys
import threading
from typing import Any

from cinder import objects
from cinder import service
from cinder import utils
from cinder import version
from cinder.common import config
from cinder.common import constants
from cinder.db import migration
import os_brick
from oslo_config import cfg
from oslo_log import log as logging
import oslo_messaging  # type: ignore[import-untyped]
from oslo_messaging._drivers import common  # type: ignore[import-untyped]
from oslo_messaging._drivers import impl_fake
from oslo_privsep import priv_context
from oslo_serialization import jsonutils
from oslo_service import service as oslo_service

CONF = cfg.CONF


class JSONDriver(impl_fake.FakeDriver):
    """The transport fake://, with messages as a message broker delivers them.

    The original delivers the sender's own objects, and exceptions of classes
    that another process does not know.
    """

    def send(self, target: oslo_messaging.Target, ctxt: dict[str, Any],
             message: dict[str, Any], **options: Any) -> Any:
        try:
            return _through_json(super().send(
                target, _through_json(ctxt), _through_json(message),
                **options))
        except oslo_messaging.MessagingTimeout:
            raise
        except Exception as error:
            failure = common.serialize_remote_exception(sys.exc_info())
            raise common.deserialize_remote_exception(
                failure, self._allowed_remote_exmods) from error


def _through_json(data: Any) -> Any:
    return jsonutils.loads(jsonutils.dumps(data))


class Service(service.Service):
    """A service that shares its process with others."""

    def start(self) -> None:
        super().start()
        # The backup service is not ready yet: it starts its driver in a loop.
        if (self.binary != constants.BACKUP_BINARY
                and not self.manager.is_working()):
            sys.exit(f'{self.binary} {self.host} does not work')

    def report_state(self) -> None:
        # Cinder keeps the ID on the class. All services would report the state
        # of the one that was started last, and the others would be down.
        service.Service.service_id = self.origin_service_id
        super().report_state()


def main(conf_path: str) -> None:
    """Serve until SIGTERM."""
    stopped = threading.Event()
    oslo_service.SignalHandler().add_handler('SIGTERM',
                                             lambda *_: stopped.set())
    _set_up(conf_path)
    # Volume services first: the scheduler asks them for their capabilities,
    # and waits for the answers.
    services = [*map(_volume_service, CONF.enabled_backends),
                Service.create(binary=constants.SCHEDULER_BINARY),
                Service.create(binary=constants.BACKUP_BINARY,
                               service_name='backup', coordination=True),
                service.WSGIService('osapi_volume')]
    for each in services:
        each.start()
    api = services[-1]
    print(f'listening on http://{api.host}:{api.port}', flush=True)
    stopped.wait()
    for each in reversed(services):
        each.stop()
        each.wait()


def _set_up(conf_path: str) -> None:
    objects.register_all()
    CONF(['--config-file', conf_path], project='cinder',
         version=version.version_string())
    config.set_middleware_defaults()
    logging.setup(CONF, 'cinder')
    priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
    os_brick.setup(CONF)
    impl_fake.FakeDriver = JSONDriver
    migration.db_sync()


def _volume_service(backend: str) -> Service:
    return Service.create(host=f'{CONF.host}@{backend}', service_name=backend,
                          binary=constants.VOLUME_BINARY, coordination=True)


if __name__ == '__main__':
    main(*sys.argv[1:])

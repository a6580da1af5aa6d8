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

"""This package's errors in Cinder's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cinder import exception
import decorator
from oslo_log import log as logging

from cinder_lvm_manage import errors
from cinder_lvm_manage.reference import abridged
from cinder_lvm_manage.rules import Kind

LOG = logging.getLogger(__name__)


def _refusal(existing_ref: object,
             exc: errors.InvalidReference | errors.NotManageable
             ) -> exception.CinderException:
    if isinstance(exc, errors.NotManageable):
        if exc.verdict.kind is Kind.ALREADY_MANAGED:
            return exception.ManageExistingAlreadyManaged(volume_ref=str(exc))
        if exc.verdict.kind is Kind.TYPE_MISMATCH:
            return exception.ManageExistingVolumeTypeMismatch(reason=str(exc))
    return exception.ManageExistingInvalidReference(
        existing_ref=abridged(existing_ref), reason=str(exc))


@decorator.decorator
def in_cinders_words(method: Callable[..., Any], *args: Any,
                     **kwargs: Any) -> Any:
    """Turn this package's errors out of a driver's method into Cinder's.

    A refusal is logged, for Cinder itself shows no more than a status.
    """
    try:
        return method(*args, **kwargs)
    except (errors.InvalidReference, errors.NotManageable) as exc:
        refusal = exc
    except errors.InvalidPage as exc:
        raise exception.InvalidInput(reason=str(exc)) from exc
    except errors.LVMManageError as exc:
        raise exception.VolumeBackendAPIException(data=str(exc)) from exc
    except AttributeError as exc:
        # Cinder takes it for a driver without listing and answers with an
        # empty list (cinder/volume/manager.py, get_manageable_volumes).
        raise exception.VolumeDriverException(message=repr(exc)) from exc
    # Out of the except clause, where oslo.log would say the reasons twice.
    _, resource, existing_ref = args
    LOG.warning('Existing LV %(ref)s is not managed as %(kind)s %(id)s: '
                '%(why)s',
                {'ref': abridged(existing_ref), 'id': resource.id,
                 'kind': resource.obj_name().lower(), 'why': refusal})
    raise _refusal(existing_ref, refusal) from refusal

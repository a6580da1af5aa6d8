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

"""Configuration of Sphinx; `tox -e docs` builds the pages."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / '_ext'))

extensions = [
    'cliff.sphinxext',
    'oslo_config.sphinxconfiggen',
    'oslo_config.sphinxext',
    'reno.sphinxext',
    'benchmark_tables',
    'code_tables',
]

project = 'cinder_lvm_manage'
author = 'The cinder_lvm_manage developers'
copyright = author
# Keeps the two dashes of an option.
smartquotes = False

html_theme = 'furo'
html_title = project
html_static_path = ['_static']
html_css_files = ['pages.css']
html_show_sphinx = False
highlight_language = 'none'

# Relative to this directory. `tox -e genconfig` uses the same file.
config_generator_config_file = '../../etc/config-generator.conf'
sample_config_basename = '_sample/cinder_lvm_manage'

autoprogram_cliff_application = 'openstack'
# Options of every openstack command, such as -f, are in the client's manual.
autoprogram_cliff_ignored = [
    '--help', '--format', '--column', '--quote', '--noindent', '--max-width',
    '--fit-width', '--print-empty', '--sort-column', '--sort-ascending',
    '--sort-descending', '--prefix']

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

"""Runs commands in a node: node_agent.py TTY.

nodes.py sends requests over the serial line, because the network of a node
can be cut off. A request and its answer are a line of JSON each. Commands run
concurrently, and their answers come in the order in which they end.
"""

import json
import subprocess
import sys
import threading
import tty


def main(path: str) -> None:
    """Serve requests until the node is stopped."""
    with open(path, 'r+b', buffering=0) as line:
        tty.setraw(line.fileno())
        writing = threading.Lock()

        def answer(**fields: object) -> None:
            with writing:
                data = json.dumps(fields).encode() + b'\n'
                while data:
                    data = data[line.write(data):]

        def run(number: int, command: str) -> None:
            done = subprocess.run(
                ['bash', '-c', command], stdin=subprocess.DEVNULL, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                errors='replace', check=False)
            answer(number=number, status=done.returncode,
                   output=done.stdout)

        answer(number=0, status=0, output='')
        requests = open(path, 'rb')  # noqa: SIM115
        for text in requests:
            request = json.loads(text)
            threading.Thread(target=run, daemon=True, kwargs=request).start()


if __name__ == '__main__':
    main(*sys.argv[1:])

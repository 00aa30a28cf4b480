"""Taps codes while gateways come and go: no tap is lost, none is answered wrongly.

One argument, the path of a JSON file:

    addresses                     of two gateways
    ca, certificate, key          PEM files of a validator
    codes                         ride codes of healthy riders that nobody has shown yet, hexadecimal
    stop_file                     taps are made until there is such a file
    pace_ms                       each of the threads waits so long between taps

Taps begin at the one and the other address in turn. One that finds no gateway is repeated at once under the same
request id at the other address, and back, for 30 s at the most. No code is shown in two taps; when none is left the
stop file is waited for. The last line is JSON:

    taps, answered                how many
    wrong                         answers that were not ALLOW HEALTH_OK
    repeated                      attempts beyond a tap's first
    refused_connections           attempts for which there was no connection
    worst_ms                      the longest that a tap took until its answer

Exits 0 if there were taps, every one was answered, and none wrongly.
"""

import dataclasses
import itertools
import json
import os
import queue
import sys
import threading
import time
from pathlib import Path

import grpc
import house as h
import taps

THREADS = 4
# The longest that one tap is tried, in seconds.
PATIENCE = 30
# Between looks at what nobody tells us: a gateway that is back, the stop file.
PAUSE = 0.01
OPTIONS = [
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 100),
]
# What is heard of a gateway that is not there, or is leaving.
GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


@dataclasses.dataclass
class Counts:
    """What came of taps."""

    taps: int = 0
    answered: int = 0
    wrong: int = 0
    repeated: int = 0
    refused_connections: int = 0
    worst_ms: float = 0

    def add(self, other):
        worst = max(self.worst_ms, other.worst_ms)
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        self.worst_ms = round(worst, 1)


class Load:
    """The load of the JSON file."""

    def __init__(self, facts):
        caller = {"certificate": facts["certificate"], "key": facts["key"]}
        self.channels = [h.connect(address, facts["ca"], caller, OPTIONS) for address in facts["addresses"]]
        self.stubs = [taps.ValidatorServiceStub(channel) for channel in self.channels]
        self.stop_file = Path(facts["stop_file"])
        self.pace = facts["pace_ms"] / 1e3
        self.parent = os.getppid()
        self.codes = queue.SimpleQueue()
        for tap in enumerate(facts["codes"]):
            self.codes.put(tap)

    def is_over(self):
        """There is a stop file, or nobody any more who could make one."""
        return self.stop_file.exists() or os.getppid() != self.parent

    def work(self, counts):
        """Taps until it is over or no code is left."""
        while not self.is_over():
            try:
                number, code = self.codes.get_nowait()
            except queue.Empty:
                return
            self.tap(number, taps.request(f"python-{number}", bytes.fromhex(code)), counts)
            time.sleep(self.pace)

    def tap(self, number, request, counts):
        """One tap, and what came of it."""
        counts.taps += 1
        began = time.monotonic()
        answer = self.until_answered(self.stubs[number % 2 :] + self.stubs[: number % 2], request, counts)
        if answer is None:
            print(f"{request.request_id}: no answer", flush=True)
            return
        counts.answered += 1
        counts.worst_ms = max(counts.worst_ms, (time.monotonic() - began) * 1e3)
        if taps.said(answer) != "ALLOW HEALTH_OK" or answer.request_id != request.request_id:
            counts.wrong += 1
            print(f"{request.request_id}: {taps.said(answer)}", flush=True)

    def until_answered(self, stubs, request, counts):
        """The answer, or None if there is none in time or an error that is no reason to repeat."""
        over = time.monotonic() + PATIENCE
        for attempt in itertools.count():
            left = over - time.monotonic()
            if left <= 0:
                return None
            counts.repeated += attempt > 0
            try:
                return stubs[attempt % 2].Check(request, timeout=left)
            except grpc.RpcError as error:
                if error.code() not in GONE:
                    print(f"{request.request_id}: {error.code().name}: {error.details()}", flush=True)
                    return None
                counts.refused_connections += "failed to connect" in (error.details() or "").lower()
            # The other one at once; if neither is there, both a little later.
            if attempt % 2:
                time.sleep(PAUSE)


def main():
    load = Load(json.loads(Path(sys.argv[1]).read_text()))
    each = [Counts() for _ in range(THREADS)]
    threads = [threading.Thread(target=load.work, args=[counts]) for counts in each]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{load.codes.qsize()} codes left", flush=True)
    while not load.is_over():
        time.sleep(PAUSE)
    for channel in load.channels:
        channel.close()
    counts = Counts()
    for one in each:
        counts.add(one)
    print(json.dumps(dataclasses.asdict(counts)), flush=True)
    sys.exit(0 if 0 < counts.taps == counts.answered and counts.wrong == 0 else 1)


main()

"""T10: receivers that take a connection and never answer, on real sockets, beside one that answers."""

import asyncio
from datetime import timedelta

from bad_peer import BadPeer
from northbound.backends.curl import CurlSender
from northbound.backends.memory import MemoryDeliveries
from northbound.dialects import all_dialects
from northbound.hub.system import SystemClock, SystemEntropy
from northbound.logic.addresses import AllowList
from northbound.logic.places import NARROW, PLACES
from northbound.model.app import RetryPolicy
from northbound.stages.deliver import Deliver, Settled
from northbound.testing.fakes import delivery, endpoint

SILENT, ROOMS, HEALTHY = 20, 30, 300
PATIENT = RetryPolicy(attempts=3, waits=(timedelta(seconds=10),), deadline=timedelta(seconds=100))


def test_silent_peers_hold_up_no_healthy_one():
    """All that waits for the healthy one is accepted while every silent one still has its first requests under way."""

    async def main() -> None:
        async with BadPeer() as silent, BadPeer() as healthy:
            sender = CurlSender(allow=AllowList.parse(["127.0.0.0/8"]), max_connections=PLACES)
            endpoints = {
                name: endpoint(name, url=silent.url("hang"), retry=PATIENT)
                for name in (f"silent_{number}" for number in range(SILENT))
            }
            endpoints["healthy"] = endpoint("healthy", url=healthy.url("ok"), retry=PATIENT)
            settled: list[Settled] = []
            store = MemoryDeliveries()
            stage = Deliver(
                store, sender, all_dialects(), endpoints.get, SystemClock(), SystemEntropy(), on_settled=settled.append
            )
            waiting = [
                delivery(place, to=f"silent_{number}", room=f"src_1//s{place}")
                for number in range(SILENT)
                for place in range(1, ROOMS + 1)
            ]
            waiting += [delivery(place, to="healthy", room=f"src_1//h{place}") for place in range(1, HEALTHY + 1)]
            stage.take(store.add(waiting), waiting)
            try:
                async with asyncio.timeout(50):  # half of the silent ones' deadline
                    while len(settled) < HEALTHY:
                        await stage.turn()
                        assert sender.in_flight <= SILENT * NARROW + endpoints["healthy"].max_in_flight
                        await asyncio.sleep(0)
            finally:
                await sender.close()

            assert {one.endpoint.id for one in settled} == {"healthy"}
            assert len(healthy.received) == HEALTHY
            assert silent.connections == SILENT * NARROW

    asyncio.run(main())

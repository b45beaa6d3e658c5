"""Which addresses may be dialled: every answer of a look-up is judged before any is used."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.addresses import Address, parse_address, refusal
from gateway.ports.outbound import Resolver


class AddressRefused(Exception):
    """A name leads to an address that no outbound call may reach; the message says which."""


class Judge:
    """A resolver (`gateway.ports.outbound.Resolver`) that gives judged addresses only."""

    def __init__(self, resolver: Resolver, *, allow_private: bool) -> None:
        self._resolver = resolver
        self._allow_private = allow_private

    async def __call__(self, name: str, port: int, *, team: str = "") -> Sequence[Address]:
        """Raises AddressRefused where any of the answers is refused, or as the resolver does."""
        addresses = await self._resolver(name, port, team=team)
        for address in addresses:
            self.check(address, name)
        return list(dict.fromkeys(addresses))

    def check_dial(self, host: str) -> None:
        """Judges what is about to be dialled, as it is written. Raises AddressRefused, also for
        what is no address: C may read one in it."""
        try:
            address = parse_address(host)
        except ValueError:
            raise AddressRefused(f"{host} is no address") from None
        self.check(address, host)

    def check(self, address: Address, name: str) -> None:
        reason = refusal(address, allow_private=self._allow_private)
        if reason is not None:
            raise AddressRefused(f"{name} leads to {address}, which is {reason}")

"""Calls services of a Gatehouse mesh: deadlines from the contract, identities from files, failures that say what to do."""

from ._call_failure import CallFailure, to_call_failure
from ._connect import Identity, Mesh, connect
from ._contract import CONTRACT_VERSION

__all__ = ["CONTRACT_VERSION", "CallFailure", "Identity", "Mesh", "connect", "to_call_failure"]

"""What the contract says of itself and of its methods; contract.json is packed beside this file."""

import json
from importlib import resources

_CONTRACT = json.loads((resources.files(__package__) / "contract.json").read_text("utf-8"))

CONTRACT_VERSION: str = _CONTRACT["version"]
"""The version that the stubs are made from. Calls carry it, and a mesh of another one refuses them."""

CONTRACT_HEADER = "gatehouse-contract"

DEADLINE_SECONDS: dict[str, float] = {path: ms / 1000 for path, ms in _CONTRACT["deadlines"].items()}
"""The deadline of a call that brings none, by `/pkg.Service/Method`."""

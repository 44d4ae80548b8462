"""Contract tests for plugins, to be run by pytest.

A package that offers a plugin derives a class from the contract of its kind, names the plugin, and says what it is
tried with. Each test of the contract is then one of its own tests::

    from elspeth.testing import TransformContract

    class TestIban(TransformContract):
        plugin = IbanTransform
        rows = [{"iban": "GB82 WEST 1234 5698 7654 32"}]
        refused = [{"iban": "GB00 WEST 1234 5698 7654 32"}, {}]
"""

from elspeth.testing.plugins import PluginContract
from elspeth.testing.sinks import SinkContract
from elspeth.testing.sources import SourceContract
from elspeth.testing.steps import (
    AggregationContract,
    CallingTransformContract,
    DistinctTransformContract,
    TransformContract,
)

__all__ = [
    "AggregationContract",
    "CallingTransformContract",
    "DistinctTransformContract",
    "PluginContract",
    "SinkContract",
    "SourceContract",
    "TransformContract",
]

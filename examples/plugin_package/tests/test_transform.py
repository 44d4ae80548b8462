"""The transform `iban` keeps the contract of transforms."""

from elspeth_iban.transform import IbanTransform

from elspeth.testing import TransformContract


class TestIban(TransformContract):
    """What elspeth demands of every transform."""

    plugin = IbanTransform
    rows = ({"iban": "GB82 WEST 1234 5698 7654 32"},)
    refused = ({"iban": "GB00 WEST 1234 5698 7654 32"}, {})

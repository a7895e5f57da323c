"""The kit for authors of tests and of stores; it is in the wheel and not in the image."""

import sys

__all__: list[str] = []

# A failed assertion of the contract shows its values only when pytest rewrites the module, and
# pytest has to be told before the module is imported.
if "pytest" in sys.modules:
    sys.modules["pytest"].register_assert_rewrite("prixfixe.testing.store_contract")

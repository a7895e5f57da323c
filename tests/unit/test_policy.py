import pytest

from prixfixe import replies
from prixfixe.policy import RecipientPolicy

LIST = ("@example.com", "one@other.test")


@pytest.mark.parametrize(
    "address",
    ["x@example.com", "X@EXAMPLE.com", "one@other.test", "postmaster", "Postmaster@other.test"],
)
def test_listed_recipient_is_accepted(address):
    assert RecipientPolicy(LIST).judge(address) is None


@pytest.mark.parametrize("address", ["two@other.test", "x@sub.example.com", "postmaster@b.test"])
def test_other_recipient_is_refused(address):
    assert RecipientPolicy(LIST).judge(address) is replies.NO_SUCH_RECIPIENT


def test_empty_list_accepts_everyone():
    assert RecipientPolicy(()).judge("anyone@anywhere") is None

import pytest

from prixfixe.smtp import replies
from prixfixe.smtp.recipients import RecipientPolicy

LIST = ("@example.com", "one@other.test")


@pytest.mark.parametrize(
    "address",
    ["x@example.com", "X@EXAMPLE.com", "one@other.test", "postmaster", "Postmaster@other.test"],
)
def test_listed_recipient_is_accepted(address):
    assert RecipientPolicy(LIST).refusal(address) is None


@pytest.mark.parametrize("address", ["two@other.test", "x@sub.example.com", "postmaster@b.test"])
def test_other_recipient_is_refused(address):
    assert RecipientPolicy(LIST).refusal(address) is replies.NO_SUCH_RECIPIENT


SPELLINGS = {
    "quotes": ("one@other.test", '"one"@other.test'),
    "pairs": ("one@other.test", '"\\o\\ne"@other.test'),
    "quotes in the list": ('"one"@other.test', "One@other.test"),
    "postmaster in quotes": ("one@other.test", '"Postmaster"@other.test'),
    "U-label": ("@xn--bcher-kva.test", "x@B\u00fccher.test"),
    "A-label": ("@b\u00fccher.test", "x@XN--BCHER-KVA.test"),
    "decomposed": ("\u00e9@other.test", "E\u0301@other.test"),
}


@pytest.mark.parametrize(("listed", "address"), SPELLINGS.values(), ids=SPELLINGS)
def test_spelling_does_not_matter(listed, address):
    assert RecipientPolicy([listed]).refusal(address) is None


@pytest.mark.parametrize(
    "address", ['"x@example.com"@b.test', '""@other.test', '"one "@other.test', "x@b\u00fc.test"]
)
def test_what_is_quoted_is_another(address):
    assert RecipientPolicy([*LIST, "@xn--b"]).refusal(address) is replies.NO_SUCH_RECIPIENT


def test_empty_list_accepts_everyone():
    assert RecipientPolicy(()).refusal("anyone@anywhere") is None

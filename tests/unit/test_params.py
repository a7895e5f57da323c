import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.smtp import replies
from prixfixe.smtp.parameters import (
    MAIL_PARAMETERS,
    RCPT_PARAMETERS,
    ParameterError,
    parse_parameters,
)

GOOD_MAIL = {
    "SIZE": (" SIZE=100", ("SIZE", "100")),
    "keyword case": (" size=0", ("SIZE", "0")),
    "20 digits": (" SIZE=99999999999999999999", ("SIZE", "9" * 20)),
    "BODY": (" BODY=8BITMIME", ("BODY", "8BITMIME")),
    "value keeps its case": (" body=8BitMime", ("BODY", "8BitMime")),
    "SMTPUTF8": (" SMTPUTF8", ("SMTPUTF8", None)),
    "null AUTH": (" AUTH=<>", ("AUTH", "<>")),
    "AUTH xtext": (" AUTH=e+3Dmc2@example.com", ("AUTH", "e+3Dmc2@example.com")),
    "RET": (" RET=HDRS", ("RET", "HDRS")),
    "ENVID": (" ENVID=QQ314159+2B", ("ENVID", "QQ314159+2B")),
    "blanks around": ("  SIZE=1  ", ("SIZE", "1")),
}
BAD_MAIL = {
    "SIZE without digits": " SIZE=abc",
    "SIZE without value": " SIZE=",
    "bare SIZE": " SIZE",
    "negative SIZE": " SIZE=-1",
    "21 digits": " SIZE=" + "9" * 21,
    "superscript": " SIZE=²",
    "Arabic digits": " SIZE=١٠",
    "twice": " SIZE=1 SIZE=2",
    "unknown BODY": " BODY=FOO",
    "BODY with a dotless i": " BODY=8B\u0131TMIME",
    "BINARYMIME is not offered": " BODY=BINARYMIME",
    "SMTPUTF8 with value": " SMTPUTF8=1",
    "RET=FOO": " RET=FOO",
    "ENVID with bad xtext": " ENVID=a+zz",
    "ENVID that hides a CRLF": " ENVID=a+0D+0Ab",
    "ENVID that hides DEL": " ENVID=a+7F",
    "ENVID that hides no ASCII": " ENVID=a+E9",
    "AUTH that hides NUL": " AUTH=a+00b",
    "ENVID over 100": " ENVID=" + "a" * 101,
    "no blank": "SIZE=1",
    "equals in value": " ENVID=a=b",
    "keyword with underscore": " A_B=1",
}
GOOD_RCPT = [
    " NOTIFY=SUCCESS,SUCCESS",
    " NOTIFY=NEVER",
    " NOTIFY=success,FAILURE,delay",
    " ORCPT=rfc822;a+2Bb@x.test",
    " ORCPT=rfc822;+D0+BF@+D0+BF+D1+80.example",
    r" ORCPT=utf-8;\x{43F}@\x{E9}.example",
    " ORCPT=utf-8;п@é.example",
]
BAD_RCPT = [
    " NOTIFY=NEVER,SUCCESS",
    " NOTIFY=",
    " NOTIFY",
    " ORCPT=nothing",
    " NOTIFY=\u017fUCCESS",
    " NOTIFY=FA\u0131LURE",
    " ORCPT=rfc822;a+zz",
    " ORCPT=rfc822;a+0A",
    " ORCPT=rfc822;a+7F",
    " ORCPT=rfc822;a+d0",
    " ORCPT=rfc822;" + "a" * 500,
]


@pytest.mark.parametrize(("text", "expected"), GOOD_MAIL.values(), ids=GOOD_MAIL)
def test_mail_parameter_is_recorded(text, expected):
    assert parse_parameters(text, MAIL_PARAMETERS) == (expected,)


@pytest.mark.parametrize("text", BAD_MAIL.values(), ids=BAD_MAIL)
def test_mail_parameter_is_refused(text):
    with pytest.raises(ParameterError) as caught:
        parse_parameters(text, MAIL_PARAMETERS)
    assert caught.value.reply is replies.BAD_PARAMETER


@pytest.mark.parametrize("text", GOOD_RCPT)
def test_rcpt_parameter_is_recorded(text):
    name, _, value = text[1:].partition("=")
    assert parse_parameters(text, RCPT_PARAMETERS) == ((name, value),)


@pytest.mark.parametrize("text", BAD_RCPT)
def test_rcpt_parameter_is_refused(text):
    with pytest.raises(ParameterError):
        parse_parameters(text, RCPT_PARAMETERS)


@pytest.mark.parametrize("octet", [chr(code) for code in range(0x21, 0x7F)] + ["+2B", "\u00e9"])
@pytest.mark.parametrize("end", ["+", "=", "\u0085"])
def test_no_value_takes_long_to_refuse(octet, end):
    """One whose octets fit two alternatives of a pattern takes years at this length."""
    for name in MAIL_PARAMETERS:
        refuse(f" {name}={octet * 90}{end}", MAIL_PARAMETERS)
    for name in RCPT_PARAMETERS:
        refuse(f" {name}=rfc822;{octet * 400}{end}", RCPT_PARAMETERS)
        refuse(f" {name}={'NEVER,' * 80}{octet}{end}", RCPT_PARAMETERS)


def refuse(text, known):
    with pytest.raises(ParameterError):
        parse_parameters(text, known)


@pytest.mark.parametrize("text", [" FOO=BAR", " X-FOO=BAR", " NOTIFY=NEVER"])
def test_unknown_keyword_is_555(text):
    with pytest.raises(ParameterError) as caught:
        parse_parameters(text, MAIL_PARAMETERS)
    assert caught.value.reply is replies.UNKNOWN_PARAMETER


def test_order_is_kept():
    found = parse_parameters(" BODY=7BIT SIZE=1 RET=FULL", MAIL_PARAMETERS)
    assert [name for name, _ in found] == ["BODY", "SIZE", "RET"]


@given(st.text())
def test_any_text_is_refused_or_parsed(text):
    try:
        found = parse_parameters(text, MAIL_PARAMETERS)
    except ParameterError:
        return
    assert all(name in MAIL_PARAMETERS for name, _ in found)

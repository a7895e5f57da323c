"""What we rely on in aiosmtpd and its neighbours beyond their documented interface.

When an upgrade moves one of these, this file says which.
"""

import inspect

import pytest
from aiosmtpd import smtp


def test_session_can_be_created_without_the_constructor():
    connection = smtp.SMTP.__new__(smtp.SMTP)
    connection.loop = None
    session = connection._create_session()
    for name in ("peer", "ssl", "authenticated"):
        assert hasattr(session, name), f"aiosmtpd.smtp.Session lost {name}"


@pytest.mark.parametrize("name", ["connection_made", "connection_lost", "eof_received"])
def test_protocol_methods_keep_their_arguments(name):
    ours = {"connection_made": 2, "connection_lost": 2, "eof_received": 1}
    assert len(inspect.signature(getattr(smtp.SMTP, name)).parameters) == ours[name]


def test_http_connection_finds_what_it_relies_on_in_uvicorn():
    from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

    for name in ("connection_made", "connection_lost", "data_received", "on_response_complete"):
        assert callable(getattr(H11Protocol, name))
    source = inspect.getsource(H11Protocol.__init__)
    for name in ("self.cycle", "self.connections", "self.transport", "self.loop"):
        assert name in source, f"uvicorn's H11Protocol lost {name}"
    assert "self.response_complete = False" in inspect.getsource(RequestResponseCycle.__init__)


def test_destructor_copes_with_a_parent_that_was_not_built():
    smtp.SMTP.__new__(smtp.SMTP).__del__()

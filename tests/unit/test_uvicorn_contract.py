"""What is relied on in uvicorn beyond its documented interface; an upgrade that moves it fails here."""

import inspect


def test_http_connection_finds_what_it_relies_on_in_uvicorn():
    from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

    for name in ("connection_made", "connection_lost", "data_received", "on_response_complete"):
        assert callable(getattr(H11Protocol, name))
    source = inspect.getsource(H11Protocol.__init__)
    for name in ("self.cycle", "self.connections", "self.transport", "self.loop"):
        assert name in source, f"uvicorn's H11Protocol lost {name}"
    assert "self.response_complete = False" in inspect.getsource(RequestResponseCycle.__init__)

"""Notes about other servers: why a row is met in another way, and how each server was configured.

Each difference was seen in a run and is allowed by an RFC. The settings repeat those
of `start` and the configuration files, with the reason for each.
"""

from __future__ import annotations

__all__ = ["NOTES", "SETTINGS"]

_EARLY = "with little room, MAIL itself is answered 452, before a message is sent"
_EARLY_CHUNK = f"{_EARLY} or a chunk"
_LITERAL = "a literal is looked at when mail is routed by it, and here nothing is routed"
_OCTETS = "a line end counts as one octet, so a little more is taken than was said"
_BOUNCE = "a loop is found when mail is delivered, and answered by a bounce"
_GOODBYE = "at a line that no mail client sends where a command is due, the session ends"
_LINES = "a lone LF in a message is read as a line end, and kept as one"

NOTES: dict[str, dict[str, str]] = {
    "D12": {"Postfix": f"{_LINES}; a lone CR becomes a blank", "Exim": _LINES, "OpenSMTPD": _LINES},
    "L09": {"Postfix": _GOODBYE},
    "M07": {"OpenSMTPD": "past the limit 451 is said, a code of the same class"},
    "M08": {"Exim": "the session ends, with a code of class 5"},
    "N11": {"Exim": "between chunks nothing is taken but NOOP, RSET and another"},
    "N14": {"Postfix": _LINES, "Exim": _LINES},
    "N17": {"Exim": _LITERAL, "OpenSMTPD": _LITERAL},
    "N23": {"Exim": _OCTETS},
    "N31": {"Exim": _BOUNCE},
    "N37": {"Postfix": _EARLY_CHUNK, "Exim": _EARLY_CHUNK},
    "O11": {"Postfix": _EARLY, "Exim": _EARLY},
    "N56": {"Postfix": _GOODBYE},
    "P11": {"Exim": _LITERAL},
    "S01": {"Exim": _OCTETS, "OpenSMTPD": _OCTETS},
    "S05": {"Exim": _OCTETS, "OpenSMTPD": _OCTETS},
    "V03": {
        "Exim": "ETRN is refused with 458, a code of RFC 1985",
        "Postfix": "ETRN is refused with 459, a code of RFC 1985",
    },
    "V07": {"Postfix": _EARLY, "Exim": _EARLY},
    "Y03": {"Exim": _BOUNCE},
}

SETTINGS: dict[str, dict[str, str]] = {
    "Postfix": {
        "default_transport = record": "nothing is delivered but to the recorder",
        "smtpd_peername_lookup = no": "no client waits for a name service that is not there",
        "smtpd_helo_required = yes": "the order of commands can be judged",
        "smtpd_helo_restrictions = reject_invalid_helo_hostname": "names are judged as they are said (`smtpd_delay_reject = no`)",
        "reject_non_fqdn_sender, reject_non_fqdn_recipient": "addresses without a domain are not completed",
        "strict_rfc821_envelopes = yes, strict_smtputf8 = yes": "paths are read strictly",
        "smtpd_error_sleep_time = 0, smtpd_junk_command_limit = 1000000": "one case takes no time from the next",
        "smtpd_forbid_unauth_pipelining = no": "batches that RFC 2920 does not let a client send can be judged",
        "smtpd_forbid_bare_newline_exclusions =": "the client is a stranger",
        "smtpd_recipient_overshoot_limit = 100000, hopcount_limit = 102": "limits are those the rows speak of",
        "smtpd_tls_protocols = >=TLSv1.2": "what is offered is what the row asks",
        "smtpd_timeout = 2s, smtpd_per_request_deadline = yes, smtpd_min_data_rate = 1": "rows about time (configuration O)",
    },
    "OpenSMTPD": {
        "action record mda … virtual": "nothing is delivered but to the recorder",
        "auth-optional": "AUTH, which it has inside TLS only",
    },
    "Exim": {
        "record: driver = accept": "nothing is delivered but to the recorder",
        "host_lookup =, rfc1413_query_timeout = 0s": "no client waits for a service that is not there",
        "smtp_enforce_sync = false": "batches that RFC 2920 does not let a client send can be judged",
        "allow_domain_literals = true, helo_allow_chars = _": "what PrixFixe takes can be had",
        "smtp_accept_max_nonmail_hosts =, smtp_max_synprot_errors = 20, smtp_max_unknown_commands = 20": "long cases are played to their end",
        "smtp_accept_max = 50, recipients_max = 200, received_headers_max = 100": "limits are those the rows speak of",
        "chunking_advertise_hosts = *, dsn_advertise_hosts = *, smtputf8_advertise_hosts = *": "extensions are offered",
        "require … def:sender_helo_name": "the order of commands can be judged",
        "tls_require_ciphers = NORMAL:-VERS-TLS1.0:-VERS-TLS1.1": "what is offered is what the row asks",
        "smtp_receive_timeout = 2s": "rows about time (configuration O)",
    },
}

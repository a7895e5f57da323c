"""Images with a broken server: Python code that patches it by name, and the tests that must fail.

If a patched name no longer exists, the server fails at its start. Every check then fails, and
`test_teeth` reports that too.
"""

from __future__ import annotations

from tests.container.mutants.checks import (
    HEALTH,
    LIFE,
    LIMITS,
    RUNNING,
    SETTINGS,
    TALK,
    TLS,
    WAYS,
)
from tests.container.mutants.making import Mutant
from tests.container.ways import WAYS as _WAYS

__all__ = ["MUTANTS"]

MUTANTS: dict[str, Mutant] = {
    "greeting without domain": Mutant(
        "a client that compares names turns away",
        (f"{SETTINGS}test_a_setting_is_respected[SMTP_DOMAIN]",),
        code="""
from prixfixe.smtp import replies
greeting = replies.greeting
replies.greeting = lambda _domain: greeting("mail")
""",
    ),
    "greets with the host's name": Mutant(
        "a container's id is no domain",
        (f"{RUNNING}test_the_network_s_name_is_in_no_greeting",),
        code="""
import os, socket
os.environ.setdefault("SMTP_DOMAIN", socket.gethostname())
""",
    ),
    "needs a network": Mutant(
        "a start that waits for somebody else",
        (f"{RUNNING}test_needs_no_network_but_loopback",),
        code="""
import socket
if "eth0" not in [name for _, name in socket.if_nameindex()]:
    sys.exit("no network")
""",
    ),
    "one user only": Mutant(
        "runs nowhere that gives out user ids",
        (f"{RUNNING}test_runs_as_any_user_of_group_0_on_a_new_named_volume",),
        code="""
import os
if os.getuid() != 1000:
    sys.exit("not the user smtp")
""",
    ),
    "nine hours ahead": Mutant(
        "a clock of somewhere else",
        (f"{RUNNING}test_times_are_utc_wherever_the_container_thinks_it_is",),
        code="""
import time
now = time.time
time.time = lambda: now() + 9 * 3600
""",
    ),
    "prints": Mutant(
        "a line in the log that is no record",
        (f"{RUNNING}test_every_record_is_json_whatever_clients_say",),
        code="""
from prixfixe.telemetry.log import Log
ended = Log.session_ended
def loud(self, dialogue, *rest):
    if dialogue.errors:
        print("a client made mistakes", flush=True)
    ended(self, dialogue, *rest)
Log.session_ended = loud
""",
    ),
    "no size limit": Mutant(
        "one client can fill memory and disk",
        (
            f"{LIMITS}test_an_undeclared_size_over_the_limit_is_refused_after_the_data",
            f"{LIMITS}test_a_declared_size_over_the_limit_is_refused_before_the_data",
            f"{SETTINGS}test_a_setting_is_respected[SMTP_MAX_MESSAGE_SIZE]",
        ),
        code="""
from prixfixe.server import app
offer_of = app.offer_of
def without(settings):
    offer = offer_of(settings)
    offer.max_message_size = 1 << 30
    return offer
app.offer_of = without
""",
    ),
    "ignores the connection limit": Mutant(
        "one client can take every descriptor",
        (
            f"{LIMITS}test_the_third_of_two_connections_is_turned_away_and_a_freed_slot_is_usable",
            f"{SETTINGS}test_a_setting_is_respected[SMTP_MAX_CONNECTIONS]",
        ),
        code="""
from prixfixe.server import app as server
admission = server.Admission
server.Admission = lambda _most, **options: admission(10_000, **options)
""",
    ),
    "no limit of recipients": Mutant(
        "one message may name everybody",
        (
            f"{LIMITS}test_one_recipient_too_many_is_refused_and_the_others_get_the_mail",
            f"{SETTINGS}test_a_setting_is_respected[SMTP_MAX_RECIPIENTS]",
        ),
        code="""
from prixfixe.server import app
offer_of = app.offer_of
def without(settings):
    offer = offer_of(settings)
    offer.max_recipients = 1 << 30
    return offer
app.offer_of = without
""",
    ),
    "no limit of memory": Mutant(
        "a few large messages at once are the end of it",
        (f"{LIMITS}test_many_big_messages_at_once_fit_in_96_mebibytes",),
        code="""
from prixfixe.server import app as server
budget = server.Budget
server.Budget = lambda _total, most: budget(1 << 40, most)
""",
    ),
    "a traceback for too few threads": Mutant(
        "who set the limit is not told which",
        (f"{LIMITS}test_too_few_processes_stop_the_start_with_the_remedy",),
        code="""
import threading
from prixfixe.runtime import threads
threads.start = lambda name, run: threading.Thread(target=run, daemon=True).start()
""",
    ),
    "probe takes a client's slot": Mutant(
        "a busy server is called sick",
        (
            f"{HEALTH}test_the_verdicts_are_true[all client slots taken]",
            f"{HEALTH}test_200_probes_leave_no_trace",
        ),
        code="""
from prixfixe.limits.admission import Admission
Admission.expect_probe = lambda self, port: None
""",
    ),
    "always ready": Mutant(
        "a full disk is called well",
        (f"{HEALTH}test_the_verdicts_are_true[volume full]",),
        code="""
from prixfixe.telemetry import readiness
async def well(self):
    return readiness.CheckResult(is_ok=True)
readiness.Readiness._store_check = well
""",
    ),
    "false ready line": Mutant(
        "the line that tools wait for names ports nobody listens on",
        (f"{RUNNING}test_the_first_line_says_ready_with_the_real_addresses",),
        code="""
from prixfixe.server import app as server
server.Bound.line = lambda self: "prixfixe ready smtp=[::]:25 http=[::]:80 store=memory:"
""",
    ),
    "IPv4 only": Mutant(
        "half of the network finds nobody",
        (f"{RUNNING}test_answers_on_both_families[[::1]]",),
        code="""
from prixfixe.server import listeners
listeners.socket.has_dualstack_ipv6 = lambda: False
""",
    ),
    "one listener too many": Mutant(
        "a port nobody knows of",
        (f"{RUNNING}test_listens_on_2525_and_8025_and_nothing_else",),
        code="""
import socket
extra = socket.create_server(("127.0.0.1", 5555))
""",
    ),
    "bad setting ignored": Mutant(
        "runs with a limit that nobody asked for",
        (f"{SETTINGS}test_a_wrong_value_stops_the_start_and_is_named[SMTP_MAX_CONNECTIONS]",),
        code="""
import os
os.environ.pop("SMTP_MAX_CONNECTIONS", None)
""",
    ),
    "misspelt setting unnoticed": Mutant(
        "who mistypes a limit believes to have one",
        (f"{SETTINGS}test_an_unknown_setting_stops_the_start_and_names_the_nearest",),
        code="""
import prixfixe.settings.loading
prixfixe.settings.loading._unknown = lambda environ: []
""",
    ),
    "files of settings ignored": Mutant(
        "runs without the secret it was given",
        (
            f"{SETTINGS}test_a_value_can_come_from_a_file",
            f"{SETTINGS}test_a_value_and_its_file_at_once_stop_the_start",
            f"{SETTINGS}test_a_file_that_is_not_there_stops_the_start",
        ),
        code="""
import os
for name in list(os.environ):
    if name.startswith("SMTP_") and name.endswith("_FILE"):
        del os.environ[name]
""",
    ),
    "no idle timeout": Mutant(
        "silent clients stay for ever",
        (f"{LIMITS}test_a_silent_client_is_told_and_let_go",),
        code="""
import os
os.environ["SMTP_TIMEOUT"] = "3600"
""",
    ),
    "no SIGTERM handler": Mutant(
        "PID 1 ignores what it does not handle, and is killed",
        (
            f"{LIFE}test_docker_stop_ends_it_with_0_inside_the_grace_period",
            f"{LIFE}test_a_message_under_way_is_finished_when_the_server_stops",
        ),
        code="""
import signal
from types import SimpleNamespace
from prixfixe.server import process
process.signal = SimpleNamespace(**{**vars(signal), "SIGTERM": signal.SIGUSR2})
""",
    ),
    "never lets go": Mutant(
        "a client that never finishes holds the stop until the engine kills",
        (
            f"{LIFE}test_a_client_that_never_finishes_does_not_hold_the_stop",
            f"{LIFE}test_a_second_signal_hurries_the_stop",
        ),
        code="""
from prixfixe.server.app import Server
async def wait(self):
    await self.roster.is_empty.wait()
Server._wait_for_connections = wait
""",
    ),
    "no lock": Mutant(
        "two servers write one store",
        (f"{LIFE}test_two_servers_never_share_a_volume",),
        code="""
from prixfixe.stores.disk.folder import FolderLock
FolderLock.take = lambda self, store: None
""",
    ),
    "says what the system says": Mutant(
        "who mounts a volume of root's is told a number",
        (
            f"{LIFE}test_a_volume_of_root_s_stops_the_start_with_the_remedy",
            f"{LIFE}test_a_read_only_volume_stops_the_start_with_the_remedy",
            f"{RUNNING}test_a_user_that_cannot_write_the_volume_is_told_who_and_what",
        ),
        code="""
from prixfixe.stores.disk import folder
folder.explain = lambda path, error: error
""",
    ),
    "acknowledges what was not stored": Mutant(
        "a 250 whatever the disk said",
        (f"{LIFE}test_a_full_disk_is_a_452_and_mail_flows_again_when_there_is_room",),
        code="""
import asyncio
from prixfixe.stores.group_commit import GroupStore
put = GroupStore.put
def hopeful(self, message):
    done = asyncio.get_running_loop().create_future()
    put(self, message).add_done_callback(lambda kept: (kept.exception(), done.set_result(None)))
    return done
GroupStore.put = hopeful
""",
    ),
    "loses every 50th message": Mutant(
        "a 250 for what is never kept, now and then",
        (f"{TALK}test_what_is_acknowledged_under_load_is_what_is_kept",),
        code="""
import asyncio, itertools
from prixfixe.stores.group_commit import GroupStore
put, numbers = GroupStore.put, itertools.count(1)
def lossy(self, message):
    if next(numbers) % 50:
        return put(self, message)
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done
GroupStore.put = lossy
""",
    ),
    "senders in lower case": Mutant(
        "an address is its owner's to spell",
        (f"{TALK}test_an_envelope_is_kept_exactly",),
        code="""
from prixfixe.mail.message import Envelope
to_json = Envelope.to_json
Envelope.to_json = lambda self: to_json(self._replace(sender=self.sender.lower()))
""",
    ),
    "another id in the trace": Mutant(
        "a mail that cannot be found by what its client was told",
        (f"{TALK}test_one_id_is_in_the_reply_the_api_the_trace_and_the_log",),
        code="""
from prixfixe.mail import message
trace = message.trace_headers
message.trace_headers = lambda one: trace(one).replace(one.id.encode(), b"0")
""",
    ),
    "bare line ends kept": Mutant(
        "what a careless relay takes for the end of a message",
        (f"{TALK}test_smuggled_mail_stays_inside_its_message",),
        code="""
from prixfixe.smtp import data as body
body._newlines = lambda octets: None
""",
    ),
    "ends data at a bare line feed": Mutant(
        "smuggling itself",
        (f"{TALK}test_smuggled_mail_stays_inside_its_message",),
        code="""
from prixfixe.smtp import data as body, commands as verbs
class Lenient(body.DataReader):
    __slots__ = ()
    def feed(self, chunk):
        return super().feed(chunk.replace(b"\\n.\\n", b"\\r\\n.\\r\\n"))
verbs.DataReader = Lenient
""",
    ),
    "tells nobody who waits": Mutant(
        "a test that waits for its mail waits in vain",
        (f"{TALK}test_who_waits_for_mail_gets_it_when_it_is_kept",),
        code="""
from prixfixe.stores.arrivals import Arrivals
Arrivals.publish = lambda self, message: None
""",
    ),
    "counts twice": Mutant(
        "a rate that is none",
        (f"{TALK}test_the_counters_agree_with_what_happened",),
        code="""
from prixfixe.telemetry.metrics import Metrics
accepted = Metrics.accepted
def twice(self, *of):
    accepted(self, *of)
    accepted(self, *of)
Metrics.accepted = twice
""",
    ),
    "any password will do": Mutant(
        "a login that keeps nobody out",
        (f"{TLS}test_a_session_that_guesses_is_told_421_long_before_fifty",),
        code="""
from prixfixe.auth.authenticator import Authenticator, Verdict
async def well(self, user, password, *, peer=""):
    return Verdict.ACCEPTED
Authenticator.verify = well
""",
    ),
    "mail without a login": Mutant(
        "required is a word only",
        (f"{TLS}test_nothing_but_tls_and_a_login_leads_to_mail",),
        code="""
import os
if os.environ.get("SMTP_AUTH") == "required":
    os.environ["SMTP_AUTH"] = "optional"
""",
    ),
    "new files never read": Mutant(
        "a certificate that was renewed in time runs out all the same",
        (f"{TLS}test_users_rotate_while_it_runs",),
        code="""
from prixfixe.server.reload import Reloader
async def idle(self, source):
    return None
Reloader.poll = idle
""",
    ),
    "strips a final newline": Mutant(
        "a signature over the body no longer fits",
        (f"{TALK}test_bodies_are_kept_to_the_octet",),
        code="""
from prixfixe.connection.delivery import Delivery
keep = Delivery.keep
def strip(self, envelope, body, *rest):
    keep(self, envelope, body[:-2] if body.endswith(b"\\r\\n\\r\\n") else body, *rest)
Delivery.keep = strip
""",
    ),
    "DELETE asks for no token": Mutant(
        "who may not read may destroy",
        (f"{WAYS}test_every_method_and_path_of_the_api_asks_for_the_token",),
        code="""
from prixfixe.http import server
build = server.build_app
def lenient(context, mailbox):
    app = build(context, mailbox)
    async def asgi(scope, receive, send):
        if scope["type"] == "http" and scope["method"] == "DELETE" and context.token:
            others = [one for one in scope["headers"] if one[0] != b"authorization"]
            token = (b"authorization", b"Bearer " + context.token.encode())
            scope = {**scope, "headers": [*others, token]}
        await app(scope, receive, send)
    return asgi
server.build_app = lenient
""",
    ),
    "BDAT knows no size": Mutant(
        "a limit that one of two verbs has",
        tuple(f"{WAYS}test_every_limit_holds_on_every_way[{way}]" for way in _WAYS),
        code="""
from prixfixe.smtp import data as body, commands as verbs
class Endless(body.ChunkReader):
    __slots__ = ()
    def __init__(self, limit):
        super().__init__(1 << 30)
verbs.ChunkReader = Endless
""",
    ),
    "BDAT loses dots": Mutant(
        "chunks are not stuffed, and must not be treated as if they were",
        tuple(f"{WAYS}test_a_body_is_kept_to_the_octet_on_every_way[{way}]" for way in _WAYS),
        code="""
from prixfixe.smtp import data as body, commands as verbs
class Unstuffing(body.ChunkReader):
    __slots__ = ()
    def take(self):
        return super().take().replace(b"\\r\\n.", b"\\r\\n")
verbs.ChunkReader = Unstuffing
""",
    ),
    "the TLS port knows no recipients": Mutant(
        "a limit that one of two ports has",
        tuple(
            f"{WAYS}test_every_limit_holds_on_every_way[{way}]" for way in ("smtps", "proxy smtps")
        ),
        code="""
import copy
from prixfixe.server.app import Server
listen = Server._listen_smtp
async def lax(self, port, terms, listener):
    if listener == "smtps":
        terms = copy.copy(terms)
        terms.max_recipients = 1 << 30
    return await listen(self, port, terms, listener)
Server._listen_smtp = lax
""",
    ),
}

"""What clients of Mailpit ask for, and so which of their methods work.

An operation is here if docs/openapi.yaml describes it, and a method works if all its operations are
here. `test_mailpit_clients.py` calls every method.
"""

import re
from pathlib import Path

import yaml

DOCUMENT = Path(__file__).parents[3] / "docs/openapi.yaml"
MESSAGE, TAG = "/api/v1/message/{}", "/api/v1/tags/{}"

# The operations of Mailpit's swagger.json (1.30), in its order.
MAILPIT = [
    "GET /api/v1/chaos",
    "PUT /api/v1/chaos",
    "GET /api/v1/info",
    f"GET {MESSAGE}",
    f"GET {MESSAGE}/headers",
    f"GET {MESSAGE}/html-check",
    f"GET {MESSAGE}/link-check",
    f"GET {MESSAGE}/part/{{}}",
    f"GET {MESSAGE}/part/{{}}/thumb",
    f"GET {MESSAGE}/raw",
    f"POST {MESSAGE}/release",
    f"GET {MESSAGE}/sa-check",
    "GET /api/v1/messages",
    "PUT /api/v1/messages",
    "DELETE /api/v1/messages",
    "GET /api/v1/search",
    "DELETE /api/v1/search",
    "POST /api/v1/send",
    "GET /api/v1/tags",
    "PUT /api/v1/tags",
    f"PUT {TAG}",
    f"DELETE {TAG}",
    "GET /api/v1/webui",
    "GET /view/{}.html",
    "GET /view/{}.txt",
]
LIST, SEARCH, READ = "GET /api/v1/messages", "GET /api/v1/search", "PUT /api/v1/messages"
ONE, ALL, FOUND = f"GET {MESSAGE}", "DELETE /api/v1/messages", "DELETE /api/v1/search"
SEND, CHECK = "POST /api/v1/send", f"GET {MESSAGE}/sa-check"
HTML, TEXT = "GET /view/{}.html", "GET /view/{}.txt"

MAILPIT_API = {
    "getInfo": ["GET /api/v1/info"],
    "getConfiguration": ["GET /api/v1/webui"],
    "getMessageSummary": [ONE],
    "getMessageHeaders": [f"GET {MESSAGE}/headers"],
    "getMessageAttachment": [f"GET {MESSAGE}/part/{{}}"],
    "getAttachmentThumbnail": [f"GET {MESSAGE}/part/{{}}/thumb"],
    "getMessageSource": [f"GET {MESSAGE}/raw"],
    "releaseMessage": [f"POST {MESSAGE}/release"],
    "sendMessage": [SEND],
    "listMessages": [LIST],
    "setReadStatus": [READ],
    "deleteMessages": [ALL],
    "searchMessages": [SEARCH],
    "waitForMessage": [SEARCH, ONE],
    "waitForMessages": [SEARCH, LIST],
    "deleteMessagesBySearch": [FOUND],
    "htmlCheck": [f"GET {MESSAGE}/html-check"],
    "linkCheck": [f"GET {MESSAGE}/link-check"],
    "spamAssassinCheck": [CHECK],
    "getTags": ["GET /api/v1/tags"],
    "setTags": ["PUT /api/v1/tags"],
    "renameTag": [f"PUT {TAG}"],
    "deleteTag": [f"DELETE {TAG}"],
    "getChaosTriggers": ["GET /api/v1/chaos"],
    "setChaosTriggers": ["PUT /api/v1/chaos"],
    "renderMessageHTML": [HTML],
    "renderMessageText": [TEXT],
}
CYPRESS_MAILPIT = {
    "mailpitDeleteAllEmails": [ALL],
    "mailpitDeleteEmailsBySearch": [FOUND],
    "mailpitGetAllMails": [LIST],
    "mailpitGetEmailsBySubject": [SEARCH],
    "mailpitGetMail": [ONE],
    "mailpitSearchEmails": [SEARCH],
    "mailpitSendMail": [SEND],
    "mailpitHasEmailsBySubject": [SEARCH],
    "mailpitGetEmailsByTo": [SEARCH],
    "mailpitHasEmailsByTo": [SEARCH],
    "mailpitNotHasEmailsBySubject": [SEARCH],
    "mailpitNotHasEmailsByTo": [SEARCH],
    "mailpitSetAllEmailStatusAsRead": [READ],
    "mailpitSetAllEmailStatusAsUnRead": [READ],
    "mailpitHasEmailsBySearch": [SEARCH],
    "mailpitNotHasEmailsBySearch": [SEARCH],
    "mailpitGetFromAddress": [ONE],
    "mailpitGetMailHTMlBody": [HTML],
    "mailpitGetMailTextBody": [TEXT],
    "mailpitGetRecipientAddress": [ONE],
    "mailpitGetSubject": [ONE],
    "mailpitGetAttachments": [ONE],
    "mailpitGetMailSpamAssassinSummary": [CHECK],
    "mailpitGetMailSpamAssainSummary": [CHECK],
    "mailpitSetStatusAsRead": [READ],
    "mailpitSetStatusAsUnRead": [READ],
}
# `put_messages` sends a form, and Mailpit reads JSON there.
FORM = "a form to PUT /api/v1/messages"
PYPI_CLIENT = {
    "get_messages": [LIST],
    "get_message": [ONE],
    "get_message_attachment": [f"GET {MESSAGE}/part/{{}}"],
    "get_message_headers": [f"GET {MESSAGE}/headers"],
    "delete_messages": [ALL],
    "put_messages": [FORM],
}
# `is_ready` and `server_time` ask for /readyz and /livez; tests/container/test_kit.py calls them all.
PYTEST_MAILPIT = {
    "info": ["GET /api/v1/info"],
    "is_ready": [],
    "server_time": [],
    "messages": [LIST],
    "search": [SEARCH],
    "search_all": [SEARCH],
    "get_message": [ONE],
    "get_headers": [f"GET {MESSAGE}/headers"],
    "get_raw": [f"GET {MESSAGE}/raw"],
    "get_part": [f"GET {MESSAGE}/part/{{}}"],
    "check_links": [f"GET {MESSAGE}/link-check"],
    "check_html": [f"GET {MESSAGE}/html-check"],
    "get_attachment": [f"GET {MESSAGE}/part/{{}}"],
    "html_url": [HTML],
    "wait_for_message": [SEARCH, ONE],
    "wait_for_messages": [SEARCH, ONE],
    "assert_no_message": [SEARCH],
    "delete_messages": [ALL],
    "delete_search": [FOUND],
    "delete_all": [ALL],
    "mark_read": [READ],
    "set_tags": ["PUT /api/v1/tags"],
    "chaos": ["GET /api/v1/chaos"],
    "set_chaos": ["PUT /api/v1/chaos"],
}
CLIENTS = {
    "npm mailpit-api 2.1.0": MAILPIT_API,
    "npm cypress-mailpit 2.0.0": CYPRESS_MAILPIT,
    "PyPI mailpit-api-client 1.0.0": PYPI_CLIENT,
    "PyPI pytest-mailpit 0.4.1": PYTEST_MAILPIT,
}


def here() -> set[str]:
    """Return the operations that docs/openapi.yaml describes, without the names in their paths."""
    paths = yaml.safe_load(DOCUMENT.read_text())["paths"]
    return {
        f"{method.upper()} {re.sub('{[^}]*}', '{}', path)}"
        for path, item in paths.items()
        for method in item
        if method in {"get", "put", "post", "delete"}
    }


def working(methods: dict[str, list[str]]) -> set[str]:
    """Return the methods that work here."""
    known = here()
    return {name for name, asked in methods.items() if known.issuperset(asked)}

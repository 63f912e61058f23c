"""Access to the server: its own page and programs of this machine may use it, and pages of other sites learn nothing about it."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST = "127.0.0.1"
"""The loopback address, because there is no authentication."""
CLIENT_HEADER = "X-Longview-Client"
"""Header with which a program shows that it is not a page of another site: a form cannot send it, and a script may not."""
RESPONSE_HEADERS = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
"""Headers of every response: no page of another site may embed it, open it, or guess its kind."""
FRAME_POLICY = "frame-ancestors 'self'"
OWN_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'"
"""Content-Security-Policy of everything else: scripts, styles, media and exports run nothing of another place."""
PAGE_POLICY = "; ".join(
    (
        "default-src 'self'",
        # Gradio has its configuration in a script of the page, and makes functions of the texts of its `js` events.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        # Gradio and the virtual lists set styles of elements.
        "style-src 'self' 'unsafe-inline'",
        # Icons of Gradio are data; pictures of a video that is not uploaded yet are blobs.
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
"""Content-Security-Policy of Gradio's pages, with the reason of each exception: no request leaves this machine."""
READING_METHODS = ("GET", "HEAD", "OPTIONS")
PAGES = ("/", "/watch", "/search")
"""The only paths to which a link of another site may lead: their documents are the same whatever is in the library."""
FOREIGN = "Requests from other sites are refused."
UNKNOWN = f"Only the page of Longview may do this; a program adds the header {CLIENT_HEADER}: 1."


class OwnSiteOnly:
    """Refuse requests that come from the page of another site, or that one may have sent, and protect every response.

    Browsers name the origin of a page (`Origin`) where it sends or reads something, and the relation of the page to the server
    (`Sec-Fetch-Site`) with every request. Another port of the same machine is another origin, and another site here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 403."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                _protect(MutableHeaders(scope=message), is_page=scope["path"] in PAGES)
            await send(message)

        reason = _refusal(scope)
        if reason is None:
            await self._app(scope, receive, send_protected)
        else:
            await PlainTextResponse(reason, 403)(scope, receive, send_protected)


def _protect(headers: MutableHeaders, *, is_page: bool) -> None:
    """Add the headers of every response, and remove those that let pages of other origins read it."""
    for name in [name for name in headers if name.lower().startswith("access-control-")]:
        del headers[name]
    for name, value in RESPONSE_HEADERS.items():
        headers[name] = value
    # A browser shares its cache among the ports of a machine: a reply to this page must not answer the page of another.
    headers.add_vary_header("Sec-Fetch-Site")
    # A policy that a response has already stays in force beside this one.
    headers.append("Content-Security-Policy", FRAME_POLICY)
    if is_page:
        headers.append("Content-Security-Policy", PAGE_POLICY)
    elif not any("default-src" in policy for policy in headers.getlist("Content-Security-Policy")):
        headers.append("Content-Security-Policy", OWN_POLICY)


def _refusal(scope: Scope) -> str | None:
    """Return why a request is refused; None if it may be from the page of this server, or from a program."""
    headers = Headers(scope=scope)
    origins, site = headers.getlist("origin"), headers.get("sec-fetch-site")
    if any(_origin(origin) != _origin(f"{scope['scheme']}://{headers.get('host', '')}") for origin in origins):
        return FOREIGN
    is_reading = scope["method"] in READING_METHODS
    if site not in (None, "same-origin", "none") and not (is_reading and _is_visit(scope, headers)):
        return FOREIGN
    if is_reading or origins or site == "same-origin" or headers.get(CLIENT_HEADER):
        return None
    # The form of another site cannot send JSON, and its script has to ask first.
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return None if content_type == "application/json" else UNKNOWN


def _is_visit(scope: Scope, headers: Headers) -> bool:
    """Whether a link leads a person to the page, in a window of its own."""
    mode, destination = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return scope["path"] in PAGES and mode == "navigate" and destination == "document"


def _origin(text: str) -> str:
    """Return an origin in the form in which browsers send it: in lower case, without the default port of its scheme."""
    origin = text.lower()
    for scheme, port in (("http", ":80"), ("https", ":443")):
        if origin.startswith(f"{scheme}://"):
            return origin.removesuffix(port)
    return origin

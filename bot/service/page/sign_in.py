"""The form that takes an API key, and the two addresses that begin and end a session.

Plain HTML without scripts: who is not signed in gets nothing else. Knows nothing of NiceGUI.
"""

from urllib.parse import parse_qs

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from bot.service.http.problems import Problem, not_found
from bot.service.page.sessions import Sessions, cookie_of, give

router = APIRouter(include_in_schema=False)
LONGEST = 4096  #: bytes of the form
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # else a browser sends the form without its origin
}
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Bifocal</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><style>
body{font:16px/1.5 system-ui,sans-serif;display:grid;place-items:center;min-height:100dvh;margin:0;
background:light-dark(#f7f7f5,#17181a);color:light-dark(#1d2024,#e8e8e6)}
form{display:grid;gap:.8rem;width:min(22rem,calc(100vw - 4rem));padding:2rem;border-radius:1rem;
background:light-dark(#fff,#202225);box-shadow:0 1px 3px #0002,0 8px 30px #0001}
h1{margin:0;font-size:1.4rem}p{margin:0}label{font-size:.9rem}.bad{color:light-dark(#b3261e,#ff8a80)}
input,button{font:inherit;padding:.65rem .8rem;border-radius:.6rem;border:1px solid #8885;
width:100%;box-sizing:border-box;background:transparent;color:inherit}
button{background:#2f5d62;color:#fff;border:0;cursor:pointer}</style></head><body>
<form method="post" action="/sign-in"><h1>Bifocal</h1><p>Sign in with your API key.</p>
<label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="off" placeholder="bf_…" required autofocus>
MESSAGE<button>Sign in</button></form></body></html>"""


def form(message: str = "", status: int = 200) -> Response:
    """Return the form; ``message`` is one of ours."""
    told = f'<p class="bad" role="alert">{message}</p>' if message else ""
    return HTMLResponse(_PAGE.replace("MESSAGE", told), status, headers=HEADERS)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Begin a session with the key of the form."""
    if request.app.state.keys is None:
        return RedirectResponse("/", 303)
    body = await request.body()
    if len(body) > LONGEST:
        raise Problem(413, "too-large", f"the form has {LONGEST} bytes at most")
    given = parse_qs(body.decode("utf-8", "replace"), max_num_fields=4).get("key", [""])[0]
    cookie = await Sessions(request.app.state).begin(given)
    if cookie is None:
        return form("This key is not known here. Check it, or ask who runs the service.", 401)
    response = RedirectResponse("/", 303)
    give(response, cookie, secure=request.url.scheme == "https")
    return response


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session."""
    if request.app.state.keys is None:
        raise not_found("address")
    if cookie := cookie_of(request):
        await Sessions(request.app.state).end(cookie)
    response = RedirectResponse("/", 303)
    give(response, "", secure=request.url.scheme == "https")
    return response

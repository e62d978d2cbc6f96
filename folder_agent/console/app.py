"""The console as an ASGI application: which path is which page, who may come in, and what every answer carries.

Pages are made by threads, so that a slow one holds up nobody; only listening to changes is done by the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from loguru import logger
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from folder_agent.console import acts, machine, views
from folder_agent.console.access import Visitor
from folder_agent.console.context import HERE, Asked, Context, Pages
from folder_agent.console.views import NotFound
from folder_agent.core.catalogue import Language, explain
from folder_agent.core.errors import AgentError

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_LONGEST_FORM, _MOST_FIELDS = 64 * 1024, 3000  # bytes
_TICK_S, _HEARTBEAT = 1.0, 15
_STATIC = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
_PAGES: dict[str, Callable[[Context, Asked], views.Values]] = {
    "overview": views.overview,
    "bundles": views.bundles,
    "bundle": views.bundle,
    "attention": views.attention,
    "proof": views.proof,
    "doctor": views.doctor,
    "settings": views.settings,
    "log": views.log,
    "history": views.history,
}
_FOR_OPERATORS = frozenset({"settings", "log", "history"})

Handler = Callable[[Request], Awaitable[Response]]


class App:
    """All of it, for one context."""

    def __init__(self, context: Context) -> None:
        self.context, self.pages = context, Pages(context.live)
        self._static = {name: (HERE / "static" / name).read_bytes() for name in _STATIC}
        routes = [
            Route("/", self._page("overview")),
            Route("/bundles", self._page("bundles")),
            Route("/bundles/{id:int}", self._page("bundle")),
            Route("/attention", self._page("attention")),
            Route("/proof", self._page("proof")),
            Route("/proof.csv", self._csv),
            Route("/doctor", self._page("doctor")),
            Route("/settings", self._page("settings")),
            Route("/log", self._page("log")),
            Route("/history", self._page("history")),
            Route("/events", self._events),
            Route("/look", self._look),
            Route("/static/{name}", self._file),
            Route("/favicon.ico", self._icon),
            Route("/login", self._login, methods=["GET", "POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/bundles/{id:int}/{act}", self._act, methods=["POST"]),
            Route("/again", self._group, methods=["POST"]),
            Route("/check/{job}", self._check, methods=["POST"]),
            Route("/healthz", self._machine(machine.healthz)),
            Route("/readyz", self._machine(machine.readyz)),
            Route("/metrics", self._machine(machine.metrics, is_private=True)),
            Route("/api/status", self._machine(machine.status, is_private=True)),
            Route("/api/bundles", self._machine(machine.bundles, is_private=True)),
            Route("/api/bundles/{name:path}", self._machine(machine.bundle, is_private=True)),
        ]
        self.asgi: ASGIApp = _Door(Starlette(routes=routes, exception_handlers={404: self._missing}), context)

    # --- pages --------------------------------------------------------------------------------------------------------

    def _page(self, name: str) -> Handler:
        async def serve(request: Request) -> Response:
            asked = self._asked(request)
            if asked.visitor.who is None:
                return RedirectResponse(f"/login?next={quote(_here(request))}", 303)
            if name in _FOR_OPERATORS and not asked.visitor.may_act:
                return await self._refused(asked, 403)
            return await run_in_threadpool(self._made, name, asked)

        return serve

    def _made(self, name: str, asked: Asked) -> Response:
        visitor = asked.visitor
        key = (
            *(name, asked.path, tuple(sorted(asked.query.items())), asked.language, asked.theme, asked.is_fragment),
            *(visitor.who, visitor.role, self.context.epoch),
        )
        try:
            text = self.pages.kept(key, lambda: self._fresh(name, asked))
        except NotFound:
            return self._html(asked, self.pages.html("message.html", asked, page="", code="404"), 404)
        except AgentError as error:
            why = explain(error.problem.masked(), asked.language)
            return self._html(asked, self.pages.html("message.html", asked, page="", code="503", why=why), 503)
        return self._html(asked, text)

    def _fresh(self, name: str, asked: Asked) -> str:
        version = self.context.live.version  # before the look: what changes meanwhile is newer than the page
        values = _PAGES[name](self.context, asked)
        return self.pages.html(f"{name}.html", asked, page=name, version_shown=version, **values)

    def _html(self, asked: Asked, text: str, status: int = 200) -> Response:
        body = text.replace(self.pages.placeholder, asked.visitor.token)
        response = Response(body, status, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-store"})
        response.set_cookie(
            *("console", asked.cookie),
            httponly=True,
            samesite="strict",
            secure=self.context.access.is_secured,
            path="/",
        )
        return response

    async def _refused(self, asked: Asked, status: int, why: str = "") -> Response:
        text = await run_in_threadpool(self.pages.html, "message.html", asked, page="", code=str(status), why=why)
        return self._html(asked, text, status)

    async def _missing(self, request: Request, _error: Exception) -> Response:
        asked = self._asked(request)
        if asked.visitor.who is None:
            return RedirectResponse("/login", 303)
        return await self._refused(asked, 404)

    async def _csv(self, request: Request) -> Response:
        if self._asked(request).visitor.who is None:
            return RedirectResponse("/login", 303)
        text = await run_in_threadpool(views.proof_csv, self.context)
        name = {"Content-Disposition": 'attachment; filename="proof.csv"', "Cache-Control": "no-store"}
        return Response(text, media_type="text/csv; charset=utf-8", headers=name)

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._static:
            return Response(status_code=404)
        kept = {"Cache-Control": "public, max-age=3600"}
        return Response(self._static[name], media_type=f"{_STATIC[name]}; charset=utf-8", headers=kept)

    async def _icon(self, request: Request) -> Response:
        return Response(self._static["icon.svg"], media_type="image/svg+xml")

    async def _look(self, request: Request) -> Response:
        """Language and colours, as cookies of their own."""
        back = _own_path(request.query_params.get("back", "/"))
        response = RedirectResponse(back, 303)
        for name, known in (("lang", ("zh", "en")), ("theme", ("light", "dark", "auto"))):
            if (value := request.query_params.get(name)) in known:
                response.set_cookie(name, str(value), max_age=400 * 86400, samesite="strict", path="/", httponly=True)
        return response

    async def _events(self, request: Request) -> Response:
        """Server-sent events: that something changed, and how far what is being sent has come."""
        if self._asked(request).visitor.who is None:
            return Response(status_code=401)
        stream = self._told(request)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def _told(self, request: Request) -> AsyncIterator[str]:
        live, last, silent = self.context.live, "", 0
        yield "retry: 3000\n\n"
        while not live.is_closed:
            progress = {str(number): list(one) for number, one in live.progress().items()}
            now = json.dumps({"v": live.version, "p": progress}, separators=(",", ":"))
            silent += 1
            if now != last:
                yield f"data: {now}\n\n"
                last, silent = now, 0
            elif silent >= _HEARTBEAT:
                yield ": still here\n\n"
                silent = 0
            if await request.is_disconnected() or self._asked(request).visitor.who is None:
                return
            await asyncio.sleep(_TICK_S)

    # --- what changes something ---------------------------------------------------------------------------------------

    async def _login(self, request: Request) -> Response:
        asked = await self._with_form(request)
        back = _own_path(asked.one("next") or asked.query.get("next", "/"))
        if not self.context.access.is_secured or asked.visitor.who is not None:
            return RedirectResponse(back, 303)
        if request.method == "GET":
            text = await run_in_threadpool(self.pages.html, "login.html", asked, page="login", back=back, failed=False)
            return self._html(asked, text)
        if not self._is_genuine(request, asked):
            return await self._refused(asked, 403)
        name, password = asked.one("name"), asked.one("password")
        cookie = await run_in_threadpool(acts.log_in, self.context, asked.visitor, name, password)
        if cookie is None:
            text = await run_in_threadpool(self.pages.html, "login.html", asked, page="login", back=back, failed=True)
            return self._html(asked, text, 403)
        response = RedirectResponse(back, 303)
        response.set_cookie("console", cookie, httponly=True, samesite="strict", secure=True, path="/")
        return response

    async def _logout(self, request: Request) -> Response:
        asked = await self._with_form(request)
        if not self._is_genuine(request, asked):
            return await self._refused(asked, 403)
        await run_in_threadpool(acts.log_out, self.context, asked.visitor, asked.cookie)
        return RedirectResponse("/login", 303)

    async def _act(self, request: Request) -> Response:
        asked = await self._with_form(request)
        if (refusal := await self._refusal(request, asked)) is not None:
            return refusal
        return await run_in_threadpool(self._acted, asked)

    def _acted(self, asked: Asked) -> Response:
        act = asked.numbers["act"]
        record = views.bundle_of(self.context, asked)
        if record is None or act not in (*acts.ACTS, "reveal"):
            return self._html(asked, self.pages.html("message.html", asked, page="", code="404"), 404)
        if act == "reveal":
            values = {**views.bundle(self.context, asked), "patient": acts.reveal(self.context, asked.visitor, record)}
            return self._html(asked, self.pages.html("bundle.html", asked, page="bundle", **values))
        if act in acts.SURE and asked.one("sure") != "yes":
            text = self.pages.html("confirm.html", asked, page="bundle", act=act, bundle=record, problem="")
            return self._html(asked, text)
        outcome = acts.act(self.context, asked.visitor, record, act, asked.one("reason").strip())
        if outcome.needs_reason:
            text = self.pages.html("confirm.html", asked, page="bundle", act=act, bundle=record, problem="reason")
            return self._html(asked, text)
        text = self.pages.html("done.html", asked, page="bundle", outcomes=[outcome], back=f"/bundles/{record.id}")
        return self._html(asked, text, 200 if outcome.is_done else 409)

    async def _group(self, request: Request) -> Response:
        asked = await self._with_form(request)
        if (refusal := await self._refusal(request, asked)) is not None:
            return refusal
        return await run_in_threadpool(self._grouped, asked)

    def _grouped(self, asked: Asked) -> Response:
        given = map(views.number_of, asked.form.get("bundle", []))
        numbers = [number for number in given if number is not None]
        if asked.one("sure") != "yes":
            text = self.pages.html("confirm_group.html", asked, page="attention", numbers=numbers)
            return self._html(asked, text)
        outcomes = acts.again(self.context, asked.visitor, numbers)
        return self._html(
            asked, self.pages.html("done.html", asked, page="attention", outcomes=outcomes, back="/attention")
        )

    async def _check(self, request: Request) -> Response:
        asked = await self._with_form(request)
        if (refusal := await self._refusal(request, asked)) is not None:
            return refusal
        name = asked.numbers["job"]
        job: Any = {"doctor": self.context.doctor, "proof": self.context.proof}.get(name)
        if job is None:
            return await self._refused(asked, 404)
        await run_in_threadpool(acts.check, self.context, asked.visitor, name, job)
        return RedirectResponse(f"/{name}", 303)

    async def _refusal(self, request: Request, asked: Asked) -> Response | None:
        """Why an act is not carried out; None if it may be."""
        if asked.visitor.who is None:
            return RedirectResponse("/login", 303)
        if not self._is_genuine(request, asked) or not asked.visitor.may_act:
            return await self._refused(asked, 403)
        return None

    def _is_genuine(self, request: Request, asked: Asked) -> bool:
        access = self.context.access
        origin, host = request.headers.get("origin"), request.headers.get("host", "")
        return access.knows_origin(origin, host) and access.is_genuine(asked.visitor, asked.one("csrf"))

    # --- machines -----------------------------------------------------------------------------------------------------

    def _machine(self, make: machine.Maker, *, is_private: bool = False) -> Handler:
        async def serve(request: Request) -> Response:
            visitor = self._asked(request).visitor
            if is_private and visitor.who is None and not await self._has_password(request, visitor):
                return JSONResponse({"error": "log in"}, 401, {"WWW-Authenticate": 'Basic realm="folder-agent"'})
            given = {**request.query_params, **{key: str(value) for key, value in request.path_params.items()}}
            try:
                answer = await run_in_threadpool(make, self.context, given)
            except AgentError as error:
                return JSONResponse({"error": error.problem.code}, 503)
            return Response(answer.body, answer.status, media_type=answer.kind, headers={"Cache-Control": "no-store"})

        return serve

    async def _has_password(self, request: Request, visitor: Visitor) -> bool:
        given = machine.basic(request.headers.get("authorization"))
        if given is None:
            return False
        return await run_in_threadpool(acts.may_read, self.context, visitor, *given)

    # --- requests -----------------------------------------------------------------------------------------------------

    async def _with_form(self, request: Request) -> Asked:
        body = b""
        if request.method == "POST":
            async for piece in request.stream():
                body += piece
                if len(body) > _LONGEST_FORM:
                    body = b""
                    break
        try:
            form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError:
            form = {}  # no form of ours: its token is missing, too
        return self._asked(request, form)

    def _asked(self, request: Request, form: Mapping[str, list[str]] | None = None) -> Asked:
        place = request.client.host if request.client else ""
        visitor, cookie = self.context.access.visitor(request.cookies.get("console"), place)
        theme = request.cookies.get("theme", "auto")
        return Asked(
            path=request.url.path,
            query=dict(request.query_params),
            form=form or {},
            visitor=visitor,
            language=language_of(request.cookies.get("lang"), request.headers.get("accept-language", "")),
            theme=theme if theme in ("light", "dark") else "auto",
            is_fragment=request.headers.get("x-fragment") == "1",
            cookie=cookie,
            numbers={key: str(value) for key, value in request.path_params.items()},
        )


def language_of(chosen: str | None, accepted: str) -> Language:
    """The one that was chosen, else the first of the browser's that we have (RFC 9110 12.5.4)."""
    if chosen in ("zh", "en"):
        return "zh" if chosen == "zh" else "en"
    wishes = []
    for place, part in enumerate(accepted[:500].split(",")):
        tag, _, weight = part.strip().lower().partition(";q=")
        with contextlib.suppress(ValueError):
            wishes.append((-float(weight or 1), place, tag))
    for _, _, tag in sorted(wishes):
        if tag.startswith("zh"):
            return "zh"
        if tag.startswith("en"):
            return "en"
    return "en"


def _here(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _own_path(path: str) -> str:
    """The path, if it leads to a page of ours and nowhere else."""
    parts = urlsplit(path)
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return path if is_ours and path.isprintable() and "\\" not in path else "/"


class _Door:
    """Before everything: only requests that name this machine come in, and every answer carries the policy."""

    def __init__(self, inner: ASGIApp, context: Context) -> None:
        self._inner, self._context = inner, context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        secured = self._context.access.is_secured

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [(b"strict-transport-security", b"max-age=31536000")] if secured else []
                message["headers"] = [*message.get("headers", []), *HEADERS, *more]
            await send(message)

        if not self._context.access.knows_host(host):
            logger.warning("console: a request that names another host was refused")
            response = Response("This is not the host that you asked for.\n", 421, media_type="text/plain")
            await response(scope, receive, answer)
            return
        try:
            await self._inner(scope, receive, answer)
        except Exception as error:  # noqa: BLE001  whatever breaks a page must not show its values in a traceback
            self._context.live.fault(error)
            logger.error("console: internal error {}", type(error).__name__)
            with contextlib.suppress(RuntimeError):
                await Response("internal error\n", 500, media_type="text/plain")(scope, receive, answer)

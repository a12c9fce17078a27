"""Captions for uploaded videos: people start a task, watch its progress over Server-Sent Events, and may cancel it.

An ordinary Flask application with a signed session cookie, two roles and a CSRF token. Everything lives in the memory of one
process, so it is served by one worker with many threads (gunicorn.conf.py).
"""

import functools
import hmac
import os
import secrets

from flask import Flask, Response, abort, jsonify, redirect, render_template, request, session, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.security import check_password_hash, generate_password_hash

from tasks import Board, Maintenance

# Demonstration accounts. A real team would ask its database here.
USERS = {
    name: {"role": role, "password": generate_password_hash(password)}
    for name, role, password in [
        ("alice", "user", "alice-pass"),
        ("bob", "user", "bob-pass"),
        ("ada", "admin", "ada-pass"),
    ]
}

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ.get("CAPTIONS_SECRET") or secrets.token_hex(32),
    SESSION_COOKIE_HTTPONLY=True,
    SESSION_COOKIE_SAMESITE="Lax",
    MAX_CONTENT_LENGTH=64 * 1024,
)
board = Board()
maintenance = Maintenance()


# Pages and the session


@app.get("/")
def index():
    return render_template("index.html", user=session.get("user"), role=session.get("role"))


@app.post("/login")
def login():
    form = request.get_json() if request.is_json else request.form
    name, password = str(form.get("username", "")), str(form.get("password", ""))
    user = USERS.get(name)
    if user is None or not check_password_hash(user["password"], password):
        abort(401, "unknown user or wrong password")
    session.clear()
    session.update(user=name, role=user["role"], csrf=secrets.token_hex(16))
    answer = jsonify(user=name, role=user["role"]) if request.is_json else redirect(url_for("index"))
    # The page reads this cookie and sends it back as X-CSRFToken, which a foreign site cannot do.
    answer.set_cookie("csrftoken", session["csrf"], samesite="Lax")
    return answer


@app.post("/logout")
def logout():
    session.clear()
    answer = jsonify(user=None) if request.is_json else redirect(url_for("index"))
    answer.delete_cookie("csrftoken")
    return answer


def wants_login(view):
    """401 without a session."""

    @functools.wraps(view)
    def checked(*args, **kwargs):
        if "user" not in session:
            abort(401, "log in first")
        return view(*args, **kwargs)

    return checked


def wants_admin(view):
    """401 without a session, 403 without the role."""

    @wants_login
    @functools.wraps(view)
    def checked(*args, **kwargs):
        if session["role"] != "admin":
            abort(403, "administrators only")
        return view(*args, **kwargs)

    return checked


def wants_csrf(view):
    """403 unless the session's CSRF token came back as a header."""

    @wants_login
    @functools.wraps(view)
    def checked(*args, **kwargs):
        sent = request.headers.get("X-CSRFToken", "")
        if not hmac.compare_digest(sent.encode(), session["csrf"].encode()):
            abort(403, "the CSRF token is missing or wrong")
        return view(*args, **kwargs)

    return checked


@app.get("/api/me")
@wants_login
def me():
    return jsonify(user=session["user"], role=session["role"])


# Tasks


@app.post("/api/tasks")
@wants_csrf
def start_task():
    """Body: {"video": "talk.mp4", "steps": 20, "seconds": 10, "fail_at": 7}; all may be left out."""
    wish = request.get_json()
    if not isinstance(wish, dict):
        abort(400, "a JSON object is expected")
    try:
        task = board.start(
            owner=session["user"],
            video=str(wish.get("video", "talk.mp4")),
            steps=int(wish.get("steps", 20)),
            seconds=float(wish.get("seconds", 10)),
            fail_at=int(wish["fail_at"]) if "fail_at" in wish else None,
        )
    except (TypeError, ValueError) as problem:
        abort(400, str(problem))
    return task.status(), 201, {"Location": url_for("task_status", task_id=task.id)}


@app.get("/api/tasks/<int:task_id>")
@wants_login
def task_status(task_id):
    answer = jsonify(own_task(task_id).status())
    answer.add_etag()
    return answer.make_conditional(request)


@app.post("/api/tasks/<int:task_id>/cancel")
@wants_csrf
def cancel_task(task_id):
    task = own_task(task_id)
    if not task.cancel():
        abort(409, f"the task is {task.state}")
    return task.status()


@app.get("/api/progress_stream/<int:task_id>")
@wants_login
def progress_stream(task_id):
    task = own_task(task_id)
    seen = last_event_id()
    if seen is not None and task.finished and seen >= task.feed.last_id:
        # The page has everything: 204 tells EventSource not to come back.
        return "", 204
    # Without a position the page starts from the newest event, so that it has something to show.
    return stream(task.feed, max(task.feed.last_id - 1, 0) if seen is None else seen)


def own_task(task_id):
    task = board.find(task_id)
    if task is None:
        abort(404, "no such task")
    if task.owner != session["user"] and session["role"] != "admin":
        abort(403, "this task belongs to somebody else")
    return task


# Dashboard and maintenance


@app.get("/admin/stream")
@wants_admin
def admin_stream():
    seen = last_event_id()
    return stream(board.feed, board.feed.last_id if seen is None else seen)


@app.post("/admin/maintenance")
@wants_csrf
@wants_admin
def set_maintenance():
    """Body: {"active": true, "message": "Back at 18:00"}."""
    wish = request.get_json()
    if not isinstance(wish, dict):
        abort(400, "a JSON object is expected")
    return maintenance.set(bool(wish.get("active")), str(wish.get("message", "")))


@app.get("/maintenance/stream")
def maintenance_stream():
    # Looks at no session: the answer is the same for everybody.
    seen = last_event_id()
    return stream(maintenance.feed, maintenance.feed.last_id - 1 if seen is None else seen)


# Answers


def last_event_id():
    """What the page saw last, None where it says nothing that this process could have sent."""
    sent = request.headers.get("Last-Event-ID", "")
    return int(sent) if sent.isascii() and sent.isdigit() and len(sent) < 16 else None


def stream(feed, after):
    return Response(feed.follow(after), mimetype="text/event-stream", headers={"Cache-Control": "no-cache"})


@app.errorhandler(HTTPException)
def problem(error):
    if not request.path.startswith(("/api/", "/admin/")) and not request.is_json:
        return error
    return jsonify(error=error.description), error.code

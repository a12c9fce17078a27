"""Tasks that run in threads, and the feeds that tell of them."""

import json
import os
import threading
import time
from collections import OrderedDict, deque

STEPS = ["extracting audio", "transcribing", "aligning words", "writing captions"]


class Feed:
    """An append-only list of events that any number of readers follow, each from its own place."""

    # A comment at this distance shows a vanished reader, whose thread is then free again.
    KEEPALIVE_S = 5

    def __init__(self, kept):
        self._news = threading.Condition()
        self._events = deque(maxlen=kept)
        self._closed = False
        self.last_id = 0

    def append(self, event, data, last=False):
        with self._news:
            self.last_id += 1
            self._events.append((self.last_id, event, json.dumps(data)))
            self._closed = last
            self._news.notify_all()

    def follow(self, after):
        """Every event with a greater id as Server-Sent Events text, until the feed's last one."""
        after = min(after, self.last_id)
        yield "retry: 1000\n\n"
        while True:
            with self._news:
                if self.last_id <= after and not self._closed:
                    self._news.wait(self.KEEPALIVE_S)
                waiting = [event for event in self._events if event[0] > after]
                closed = self._closed
            for after, event, data in waiting:
                yield f"id: {after}\nevent: {event}\ndata: {data}\n\n"
            if closed:
                return
            if not waiting:
                yield ": still here\n\n"


class Task:
    """The captions of one video. `changed` is called after each step with the task."""

    def __init__(self, task_id, owner, video, steps, seconds, fail_at, changed):
        self.id, self.owner, self.video = task_id, owner, video
        self.feed = Feed(kept=2 + steps)
        self._steps, self._seconds, self._fail_at, self._changed = steps, seconds, fail_at, changed
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._started = time.time()
        self._set("running", 0)

    @property
    def finished(self):
        return self.state != "running"

    def cancel(self):
        """False where the task was over before."""
        with self._lock:
            if self.finished:
                return False
            self._set("cancelled", self._done)
        self._cancelled.set()
        self._changed(self)
        return True

    def status(self):
        return {
            "task_id": self.id,
            "owner": self.owner,
            "video": self.video,
            "state": self.state,
            "progress_percent": round(100 * self._done / self._steps),
            "current_step": STEPS[min(len(STEPS) * self._done // self._steps, len(STEPS) - 1)],
            "estimated_completion": round(self._started + self._seconds, 3),
        }

    def run(self):
        self._changed(self)
        for done in range(1, self._steps + 1):
            if self._cancelled.wait(self._seconds / self._steps):
                return
            with self._lock:
                if self.finished:
                    return
                state = "running"
                if done == self._fail_at:
                    state = "error"
                elif done == self._steps:
                    state = "completed"
                self._set(state, done)
            self._changed(self)
            if self.finished:
                return

    def _set(self, state, done):
        self.state, self._done = state, done
        name = "progress_update" if state == "running" else f"task_{state}"
        self.feed.append(name, self.status(), last=self.finished)


class Board:
    """All tasks, and what administrators see of them."""

    KEPT, RUNNING = 1000, 200

    def __init__(self):
        self.feed = Feed(kept=500)
        self._lock = threading.Lock()
        self._tasks = OrderedDict()
        self._next = 1
        threading.Thread(target=self._report, daemon=True).start()

    def start(self, owner, video, steps, seconds, fail_at):
        if not (1 <= steps <= 1000 and 0 <= seconds <= 3600 and len(video) <= 200):
            raise ValueError("steps: 1 to 1000, seconds: 0 to 3600, video: up to 200 characters")
        with self._lock:
            if self._running() >= self.RUNNING:
                raise ValueError("too many tasks are running")
            task = Task(self._next, owner, video, steps, seconds, fail_at, self._changed)
            self._tasks[self._next] = task
            self._next += 1
            for old in [t.id for t in self._tasks.values() if t.finished][: max(len(self._tasks) - self.KEPT, 0)]:
                del self._tasks[old]
        threading.Thread(target=task.run, daemon=True).start()
        return task

    def find(self, task_id):
        with self._lock:
            return self._tasks.get(task_id)

    def _running(self):
        return sum(not task.finished for task in self._tasks.values())

    def _changed(self, task):
        self.feed.append("job_update", task.status())
        if task.state == "error":
            self.feed.append("admin_alert", {"level": "error", "message": f"task {task.id} failed"})

    def _report(self):
        while True:
            with self._lock:
                metrics = {"running": self._running(), "tasks": len(self._tasks)}
            metrics.update(load=round(os.getloadavg()[0], 2), threads=threading.active_count())
            self.feed.append("system_metrics_update", metrics)
            time.sleep(1)


class Maintenance:
    """Whether the service is about to stop for a while."""

    def __init__(self):
        self.feed = Feed(kept=20)
        self.set(False, "")

    def set(self, active, message):
        status = {"active": active, "message": message}
        self.feed.append("maintenance_status", status)
        return status

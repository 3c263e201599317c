"""Reading events.jsonl, which a recipe appends to while we look (C2; its lines are described in recipes/rundir.py)."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Event = dict[str, Any]
Series = dict[str, list[tuple[int, float]]]


class Tail:
    """Follows a file by byte offset; a last line that isn't finished waits for its end."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset = path, 0

    def read(self) -> list[Event]:
        """The whole lines that came since the last call; one that doesn't parse was torn by a crash and is skipped."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self.offset += len(whole)
        return [event for line in whole.splitlines() if (event := _parsed(line)) is not None]


def _parsed(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "type" in event else None


@dataclass
class Story:
    """What the events of a run tell so far."""

    step: int = 0
    max_steps: int | None = None
    phase: str = ""
    series: Series = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    # Where this attempt began to train: (unix seconds, step); and the last update since.
    began: tuple[float, int] | None = None
    last: tuple[float, int] | None = None
    memory_bytes: int = 0

    @property
    def seconds_left(self) -> float | None:
        """By the pace of this attempt; None before its first update."""
        if not (self.began and self.last and self.max_steps) or self.last[1] <= self.began[1]:
            return None
        pace = (self.last[0] - self.began[0]) / (self.last[1] - self.began[1])
        return pace * (self.max_steps - self.last[1])


def read(path: Path) -> Story:
    """The story of the run whose events.jsonl is ``path``; an empty one where there is none yet."""
    story = Story()
    for event in Tail(path).read():
        story.step = int(event.get("step") or 0)
        story.max_steps = event.get("max_steps") or story.max_steps
        story.memory_bytes = max(story.memory_bytes, int(event.get("memory_bytes") or 0))
        if event["type"] == "status":
            _read_status(story, event)
        elif event["type"] in ("log", "eval"):
            _read_metrics(story, event)
        if line := _line(event):
            story.log.append(line)
    return story


def _read_status(story: Story, event: Event) -> None:
    story.phase = str(event.get("status", ""))
    if story.phase == "resumed_from":
        # What came after the checkpoint will be computed again.
        story.series = {
            name: [point for point in points if point[0] <= story.step] for name, points in story.series.items()
        }
    if story.phase == "loading":
        story.began = story.last = None
    if story.phase == "training":
        story.began = (float(event.get("time") or 0), story.step)


def _read_metrics(story: Story, event: Event) -> None:
    for name, value in (event.get("metrics") or {}).items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            story.series.setdefault(name, []).append((story.step, float(value)))
    if event["type"] == "log":
        story.last = (float(event.get("time") or 0), story.step)


LOGGED = ("loss", "learning_rate", "rewards/margins", "rewards/accuracies")


def _line(event: Event) -> str:
    """An event as a line for people; heartbeats have none."""
    if event["type"] == "heartbeat":
        return ""
    at = datetime.fromtimestamp(float(event.get("time") or 0), tz=UTC)
    where = f"step {event.get('step')}" + (f"/{event['max_steps']}" if event.get("max_steps") else "")
    metrics = event.get("metrics") or {}
    if event["type"] == "log":
        said = _numbers({name: metrics.get(name) for name in LOGGED})
    elif event["type"] == "eval":
        said = _numbers({name: metrics.get(f"eval_{name}") for name in LOGGED})
    else:
        said = " ".join(str(event.get(key)) for key in ("status", "message", "path") if event.get(key))
    return f"{at:%H:%M:%S} {where}  {event['type']}: {said}"


def _numbers(metrics: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, (int, float)))

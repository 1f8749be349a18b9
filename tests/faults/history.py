"""What people did to one task at the same time, and whether one order of it explains all their answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# The state of a task: its title and whether it is completed; None when it is not there.
State = tuple[str, bool] | None


@dataclass(frozen=True, slots=True)
class Event:
    """An operation between two moments, with its answer: the state that it showed, None for a 404.

    `deleted` is a 204. `answered` is False when there was no answer, and it may or may not have happened.
    """

    operation: str
    begin: float
    end: float
    title: str = ""
    state: State = None
    deleted: bool = False
    answered: bool = True

    def applied(self, state: State) -> tuple[bool, State]:
        """Whether the answer is right in this state of the task, and the state that follows."""
        if state is None:
            return not self.answered or (self.state is None and not self.deleted), None
        if self.operation == "delete":
            return not self.answered or self.deleted, None
        title, completed = state
        after = {
            "get": state,
            "update": (self.title, completed),
            "toggle": (title, not completed),
        }[self.operation]
        return not self.answered or self.state == after, after


def explained(events: Sequence[Event], start: State) -> bool:
    """Whether some order of the events, each taking effect between its two moments, gives these answers.

    Wing and Gong's search, with Lowe's memory of what was tried ("Testing for linearizability", 2017).
    """
    events = sorted(events, key=lambda event: event.begin)
    todo = [(frozenset(range(len(events))), start)]
    seen: set[Any] = set(todo)
    while todo:
        left, state = todo.pop()
        if all(not events[number].answered for number in left):
            return True
        # Nothing that began after another one had ended comes before it.
        horizon = min(events[number].end for number in left if events[number].answered)
        for number in left:
            event = events[number]
            if event.begin > horizon:
                continue
            right, after = event.applied(state)
            following = (left - {number}, after)
            if right and following not in seen:
                seen.add(following)
                todo.append(following)
    return False

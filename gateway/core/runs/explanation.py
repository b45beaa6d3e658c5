"""Why an order went the way it did, in sentences that a platform engineer reads.

Pure: it is given the records and says what they say. It never decides anything, and what it says
can be read off the records too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from gateway.core.catalog import Mode
from gateway.core.model import Job, KeptPicture, Run, RunState, Verdict
from gateway.core.money.usd import show_usd
from gateway.core.orders.pricing import Offer
from gateway.core.picture_errors import SetAside
from gateway.core.runs.history import FAILED, STARTED, Refusal, Step
from gateway.core.runs.redaction import is_erased
from gateway.core.runs.showing import shown_state

SHADOW: Final = "shadow: "
CLAUSES_TOLD: Final = 10
"""How much of a long way is told: its beginning and its end."""


@dataclass(frozen=True, slots=True)
class Story:
    """What the records have of one order. `asked` is the task that was asked for, if it was one.

    `jobs` are the first tasks of the run, `jobs_total` says how many there are. Of a refusal
    there is a run when the order went on: in shadow mode, or as far as upstream. `others` are
    further refusals that are called alike. `offers` are of the routes that its model has now.
    """

    run: Run | None = None
    asked: Job | None = None
    steps: Sequence[Step] = ()
    jobs: Sequence[Job] = ()
    jobs_total: int = 0
    pictures: Sequence[KeptPicture] = ()
    refusal: Refusal | None = None
    set_aside: Sequence[SetAside] = ()
    offers: Sequence[Offer] = ()
    others: Sequence[Refusal] = ()


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds: until upstream accepted, until it was finished, until all was kept, and in all.

    None where the run has not come so far; what ended early counts up to its end.
    """

    waiting: float | None
    upstream: float | None
    keeping: float | None
    total: float | None


def timings(run: Run) -> Timings:
    accepted, made, end = run.accepted_at, run.upstream_finished_at, run.finished_at
    return Timings(
        waiting=_between(run.created_at, accepted or end),
        upstream=_between(accepted, made or end),
        keeping=_between(made, end),
        total=_between(run.created_at, end),
    )


def _between(start: float | None, end: float | None) -> float | None:
    """Clocks may be set back: then it took no time."""
    return None if start is None or end is None else max(0.0, end - start)


def summary(story: Story, zone: tzinfo) -> str:
    """The story in words; times are those of the zone."""
    sentences: list[str] = []
    if story.refusal is not None:
        sentences += _refused(story.refusal, zone)
    if story.run is not None:
        sentences += _asked_for(story.run, story.asked, zone)
        sentences += [_ordered(story.run, zone), *_started(story.run, story)]
        sentences += [_way(story.run, story.steps), *_end(story.run, zone)]
        sentences += [*_set_aside(story.set_aside), *_shared(story)]
    sentences += [_called_alike(one, zone) for one in story.others]
    return " ".join(one for one in sentences if one)


# --- refusals ------------------------------------------------------------------------------------


def _refused(refusal: Refusal, zone: tzinfo) -> list[str]:
    what = f" for {refusal.model}" if refusal.model else ""
    who = f"Team {refusal.team} sent an order{what} at {clock(refusal.at, zone)}."
    field = f", at its field '{refusal.param}'" if refusal.param else ""
    if refusal.verdict == Verdict.INVALID:
        said = f"It was invalid ({refusal.reason}{field}): {refusal.message}"
        return [who, said, "It was not judged any further, and cost nothing."]
    if refusal.verdict == FAILED:
        said = refusal.message.removesuffix(".")
        return [who, f"It was admitted, and answered with an error ({refusal.reason}): {said}."]
    rule = f"by the rule {refusal.rule} ({refusal.reason}{field})"
    if refusal.mode == Mode.SHADOW:
        task = f" as task {refusal.job_id}" if refusal.job_id else ""
        said = f"It would have been denied {rule}: {refusal.message}"
        return [who, said, f"The team is in shadow mode, so that it went on{task}."]
    return [who, f"It was denied {rule}: {refusal.message}", "It cost nothing."]


def _called_alike(refusal: Refusal, zone: tzinfo) -> str:
    return (
        f"A request of team {refusal.team} at {clock(refusal.at, zone)} is called the same: "
        f"{refusal.verdict} ({refusal.reason})."
    )


# --- runs ----------------------------------------------------------------------------------------


def _asked_for(run: Run, job: Job | None, zone: tzinfo) -> list[str]:
    """How the task that was asked for came to this run, where it did not start it."""
    if job is None or job.verdict is Verdict.STARTED:
        return []
    who = f"Task {job.id} of team {job.team}, ordered at {clock(job.created_at, zone)},"
    if job.verdict is Verdict.HIT:
        saved = f" and saved {show_usd(run.spent.usd_micros)}"
        how = f"was answered from run {run.id} of {clock(run.created_at, zone)} for nothing{saved}."
    else:
        how = f"joined run {run.id} of {clock(run.created_at, zone)}, which was under way."
    return [f"{who} {how}", "How that run went:"]


def _ordered(run: Run, zone: tzinfo) -> str:
    quality = f" ({run.quality})" if run.quality else ""
    return (
        f"Team {run.team} asked for {_pictures(run.n)} by {run.model}{quality} "
        f"at {clock(run.created_at, zone)}."
    )


def _started(run: Run, story: Story) -> list[str]:
    most = show_usd(run.ceiling_usd_micros)
    told = [f"A new run was started for at most {most}."]
    missed = [one for one in story.offers if one.misfit is not None]
    told += [f"{one.route.name} does not take {one.misfit}." for one in missed]
    first = story.steps[0].detail if story.steps else ""
    if first.startswith(SHADOW):
        rule = first.removeprefix(SHADOW)
        told.append(f"The rule {rule} would have denied it, but the team is in shadow mode.")
    if not run.shared:
        told.append("Its result is not shared with others.")
    return told


def _way(run: Run, steps: Sequence[Step]) -> str:
    """From submit to submit, to the last word of upstream."""
    if not steps:
        times = "once" if run.attempts == 1 else f"{run.attempts} times"
        return f"It was submitted {times}, the last time to {run.route}."
    clauses, before = [], steps[0]
    for step in steps:
        if clause := _clause(before, step, run.created_at):
            clauses.append(clause)
        before = step
    if len(clauses) > CLAUSES_TOLD:
        left_out = len(clauses) - CLAUSES_TOLD
        half = CLAUSES_TOLD // 2
        clauses[half:-half] = [f"and so on ({left_out} more steps, {run.attempts} submits in all)"]
    text = "; ".join(clauses)
    return f"{text[:1].upper()}{text[1:]}."


_CLAUSES: Final = {
    STARTED: "it was submitted to {route}",
    "NotNow": "{former} did not take it{why} {after}{then}",
    "CredentialsRefused": "{former} refused the gateway's own key or balance{why} {after}{then}",
    "TaskFailed": "{former} took it and failed{why} {after}{then}",
    "Retry": "it was submitted to {route} {after}{why}",
    "Accepted": "{route} accepted it {after}",
    "Begun": "its request had left {after}, and the pictures were awaited",
    "Delivered": "{route} delivered {after}{why}",
    "Refused": "{route} refused it {after}{why}",
    "AnswerLost": "the answer of {route} was lost {after}{why}",
    "Unreachable": "{route} could not be polled {after}{why}",
    "Finished": "upstream was finished {after}{why}",
    "KeepFailed": "a picture could not be fetched {after}{why}",
    "TriedAgain": "an operator had it tried again {after}",
    "Freed": "upstream's own record showed {after} that it was not taken{why}",
    "FoundPaid": "upstream's own record showed {after} that it was taken{why}",
    "DeadlinePassed": "its time was over {after}",
    "Progressed": "its time was over {after}",
}
_FOUND: Final = "the answer of {route} was found {after}, and put that right{why}"


def _clause(before: Step, step: Step, began: float) -> str:
    """One step in words; `before` is the step before it."""
    is_found = step.event == "Delivered" and step.before == RunState.FAILED
    return (_FOUND if is_found else _CLAUSES.get(step.event, "")).format(
        route=step.route,
        former=before.route,
        after=f"after {duration(step.at - began)}",
        why=f" ({step.detail})" if step.detail else "",
        then=_next(step),
    )


def _next(step: Step) -> str:
    if step.after == RunState.SUBMITTING:
        return f", so it was submitted to {step.route}"
    return ", so it waited" if step.after == RunState.QUEUED else ""


def _end(run: Run, zone: tzinfo) -> list[str]:
    took = timings(run)
    if run.failure is not None:
        cost = run.spent.usd_micros
        charged = f"{show_usd(cost)} counts as spent." if cost else "Nothing was charged."
        message = run.failure.message.rstrip(".")
        said = f"It failed after {duration(took.total)} with {run.failure.code}: {message}."
        return [said, charged, *_over_hold(run), *_kept_all_the_same(run)]
    if run.state is RunState.DONE:
        kept = _pictures(len(run.kept))
        were = "was" if len(run.kept) == 1 else "were"
        keeping = f" (keeping took {duration(took.keeping)})" if took.keeping is not None else ""
        return [
            f"After {duration(took.total)} {kept} {were} kept{keeping}; "
            f"the cost was {show_usd(run.spent.usd_micros)}.",
            *_over_hold(run),
        ]
    held = f"{show_usd(run.hold.usd_micros)} is held for it"
    state = {
        RunState.SUBMITTING: "Its request is on its way out",
        RunState.QUEUED: "It waits for a route that takes it",
        RunState.UNSURE: "Nobody knows yet whether upstream took it",
        RunState.RUNNING: "Upstream is at work on it",
        RunState.KEEPING: f"{len(run.kept)} of {len(run.links)} pictures are kept so far",
    }[shown_state(run)]
    return [f"{state}; {held}, and its deadline is {clock(run.deadline_at, zone)}."]


def _over_hold(run: Run) -> list[str]:
    if not run.over_hold_usd_micros:
        return []
    bill, more = show_usd(run.billed_usd_micros or 0), show_usd(run.over_hold_usd_micros)
    return [f"Upstream's bill was {bill}, {more} more than was held: its ceiling is set too low."]


def _kept_all_the_same(run: Run) -> list[str]:
    """Pictures of a run that failed for others: nobody is shown them, and they were paid."""
    if not run.kept or is_erased(run):
        return []
    names = ", ".join(f"/pictures/{one.picture.name}" for one in run.kept)
    return [f"{len(run.kept)} of {_pictures(len(run.links))} came all the same: {names}."]


def _set_aside(found: Sequence[SetAside]) -> list[str]:
    """Where the operator finds what was paid and is no picture."""
    told = []
    for one in found:
        what = f"{one.size_bytes:,} bytes{f' that begin like {one.kind}' if one.kind else ''}"
        told.append(
            f"For picture {one.origin.index + 1} came {what}: {one.reason}. They are set aside "
            f"as {one.name} ('image-gateway pictures fetch {one.name}')."
        )
    return told


def _shared(story: Story) -> list[str]:
    """Who else has something of it, and what that saved."""
    run = story.run
    if run is None:
        return []
    joined = sum(count for _, count in run.joins)
    hits = max(0, story.jobs_total - joined - 1) if run.state is RunState.DONE else 0
    cost, done = run.spent.usd_micros, run.state is RunState.DONE
    told = []
    if joined:
        saved = f" and saved {show_usd(joined * cost)}" if done else ""
        told.append(f"{_others(joined)} joined it{saved}.")
    if hits:
        was = "was" if hits == 1 else "were"
        told.append(f"{_others(hits)} {was} answered from it and saved {show_usd(hits * cost)}.")
    return told


# --- words ---------------------------------------------------------------------------------------


def clock(at: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S %Z").strip()


def duration(seconds: float | None) -> str:
    """Two places of what matters: `6 ms`, `0.12 s`, `1.2 s`, `31 s`, `5 min 3 s`, `2 h 10 min`."""
    whole = round(seconds or 0.0)
    millis = round(1000 * max(0.0, seconds or 0.0))
    if seconds is None or millis < 100:
        return f"{millis} ms" if millis else "0 s"
    if seconds < 10:
        return f"{round(seconds, 3):.2g} s"
    if whole < 60:
        return f"{whole} s"
    minutes, hours = divmod(whole, 60), divmod(whole // 60, 60)
    return f"{minutes[0]} min {minutes[1]} s" if whole < 3600 else f"{hours[0]} h {hours[1]} min"


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def _others(count: int) -> str:
    return "1 other order" if count == 1 else f"{count} other orders"

"""What the oracle of the stateful test holds: records by key, and what may be written to them.

Every question is answered by looking at all records. The constraints are those of the tables on
disk; writes that break one are undone whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, replace
from typing import Final, NoReturn

from gateway.adapters.ledger.picture_rows import prompt_of
from gateway.core.codec import plain_amounts
from gateway.core.model import (
    Claim,
    Delivery,
    DeliveryState,
    Job,
    KeptPicture,
    Run,
    RunState,
    Upload,
    Usage,
    Verdict,
)
from gateway.core.money.accounts import LONGEST_SECONDS, NOTHING, Account, AccountKey
from gateway.core.replicas import Epoch, Epochs
from gateway.core.runs.history import FAILED, OUR_DETAILS, Refusal, Step, last_number
from gateway.core.runs.redaction import wordless
from gateway.core.teams.records import Change, ManagedTeam, TeamKey
from gateway.core.transaction import ConstraintViolation, Keys, View, Writes


class Tables:
    """`of_url` has the upload that a team's link names now, `shown` the first job of each team
    that shows a run, with its time."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.jobs: dict[str, Job] = {}
        self.claims: dict[tuple[str, str], Claim] = {}
        self.accounts: dict[AccountKey, Account] = {}
        self.usage: dict[tuple[str, str, int], Usage] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.uploads: dict[tuple[str, str], Upload] = {}
        self.of_url: dict[tuple[str, str], str] = {}
        self.teams: dict[str, ManagedTeam] = {}
        self.keys: dict[str, TeamKey] = {}
        self.changes: dict[str, Change] = {}
        self.steps: dict[str, tuple[Step, ...]] = {}
        self.refusals: dict[str, Refusal] = {}
        self.kept: dict[str, KeptPicture] = {}
        self.shown: dict[tuple[str, str], tuple[float, str]] = {}
        self.epochs: dict[Epoch, int] = dict.fromkeys(Epoch, 0)

    # --- what a decision sees ------------------------------------------------------------------

    def view(self, keys: Keys) -> View:
        view = View(accounts=self._account_view(keys))
        if keys.fingerprint is not None and not keys.alone:
            view = replace(view, **self._same(keys.fingerprint))
        if keys.run_id is not None:
            view = replace(view, run=self.runs.get(keys.run_id))
        if keys.run_id is not None and not keys.alone:
            owed = [j for j in self.jobs_of(keys.run_id) if j.callback_url is not None]
            view = replace(view, owed=tuple(owed))
        if keys.claim is not None:
            view = replace(view, claim=self.claims.get(keys.claim))
        if keys.team is not None:
            team_keys = tuple(key for key in self.keys_by_age() if key.team == keys.team)
            view = replace(view, managed=self.teams.get(keys.team), team_keys=team_keys)
        if keys.picture is not None:
            view = replace(view, pictures=self._made_by(keys.picture))
        if keys.epochs:
            view = replace(view, epochs=Epochs(**self.epochs))
        if keys.uploads is not None:
            team, now = keys.uploads
            mine = [one for one in self.uploads.values() if one.team == team]
            there = sum(one.size_bytes for one in mine if one.expires_at > now)
            view = replace(view, uploaded_bytes=there)
        return view

    def _same(self, fingerprint: str) -> dict[str, Run | None]:
        same = [run for run in self.runs.values() if run.fingerprint == fingerprint]
        shared = [run for run in same if run.shared]
        done = [run for run in shared if run.state is RunState.DONE]
        lost = [run for run in shared if run.state is RunState.FAILED and run.spent.images]
        behind = [run for run in same if run.superseded and not run.is_final]
        return {
            "live": next((run for run in shared if not run.is_final), None),
            "finished": max(done, key=lambda run: (run.finished_at, run.id), default=None),
            "lost": max(lost, key=lambda run: (run.finished_at, run.id), default=None),
            "superseded": max(behind, key=lambda run: (run.created_at, run.id), default=None),
        }

    def _account_view(self, keys: Keys) -> Mapping[AccountKey, Account]:
        asked = self.accounts_of(keys.accounts)
        self.accounts.update((key, one) for key, one in asked.items() if one != Account(key))
        if keys.counted is None:
            return asked
        others = {k: one for k, one in self.accounts.items() if k.covers(*keys.counted)}
        return {**asked, **others}

    def accounts_of(self, keys: Iterable[AccountKey]) -> Mapping[AccountKey, Account]:
        return {key: self.accounts.get(key) or self._of_runs(key) for key in keys}

    def _of_runs(self, key: AccountKey) -> Account:
        runs = [run for run in self.runs.values() if key.covers(run.team, run.created_at)]
        spent, held = (run.spent for run in runs), (run.hold for run in runs)
        return Account(key, sum(spent, NOTHING), sum(held, NOTHING))

    def _made_by(self, digest: str) -> tuple[KeptPicture, ...]:
        """Each with the first task of its own team that shows it."""
        found = [one for one in self.kept.values() if one.picture.digest == digest]
        found.sort(key=lambda one: (one.created_at, one.run_id))
        nobody = (0.0, "")
        return tuple(
            replace(one, task_id=self.shown.get((one.team, one.run_id), nobody)[1]) for one in found
        )

    # --- writing -------------------------------------------------------------------------------

    def write(self, writes: Writes) -> None:
        """All of it or, when a constraint is broken, none."""
        before = {name: dict(table) for name, table in vars(self).items()}
        try:
            self._apply(writes)
        except BaseException:
            vars(self).update(before)
            raise

    def _apply(self, writes: Writes) -> None:
        for run in sorted(writes.runs, key=lambda run: run.shared and not run.is_final):
            self._put_run(run)
        for job in writes.jobs:
            self._put_job(job)
        self._put_claims(writes)
        for delivery in writes.deliveries:
            self._put_delivery(delivery)
        for alert in writes.alerts:
            check_delivery(alert)
            self.deliveries.setdefault(alert.id, alert)
        for upload in writes.uploads:
            self._put_upload(upload)
        for account in writes.accounts:
            check_account(account)
            self.accounts[account.key] = account
        for usage in writes.usage:
            self._add_usage(usage)
        self._put_teams(writes)
        for step in writes.steps:
            self._add_step(step)
        for refusal in writes.refusals:
            check_refusal(refusal)
            self.refusals.setdefault(refusal.id, refusal)
        for picture in writes.pictures:
            self._erase(picture)
        for run_id in writes.wordless:
            self._take_words(run_id)
        for epoch in writes.raised:
            self.epochs[epoch] += 1

    def _put_run(self, run: Run) -> None:
        check_run(run)
        others = [one for one in self.runs.values() if one.id != run.id]
        joinable = {one.fingerprint for one in others if one.shared and not one.is_final}
        if run.shared and not run.is_final and run.fingerprint in joinable:
            refuse(f"a second live shared run has the fingerprint {run.fingerprint}")
        task = (run.upstream, run.upstream_task_id)
        if task[1] and task in {(one.upstream, one.upstream_task_id) for one in others}:
            refuse(f"two runs of {run.upstream} have the task {run.upstream_task_id}")
        before = self.runs.get(run.id)
        self.runs[run.id] = run
        if run.state is RunState.DONE and (before is None or before.state is not RunState.DONE):
            self._keep(run)

    def _keep(self, run: Run) -> None:
        """The pictures of a run that has become done, also where another run made the same."""
        made = {"run_id": run.id, "team": run.team, "model": run.model}
        prompt, at = prompt_of(run.request), run.finished_at or 0.0
        for picture in run.pictures:
            one = KeptPicture(picture, **made, prompt=prompt, created_at=at)
            self.kept.setdefault(one.key, one)

    def _put_job(self, job: Job) -> None:
        check_job(job)
        if job.run_id not in self.runs:
            refuse(f"job {job.id} has no run")
        if job.id in self.jobs:
            refuse(f"job {job.id} is there already")
        self.jobs[job.id] = job
        self.shown.setdefault((job.team, job.run_id), (job.created_at, job.id))

    def _put_claims(self, writes: Writes) -> None:
        for freed in writes.freed:
            known = self.claims.get((freed.team, freed.key))
            if known and known.job_id == freed.job_id:
                del self.claims[freed.team, freed.key]
        for claim in writes.claims:
            if (claim.team, claim.key) in self.claims:
                refuse(f"team {claim.team} has used the key of job {claim.job_id} before")
            self.claims[claim.team, claim.key] = claim

    def _put_delivery(self, delivery: Delivery) -> None:
        check_delivery(delivery)
        if delivery.job_id is not None and delivery.job_id not in self.jobs:
            refuse(f"delivery {delivery.id} has no job")
        self.deliveries[delivery.id] = delivery

    def _put_upload(self, upload: Upload) -> None:
        check_upload(upload)
        mine = (upload.team, upload.id)
        self.of_url = {k: one for k, one in self.of_url.items() if (k[0], one) != mine}
        self.uploads[upload.team, upload.id] = upload
        self.of_url.update(((upload.team, url), upload.id) for url in upload.urls)

    def _add_usage(self, usage: Usage) -> None:
        key = (usage.team, usage.model, usage.day)
        total = summed(self.usage.get(key, Usage(*key)), usage)
        check_usage(usage, total)
        self.usage[key] = total

    def _put_teams(self, writes: Writes) -> None:
        self.teams.update((team.name, team) for team in writes.teams)
        for key in writes.team_keys:
            self._put_key(key)
        for change in writes.changes:
            if change.id in self.changes:
                refuse(f"change {change.id} is there already")
            self.changes[change.id] = change

    def _put_key(self, key: TeamKey) -> None:
        if key.team not in self.teams:
            refuse(f"key {key.id} has no team")
        if any(one.digest == key.digest for one in self.keys.values() if one.id != key.id):
            refuse(f"key {key.id} has the digest of another one")
        known = self.keys.get(key.id)
        if known and (known.digest, known.team) != (key.digest, key.team):
            refuse(f"the key {key.id} is there already, and is another one")
        self.keys[key.id] = key

    def _add_step(self, step: Step) -> None:
        """A step without a number gets the next one, unless the run has told enough."""
        told = self.steps.get(step.run_id, ())
        if step.number == 0:
            last = told[-1].number if told else 0
            if last >= last_number(step):
                return
            step = replace(step, number=last + 1)
        if step.run_id not in self.runs:
            refuse(f"a step has no run {step.run_id}")
        if step.number < 1 or any(one.number == step.number for one in told):
            refuse(f"run {step.run_id} cannot have the step {step.number}")
        self.steps[step.run_id] = tuple(sorted((*told, step), key=lambda one: one.number))

    def _erase(self, one: KeptPicture) -> None:
        check_kept(one)
        known = self.kept.get(one.key)
        if known is None:
            refuse(f"there is no picture {one.picture.digest} of run {one.run_id}")
        self.kept[one.key] = replace(
            known, prompt=one.prompt, erased_at=one.erased_at, removed_at=one.removed_at
        )
        if one.erased_at is None:
            return
        self.runs[one.run_id] = replace(self.runs[one.run_id], shared=False)
        left = [other for other in self.kept.values() if other.run_id == one.run_id]
        if all(other.erased_at is not None for other in left):
            self._take_words(one.run_id)

    def _take_words(self, run_id: str) -> None:
        """From the run and from whatever lies beside it."""
        if run_id not in self.runs:
            refuse(f"there is no run {run_id}")
        self.runs[run_id] = wordless(self.runs[run_id])
        jobs = {job.id for job in self.jobs_of(run_id)}
        told = self.steps.get(run_id, ())
        bare = (one if one.event in OUR_DETAILS else replace(one, detail="") for one in told)
        self.steps[run_id] = tuple(bare)
        for delivery in [one for one in self.deliveries.values() if one.job_id in jobs]:
            self.deliveries[delivery.id] = replace(delivery, body=None)
        for refusal in [one for one in self.refusals.values() if one.job_id in jobs]:
            self.refusals[refusal.id] = replace(refusal, message="", param=None)

    def drop_strays(self) -> None:
        """What belongs to a job or an upload that is gone goes with it."""
        for one in list(self.deliveries.values()):
            if one.job_id is not None and one.job_id not in self.jobs:
                del self.deliveries[one.id]
        self.of_url = {k: one for k, one in self.of_url.items() if (k[0], one) in self.uploads}

    # --- what is read --------------------------------------------------------------------------

    def live(self) -> list[Run]:
        return [run for run in self.runs.values() if not run.is_final]

    def pending(self) -> list[Delivery]:
        every = self.deliveries.values()
        return [one for one in every if one.state is DeliveryState.PENDING]

    def jobs_of(self, run_id: str) -> list[Job]:
        found = [job for job in self.jobs.values() if job.run_id == run_id]
        return sorted(found, key=lambda job: (job.created_at, job.id))

    def keys_by_age(self) -> list[TeamKey]:
        return sorted(self.keys.values(), key=lambda key: (key.created_at, key.id))


def summed(total: Usage, more: Usage) -> Usage:
    """The counters of both, under the names of the first."""
    counters = zip(astuple(total)[3:], astuple(more)[3:], strict=True)
    return Usage(total.team, total.model, total.day, *(a + b for a, b in counters))


# --- the constraints of single records -----------------------------------------------------------

JOB_VERDICTS: Final = frozenset({Verdict.HIT, Verdict.JOINED, Verdict.STARTED})
"""A denied or invalid order leaves no job."""

REFUSAL_VERDICTS: Final = frozenset({Verdict.DENIED, Verdict.INVALID, FAILED})


def refuse(why: str) -> NoReturn:
    raise ConstraintViolation(why)


def check_run(run: Run) -> None:
    counts = (run.price_usd_micros, run.attempts, run.tries)
    if run.n < 1 or min((*counts, *plain_amounts(run.hold), *plain_amounts(run.spent))) < 0:
        refuse(f"run {run.id} has a negative amount")
    if run.is_final and run.hold:
        refuse(f"run {run.id} is {run.state} and still holds something")
    if run.is_final and run.finished_at is None:
        refuse(f"run {run.id} is {run.state} without a time")
    for picture in run.pictures:
        if min(picture.size_bytes, picture.width, picture.height) < 0:
            refuse(f"picture {picture.digest} has a negative size")


def check_job(job: Job) -> None:
    if job.verdict not in JOB_VERDICTS:
        refuse(f"job {job.id} cannot have the verdict {job.verdict}")


def check_account(account: Account) -> None:
    if min((*plain_amounts(account.held), *plain_amounts(account.spent))) < 0:
        refuse(f"account {account.key} has a negative amount")
    if not 0 < account.key.end - account.key.start <= LONGEST_SECONDS[account.key.window]:
        refuse(f"account {account.key} is of no such window")


def check_usage(usage: Usage, total: Usage) -> None:
    """Only failures may become fewer, when a failed run is tried again."""
    if min(astuple(replace(usage, failed=total.failed))[3:]) < 0:
        refuse(f"the usage of {usage.team} and {usage.model} has a negative increment")


def check_delivery(delivery: Delivery) -> None:
    if delivery.attempts < 0:
        refuse(f"delivery {delivery.id} has a negative number of attempts")
    if delivery.state is not DeliveryState.PENDING and delivery.ended_at is None:
        refuse(f"delivery {delivery.id} is {delivery.state} without a time")
    if delivery.job_id is None and delivery.body is None:
        refuse(f"delivery {delivery.id} has nothing to say")


def check_refusal(refusal: Refusal) -> None:
    if refusal.verdict not in REFUSAL_VERDICTS:
        refuse(f"refusal {refusal.id} cannot have the verdict {refusal.verdict}")


def check_kept(one: KeptPicture) -> None:
    if one.erased_at is not None and one.prompt:
        refuse(f"picture {one.picture.digest} is erased and still has its prompt")
    if one.erased_at is None and one.removed_at is not None:
        refuse(f"picture {one.picture.digest} is removed and not erased")


def check_upload(upload: Upload) -> None:
    if upload.size_bytes < 0:
        refuse(f"upload {upload.id} has a negative size")

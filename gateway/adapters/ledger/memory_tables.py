"""What the ledger in memory holds: records by key, their indexes, and the writes that keep both.

Every constraint of the tables on disk is kept here, and a write that breaks one is undone whole.
Nothing here waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gateway.adapters.ledger.memory_pictures import Register
from gateway.adapters.ledger.memory_rules import (
    check_account,
    check_delivery,
    check_job,
    check_run,
    check_upload,
    check_usage,
    refuse,
)
from gateway.adapters.ledger.memory_sums import add
from gateway.adapters.ledger.memory_teams import Roster
from gateway.adapters.ledger.memory_undo import Undo
from gateway.core.model import (
    LIVE_STATES,
    Claim,
    Delivery,
    DeliveryState,
    Job,
    Run,
    RunState,
    Upload,
    Usage,
    Verdict,
)
from gateway.core.money.accounts import NOTHING, Account, AccountKey
from gateway.core.runs.redaction import wordless
from gateway.core.transaction import Keys, View, Writes

UsageKey = tuple[str, str, int]


class Tables:
    """`live` and `pending` name the runs and deliveries that are not final; `owed` the jobs of a
    run that want a callback, `verdicts` those of the jobs that it has or had, `delivered` a job's
    deliveries (of None: the alerts), `of_url` the upload of a team's link.
    """

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.jobs: dict[str, Job] = {}
        self.claims: dict[tuple[str, str], Claim] = {}
        self.accounts: dict[AccountKey, Account] = {}
        self.usage: dict[UsageKey, Usage] = {}
        self.pictures = Register()
        self.store_id: str | None = None
        self.roster = Roster()
        self.deliveries: dict[str, Delivery] = {}
        self.uploads: dict[tuple[str, str], Upload] = {}
        self.live: dict[str, None] = {}
        self.pending: dict[str, None] = {}
        self.owed: dict[str, tuple[str, ...]] = {}
        self.verdicts: dict[str, frozenset[Verdict]] = {}
        self.delivered: dict[str | None, tuple[str, ...]] = {}
        self.of_url: dict[tuple[str, str], str] = {}
        self._of_fingerprint: dict[str, tuple[str, ...]] = {}
        self._of_task: dict[tuple[str, str], str] = {}

    # --- loading -------------------------------------------------------------------------------

    def live_runs(self) -> list[Run]:
        return [self.runs[run_id] for run_id in self.live]

    def pending_deliveries(self) -> list[Delivery]:
        return [self.deliveries[one] for one in self.pending]

    def view(self, keys: Keys) -> View:
        live = finished = run = claim = lost = superseded = None
        owed: tuple[Job, ...] = ()
        if keys.fingerprint is not None:
            same = [self.runs[one] for one in self._of_fingerprint.get(keys.fingerprint, ())]
            shared = [run for run in same if run.shared and run.fingerprint == keys.fingerprint]
            live = next((run for run in shared if not run.is_final), None)
            done = [run for run in shared if run.state is RunState.DONE]
            finished = max(done, key=lambda run: (run.finished_at, run.id), default=None)
            spent = [run for run in shared if run.state is RunState.FAILED and run.spent.images]
            lost = max(spent, key=lambda run: (run.finished_at, run.id), default=None)
            behind = [run for run in same if run.superseded and not run.is_final]
            superseded = max(behind, key=lambda run: (run.created_at, run.id), default=None)
        if keys.run_id is not None:
            run = self.runs.get(keys.run_id)
            jobs = [self.jobs[one] for one in self.owed.get(keys.run_id, ())]
            owed = tuple(sorted(jobs, key=lambda job: (job.created_at, job.id)))
        if keys.claim is not None:
            claim = self.claims.get(keys.claim)
        view = View(self._account_view(keys), live, finished, run, owed, claim)
        view = replace(view, lost=lost, superseded=superseded)
        if keys.team is not None:
            team, team_keys = self.roster.teams.get(keys.team), self.roster.keys_of(keys.team)
            view = replace(view, managed=team, team_keys=team_keys)
        if keys.picture is not None:
            view = replace(view, pictures=self.pictures.made_by(keys.picture))
        return view

    def accounts_of(self, keys: Iterable[AccountKey]) -> Mapping[AccountKey, Account]:
        """One for each key; where there is none yet it is made from the runs."""
        return {key: self.accounts.get(key) or self.of_runs(key) for key in keys}

    def of_runs(self, key: AccountKey) -> Account:
        """What the account must have."""
        runs = [run for run in self.runs.values() if key.covers(run.team, run.created_at)]
        spent, held = (run.spent for run in runs), (run.hold for run in runs)
        return Account(key, sum(spent, NOTHING), sum(held, NOTHING))

    def _account_view(self, keys: Keys) -> Mapping[AccountKey, Account]:
        asked = self.accounts_of(keys.accounts)
        self.accounts.update((key, one) for key, one in asked.items() if one != Account(key))
        if keys.counted is None:
            return asked
        others = {k: one for k, one in self.accounts.items() if k.covers(*keys.counted)}
        return {**asked, **others}

    # --- writing -------------------------------------------------------------------------------

    def write(self, writes: Writes) -> None:
        """All of it or, when a constraint is broken, none."""
        undo = Undo()
        try:
            self._apply(writes, undo)
        except BaseException:
            undo.all()
            raise

    def _apply(self, writes: Writes, undo: Undo) -> None:
        for run in sorted(writes.runs, key=lambda run: run.shared and not run.is_final):
            self._put_run(run, undo)
        for job in writes.jobs:
            self._put_job(job, undo)
        self._put_claims(writes, undo)
        for delivery in writes.deliveries:
            self._put_delivery(delivery, undo)
        for alert in writes.alerts:
            check_delivery(alert)
            if alert.id not in self.deliveries:
                self._put_delivery(alert, undo)
        for upload in writes.uploads:
            self._put_upload(upload, undo)
        for account in writes.accounts:
            check_account(account)
            undo.put(self.accounts, account.key, account)
        for usage in writes.usage:
            key = (usage.team, usage.model, usage.day)
            total = add(self.usage.get(key, Usage(*key)), usage)
            check_usage(usage, total)
            undo.put(self.usage, key, total)
        self.roster.write(writes, self.runs, undo)
        for picture in writes.pictures:
            is_last = self.pictures.erase(picture, undo)
            if picture.erased_at is not None:
                run = self.runs[picture.run_id]
                undo.put(self.runs, run.id, replace(run, shared=False))
                if is_last:
                    self._take_words(run.id, undo)
        for run_id in writes.wordless:
            self._take_words(run_id, undo)

    def _take_words(self, run_id: str, undo: Undo) -> None:
        """From the run and from whatever lies beside it."""
        if run_id not in self.runs:
            refuse(f"there is no run {run_id}")
        undo.put(self.runs, run_id, wordless(self.runs[run_id]))
        jobs = {job.id for job in self.jobs.values() if job.run_id == run_id}
        self.roster.take_words(run_id, jobs, undo)
        for one in [one for one in self.deliveries.values() if one.job_id in jobs]:
            undo.put(self.deliveries, one.id, replace(one, body=None))

    def _put_run(self, run: Run, undo: Undo) -> None:
        check_run(run)
        ids = self._of_fingerprint.get(run.fingerprint, ())
        if run.shared and not run.is_final:
            others = (self.runs[one] for one in ids if one != run.id)
            if any(
                o.shared and not o.is_final and o.fingerprint == run.fingerprint for o in others
            ):
                refuse(f"a second live shared run has the fingerprint {run.fingerprint}")
        if run.id not in ids:
            undo.put(self._of_fingerprint, run.fingerprint, (*ids, run.id))
        self._put_task(run, undo)
        before = self.runs.get(run.id)
        undo.put(self.runs, run.id, run)
        if run.state in LIVE_STATES:
            undo.put(self.live, run.id, None)
        else:
            undo.drop(self.live, run.id)
        if run.state is RunState.DONE and (before is None or before.state is not RunState.DONE):
            self.pictures.keep(run, undo)

    def _put_task(self, run: Run, undo: Undo) -> None:
        if run.upstream_task_id is None:
            return
        task = (run.upstream, run.upstream_task_id)
        owner = self.runs.get(self._of_task.get(task, ""))
        if owner and owner.id != run.id and (owner.upstream, owner.upstream_task_id) == task:
            refuse(f"two runs of {run.upstream} have the task {run.upstream_task_id}")
        undo.put(self._of_task, task, run.id)

    def _put_job(self, job: Job, undo: Undo) -> None:
        check_job(job)
        if job.run_id not in self.runs:
            refuse(f"job {job.id} has no run")
        if job.id in self.jobs:
            refuse(f"job {job.id} is there already")
        undo.put(self.jobs, job.id, job)
        verdicts = self.verdicts.get(job.run_id, frozenset())
        undo.put(self.verdicts, job.run_id, verdicts | {job.verdict})
        self.pictures.show(job, undo)
        if job.callback_url is not None:
            undo.put(self.owed, job.run_id, (*self.owed.get(job.run_id, ()), job.id))

    def _put_claims(self, writes: Writes, undo: Undo) -> None:
        for freed in writes.freed:
            known = self.claims.get((freed.team, freed.key))
            if known and known.job_id == freed.job_id:
                undo.drop(self.claims, (freed.team, freed.key))
        for claim in writes.claims:
            if (claim.team, claim.key) in self.claims:
                refuse(f"team {claim.team} has used the key of job {claim.job_id} before")
            undo.put(self.claims, (claim.team, claim.key), claim)

    def _put_delivery(self, delivery: Delivery, undo: Undo) -> None:
        check_delivery(delivery)
        if delivery.job_id is not None and delivery.job_id not in self.jobs:
            refuse(f"delivery {delivery.id} has no job")
        if known := self.deliveries.get(delivery.id):
            rest = tuple(one for one in self.delivered[known.job_id] if one != delivery.id)
            undo.put(self.delivered, known.job_id, rest)
        of_job = self.delivered.get(delivery.job_id, ())
        undo.put(self.delivered, delivery.job_id, (*of_job, delivery.id))
        undo.put(self.deliveries, delivery.id, delivery)
        if delivery.state is DeliveryState.PENDING:
            undo.put(self.pending, delivery.id, None)
        else:
            undo.drop(self.pending, delivery.id)

    def _put_upload(self, upload: Upload, undo: Undo) -> None:
        check_upload(upload)
        key = (upload.team, upload.id)
        if known := self.uploads.get(key):
            for link in self._links_of(known):
                undo.drop(self.of_url, link)
        undo.put(self.uploads, key, upload)
        for url in upload.urls:
            undo.put(self.of_url, (upload.team, url), upload.id)

    def _links_of(self, upload: Upload) -> list[tuple[str, str]]:
        """Those of its links that no later upload has taken over."""
        links = ((upload.team, url) for url in dict.fromkeys(upload.urls))
        return [link for link in links if self.of_url.get(link) == upload.id]

    # --- deleting ------------------------------------------------------------------------------

    def drop_delivery(self, delivery: Delivery) -> None:
        left = (one for one in self.delivered[delivery.job_id] if one != delivery.id)
        self.delivered[delivery.job_id] = tuple(left)
        del self.deliveries[delivery.id]
        self.pending.pop(delivery.id, None)

    def drop_job(self, job_id: str) -> None:
        """Its deliveries go with it."""
        job = self.jobs.pop(job_id)
        for delivery_id in self.delivered.pop(job_id, ()):
            del self.deliveries[delivery_id]
            self.pending.pop(delivery_id, None)
        if left := tuple(one for one in self.owed.pop(job.run_id, ()) if one != job_id):
            self.owed[job.run_id] = left

    def drop_upload(self, team: str, upload_id: str) -> None:
        """Its links go with it."""
        upload = self.uploads.pop((team, upload_id), None)
        if upload is not None:
            for link in self._links_of(upload):
                del self.of_url[link]

"""The register of pictures and the teams' galleries in memory, with their constraints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from gateway.adapters.ledger.memory_rules import check_kept, refuse
from gateway.adapters.ledger.memory_undo import Undo
from gateway.adapters.ledger.picture_rows import folded, prompt_of
from gateway.core.model import Job, KeptPicture, Picture, Run
from gateway.ports.ledger import PictureFilter


class Shown(NamedTuple):
    """The first job of a team that shows a run."""

    at: float
    job_id: str


class Register:
    """`kept` has the records of pictures by their keys, `shown` what a team has seen of a run."""

    def __init__(self) -> None:
        self.kept: dict[str, KeptPicture] = {}
        self.shown: dict[tuple[str, str], Shown] = {}

    def live(self) -> list[Picture]:
        """Those that are not erased, by digest, each once."""
        found = {one.picture.digest: one for one in self.kept.values() if one.erased_at is None}
        return [found[digest].picture for digest in sorted(found)]

    def made_by(self, digest: str) -> tuple[KeptPicture, ...]:
        """The records of these bytes, the oldest first."""
        found = (one for one in self.kept.values() if one.picture.digest == digest)
        return tuple(
            self.told(one) for one in sorted(found, key=lambda one: (one.created_at, one.run_id))
        )

    def of_run(self, run_id: str) -> list[KeptPicture]:
        return [one for one in self.kept.values() if one.run_id == run_id]

    def told(self, one: KeptPicture) -> KeptPicture:
        """With the first task of its own team that shows it."""
        shown = self.shown.get((one.team, one.run_id))
        return replace(one, task_id=shown.job_id if shown else "")

    # --- writing -------------------------------------------------------------------------------

    def keep(self, run: Run, undo: Undo) -> None:
        """The pictures of a run that has become done, also where another run made the same."""
        for picture in run.pictures:
            made = KeptPicture(
                picture,
                run_id=run.id,
                team=run.team,
                model=run.model,
                prompt=prompt_of(run.request),
                created_at=run.finished_at or 0.0,
            )
            if made.key not in self.kept:
                undo.put(self.kept, made.key, made)

    def show(self, job: Job, undo: Undo) -> None:
        """The run is in the gallery of the job's team from its first job on."""
        if (job.team, job.run_id) not in self.shown:
            undo.put(self.shown, (job.team, job.run_id), Shown(job.created_at, job.id))

    def erase(self, one: KeptPicture, undo: Undo) -> bool:
        """Takes the times of erasure and the prompt over; whether its run has no other one left."""
        check_kept(one)
        known = self.kept.get(one.key)
        if known is None:
            refuse(f"there is no picture {one.picture.digest} of run {one.run_id}")
        after = replace(
            known, prompt=one.prompt, erased_at=one.erased_at, removed_at=one.removed_at
        )
        undo.put(self.kept, one.key, after)
        return all(other.erased_at is not None for other in self.of_run(one.run_id))

    # --- reads ---------------------------------------------------------------------------------

    def find(self, asked: PictureFilter, jobs: Mapping[str, Job]) -> Iterator[KeptPicture]:
        """In no order."""
        for one in map(self.told, self.kept.values()):
            if asked.team in (None, one.team) and self._fits(asked, one, one.created_at):
                if asked.task_id is None:
                    yield one
                elif one.run_id in self._runs_of(asked.task_id, jobs, None):
                    yield replace(one, task_id=asked.task_id)

    def gallery(
        self, team: str, asked: PictureFilter, jobs: Mapping[str, Job]
    ) -> Iterator[KeptPicture]:
        """In no order."""
        for (seer, run_id), shown in self.shown.items():
            if seer != team:
                continue
            if asked.task_id and run_id not in self._runs_of(asked.task_id, jobs, team):
                continue
            for one in self.of_run(run_id):
                if one.erased_at is None and self._fits(asked, one, shown.at):
                    task_id = asked.task_id or shown.job_id
                    yield replace(one, created_at=shown.at, task_id=task_id)

    def _fits(self, asked: PictureFilter, one: KeptPicture, at: float) -> bool:
        return (
            asked.run_id in (None, one.run_id)
            and (asked.text is None or folded(asked.text) in folded(one.prompt))
            and (asked.since is None or asked.since <= at)
            and (asked.until is None or at < asked.until)
        )

    def _runs_of(self, task_id: str, jobs: Mapping[str, Job], team: str | None) -> set[str]:
        """The run of the task, which may be pruned: then only a first one is known."""
        found = {
            run_id
            for (seer, run_id), shown in self.shown.items()
            if shown.job_id == task_id and team in (None, seer)
        }
        job = jobs.get(task_id)
        return found | ({job.run_id} if job and team in (None, job.team) else set())

"""The constraints that single records must keep, as the tables on disk have them in SQL."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Final, NoReturn

from gateway.core.codec import plain_amounts
from gateway.core.model import (
    Delivery,
    DeliveryState,
    Job,
    KeptPicture,
    Run,
    Upload,
    Usage,
    Verdict,
)
from gateway.core.money.accounts import LONGEST_SECONDS, Account
from gateway.core.runs.history import FAILED, Refusal
from gateway.core.transaction import ConstraintViolation

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

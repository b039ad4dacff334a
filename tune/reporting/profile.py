"""Where the seconds of a search went, by part."""

from __future__ import annotations

from collections.abc import Sequence

from dps.wording import format_share
from tune.records.ledger import TrialRecord
from tune.records.search_document import ProfileSection
from tune.strategy.budget import SlotCount

RUN_PARTS = ("evaluation", "report", "checkpoint")
TIME_PART_NAMES = {
    "training": "training steps",
    "evaluation": "evaluation",
    "report": "waiting for a report to arrive",
    "checkpoint": "checkpoints",
    "between_runs": "between runs on a warm slot",
    "without_work": "slots without work, or a worker group starting",
}


def profile_session(
    runs: Sequence[TrialRecord], slots: SlotCount, started: float, planned: float
) -> ProfileSection | None:
    """Divide the time of one session into its parts; None before a run has ended.

    runs: all that this session ran. started, planned: when the command began and when the plan stood and the
    cluster was there, in seconds since the epoch.
    """
    ran = [run for run in runs if run.began >= started and run.ended]
    if not ran:
        return None
    first, last = min(run.began for run in ran), max(run.ended for run in ran)
    gaps = sorted(run.waited for run in ran if run.waited is not None)
    seconds = {part: sum(run.parts.get(part, 0.0) for run in ran) for part in RUN_PARTS}
    seconds["training"] = sum(run.seconds for run in ran) - sum(seconds.values())
    seconds["between_runs"] = sum(gaps)
    busy = sum(seconds.values())
    whole = max(busy, slots.seconds(first, last))  # what runs when nodes leave is no slot's any more
    seconds["without_work"] = whole - busy
    return ProfileSection(
        before_first_step={"plan_and_cluster": planned - started, "slots": first - planned},
        slot_seconds=whole,
        shares={part: seconds[part] / whole for part in TIME_PART_NAMES},
        gap=gaps[len(gaps) // 2] if gaps else None,
    )


def format_profile(profile: ProfileSection) -> list[str]:
    """Format a profile, to be read."""
    before = profile.before_first_step
    said = [
        f"until the first step {sum(before.values()):.1f} s: plan and cluster "
        f"{before['plan_and_cluster']:.1f}, slots (worker group, model, tokens) {before['slots']:.1f}",
        f"then, of {profile.slot_seconds:.0f} slot seconds",
    ]
    said += [
        f"  {format_share(share, 1):>7}  {TIME_PART_NAMES[part]}" for part, share in profile.shares.items()
    ]
    if profile.gap is not None:
        said.append(f"from the end of a run to the first step of the next: {profile.gap:.2f} s (median)")
    return said

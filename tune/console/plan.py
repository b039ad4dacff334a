"""The plan of a search or a comparison, to be read."""

from __future__ import annotations

from itertools import chain

import numpy as np

from dps.attachment.losses import FOCAL_GAMMA, balance_classes
from dps.methods import METHODS
from dps.ranges import Choice, Domain
from dps.tasks.metrics import TUNED_THRESHOLD
from dps.tasks.task import EVEN_THRESHOLD
from dps.text import quote_value
from dps.training.config import STEP_PARAMETERS
from dps.training.preview import RunPreview
from dps.wording import format_count, format_share
from tune.core.wording import format_clock, format_usage
from tune.planning.plan import RACED_OF_BASELINE, Plan
from tune.planning.preflight import estimate_storage_bytes
from tune.stats.evidence import MIN_SEEDS
from tune.stats.verdict import find_detectable_difference
from tune.strategy.proposals import STARTUP_TRIALS

MAX_LISTED_CLASSES = 8
PAIR_SPREADS = (10, 3)  # standard deviations in points: of runs that collapse at times, and of steady ones


def format_plan(plan: Plan) -> list[str]:
    """Format the plan, a line for each choice: nothing is chosen silently."""
    options, cluster = plan.options, plan.cluster
    examples = ", ".join(f"{count:,} {split}" for split, count in plan.preview.examples.items())
    where = f"Ray at {cluster.address}" if cluster.address else "local Ray on loopback"
    seeds = format_count(options.confirm, "fresh seed")
    devices = format_count(options.cpus_per_worker, "thread") + (
        f", {plan.gpus_per_worker:g} GPU" if plan.gpus_per_worker else ""
    )
    needed = estimate_storage_bytes(plan)
    lines = [
        f"task         {plan.task.name} ({plan.task.metric}, {plan.task.direction})",
        f"data         {plan.data.note}: {examples}",
        *_format_labels(plan.preview),
        *_format_groups(plan),
        *_format_loss(plan),
        *_format_threshold(plan),
        *_format_models(plan),
        *_format_patience(plan),
        f"selected on  {options.select_on}; reported on dev with {seeds}",
    ]
    lines += _format_search(plan) if "" in plan.arms else _format_comparison(plan)
    if plan.ended_runs:
        planned = format_count(plan.planned_runs, "run")
        lines.append(f"resumed      {plan.ended_runs} of about {planned} already done")
    estimate = plan.estimate
    lines += [
        f"slots        {plan.slots} x {format_count(options.workers_per_trial, 'worker')} x {devices}; "
        f"{where}, {format_count(cluster.cpus, 'core')}",
        *([f"GPUs         {plan.gpu_note}"] if plan.gpu_note else []),
        *_format_shard(plan),
        f"precision    {plan.precision_note}",
        f"disk         up to {needed / 2**30:.1f} GiB at a time",
        (
            f"expected     about "
            f"{format_clock(estimate.seconds)}{format_usage(plan.slot_devices.used(estimate.slot_seconds))}"
        ),
    ]
    return lines


def _format_shard(plan: Plan) -> list[str]:
    """Say how the workers of a trial save memory, where they do."""
    options, weights = plan.options, 4 * plan.model_parameters / 2**30
    workers = options.workers_per_trial
    parts = []
    if options.shard:
        shared = f"{workers} workers share {weights:.2g} GiB of weights (FSDP2), {weights / workers:.2g} each"
        parts.append(f"{shared}, gradients and optimizer state alike")
    if options.gradient_checkpointing:
        parts.append("activations are computed again (gradient checkpointing)")
    return [f"memory       {'; '.join(parts)}"] if parts else []


def _format_models(plan: Plan) -> list[str]:
    """Say which models are trained, by which arms, or among which a search chooses; and what each reads."""

    def say_lengths(model: str | None) -> str:
        found = {*chain.from_iterable(arm.space.list_lengths(model) for arm in plan.arms.values())}
        said = " | ".join(map(str, sorted(found)))
        return f", of the lengths {said} the longest" if len(found) > 1 else ""

    if plan.models:
        return [
            f"model        {label}: {model.size.parameters / 1e6:,.0f} million weights; "
            f"{'; '.join([f'texts: {model.preview.lengths}{say_lengths(label)}', *model.preview.notes])}"
            for label, model in plan.models.items()
        ]
    arms_by_model: dict[str, list[str]] = {}
    for name, arm in plan.arms.items():
        arms_by_model.setdefault("; ".join([arm.model.note, *arm.preview.notes]), []).append(name)
    lines = [f"texts        {plan.preview.lengths}{say_lengths(None)}"]
    for note, names in arms_by_model.items():
        joined = ", ".join(names)
        lines.append(f"model        {note}{'' if len(arms_by_model) == 1 else f' ({joined})'}")
    return lines


def _format_labels(preview: RunPreview) -> list[str]:
    """Say how many training examples each class has, how labels were read, and what dev shares with train."""
    counts, lines = preview.label_counts, []
    if counts:
        said = [
            f"{quote_value(name, 30)} {count:,}" for name, count in [*counts.items()][:MAX_LISTED_CLASSES]
        ]
        if rest := [*counts.values()][MAX_LISTED_CLASSES:]:
            said.append(f"and {len(rest)} more with {min(rest):,} to {max(rest):,}")
        read = preview.label_notes
        notes = [
            f"; {note} ({', '.join(split for split in read if read[split] == note)})"
            for note in dict.fromkeys(read.values())
        ]
        lines.append(f"labels       train: {', '.join(said)}{''.join(notes)}")
    rule = "scores on dev will be too good; remove them from either"
    if preview.shared_groups:
        shared = f"the groups of {format_count(preview.shared_groups, 'example')} of dev are in train too"
        lines.append(f"check        {shared}: {rule}")
    if preview.shared_texts:
        verb = "is" if preview.shared_texts == 1 else "are"
        shared = f"{format_count(preview.shared_texts, 'text')} of dev {verb} in train too"
        lines.append(f"check        {shared}: {rule}")
    return lines


def _format_groups(plan: Plan) -> list[str]:
    """Say what stays on one side of every split beside texts."""
    if not plan.task.group:
        return []
    column = quote_value(plan.task.group, 30)
    return [f"groups       {plan.preview.groups:,} in {column}: each kept on one side of every split"]


def _format_loss(plan: Plan) -> list[str]:
    """Say what a run minimises, unless that is the usual loss, or stands with each arm."""
    name, counts = plan.settings.loss, np.array([*plan.preview.label_counts.values()])
    if name == "plain" or len({arm.settings.loss for arm in plan.arms.values()}) > 1:
        return []
    if name == "focal":
        weight = f"(1 - p)^{FOCAL_GAMMA:g}"
        return [f"loss         focal: an example weighs {weight}, p the probability of its label"]
    if plan.task.multi_label:
        counts = np.stack([plan.preview.examples["train"] - counts, counts])
    weights, what = balance_classes(counts), "weights of a label" if plan.task.multi_label else "weights"
    ends = weights.min(), weights.max()
    said = " to ".join(f"{weight:.2g}" for weight in dict.fromkeys(ends))
    return [f"loss         balanced: {what} {said}, by the classes of what a run trains on"]


def _format_threshold(plan: Plan) -> list[str]:
    """Say from which probability on something is said, unless that is 0.5, or stands with each arm."""
    threshold = plan.settings.threshold or plan.task.threshold
    if len({arm.settings.threshold for arm in plan.arms.values()}) > 1:
        return []
    if threshold == TUNED_THRESHOLD:
        how = f"for {plan.task.metric} on the held-out slice of each trial; fresh seeds use the median"
        return [f"threshold    tuned {how}"]
    return [] if threshold == EVEN_THRESHOLD else [f"threshold    {threshold:g}"]


def _format_patience(plan: Plan) -> list[str]:
    """Say what patience does and what it costs, unless that stands with each arm."""
    found, examples = plan.settings.patience, plan.preview.examples["train"]
    if found is None or len({arm.settings.patience for arm in plan.arms.values()}) > 1:
        return []
    held_out, evaluations = plan.preview.scored_examples, format_count(found, "evaluation")
    return [
        f"patience     a run ends after {evaluations} without a better score and keeps its best step; fresh "
        f"seeds, too, hold out {held_out:,} of {examples:,} training examples for that"
    ]


def _format_search(plan: Plan) -> list[str]:
    options, space = plan.options, plan.space
    trials, steps = format_count(plan.count_trials(""), "trial"), format_count(plan.max_steps, "step")
    return [
        f"searching    {trials} of at most {steps}, {options.sampler} + {options.scheduler}",
        f"  {'method':<16} {' | '.join(space.methods)}",
        *(f"  {name:<16} {value}" for name, value in space.parameters.items()),
        *(f"warm start   {origin}" for origin in plan.warm_start.origins),
        *_format_first_trials(plan),
        *_format_budgets(plan),
        *_format_race_and_confirmation(plan),
    ]


def _format_first_trials(plan: Plan) -> list[str]:
    """Say what is tried before the sampler proposes: the best of a warm start, then the published values,
    where its model learns; and when that begins, unless it learns from a warm start."""
    trials, sampler, warm = plan.count_trials(""), plan.options.sampler, plan.warm_start
    earlier = [*warm.initial_configurations][:trials]
    published = [each for each in plan.initial_configurations if each not in earlier][: trials - len(earlier)]
    named = {"the best of the warm start": len(earlier), "the published values": len(published)}
    parts = [f"{what}: {format_count(count, 'trial')}" for what, count in named.items() if count]
    if published and not warm.observations and (drawn := min(trials, STARTUP_TRIALS) - len(published)) > 0:
        if trials > STARTUP_TRIALS:
            parts += [f"at least {drawn} at random, then {sampler}"]
        else:
            waits = f" ({sampler} not before the {STARTUP_TRIALS + 1}th)" if plan.space.size > trials else ""
            parts += [f"{drawn} at random{waits}"]
    return [f"first        {'; then '.join(parts)}"] if parts else []


def _format_budgets(plan: Plan) -> list[str]:
    """Say the budgets: which of them several tasks have together, and what earlier sessions took of them."""
    hours = plan.budgets.count_hours(sum(plan.spent_slot_seconds.values()))
    budgets = []
    for resource, limit in plan.options.resource_limits.items():
        if resource == "time":
            said, spent = format_clock(limit), format_clock(plan.spent_seconds)
            shared = f" for all {plan.tasks} together"
        else:
            said, spent = f"{limit:g} {resource}-hours", f"{hours[resource]:.3g}"
            shared = f" as the share of each of {plan.tasks}"
        said += shared if plan.tasks > 1 else ""
        said += f" ({spent} spent)" if plan.ended_runs else ""
        budgets.append(said)
    if not budgets:
        return []
    said = f"budget       {', '.join(budgets)}; no trial or race run starts after that"
    kept = (
        f", {format_share(1 - plan.own_budget_share)} of it is kept for the baselines"
        if plan.baseline_arms
        else ""
    )
    return [said + kept]


def _format_race_and_confirmation(plan: Plan) -> list[str]:
    options = plan.options
    raced = plan.count_race_runs("")
    further = format_count(options.race, "further seed")
    configurations = raced // max(1, options.race)
    racing = f"racing       the best {configurations}: {further} each, {format_count(raced, 'run')}"
    who = "the winner" if options.finalists == 1 else f"the best {options.finalists}, each"
    runs, steps = format_count(options.confirm, "run"), format_count(plan.confirm_steps, "step")
    confirming = f"confirming   {who}: {runs} of {_limit_steps(plan)}{steps}"
    lines = [racing, confirming] if raced else [confirming]
    return [*lines, *_format_baselines(plan)]


def _limit_steps(plan: Plan) -> str:
    """Return what stands before a number of steps: whether what is searched may take fewer."""
    searched = {name for arm in plan.arms.values() for name in arm.space.parameters}
    return "at most " if searched & STEP_PARAMETERS else ""


def _format_baselines(plan: Plan) -> list[str]:
    """Say what the winner is compared with, what that costs, and which difference it can detect."""
    options, tuned = plan.options, plan.baseline_arms
    comparisons = len(tuned) + plan.confirms_published
    parts = ["the published values, unless they win"] if plan.confirms_published else []
    if options.confirms_published and not parts:
        parts = ["no published values, as the space lacks them"]
    left_out = [f"no {name}, as it is what is searched" for name in options.dropped_baselines]
    if not comparisons:
        return [f"baselines    {part}" for part in [*parts, *left_out]]
    alike: dict[str, list[str]] = {}
    for arm in tuned:
        alike.setdefault(_describe_tuning(plan, arm), []).append(arm)
    parts += [f"{', '.join(arms)}, {'each ' if len(arms) > 1 else ''}{how}" for how, arms in alike.items()]
    trials, raced = (sum(map(count, tuned)) for count in (plan.count_trials, plan.count_race_runs))
    cost = f"{format_count(trials, 'trial')}, " if trials else ""
    cost += f"{format_count(raced, 'race run')}, " if raced else ""
    cost += f"{format_count(comparisons * options.confirm, 'run')} on the same seeds"
    cost = " and ".join(cost.rsplit(", ", 1))
    said = "; ".join([f"{'; '.join(parts)}: {cost}", *left_out])
    lines = [f"baselines    {said}"]
    pairs, least = options.confirm, find_detectable_difference(options.confirm, comparisons)
    said = f"too few to detect a difference; give --confirm {MIN_SEEDS} or more"
    if least is not None:
        wide, narrow = PAIR_SPREADS
        said = (
            f"can detect a difference of {wide * least:.0f} points if pairs vary by {wide} (standard "
            f"deviation), of {narrow * least:.0f} if they vary by {narrow} (80 % power)"
        )
    return [*lines, f"power        {format_count(pairs, 'pair')}: {said}"]


def _describe_tuning(plan: Plan, arm: str) -> str:
    """Say over what a baseline is tuned."""
    count = plan.count_trials(arm)
    what = "learning rate" if len(plan.arms[arm].space.parameters) == 1 else "configuration"
    race = f", of which {RACED_OF_BASELINE} race" if plan.count_race_runs(arm) else ""
    return f"at the best of {count} {what}s{race}" if count > 1 else f"with a single {what}"


def _format_comparison(plan: Plan) -> list[str]:
    """Say what each arm gets, then a line an arm: what it has of its own, and what is searched."""
    options, differing = plan.options, plan.list_differences()
    is_tuned, noun = options.tune == "each", "arms" if options.arms else "methods"
    least, most = (pick(arm.preview.full_max_steps for arm in plan.arms.values()) for pick in (min, max))
    steps = (
        f"{_limit_steps(plan)}{format_count(most, 'step')} each"
        if least == most
        else f"{least} to {most} steps"
    )
    seeds = format_count(options.confirm, "paired seed")
    lines = [f"comparing    {len(plan.arms)} {noun}, each as given: {seeds}, {steps}"]
    if is_tuned:
        lines = [
            f"comparing    {len(plan.arms)} {noun}, each: "
            f"{format_count(options.trials, 'configuration')} of at most "
            f"{format_count(plan.max_steps, 'step')}, {options.sampler} + {options.scheduler},",
            f"             then its best with {seeds}, {steps}",
        ]
    rate = plan.first.space.parameters["learning_rate"]
    shared = {"learning_rate": rate} if is_tuned else {}
    lines += [f"  {name:<20} {domain}" for name, domain in shared.items()]
    width = max(20, *map(len, plan.arms))
    for name, arm in plan.arms.items():
        domains = arm.space.parameters.items()
        parts = [f"{key} {value}" for key, value in differing[name].items()] if options.arms else []
        parts += [
            f"{key} {_format_domain(domain)}"
            for key, domain in domains
            if key not in differing[name] and shared.get(key) != domain
        ]
        cost = format_method_cost(arm.space.methods[0])
        lines.append(f"  {name:<{width}} {', '.join(parts) or '-'}{cost}")
    return lines


def _format_domain(domain: Domain) -> str:
    """Format a domain; a single number in short."""
    values = domain.values if isinstance(domain, Choice) else ()
    return f"{values[0]:.3g}" if len(values) == 1 and isinstance(values[0], float) else str(domain)


def format_method_cost(method: str) -> str:
    """Say what a method costs beside vanilla, in a few words; empty if it costs nothing."""
    cost = METHODS[method]().cost
    parts = [
        (cost.extra_passes, f"+{cost.extra_passes:g} pass a step"),
        (cost.calibration_epochs, f"+{format_count(cost.calibration_epochs, 'epoch')} before"),
        (cost.evaluations, f"+{format_count(cost.evaluations, 'evaluation')} at the end"),
        (cost.extra_bytes, f"+{format_count(cost.extra_bytes, 'byte')} a weight"),
    ]
    said = ", ".join(text for value, text in parts if value)
    return f"  [{said}]" if said else ""

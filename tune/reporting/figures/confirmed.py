"""The configurations that were confirmed with fresh seeds, and how the winner differs from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tune.records.ledger import TrialRecord
from tune.records.replicates import Confirmation
from tune.records.schema import DifferenceSection
from tune.records.search_document import Evidence, RivalSection, SearchDocument, find_mean
from tune.stats.ensemble import AnswerSummary


@dataclass(frozen=True)
class ConfirmedConfiguration:
    """A configuration that was trained with fresh seeds. kind: "winner", "baseline" or "finalist".
    difference: of the winner from it."""

    kind: str
    name: str
    title: str
    confirmation: Confirmation | None
    runs: Sequence[TrialRecord]
    evidence: Evidence | None
    difference: DifferenceSection | None = None

    @property
    def mean(self) -> float | None:
        """Its mean over the fresh seeds, see `find_mean`."""
        return find_mean(self.evidence, self.confirmation)

    @property
    def answers(self) -> AnswerSummary | None:
        """What its runs answered; None if unknown."""
        return None if self.evidence is None else self.evidence.answers

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of its mean over seeds and examples; None where there is none."""
        return None if self.evidence is None else self.evidence.interval


def collect_confirmed_configurations(document: SearchDocument) -> list[ConfirmedConfiguration]:
    """Return the winner, the baselines and the other finalists, as far as there are runs of them."""

    def describe(kind: str, name: str, title: str, rival: RivalSection) -> ConfirmedConfiguration:
        return ConfirmedConfiguration(
            kind, name, title, rival.confirmation, rival.runs, rival.evidence, rival.difference
        )

    made = []
    if document.winner:
        title, won = f"trial {document.winner.trial}, the winner", document.confirmation
        runs = document.confirmation_runs
        made.append(ConfirmedConfiguration("winner", "winner", title, won, runs, document.evidence))
    for baseline in document.baselines:
        tuned = baseline.format_tuned_values() if baseline.is_tuned else ""
        title = f"{baseline.title} ({tuned})" if tuned else baseline.title
        made.append(describe("baseline", baseline.name, title, baseline))
    for one in document.finalists:
        made.append(describe("finalist", f"trial {one.trial}", f"trial {one.trial}", one))
    return [side for side in made if side.runs or side.confirmation]

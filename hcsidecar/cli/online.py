"""`hcsidecar check-config --online`: checks whether the balancers' own settings suit the farm file's targets."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from hcsidecar.core.farmfile.farm_file import FarmFile, Target
from hcsidecar.core.targets.findings import Grade, ReviewFinding
from hcsidecar.core.targets.registration import TargetError
from hcsidecar.events.journal import one_line
from hcsidecar.farmfile.loading import LoadedFarm
from hcsidecar.targets.kind import Reviewer
from hcsidecar.targets.kinds import KindError, kind_of

_LIMIT = 30.0
"Seconds for the review of one balancer."
_WIDTH = max(map(len, Grade))


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """The findings at the balancer of one target."""

    name: str
    type: str
    findings: Sequence[ReviewFinding]

    @property
    def is_fine(self) -> bool:
        """Whether nothing keeps the target from working."""
        return all(finding.grade is not Grade.PROBLEM for finding in self.findings)


def review_targets(loaded: LoadedFarm) -> list[Review]:
    """Review the balancers of all targets at the same time. Return the reviews in the order of the farm file."""
    return asyncio.run(_review_all(loaded.farm))


def as_json(reviews: Sequence[Review]) -> list[dict[str, object]]:
    """Return the reviews for the JSON document."""
    return [
        {"name": one.name, "type": one.type, "ok": one.is_fine, "findings": [asdict(each) for each in one.findings]}
        for one in reviews
    ]


def as_text(reviews: Sequence[Review]) -> Iterator[str]:
    """Yield the lines of the reviews as text."""
    if not reviews:
        yield "  online     there is no [[target]] to look at"
    for one in reviews:
        yield f"  target     {one.name} ({one.type}), as its balancer has it:"
        for finding in one.findings:
            yield one_line(f"    {finding.grade:{_WIDTH}}  {finding.text}")
            for arrow, text in (("so", finding.effect), ("->", finding.remedy)):
                if text:
                    yield one_line(f"    {'':{_WIDTH}}  {arrow} {text}")


async def _review_all(farm: FarmFile) -> list[Review]:
    return list(await asyncio.gather(*(_review(farm, table) for table in farm.target)))


async def _review(farm: FarmFile, table: Target) -> Review:
    def alone(grade: Grade, text: str) -> Review:
        return Review(name=table.label, type=table.type, findings=[ReviewFinding(grade=grade, text=text)])

    try:
        kind = kind_of(table.type)
        if not isinstance(kind, Reviewer):
            return alone(Grade.UNSEEN, f"there is nothing that looks at a balancer of kind {table.type}")
        async with asyncio.timeout(_LIMIT):
            return Review(name=table.label, type=table.type, findings=await kind.review(table, farm))
    except (KindError, TargetError) as error:
        return alone(Grade.PROBLEM, str(error))
    except TimeoutError:
        return alone(Grade.PROBLEM, f"no answer within {_LIMIT:g} s")
    except Exception as error:  # noqa: BLE001 - a kind of another package may raise anything
        return alone(Grade.PROBLEM, f"{type(error).__name__}: {error}")

"""`hcsidecar check-config --online` on a node: checks whether this machine can serve the farm's virtual IPs."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from ipaddress import ip_address

from hcsidecar.core.farmfile.farm_file import L2Table
from hcsidecar.core.targets.findings import Grade, ReviewFinding
from hcsidecar.events.journal import one_line
from hcsidecar.farmfile.loading import FarmFileError, LoadedFarm, find_node

_GRADES = {"info": Grade.OK, "warning": Grade.WARNING, "error": Grade.PROBLEM, "unseen": Grade.UNSEEN}
"By the level's name in layer-2 mode."
_WIDTH = max(map(len, Grade))


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineReview:
    """The findings on this machine."""

    node: str | None
    "The node of this machine; None if it is none, or several."
    findings: tuple[ReviewFinding, ...]

    @property
    def is_fine(self) -> bool:
        """Whether nothing keeps this machine from serving."""
        return all(finding.grade is not Grade.PROBLEM for finding in self.findings)


def review_machine(loaded: LoadedFarm, table: L2Table) -> MachineReview:
    """Check this machine, and try which filter its kernel accepts; change nothing."""
    # Imported here because it imports what layer-2 mode needs of a machine, which other machines need not have.
    from l2mode.core.verdict import Delivery  # noqa: PLC0415
    from l2mode.kernel.preflight import try_here  # noqa: PLC0415

    try:
        me = find_node(loaded.farm, None)
    except FarmFileError as error:
        problem = error.problems[0]
        finding = ReviewFinding(
            grade=Grade.UNSEEN,
            text=f"this machine was not looked at: the farm {problem.message}",
            remedy="ask again on a node",
        )
        return MachineReview(node=None, findings=(finding,))
    found = try_here(
        [ip_address(vip.address) for vip in table.vip],
        delivery=Delivery(table.delivery),
        interface=table.interface,
        address=me.address,
        wanted=table.filter,
    )
    return MachineReview(
        node=me.name,
        findings=tuple(
            ReviewFinding(grade=_GRADES[one.level], text=one.message, remedy=one.remedy or "") for one in found
        ),
    )


def as_json(review: MachineReview) -> dict[str, object]:
    """Return the review for the JSON document."""
    return {"node": review.node, "ok": review.is_fine, "findings": [asdict(each) for each in review.findings]}


def as_text(review: MachineReview) -> Iterator[str]:
    """Yield the lines of the review as text."""
    yield f"  machine    {review.node or 'no node of the farm'}, with the virtual IPs:"
    for finding in review.findings:
        yield one_line(f"    {finding.grade:{_WIDTH}}  {finding.text}")
        if finding.remedy:
            yield one_line(f"    {'':{_WIDTH}}  -> {finding.remedy}")

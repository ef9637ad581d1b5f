"""The board of the checks' results: what it has is told in the order of the farm file."""

from hcsidecar.core.application.check_results import CheckBoard, CheckRule

RULES = [CheckRule(name="ROUTER", pre=True), CheckRule(name="HTTP", action="restart")]


def test_the_board_has_all_checks_in_their_order():
    assert list(CheckBoard(RULES).rules) == RULES


def test_a_check_has_no_result_until_it_has_passed_or_failed():
    board = CheckBoard(RULES)
    assert {rule.name: board.says(rule.name) for rule in board.rules} == {"ROUTER": "init", "HTTP": "init"}
    assert board.says("DISK") is None

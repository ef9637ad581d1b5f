import pytest

from hcsidecar.core.application.leftover_processes import KeeperRecord, Process, left_running, living_runs, read_record

DAEMON, KEEPER, SCRIPT = 100, 200, 201
START, STOP = "1_start", "2_stop"


def process(pid, *, parent=1, group=None, state="S", start=None):
    started = pid * 10 if start is None else start
    return Process(pid=pid, parent=parent, group=group or pid, state=state, start=started, command=f"c{pid}")


def record(run=START, *, boot="now", keeper=KEEPER, script=SCRIPT, unit=""):
    return KeeperRecord(
        run=run,
        boot=boot,
        keeper=keeper,
        keeper_start=keeper * 10,
        script=script,
        script_start=script * 10,
        unit=unit,
    )


def found(*table, records=(), marked=None):
    processes = {each.pid: each for each in table}
    runs = left_running(processes, list(records), boot="now", marked=marked or {}, spare={DAEMON})
    return {each.pid: run for each, run in runs.items()}


def test_all_that_descends_from_a_living_keeper_is_the_applications_wherever_it_has_gone():
    table = [
        process(DAEMON),
        process(KEEPER),
        process(SCRIPT, parent=KEEPER),
        process(300, parent=KEEPER),  # has left the script's group and session, and was given to the keeper
        process(301, parent=300),
        process(400),  # somebody else's
    ]
    assert found(*table, records=[record()]) == {SCRIPT: START, 300: START, 301: START}


def test_what_is_dead_already_is_not_counted():
    assert found(process(KEEPER), process(SCRIPT, parent=KEEPER, state="Z"), records=[record()]) == {}


def test_the_daemon_and_what_it_has_started_are_spared_even_below_a_keeper():
    table = [process(KEEPER), process(DAEMON, parent=KEEPER), process(101, parent=DAEMON)]
    assert found(*table, records=[record()], marked={DAEMON: START}) == {}


def test_keepers_are_none_of_the_application():
    other = record(STOP, keeper=210, script=211)
    table = [process(KEEPER), process(210, parent=KEEPER), process(211, parent=210)]
    assert found(*table, records=[record(), other], marked={KEEPER: START}) == {211: STOP}


@pytest.mark.parametrize(
    "stranger", [process(KEEPER, start=5), process(KEEPER, state="Z"), process(KEEPER + 1, parent=KEEPER, start=5)]
)
def test_a_number_that_is_another_process_now_leads_to_nobody(stranger):
    assert found(stranger, process(300, parent=KEEPER), records=[record()]) == {}


def test_records_of_an_earlier_boot_lead_to_nobody():
    table = [process(KEEPER), process(SCRIPT, parent=KEEPER)]
    assert found(*table, records=[record(boot="then")]) == {}


def test_without_its_keeper_a_run_has_the_group_of_its_script_while_that_lives():
    table = [process(SCRIPT), process(300, group=SCRIPT), process(301)]
    assert found(*table, records=[record()]) == {SCRIPT: START, 300: START}
    assert found(*table[1:], records=[record()]) == {}


def test_without_its_keeper_a_process_is_known_by_its_mark():
    assert found(process(300), process(301), marked={300: START, 999: START}) == {300: START}


def test_runs_live_as_long_as_their_keepers():
    processes = {KEEPER: process(KEEPER)}
    alive, gone = record(), record(STOP, keeper=210)
    assert living_runs(processes, [alive, gone], boot="now") == {START: alive}


def test_a_record_is_read_as_it_was_written():
    assert read_record(START, "now 200 2000 201 2010 ") == record()
    assert read_record(START, "now 200 2000 201 2010 a.service") == record(unit="a.service")


@pytest.mark.parametrize("text", ["", "now", "now 200 2000 201 x ", "now -1 2000 201 2010 ", "now ² 1 1 1 ", "\0" * 9])
def test_what_is_no_record_is_left_out(text):
    assert read_record(START, text) is None


def test_a_process_is_shown_with_its_command_and_state():
    assert str(process(300, state="D")) == "300 (c300, state D)"

"""A new farm as a newcomer makes it: one server by init, the others by pasted lines, with real daemons."""

from daemons import wait_for
from joining.machines import machines
from namespaces import needs_namespaces


@needs_namespaces
def test_a_newcomer_makes_a_farm_of_three_by_init_two_pasted_lines_and_one_apply(tmp_path):
    with machines(tmp_path, "web1", "web2", "web3") as (web1, web2, web3):
        web1.init().start().certified()
        for new in (web2, web3):
            joined = new.paste(web1.token(new.name), "--yes")
            assert joined.returncode == 0, joined.stderr
            assert f"{new.name} is a node of farm apache" in joined.stdout
            assert new.left() == ["ca.key", "ca.pem", "farm.key", "farm.toml"]
            new.start()
        names = ["web1", "web2", "web3"]
        farm = (web1, web2, web3)
        wait_for(lambda: all(machine.view() == names for machine in farm), limit=60, what="one view")
        web3.config.write_text(web3.config.read_text().replace("#keep_ready = 1", "keep_ready = 2"))
        applied = web3.run("apply", "--yes", "--config", web3.config)
        assert applied.returncode == 0, applied.stderr
        wait_for(lambda: {machine.config.read_text() for machine in farm} == {web1.config.read_text()})
        assert "keep_ready = 2" in web1.config.read_text()

"""A new farm as a newcomer makes it: one server by init, the others by pasted lines, with real daemons."""

from daemons import wait_for
from joining.machines import machines
from namespaces import needs_namespaces

from hcsidecar.core.joining.token import JoinToken


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
        # A file that is edited before its node has taken what is in force is set aside, and kept.
        wait_for(lambda: "this node has taken revision 2" in web3.log(), limit=30, what="the revision on web3")
        web3.config.write_text(web3.config.read_text().replace("#keep_ready = 1", "keep_ready = 2"))
        applied = web3.run("apply", "--yes", "--config", web3.config)
        assert applied.returncode == 0, applied.stderr
        wait_for(lambda: {machine.config.read_text() for machine in farm} == {web1.config.read_text()})
        assert "keep_ready = 2" in web1.config.read_text()


@needs_namespaces
def test_what_goes_wrong_after_the_farm_has_agreed_is_mended_by_the_same_line(tmp_path):
    with machines(tmp_path, "web1", "web2", "web3") as (web1, web2, web3):
        web1.init().start().certified()
        line = web1.token("web2")
        # A link to nowhere: nothing is there, and nothing can be put there.
        in_the_way = web2.config.parent / "ca.pem"
        in_the_way.parent.mkdir()
        in_the_way.symlink_to("nowhere")
        done = web2.paste(line, "--yes")
        assert done.returncode == 1, done.stdout
        assert "nothing is left of what was written" in done.stderr
        assert "web2 is in the farm file already: mend this, and run the command again" in done.stderr
        assert web2.left() == ["ca.pem"]
        wait_for(lambda: "web2" in web1.config.read_text())
        in_the_way.unlink()

        other = web3.paste(line.replace("web2", "web3"), "--yes")
        assert "this token was made for a node of the name web2, not web3" in other.stderr
        again = web2.paste(line, "--yes")
        assert again.returncode == 0, again.stderr
        assert "web2 is in the farm file already: nothing is applied" in again.stdout
        assert web2.left() == ["ca.key", "ca.pem", "farm.key", "farm.toml"]

        used = web2.paste(line, "--yes")
        assert used.returncode == 1
        assert "this token has been used by web2" in used.stderr

        # A server that takes the place of one that is gone needs a token that says so.
        for path in web2.config.parent.iterdir():
            path.unlink()
        taken = web2.paste(web1.token(), "--yes", "--name", "web2")
        assert "the farm has a node web2 already" in taken.stderr
        assert web2.paste(web1.token("web2"), "--yes").returncode == 0
        web2.start()
        wait_for(lambda: web1.view() == web2.view() == ["web1", "web2"], limit=60, what="one view")


@needs_namespaces
def test_a_farm_that_does_not_agree_adds_nobody_and_leaves_nothing(tmp_path):
    with machines(tmp_path, "web1", "web2", "web3") as (web1, web2, web3):
        web1.init().start().certified()
        assert web2.paste(web1.token("web2"), "--yes").returncode == 0
        # web2 is in the farm file and does not run, so it cannot agree.
        done = web3.paste(web1.token("web3"), "--yes")
        assert done.returncode == 1
        assert "web2 at " in done.stderr
        assert web3.left() == []
        assert "web3" not in web1.config.read_text()
        assert web3.paste(web1.token("web3"), "--yes", "--without", "web2").returncode == 0


@needs_namespaces
def test_a_farm_without_an_authority_says_how_to_get_one(tmp_path):
    with machines(tmp_path, "web1", "web2") as (web1, web2):
        web1.init()
        for name in ("ca.pem", "ca.key"):
            web1.config.with_name(name).unlink()
        web1.start().ready()
        refused = web1.run("token", "--config", web1.config)
        assert refused.returncode == 1
        assert "this farm has no certificate authority" in refused.stderr
        assert "hcsidecar ca new" in refused.stderr
        token = JoinToken(fingerprint=bytes(32), secret=bytes(16), expires=0).encode()
        done = web2.run("join", web1.address, "--token", token, "--name", "web2", "--config", web2.config)
        assert done.returncode == 1
        assert "does not speak TLS: the farm has no certificate authority" in done.stderr
        assert web1.run("ca", "new", "--config", web1.config).returncode == 0
        web1.certified()
        assert web2.paste(web1.token("web2"), "--yes").returncode == 0

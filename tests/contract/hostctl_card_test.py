"""hostctl with its key on a card, SoftHSM in the card's place, before the real API.
    hostctl_card_test.py HOSTCTL RIG [unittest arguments]"""
import os
import pathlib
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from api_pki import PEOPLE, Pki, openssl  # noqa: E402

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "71830924"
NEEDED = [shutil.which("softhsm2-util"), shutil.which("pkcs11-tool"), os.path.exists(MODULE) and MODULE]


def setUpModule():
    global FOLDER, PKI, RIG, PORT
    FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="hostctl-card-"))
    PKI = Pki(FOLDER)
    (FOLDER / "tokens").mkdir()
    (FOLDER / "softhsm2.conf").write_text(f"directories.tokendir = {FOLDER}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(FOLDER / "softhsm2.conf")
    run("softhsm2-util", "--init-token", "--free", "--label", "card", "--pin", PIN, "--so-pin", "123456")
    openssl("genrsa", "-out", PKI.key("rsa"), "2048")
    issue_for_key("rsa")
    put_on_card("operator", "01", "ec")
    put_on_card("rsa", "02", "rsa")
    (FOLDER / "images").mkdir()
    RIG = subprocess.Popen([sys.argv[2], PKI.pem("ca"), PKI.pem("server"), PKI.key("server"), str(FOLDER / "images")],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    PORT = int(RIG.stdout.readline().split()[1])


def tearDownModule():
    RIG.stdin.close()
    RIG.wait(10)
    RIG.stdout.close()
    shutil.rmtree(FOLDER)


def run(*words):
    subprocess.run(words, check=True, capture_output=True)


def issue_for_key(name):
    (FOLDER / f"{name}.ext").write_text(f"subjectAltName={PEOPLE['operator']}\nextendedKeyUsage=clientAuth\n")
    openssl("req", "-new", "-key", PKI.key(name), "-subj", f"/CN={name}", "-out", FOLDER / f"{name}.csr")
    openssl("x509", "-req", "-in", FOLDER / f"{name}.csr", "-CA", PKI.pem("ca"), "-CAkey", PKI.key("ca"), "-CAcreateserial",
            "-days", 2, "-extfile", FOLDER / f"{name}.ext", "-out", PKI.pem(name))


def put_on_card(name, number, label):
    openssl("pkcs8", "-topk8", "-nocrypt", "-in", PKI.key(name), "-out", FOLDER / f"{name}.p8")
    run("softhsm2-util", "--import", str(FOLDER / f"{name}.p8"), "--token", "card", "--label", label, "--id", number, "--pin", PIN)
    openssl("x509", "-in", PKI.pem(name), "-outform", "DER", "-out", FOLDER / f"{name}.der")
    run("pkcs11-tool", "--module", MODULE, "--login", "--pin", PIN, "--write-object", str(FOLDER / f"{name}.der"), "--type",
        "cert", "--id", number, "--label", label)


def uri(label, kind):
    return f"pkcs11:token=card;object={label};type={kind}"


class Card(unittest.TestCase):
    def environment(self, **more):
        return {"HOME": str(FOLDER), "PATH": "/usr/bin:/bin", "SOFTHSM2_CONF": os.environ["SOFTHSM2_CONF"],
                "BASCULE_CA": PKI.pem("ca"), "BASCULE_ENDPOINTS": f"https://127.0.0.1:{PORT}",
                "BASCULE_PKCS11_MODULE": MODULE, "BASCULE_CERT": uri("ec", "cert"), "BASCULE_KEY": uri("ec", "private"), **more}

    def secret(self, text=PIN, mode=0o600):
        path = FOLDER / "pin"
        path.write_text(text + "\n")
        path.chmod(mode)
        return str(path)

    def ctl(self, *args, exit_code=0, **more):
        done = subprocess.run([sys.argv[1], *args], env=self.environment(**more), text=True, capture_output=True, timeout=30,
                              stdin=subprocess.DEVNULL, start_new_session=True)  # no terminal
        self.assertEqual(done.returncode, exit_code, f"{done.stdout}\n{done.stderr}")
        self.assertNotIn(PIN, done.stdout + done.stderr)
        return done

    def test_ec_and_rsa_keys_speak_to_the_api(self):
        pin = self.secret()
        for label in ("ec", "rsa"):
            done = self.ctl("--pin-file", pin, "health", BASCULE_CERT=uri(label, "cert"), BASCULE_KEY=uri(label, "private"))
            self.assertIn("ok: host a1", done.stdout)

    def test_the_certificate_may_be_a_file(self):
        self.ctl("--pin-file", self.secret(), "--cert", PKI.pem("operator"), "health")
        done = self.ctl("--pin-file", self.secret(), "--cert", PKI.pem("auditor"), "health", exit_code=1)
        self.assertIn("is not the key of", done.stderr)

    def test_everything_may_stand_in_the_settings(self):
        settings = FOLDER / ".config/bascule"
        settings.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, FOLDER / ".config")
        (settings / "hostctl.toml").write_text(
            f'cert = "{uri("ec", "cert")}"\nkey = "{uri("ec", "private")}"\npkcs11_module = "{MODULE}"\npin_file = "{self.secret()}"\n')
        self.ctl("health", BASCULE_CERT="", BASCULE_KEY="", BASCULE_PKCS11_MODULE="")

    def test_a_program_may_ask_for_the_pin_which_nobody_else_sees(self):
        seen, program = FOLDER / "seen", FOLDER / "askpass"
        program.write_text(f"#!/bin/sh\necho \"$1\" >{seen}\ncat /proc/$PPID/cmdline /proc/$PPID/environ >>{seen}\necho {PIN}\n")
        program.chmod(0o700)
        self.ctl("health", BASCULE_ASKPASS=str(program))
        text = seen.read_text()
        self.assertTrue(text.startswith("PIN of pkcs11:token=card;object=ec"), text)
        self.assertNotIn(PIN, text)
        program.write_text("#!/bin/sh\nexit 1\n")
        self.assertIn("gave no PIN", self.ctl("health", BASCULE_ASKPASS=str(program), exit_code=3).stderr)
        self.assertIn("not an absolute path", self.ctl("health", BASCULE_ASKPASS="askpass", exit_code=1).stderr)

    def test_the_terminal_is_asked_without_an_echo(self):
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(sys.argv[1], [sys.argv[1], "health"], self.environment(TERM="dumb"))
        text = b""
        while select.select([fd], [], [], 20)[0]:
            try:
                piece = os.read(fd, 4096)
            except OSError:
                break
            if not piece:
                break
            text += piece
            if text.endswith(b"private: "):
                os.write(fd, PIN.encode() + b"\n")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, text)
        os.close(fd)
        self.assertIn(b"ok: host a1", text)
        self.assertNotIn(PIN.encode(), text)

    def test_at_the_terminal_one_can_think_better_of_it(self):
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(sys.argv[1], [sys.argv[1], "health"], self.environment(TERM="dumb"))
        text = b""
        while not text.endswith(b"private: "):
            text += os.read(fd, 4096)
        os.write(fd, b"718\x03")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 3)
        os.close(fd)

    def test_without_a_pin_nothing_is_sent(self):
        self.assertIn("there is no terminal to ask on", self.ctl("health", exit_code=1).stderr)
        self.assertIn("only its owner can read", self.ctl("--pin-file", self.secret(mode=0o640), "health", exit_code=1).stderr)
        self.assertIn("there is no PIN", self.ctl("--pin-file", self.secret(""), "health", exit_code=1).stderr)
        self.ctl("--pin-file", "/nonexistent", "health", exit_code=1)

    def test_a_wrong_pin_is_tried_once(self):
        done = self.ctl("--pin-file", self.secret("00000000"), "health", exit_code=1)
        self.assertIn("it is not tried again", done.stderr)
        self.ctl("--pin-file", self.secret(), "health")

    def test_what_is_not_there_is_named(self):
        pin = self.secret()
        self.assertIn("no key is had by", self.ctl("--pin-file", pin, "--key", uri("none", "private"), "health", exit_code=1).stderr)
        self.assertIn("no certificate is found by", self.ctl("--pin-file", pin, "--cert", uri("none", "cert"), "health", exit_code=1).stderr)
        self.assertIn("there is no such PKCS#11 module", self.ctl("--pin-file", pin, "--pkcs11-module", "/nonexistent.so", "health", exit_code=1).stderr)
        self.assertIn("give its pkcs11: URI as key", self.ctl("--pin-file", pin, "--key", PKI.key("operator"), "health", exit_code=1).stderr)

    def test_a_pin_in_the_uri_is_refused(self):
        done = self.ctl("--key", uri("ec", "private") + ";pin-value=1", "health", exit_code=1)
        self.assertIn("does not belong into a pkcs11: URI", done.stderr)


if __name__ == "__main__":
    if not all(NEEDED):
        print("SKIPPED: softhsm2 and opensc are not installed (tests/lab/packages-test.txt)")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=1)

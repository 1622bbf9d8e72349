"""A CA and certificates as a cell has them, made with the openssl program in a folder of its own."""
import subprocess
import time
from pathlib import Path

PEOPLE = {
    "operator": "URI:urn:bascule:operator:olga",
    "client": "URI:urn:bascule:client:blue:carl",
    "client2": "URI:urn:bascule:client:blue:cora",
    "green": "URI:urn:bascule:client:green:gina",
    "auditor": "URI:urn:bascule:auditor:anna",
    "host": "URI:urn:bascule:host:b1",
    "nobody": "DNS:nobody",
    "two": "URI:urn:bascule:operator:olga,URI:urn:bascule:client:blue:carl",
    "odd": "URI:urn:bascule:client:Blue..x:carl",
}


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


class Pki:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.ca("ca")
        self.ca("foreign-ca")
        self.issue("server", "DNS:a1,IP:127.0.0.1,URI:urn:bascule:host:a1", "serverAuth,clientAuth")
        for name, san in PEOPLE.items():
            self.issue(name, san, "clientAuth")
        self.issue("foreign", PEOPLE["operator"], "clientAuth", ca="foreign-ca")
        self.issue("elsewhere", "DNS:c1,IP:127.0.0.9,URI:urn:bascule:host:c1", "serverAuth,clientAuth")
        self.issue("foreign-server", "DNS:a1,IP:127.0.0.1,URI:urn:bascule:host:a1", "serverAuth,clientAuth", ca="foreign-ca")
        self.issue("server-only", PEOPLE["operator"], "serverAuth")
        self.issue("expired", PEOPLE["operator"], "clientAuth", days=-1)

    def pem(self, name):
        return str(self.folder / f"{name}.pem")

    def key(self, name):
        return str(self.folder / f"{name}.key")

    def new_key(self, name):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key(name))

    def ca(self, name):
        self.new_key(name)
        openssl("req", "-x509", "-new", "-key", self.key(name), "-subj", f"/CN={name}", "-days", "2", "-out", self.pem(name))

    def issue(self, name, san, usage, ca="ca", days=2):
        self.new_key(name)
        request = self.folder / f"{name}.csr"
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={san}\nextendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n")
        openssl("req", "-new", "-key", self.key(name), "-subj", f"/CN={name}", "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.pem(ca), "-CAkey", self.key(ca), "-CAcreateserial",
                "-days", days, "-extfile", extensions, "-out", self.pem(name))

class Revoker:
    """The revocation lists of one of these CAs."""

    CONFIG = """[ca]
default_ca = one
[one]
database = {0}/index.txt
crlnumber = {0}/crlnumber
default_md = sha256
"""

    def __init__(self, pki, folder, ca="ca"):
        self.pki, self.ca, self.folder = pki, ca, Path(folder)
        self.folder.mkdir()
        (self.folder / "index.txt").write_text("")
        (self.folder / "crlnumber").write_text("01\n")
        (self.folder / "ca.cnf").write_text(self.CONFIG.format(self.folder))
        self.with_ca = ("ca", "-config", self.folder / "ca.cnf", "-keyfile", pki.key(ca), "-cert", pki.pem(ca))

    def revoke(self, name):
        openssl(*self.with_ca, "-revoke", self.pki.pem(name))

    def crl(self, made_days=0, ends_days=7):
        """Both counted from now."""
        out = self.folder / "ca.crl"
        made, ends = (time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + d * 86400)) for d in (made_days, ends_days))
        openssl(*self.with_ca, "-gencrl", "-crl_lastupdate", made, "-crl_nextupdate", ends, "-out", out)
        return out.read_bytes()


if __name__ == "__main__":
    import sys
    Pki(sys.argv[1])

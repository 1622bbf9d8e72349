"""The lab's own certificate authority: fresh for each lab, EC P-256, identities as SAN URIs."""
import os

from .proc import run

DAYS = "30"
USERS = {
    "operator": "urn:bascule:operator:lab",
    "operator2": "urn:bascule:operator:second",
    "client": "urn:bascule:client:demo:shop",
    "auditor": "urn:bascule:auditor:lab",
}


def make_all(lab):
    lab.pki.mkdir(mode=0o700)
    make_ca(lab.pki, "ca", "Bascule lab CA")
    for node in lab.nodes.values():
        names = [f"URI:urn:bascule:host:{node.id}", f"DNS:{node.id}", f"DNS:{node.id}.localhost"]  # the last for web.py
        names += [f"IP:{node.address(link)}" for link in ("mgmt", "repl") if link in node.links]
        make_cert(lab.pki, "ca", node.id, names, "serverAuth,clientAuth")
    for user, uri in USERS.items():
        make_cert(lab.pki, "ca", user, [f"URI:{uri}"], "clientAuth")


def make_ca(folder, name, subject):
    _key(folder, name)
    run(["openssl", "req", "-x509", "-new", "-sha256", "-days", DAYS, "-subj", f"/CN={subject}",
         "-key", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"),
         "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"])


def make_cert(folder, ca, name, alt_names, usage):
    """A certificate `name`.pem with its key, signed by `ca`; both are in `folder`."""
    _key(folder, name)
    extensions = folder / f"{name}.ext"
    extensions.write_text("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n"
                          f"extendedKeyUsage={usage}\nsubjectAltName={','.join(alt_names)}\n")
    request = run(["openssl", "req", "-new", "-sha256", "-subj", f"/CN={name}", "-key", str(folder / f"{name}.key")])
    run(["openssl", "x509", "-req", "-sha256", "-days", DAYS, "-extfile", str(extensions),
         "-CA", str(folder / f"{ca}.pem"), "-CAkey", str(folder / f"{ca}.key"), "-CAcreateserial",
         "-out", str(folder / f"{name}.pem")], input=request.stdout)
    extensions.unlink()


def _key(folder, name):
    path = folder / f"{name}.key"
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w"):
        pass
    run(["openssl", "genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(path)])

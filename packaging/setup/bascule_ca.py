"""bascule-setup ca: a cell's certificate authorities, for a machine without a network.

There are two. etcd and libvirt let in whoever their CA has signed, and root on every host is what they give: so machines
have a CA of their own (hosts-ca), and people another (people-ca) that the API alone trusts.

    bascule-setup ca init --folder ca --cell main               once
    bascule-setup ca request alice                              where alice works: her key never leaves it
    bascule-setup ca sign --folder ca --operator alice alice.csr
    bascule-setup ca sign --folder ca --answers cell.toml --machine a1 a1.csr
    bascule-setup ca revoke --folder ca alice.pem               then: crl
    bascule-setup ca crl --folder ca                            for [api] crl of every host

What a certificate says is taken from the command and from cell.toml, never from the request: of that only the key is."""
import argparse
import hashlib
import os
import pathlib
import re
import shlex
import subprocess
import sys

import bascule_answers as answers
import bascule_steps as steps

CAS = ("hosts-ca", "people-ca")
CA_DAYS, MACHINE_DAYS, PERSON_DAYS, CRL_DAYS = 3650, 825, 397, 35
USAGE = {"machine": "serverAuth,clientAuth", "person": "clientAuth"}
CONFIG = """[ca]
default_ca = one
[one]
database = {folder}/{ca}.index
new_certs_dir = {folder}/issued
crlnumber = {folder}/{ca}.crlnumber
rand_serial = yes
unique_subject = no
default_md = sha256
default_crl_days = {crl_days}
copy_extensions = none
policy = any
[any]
commonName = supplied
"""


class Failed(Exception):
    pass


def openssl(*words, quiet=False):
    argv = ["openssl", *map(str, words)]
    if not quiet:
        print("  + " + shlex.join(argv), flush=True)
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"openssl {words[0]} failed:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout


def put(path, text):
    """Whole or not at all."""
    fresh = f"{path}.new"
    pathlib.Path(fresh).write_text(text, encoding="ascii")
    take_place(fresh, path)


def take_place(fresh, path):
    """Also after a power cut it is the old one or all of the new one."""
    steps.flush(fresh)
    os.replace(fresh, path)
    steps.flush(os.path.dirname(path) or ".")


def made(path, *words, quiet=False):
    """What openssl writes by -out takes its place when it is whole."""
    fresh = f"{path}.new"
    try:
        openssl(*words, "-out", fresh, quiet=quiet)
        take_place(fresh, path)
    finally:
        pathlib.Path(fresh).unlink(missing_ok=True)


def new_key(path, passphrase=False, quiet=False):
    """Readable by its owner alone from its first byte on, and whole; one that is there stays."""
    if os.path.exists(path):
        return
    fresh = pathlib.Path(f"{path}.new")
    fresh.unlink(missing_ok=True)  # of one that was interrupted
    os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        openssl("genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", *(["-aes256"] if passphrase else []), "-out", fresh, quiet=quiet)
        steps.flush(fresh)
        os.link(fresh, path)  # unlike a rename it never takes another key's place
        steps.flush(os.path.dirname(path) or ".")
    finally:
        fresh.unlink()


def request(key, csr, name, quiet=False):
    """A new key, if there is none, and a request for it."""
    new_key(key, quiet=quiet)
    made(csr, "req", "-new", "-sha256", "-key", key, "-subj", f"/CN={name}", quiet=quiet)


def init(folder, cell, passphrase):
    """What is there stays: it may be done again, also after an interruption."""
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chmod(folder, 0o700)
    (folder / "issued").mkdir(exist_ok=True)
    for ca in CAS:
        for name, text in ((f"{ca}.index", ""), (f"{ca}.crlnumber", "01\n"), (f"{ca}.cnf", CONFIG.format(folder=folder.resolve(), ca=ca, crl_days=CRL_DAYS))):
            if not (folder / name).exists():
                put(folder / name, text)
        if (folder / f"{ca}.pem").exists():
            print(f"{folder / ca}.pem is there already and stays")
            continue
        new_key(folder / f"{ca}.key", passphrase)
        made(folder / f"{ca}.pem", "req", "-x509", "-new", "-sha256", "-days", CA_DAYS, "-key", folder / f"{ca}.key", "-subj", f"/CN=Bascule {cell} {ca}",
             "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    put(folder / "ca.pem", (folder / "hosts-ca.pem").read_text())
    put(folder / "api-ca.pem", "".join((folder / f"{ca}.pem").read_text() for ca in CAS))
    print(f"{folder}/ca.pem and {folder}/api-ca.pem go to every machine, people get ca.pem; {', '.join(f'{ca}.key' for ca in CAS)} never leave this one")


def with_ca(folder, ca):
    if not (folder / f"{ca}.cnf").exists():
        raise Failed(f"there is no {ca} in {folder}: bascule-setup ca init --folder {folder} --cell NAME")
    # openssl writes NAME.new, moves NAME to NAME.old and NAME.new to NAME: an interruption between the last two leaves none.
    for name in (f"{ca}.index", f"{ca}.index.attr", f"{ca}.crlnumber"):
        if not (folder / name).exists() and (folder / f"{name}.new").exists() and (folder / f"{name}.old").exists():
            os.replace(folder / f"{name}.new", folder / name)
    return ("ca", "-batch", "-notext", "-config", folder / f"{ca}.cnf", "-keyfile", folder / f"{ca}.key", "-cert", folder / f"{ca}.pem")


def whom(args):
    """(CA, common name, SAN, usage, days) by the command's words."""
    if args.machine:
        if not args.answers:
            raise Failed("--machine needs --answers: the names and addresses are taken from there")
        cell = answers.load(args.answers)
        if args.machine != answers.WITNESS and args.machine not in cell.hosts:
            raise Failed(f"{args.answers} has no machine {args.machine}")
        return "hosts-ca", args.machine, answers.names_of(cell, args.machine), "machine", MACHINE_DAYS
    role = "operator" if args.operator else "auditor" if args.auditor else "client"
    parts = (args.operator or args.auditor or args.client).split(":")
    if len(parts) != (2 if role == "client" else 1) or not all(answers.NAME.fullmatch(part) for part in parts):
        raise Failed(f"--{role}: write {'PROJECT:NAME' if role == 'client' else 'NAME'}, of lower-case letters, digits and hyphens")
    # Not the name alone: a host's id as the subject is what libvirt lets in, though of the other CA.
    return "people-ca", f"{role} {' '.join(parts)}", f"URI:urn:bascule:{role}:{':'.join(parts)}", "person", PERSON_DAYS


def sign(folder, args):
    ca, name, names, usage, days = whom(args)
    csr = pathlib.Path(args.csr)
    out = pathlib.Path(args.out) if args.out else csr.with_suffix(".pem")
    if out.exists():
        raise Failed(f"{out} is there already and stays: move it away, or name another file with --out")
    key = openssl("req", "-in", csr, "-noout", "-verify", "-pubkey", quiet=True)
    digest = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=re.search(r"-----BEGIN.*?-----END[^\n]*\n", key, re.DOTALL)[0].encode(),
                            stdout=subprocess.PIPE, check=True).stdout
    print(f"{csr}: key {fingerprint(digest)}\n  is to be {name} ({names}) for {args.days or days} days, by {ca}")
    words = with_ca(folder, ca)
    if not args.yes and not agreed("  Does whoever sent it read out the same key, and sign it?"):
        raise Failed("not signed")
    extensions = folder / ".extensions"
    extensions.write_text(f"basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage={USAGE[usage]}\n"
                          f"subjectAltName={names}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
    try:
        made(out, *words, "-in", csr, "-subj", f"/CN={name}", "-extfile", extensions, "-days", args.days or days)
    finally:
        extensions.unlink()
    print(f"{out} goes back to where {csr.name} came from")


def fingerprint(der):
    return hashlib.sha256(der).hexdigest()[:32]


def agreed(question):
    if not sys.stdin.isatty():
        print(question + " nobody is here to say: --yes does")
        return False
    return input(question + " [y/N] ").strip().lower() in ("y", "yes")


def revoke(folder, certificate):
    issuer = openssl("x509", "-noout", "-issuer", "-in", certificate, quiet=True)
    ca = next((ca for ca in CAS if ca in issuer), None)
    if ca is None:
        raise Failed(f"{certificate} is of another CA: {issuer.strip()}")
    openssl(*with_ca(folder, ca), "-revoke", certificate)
    print(f"now: bascule-setup ca crl --folder {folder}")


def crl(folder):
    """One file with the lists of both: where one CA has a list the other needs one, too."""
    text = ""
    for ca in CAS:
        made(folder / f"{ca}.crl", *with_ca(folder, ca), "-gencrl")
        text += (folder / f"{ca}.crl").read_text()
    put(folder / "ca.crl", text)
    print(f"{folder}/ca.crl goes to every host as the file of [api] crl, at least every {CRL_DAYS} days")


def arguments(argv):
    options = argparse.ArgumentParser(prog="bascule-setup ca", description="A cell's two certificate authorities, for a machine without a network.")
    commands = options.add_subparsers(dest="command", required=True)
    made = {name: commands.add_parser(name, help=help_) for name, help_ in (
        ("init", "make both, once"), ("request", "a key and a request for it, on the machine where the key stays"), ("sign", "a certificate for a request"),
        ("revoke", "withdraw a certificate"), ("crl", "the lists of what is withdrawn"))}
    for name in ("init", "sign", "revoke", "crl"):
        made[name].add_argument("--folder", type=pathlib.Path, required=True, help="where the CAs are kept")
    made["init"].add_argument("--cell", required=True)
    made["init"].add_argument("--passphrase", action="store_true", help="keys are kept encrypted; openssl asks for it each time")
    made["request"].add_argument("name")
    who = made["sign"].add_mutually_exclusive_group(required=True)
    for word, value in (("--machine", "ID"), ("--operator", "NAME"), ("--auditor", "NAME"), ("--client", "PROJECT:NAME")):
        who.add_argument(word, metavar=value)
    made["sign"].add_argument("--answers", help="cell.toml, for --machine")
    made["sign"].add_argument("--days", type=int)
    made["sign"].add_argument("--out", help="where the certificate goes; beside the request if not given")
    made["sign"].add_argument("--yes", action="store_true", help="ask nothing")
    made["sign"].add_argument("csr")
    made["revoke"].add_argument("certificate")
    return options.parse_args(argv)


def main(argv):
    args = arguments(argv)
    try:
        if args.command == "init":
            if not answers.NAME.fullmatch(args.cell):
                raise Failed("--cell: lower-case letters, digits, hyphens")
            init(args.folder, args.cell, args.passphrase)
        elif args.command == "request":
            if not answers.NAME.fullmatch(args.name):
                raise Failed("the name: lower-case letters, digits, hyphens")
            request(f"{args.name}.key", f"{args.name}.csr", args.name)
            print(f"{args.name}.csr goes to the CA's machine; {args.name}.key stays here")
        elif args.command == "sign":
            sign(args.folder, args)
        elif args.command == "revoke":
            revoke(args.folder, args.certificate)
        else:
            crl(args.folder)
    except (Failed, answers.Wrong, OSError) as err:
        print(f"bascule-setup ca: {err}", file=sys.stderr)
        return 1
    return 0

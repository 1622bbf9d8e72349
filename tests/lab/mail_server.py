#!/usr/bin/python3
"""The mail server of a lab's network, for as long as its standard input is open: mail_server.py FOLDER ADDRESS. Certificates come into
FOLDER, and a line of JSON in FOLDER/mails for each mail it has accepted. The line "stall SECONDS PREFIX" on standard
input lets the next mail of an alert whose id begins with PREFIX wait before it is taken; FOLDER/stalled is there once one does."""
import json
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "contract"))
from alert_servers import MailServer, make_pki  # noqa: E402


class Kept(list):
    """Every mail goes into the file as it comes."""

    def __init__(self, server, path):
        super().__init__()
        self.server, self.path = server, path

    def append(self, mail):
        line = {"at": self.server.times[-1], "alert": mail[2]["X-Bascule-Alert"], "id": mail[2]["Message-ID"], "subject": mail[2]["Subject"],
                "text": mail[2].get_content()}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def main():
    folder, address = pathlib.Path(sys.argv[1]), sys.argv[2]
    make_pki(folder, f"IP:{address}")
    server = MailServer(folder, host=address, port=2525)
    server.mails = Kept(server, folder / "mails")

    def tell():
        while server.stalled.wait():
            server.stalled.clear()
            (folder / "stalled").touch()
    threading.Thread(target=tell, daemon=True).start()
    (folder / "mails").touch()
    for line in sys.stdin:
        if line.startswith("stall "):
            server.stall_for = line.split()[2]
            server.stall = float(line.split()[1])
    server.stop()


if __name__ == "__main__":
    main()

"""What the lints share: the tracked files, C++ text without comments or strings, and the two ways to run.

    LINT.py ROOT          checks the tracked files below ROOT
    LINT.py --self-test   shows on samples that the lint finds what it is for, and nothing else

A lint is a function from {path: text} to a list of sentences, one for each finding. Standard library only.
"""
import pathlib
import re
import subprocess
import sys

CPP = (".cpp", ".hpp")


def tracked(root):
    """{path: text} of the tracked text files; of every file outside build/ where there is no git."""
    try:
        out = subprocess.run(["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z"], check=True,
                             capture_output=True, timeout=60).stdout
        names = [n for n in out.decode().split("\0") if n]
    except (OSError, subprocess.SubprocessError):
        names = [str(p.relative_to(root)) for p in pathlib.Path(root).rglob("*")
                 if p.is_file() and p.relative_to(root).parts[0] not in ("build", ".git", ".cache")]
    files = {}
    for name in sorted(names):
        path = pathlib.Path(root, name)
        if path.is_symlink() or not path.is_file():
            continue
        try:
            files[name] = path.read_bytes().decode()
        except UnicodeDecodeError:
            files[name] = ""  # an image, a seed of a fuzzer: links may lead to it
    if not files:
        raise SystemExit(f"{root}: no files to check")
    return files


def cpp(files):
    return {name: text for name, text in files.items() if name.endswith(CPP)}


_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)


def code_only(text, keep_strings=False):
    """Comments (and strings) blanked; every line keeps its number and what is left keeps its column."""

    def blank(match):
        token = match[0]
        if not token.startswith("/"):
            # A digit separator is no character literal: 100'000
            before = text[match.start() - 1] if match.start() else ""
            if keep_strings or (token[0] == "'" and before.isalnum()):
                return token
            return token[0] + re.sub(r"[^\n]", " ", token[1:-1]) + token[-1]
        return re.sub(r"[^\n]", " ", token)

    return _TOKEN.sub(blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def _self_test(check, bad, good):
    failed = []
    for number, (files, expected) in enumerate(bad):
        found = check(files)
        if not any(expected in sentence for sentence in found):
            failed.append(f"bad sample {number} ({next(iter(files))}): wanted '{expected}', found {found}")
    for number, files in enumerate(good):
        found = check(files)
        if found:
            failed.append(f"good sample {number} ({next(iter(files))}): found {found}")
    if not bad:
        failed.append("no bad sample: a lint that cannot fail is a defect")
    return failed


def main(check, bad, good):
    if sys.argv[1:] == ["--self-test"]:
        found = _self_test(check, bad, good)
    elif len(sys.argv) == 2:
        found = check(tracked(sys.argv[1]))
    else:
        raise SystemExit(__doc__)
    for sentence in found:
        print(sentence)
    raise SystemExit(1 if found else 0)

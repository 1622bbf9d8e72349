#!/usr/bin/env python3
"""Which folder may include what. Linking does not show it: Debian puts every library below /usr/include."""
import re

import common

# Folder (the longest that fits a file) -> what its files may include: project folders and library names, "std" for the
# C++ standard library, "posix" for the system's own headers. A library with a slash is one of its parts.
PURE = {"std", "fmt", "boost/system", "boost/uuid"}  # uuid: version 5 only, a hash of the name
ASIO = {"boost/asio", "boost/beast"}
LAYERS = {
    "hostd/core": PURE | {"hostd/core"},
    "hostd/codec": PURE | {"hostd/core", "hostd/codec", "boost/json", "nlohmann", "openssl"},
    "storage": PURE | {"hostd/core", "hostd/codec", "hostd/runtime", "storage", "nlohmann", "posix", "spdlog"},
    "migration": PURE | {"hostd/core", "hostd/codec", "migration"},
    "hostd/runtime": PURE | ASIO | {"hostd/core", "hostd/codec", "storage", "hostd/runtime", "boost", "nlohmann",
                                    "openssl", "posix", "spdlog", "systemd"},
    "hostd/runtime/libvirt": PURE | ASIO | {"hostd/core", "hostd/runtime", "boost", "libvirt", "posix", "spdlog"},
    "api": PURE | ASIO | {"hostd/core", "hostd/codec", "hostd/runtime/signal.hpp",
            "hostd/runtime/background.hpp", "hostd/runtime/certificate.hpp", "hostd/runtime/clock.hpp", "hostd/runtime/messages.hpp",
            "hostd/runtime/say.hpp", "api", "boost", "nlohmann", "openssl", "posix", "spdlog",
                          "prometheus"},
    "api/hostctl": PURE | ASIO | {"hostd/core", "hostd/codec", "api", "boost", "nlohmann", "openssl", "posix", "CLI",
                                  "valijson", "yaml-cpp", "toml++"},
    "hostd/alert": PURE | ASIO | {"hostd/core", "hostd/codec", "hostd/runtime", "hostd/alert", "curl", "nlohmann", "openssl", "posix",
                                  "spdlog"},
    "hostd": PURE | ASIO | {"hostd", "storage", "migration", "api", "boost", "nlohmann", "openssl", "posix", "spdlog",
                            "systemd", "toml++", "CLI"},
    "images": PURE | {"hostd/core", "images", "boost", "nlohmann", "CLI", "posix", "linux"},
}
# Single files that may include more than their folder, each with its reason.
ALSO = {
    "storage": [(re.compile(r"storage/(.*adapter.*|.*_port|turn|deadlines|pool_\w+|local_note\w*)\.[ch]pp"), ASIO,
                 "the adapters and ports of storage run processes")],
}
POSIX = re.compile(r"^[a-z_]+\.h$|^(sys|netinet|arpa|net|linux|asm)/")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def library(header):
    if "/" not in header:
        return "posix" if POSIX.match(header) else "std"
    if POSIX.match(header):
        return "posix"
    if header.startswith("boost/"):
        return "boost/" + header.split("/")[1].removesuffix(".hpp")
    return header.split("/")[0]


def project(header):
    parts = header.split("/")
    return "/".join(parts[:2]) if parts[0] == "hostd" and len(parts) > 2 else parts[0]


def allowed(path, kind, header):
    folder = max((f for f in LAYERS if path.startswith(f + "/")), key=len, default=None)
    if folder is None:
        return True  # tests see everything
    may = set(LAYERS[folder])
    for pattern, more, _ in ALSO.get(folder, ()):
        if pattern.fullmatch(path):
            may |= more
    if kind == '"':
        name = project(header)
        return header in may or name in may or ("hostd" in may and name.startswith("hostd/"))
    name = library(header)
    return name in may or (name.startswith("boost/") and "boost" in may and name not in ASIO - may)


def check(files):
    found = []
    for path, text in common.cpp(files).items():
        for match in INCLUDE.finditer(common.code_only(text, keep_strings=True)):
            kind, header = match.groups()
            where = f"{path}:{common.line_of(text, match.start())}"
            if kind == '"' and "/" not in header and not path.startswith("tests/"):
                found.append(f"{where}: include \"{header}\" from the project root, with its folder")
            elif not allowed(path, kind, header):
                found.append(f"{where}: this folder may not include {header}; see LAYERS in tests/lint/layers.py")
    return found


BAD = [
    ({"hostd/core/x.cpp": "#include <boost/asio/awaitable.hpp>\n"}, "boost/asio"),
    ({"hostd/core/x.cpp": "#include <nlohmann/json.hpp>\n"}, "nlohmann"),
    ({"hostd/core/x.cpp": "#include <unistd.h>\n"}, "unistd"),
    ({"hostd/core/x.cpp": "#include \"hostd/codec/codec.hpp\"\n"}, "codec"),
    ({"hostd/core/x.cpp": "#include \"hostd/config.hpp\"\n"}, "config"),
    ({"hostd/codec/x.cpp": "  #  include <spdlog/spdlog.h>\n"}, "spdlog"),
    ({"storage/plan.cpp": "#include <boost/asio/awaitable.hpp>\n"}, "boost/asio"),
    ({"storage/x.cpp": "#include \"api/x.hpp\"\n"}, "api"),
    ({"migration/x.cpp": "#include \"storage/x.hpp\"\n"}, "storage"),
    ({"migration/x.cpp": "#include <boost/asio/awaitable.hpp>\n"}, "boost/asio"),
    ({"api/x.cpp": "#include \"storage/x.hpp\"\n"}, "storage"),
    ({"api/x.cpp": "#include \"hostd/config.hpp\"\n"}, "config"),
    ({"api/x.cpp": "#include \"hostd/runtime/process.hpp\"\n"}, "process"),
    ({"api/x.cpp": "#include <libvirt/libvirt.h>\n"}, "libvirt"),
    ({"hostd/steps/x.cpp": "#include <libvirt/libvirt.h>\n"}, "libvirt"),
    ({"hostd/runtime/etcd/x.cpp": "#include <libvirt/libvirt.h>\n"}, "libvirt"),
    ({"hostd/runtime/etcd/x.cpp": "#include \"api/x.hpp\"\n"}, "api"),
    ({"hostd/alert/x.cpp": "#include \"hostd/config.hpp\"\n"}, "config"),
    ({"hostd/steps/x.cpp": "#include <curl/curl.h>\n"}, "curl"),
    ({"hostd/x.cpp": "#include \"config.hpp\"\n"}, "from the project root"),
]
GOOD = [
    {"hostd/core/x.cpp": "// #include <boost/asio/awaitable.hpp>\n#include <vector>\n#include \"hostd/core/y.hpp\"\n"},
    {"storage/drbd_adapter.cpp": "#include <boost/asio/awaitable.hpp>\n#include \"hostd/runtime/process.hpp\"\n"},
    {"hostd/runtime/libvirt/x.cpp": "#include <libvirt/libvirt.h>\n"},
    {"hostd/steps/x.cpp": "#include \"storage/x.hpp\"\n#include \"hostd/runtime/process.hpp\"\n"},
    {"tests/unit/x.cpp": "#include \"fixture.hpp\"\n#include <boost/asio/awaitable.hpp>\n"},
]

if __name__ == "__main__":
    common.main(check, BAD, GOOD)

#!/usr/bin/env python3
"""Calls and words that have no place here, each with what to use instead."""
import re

import common

# (pattern in code without comments and strings, what to do instead)
PRODUCT = [  # tests may: they drive tools of the system
    (r"(?<![\w.>:])(std::)?system\s*\(", "no shell: run a process with an argv array (hostd/runtime/process.hpp)"),
    (r"\b(popen|wordexp)\s*\(", "no shell: run a process with an argv array (hostd/runtime/process.hpp)"),
    (r"(?<!\w)ato(i|l|ll|f)\s*\(", "std::from_chars tells a failure"),
    (r"#\s*pragma\s+GCC|\bconst_cast\s*<", "no way around the compiler"),
]
EVERYWHERE = [
    (r"(?<![\w_])assert\s*\(", "BASCULE_CHECK stays on in release builds"),
    (r"#\s*include\s*<cassert>", "BASCULE_CHECK stays on in release builds"),
    (r"\bstd::sto(i|l|ll|ul|ull|f|d|ld)\b", "std::from_chars does not throw and does not skip blanks"),
    (r"\b(strcpy|strcat|sprintf|gets|strtok|tmpnam|mktemp)\s*\(", "bounded, re-entrant calls only"),
    (r"\bVIR_MIGRATE_(UNSAFE|POSTCOPY\w*|TUNNELLED|NON_SHARED_\w+)\b", "not a way this project migrates"),
    (r"\bVIR_DOMAIN_\w*START_FORCE_BOOT\b|\bvirDomain(ManagedSave|CoreDump|Screenshot|SendKey|OpenConsole)\w*\b",
     "nothing reaches into a guest"),
]
# The same, with strings kept: what a command line may not say.
IN_STRINGS = [
    (r'"primary"[^;]{0,120}"(--force|--overwrite-data-of-peer)"', "a leg is never promoted by force"),
    (r'primary[ -]+--?(force|overwrite-data-of-peer)', "a leg is never promoted by force"),
    (r'"--overwrite-data-of-peer"|"--discard-my-data"', "no leg is discarded without a person"),
]
PRODUCT_STRINGS = [(r'"(/usr)?(/bin/)?(ba|da|z)?sh"\s*,\s*"-c"', "no shell: give the argv array itself")]
IN_CORE = [
    (r"clock\s*::\s*now|\btime\s*\(\s*(nullptr|0|NULL|&)|\bgettimeofday\b|\bclock_gettime\b", "time is an argument"),
    (r"\brandom_device\b|\bmt19937\w*\b|(?<!\w)rand\s*\(", "chance is an argument"),
    (r"\bstd::(j?thread|mutex|shared_mutex|atomic\w*|async|future|condition_variable\w*)\b|\bthread_local\b",
     "the core has no threads"),
    (r"\bunordered_\w+", "ordered containers: iteration must be stable"),
    (r"\basio\b|\bco_(await|return|yield)\b", "the core does no I/O"),
    (r"\bspdlog\b|\bstd::(cout|cerr|clog|puts)\b|(?<!\w)f?printf\s*\(|\bfmt::print\b", "the core does not log"),
    (r"\b(std::)?(getenv|setenv|i?fstream|ofstream|filesystem)\b", "the core does no I/O"),
    (r"\bthrow\b", "errors are values"),
]
# (path, part of the pattern's advice): reasoned exceptions.
EXCEPT = {
    ("hostd/core/error.cpp", "errors are values"): "boost::system::result asks for this function: reading a missing value is a bug",
    ("hostd/core/error.cpp", "the core does not log"): "the last words of a failed check, before abort()",
    ("api/hostctl/manifest_check.cpp", "std::from_chars does not throw and does not skip blanks"):
        "an index that the JSON schema library wrote, within try",
    ("storage/drbd_commands.cpp", "no leg is discarded without a person"):
        "made only for Discard::own_data, which lint.safety wants argued where it is asked for",
    ("tests/unit/storage_config_test.cpp", "a leg is never promoted by force"): "what drbdadm itself makes of it",
}
OWN = "tests/lint/"


def check(files):
    found = []
    for path, text in common.cpp(files).items():
        if path.startswith(OWN):
            continue
        bare, strings = common.code_only(text), common.code_only(text, keep_strings=True)
        rules = [(r, bare) for r in EVERYWHERE] + [(r, strings) for r in IN_STRINGS]
        if not path.startswith("tests/"):
            rules += [(r, bare) for r in PRODUCT] + [(r, strings) for r in PRODUCT_STRINGS]
        if path.startswith("hostd/core/"):
            rules += [(r, bare) for r in IN_CORE]
        for (pattern, instead), code in rules:
            if (path, instead) in EXCEPT:
                continue
            for match in re.finditer(pattern, code):
                found.append(f"{path}:{common.line_of(code, match.start())}: '{match[0][:60].strip()}': {instead}")
    for path, instead in EXCEPT:
        rules = [p for p, i in EVERYWHERE + PRODUCT + IN_CORE + IN_STRINGS if i == instead]
        if path in files and not any(re.search(p, common.code_only(files[path], keep_strings=True)) for p in rules):
            found.append(f"tests/lint/banned.py: the exception for {path} is no longer needed")
    return found


CORE = "hostd/core/x.cpp"
BAD = [({path: line + "\n"}, advice) for path, line, advice in [
    ("api/x.cpp", 'system("ls");', "no shell"),
    ("api/x.cpp", 'std::system(line.c_str());', "no shell"),
    ("storage/x.cpp", 'FILE* f = popen("ls", "r");', "no shell"),
    ("storage/x.cpp", 'Argv a{"/bin/sh", "-c", text};', "no shell"),
    ("storage/x.cpp", "assert(x == 1);", "BASCULE_CHECK"),
    ("storage/x.cpp", "#include <cassert>", "BASCULE_CHECK"),
    ("api/x.cpp", "int n = std::stoi(text);", "from_chars"),
    ("api/x.cpp", "int n = atoi(text);", "from_chars"),
    ("storage/x.cpp", 'setup({"primary", name, "--force"})', "never promoted by force"),
    ("storage/x.cpp", 'run("drbdadm primary --force r0");', "never promoted by force"),
    ("storage/x.cpp", 'argv.emplace_back("--overwrite-data-of-peer");', "discarded"),
    ("hostd/runtime/libvirt/x.cpp", "flags |= VIR_MIGRATE_UNSAFE;", "not a way"),
    ("hostd/runtime/libvirt/x.cpp", "flags |= VIR_MIGRATE_POSTCOPY;", "not a way"),
    ("hostd/runtime/libvirt/x.cpp", "virDomainScreenshot(d, s, 0, 0);", "nothing reaches into a guest"),
    (CORE, "auto t = std::chrono::steady_clock::now();", "time is an argument"),
    (CORE, "std::random_device d;", "chance is an argument"),
    (CORE, "std::thread t;", "no threads"),
    (CORE, "std::atomic<int> t;", "no threads"),
    (CORE, "std::unordered_map<int, int> m;", "stable"),
    (CORE, "boost::asio::io_context c;", "no I/O"),
    (CORE, 'spdlog::info("x");', "does not log"),
    (CORE, 'std::cout << 1;', "does not log"),
    (CORE, 'printf("x");', "does not log"),
    (CORE, 'throw std::runtime_error("x");', "errors are values"),
]]
GOOD = [
    {"api/x.cpp": "// system(\"ls\"), assert(x)\nstatic_assert(1 == 1);\nerror_code::system (x);\nfile_system(x); op.system(x);\n"},
    {"storage/x.cpp": 'list = setup({"primary", name});\nargv = {"disconnect", name};\nargv.emplace_back("--force");\n'},
    {"storage/x.cpp": 'const char* text = "assert(x) and std::stoi";\nsnprintf(a, 1, "x");\n'},
    {"tests/unit/x.cpp": 'std::system("xmllint x"); Argv a{"/bin/sh", "-c", "exit 3"};\n'},
    {"hostd/runtime/x.cpp": "auto t = std::chrono::steady_clock::now();\n"},
    {CORE: "// now() is the caller's; unordered_map is not used\nauto n = 100'000;\nconst char c = '\"';\nint x = rewind(n);\n"},
]

if __name__ == "__main__":
    common.main(check, BAD, GOOD)

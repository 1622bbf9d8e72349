"""Requests made from api/openapi.yaml by Hypothesis: as the contract says, and bent."""
import copy
import json
import string
from dataclasses import dataclass, field
from urllib.parse import quote

import jsonschema
from hypothesis import strategies as st

# Names that are there, so that requests get past the first look.
KNOWN = {"vm": ["web", "shop", "none"], "volume": ["root"], "host": ["a1", "b1"], "image": ["debian", "none"], "alert": ["test-1"]}
WORDS = {"project": ["blue", "green"], "nominal": ["a1"], "peer": ["b1"], "target": ["b1", "a1"], "network": ["clients"],
         "sacrifice": ["a1"], "host": ["a1", "b1"], "vm": ["web", "shop"], "image": ["", "debian"], "mac": [""],
         "size_mib": [64, 65, 128], "memory_mib": [64, 128], "cpus": [1, 2]}
REASONS = st.text(st.characters(min_codepoint=0x20, blacklist_categories=("Cs", "Cc")), min_size=1, max_size=60)
ODD_NUMBERS = [-1, 0, 256, 2**31, 2**32, 2**53, 2**63, 2**64, 10**40, 0.5, 1e308, -0.0]
ODD_TEXTS = ["", " ", "../x", "%00", "\u0000", "\u202e", "é", "x" * 200, "null", "1e3", "*", '"1"', "a,b", "0" * 20, "\ud800"]
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(ODD_NUMBERS),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
                    max_leaves=8)
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)


@dataclass
class Ask:
    """One request. `good`: all of it is as the contract says; `body_fits`: None when it is no JSON or there is none."""
    who: str
    method: str
    target: str
    headers: dict = field(default_factory=dict)
    body: bytes = None
    good: bool = True
    body_fits: bool = None


class Maker:
    def __init__(self, contract):
        self.contract = contract

    def value(self, schema, name=""):
        """What this schema allows."""
        schema = self.contract.resolve(schema)
        if name == "reason":
            return REASONS
        if "const" in schema:
            return st.just(schema["const"])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        made = {"string": self.text, "integer": self.number, "boolean": lambda s: st.booleans(),
                "array": lambda s: st.lists(self.value(s["items"]), min_size=s.get("minItems", 0), max_size=min(s["maxItems"], 3)),
                "object": self.object}[schema["type"]](schema)
        return st.sampled_from(WORDS[name]) | made if name in WORDS and schema["type"] != "object" else made

    def text(self, schema):
        if "pattern" in schema:
            made = st.from_regex(schema["pattern"], fullmatch=True)
            return made.filter(lambda t: len(t) <= schema.get("maxLength", 1000))
        return st.text(string.printable[:95], min_size=schema.get("minLength", 0), max_size=min(schema.get("maxLength", 60), 60))

    def number(self, schema):
        return st.integers(schema.get("minimum", 0), schema.get("maximum", 2**53))

    def object(self, schema):
        every = {k: self.value(v, k) for k, v in schema.get("properties", {}).items()}
        needed = set(schema.get("required", []))
        either = [set(s["required"]) for s in schema.get("anyOf", [])]
        made = st.fixed_dictionaries({k: v for k, v in every.items() if k in needed},
                                     optional={k: v for k, v in every.items() if k not in needed})
        return made.filter(lambda o: any(s <= set(o) for s in either)) if either else made

    def fits(self, value, schema):
        whole = {**schema, "components": self.contract.doc["components"]}
        return jsonschema.Draft202012Validator(whole).is_valid(value)


def bend(draw, value):
    """The same with one thing wrong somewhere; sometimes nothing is wrong after all."""
    if isinstance(value, (dict, list)) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        value = copy.copy(value)
        value[key] = bend(draw, value[key])
        return value
    if isinstance(value, dict) and draw(st.booleans()):
        if value and draw(st.booleans()):
            gone = draw(st.sampled_from(sorted(value)))
            return {k: v for k, v in value.items() if k != gone}
        return {**value, draw(st.text(max_size=10)): draw(JSON)}
    if isinstance(value, list) and draw(st.booleans()):
        return value * draw(st.sampled_from([0, 2, 9, 100]))
    if isinstance(value, str) and draw(st.booleans()):
        return draw(st.sampled_from([value + "\n", value.upper(), value * 50, value[:-1], value + "\u0000"]))
    return draw(JSON | st.sampled_from(ODD_NUMBERS) | st.sampled_from(ODD_TEXTS))


@st.composite
def asks(draw, maker, method, path, operation, item):
    """A request for this operation."""
    who = draw(st.sampled_from(["operator"] * 4 + ["client", "client", "auditor", "host", "nobody"]))
    ask = Ask(who, method, path)
    # A good request shows what is refused without need, a bent one what is not refused, or not well.
    bent = draw(st.sets(st.sampled_from(["path", "query", "header", "body", "type"]), max_size=2)) if draw(st.booleans()) else set()
    body = maker.contract.resolve(operation["requestBody"]) if "requestBody" in operation else None
    query = []
    for parameter in item.get("parameters", []) + operation.get("parameters", []):
        parameter = maker.contract.resolve(parameter)
        name, place = parameter["name"], parameter["in"]
        if place == "path":
            made = maker.text(maker.contract.resolve(parameter["schema"]))
            if "path" in bent:
                ask.good = False
                text = draw(VISIBLE | st.sampled_from(ODD_TEXTS))
                text = draw(st.sampled_from([quote(text, "", errors="surrogatepass"), text.encode("ascii", "ignore").decode()]))
                text = "".join(c for c in text if "!" <= c <= "~")
            else:
                text = draw(st.sampled_from(KNOWN[name]) | made if name in KNOWN else made)
            ask.target = ask.target.replace("{" + name + "}", text)
        elif place == "query" and draw(st.integers(0, 2)) == 0:
            query.append((name, parameter_text(draw, maker, parameter, ask, "query" in bent)))
        elif place == "header" and name != "Bascule-Reason" and draw(st.integers(0, 3)) == 0:
            text = parameter_text(draw, maker, parameter, ask, "header" in bent)
            ask.headers[name] = "".join(c for c in text if " " <= c <= "\xff" and c != "\x7f").strip()
    if {"If-Match", "If-None-Match"} <= set(ask.headers):
        del ask.headers["If-Match"]  # said by the contract's words only
    if "query" in bent and draw(st.booleans()):
        ask.good = False
        query.append((draw(VISIBLE), draw(VISIBLE)))
    if query:
        ask.target += "?" + "&".join(f"{quote(k, '')}={quote(v, '', errors='surrogatepass')}" for k, v in query)
    if method != "GET":
        add_body(draw, maker, ask, body, bent)
    elif "body" in bent:
        ask.good, ask.body = False, draw(st.binary(max_size=20))
    return ask


def parameter_text(draw, maker, parameter, ask, bent):
    schema = maker.contract.resolve(parameter["schema"])
    if bent:
        ask.good = False
        return draw(st.sampled_from(ODD_TEXTS) | st.text(max_size=30) | st.sampled_from(ODD_NUMBERS).map(str))
    value = draw(maker.value(parameter["schema"], parameter["name"]))
    return json.dumps(value) if schema.get("type") == "boolean" else str(value)


def add_body(draw, maker, ask, body, bent):
    """Body and reason: exactly one of the two places when nothing is bent."""
    kind, form = next(iter(body["content"].items()))
    takes_reason = "reason" in json.dumps(maker.contract.resolve(form["schema"]).get("properties", {}))
    reason = draw(REASONS)
    in_header = kind != "application/json" or draw(st.booleans())
    if in_header:
        ask.headers["Bascule-Reason"] = quote(reason, "")
        if "header" in bent:
            ask.good, ask.headers["Bascule-Reason"] = False, draw(VISIBLE)
    if "type" in bent:
        ask.good, kind = False, draw(st.sampled_from(["", "text/plain", "application/json5", "multipart/form-data", "*/*"]))
    if kind:
        ask.headers["Content-Type"] = kind
    if form["schema"] == {}:
        ask.body = draw(st.binary(min_size=1, max_size=2000))
        return
    if in_header and not body.get("required") and draw(st.booleans()):
        return  # no body at all
    value = draw(maker.value(form["schema"]))
    value.pop("reason", None)
    value.pop("name", None)  # it must be the one in the path, which the schema cannot say
    if not in_header and takes_reason:
        value["reason"] = reason
    if "body" in bent:
        ask.good = False
        for _ in range(draw(st.integers(1, 3))):
            value = bend(draw, value)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    ask.body = text.encode(errors="surrogatepass")
    if "body" in bent and draw(st.integers(0, 5)) == 0:
        ask.body = draw(st.sampled_from([ask.body[:-1], b"[" * 5000, b"\xef\xbb\xbf" + ask.body, b"\xff" + ask.body, ask.body * 2]))
        return
    ask.body_fits = maker.fits(value, form["schema"])

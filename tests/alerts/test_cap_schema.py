"""What the OASIS schema refuses is refused by our own rules too, whatever was done to a message on the way."""

from __future__ import annotations

import copy
import random

import pytest
from lxml import etree

from alerts.cap import parse
from alerts.cap_problems import NAMESPACE, problems
from domain.errors import FormatError
from tests.alerts.test_cap import messages  # noqa: F401 - a fixture

Q = f"{{{NAMESPACE}}}"
TEXTS = (
    "", " ", "Actual", " Actual ", "actual", "2026-01-02T08:00:00+08:00", "2026-01-02T08:00:00Z", "2026-02-30T08:00:00+08:00",
    "2026-01-02T08:00:00+15:00", "2026-01-02 08:00:00+08:00", "en", "en-US-", "中文", "12", "1.5", "Alert", "Ack", "Restricted", "x,y z",
)  # fmt: skip
NAMES = (
    "identifier",
    "sent",
    "info",
    "area",
    "polygon",
    "colour",
    "value",
    "valueName",
    "severity",
    "language",
    "size",
    "references",
)


def mutate(root: etree._Element, draw: random.Random) -> None:
    everything = [element for element in root.iter() if isinstance(element.tag, str)]
    element = draw.choice(everything[1:])
    parent = element.getparent()
    what = draw.randrange(9)
    if what == 0:
        parent.remove(element)
    elif what == 1:
        parent.append(copy.deepcopy(element))
    elif what == 2:
        other = draw.choice(list(parent))
        parent.insert(0, other)
    elif what == 3:
        element.tag = Q + draw.choice(NAMES)
    elif what == 4:
        element.text = draw.choice(TEXTS)
    elif what == 5:
        element.set("lang", "zh")
    elif what == 6:
        etree.SubElement(element, draw.choice([Q + "value", "{urn:other}thing", "{http://www.w3.org/2000/09/xmldsig#}Signature"]))
    elif what == 7:
        element.tail = "text"
    else:
        parent.insert(list(parent).index(element), copy.deepcopy(element))


@pytest.mark.parametrize("seed", range(8))
def test_no_mutation_that_the_schema_refuses_passes(seed, messages, shared_data):  # noqa: F811
    schema = etree.XMLSchema(etree.parse(str(shared_data / "cap" / "cap12.xsd")))
    samples = [*messages, (shared_data / "cap" / "canada.cap").read_bytes()]
    draw = random.Random(seed)
    refused = 0
    for _ in range(250):
        root = etree.fromstring(draw.choice(samples))
        for _ in range(draw.randint(1, 2)):
            mutate(root, draw)
        if not schema.validate(root):
            refused += 1
            assert problems(root), (schema.error_log, etree.tostring(root, encoding="unicode")[:3000])
    assert refused > 100


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("<language>zh-CN</language>", "<language>zh_CN</language>", "language"),
        ("<msgType>Alert</msgType>", '<msgType lang="en">Alert</msgType>', "attribute"),
        ("<msgType>Alert</msgType>", "<msgType>Alert</msgType>text", "beside"),
        ("</alert>", '<x xmlns="urn:x"/></alert>', "does not belong here"),
        ("+08:00</sent>", "+19:00</sent>", "sent"),
        ("<sent>2026", "<sent>2029", "expires lies before sent"),
        ("<onset>2026", "<onset>2029", "expires lies before onset"),
    ],
)
def test_what_the_schema_or_the_text_of_cap_forbids_is_named(messages, old, new, named):  # noqa: F811
    broken = messages[0].decode().replace(old, new, 1)
    assert broken != messages[0].decode()
    with pytest.raises(FormatError, match=named):
        parse(broken.encode())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda one: one + " " + one, "twice"),
        (lambda one: one.replace(",2026", ",2027"), "sent after"),
        (lambda one: one.replace("_0,", "_7,"), None),
    ],
)
def test_references_are_older_messages_each_once(messages, change, named):  # noqa: F811
    root = etree.fromstring(messages[1])
    field = root.find(f"{Q}references")
    first = field.text.split()[0]
    field.text = change(first)
    found = problems(root)
    assert (found == []) if named is None else any(named in problem for problem in found)


def test_a_message_does_not_follow_itself(messages):  # noqa: F811
    root = etree.fromstring(messages[1])
    own = ",".join(root.findtext(f"{Q}{name}") for name in ("sender", "identifier", "sent"))
    root.find(f"{Q}references").text = own
    assert any("itself" in problem for problem in problems(root))


def test_a_signed_message_is_taken(messages):  # noqa: F811
    root = etree.fromstring(messages[0])
    etree.SubElement(root, "{http://www.w3.org/2000/09/xmldsig#}Signature")
    assert problems(root) == []
